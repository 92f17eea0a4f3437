package snubber

import (
	"time"

	"github.com/seed-9e4f5248/snubber/internal/breaker"
)

// retryLoop sends attempts until one is final, and leaves its result in r. It is the
// only place that knows the order of the layers below it.
func (c *call) retryLoop(r *result) {
	var (
		last     result    // of the attempt before
		attempts int       // without the requeued ones
		timeouts int       // attempts that a limit of Timeout has ended
		next     admission // of the coming attempt
	)
	for {
		if err := c.admit(next, last.exists(), r); err != nil {
			c.refundRetry(next)
			if last.exists() && (c.ctx().Err() == nil || isDeadline(c.ctx())) {
				*r = last
			} else {
				*r = result{err: err, o: classifyError(c.req, err)}
			}
			return
		}
		if next != requeuedTry {
			attempts++
		}
		attempts += c.attemptHedged(r.a, next, r) - 1
		if r.o.Class == Rejected && last.exists() {
			if r.res != nil { // only a Classify hook rejects a response
				r.res.Body.Close()
			}
			*r = last // a Transport below has refused the retry
			return
		}
		if !r.o.Class.actionable() {
			return
		}
		if r.o.Class == TimedOut {
			timeouts++
		}
		wait, kind := c.decideRetry(r, attempts, timeouts)
		if kind == noRetry {
			return
		}
		r.buffer()
		last, next = *r, kind
		if !c.prepareRetry(r, kind, wait, attempts) {
			return
		}
	}
}

// prepareRetry waits until the next attempt may begin. It reports false if there will be
// none: r is then the call's result.
func (c *call) prepareRetry(r *result, kind admission, wait time.Duration, attempts int) bool {
	if (kind != budgetedTry || c.waitBackoff(wait, r.o, attempts)) && c.replay.Repeatable(c.ctx()) {
		return true
	}
	c.refundRetry(kind)
	if err := c.ctx().Err(); err != nil && !isDeadline(c.ctx()) { // after a deadline the last response says more
		*r = result{err: err, o: classifyError(c.req, err)}
	}
	return false
}

// decideRetry returns whether another attempt follows a failed one, how it is admitted,
// and the wait before it.
func (c *call) decideRetry(r *result, attempts, timeouts int) (time.Duration, admission) {
	rt := c.t.Retry
	if rt == nil {
		return 0, noRetry
	}
	now := time.Now()
	if !rt.shouldRetry(c.hookRequest(), r.o) {
		c.root().noteRetryDecision(rt.If == nil && repeatable(r.o))
		return 0, noRetry
	}
	c.root().noteRetryDecision(false)
	switch {
	case sdkRetry(c.req.Header), c.replay.Lost():
		return 0, noRetry
	case r.o.Class == RateLimited && c.queue != nil && c.root().mayRequeue():
		return 0, c.requeueLimited(r, now)
	case attempts >= rt.maxAttempts(), !c.root().attemptLeft():
		return 0, noRetry
	case r.o.Class == TimedOut && timeouts > 1:
		return 0, noRetry
	}
	if c.circuit != nil && r.o.Class.failure() && c.root().mayRequeue() {
		if at, ok := c.circuit.Check(now, true); !ok && c.circuit.Snapshot(now).State != breaker.Closed {
			return 0, c.requeueForCircuit(r, at, now)
		}
	}
	return c.payRetry(r, attempts >= usualAttempts && rt.MaxAttempts == 0, now)
}

// requeueLimited sends a call that a quota has refused back to the front of its queue.
// The attempt was not spent. The queue does the waiting, because its gate is shut until
// the server's time.
func (c *call) requeueLimited(r *result, now time.Time) admission {
	if c.otherRouteReady() || !c.waitFits(r.o.NotBefore.Sub(now), now) || !c.beforeDeadline(c.extra().gatedUntil().Sub(now), now) {
		return noRetry
	}
	c.root().requeue()
	c.extra().refundDue = c.extra().refundDue || r.a.kind == budgetedTry
	return requeuedTry
}

// requeueForCircuit puts off a call whose circuit has opened until at, unless another
// route can take it.
func (c *call) requeueForCircuit(r *result, at, now time.Time) admission {
	if at.IsZero() || c.t.Fallback.accepts(c.hookRequest(), r.o) || c.otherRouteReady() || !c.waitFits(at.Sub(now), now) {
		return noRetry
	}
	c.root().requeue()
	return requeuedTry
}

// payRetry takes another attempt out of the budget, if its wait fits. extra is
// [Budget.withdraw]'s.
func (c *call) payRetry(r *result, extra bool, now time.Time) (time.Duration, admission) {
	wait := c.nextBackoff(r.o, now)
	if !c.waitFits(r.o.NotBefore.Sub(now), now) || !c.beforeDeadline(wait, now) {
		return 0, noRetry
	}
	if c.queue != nil { // no wait before a queue that would refuse the attempt anyway
		if _, refusal := c.queue.predict(c.ctx(), c.t.Limiter.cost(c.queue, c.hookRequest(), c.info, &c.replay), now); refusal != nil && refusal.late {
			return 0, noRetry
		}
	}
	if c.circuit != nil && !c.root().mayRequeue() { // so would be one before a circuit that stays open
		if at, ok := c.circuit.Check(now, true); !ok && (at.IsZero() || at.After(now.Add(wait))) {
			return 0, noRetry
		}
	}
	if !c.t.Retry.budgetOrOwn().withdraw(c.serviceKey(), extra, now) {
		return 0, noRetry
	}
	return wait, budgetedTry
}

// waitBackoff waits between two attempts. It reports false if the caller's context
// ended first.
func (c *call) waitBackoff(d time.Duration, o Outcome, attempts int) bool {
	ctx := c.ctx()
	if c.t.Observe != nil {
		c.t.Observe(Event{Kind: EventRetry, Time: time.Now(), Key: c.serviceKey().String(), Attempt: attempts, Outcome: o, Wait: d})
	}
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err() == nil
	}
	began := time.Now()
	defer func() { c.root().addWait(0, time.Since(began)) }()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
