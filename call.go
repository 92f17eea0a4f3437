package snubber

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/breaker"
	"github.com/seed-9e4f5248/snubber/internal/dialect"
	"github.com/seed-9e4f5248/snubber/internal/httpcache"
	"github.com/seed-9e4f5248/snubber/internal/keyed"
	"github.com/seed-9e4f5248/snubber/internal/limit"
	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// call is one round trip of one Transport: the caller's request, what was read
// of it, and its first attempt, in one allocation. Its size is most of what a
// call costs; what only failing calls need is in callExtra.
type call struct {
	t      *Transport
	in     *http.Request // the caller's, never written to
	outer  *attempt      // of the Transport around this one; nil for the outermost
	asked  asked
	replay replay

	circuit *circuit
	queue   *keyQueue
	lazy    atomic.Pointer[callExtra]
	tried   int32 // attempts of this Transport
	tally   tally // of the outermost call

	first attempt
}

// callExtra is what a call needs only when it does not go straight through.
type callExtra struct {
	owed   bool                  // a retry that the budget paid for was sent back by a limit
	stale  httpcache.StaleSource // of the cache, whose exchange this call is
	route  int                   // that is tried, from 1
	below  bool                  // and has this Transport's layers
	router router                // of a Spread's call

	mu    sync.Mutex // attempts that race may be here at once
	pause *pause
	gated time.Time // until when this call's own 429 has shut the gate
}

var (
	errNoURL    = errors.New("http: nil Request.URL")
	errNoHeader = errors.New("http: nil Request.Header")
	errNothing  = errors.New("the base RoundTripper returned neither a response nor an error")
)

// newCall takes a request in. Its error leaves the body to the caller.
func (t *Transport) newCall(req *http.Request, routes router) (*call, error) {
	switch {
	case req.URL == nil:
		return nil, errNoURL
	case req.Header == nil:
		return nil, errNoHeader
	case t.Limiter.unshareable():
		return nil, errNoSecret
	}
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	outer := enclosing(ctx)
	if outer != nil && t.Fallback != nil && t.reroutes(outer) {
		t = t.layers() // else its routes would have it as a route, without end
	}
	c := &call{t: t, in: req, outer: outer}
	if routes.balanced() {
		c.extra().router = routes
	}
	if t.parent != nil {
		c.markLayersObserve()
	}
	record, count := t.Retry != nil || t.Fallback != nil || routes.alternatives() > 0, t.Limiter.counts()
	var err error
	if o := c.outer; o != nil && o.req.URL == req.URL && (o.call.asked.counted || !count) {
		c.asked = o.call.asked
		c.replay, _, err = newReplay(req, dialect.Route{}, record, false)
	} else {
		var p dialect.Prompt
		route := dialect.RouteOf(req.Method, req.URL)
		c.replay, p, err = newReplay(req, route, record, count)
		c.asked = newAsked(route, p, count)
	}
	if err != nil {
		return nil, err
	}
	if t.Retry != nil {
		c.root().setLimit(t.Retry.attempts())
	}
	if c.outer == nil {
		if sink, _ := ctx.Value(reportSinkKey{}).(*reportSink); sink != nil {
			c.tally.startReport(sink)
		}
	}
	c.first.prepare(c)
	return c, nil
}

func (c *call) ctx() context.Context { return c.in.Context() }

// view is the request as the functions of the user get it: [Model] knows it.
func (c *call) view() *http.Request { return &c.first.req }

func (c *call) newAttempt() *attempt {
	if c.tried == 0 {
		return &c.first
	}
	a := new(attempt)
	a.prepare(c)
	return a
}

// prepare makes the attempt's request: the caller's, with the attempt as its
// context. The header map stays the caller's own; no layer writes to it.
func (a *attempt) prepare(c *call) {
	a.call = c
	a.req = *c.in.WithContext(a)
	a.req.GetBody = c.replay.again
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

func isDeadline(ctx context.Context) bool { return errors.Is(ctx.Err(), context.DeadlineExceeded) }

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

func (e *callExtra) setGatedUntil(t time.Time) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gated = t
	return t
}

func (e *callExtra) gatedUntil() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gated
}

// extra is the call's callExtra, made when it is first needed. A Transport below
// may need it at the same time.
func (c *call) extra() *callExtra {
	if e := c.lazy.Load(); e != nil {
		return e
	}
	c.lazy.CompareAndSwap(nil, new(callExtra))
	return c.lazy.Load()
}

// nextPause is the next wait of the call's backoff.
func (c *call) nextPause(o Outcome, now time.Time) time.Duration {
	e := c.extra()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pause == nil {
		rt := c.t.Retry
		if rt == nil {
			rt = &Retry{}
		}
		e.pause = rt.newPause()
	}
	return e.pause.next(o, now)
}

// pauseFor waits between two attempts. It reports false if the caller's
// context ended first.
func (c *call) pauseFor(d time.Duration, o Outcome, attempts int) bool {
	ctx := c.ctx()
	if c.t.Observe != nil {
		c.t.Observe(Event{Kind: EventRetry, Time: time.Now(), Key: c.serviceKey().String(), Attempt: attempts, Outcome: o, Wait: d})
	}
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err() == nil
	}
	began := time.Now()
	defer func() { c.root().addWait(0, time.Since(began)) }()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serviceKey names what the call goes to: its circuit's key, which the retry
// budget shares.
func (c *call) serviceKey() keyed.Key {
	if c.circuit != nil {
		return c.circuit.key
	}
	return keyed.Origin(c.view().URL, c.asked.model)
}

// concluded passes the final verdict on an attempt to everyone who counts.
func (c *call) concluded(a *attempt, o *Outcome, took time.Duration, now time.Time) {
	class, notBefore := o.Class, o.NotBefore
	if a.swallowed {
		class, notBefore = TimedOut, time.Time{}
	}
	c.shifted(a.lease.Done(class.circuitResult(), notBefore, now), now)
	if rt := c.t.Retry; rt != nil && o.Class == Success {
		retried := a.how == paid || a.how == hedging || a.how == deferred && c.extra().owed
		if retried || a.number == 1 && a.how == first {
			rt.budgetInUse().succeeded(c.serviceKey(), retried, now)
		}
	}
	if c.t.Observe == nil || o.Class == Rejected { // which is no attempt
		return
	}
	e := Event{Kind: EventAttempt, Time: now, Key: c.serviceKey().String(), Attempt: int(a.number), Outcome: *o, Took: took}
	if a.how == rerouted {
		d := c.extra()
		if d.below {
			return // the layers have told, and by the route's own key
		}
		e.Route = d.route
	}
	c.t.Observe(e)
}

// onFallback notes that a route is tried. Of a Spread's the Transport around it
// tells.
func (c *call) onFallback(route int, o Outcome, now time.Time) {
	c.root().allowRoute()
	observe := c.t.Observe
	if c.balance() != nil && c.outer != nil {
		observe = c.outer.call.t.Observe
	}
	d := c.extra()
	d.route, d.below = route, false
	if observe != nil {
		observe(Event{Kind: EventFallback, Time: now, Key: c.serviceKey().String(), Outcome: o, Route: route})
	}
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

func (c *call) shifted(s breaker.Transition, now time.Time) {
	if s.From != s.To && s.To == breaker.Closed && c.queue != nil {
		c.queue.SlowStart(now) // who has just come up is not to meet all that waited
	}
	if s.From != s.To && c.t.Observe != nil {
		c.t.Observe(Event{Kind: EventCircuit, Time: now, Key: c.circuit.key.String(), From: CircuitState(s.From), To: CircuitState(s.To), Until: s.Until})
	}
}
