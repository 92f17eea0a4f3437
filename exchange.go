package snubber

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/breaker"
	"github.com/seed-9e4f5248/snubber/internal/httpcache"
	"github.com/seed-9e4f5248/snubber/internal/keyed"
)

// exchange is one request on its way through one Transport: what its attempts share,
// and what a Transport below them reads. It outlives RoundTrip, until the body of the
// response has ended.
type exchange struct {
	knownRequest
	t      *Transport
	parent *attempt // the attempt of the Transport around this one; nil for the outermost

	circuit   *circuit
	queue     *keyQueue
	lazyExtra atomic.Pointer[exchangeExtra]
	tally     tally // in use only in the outermost exchange
}

// exchangeExtra is what an exchange needs only if it retries, changes its route, or is
// made by a cache.
type exchangeExtra struct {
	refundDue     bool                  // a paid retry was requeued: the success of a requeued attempt pays it back
	staleSource   httpcache.StaleSource // the stored response of the cache that made this exchange
	cacheCaller   httpcache.Caller      // the call that it made the exchange for
	triedRoute    int                   // the number of the route that is tried, from 1
	routeObserves bool                  // the route has this Transport's layers, which report its attempts
	router        router                // the routes, if the exchange is a Balancer's

	mu      sync.Mutex // guards the rest: racing attempts may be here at once
	backoff *backoffSteps
	gated   time.Time // until when this call's own 429 has gated its key
}

func (x *exchange) ctx() context.Context { return x.req.Context() }

func (e *exchangeExtra) setGatedUntil(t time.Time) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gated = t
	return t
}

func (e *exchangeExtra) gatedUntil() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gated
}

// extra returns the exchangeExtra and makes it if there is none. A Transport below may
// need it at the same time.
func (x *exchange) extra() *exchangeExtra {
	if e := x.lazyExtra.Load(); e != nil {
		return e
	}
	x.lazyExtra.CompareAndSwap(nil, new(exchangeExtra))
	return x.lazyExtra.Load()
}

// serviceKey returns the key of the circuit, which the retry budget uses too.
func (x *exchange) serviceKey() keyed.Key {
	if x.circuit != nil {
		return x.circuit.key
	}
	return keyed.Origin(x.req.URL, x.info.model)
}

// root returns the tally of the whole call.
func (x *exchange) root() *tally {
	for x.parent != nil {
		x = x.parent.exchange
	}
	return &x.tally
}

// recordOutcome sets the outcome of the Report, which is that of the outermost
// Transport. An attempt around the call that has a final outcome keeps it: ending that
// attempt cancels the nested call, whose own outcome would only say so, and too late.
// The same holds for an attempt that may lose a race.
func (x *exchange) recordOutcome(o *Outcome) {
	if a := x.parent; a != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !a.finished && !a.flags.has(attemptHedged) { // the flag stays set if the attempt loses
			a.exchange.recordOutcome(o)
		}
		return
	}
	x.tally.setOutcome(o)
}

// onFinish passes the final verdict on an attempt to the circuit, the budget and the
// observer.
func (x *exchange) onFinish(a *attempt, o *Outcome, took time.Duration, now time.Time) {
	class, notBefore := o.Class, o.NotBefore
	if a.blackHole {
		class, notBefore = TimedOut, time.Time{}
	}
	x.onTransition(a.circuitPermit.Done(class.circuitResult(), notBefore, now), now)
	if rt := x.t.Retry; rt != nil && o.Class == Success {
		retried := a.kind == budgetedTry || a.kind == hedgeTry || a.kind == requeuedTry && x.extra().refundDue
		if retried || a.number == 1 && a.kind == firstTry {
			rt.budgetOrOwn().succeeded(x.serviceKey(), retried, now)
		}
	}
	if x.t.Observe == nil || o.Class == Rejected { // a Rejected request is no attempt
		return
	}
	e := Event{Kind: EventAttempt, Time: now, Key: x.serviceKey().String(), Attempt: int(a.number), Outcome: *o, Took: took, Detail: x.attemptDetail(a)}
	if a.kind == viaRoute {
		d := x.extra()
		if d.routeObserves {
			return // the layers have reported it, with the route's own key
		}
		e.Route = d.triedRoute
	}
	x.t.Observe(e)
}

// attemptDetail is why an attempt was made. The first attempt of a route with this
// Transport's layers is the route's.
func (x *exchange) attemptDetail(a *attempt) string {
	if a.kind == firstTry && x.t.parent != nil {
		return "fallback"
	}
	return [...]string{firstTry: "first", budgetedTry: "retry", requeuedTry: "requeue", hedgeTry: "hedge", viaRoute: "fallback", noRetry: ""}[a.kind]
}

// onTransition reports a transition of the circuit.
func (x *exchange) onTransition(s breaker.Transition, now time.Time) {
	if s.From != s.To && s.To == breaker.Closed && x.queue != nil {
		x.queue.SlowStart(now) // a service that has just recovered must not receive the whole backlog at once
	}
	if s.From != s.To && x.t.Observe != nil {
		x.t.Observe(Event{Kind: EventCircuit, Time: now, Key: x.circuit.key.String(), From: CircuitState(s.From), To: CircuitState(s.To), Until: s.Until})
	}
}
