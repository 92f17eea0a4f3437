package snubber

import (
	"context"
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/body"
	"github.com/seed-9e4f5248/snubber/internal/dialect"
	"github.com/seed-9e4f5248/snubber/internal/httpcache"
	"github.com/seed-9e4f5248/snubber/internal/keyed"
)

// cacheCall is a call as the cache sees it. It implements [httpcache.Caller].
type cacheCall call

func (c *cacheCall) call() *call { return (*call)(c) }

func (c *cacheCall) Request() *http.Request     { return c.req }
func (c *cacheCall) HookRequest() *http.Request { return c.call().hookRequest() }
func (c *cacheCall) Values() httpcache.Values   { return (*keptValues)(c) }

func (c *cacheCall) Facts() httpcache.Facts {
	ctx := c.req.Context()
	return httpcache.Facts{
		NoCache: ctx.Value(noCacheKey{}) != nil, Priority: priorityOf(ctx),
		Inference: c.info.inference, Known: c.info.format != dialect.Unknown, Stream: c.info.stream,
		Model: c.info.model,
	}
}

func (c *cacheCall) WithBody(use func([]byte)) bool {
	return c.replay.WithBytes(c.req.ContentLength, use)
}

func (c *cacheCall) Start(ctx context.Context, stale httpcache.StaleSource) httpcache.Exchange {
	return c.call().newCacheExchange(ctx, stale)
}

func (c *cacheCall) ReclaimBody(x httpcache.Exchange) {
	c.replay = x.(*cacheExchange).call.replay.HandBack()
}

func (c *cacheCall) Bypass(inspect httpcache.Inspector) (*http.Response, error) {
	k := c.call()
	var r result
	k.roundTripUncached(&r)
	done := false
	defer func() {
		if !done { // a function of the user or the store has panicked
			r.discard()
		}
	}()
	if r.res != nil {
		inspect.Inspect(r.cacheResult(k.root()))
	}
	done = true
	return k.deliver(&r)
}

func (c *cacheCall) AddCosts(x httpcache.Exchange) { c.call().addCosts(&x.(*cacheExchange).call) }

func (c *cacheCall) Deliver(res *http.Response, err error, from httpcache.Exchange) (*http.Response, error) {
	k := c.call()
	switch {
	case from != nil:
		x := from.(*cacheExchange)
		if k.tally.tried = x.call.tally.tried; k.tally.tried > 0 {
			o := x.call.tally.outcome()
			k.recordOutcome(&o)
		}
		return k.deliver(&result{res: res, err: err, o: x.r.o})
	case err != nil:
		return k.deliver(&result{err: err, o: classifyError(k.req, err)})
	}
	k.recordOutcome(&Outcome{Class: Success})
	return k.deliver(&result{res: res, o: Outcome{Class: Success}})
}

func (c *cacheCall) DeliverShared(res *http.Response, from httpcache.Exchange) (*http.Response, error) {
	x := from.(*cacheExchange)
	c.call().recordOutcome(&x.r.o)
	return c.call().deliver(&result{res: res, o: x.r.o})
}

func (c *cacheCall) RecordOutcome(err error, from httpcache.Exchange) {
	o := Outcome{Class: Success}
	switch {
	case from != nil:
		o = from.(*cacheExchange).call.tally.outcome()
	case err == httpcache.ErrSlowReader:
		o = Outcome{Class: Canceled, Reason: "stalled"}
	case err != nil:
		o = classifyError(c.req, err)
	}
	c.call().recordOutcome(&o)
}

func (c *cacheCall) ReleaseBody() { c.replay.Release(c.req.Body) }

func (c *cacheCall) SetStatus(status, detail string) {
	c.call().root().setCacheStatus(CacheStatus(status), detail)
	c.observe(status, detail)
}

// StoreFault reports a failure of the store. The store's error may hold anything, so it
// is not part of the event.
func (c *cacheCall) StoreFault(op string) { c.observe("store", op) }

func (c *cacheCall) observe(cache, detail string) {
	if o := c.t.Observe; o != nil {
		o(Event{Kind: EventCache, Time: time.Now(), Key: keyed.Origin(c.call().hookRequest().URL, c.info.model).String(), Cache: CacheStatus(cache), Detail: detail})
	}
}

// keptValues are the values of a call's context, except for those that tie it to the
// calls around it, which an exchange may outlive.
type keptValues call

func (c *keptValues) Value(key any) any {
	switch key.(type) {
	case attemptKey, knownRequestKey, reportHandleKey, reportedKey:
		return nil
	}
	return c.req.Context().Value(key)
}

// cacheExchange is a call that the cache makes on behalf of callers. It implements
// [httpcache.Exchange].
type cacheExchange struct {
	call call
	r    result
}

// newCacheExchange makes an exchange for the same request. It ends with ctx and not
// with this call.
func (c *call) newCacheExchange(ctx context.Context, stale httpcache.StaleSource) *cacheExchange {
	x := new(cacheExchange)
	d, known := &x.call, knownRequest{req: c.req.Clone(ctx), info: c.info}
	if _, ok := c.ctx().Deadline(); ok {
		//lint:ignore SA1019 http.Client sets it, besides the context's, for its caller's Timeout, which is not the exchange's.
		known.req.Cancel = nil
	}
	d.init(c.t, known, nil, c.replay)
	c.replay = body.Replay{}
	if c.t.Retry != nil {
		if d.tally.limit = c.t.Retry.attempts(); c.parent != nil {
			d.tally.limit = min(d.tally.limit, c.root().remaining())
		}
	}
	e := d.extra()
	e.staleSource, e.cacheCaller = stale, (*cacheCall)(d)
	return x
}

func (x *cacheExchange) Request() *http.Request { return x.call.req }

func (x *cacheExchange) Send() httpcache.Result {
	x.call.roundTripUncached(&x.r)
	x.call.replay.Release(x.call.req.Body)
	return x.r.cacheResult(&x.call.tally)
}

func (x *cacheExchange) Discard() { x.r.discard() }

func (x *cacheExchange) Again(ctx context.Context, stale httpcache.StaleSource) httpcache.Exchange {
	again := x.call.newCacheExchange(ctx, stale)
	again.call.addCosts(&x.call)
	return again
}

func (x *cacheExchange) Waiting() bool {
	if x.call.t.Limiter == nil {
		return false
	}
	return x.call.tally.requests() == 0
}

func (x *cacheExchange) Complete() bool { return x.r.a.complete() }

func (r *result) cacheResult(root *tally) httpcache.Result {
	return httpcache.Result{Response: r.res, Err: r.err, Canceled: r.o.Class == Canceled, Rerouted: root.rerouted(), Truncated: r.truncated}
}

// staleResponse is the stored response to the request that the cache sends x for.
func (x *exchange) staleResponse(now time.Time) (*http.Response, bool) {
	e := x.lazyExtra.Load()
	if e == nil || e.staleSource == nil {
		return nil, false
	}
	res := e.staleSource.Stale(e.cacheCaller, now)
	return res, res != nil
}

// addCosts adds the attempts, waits and routes of a call that was made for this one.
func (c *call) addCosts(of *call) {
	claimed := c.parent != nil && of.tally.requests() > 0 && c.parent.claim()
	c.root().addCosts(&of.tally, claimed)
	if results, answeredBy := of.tally.routes(); results != nil || answeredBy != 0 || c.parent != nil {
		c.recordRoutes(results, answeredBy)
	}
}
