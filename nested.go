package snubber

import (
	"math"
	"net/http"
)

// A Transport below another one makes its calls with the attempt of the outer one
// as their context. They share the outermost call's tally, and the first request
// of a nested call is the attempt around it.

// root is the tally of the whole call.
func (c *call) root() *tally {
	for c.outer != nil {
		c = c.outer.call
	}
	return &c.tally
}

// count books an attempt. The first attempt of a nested call is the enclosing
// attempt itself, and is booked there.
func (c *call) count(a *attempt) {
	if o := c.outer; o != nil && o.claim() {
		return
	}
	a.counted = true
	c.root().add(a.how == deferred)
}

// uncount takes back an attempt that a nested Transport refused to send, and
// reports whether it was booked as itself. Two attempts of a race may come here at
// once, for the attempt around both.
func (c *call) uncount(a *attempt) bool {
	a.mu.Lock()
	counted := a.counted
	a.counted = false
	a.mu.Unlock()
	if counted {
		c.root().remove(a.how == deferred)
	} else if c.outer != nil {
		c.outer.release()
	}
	return counted
}

// uncountLocal notes that the answer to this attempt was made on the spot.
func uncountLocal(req *http.Request) {
	for a := enclosing(req.Context()); a != nil; a = a.call.outer {
		if a.call.uncount(a) {
			return // the attempts around it have sent something before
		}
	}
}

// wireAttempts is the number of requests that all Transports of the call have sent.
func (c *call) wireAttempts() int {
	if !c.routed() {
		return 0 // nobody asks
	}
	ahead := 0 // counted already, for a request that this Transport is yet to send
	if c.outer != nil && !c.outer.isClaimed() {
		ahead = 1
	}
	return c.root().requests() - ahead
}

// attempts is the limit of attempts until a fallback's route adds another.
func (r *Retry) attempts() int32 { return int32(min(r.maxAttempts(), math.MaxInt32/2)) }

// recordRoutes notes the way through the routes, for a Transport further out too
// if that has no routes of its own.
func (c *call) recordRoutes(results []Hop, answeredBy int) {
	for {
		c.tally.setRoutes(results, answeredBy)
		if c.outer == nil || c.outer.call.routed() || c.outer.hasLostRace() {
			return
		}
		c = c.outer.call
	}
}

// recordOutcome books the latest verdict for the Report, which is that of the
// outermost Transport. An attempt around the call that has a final outcome keeps
// it: ending that attempt cancels the nested call, whose own outcome would only say
// so, and too late. The same holds for an attempt that may lose a race.
func (c *call) recordOutcome(o *Outcome) {
	if a := c.outer; a != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !a.concluded && !a.watch.racing { // which the loser of a race remains
			a.call.recordOutcome(o)
		}
		return
	}
	c.tally.setFinal(o)
}

// markLayersObserve notes, for the Transport whose layers these are, that they
// tell of what they send.
func (c *call) markLayersObserve() {
	for a := c.outer; a != nil; a = a.call.outer {
		if a.how == rerouted && a.call.balance() == nil {
			a.call.extra().below = true
			return
		}
	}
}

// reroutes reports whether a is inside of one of t's own routes: t is a route of
// itself, or part of one.
func (t *Transport) reroutes(a *attempt) bool {
	for ; a != nil; a = a.call.outer {
		if a.how == rerouted && a.call.t == t {
			return true
		}
	}
	return false
}
