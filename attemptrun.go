package snubber

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/body"
	"github.com/seed-9e4f5248/snubber/internal/breaker"
	"github.com/seed-9e4f5248/snubber/internal/limit"
	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// result is the outcome of one attempt, or of a call.
type result struct {
	a          *attempt // nil if none was sent
	res        *http.Response
	err        error
	o          Outcome
	prefetched *body.Prefetched // the reader of an error body that has not ended
	truncated  bool             // the body was buffered before its end
}

func (r *result) exists() bool { return r.res != nil || r.err != nil }

// buffer gives the connection back and holds what was read of the response in memory.
// If the next attempt is refused, the caller gets this response.
func (r *result) buffer() {
	if r.prefetched != nil {
		r.truncated = !r.prefetched.Complete()
		r.prefetched.Buffer(r.res)
		r.prefetched = nil
	}
	if r.a != nil {
		r.a.bufferLookahead(r.res, r.o)
		r.a.finish(r.o)
		r.a.end(attemptFinished)
	}
}

// discard ends the attempt and closes a response that nobody will get.
func (r *result) discard() {
	if r.a != nil {
		r.a.finish(r.o)
		r.a.end(attemptFinished)
	}
	if r.res != nil && r.res.Body != nil {
		r.res.Body.Close()
	}
}

// abandonAttempt gives back what an attempt has taken, after a panic.
func (c *call) abandonAttempt(r *result) {
	if a := r.a; a != nil && a.number == 0 { // it has not begun
		c.queue.cancel(a.permit)
		a.circuitPermit.Done(breaker.Neutral, time.Time{}, time.Now())
		r.a = nil
	}
	r.discard()
}

// attemptOnce sends one attempt and sets r, with the provisional verdict.
func (c *call) attemptOnce(a *attempt, kind admission, base http.RoundTripper, r *result) {
	if *r = (result{a: a}); c.beginAttempt(a, kind, r) {
		c.runAttempt(a, base, r)
	}
}

// beginAttempt numbers and counts an attempt and gives it the request's body. If the
// body cannot be sent again, it sets r to the error and reports false.
func (c *call) beginAttempt(a *attempt, kind admission, r *result) bool {
	c.tally.tried++
	a.number, a.kind = uint16(min(c.tally.tried, math.MaxUint16)), kind
	a.watch.Holding = a.permit.Held()
	r.o = Outcome{Class: Canceled, Unsent: true, Reason: "panic"} // of GetBody
	var err error
	if a.req.Body, err = c.replay.Next(c.req.Body); err != nil {
		a.finish(Outcome{Class: Canceled, Unsent: true, Reason: "request_body"})
		r.err, r.o = err, classifyError(c.req, err)
		return false
	}
	c.count(a)
	return true
}

// runAttempt sends an attempt that has begun. Until it returns, r is what a panic of
// Base or of a function of the user leaves.
func (c *call) runAttempt(a *attempt, base http.RoundTripper, r *result) {
	r.o = Outcome{Class: Canceled, Reason: "panic"}
	a.start()
	r.res, r.err = base.RoundTrip(&a.req)
	c.classifyAttempt(r)
}

// classifyAttempt gives the provisional verdict on what Base returned.
func (c *call) classifyAttempt(r *result) {
	a, at := r.a, mono.Now()
	if c.normalize(r); r.err != nil {
		c.attemptFailed(r, r.err, at.Time())
		return
	}
	if !a.headerSeen(at) {
		c.dropResponse(r, a.Err(), at.Time())
		return
	}
	now, err := c.readAhead(r, at.Time())
	if err != nil {
		c.dropResponse(r, err, now)
		return
	}
	own, last := c.judge(r, now)
	c.reportToLimiter(a, r.o, now)
	switch {
	case r.res.Body == http.NoBody, r.prefetched != nil && r.prefetched.Complete():
		r.buffer()
	case !a.wrapBody(r.res, r.o):
		c.dropResponse(r, a.Err(), now)
	case last && r.o.Class == Success:
		a.finish(own) // the final verdict can only be worse
	case last:
		a.finish(r.o)
	}
}

// normalize makes what Base returned either an error or a response with a header and a
// body.
func (c *call) normalize(r *result) {
	res := r.res
	if res != nil && r.err != nil { // no RoundTripper may return both
		if res.Body != nil {
			res.Body.Close()
		}
		r.res = nil
	}
	if res == nil && r.err == nil {
		r.err = errNoResponse
	}
	if r.err != nil {
		return
	}
	if res.Body == nil {
		res.Body = http.NoBody
	}
	if res.Header == nil {
		res.Header = make(http.Header)
	}
	if res.Body != http.NoBody && bodiless(c.req, res) {
		res.Body.Close() // so that nobody has to read it to its end
		res.Body = http.NoBody
	}
	if res.Body == http.NoBody && res.StatusCode == http.StatusOK && c.info.inference && c.info.stream {
		res.Body = body.NewMemory(nil, io.EOF) // an empty stream, which lookAhead takes for truncated: no SDK would
	}
}

// readAhead reads the part of the body that the verdict needs, and returns the time
// after. An error has ended the attempt meanwhile.
func (c *call) readAhead(r *result, now time.Time) (time.Time, error) {
	switch {
	case r.res.Body == http.NoBody:
		return now, nil
	case r.res.StatusCode >= 400:
		r.prefetched = body.Prefetch(r.res.Body)
		r.res.Body = r.prefetched
		return now, r.a.Err()
	}
	err := r.a.lookAhead(r.res)
	return mono.Now().Time(), err
}

// judge gives the verdict on a response. own is the package's verdict, without a
// Classify hook. last says that it is final: the rest of the body holds nothing.
func (c *call) judge(r *result, now time.Time) (own Outcome, last bool) {
	var seen []byte
	if r.prefetched != nil {
		seen = r.prefetched.Bytes()
		own = classifyResponse(c.info.route(), c.req, r.res, seen, now)
	} else {
		own, seen, last = r.a.classifyLookahead(r.res, now)
	}
	o := own
	if c.t.Classify != nil {
		res := *r.res
		res.Body = &seenBody{*bytes.NewReader(seen), own}
		o = c.t.Classify(&r.a.req, &res, nil)
	}
	if r.o = o; r.prefetched == nil && seen == nil && o.Class.actionable() && r.res.Body != http.NoBody {
		r.prefetched = body.Prefetch(r.res.Body) // a failure by a hook is buffered like any other
		r.res.Body = r.prefetched
	}
	return own, last
}

// dropResponse sets r for an attempt that ended before its response was the caller's.
func (c *call) dropResponse(r *result, err error, now time.Time) {
	r.res.Body.Close()
	c.attemptFailed(r, err, now)
}

// bodiless reports whether res has no body by definition (RFC 9110 §6.4.1).
func bodiless(req *http.Request, res *http.Response) bool {
	return req.Method == http.MethodHead || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
}

// attemptFailed sets r for an attempt without a response.
func (c *call) attemptFailed(r *result, err error, now time.Time) {
	a, o := r.a, Outcome{}
	err = a.translate(err)
	if a.hasLostRace() {
		o = Outcome{Class: Canceled, Reason: lostRaceReason}
	} else if c.t.Classify != nil {
		o = c.t.Classify(&a.req, nil, err)
	} else {
		o = classifyError(c.req, err)
	}
	if o.Class == Rejected {
		c.uncount(a)
	}
	a.blackHole = !a.watch.HeaderSeen() && o.Class == Canceled && isDeadline(c.ctx()) && a.circuitPermit.BlackHole(mono.Of(now).Sub(a.watch.Started))
	c.reportToLimiter(a, o, now)
	a.finish(o)
	a.end(attemptFinished)
	*r = result{a: a, err: err, o: o}
}

// reportToLimiter tells the key's queue what the server said about its quota.
func (c *call) reportToLimiter(a *attempt, o Outcome, now time.Time) {
	if !a.permit.Held() {
		return
	}
	var gated time.Time
	switch o.Class {
	case RateLimited:
		gated = c.gateUntil(o, now)
		changes, gates := c.t.Limiter.report(a.permit, &o, gated, now)
		c.onLimits(changes, now)
		if !gates { // the refusal is this call's alone
			if o.NotBefore.IsZero() { // half the step is enough where nobody else waits
				c.extra().setGatedUntil(now.Add(gated.Sub(now) / 2))
			}
			return
		}
		c.t.Limiter.gateShared(c.ctx(), c.queue, gated.Sub(now), c.t.Observe)
	case QuotaExhausted:
		if gated = a.permit.Exhausted(o.NotBefore, now); gated.IsZero() {
			return // the refusal is this call's alone
		}
		c.extra().setGatedUntil(gated)
		c.t.Limiter.gateShared(c.ctx(), c.queue, gated.Sub(now), c.t.Observe)
	default:
		changes, _ := c.t.Limiter.report(a.permit, &o, time.Time{}, now)
		c.onLimits(changes, now)
		if o.Class == Success {
			a.permit.ClearExhausted()
		}
		return
	}
	if c.t.Observe != nil {
		c.t.Observe(Event{Kind: EventGated, Time: now, Key: c.queue.key.String(), Outcome: o, Until: gated})
	}
}

// gateUntil returns how long a 429 gates the key. That is until the server's time, with
// jitter after it. Without such a time it is one step of the call's backoff.
func (c *call) gateUntil(o Outcome, now time.Time) time.Time {
	e := c.extra()
	if hint := o.NotBefore.Sub(now); !o.NotBefore.IsZero() && hint > 0 {
		return e.setGatedUntil(o.NotBefore.Add(jitterAfter(hint)))
	}
	return e.setGatedUntil(now.Add(c.nextBackoff(o, now)))
}

// onLimits reports limits that have changed.
func (c *call) onLimits(changes []limit.Change, now time.Time) {
	if c.t.Observe == nil {
		return
	}
	for _, ch := range changes {
		c.t.Observe(Event{Kind: EventLimit, Time: now, Key: c.queue.key.String(), Limit: limitOf(ch.Limit), Previous: perMinute(ch.Limit.Kind, ch.Previous)})
	}
}
