package snubber

import (
	"net/http"
	"time"
)

// router is the routes of one call and their order: those of a Fallback as they
// stand, or those of a Balancer with the best one first, which is the call's own.
type router struct {
	routes      []Route
	candidates  []candidate   // of a Balancer, best first; nil for a Fallback
	hookRequest *http.Request // of a Balancer, as functions of the user get it
}

// candidate is a route of a Balancer, and when it would send the request.
type candidate struct {
	route int // in Balancer.Routes
	at    time.Time
	err   error
	tried bool
}

// balanced reports whether the routes are a Balancer's: each gives the answer that
// was asked for, and none waits while another is ready.
func (rt *router) balanced() bool { return rt.candidates != nil }

// own is the number of the call's own route, as [Report.AnsweredBy] has it.
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

// worthAnotherRoute reports whether another key or deployment of the same model
// may do better. A prompt that is too long is too long for all.
func worthAnotherRoute(req *http.Request, o Outcome) bool {
	return o.Misconfigured || o.Class != TooLong && (&Route{}).accepts(req, o)
}
