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

// hedgePause is the least time before a hedge that was denied is tried again.
const hedgePause = 10 * time.Millisecond

// latencyOf returns the latencies that the call is compared with: the times to the
// header of a whole response, or to the first content of a stream, which are very
// different. They are nil where nobody hedges.
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

// lane is one of the attempts that race.
type lane struct {
	r      result
	took   time.Duration
	whole  bool // it ended by returning
	thrown any  // it ended by this panic; nil: by runtime.Goexit
}

// race runs an attempt in a goroutine, which ends when Base returns: for the loser
// that is when Base notices that its request's context has ended. Its attempt has
// been aborted by then, which leaves nothing to give back or to close of what comes
// in when nobody waits for it.
func (c *call) race(a *attempt, results chan<- *lane) {
	l := &lane{r: result{a: a}}
	go func() {
		defer func() {
			if !l.whole {
				l.thrown = recover()
			}
			results <- l
		}()
		c.runAttempt(a, c.base(), &l.r)
		l.took, l.whole = mono.Now().Sub(a.watch.started), true
	}()
}

// hedged is try, with a second attempt beside the first if that takes longer
// than 95 of 100. It returns the number of attempts that were made.
func (c *call) hedged(a *attempt, how admission, r *result) int {
	now := a.watch.started.Time()
	p := c.latencyOf(now)
	if p == nil {
		c.attemptOnce(a, how, c.base(), r)
		return 1
	}
	delay, ok := time.Duration(0), false
	if how == firstTry { // what is sent again is no call, and earns no hedge
		delay, ok = p.Call(now)
	}
	if !ok || !c.mayHedge() || !c.inTime(delay, now) {
		c.attemptOnce(a, how, c.base(), r)
		if r.o.Class == Success {
			p.Add(mono.Now().Sub(a.watch.started))
		}
		return 1
	}
	if *r = (result{a: a}); !c.beginAttempt(a, how, r) {
		return 1
	}
	a.watch.racing = true
	results := make(chan *lane, 2) // one for each, so that none is kept up
	attempts := []*attempt{a}
	done := false
	defer func() {
		if !done { // a hook panicked, here or in a lane
			for _, a := range attempts {
				a.abort(attemptLostRace, nil)
			}
			*r = result{} // a lane that has not come in yet is the one to conclude its attempt
			c.recordOutcome(&Outcome{Class: Canceled, Reason: "panic"})
		}
	}()
	c.race(a, results)
	timer := time.NewTimer(delay)
	defer timer.Stop()

	var lanes []*lane // that came in, none of them good but the last
	for {
		var l *lane
		select {
		case <-timer.C:
			if len(attempts) == 1 {
				if b := c.hedge(p); b != nil {
					attempts = append(attempts, b)
					c.race(b, results)
					if c.t.Observe != nil {
						now := b.watch.started.Time()
						c.t.Observe(Event{Kind: EventHedge, Time: now, Key: c.serviceKey().String(), Attempt: int(b.number), Wait: now.Sub(a.watch.started.Time())})
					}
				} else {
					// The next credit or place may be for this one. It waits longer each
					// time: when everything hangs, all calls stand here.
					timer.Reset(max(mono.Now().Sub(a.watch.started)/8, hedgePause))
				}
			}
			continue
		case l = <-results:
		}
		if !l.whole {
			if l.thrown == nil {
				runtime.Goexit() // as the hook wanted
			}
			panic(l.thrown)
		}
		if l.r.o.Class == Success {
			p.Add(l.took)
		}
		lanes = append(lanes, l)
		if !l.r.o.Class.actionable() && l.r.o.Class != Canceled && l.r.o.Class != Rejected || len(lanes) == len(attempts) {
			break
		}
	}
	best := lanes[len(lanes)-1]
	if len(lanes) == 2 && best.r.o.Class != Success && lanes[0].r.a == a {
		best = lanes[0] // both have failed: the first failure is the call's
	}
	best.r.a.wonRace()
	*r, done = best.r, true
	for _, l := range lanes {
		if l != best {
			l.r.discard()
		}
	}
	if len(lanes) < len(attempts) {
		loser := attempts[0]
		if loser == best.r.a {
			loser = attempts[1]
		}
		p.Add(mono.Now().Sub(loser.watch.started))
		loser.abort(attemptLostRace, nil)
	}
	return len(attempts)
}

// mayHedge reports whether a second attempt at the same time could do no harm.
func (c *call) mayHedge() bool {
	again := c.replay.state == noBody || c.replay.again != nil
	return again && safe(c.hookRequest()) && !sdkRetry(c.in.Header)
}

// hedge is an attempt that may be sent beside another one now: without a place in
// a queue, without touching a circuit that is not closed, paid for.
func (c *call) hedge(p *latency.Tracker) *attempt {
	now := mono.Now().Time()
	if c.ctx().Err() != nil || !c.root().attemptLeft() {
		return nil
	}
	if c.circuit != nil && c.circuit.Snapshot(now).State != breaker.Closed {
		return nil
	}
	if !p.TakeHedge() {
		return nil
	}
	var place limit.Permit
	if c.queue != nil {
		var ok bool
		place, ok = c.queue.TryAcquire(c.t.Limiter.cost(c.queue, c.hookRequest(), c.info, &c.replay), now)
		if ok && c.t.Limiter.Store != nil {
			place, ok = c.t.Limiter.takeShared(c.ctx(), c.queue, place, c.t.Observe)
		}
		if !ok {
			p.RefundHedge()
			return nil
		}
	}
	if !c.t.Retry.budgetInUse().withdraw(c.serviceKey(), now) {
		c.queue.cancel(place)
		p.RefundHedge()
		return nil
	}
	a := c.newAttempt()
	a.permit = place
	if c.circuit != nil {
		l, _, _, ok := c.circuit.Acquire(now, c.t.Timeout.probeTerm())
		if !ok {
			c.queue.cancel(place)
			p.RefundHedge()
			c.t.Retry.budgetInUse().succeeded(c.serviceKey(), true, now)
			return nil
		}
		a.lease = l
	}
	a.watch.started = mono.Of(now)
	a.watch.racing = true
	r, begun := result{a: a}, false
	defer func() {
		if !begun {
			r.discard()
		}
	}()
	if begun = c.beginAttempt(a, hedgeTry, &r); !begun { // which has given back the place
		p.RefundHedge()
		c.t.Retry.budgetInUse().succeeded(c.serviceKey(), true, now)
		return nil
	}
	return a
}
