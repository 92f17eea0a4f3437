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
// ready, the request waits in the queue of the route with the earliest time. If every
// route would refuse, the caller gets the earliest refusal.
//
// The next route is tried if a route limits or refuses the request after all, does not
// accept its key, or fails in a way that the others may not share. The attempts are
// bounded as [Fallback] describes. While another route is ready, no route waits for its
// own limit.
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
func (b *Balancer) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := b.check(req); err != nil {
		return failUnsent(req, err)
	}
	candidates := b.candidates(req)
	b.putNextFirst(candidates)
	c, err := b.transport(req).newCall(req, router{routes: b.Routes, candidates: candidates})
	if err != nil {
		return failUnsent(req, err)
	}
	return c.serveUncached()
}

// check returns an error for a request that no route can get.
func (b *Balancer) check(req *http.Request) error {
	switch {
	case req.URL == nil:
		return errNoURL
	case len(b.Routes) == 0:
		return unroutable(req, "the Balancer has no Routes")
	}
	return nil
}

// transport returns the Transport of the Balancer's calls. It has no layers. The
// Balancer needs only what every call has: the body for each route, one count of
// attempts, and refusals in the caller's form. If another Transport is around this one,
// it decides how a stream breaks off.
func (b *Balancer) transport(req *http.Request) *Transport {
	b.once.Do(func() { b.outermost, b.nested = &Transport{}, &Transport{StreamErrors: StreamErrorsNever} })
	if parentAttempt(req.Context()) != nil {
		return b.nested
	}
	return b.outermost
}

// ReadyAt returns the earliest time of all routes, or the earliest refusal if there is
// no time, see [Transport.ReadyAt].
func (b *Balancer) ReadyAt(req *http.Request) (at time.Time, err error) {
	if err := b.check(req); err != nil {
		return time.Time{}, err
	}
	first := b.candidates(req)[0]
	return first.at, first.err
}

// CloseIdleConnections closes the idle connections of every route.
func (b *Balancer) CloseIdleConnections() {
	for _, r := range b.Routes {
		closeIdle(r.Transport)
	}
}

// candidates returns the routes for a request, the best one first.
func (b *Balancer) candidates(req *http.Request) []candidate {
	candidates := make([]candidate, len(b.Routes))
	for i, r := range b.Routes {
		candidates[i].route = i
		if next, ok := r.Transport.(readier); ok {
			candidates[i].at, candidates[i].err = next.ReadyAt(req)
		}
	}
	slices.SortStableFunc(candidates, func(x, y candidate) int {
		switch {
		case (x.err == nil) != (y.err == nil):
			if x.err == nil {
				return -1
			}
			return 1
		case x.err != nil:
			return cmp.Compare(retryAfter(x.err), retryAfter(y.err))
		}
		return x.at.Compare(y.at) // zero means now, and comes first
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

// putNextFirst moves the route whose turn it is to the front, among those that are ready now
// and have a Weight.
func (b *Balancer) putNextFirst(candidates []candidate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.credit == nil {
		b.credit = make([]int, len(b.Routes))
	}
	best, sum := -1, 0
	for i, r := range candidates {
		weight := b.Routes[r.route].Weight
		if r.err != nil || !r.at.IsZero() || weight <= 0 {
			continue
		}
		sum += weight
		b.credit[r.route] += weight
		if best < 0 || b.credit[r.route] > b.credit[candidates[best].route] {
			best = i
		}
	}
	if best < 0 {
		return
	}
	first := candidates[best]
	b.credit[first.route] -= sum
	copy(candidates[1:best+1], candidates[:best])
	candidates[0] = first
}
