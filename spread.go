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

// Spread sends each request to one of several routes that can all answer it:
// keys, regions or deployments of one model, which together are one larger
// quota. It asks each for its Ready, and takes one that can send now; those that
// are open, gated or exhausted are passed over. Where none is ready the one with
// the earliest time gets the request and its queue does the waiting; where each
// would refuse, the caller gets the earliest refusal.
//
// A route that limits or refuses the request after all, does not accept its key,
// or fails in another way that the others may not share, is followed by the next
// one, within the attempts that [Fallback] describes. While another route is
// ready, no route waits for its own limit.
//
// Each route needs a Limiter of its own or a shared one that tells the keys
// apart, or it is always ready: usually a [Reroute] whose Transport is one
// [New] for all.
//
// It is safe for concurrent use and must not be copied after first use.
type Spread struct {
	// Routes are those to choose from. Without a Weight they are asked in order:
	// the first is used as long as it is ready. With Weights those that are ready
	// share the requests in proportion, and routes without one get what no other
	// can take. When is not asked.
	Routes []Route

	mu   sync.Mutex
	owed []int // to each route, in the smooth weighted round-robin of nginx
}

// choice is what a Spread decided about one request. The Transport that carries
// it out has its routes in this order.
type choice struct {
	order []int  // of Spread.Routes
	asked []bool // of the order, but for the first, which is asked before anybody looks
}

// RoundTrip implements [http.RoundTripper].
func (s *Spread) RoundTrip(req *http.Request) (*http.Response, error) {
	if len(s.Routes) == 0 || req.URL == nil {
		if req.Body != nil {
			req.Body.Close()
		}
		if req.URL == nil {
			return nil, errNoURL
		}
		return nil, unroutable(req, "the Spread has no routes")
	}
	// A Transport of no layers but a Fallback has all that a change of routes
	// needs: the body afresh, one count of attempts, refusals in the caller's form.
	ranks := s.rank(req)
	s.take(ranks)
	c := &choice{order: make([]int, len(ranks)), asked: make([]bool, len(ranks))}
	rest := make([]Route, len(ranks)-1)
	for i, r := range ranks {
		c.order[i] = r.route
		if i > 0 {
			rest[i-1] = Route{Transport: s.Routes[r.route].Transport, When: unshared}
		}
	}
	t := &Transport{Base: s.Routes[c.order[0]].Transport, Fallback: &Fallback{Routes: rest}, choice: c}
	if enclosing(req.Context()) != nil {
		t.StreamErrors = -1 // the Transport around it decides
	}
	return t.RoundTrip(req)
}

// Ready is the earliest time of all routes, or the earliest refusal if there is
// no time, see [Transport.Ready].
func (s *Spread) Ready(req *http.Request) (at time.Time, err error) {
	switch {
	case req.URL == nil:
		return at, errNoURL
	case len(s.Routes) == 0:
		return at, unroutable(req, "the Spread has no routes")
	}
	first := s.rank(req)[0]
	return first.at, first.err
}

// CloseIdleConnections closes those of every route.
func (s *Spread) CloseIdleConnections() {
	for _, r := range s.Routes {
		closeIdle(r.Transport)
	}
}

// rank is when a route would send a request.
type rank struct {
	route int
	at    time.Time
	err   error
}

// rank orders the routes for a request, the one to ask first first.
func (s *Spread) rank(req *http.Request) []rank {
	ranks := make([]rank, len(s.Routes))
	for i, r := range s.Routes {
		ranks[i].route = i
		if b, ok := r.Transport.(readier); ok {
			ranks[i].at, ranks[i].err = b.Ready(req)
		}
	}
	slices.SortStableFunc(ranks, func(a, b rank) int {
		switch {
		case (a.err == nil) != (b.err == nil):
			if a.err == nil {
				return -1
			}
			return 1
		case a.err != nil:
			return cmp.Compare(comeback(a.err), comeback(b.err))
		}
		return a.at.Compare(b.at) // zero, which is now, comes first
	})
	return ranks
}

// comeback is how long a refusal asks to stay away.
func comeback(err error) time.Duration {
	var r *RejectedError
	if errors.As(err, &r) && r.RetryAfter > 0 {
		return r.RetryAfter
	}
	return mono.Forever
}

// take moves the route whose turn it is, of those that are ready now and have a
// weight, to the front.
func (s *Spread) take(ranks []rank) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owed == nil {
		s.owed = make([]int, len(s.Routes))
	}
	best, sum := -1, 0
	for i, r := range ranks {
		weight := s.Routes[r.route].Weight
		if r.err != nil || !r.at.IsZero() || weight <= 0 {
			continue
		}
		sum += weight
		s.owed[r.route] += weight
		if best < 0 || s.owed[r.route] > s.owed[ranks[best].route] {
			best = i
		}
	}
	if best < 0 {
		return
	}
	first := ranks[best]
	s.owed[first.route] -= sum
	copy(ranks[1:best+1], ranks[:best])
	ranks[0] = first
}

// unshared reports whether another key or deployment of the same model may do
// better. A prompt that is too long is too long for all.
func unshared(req *http.Request, o Outcome) bool {
	return o.Misdirected || o.Class != TooLong && (&Route{}).takes(req, o)
}

// elsewhere reports whether the Spread around this Transport has another route
// that could send the request now: nobody waits for a limit then.
func (c *call) elsewhere() bool {
	if c.outer == nil || c.outer.call.t.choice == nil {
		return false
	}
	up := c.outer.call
	for i := range up.t.Fallback.Routes {
		if up.t.choice.asked[i+1] {
			continue
		}
		b, ok := up.t.Fallback.Routes[i].Transport.(readier)
		if !ok {
			return true
		}
		if at, err := b.Ready(up.view()); err == nil && at.IsZero() {
			return true
		}
	}
	return false
}
