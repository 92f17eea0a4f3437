package snubber

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// Fallback sends a request whose own route has failed to other routes, in
// order, until one of them has an answer. If none has, the caller gets the
// first route's failure: it is the one that the caller's SDK can read.
//
// A route gets the caller's request as it was: same URL, headers and body. It
// is usually a [Reroute], or several in a [Spread]; [Stale] and [Reply] answer
// where nothing else does, also a request whose body cannot be sent again. A route that would let the request wait, by its Ready
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

// Route is one alternative of a [Fallback] or a [Spread].
type Route struct {
	// Transport sends the request. If nil, http.DefaultTransport.
	Transport http.RoundTripper
	// When decides by the outcome of the route tried last. If nil, every failure
	// that another service may not share: RateLimited, QuotaExhausted,
	// Overloaded, ServerError, Unreachable, TimedOut, Transient, TooLong,
	// Rejected; where the request may have been carried out already, only if it
	// is safe to repeat, see [Retryable].
	//
	// A route that refuses, or that has a wrong key or a model that is gone, must
	// not end the way for those behind it: where its outcome is Rejected or
	// Misdirected, and When does not take that, it is asked with the outcome before
	// it too. The caller's own wrong key is no reason to go on.
	//
	// It is asked to predict too, by Ready and before a wait. A Spread does not ask it.
	When func(*http.Request, Outcome) bool
	// Weight is the route's share of a Spread's requests. A Fallback does not look
	// at it.
	Weight int
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

// fall asks the fallback's routes, each with the caller's request afresh, until
// one has an answer. If none has, r stands. before is how many wire calls there
// had been before this Transport's own.
func (c *call) fall(r *result, before int) {
	if c.t.Fallback == nil {
		return
	}
	if !r.o.Class.wanting() && r.o.Class != Rejected {
		if ch := c.t.choice; ch != nil {
			c.hopped(nil, ch.order[0]+1)
		} else if c.outer != nil {
			c.hopped(nil, 0) // an earlier attempt of a Transport further out may have gone another way
		}
		return
	}
	d := descent{call: c, result: *r, o: r.o, sound: r.o, failed: true}
	routes := c.t.Fallback.Routes
	var later []putOff
	for i := range routes {
		if d.over || !d.takes(&routes[i]) {
			continue
		}
		if len(d.hops) == 0 {
			d.passed(0, r.o, before)
		}
		if at := d.soonest(&routes[i]); !at.IsZero() {
			later = append(later, putOff{i, at})
			continue
		}
		d.ask(i)
	}
	slices.SortStableFunc(later, func(a, b putOff) int { return a.at.Compare(b.at) })
	for _, l := range later {
		if !d.over && d.takes(&routes[l.route]) {
			d.ask(l.route)
		}
	}
	*r = d.result
	if ch := c.t.choice; ch != nil {
		for i := range d.hops {
			d.hops[i].Route = ch.order[d.hops[i].Route] + 1
		}
		d.answered = ch.order[d.answered] + 1
	}
	if c.t.choice == nil && d.answered != 0 {
		c.root().stray()
	}
	if len(d.hops) < 2 {
		d.hops = nil
	}
	c.hopped(d.hops, d.answered)
	if d.hops != nil && d.failed {
		c.settle(&r.o) // it is what the caller gets
	}
}

// putOff is a route that would let the request wait.
type putOff struct {
	route int
	at    time.Time
}

// descent is the way of a call through its routes.
type descent struct {
	call     *call
	result   result  // the first failure, or the answer; a copy, for a pointer would move every call's to the heap
	o        Outcome // of the route asked last
	sound    Outcome // of the last that was able to take it, or of the first
	misled   bool    // the one asked last was not
	hops     []Hop
	answered int
	failed   bool // none has answered
	over     bool // there is an answer, or nobody to give it to
}

func (d *descent) takes(route *Route) bool {
	req := d.call.view()
	return route.takes(req, d.o) || d.misled && route.takes(req, d.sound)
}

// soonest is when the route would send the request, zero for now. A refusal is
// now too: to ask for it costs nothing.
func (d *descent) soonest(route *Route) time.Time {
	b, ok := route.Transport.(readier)
	if !ok {
		return time.Time{}
	}
	a := d.call.newAttempt()
	a.how = rerouted
	at, err := b.Ready(&a.req)
	if err != nil {
		return time.Time{}
	}
	return at
}

// ask sends the request to a route.
func (d *descent) ask(i int) {
	c := d.call
	d.result.keep()
	if c.ctx().Err() != nil {
		d.over = true
		return
	}
	rt := c.t.Fallback.Routes[i].Transport
	if rt == nil {
		rt = defaultBase
	}
	if !c.replay.ready(c.ctx()) {
		if c.replay.state = gone; c.ctx().Err() != nil {
			d.over = true
			return
		}
		if _, ok := rt.(local); !ok {
			return // and not over: a Reply further down needs no body
		}
	}
	before, now := c.wired(), time.Now()
	c.fellBack(i+1, d.o, now)
	if ch := c.t.choice; ch != nil {
		ch.asked[i+1] = true
	}
	a := c.newAttempt()
	a.watch.started = mono.Of(now)
	var alt result
	c.try(a, rerouted, rt, &alt)
	if d.o, d.misled = alt.o, alt.o.Misdirected || alt.o.Class == Rejected; !d.misled {
		d.sound = alt.o
	}
	d.passed(i+1, alt.o, before)
	if !alt.o.Class.wanting() && alt.o.Class != Rejected && alt.o.Class != Canceled {
		d.result, d.answered, d.failed, d.over = alt, i+1, false, true
		return
	}
	alt.keep()
	if alt.o.Class == Canceled {
		if d.over = true; !isDeadline(c.ctx()) { // else the first failure says more
			d.result = alt
		}
		return
	}
	if c.t.choice != nil && d.result.o.Misdirected && !alt.o.Misdirected {
		d.result, d.answered = alt, i+1 // one revoked key is not what ails the others
	}
}

// local is a route that answers on the spot. It needs no body.
type local interface{ local() }

func (stale) local() {}
func (Reply) local() {}

// passed notes what a route came to.
func (d *descent) passed(route int, o Outcome, before int) {
	d.hops = append(d.hops, Hop{Route: route, Attempts: d.call.wired() - before, Outcome: o})
}

// provenance is the hops as a response header, a list of RFC 9651: the routes in
// the order in which they were asked, each with its class, its reason and the
// number of its wire calls, and "answered" at the one whose answer this is.
func provenance(hops []Hop, route int) string {
	var b strings.Builder
	for i, h := range hops {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d;class=%s;calls=%d", h.Route, h.Outcome.Class, h.Attempts)
		if isToken(h.Outcome.Reason) {
			b.WriteString(";reason=" + h.Outcome.Reason)
		}
		if h.Route == route {
			b.WriteString(";answered")
		}
	}
	return b.String()
}

// isToken reports whether s is a token of RFC 9651, which reasons are that no
// Classify of the user's has written.
func isToken(s string) bool {
	for i, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || strings.IndexByte("0123456789_-.:/", c) < 0) {
			return false
		}
	}
	return s != ""
}
