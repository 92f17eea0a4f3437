package snubber

import (
	"time"

	"github.com/seed-9e4f5248/snubber/internal/keyed"
	"github.com/seed-9e4f5248/snubber/internal/limit"
	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// admit waits for the circuit, the queue and the circuit again, and makes r an attempt
// that may be sent now. had says that the call has had a response. An open circuit then
// makes the call wait; otherwise it refuses the call at once.
func (c *call) admit(kind admission, had bool, r *result) error {
	*r = result{a: c.newAttempt()}
	w := admissionState{kind: kind, hasWaited: had, front: kind == requeued}
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
	hasWaited bool      // the call has had a response, or has waited in the queue
	front     bool      // it has had its turn in the queue
	giveUp    time.Time // when it stops waiting for the circuit; zero before it waits
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
	at, ok := c.circuit.Check(now)
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
	p, waited, err := c.queue.acquire(c.ctx(), cost, w.front, now)
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
	lease, transition, at, ok := c.circuit.Acquire(now, c.t.Timeout.probeTTL())
	if ok {
		a.circuitPermit = lease
		c.onTransition(transition, now)
		return false, nil
	}
	c.queue.cancel(a.permit)
	a.permit = limit.Permit{}
	return true, c.waitForCircuit(at, now, w)
}

// waitForCircuit waits for an open circuit. It returns the refusal if the wait is too
// long, if the call has no Retry, or if another route can take it.
func (c *call) waitForCircuit(at, now time.Time, w *admissionState) error {
	refusal := circuitOpen(c.circuit.key, at, now)
	if !w.hasWaited || at.IsZero() || c.t.Retry == nil || c.t.Fallback.accepts(c.hookRequest(), Outcome{Class: Rejected}) || c.otherRouteReady() {
		return refusal
	}
	if w.giveUp.IsZero() {
		w.giveUp = now.Add(c.t.Retry.maxWait())
		if w.kind == budgeted {
			if !c.root().mayRequeue() {
				return refusal
			}
			c.root().requeue()
		}
	}
	if at.After(w.giveUp) || !c.beforeDeadline(at.Sub(now), now) {
		return refusal
	}
	changed := c.circuit.Changed()
	if _, ok := c.circuit.Check(now); ok {
		return nil // it changed before Changed was called
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

// onQueued reports a wait in the queue.
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
