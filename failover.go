package snubber

import (
	"slices"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// roundTripUncached calls the layers below the cache, and leaves the result
// undelivered. A panic of Base or of a function of the user ends here: the call gives
// back what it holds. r is always the attempt in flight.
func (c *call) roundTripUncached(r *result) {
	returned := false
	defer func() {
		if !returned {
			c.abandonAttempt(r)
			c.replay.Release(c.req.Body)
		}
	}()
	before := c.wireAttempts()
	c.retryLoop(r)
	c.failover(r, before)
	returned = true
}

// failover tries the call's other routes, each with the caller's request afresh, until
// one succeeds. If none does, r stands. before is the number of requests that were sent
// before this Transport's own.
func (c *call) failover(r *result, before int) {
	var rt *router
	switch b := c.balancerRoutes(); {
	case b != nil:
		rt = b
	case c.t.Fallback == nil:
		return
	}
	if !r.o.Class.actionable() && r.o.Class != Rejected {
		if rt != nil {
			c.recordRoutes(nil, rt.own())
		} else if c.parent != nil {
			c.recordRoutes(nil, 0) // an earlier attempt of a Transport further out may have been rerouted
		}
		return
	}
	if rt == nil {
		rt = &router{routes: c.t.Fallback.Routes}
	}
	f := failover{call: c, router: rt, result: *r, last: r.o, lastUsable: r.o, answeredBy: rt.own(), failed: true}
	f.tryRoutes(r, before)
	*r = f.result
	if !rt.balanced() && f.answeredBy != 0 {
		c.root().markRerouted()
	}
	if len(f.results) < 2 {
		f.results = nil
	}
	c.recordRoutes(f.results, f.answeredBy)
	if f.results != nil && f.failed {
		c.recordOutcome(&r.o) // the caller gets this failure, and not the last one
	}
}

// failover is the state of one call while it tries its routes.
type failover struct {
	call   *call
	router *router
	result result // the first failure, or the response; a copy, because a pointer would move every call's to the heap

	last              Outcome // of the route tried last
	lastUsable        Outcome // of the last route that was able to take the request, or of the first
	lastMisconfigured bool    // the route tried last was not able to

	results    []RouteResult
	answeredBy int
	failed     bool // no route has succeeded
	done       bool // there is a response, or the caller has gone
}

// tryRoutes tries the routes that can send the request now, and then those that would
// let it wait, the soonest first.
func (f *failover) tryRoutes(r *result, before int) {
	type postponed struct {
		route int
		at    time.Time
	}
	var later []postponed
	for i := range f.router.alternatives() {
		if f.done || !f.accepts(i) {
			continue
		}
		if len(f.results) == 0 {
			f.record(f.router.own(), f.last, before)
		}
		if at := f.readyAt(i); !at.IsZero() {
			later = append(later, postponed{i, at})
			continue
		}
		f.try(i, r)
	}
	slices.SortStableFunc(later, func(a, b postponed) int { return a.at.Compare(b.at) })
	for _, l := range later {
		if !f.done && f.accepts(l.route) {
			f.try(l.route, r)
		}
	}
}

// accepts reports whether a route takes the request after what became of it so far.
func (f *failover) accepts(i int) bool {
	route, _ := f.router.alternative(i)
	req := f.call.hookRequest()
	return f.router.accepts(route, req, f.last) || f.lastMisconfigured && f.router.accepts(route, req, f.lastUsable)
}

// readyAt returns when a route would send the request, zero for now. A route that would
// refuse counts as ready, because its refusal costs nothing.
func (f *failover) readyAt(i int) time.Time {
	route, _ := f.router.alternative(i)
	b, ok := route.Transport.(readier)
	if !ok {
		return time.Time{}
	}
	a := f.call.newAttempt()
	a.kind = viaRoute
	at, err := b.ReadyAt(&a.req)
	if err != nil {
		return time.Time{}
	}
	return at
}

// try sends the request to a route and leaves its result in r.
func (f *failover) try(i int, r *result) {
	c := f.call
	route, number := f.router.alternative(i)
	f.result.buffer()
	if !f.bodyFor(route) {
		return
	}
	before, now := c.wireAttempts(), time.Now()
	c.onFallback(number, f.last, now)
	if f.router.balanced() {
		f.router.candidates[i+1].tried = true
	}
	a := c.newAttempt()
	a.watch.Started = mono.Of(now)
	c.attemptOnce(a, viaRoute, route.transport(), r)
	f.record(number, r.o, before)
	f.decide(*r, number)
}

// bodyFor makes the request's body ready for a route, and reports whether the route can
// be tried.
func (f *failover) bodyFor(route *Route) bool {
	c := f.call
	if c.ctx().Err() != nil {
		f.done = true
		return false
	}
	if c.replay.Repeatable(c.ctx()) {
		return true
	}
	if c.replay.GiveUp(); c.ctx().Err() != nil {
		f.done = true
		return false
	}
	_, ok := route.Transport.(answersLocally) // if not, a route further down may
	return ok
}

// decide makes a route's result the call's, if the caller should get it.
func (f *failover) decide(alt result, number int) {
	f.last, f.lastMisconfigured = alt.o, alt.o.Misconfigured || alt.o.Class == Rejected
	if !f.lastMisconfigured {
		f.lastUsable = alt.o
	}
	if !alt.o.Class.actionable() && alt.o.Class != Rejected && alt.o.Class != Canceled {
		f.result, f.answeredBy, f.failed, f.done = alt, number, false, true
		return
	}
	alt.buffer()
	switch {
	case alt.o.Class == Canceled:
		if f.done = true; !isDeadline(f.call.ctx()) { // after a deadline the first failure says more
			f.result = alt
		}
	case f.router.balanced() && f.result.o.Misconfigured && !alt.o.Misconfigured:
		f.result, f.answeredBy = alt, number // the failure of another key says more than one revoked key
	}
}

// record notes what became of the request on a route.
func (f *failover) record(number int, o Outcome, before int) {
	f.results = append(f.results, RouteResult{Route: number, Attempts: f.call.wireAttempts() - before, Outcome: o})
}

// onFallback reports that a route is tried. For a Balancer's route, the Transport
// around it reports.
func (c *call) onFallback(route int, o Outcome, now time.Time) {
	c.root().allowRoute()
	observe := c.t.Observe
	if c.balancerRoutes() != nil && c.parent != nil {
		observe = c.parent.exchange.t.Observe
	}
	d := c.extra()
	d.triedRoute, d.routeObserves = route, false
	if observe != nil {
		observe(Event{Kind: EventFallback, Time: now, Key: c.serviceKey().String(), Outcome: o, Route: route})
	}
}
