package snubber

import (
	"net/http"
	"time"
)

// Fallback sends a request whose own route has failed to other routes, in
// order, until one of them has an answer. If none has, the caller gets the
// first route's failure: it is the one that the caller's SDK can read.
//
// A route gets the caller's request as it was: same URL, headers and body. It
// is usually a [Reroute], or several in a [Balancer]; [Stale] and [StaticReply] answer
// where nothing else does, also a request whose body cannot be sent again. A route that would let the request wait, by its ReadyAt
// method, is put off until those that can send it now have failed too. One count
// of attempts covers all routes: the Retry's MaxAttempts and one more for each
// route that is asked.
//
// Who answered is in [Report] and in the response's Snubber-Route header.
//
// It is safe for concurrent use.
type Fallback struct {
	// Routes are asked in this order. If empty, there is no fallback.
	Routes []Route
}

// Route is one alternative of a [Fallback] or a [Balancer].
type Route struct {
	// Transport sends the request. If nil, http.DefaultTransport.
	Transport http.RoundTripper
	// If decides by the outcome of the route tried last. If nil, every failure
	// that another service may not share: RateLimited, QuotaExhausted,
	// Overloaded, ServerError, Unreachable, TimedOut, Transient, TooLong,
	// Rejected; where the request may have been carried out already, only if it
	// is safe to repeat, see [Retryable].
	//
	// A route that refuses, or that has a wrong key or a model that is gone, must
	// not end the way for those behind it: where its outcome is Rejected or
	// Misconfigured, and If does not take that, it is asked with the outcome before
	// it too. The caller's own wrong key is no reason to go on.
	//
	// It is asked to predict too, by ReadyAt and before a wait. A Balancer does not ask it.
	If func(*http.Request, Outcome) bool
	// Weight is the route's share of a Balancer's requests. A Fallback does not look
	// at it.
	Weight int
}

func (r *Route) accepts(req *http.Request, o Outcome) bool {
	if r.If != nil {
		return r.If(req, o)
	}
	switch o.Class {
	case RateLimited, QuotaExhausted, TooLong, Rejected:
		return true
	case Overloaded, ServerError, Unreachable, TimedOut, Transient:
		return mayRepeat(o) || safe(req)
	}
	return false
}

// transport sends what the route is given.
func (r *Route) transport() http.RoundTripper {
	if r.Transport != nil {
		return r.Transport
	}
	return defaultBase
}

// accepts reports whether any route would take the request on.
func (f *Fallback) accepts(req *http.Request, o Outcome) bool {
	if f == nil {
		return false
	}
	for i := range f.Routes {
		if f.Routes[i].accepts(req, o) {
			return true
		}
	}
	return false
}

// answersLocally is a route that answers on the spot. It needs no request body.
type answersLocally interface{ answersLocally() }

// readier is a RoundTripper that can tell when it would send a request.
type readier interface {
	ReadyAt(*http.Request) (time.Time, error)
}
