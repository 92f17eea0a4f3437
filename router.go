package snubber

import (
	"net/http"
	"time"
)

// router has the routes of one call in their order: those of a Fallback as they stand,
// or those of a Balancer with the best one first, which is the call's own.
type router struct {
	routes      []Route
	candidates  []candidate   // of a Balancer, best first; nil for a Fallback
	hookRequest *http.Request // of a Balancer's call, for its ReadyAt functions
}

// candidate is a route of a Balancer, with its ReadyAt.
type candidate struct {
	route int // in Balancer.Routes
	at    time.Time
	err   error
	tried bool
}

// balanced reports whether the routes are a Balancer's: each gives the response that
// was asked for, and none waits while another is ready.
func (rt *router) balanced() bool { return rt.candidates != nil }

// own returns the number of the call's own route, as in [Report.AnsweredBy].
func (rt *router) own() int {
	if rt.balanced() {
		return rt.candidates[0].route + 1
	}
	return 0
}

// alternatives returns the number of routes besides the call's own.
func (rt *router) alternatives() int {
	if rt.balanced() {
		return len(rt.candidates) - 1
	}
	return len(rt.routes)
}

// alternative returns the i-th route besides the call's own, and its number.
func (rt *router) alternative(i int) (*Route, int) {
	if rt.balanced() {
		i = rt.candidates[i+1].route
	}
	return &rt.routes[i], i + 1
}

// accepts reports whether a route takes the request after an outcome.
func (rt *router) accepts(route *Route, req *http.Request, o Outcome) bool {
	if rt.balanced() {
		return worthAnotherRoute(req, o)
	}
	return route.accepts(req, o)
}

// worthAnotherRoute reports whether another key or deployment of the same model may do
// better. A prompt that is too long is too long for all of them.
func worthAnotherRoute(req *http.Request, o Outcome) bool {
	return o.Misconfigured || o.Class != TooLong && (&Route{}).accepts(req, o)
}
