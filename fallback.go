package snubber

import "net/http"

// Fallback sends a request whose own route has failed to other routes, in
// order, until one of them has an answer. If none has, the caller gets the
// first route's failure: it is the one that the caller's SDK can read.
//
// A route gets the caller's request as it was: same URL, headers and body. It
// is usually a [Transport] with layers of its own over a RoundTripper that
// changes what has to be changed. One count of attempts covers all routes: the
// Retry's MaxAttempts and one more for each route.
//
// It is safe for concurrent use.
type Fallback struct {
	// Routes are asked in this order. If empty, there is no fallback.
	Routes []Route
}

// Route is one alternative of a [Fallback].
type Route struct {
	// Transport sends the request.
	Transport http.RoundTripper
	// When decides by the outcome of the route tried last. If nil, every failure
	// that another service may not share: RateLimited, QuotaExhausted,
	// Overloaded, ServerError, Unreachable, TimedOut, Transient, TooLong,
	// Rejected; where the request may have been carried out already, only if it
	// is safe to repeat, see [Retryable].
	When func(*http.Request, Outcome) bool
}

func (r *Route) takes(req *http.Request, o Outcome) bool {
	if r.When != nil {
		return r.When(req, o)
	}
	switch o.Class {
	case RateLimited, QuotaExhausted, TooLong, Rejected:
		return true
	case Overloaded, ServerError, Unreachable, TimedOut, Transient:
		return mayRepeat(o) || safe(req)
	}
	return false
}

// takes reports whether any route would take the request on.
func (f *Fallback) takes(req *http.Request, o Outcome) bool {
	if f == nil {
		return false
	}
	for i := range f.Routes {
		if f.Routes[i].takes(req, o) {
			return true
		}
	}
	return false
}
