package snubber

import (
	"net/http"
	"time"
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

// worthAnotherRoute reports whether another key or deployment of the same model
// may do better. A prompt that is too long is too long for all.
func worthAnotherRoute(req *http.Request, o Outcome) bool {
	return o.Misdirected || o.Class != TooLong && (&Route{}).accepts(req, o)
}
