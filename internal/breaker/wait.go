package breaker

import (
	"context"
	"slices"
	"time"
)

// maxWaiting bounds the requests that wait for one circuit.
const maxWaiting = 1000

// offerFor is how long the place that a waiter was called for is kept for it.
const offerFor = 50 * time.Millisecond

// Place is a request's place among those that wait for a circuit, the zero Place
// one that has not waited yet. It keeps its place when it has to wait again.
type Place struct {
	Priority int // higher first
	seq      uint64
}

type waiter struct {
	Place
	wake chan struct{} // has room for one
}

// Wait waits until it is the request's turn to [Circuit.Acquire], in the order of
// priority and arrival: one at a time while the circuit is half-open, and then as many
// as the ramp allows. ok is false if that will not be until giveUp, or has not been:
// retryAt is then as [Circuit.Check] has it. The error is the context's. kept is the
// place to come with if the request has to wait again.
func (c *Circuit) Wait(ctx context.Context, p Place, giveUp, now time.Time) (kept Place, retryAt time.Time, ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.seq == 0 {
		if len(c.waiting) >= maxWaiting {
			return p, c.expectLocked(len(c.waiting), now), false, nil
		}
		c.seq++
		p.seq = c.seq
	}
	retryAt, ok, err = c.waitLocked(ctx, p, giveUp, now)
	return p, retryAt, ok, err
}

func (c *Circuit) waitLocked(ctx context.Context, p Place, giveUp, now time.Time) (retryAt time.Time, ok bool, err error) {
	w := &waiter{p, make(chan struct{}, 1)}
	c.waiting = slices.Insert(c.waiting, c.rankLocked(p), w)
	defer c.leaveLocked(w)
	var timer *time.Timer
	for {
		rank := c.rankLocked(p)
		look, ok := c.turnLocked(rank, now)
		if ok {
			return time.Time{}, true, nil
		}
		if at := c.expectLocked(rank, now); c.forced || at.After(giveUp) || !now.Before(giveUp) {
			return at, false, nil
		}
		if look.IsZero() || look.After(giveUp) {
			look = giveUp
		}
		if timer == nil {
			timer = time.NewTimer(look.Sub(now))
			defer timer.Stop()
		} else {
			timer.Reset(look.Sub(now))
		}
		c.mu.Unlock()
		select {
		case <-timer.C:
		case <-w.wake:
		case <-ctx.Done():
		}
		now = time.Now()
		c.mu.Lock()
		if ctx.Err() != nil {
			return time.Time{}, false, ctx.Err()
		}
	}
}

// rankLocked is the number of waiters before the place.
func (c *Circuit) rankLocked(p Place) int {
	i, _ := slices.BinarySearchFunc(c.waiting, p, func(w *waiter, p Place) int {
		if w.Priority > p.Priority || w.Priority == p.Priority && w.seq < p.seq {
			return -1
		}
		if w.seq == p.seq {
			return 0
		}
		return 1
	})
	return i
}

// turnLocked reports whether the waiter of the rank may try now, or when it has to look
// again; zero is when it is woken.
func (c *Circuit) turnLocked(rank int, now time.Time) (look time.Time, ok bool) {
	switch {
	case c.openLocked():
		return time.Time{}, true
	case rank > 0:
		return time.Time{}, false
	case now.Before(c.offered):
		return c.offered, false
	}
	if look, ok = c.checkLocked(now, true); ok {
		c.offered = now.Add(offerFor)
	}
	return look, ok
}

// openLocked reports whether requests pass without a bound.
func (c *Circuit) openLocked() bool { return c.state == Closed && !c.forced && !c.ramp.on() }

// leaveLocked removes a waiter, and lets the next look.
func (c *Circuit) leaveLocked(w *waiter) {
	i := slices.Index(c.waiting, w)
	c.waiting = slices.Delete(c.waiting, i, i+1)
	if i == 0 {
		c.wakeHeadLocked()
	}
}

func (c *Circuit) wakeHeadLocked() {
	if len(c.waiting) > 0 {
		c.waiting[0].call()
	}
}

func (c *Circuit) wakeAllLocked() {
	for _, w := range c.waiting {
		w.call()
	}
}

func (w *waiter) call() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// expectLocked is about when a request is admitted that has so many waiters before it,
// zero if nobody can say.
func (c *Circuit) expectLocked(n int, now time.Time) time.Time {
	switch {
	case c.forced:
		return time.Time{}
	case c.state == Closed && c.ramp.on():
		return now.Add(c.ramp.ahead(n + 1))
	case c.state != Closed && now.Before(c.until):
		return c.until
	}
	return now // a probe may tell at any time
}
