package snubber

import (
	"net/http"
	"slices"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// router is the routes of one call and their order: those of a Fallback as they
// stand, or those of a Spread with the best one first, which is the call's own.
type router struct {
	routes     []Route
	candidates []candidate // of a Spread, best first; nil for a Fallback
}

// candidate is a route of a Spread, and when it would send the request.
type candidate struct {
	route int // in Spread.Routes
	at    time.Time
	err   error
	tried bool
}

// balanced reports whether the routes are a Spread's: each gives the answer that
// was asked for, and none waits while another is ready.
func (rt *router) balanced() bool { return rt.candidates != nil }

// own is the number of the call's own route, as [Report.Route] has it.
func (rt *router) own() int {
	if rt.balanced() {
		return rt.candidates[0].route + 1
	}
	return 0
}

// alternatives is the number of routes behind the call's own.
func (rt *router) alternatives() int {
	if rt.balanced() {
		return len(rt.candidates) - 1
	}
	return len(rt.routes)
}

// alternative is one of them with its number.
func (rt *router) alternative(i int) (*Route, int) {
	if rt.balanced() {
		i = rt.candidates[i+1].route
	}
	return &rt.routes[i], i + 1
}

// accepts reports whether a route would take the request on after an outcome.
func (rt *router) accepts(route *Route, req *http.Request, o Outcome) bool {
	if rt.balanced() {
		return worthAnotherRoute(req, o)
	}
	return route.accepts(req, o)
}

// balance is the router of a Spread's call; nil for any other.
func (c *call) balance() *router {
	if d := c.lazy.Load(); d != nil && d.router.balanced() {
		return &d.router
	}
	return nil
}

// routed reports whether the call has routes besides its own.
func (c *call) routed() bool { return c.t.Fallback != nil || c.balance() != nil }

// base sends what the call sends on its own route.
func (c *call) base() http.RoundTripper {
	rt := c.balance()
	if rt == nil {
		return c.t.base()
	}
	return rt.routes[rt.candidates[0].route].transport()
}

// otherRouteReady reports whether the Spread around this Transport has another
// route that could send the request now. A call does not wait for a limit then.
func (c *call) otherRouteReady() bool {
	if c.outer == nil {
		return false
	}
	up := c.outer.call
	rt := up.balance()
	if rt == nil {
		return false
	}
	for _, other := range rt.candidates[1:] {
		if other.tried {
			continue
		}
		b, ok := rt.routes[other.route].Transport.(readier)
		if !ok {
			return true
		}
		if at, err := b.Ready(up.view()); err == nil && at.IsZero() {
			return true
		}
	}
	return false
}

// failover asks the call's other routes, each with the caller's request afresh,
// until one has an answer. If none has, r stands. before is how many requests had
// been sent before this Transport's own.
func (c *call) failover(r *result, before int) {
	var rt *router
	switch b := c.balance(); {
	case b != nil:
		rt = b
	case c.t.Fallback == nil:
		return
	}
	if !r.o.Class.actionable() && r.o.Class != Rejected {
		if rt != nil {
			c.recordRoutes(nil, rt.own())
		} else if c.outer != nil {
			c.recordRoutes(nil, 0) // an earlier attempt of a Transport further out may have gone another way
		}
		return
	}
	if rt == nil {
		rt = &router{routes: c.t.Fallback.Routes}
	}
	f := failover{call: c, router: rt, result: *r, last: r.o, lastUsable: r.o, answeredBy: rt.own(), failed: true}
	f.tryRoutes(before)
	*r = f.result
	if !rt.balanced() && f.answeredBy != 0 {
		c.root().markRerouted()
	}
	if len(f.results) < 2 {
		f.results = nil
	}
	c.recordRoutes(f.results, f.answeredBy)
	if f.results != nil && f.failed {
		c.recordOutcome(&r.o) // it is what the caller gets
	}
}

// failover is the way of a call through its routes.
type failover struct {
	call   *call
	router *router
	result result // the first failure, or the answer; a copy, for a pointer would move every call's to the heap

	last              Outcome // of the route tried last
	lastUsable        Outcome // of the last one that was able to take the request, or of the first
	lastMisconfigured bool    // the one tried last was not

	results    []Hop
	answeredBy int
	failed     bool // none has answered
	over       bool // there is an answer, or nobody to give it to
}

// tryRoutes tries the routes that can send the request now, and then those that
// would let it wait, the soonest first.
func (f *failover) tryRoutes(before int) {
	type postponed struct {
		route int
		at    time.Time
	}
	var later []postponed
	for i := range f.router.alternatives() {
		if f.over || !f.accepts(i) {
			continue
		}
		if len(f.results) == 0 {
			f.record(f.router.own(), f.last, before)
		}
		if at := f.readyAt(i); !at.IsZero() {
			later = append(later, postponed{i, at})
			continue
		}
		f.try(i)
	}
	slices.SortStableFunc(later, func(a, b postponed) int { return a.at.Compare(b.at) })
	for _, l := range later {
		if !f.over && f.accepts(l.route) {
			f.try(l.route)
		}
	}
}

func (f *failover) accepts(i int) bool {
	route, _ := f.router.alternative(i)
	req := f.call.view()
	return f.router.accepts(route, req, f.last) || f.lastMisconfigured && f.router.accepts(route, req, f.lastUsable)
}

// readyAt is when a route would send the request, zero for now. A refusal is now
// too: to ask for it costs nothing.
func (f *failover) readyAt(i int) time.Time {
	route, _ := f.router.alternative(i)
	b, ok := route.Transport.(readier)
	if !ok {
		return time.Time{}
	}
	a := f.call.newAttempt()
	a.how = rerouted
	at, err := b.Ready(&a.req)
	if err != nil {
		return time.Time{}
	}
	return at
}

// try sends the request to a route.
func (f *failover) try(i int) {
	c := f.call
	route, number := f.router.alternative(i)
	f.result.keep()
	if !f.bodyFor(route) {
		return
	}
	before, now := c.wireAttempts(), time.Now()
	c.onFallback(number, f.last, now)
	if f.router.balanced() {
		f.router.candidates[i+1].tried = true
	}
	a := c.newAttempt()
	a.watch.started = mono.Of(now)
	var alt result
	c.try(a, rerouted, route.transport(), &alt)
	f.record(number, alt.o, before)
	f.decide(alt, number)
}

// bodyFor makes the request's body ready for a route, and reports whether the
// route may be tried.
func (f *failover) bodyFor(route *Route) bool {
	c := f.call
	if c.ctx().Err() != nil {
		f.over = true
		return false
	}
	if c.replay.ready(c.ctx()) {
		return true
	}
	if c.replay.state = gone; c.ctx().Err() != nil {
		f.over = true
		return false
	}
	_, ok := route.Transport.(answersLocally) // and where not, a StaticReply further down may be one
	return ok
}

// decide makes a route's result the call's, if it is one to give.
func (f *failover) decide(alt result, number int) {
	f.last, f.lastMisconfigured = alt.o, alt.o.Misdirected || alt.o.Class == Rejected
	if !f.lastMisconfigured {
		f.lastUsable = alt.o
	}
	if !alt.o.Class.actionable() && alt.o.Class != Rejected && alt.o.Class != Canceled {
		f.result, f.answeredBy, f.failed, f.over = alt, number, false, true
		return
	}
	alt.keep()
	switch {
	case alt.o.Class == Canceled:
		if f.over = true; !isDeadline(f.call.ctx()) { // else the first failure says more
			f.result = alt
		}
	case f.router.balanced() && f.result.o.Misdirected && !alt.o.Misdirected:
		f.result, f.answeredBy = alt, number // one revoked key is not what ails the others
	}
}

// record notes what a route came to.
func (f *failover) record(number int, o Outcome, before int) {
	f.results = append(f.results, Hop{Route: number, Attempts: f.call.wireAttempts() - before, Outcome: o})
}
