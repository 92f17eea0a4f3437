package snubber

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// Balancer sends each request to one of several routes that can all answer it: keys,
// regions or deployments of one model, which together are one larger quota. It asks
// each route for its ReadyAt and takes one that can send now. Routes whose circuit is
// open, whose key is gated or whose quota is exhausted are passed over. If no route is
// ready, the one with the earliest time gets the request, whose wait is then in the
// queue of that route. If every route would refuse, the caller gets the earliest
// refusal.
//
// If a route limits or refuses the request after all, does not accept its key, or fails
// in another way that the others may not share, the next route is tried. The attempts
// are bounded as [Fallback] describes. While another route is ready, no route waits for
// its own limit.
//
// Each route needs a Limiter of its own, or a shared one that tells the keys apart.
// Without one a route is always ready. A route is usually a [Reroute], and all of them
// have one [New] as their Transport.
//
// A Balancer is safe for concurrent use and must not be copied after first use.
type Balancer struct {
	// Routes are the routes to choose from. Without a Weight they are tried in order:
	// the first one is used as long as it is ready. With Weights, the routes that are
	// ready share the requests in proportion, and a route without a Weight gets the
	// requests that no other can take. If is not asked.
	Routes []Route

	once              sync.Once
	outermost, nested *Transport // of its calls, which have no layers

	mu     sync.Mutex
	credit []int // of each route, in the smooth weighted round-robin of nginx
}

// RoundTrip implements [http.RoundTripper].
func (s *Balancer) RoundTrip(req *http.Request) (*http.Response, error) {
	if len(s.Routes) == 0 || req.URL == nil {
		if req.Body != nil {
			req.Body.Close()
		}
		if req.URL == nil {
			return nil, errNoURL
		}
		return nil, unroutable(req, "the Spread has no routes")
	}
	candidates := s.candidates(req)
	s.take(candidates)
	c, err := s.transport(req).newCall(req, router{routes: s.Routes, candidates: candidates})
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	return c.serveUncached()
}

// transport returns the Transport of the Balancer's calls. It has no layers. The
// Balancer needs only what every call has: the body for each route, one count of
// attempts, and refusals in the caller's form. If another Transport is around this one,
// it decides how a stream breaks off.
func (s *Balancer) transport(req *http.Request) *Transport {
	s.once.Do(func() { s.outermost, s.nested = &Transport{}, &Transport{StreamErrors: StreamErrorsNever} })
	if parentAttempt(req.Context()) != nil {
		return s.nested
	}
	return s.outermost
}

// ReadyAt returns the earliest time of all routes, or the earliest refusal if there is
// no time, see [Transport.ReadyAt].
func (s *Balancer) ReadyAt(req *http.Request) (at time.Time, err error) {
	switch {
	case req.URL == nil:
		return at, errNoURL
	case len(s.Routes) == 0:
		return at, unroutable(req, "the Spread has no routes")
	}
	first := s.candidates(req)[0]
	return first.at, first.err
}

// CloseIdleConnections closes the idle connections of every route.
func (s *Balancer) CloseIdleConnections() {
	for _, r := range s.Routes {
		closeIdle(r.Transport)
	}
}

// candidates returns the routes for a request, the best one first.
func (s *Balancer) candidates(req *http.Request) []candidate {
	candidates := make([]candidate, len(s.Routes))
	for i, r := range s.Routes {
		candidates[i].route = i
		if b, ok := r.Transport.(readier); ok {
			candidates[i].at, candidates[i].err = b.ReadyAt(req)
		}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int {
		switch {
		case (a.err == nil) != (b.err == nil):
			if a.err == nil {
				return -1
			}
			return 1
		case a.err != nil:
			return cmp.Compare(retryAfter(a.err), retryAfter(b.err))
		}
		return a.at.Compare(b.at) // zero, which is now, comes first
	})
	return candidates
}

// retryAfter returns how long after a refusal the route is worth asking again.
func retryAfter(err error) time.Duration {
	var r *RejectedError
	if errors.As(err, &r) && r.RetryAfter > 0 {
		return r.RetryAfter
	}
	return mono.Forever
}

// take moves the route whose turn it is to the front, among those that are ready now
// and have a Weight.
func (s *Balancer) take(candidates []candidate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.credit == nil {
		s.credit = make([]int, len(s.Routes))
	}
	best, sum := -1, 0
	for i, r := range candidates {
		weight := s.Routes[r.route].Weight
		if r.err != nil || !r.at.IsZero() || weight <= 0 {
			continue
		}
		sum += weight
		s.credit[r.route] += weight
		if best < 0 || s.credit[r.route] > s.credit[candidates[best].route] {
			best = i
		}
	}
	if best < 0 {
		return
	}
	first := candidates[best]
	s.credit[first.route] -= sum
	copy(candidates[1:best+1], candidates[:best])
	candidates[0] = first
}
