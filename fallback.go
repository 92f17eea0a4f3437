package snubber

import (
	"net/http"
	"time"
)

// Fallback sends a request whose own route has failed to other routes, in order, until
// one of them succeeds. If none does, the caller gets the failure of the first route,
// because the caller's SDK can read it.
//
// A route gets the caller's request as it was: same URL, header and body. It is usually
// a [Reroute], or several in a [Balancer]. [Stale] and [StaticReply] answer when
// nothing else does, even a request whose body cannot be sent again. A route whose
// ReadyAt method says that the request would wait is tried after the routes that can
// send it now. One count of attempts covers all routes: [Retry.MaxAttempts], and one
// more for each route that is tried.
//
// [Report.AnsweredBy] and the Snubber-Route header of the response say which route has
// answered.
//
// A Fallback is safe for concurrent use.
type Fallback struct {
	// Routes are tried in this order. If empty, there is no fallback.
	Routes []Route
}

// Route is one alternative of a [Fallback] or a [Balancer].
type Route struct {
	// Transport sends the request. If nil, http.DefaultTransport.
	Transport http.RoundTripper
	// If decides from the outcome of the route tried last. If nil, the route takes
	// every failure that another service may not share: RateLimited, QuotaExhausted,
	// Overloaded, ServerError, Unreachable, TimedOut, Transient, TooLong and Rejected.
	// A request that may have been carried out already must be safe to repeat, see
	// [Retryable].
	//
	// A misconfigured route must not hide the routes after it. If a route's outcome is
	// Rejected or Misconfigured and If rejects it, If is also asked about the outcome
	// before it. The caller's own wrong key is no reason to try another route.
	//
	// If is also called for predictions, by ReadyAt and before a wait. A Balancer does
	// not call it.
	If func(*http.Request, Outcome) bool
	// Weight is the route's share of a Balancer's requests. A Fallback ignores it.
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

// transport returns the RoundTripper that sends what the route is given.
func (r *Route) transport() http.RoundTripper {
	if r.Transport != nil {
		return r.Transport
	}
	return defaultBase
}

// accepts reports whether any route takes the request after the outcome.
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

// answersLocally marks a route that sends no request. It needs no request body.
type answersLocally interface{ answersLocally() }

// readier is a RoundTripper that can predict when it would send a request.
type readier interface {
	ReadyAt(*http.Request) (time.Time, error)
}
