package snubber

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

const (
	hedgeSamples = 50   // answers that a key must have had before its 95th percentile means anything
	hedgeShare   = 0.05 // of the calls, at most
	hedgeSaved   = 10   // hedges that calls without one can save up; it starts with none

	hedgePause = 10 * time.Millisecond // at least, before a hedge that was denied is tried again
)

// pace is how soon the answers of one service begin: with the header of a whole
// answer, with the first content of a stream.
type pace struct {
	mu     sync.Mutex
	times  [512]time.Duration // the latest
	n      int
	p95    time.Duration
	credit float64 // hedges that may be made
	used   time.Time
}

func (p *pace) evictable(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Sub(p.used) > time.Hour
}

// call books a call and returns after how long it is one of the slow ones; ok is
// false while nobody can say.
func (p *pace) call(now time.Time) (delay time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.credit, p.used = min(p.credit+hedgeShare, hedgeSaved), now
	return p.p95, p.n >= hedgeSamples
}

// add notes the time of an answer. One that was given up counts with the time
// that it had had: without these the percentile would sink, and with it the
// patience, each time it is used.
func (p *pace) add(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times[p.n%len(p.times)] = d
	p.n++
	if n := min(p.n, len(p.times)); n >= hedgeSamples && (p.n%16 == 0 || p.n == hedgeSamples) {
		sorted := p.times
		slices.Sort(sorted[:n])
		p.p95 = sorted[(n*95+99)/100-1]
	}
}

// take pays for a hedge, or reports that there were too many.
func (p *pace) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.credit < 1 {
		return false
	}
	p.credit--
	return true
}

func (p *pace) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.credit++
}

// paceOf is the pace of what the call asks for; nil where nobody hedges. Streams
// and whole answers begin at very different times.
func (c *call) paceOf(now time.Time) *pace {
	rt := c.t.Retry
	if rt == nil || !rt.Hedge || !c.asked.inference {
		return nil
	}
	paces := &rt.paces
	if c.asked.stream {
		paces = &rt.streamPaces
	}
	return paces.get(c.serviceKey(), now, func(key) *pace { return &pace{used: now} })
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
		c.run(a, c.base(), &l.r)
		l.took, l.whole = mono.Now().Sub(a.watch.started), true
	}()
}

// hedged is try, with a second attempt beside the first if that takes longer
// than 95 of 100. It returns the number of attempts that were made.
func (c *call) hedged(a *attempt, how turn, r *result) int {
	now := a.watch.started.Time()
	p := c.paceOf(now)
	if p == nil {
		c.try(a, how, c.base(), r)
		return 1
	}
	delay, ok := time.Duration(0), false
	if how == first { // what is sent again is no call, and earns no hedge
		delay, ok = p.call(now)
	}
	if !ok || !c.mayHedge() || !c.inTime(delay, now) {
		c.try(a, how, c.base(), r)
		if r.o.Class == Success {
			p.add(mono.Now().Sub(a.watch.started))
		}
		return 1
	}
	if *r = (result{a: a}); !c.begin(a, how, r) {
		return 1
	}
	a.watch.racing = true
	results := make(chan *lane, 2) // one for each, so that none is kept up
	attempts := []*attempt{a}
	done := false
	defer func() {
		if !done { // a hook panicked, here or in a lane
			for _, a := range attempts {
				a.abort(overtaken, nil)
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
			p.add(l.took)
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
	best.r.a.win()
	*r, done = best.r, true
	for _, l := range lanes {
		if l != best {
			l.r.drop()
		}
	}
	if len(lanes) < len(attempts) {
		loser := attempts[0]
		if loser == best.r.a {
			loser = attempts[1]
		}
		p.add(mono.Now().Sub(loser.watch.started))
		loser.abort(overtaken, nil)
	}
	return len(attempts)
}

// mayHedge reports whether a second attempt at the same time could do no harm.
func (c *call) mayHedge() bool {
	again := c.replay.state == noBody || c.replay.again != nil
	return again && safe(c.view()) && !sdkRetry(c.in.Header)
}

// hedge is an attempt that may be sent beside another one now: without a place in
// a queue, without touching a circuit that is not closed, paid for.
func (c *call) hedge(p *pace) *attempt {
	now := mono.Now().Time()
	if c.ctx().Err() != nil || !c.root().allows() {
		return nil
	}
	if c.circuit != nil && c.circuit.snapshot(now).State != CircuitClosed {
		return nil
	}
	if !p.take() {
		return nil
	}
	var place permit
	if c.line != nil {
		var ok bool
		place, ok = c.line.enterNow(c.t.Limiter.cost(c.line, c.view(), c.asked, &c.replay), now)
		if ok && c.t.Limiter.Store != nil {
			place, ok = c.share(place)
		}
		if !ok {
			p.giveBack()
			return nil
		}
	}
	if !c.t.Retry.budgetInUse().withdraw(c.serviceKey(), now) {
		place.refund()
		p.giveBack()
		return nil
	}
	a := c.newAttempt()
	a.permit = place
	if c.circuit != nil {
		l, _, _, ok := c.circuit.admit(now, c.t.Timeout.probeTerm())
		if !ok {
			place.refund()
			p.giveBack()
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
			r.drop()
		}
	}()
	if begun = c.begin(a, hedging, &r); !begun { // which has given back the place
		p.giveBack()
		c.t.Retry.budgetInUse().succeeded(c.serviceKey(), true, now)
		return nil
	}
	return a
}
