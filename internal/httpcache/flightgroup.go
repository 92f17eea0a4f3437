package httpcache

import (
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
)

// flightGroup has the flights that callers can join.
//
// The lock order is flightGroup.mu, then flight.mu. Under flightGroup.mu a flight is
// begun, which calls Caller.Start and takes pendingStores.mu, or is asked by
// Exchange.Waiting. Under flight.mu only the deadline of a caller's context is asked
// for. An outcome is recorded, a body closed and a context ended after it is unlocked.
type flightGroup struct {
	mu          sync.Mutex
	flights     map[cachestore.Key]*flight
	unshareable map[cachestore.Key]time.Time // until when no caller waits for another's response
}

const (
	// unshareableFor is how long requests do not wait for each other after a response
	// that could not be stored, for which they would have waited in vain.
	unshareableFor = 2 * time.Second
	maxUnshareable = 1024
)

// join returns the flight of the key that is under way, or begins one, of which the
// caller is the leader. If callers may not share, nobody else can join that. join
// returns nil if an entry was stored since the lookup searched; but only once, as in
// a busy cache entries are stored all the time.
func (g *flightGroup) join(l *lookup, key cachestore.Key, mayShare, searchedAgain bool) (fl *flight, isLeader bool) {
	facts := l.call.Facts()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !mayShare {
		return g.beginLocked(l, key, facts.Priority), true
	}
	if fl := g.flights[key]; fl != nil && !fl.queuesBehind(facts.Priority) && fl.admit(l.req.Context()) {
		return fl, false
	}
	if puts := l.core.storage.Puts(); puts != l.puts && !searchedAgain {
		l.puts = puts
		return nil, false
	}
	if until, ok := g.unshareable[key]; ok {
		if l.now.Before(until) {
			return g.beginLocked(l, key, facts.Priority), true
		}
		delete(g.unshareable, key)
	}
	fl = g.beginLocked(l, key, facts.Priority)
	g.linkLocked(fl)
	return fl, true
}

// beginRefresh begins a flight without callers. It returns nil if there is one under
// way, or was one a moment ago that could not be stored.
func (g *flightGroup) beginRefresh(l *lookup, key cachestore.Key, deadline time.Time) *flight {
	facts := l.call.Facts()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flights[key] != nil || l.now.Before(g.unshareable[key]) {
		return nil
	}
	fl := g.beginLocked(l, key, facts.Priority)
	fl.callers, fl.detached, fl.noDeadline, fl.deadline = 0, true, false, deadline
	g.linkLocked(fl)
	return fl
}

// beginLocked makes a flight, whose exchange takes over the request body.
func (g *flightGroup) beginLocked(l *lookup, key cachestore.Key, priority int) *flight {
	fl := &flight{
		lookup: *l, group: g, key: key, priority: priority,
		published: make(chan struct{}), done: make(chan struct{}),
	}
	fl.pending.key = l.key
	fl.countLocked(l.req.Context())
	fl.exchange = l.call.Start(fl, &fl.lookup)
	fl.first = fl.exchange
	fl.lookup.setRequest(fl.exchange.Request())
	l.core.pending.track(&fl.pending)
	return fl
}

func (g *flightGroup) linkLocked(fl *flight) {
	if g.flights == nil {
		g.flights = make(map[cachestore.Key]*flight)
	}
	g.flights[fl.key] = fl
}

// unlink makes a flight one that nobody can join any more.
func (g *flightGroup) unlink(fl *flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unlinkLocked(fl)
}

func (g *flightGroup) unlinkLocked(fl *flight) {
	if g.flights[fl.key] == fl {
		delete(g.flights, fl.key)
	}
}

// unlinkAll unlinks the flights whose response belongs to a resource.
func (g *flightGroup) unlinkAll(resource cachestore.Key) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for key, fl := range g.flights {
		if fl.pending.key == resource {
			delete(g.flights, key)
		}
	}
}

// markUnshareable keeps requests from waiting for each other for a while.
func (g *flightGroup) markUnshareable(key cachestore.Key, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.unshareable == nil {
		g.unshareable = make(map[cachestore.Key]time.Time)
	}
	if len(g.unshareable) >= maxUnshareable {
		for key, until := range g.unshareable {
			if !now.Before(until) {
				delete(g.unshareable, key)
			}
		}
		if len(g.unshareable) >= maxUnshareable {
			clear(g.unshareable)
		}
	}
	g.unshareable[key] = now.Add(unshareableFor)
}
