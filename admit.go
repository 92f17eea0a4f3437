package snubber

import (
	"time"

	"github.com/seed-9e4f5248/snubber/internal/breaker"
	"github.com/seed-9e4f5248/snubber/internal/keyed"
	"github.com/seed-9e4f5248/snubber/internal/limit"
	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// admit waits for the circuit, the queue and the circuit again, and returns an
// attempt that may be sent now. had says that the call has a response already,
// so that an open circuit defers it; a call without is refused at once.
func (c *call) admit(how admission, had bool) (*attempt, error) {
	a := c.newAttempt()
	admitted := false
	if c.t.Observe != nil { // which may panic
		defer func() {
			if !admitted {
				c.queue.cancel(a.permit)
				a.lease.Done(breaker.Neutral, time.Time{}, time.Now())
			}
		}()
	}
	var giveUp time.Time // of waiting for the circuit
	front := how == requeued
	for {
		if err := c.ctx().Err(); err != nil {
			return nil, err
		}
		now := mono.Now().Time()
		if b := c.t.Breaker; b != nil {
			if c.circuit == nil {
				c.circuit = b.circuit(b.keyOf(c.hookRequest(), c.info.model), now)
			}
			if at, ok := c.circuit.Check(now); !ok {
				if err := c.waitForCircuit(at, now, &giveUp, how, had); err != nil {
					return nil, err
				}
				continue
			}
		}
		if l := c.t.Limiter; l != nil {
			if c.queue == nil {
				c.queue = l.queue(l.keyOf(c.hookRequest(), c.info.model), now)
			}
			cost := l.cost(c.queue, c.hookRequest(), c.info, &c.replay)
			if l.Tokens != nil {
				now = time.Now() // counting may take its time
			}
			p, waited, err := c.queue.acquire(c.ctx(), cost, front, now)
			a.permit = p
			if waited > 0 {
				now = now.Add(waited)
				c.onQueued(waited, now)
				had = true // the circuit opened while it waited for us, as under a call in flight
			}
			if err != nil {
				return nil, err
			}
			if l.Store != nil {
				agreed := false
				a.permit = limit.Permit{} // or it would be given back twice, if the store panics
				if a.permit, agreed = l.takeShared(c.ctx(), c.queue, p, c.t.Observe); !agreed {
					front = true // it had its turn
					continue
				}
				now = time.Now()
			}
		}
		if c.circuit != nil {
			l, s, at, ok := c.circuit.Acquire(now, c.t.Timeout.probeTerm())
			if !ok {
				c.queue.cancel(a.permit)
				a.permit = limit.Permit{}
				if err := c.waitForCircuit(at, now, &giveUp, how, had); err != nil {
					return nil, err
				}
				continue
			}
			a.lease = l
			c.onTransition(s, now)
		}
		a.watch.started = mono.Of(now)
		admitted = true
		return a, nil
	}
}

// waitForCircuit waits for an open circuit, if the call may and the wait fits.
func (c *call) waitForCircuit(at, now time.Time, giveUp *time.Time, how admission, had bool) error {
	refusal := circuitOpen(c.circuit.key, at, now)
	if !had || at.IsZero() || c.t.Retry == nil || c.t.Fallback.accepts(c.hookRequest(), Outcome{Class: Rejected}) || c.otherRouteReady() {
		return refusal
	}
	if giveUp.IsZero() {
		*giveUp = now.Add(c.t.Retry.maxWait())
		if how == budgeted {
			if !c.root().mayRequeue() {
				return refusal
			}
			c.root().requeue()
		}
	}
	if at.After(*giveUp) || !c.inTime(at.Sub(now), now) {
		return refusal
	}
	changed := c.circuit.Changed()
	if _, ok := c.circuit.Check(now); ok {
		return nil // it changed before we listened
	}
	timer := time.NewTimer(at.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-changed:
	case <-c.ctx().Done():
		return c.ctx().Err()
	}
	c.root().addWait(0, time.Since(now))
	return nil
}

// onQueued notes a wait in the queue.
func (c *call) onQueued(d time.Duration, now time.Time) {
	c.root().addWait(d, 0)
	if c.t.Observe != nil {
		c.t.Observe(Event{Kind: EventQueued, Time: now, Key: c.queue.key.String(), Wait: d})
	}
}

func circuitOpen(k keyed.Key, until, now time.Time) *RejectedError {
	e := &RejectedError{Err: ErrOpen, Key: k.String()}
	if until.After(now) {
		e.RetryAfter = until.Sub(now)
	}
	return e
}
