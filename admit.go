package snubber

import (
	"time"

	"github.com/seed-9e4f5248/snubber/internal/breaker"
	"github.com/seed-9e4f5248/snubber/internal/keyed"
	"github.com/seed-9e4f5248/snubber/internal/limit"
	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// admit waits for the circuit, the queue and the circuit again, and makes r an attempt
// that may be sent now. had says that the call has had a response. An open circuit then
// makes the call wait; otherwise it refuses the call at once.
func (c *call) admit(kind admission, had bool, r *result) error {
	*r = result{a: c.newAttempt()}
	w := admissionState{kind: kind, hasWaited: had, front: kind == requeuedTry}
	for {
		if err := c.ctx().Err(); err != nil {
			return err
		}
		now := mono.Now().Time()
		if again, err := c.checkCircuit(&w, now); err != nil {
			return err
		} else if again {
			continue
		}
		now, again, err := c.takePermit(r.a, &w, now)
		if err != nil {
			return err
		} else if again {
			continue
		}
		if again, err := c.enterCircuit(r.a, &w, now); err != nil {
			return err
		} else if again {
			continue
		}
		r.a.watch.Started = mono.Of(now)
		return nil
	}
}

// admissionState is how far an attempt has come in waiting for its admission.
type admissionState struct {
	kind      admission
	hasWaited bool          // the call has a response, or has waited in the queue
	front     bool          // it has had its turn in the queue
	giveUp    time.Time     // of waiting for the circuit; zero while it has not begun
	place     breaker.Place // among those that wait for the circuit
	called    bool          // it is its turn there
}

// checkCircuit asks the circuit before the request waits in a queue. again says that
// the call has waited for the circuit.
func (c *call) checkCircuit(w *admissionState, now time.Time) (again bool, err error) {
	b := c.t.Breaker
	if b == nil {
		return false, nil
	}
	if c.circuit == nil {
		c.circuit = b.circuit(b.keyOf(c.hookRequest(), c.info.model), now)
	}
	if w.called {
		w.called = false
		return false, nil
	}
	at, ok := c.circuit.Check(now, c.circuitWait(w.hasWaited) > 0)
	if ok {
		return false, nil
	}
	return true, c.waitForCircuit(at, now, w)
}

// takePermit waits in the queue, and returns the time after. again says that the
// LimitStore has refused.
func (c *call) takePermit(a *attempt, w *admissionState, now time.Time) (after time.Time, again bool, err error) {
	l := c.t.Limiter
	if l == nil {
		return now, false, nil
	}
	if c.queue == nil {
		c.queue = l.queue(l.keyOf(c.hookRequest(), c.info.model), now)
	}
	cost := l.cost(c.queue, c.hookRequest(), c.info, &c.replay)
	if l.EstimateTokens != nil {
		now = time.Now() // counting may take its time
	}
	var notBefore time.Time // the call's own refusal holds, even where the others may go
	if e := c.lazyExtra.Load(); e != nil {
		notBefore = e.gatedUntil()
	}
	p, waited, err := c.queue.acquire(c.ctx(), cost, w.front, notBefore, now)
	a.permit = p
	if waited > 0 {
		now = now.Add(waited)
		c.onQueued(waited, now)
		w.hasWaited = true // the circuit may have opened meanwhile, as under a call in flight
	}
	if err != nil || l.Store == nil {
		return now, false, err
	}
	agreed := false
	if a.permit, agreed = l.takeShared(c.ctx(), c.queue, p, c.t.Observe); !agreed {
		w.front = true
		return now, true, nil
	}
	return time.Now(), false, nil
}

// enterCircuit takes a permit of the circuit. again says that there was none, and that
// the call has waited.
func (c *call) enterCircuit(a *attempt, w *admissionState, now time.Time) (again bool, err error) {
	if c.circuit == nil {
		return false, nil
	}
	lease, transition, at, ok := c.circuit.Acquire(now, c.t.Timeout.probeTTL(), c.circuitWait(w.hasWaited) > 0)
	if ok {
		a.circuitPermit = lease
		c.onTransition(transition, now)
		return false, nil
	}
	c.queue.cancel(a.permit)
	a.permit = limit.Permit{}
	return true, c.waitForCircuit(at, now, w)
}

// waitForCircuit waits for an open circuit, if the call may and the wait fits. A call
// that another route can take does not wait.
func (c *call) waitForCircuit(at, now time.Time, w *admissionState) error {
	longest := c.circuitWait(w.hasWaited)
	if longest <= 0 || at.IsZero() || c.t.Fallback.accepts(c.hookRequest(), Outcome{Class: Rejected}) || c.otherRouteReady() {
		return circuitOpen(c.circuit.key, at, now)
	}
	if w.giveUp.IsZero() {
		w.giveUp = now.Add(longest)
		if deadline, ok := c.ctx().Deadline(); ok {
			w.giveUp = mono.Earlier(w.giveUp, deadline.Add(-1)) // an attempt at the deadline is none
		}
		w.place.Priority = priorityOf(c.ctx())
		if w.kind == budgetedTry {
			if !c.root().mayRequeue() {
				return circuitOpen(c.circuit.key, at, now)
			}
			c.root().requeue()
		}
	}
	kept, retryAt, called, err := c.circuit.Wait(c.ctx(), w.place, w.giveUp, now)
	w.place = kept
	after := time.Now()
	c.root().addWait(0, after.Sub(now))
	switch {
	case err != nil:
		return err
	case !called:
		return circuitOpen(c.circuit.key, retryAt, after)
	}
	w.called = true
	return nil
}

// circuitWait is how long the call may wait for its circuit. had says that it has had
// an attempt: giving up would lose more then.
func (c *call) circuitWait(had bool) time.Duration {
	switch {
	case c.t.Retry == nil:
		return 0
	case had:
		return c.t.Retry.maxWait()
	}
	return c.t.Breaker.maxWait()
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
