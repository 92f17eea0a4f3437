package snubber

import (
	"runtime"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/breaker"
	"github.com/seed-9e4f5248/snubber/internal/keyed"
	"github.com/seed-9e4f5248/snubber/internal/latency"
	"github.com/seed-9e4f5248/snubber/internal/limit"
	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// hedgePause is the shortest time before a hedge that was refused is tried again.
const hedgePause = 10 * time.Millisecond

// latencyOf returns the latencies of the call's service, nil if the call is not hedged.
// They are the times to the header of a unary response, or to the first content of a
// stream, which differ a lot.
func (c *call) latencyOf(now time.Time) *latency.Tracker {
	rt := c.t.Retry
	if rt == nil || !rt.Hedge || !c.info.inference {
		return nil
	}
	latencies := &rt.latencies
	if c.info.stream {
		latencies = &rt.streamLatencies
	}
	return latencies.Get(c.serviceKey(), now, func(keyed.Key) *latency.Tracker { return latency.NewTracker(now) })
}

// attemptHedged is attemptOnce, with a second attempt beside the first if that one
// takes longer than 95 of 100 did. It returns the number of attempts that were made.
func (c *call) attemptHedged(a *attempt, kind admission, r *result) int {
	now := a.watch.Started.Time()
	tracker := c.latencyOf(now)
	if tracker == nil {
		c.attemptOnce(a, kind, c.base(), r)
		return 1
	}
	delay, ok := time.Duration(0), false
	if kind == firstTry { // the tracker counts calls, not retries
		delay, ok = tracker.Call(now)
	}
	if !ok || !c.mayHedge() || !c.beforeDeadline(delay, now) {
		c.attemptOnce(a, kind, c.base(), r)
		if r.o.Class == Success {
			tracker.Add(mono.Now().Sub(a.watch.Started))
		}
		return 1
	}
	if *r = (result{a: a}); !c.beginAttempt(a, kind, r) {
		return 1
	}
	return c.race(a, delay, tracker, r)
}

// mayHedge reports whether a second attempt at the same time does no harm.
func (c *call) mayHedge() bool {
	return c.replay.Shareable() && safe(c.hookRequest()) && !sdkRetry(c.req.Header)
}

// race is the attempts of one call that run beside each other: the first one, and the
// hedge that is sent if the first one is slow.
type race struct {
	call    *call
	latency *latency.Tracker
	racers  []*racer
	results chan *racer // has room for all, so that no racer waits for a reader
	refused *racer      // a hedge that was not admitted, for the next try
}

// racer is one attempt of a race.
type racer struct {
	result   // its goroutine's, until ended
	attempt  *attempt
	running  bool // its goroutine has the attempt, and gives its verdict
	ended    bool // it has sent its result
	returned bool // it ended by returning
	panicked any  // the panic that ended it, if it has not returned; nil for runtime.Goexit
	took     time.Duration
}

// race runs an attempt that has begun, and after the delay a hedge beside it. It
// returns the number of attempts.
func (c *call) race(a *attempt, delay time.Duration, tracker *latency.Tracker, r *result) int {
	ra := race{call: c, latency: tracker, results: make(chan *racer, 2)}
	decided := false
	defer func() {
		if !decided { // a function of the user panicked, here or in a racer
			ra.abandon()
			*r = result{}
		}
	}()
	first := newRacer(a)
	ra.racers = append(ra.racers, first)
	ra.run(first)
	winner := ra.wait(delay)
	winner.attempt.wonRace()
	*r, decided = winner.result, true
	ra.dismissLosers(winner)
	return len(ra.racers)
}

func newRacer(a *attempt) *racer {
	a.flags.set(attemptHedged, true)
	return &racer{result: result{a: a}, attempt: a}
}

// run starts a goroutine for a racer's attempt. The loser's goroutine ends when Base
// notices the cancelled context. The aborted attempt closes any response that still
// arrives.
func (ra *race) run(r *racer) {
	r.running = true
	go func() {
		defer func() {
			if !r.returned {
				r.panicked = recover()
				r.discard()
			}
			ra.results <- r
		}()
		ra.call.runAttempt(r.attempt, ra.call.base(), &r.result)
		r.took, r.returned = mono.Now().Sub(r.attempt.watch.Started), true
	}()
}

// wait returns the racer whose result is the call's: the first one that has not failed.
// If all have ended and the last one is no success, it is the first attempt.
func (ra *race) wait(delay time.Duration) *racer {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for ended := 1; ; {
		select {
		case <-timer.C:
			if len(ra.racers) == 1 && !ra.hedge() {
				// A permit or a credit may become free later. The waits get longer, because
				// all calls wait here when everything hangs.
				timer.Reset(max(mono.Now().Sub(ra.racers[0].attempt.watch.Started)/8, hedgePause))
			}
		case r := <-ra.results:
			r.rethrow()
			r.ended = true
			if r.o.Class == Success {
				ra.latency.Add(r.took)
			}
			switch failed := r.o.Class.actionable() || r.o.Class == Canceled || r.o.Class == Rejected; {
			case ended == len(ra.racers) && r.o.Class != Success:
				return ra.racers[0]
			case !failed:
				return r
			}
			ended++
		}
	}
}

// rethrow ends the caller's goroutine as the racer's has ended.
func (r *racer) rethrow() {
	switch {
	case r.returned:
	case r.panicked == nil:
		runtime.Goexit()
	default:
		panic(r.panicked)
	}
}

// dismissLosers ends the attempts that have not won. One that is still on the wire is
// aborted, and counts with the time that it has had.
func (ra *race) dismissLosers(winner *racer) {
	for _, r := range ra.racers {
		switch {
		case r == winner:
		case r.ended:
			r.discard()
		default:
			ra.latency.Add(mono.Now().Sub(r.attempt.watch.Started))
			r.attempt.abort(attemptLostRace, nil)
		}
	}
}

// abandon ends all attempts after a panic. A racer whose goroutine runs gives its
// attempt's verdict itself.
func (ra *race) abandon() {
	for _, r := range ra.racers {
		if r.running {
			r.attempt.abort(attemptLostRace, nil)
		} else {
			ra.call.abandonAttempt(&r.result)
		}
	}
	ra.call.recordOutcome(&Outcome{Class: Canceled, Reason: "panic"})
}

// hedge sends a second attempt if it needs no wait in the queue, the circuit is closed
// and the budget pays for it. It reports whether it has sent one.
func (ra *race) hedge() bool {
	c, now := ra.call, mono.Now().Time()
	if c.ctx().Err() != nil || !c.root().attemptLeft() {
		return false
	}
	if c.circuit != nil && c.circuit.Snapshot(now).State != breaker.Closed {
		return false
	}
	if !ra.latency.TakeHedge() {
		return false
	}
	if ra.refused == nil {
		ra.refused = newRacer(c.newAttempt())
	}
	r := ra.refused
	ra.racers = append(ra.racers, r)
	if !ra.admit(r, now) {
		ra.racers = ra.racers[:1]
		r.attempt.permit, r.attempt.circuitPermit = limit.Permit{}, breaker.Permit{}
		if r.attempt.number != 0 { // it has begun, and is over
			ra.refused = nil
		}
		ra.latency.RefundHedge()
		return false
	}
	ra.run(r)
	if c.t.Observe != nil {
		c.t.Observe(Event{Kind: EventHedge, Time: now, Key: c.serviceKey().String(), Attempt: int(r.attempt.number), Wait: now.Sub(ra.racers[0].attempt.watch.Started.Time())})
	}
	return true
}

// admit takes what a hedge needs, all or nothing.
func (ra *race) admit(r *racer, now time.Time) bool {
	c, a := ra.call, r.a
	if c.queue != nil {
		var ok bool
		if a.permit, ok = c.queue.TryAcquire(c.t.Limiter.cost(c.queue, c.hookRequest(), c.info, &c.replay), now); !ok {
			return false
		}
		if c.t.Limiter.Store != nil {
			if a.permit, ok = c.t.Limiter.takeShared(c.ctx(), c.queue, a.permit, c.t.Observe); !ok {
				return false
			}
		}
	}
	if !c.t.Retry.budgetOrOwn().withdraw(c.serviceKey(), false, now) {
		c.queue.cancel(a.permit)
		return false
	}
	if c.circuit != nil {
		var ok bool
		if a.circuitPermit, _, _, ok = c.circuit.Acquire(now, c.t.Timeout.probeTTL(), true); !ok {
			c.queue.cancel(a.permit)
			c.refundRetry(hedgeTry)
			return false
		}
	}
	a.watch.Started = mono.Of(now)
	if !c.beginAttempt(a, hedgeTry, &r.result) { // which has given back the place
		c.refundRetry(hedgeTry)
		return false
	}
	return true
}
