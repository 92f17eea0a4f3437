package snubber

import (
	"math"
	"net/http"
)

// A Transport below another one makes its calls with the attempt of the outer one as
// their context. They share the outermost call's tally. The first attempt of a nested
// call is the attempt around it.

// count counts an attempt. The first attempt of a nested call is the attempt around it,
// and is counted there.
func (x *exchange) count(a *attempt) {
	if o := x.parent; o != nil && o.claim() {
		return
	}
	a.counted = true
	x.root().add(a.kind == requeuedTry)
}

// uncount takes back an attempt that a nested Transport refused to send, and reports
// whether it was counted as itself. Two attempts of a race may call it at once, for the
// attempt around both.
func (x *exchange) uncount(a *attempt) bool {
	a.mu.Lock()
	counted := a.counted
	a.counted = false
	a.mu.Unlock()
	if counted {
		x.root().remove(a.kind == requeuedTry)
	} else if x.parent != nil {
		x.parent.unclaim()
	}
	return counted
}

// uncountLocal notes that the response to this attempt was made here and not by a
// server.
func uncountLocal(req *http.Request) {
	for a := parentAttempt(req.Context()); a != nil; a = a.exchange.parent {
		if a.exchange.uncount(a) {
			return // the attempts around it have sent other requests
		}
	}
}

// wireAttempts returns the number of requests that all Transports of the call have
// sent. It is 0 for a call without routes, which does not use it.
func (x *exchange) wireAttempts() int {
	if !x.routed() {
		return 0 // failover alone uses it
	}
	ahead := 0 // requests that are counted, and that this Transport has not sent yet
	if x.parent != nil && !x.parent.isClaimed() {
		ahead = 1
	}
	return x.root().requests() - ahead
}

// attempts returns MaxAttempts for the tally.
func (r *Retry) attempts() int32 { return int32(min(r.maxAttempts(), math.MaxInt32/2)) }

// recordRoutes records what became of the routes, in a Transport further out too if
// that has no routes of its own.
func (x *exchange) recordRoutes(results []RouteResult, answeredBy int) {
	for {
		x.tally.setRoutes(results, answeredBy)
		if x.parent == nil || x.parent.exchange.routed() || x.parent.hasLostRace() {
			return
		}
		x = x.parent.exchange
	}
}

// markRouteObserves notes, in the Transport whose layers these are, that they report
// what they send.
func (x *exchange) markRouteObserves() {
	for a := x.parent; a != nil; a = a.exchange.parent {
		if a.kind == viaRoute && a.exchange.balancerRoutes() == nil {
			a.exchange.extra().routeObserves = true
			return
		}
	}
}

// reroutes reports whether a is inside one of t's own routes. t is then a route of
// itself, or part of one.
func (t *Transport) reroutes(a *attempt) bool {
	for ; a != nil; a = a.exchange.parent {
		if a.kind == viaRoute && a.exchange.t == t {
			return true
		}
	}
	return false
}

// balancerRoutes returns the router of a Balancer's call, nil for any other call.
func (x *exchange) balancerRoutes() *router {
	if d := x.lazyExtra.Load(); d != nil && d.router.balanced() {
		return &d.router
	}
	return nil
}

// routed reports whether the call has routes besides its own.
func (x *exchange) routed() bool { return x.t.Fallback != nil || x.balancerRoutes() != nil }

// base returns the RoundTripper of the call's own route.
func (x *exchange) base() http.RoundTripper {
	rt := x.balancerRoutes()
	if rt == nil {
		return x.t.base()
	}
	return rt.routes[rt.candidates[0].route].transport()
}

// otherRouteReady reports whether the Balancer around this Transport has another route
// that could send the request now. The call then does not wait for a limit.
func (x *exchange) otherRouteReady() bool {
	if x.parent == nil {
		return false
	}
	up := x.parent.exchange
	rt := up.balancerRoutes()
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
		if at, err := b.ReadyAt(rt.hookRequest); err == nil && at.IsZero() {
			return true
		}
	}
	return false
}
