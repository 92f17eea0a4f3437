package notify

import (
	"slices"
	"sync"
	"testing"
)

func TestAfterFuncs(t *testing.T) {
	var (
		mu   sync.Mutex
		l    AfterFuncs
		got  []int
		stop []func() bool
	)
	for i := range 4 {
		mu.Lock()
		stop = append(stop, l.Add(&mu, func() { got = append(got, i) }))
		mu.Unlock()
	}
	if !stop[1]() || !stop[3]() {
		t.Error("stop of a listed function = false, want true")
	}
	if stop[1]() {
		t.Error("second stop = true, want false")
	}
	mu.Lock()
	taken := l.Take()
	mu.Unlock()
	if stop[0]() {
		t.Error("stop after Take = true, want false")
	}
	taken.Call()
	if want := []int{2, 0}; !slices.Equal(got, want) {
		t.Errorf("called %v, want %v", got, want)
	}
	l.Call() // empty
	if len(got) != 2 {
		t.Errorf("a taken list calls again: %v", got)
	}
}

func TestBroadcast(t *testing.T) {
	var b Broadcast
	b.Wake() // nobody waits
	first, second := b.Wait(), b.Wait()
	select {
	case <-first:
		t.Fatal("woken by a change before the wait")
	default:
	}
	b.Wake()
	<-first
	<-second
	select {
	case <-b.Wait():
		t.Fatal("the next wait is woken by the last change")
	default:
	}
}

func TestNobodyWaitingAllocatesNothing(t *testing.T) {
	var b Broadcast
	if n := testing.AllocsPerRun(100, b.Wake); n != 0 {
		t.Errorf("Wake allocates %v times", n)
	}
}
