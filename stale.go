package snubber

import (
	"net/http"
	"time"
)

// Stale is the route to an answer that a [Cache] still keeps although it is no
// longer fresh: that of the innermost Transport around the route that has one for
// the request. Put it before a route with another model if an old answer of this
// model is better, after it if not. Where nothing is kept the request is refused
// with [ErrNoRoute], and the next route is asked. What Stale answers is not stored
// again.
var Stale http.RoundTripper = stale{}

type stale struct{}

func (stale) answersLocally() {}

func (stale) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	if req.URL == nil {
		return nil, errNoURL
	}
	now := time.Now()
	for a := parentAttempt(req.Context()); a != nil; a = a.exchange.parent {
		if res, ok := a.exchange.staleResponse(now); ok {
			uncountLocal(req)
			return res, nil
		}
	}
	return nil, unroutable(req, "no stale answer is kept")
}
