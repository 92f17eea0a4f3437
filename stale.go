package snubber

import (
	"net/http"
	"time"
)

// Stale is a route that answers with a stored response of a [Cache], even if it is no
// longer fresh. It asks the Transports around the route, the innermost first. Put Stale
// before a route with another model if an old response of this model is better, and
// after it if not. If nothing is stored, the error is [ErrNoRoute], and the next route is
// tried. What Stale returns is not stored again.
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
	return nil, unroutable(req, "no stale response is stored")
}
