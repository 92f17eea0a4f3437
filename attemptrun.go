package snubber

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/limit"
	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// result is what one attempt, or a call, came to.
type result struct {
	a    *attempt // nil: none was sent
	res  *http.Response
	err  error
	o    Outcome
	rest *held // of an error body that has not been read to its end
	cut  bool  // and was not, before it was let go
}

func (r *result) some() bool { return r.res != nil || r.err != nil }

// keep lets go of the connection and keeps what was read of the response, so
// that whatever refuses the next attempt can hand it back.
func (r *result) keep() {
	if r.rest != nil {
		r.cut = !r.rest.whole()
		r.rest.keep(r.res)
		r.rest = nil
	}
	if r.a != nil {
		r.a.keepOpening(r.res, r.o)
		r.a.conclude(r.o)
		r.a.end(finished)
	}
}

// drop closes a response that nobody will get.
func (r *result) drop() {
	if r.a != nil {
		r.a.conclude(r.o)
		r.a.end(finished)
	}
	if r.res != nil {
		r.res.Body.Close()
	}
}

// try sends one attempt and gives the provisional verdict.
func (c *call) try(a *attempt, how turn, base http.RoundTripper, r *result) {
	if *r = (result{a: a}); c.begin(a, how, r) {
		c.run(a, base, r)
	}
}

// begin numbers and counts an attempt and gives it the request's body. Where
// there is none to be had, r says so.
func (c *call) begin(a *attempt, how turn, r *result) bool {
	c.tried++
	a.number, a.how = uint16(min(c.tried, math.MaxUint16)), how
	a.watch.holding = a.permit.Held()
	r.o = Outcome{Class: Canceled, Unsent: true, Reason: "panic"} // if it comes to one in GetBody
	var err error
	if a.req.Body, err = c.replay.body(c.in.Body); err != nil {
		a.conclude(Outcome{Class: Canceled, Unsent: true, Reason: "request_body"})
		r.err, r.o = err, classifyError(c.in, err)
		return false
	}
	c.count(a)
	return true
}

// run sends an attempt that has begun.
func (c *call) run(a *attempt, base http.RoundTripper, r *result) {
	var res *http.Response
	done := false
	defer func() {
		if !done { // Base or a function of the user panicked: give everything back
			if res != nil && res.Body != nil {
				res.Body.Close()
			}
			a.conclude(Outcome{Class: Canceled, Reason: "panic"})
			a.end(finished)
			c.replay.end(c.in.Body)
		}
	}()
	a.start()
	res, err := base.RoundTrip(&a.req)
	c.judge(r, res, err)
	done = true
}

// judge gives the provisional verdict on what Base returned.
func (c *call) judge(r *result, res *http.Response, err error) {
	a, at := r.a, mono.Now()
	now := at.Time()
	if res != nil && err != nil { // which no RoundTripper may return
		if res.Body != nil {
			res.Body.Close()
		}
	} else if res == nil && err == nil {
		err = errNothing
	}
	if err != nil {
		c.failed(r, err, now)
		return
	}
	if res.Body == nil {
		res.Body = http.NoBody
	}
	if res.Header == nil {
		res.Header = make(http.Header)
	}
	if res.Body != http.NoBody && bodiless(c.in, res) {
		res.Body.Close() // nobody needs to read it to its end first
		res.Body = http.NoBody
	}
	if res.Body == http.NoBody && res.StatusCode == http.StatusOK && c.asked.inference && c.asked.stream {
		res.Body = &stored{err: io.EOF} // to be found an empty stream: no SDK takes it for an error by itself
	}
	if !a.header(at) {
		res.Body.Close()
		c.failed(r, a.Err(), now)
		return
	}

	var prefix []byte
	switch {
	case res.Body == http.NoBody:
	case res.StatusCode >= 400:
		r.rest = hold(res.Body, maxHeld)
		res.Body, prefix = r.rest, r.rest.prefix()
		if err := a.Err(); err != nil {
			res.Body.Close()
			c.failed(r, err, now)
			return
		}
	default:
		err := a.openAnswer(res)
		now = mono.Now().Time()
		if err != nil {
			res.Body.Close()
			c.failed(r, err, now)
			return
		}
	}
	r.res = res
	o, over := Outcome{}, false
	if r.rest != nil {
		o = classifyResponse(c.asked.route(), c.in, res, prefix, now)
	} else {
		o, prefix, over = a.opened(res, now)
	}
	if r.o = o; c.t.Classify != nil {
		seen := *res
		seen.Body = &seenBody{*bytes.NewReader(prefix), o}
		r.o = c.t.Classify(&a.req, &seen, nil)
	}
	if r.rest == nil && prefix == nil && r.o.Class.actionable() && res.Body != http.NoBody {
		r.rest = hold(res.Body, maxHeld) // what a Classify of the user's calls a failure is kept like one
		res.Body = r.rest
	}
	c.regulate(a, r.o, now)
	switch {
	case res.Body == http.NoBody, r.rest != nil && r.rest.whole():
		r.keep()
	case !a.serve(res, r.o):
		res.Body.Close()
		c.failed(r, a.Err(), now)
	case over && r.o.Class == Success:
		a.conclude(o) // which can be worse
	case over:
		a.conclude(r.o)
	}
}

// seenBody is what a Classify hook gets to see of a body, and the verdict on it.
// That cannot be told from the bytes alone: a stream that goes on and one that
// has broken off look alike where the hook sees EOF.
type seenBody struct {
	bytes.Reader
	o Outcome
}

func (*seenBody) Close() error { return nil }

// bodiless reports whether res has no body by definition (RFC 9110 §6.4.1).
func bodiless(req *http.Request, res *http.Response) bool {
	return req.Method == http.MethodHead || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
}

// failed is the result of an attempt without a response.
func (c *call) failed(r *result, err error, now time.Time) {
	a, o := r.a, Outcome{}
	err = a.translate(err)
	if a.hasLostRace() {
		o = Outcome{Class: Canceled, Reason: overtakenReason}
	} else if c.t.Classify != nil {
		o = c.t.Classify(&a.req, nil, err)
	} else {
		o = classifyError(c.in, err)
	}
	if o.Class == Rejected {
		c.uncount(a)
	}
	a.swallowed = !a.watch.served && o.Class == Canceled && isDeadline(c.ctx()) && a.lease.BlackHole(mono.Of(now).Sub(a.watch.started))
	c.regulate(a, o, now)
	a.conclude(o)
	a.end(finished)
	*r = result{a: a, err: err, o: o}
}

// regulate tells the key's queue what the server said about its quota.
func (c *call) regulate(a *attempt, o Outcome, now time.Time) {
	if !a.permit.Held() {
		return
	}
	var gated time.Time
	switch o.Class {
	case RateLimited:
		gated = c.gateUntil(o, now)
		c.limited(c.t.Limiter.report(a.permit, &o, gated, now), now)
		c.t.Limiter.gateShared(c.ctx(), c.queue, gated.Sub(now), c.t.Observe)
	case QuotaExhausted:
		gated = a.permit.Exhausted(o.NotBefore, now)
		c.extra().setGatedUntil(gated)
		c.t.Limiter.gateShared(c.ctx(), c.queue, gated.Sub(now), c.t.Observe)
	default:
		c.limited(c.t.Limiter.report(a.permit, &o, time.Time{}, now), now)
		if o.Class == Success {
			a.permit.ClearExhausted()
		}
		return
	}
	if c.t.Observe != nil {
		c.t.Observe(Event{Kind: EventGated, Time: now, Key: c.queue.key.String(), Outcome: o, Until: gated})
	}
}

// gateUntil is how long a 429 gates the key: until the server's time, with jitter
// after it, or without a hint for one step of the call's backoff.
func (c *call) gateUntil(o Outcome, now time.Time) time.Time {
	e := c.extra()
	if hint := o.NotBefore.Sub(now); !o.NotBefore.IsZero() && hint > 0 {
		return e.setGatedUntil(o.NotBefore.Add(jitterAfter(hint)))
	}
	return e.setGatedUntil(now.Add(c.nextPause(o, now)))
}

// limited tells of limits that have changed.
func (c *call) limited(changes []limit.Change, now time.Time) {
	if c.t.Observe == nil {
		return
	}
	for _, ch := range changes {
		c.t.Observe(Event{Kind: EventLimit, Time: now, Key: c.queue.key.String(), Limit: limitOf(ch.Limit), Was: perMinute(ch.Limit.Kind, ch.Previous)})
	}
}
