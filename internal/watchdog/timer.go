package watchdog

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// Ticker is the owner of a [Timer].
type Ticker[T any] interface {
	*T
	Tick() // called by the timer, in a goroutine of its own
}

// Timer calls the Tick of its owner. The owner's type is a parameter so that the owner
// can change in one atomic step, without an allocation.
type Timer[T any, P Ticker[T]] struct {
	timer *time.Timer
	owner atomic.Pointer[T]
}

// Pool holds stopped timers for the next owners: a timer and its function are a third
// of what a call allocates. All owners are of one type. The zero Pool is empty. It is
// safe for concurrent use.
//
// It holds timers of the real clock alone. A timer made in a testing/synctest bubble
// must never be touched outside, and a Pool may belong to a package variable of a
// program that is tested in several bubbles.
type Pool struct{ timers sync.Pool }

// NewTimer returns a timer, of p if possible, that calls owner's Tick after d. now
// tells which clock it is for.
func NewTimer[T any, P Ticker[T]](p *Pool, owner P, now mono.Time, d time.Duration) *Timer[T, P] {
	if !now.Fake() {
		if t, ok := p.timers.Get().(*Timer[T, P]); ok {
			t.owner.Store(owner)
			t.timer.Reset(d)
			return t
		}
	}
	t := new(Timer[T, P])
	t.owner.Store(owner)
	t.timer = time.AfterFunc(d, t.ring)
	return t
}

func (t *Timer[T, P]) ring() {
	if owner := t.owner.Load(); owner != nil {
		P(owner).Tick()
	}
}

// Reset makes the timer ring after d.
func (t *Timer[T, P]) Reset(d time.Duration) { t.timer.Reset(d) }

// Free stops t and returns it to p. The owner must not use it any more, but may get one
// more Tick. A timer that cannot be stopped is ringing, and is not returned.
func (t *Timer[T, P]) Free(p *Pool, now mono.Time) {
	if t.timer.Stop() && !now.Fake() {
		t.owner.Store(nil)
		p.timers.Put(t)
	}
}
