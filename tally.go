package snubber

import (
	"math"
	"sync"
	"time"
)

// tally counts for a whole call, over all of its Transports. It has the counters that
// bound the call, and the values of its Report. Only the tally of the outermost
// exchange is in use. Nested calls and their attempts write to it through
// [exchange.root], from several goroutines.
//
// mu guards all of it but tried. Under mu only the mutexes of the report's handles are taken.
type tally struct {
	mu    sync.Mutex
	extra *tallyExtra // what most calls do without
	last  *Outcome    // the latest verdict; nil for none yet, or for a plain success

	limit      int32 // of attempts that count; 0: no Retry has set one
	sent       int32 // requests on the wire
	uncounted  uint8 // those that count as no attempt, because they were requeued
	requeued   uint8 // how often the call was put off
	decided    bool  // a Retry has decided about the failure
	onlyUnsafe bool  // it declined only because repeating was not safe

	// tried is the number of attempts of this exchange alone, which numbers them. It
	// belongs to the goroutine of the loop. It is here because four bytes were free: a
	// larger call is of the next size class.
	tried int32
}

// tallyExtra is what most calls do without. It is made when a call first needs it.
type tallyExtra struct {
	handle *ReportHandle
	call   int // its number in handle

	queueTime, backoffTime time.Duration
	results                []RouteResult // of the routes; Reports share it, so it must not be changed
	answeredBy             int           // the route whose response it is
	rerouted               bool          // the response is to another request than the caller's
	cache                  CacheStatus
	cacheDetail            string
}

// maxRequeues bounds how often a call may be put off.
const maxRequeues = 8

func (t *tally) extraLocked() *tallyExtra {
	if t.extra == nil {
		t.extra = new(tallyExtra)
	}
	return t.extra
}

// add counts a request that is sent. A requeued one counts as no attempt.
func (t *tally) add(requeued bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent++
	if requeued {
		t.uncounted++
	}
}

// remove takes back what add counted: nothing was sent.
func (t *tally) remove(requeued bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent--
	if requeued {
		t.uncounted--
	}
}

// requests returns the number of requests sent so far.
func (t *tally) requests() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int(t.sent)
}

// attemptLeft reports whether the attempts of all Transports together leave another
// one.
func (t *tally) attemptLeft() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sent-int32(t.uncounted) < t.limit
}

// setLimit sets the limit of attempts, unless a Transport further out has a Retry.
// Requests sent before were sent once for each route, except the attempt that this
// Transport is part of.
func (t *tally) setLimit(attempts int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limit == 0 {
		t.limit = attempts + max(0, t.sent-int32(t.uncounted)-1)
	}
}

// allowRoute adds the attempt of another route to the limit. A route adds its attempt
// only when it is tried. Otherwise the routes before it could use it up.
func (t *tally) allowRoute() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limit > 0 && t.limit < math.MaxInt32 {
		t.limit++
	}
}

// mayRequeue reports whether the call may be put off once more.
func (t *tally) mayRequeue() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.requeued < maxRequeues
}

func (t *tally) requeue() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requeued++
}

// noteRetryDecision notes that a Retry has decided about a failure, and whether it
// declined only because repeating was not safe.
func (t *tally) noteRetryDecision(unsafe bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.decided, t.onlyUnsafe = true, unsafe
}

// repeatingDecided reports whether a Retry has decided that the failure is final. If
// repeating was only not safe, the SDK above may know better.
func (t *tally) repeatingDecided() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.decided && !t.onlyUnsafe
}

// addWait adds to the times that the call has waited in queues and between attempts.
func (t *tally) addWait(queued, waited time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.extraLocked()
	e.queueTime += queued
	e.backoffTime += waited
}

// setRoutes records what became of the routes, and which one answered.
func (t *tally) setRoutes(results []RouteResult, answeredBy int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if results != nil || answeredBy != 0 || t.extra != nil {
		e := t.extraLocked()
		e.results, e.answeredBy = results, answeredBy
	}
}

// routes returns what setRoutes recorded last.
func (t *tally) routes() (results []RouteResult, answeredBy int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.extra == nil {
		return nil, 0
	}
	return t.extra.results, t.extra.answeredBy
}

// markRerouted notes that the response is to another request than the caller's, so the
// cache must not store it. A Balancer's routes all give the response that was asked
// for.
func (t *tally) markRerouted() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.extraLocked().rerouted = true
}

func (t *tally) rerouted() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.extra != nil && t.extra.rerouted
}

// setCacheStatus records how the cache took part.
func (t *tally) setCacheStatus(status CacheStatus, detail string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.extraLocked()
	e.cache, e.cacheDetail = status, detail
}

// setOutcome makes o the call's outcome and reports it.
func (t *tally) setOutcome(o *Outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = nil
	if o.Class != Success || o.Quotas != nil || o.Usage != (Usage{}) {
		t.last = new(Outcome)
		*t.last = *o
	}
	t.reportLocked()
}

// outcome returns the call's latest outcome.
func (t *tally) outcome() Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.outcomeLocked()
}

func (t *tally) outcomeLocked() Outcome {
	if t.last != nil {
		return *t.last
	}
	return Outcome{Class: Success}
}

// addCosts adds what another call, made for this one, has come to. claimed says that
// this call has counted its first request already.
func (t *tally) addCosts(other *tally, claimed bool) {
	other.mu.Lock()
	sent, uncounted, requeued, decided, unsafe := other.sent, other.uncounted, other.requeued, other.decided, other.onlyUnsafe
	var queueTime, waitTime time.Duration
	rerouted := false
	if e := other.extra; e != nil {
		queueTime, waitTime, rerouted = e.queueTime, e.backoffTime, e.rerouted
	}
	other.mu.Unlock()

	if claimed {
		sent--
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent += sent
	t.uncounted += uncounted
	t.requeued += requeued
	t.decided, t.onlyUnsafe = t.decided || decided, t.onlyUnsafe || unsafe
	if queueTime|waitTime != 0 || rerouted {
		e := t.extraLocked()
		e.queueTime += queueTime
		e.backoffTime += waitTime
		e.rerouted = e.rerouted || rerouted
	}
}

// remaining returns the limit for a call that is made for this one by an attempt of a
// Transport around it. That attempt is the other call's first.
func (t *tally) remaining() int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limit - t.sent + int32(t.uncounted) + 1
}

// writeReport writes the Report to its handles.
func (t *tally) writeReport() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reportLocked()
}

func (t *tally) reportLocked() {
	if t.extra != nil && t.extra.handle != nil {
		t.extra.handle.write(t.extra.call, t.snapshotLocked())
	}
}

func (t *tally) snapshotLocked() Report {
	r := Report{Attempts: int(t.sent), Requeued: int(t.requeued), Outcome: t.outcomeLocked()}
	if e := t.extra; e != nil {
		r.QueueTime, r.BackoffTime, r.AnsweredBy, r.Routes, r.Cache, r.CacheDetail = e.queueTime, e.backoffTime, e.answeredBy, e.results, e.cache, e.cacheDetail
	}
	return r
}

// startReport makes the call the one that h is about.
func (t *tally) startReport(h *ReportHandle) {
	n := h.begin()
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.extraLocked()
	e.handle, e.call = h, n
}

// ownReport returns the call's own handle, which is filled from now on.
func (t *tally) ownReport() *ReportHandle {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.extraLocked()
	if h := e.handle; h == nil || !h.own {
		e.handle, e.call = &ReportHandle{own: true, shared: h, call: e.call, report: Report{Calls: 1}}, 1
		t.reportLocked()
	}
	return e.handle
}
