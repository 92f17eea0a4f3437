package watchdog

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

type owner struct {
	ticks atomic.Int32
	ran   chan struct{}
}

func (o *owner) Tick() {
	o.ticks.Add(1)
	if o.ran != nil {
		o.ran <- struct{}{}
	}
}

func TestTimerTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		a, b := new(owner), new(owner)
		timer := NewTimer(&p, a, mono.Now(), time.Second)
		NewTimer(&p, b, mono.Now(), time.Second).Free(&p, mono.Now())
		time.Sleep(time.Second - 1)
		if n := a.ticks.Load(); n != 0 {
			t.Errorf("%d ticks before the time, want none", n)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if n := a.ticks.Load(); n != 1 {
			t.Errorf("%d ticks, want one", n)
		}
		timer.Reset(time.Hour)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := a.ticks.Load(); n != 2 {
			t.Errorf("%d ticks after Reset, want two", n)
		}
		if n := b.ticks.Load(); n != 0 {
			t.Errorf("%d ticks of a freed timer, want none", n)
		}
	})
}

// A timer of a bubble is never in the pool: another bubble would die of it.
func TestTimerPoolIsOfTheRealClock(t *testing.T) {
	var p Pool
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			for range 10 {
				NewTimer(&p, new(owner), mono.Now(), time.Second).Free(&p, mono.Now())
			}
		})
		NewTimer(&p, new(owner), mono.Now(), time.Hour).Free(&p, mono.Now())
	}
}

// A timer from the pool ticks for its next owner, and not for the one before.
func TestTimerIsReused(t *testing.T) {
	var p Pool
	first := new(owner)
	timer := NewTimer(&p, first, mono.Now(), time.Hour)
	timer.Free(&p, mono.Now())
	second := &owner{ran: make(chan struct{})}
	timer = NewTimer(&p, second, mono.Now(), 0)
	<-second.ran
	if n := first.ticks.Load(); n != 0 {
		t.Errorf("%d ticks of the owner before, want none", n)
	}
	timer.Free(&p, mono.Now()) // it has rung: left to itself
}

func TestTimerAllocatesNothing(t *testing.T) {
	var p Pool
	o := new(owner)
	if n := testing.AllocsPerRun(1000, func() {
		NewTimer(&p, o, mono.Now(), time.Hour).Free(&p, mono.Now())
	}); n > 0 {
		t.Errorf("%v allocations for a timer from the pool, want none", n)
	}
	if n := unsafe.Sizeof(Watch{}); n > 40 {
		t.Errorf("a Watch has %d bytes, want 40: with its timer it is part of each call", n)
	}
}
