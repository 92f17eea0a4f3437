package snubber

import (
	"context"
	"math"
	"net/http"
	"sync"
	"time"
)

// Report is what became of one call. It is filled while the call runs and may
// be read after the body of its response has ended, or after RoundTrip
// returned an error.
type Report struct {
	// Calls is the number of round trips made with a context of [WithReport]: an
	// SDK's retries and redirects each are one. The rest of that Report is about
	// the one that started last. A Report of [ReportOf] is about one call.
	Calls int
	// Attempts is the number of requests sent, those of nested Transports
	// included.
	Attempts int
	// Readmitted is how many of these were sent back by a server's limit or an
	// open circuit and cost no attempt.
	Readmitted int
	// Queued is the time spent in limiters' queues, Waited the time between
	// attempts and for circuits.
	Queued, Waited time.Duration
	// Cache says how the [Cache] took part, empty if there is none: "hit",
	// "stale" (a hit that is no longer fresh), "revalidated" (a hit that the server
	// confirmed), "miss", "collapsed" (answered by the call that another had begun)
	// or "bypass" (the request was none for the cache). An answer from another's
	// call, like one that is stored, has no Usage: it is billed once.
	Cache string
	// CacheDetail says in a few words why.
	CacheDetail string
	// Route is the one whose answer the caller got: 0 for the Transport's own, to
	// which the failure belongs too if all have failed, n for the nth of its
	// Fallback or its Spread.
	Route int
	// Hops are the routes that were asked, in that order, where it was more than
	// one: why each but the one that answered did not. Read it only.
	Hops []Hop
	// Outcome is the verdict on the last attempt, final once the body ended.
	Outcome Outcome
}

// Hop is what became of a request on one route.
type Hop struct {
	Route    int     // as in [Report.Route]
	Attempts int     // requests sent there, 0 if it was refused before
	Outcome  Outcome // the verdict when the next route was asked, or the answer came
}

// ledger is where a Report is kept: one that a context brought, for its calls
// one after the other, or one call's own, made when ReportOf first asked for it.
type ledger struct {
	mu     sync.Mutex
	report *Report
	latest *call
	own    bool    // made for latest
	shared *ledger // of the context, beside a call's own; nil if there is none
}

type ledgerKey struct{}

// WithReport returns a context whose calls fill the Report.
func WithReport(ctx context.Context) (context.Context, *Report) {
	l := &ledger{report: new(Report)}
	return context.WithValue(ctx, ledgerKey{}, l), l.report
}

// begin makes c the call that the Report is about.
func (l *ledger) begin(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest = c
	*l.report = Report{Calls: l.report.Calls + 1}
}

// write replaces the Report by r, unless a later call than c has begun.
func (l *ledger) write(c *call, r Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.latest == c {
		r.Calls = l.report.Calls
		*l.report = r
	}
	if l.shared != nil {
		l.shared.write(c, r)
	}
}

// reported is the caller's context with the call in it: the context of
// [http.Response.Request]. It does not carry the mark of nesting, so that a
// request made with it is a call of its own.
type reported struct{ c *call }

type reportKey struct{}

func (r reported) Deadline() (time.Time, bool) { return r.c.ctx().Deadline() }
func (r reported) Done() <-chan struct{}       { return r.c.ctx().Done() }
func (r reported) Err() error                  { return r.c.ctx().Err() }

func (r reported) Value(key any) any {
	if key == (reportKey{}) {
		return r.c
	}
	return r.c.ctx().Value(key)
}

// ReportOf returns the Report of the call that res answers, or nil if no
// [Transport] made it.
func ReportOf(res *http.Response) *Report {
	if res == nil || res.Request == nil {
		return nil
	}
	c, _ := res.Request.Context().Value(reportKey{}).(*call)
	if c == nil {
		return nil
	}
	return c.reportNow()
}

// count books an attempt. The first attempt of a nested call is the enclosing
// attempt itself, and is booked there.
func (c *call) count(a *attempt) {
	if o := c.outer; o != nil && o.claim() {
		return
	}
	a.counted = true
	c.root().add(a, 1)
}

// uncount takes back an attempt that a nested Transport refused to send, and
// reports whether it was booked as itself. Two lanes of a race may come here at
// once, for the attempt around both.
func (c *call) uncount(a *attempt) bool {
	a.mu.Lock()
	counted := a.counted
	a.counted = false
	a.mu.Unlock()
	if counted {
		c.root().add(a, -1)
	} else if c.outer != nil {
		c.outer.release()
	}
	return counted
}

// offWire notes that what this attempt got was made on the spot.
func offWire(req *http.Request) {
	for a := enclosing(req.Context()); a != nil; a = a.call.outer {
		if a.call.uncount(a) {
			return // the attempts around it have sent something before
		}
	}
}

func (c *call) add(a *attempt, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent += int32(n)
	if a.how == deferred {
		c.free += uint8(n)
	}
}

// allows reports whether the attempts of all Transports together leave another.
func (c *call) allows() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent-int32(c.free) < c.limit
}

// wired is the number of requests that all Transports of the call have sent.
func (c *call) wired() int {
	if !c.routed() {
		return 0 // nobody asks
	}
	ahead := 0 // counted already, for a request that this Transport is yet to send
	if c.outer != nil && !c.outer.isClaimed() {
		ahead = 1
	}
	root := c.root()
	root.mu.Lock()
	defer root.mu.Unlock()
	return int(root.sent) - ahead
}

// attempts is the limit of attempts until a fallback's route adds another.
func (r *Retry) attempts() int32 { return int32(min(r.maxAttempts(), math.MaxInt32/2)) }

// bound sets the limit where no Transport further out has a Retry. What was sent
// before, but for the attempt that this Transport has been given, was sent once
// for each route.
func (c *call) bound(t *Transport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit == 0 {
		c.limit = t.Retry.attempts() + max(0, c.sent-int32(c.free)-1)
	}
}

// extend allows for the attempt of another route. Each adds its own when it is
// asked and not before: else the routes before it could use it up.
func (c *call) extend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit > 0 && c.limit < math.MaxInt32 {
		c.limit++
	}
}

// recordRoutes notes the way through the routes, for a Transport further out too if
// that has no routes of its own.
func (c *call) recordRoutes(hops []Hop, answered int) {
	for {
		c.mu.Lock()
		if hops != nil || answered != 0 || c.detour.Load() != nil {
			d := c.detours()
			d.hops, d.answered = hops, answered
		}
		c.mu.Unlock()
		if c.outer == nil || c.outer.call.routed() || c.outer.outrun() {
			return
		}
		c = c.outer.call
	}
}

// markRerouted notes that the answer is not to what was asked, for the cache not to keep
// it. A [Spread]'s routes all answer the same.
func (c *call) markRerouted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.detours().strayed = true
}

func (c *call) rerouted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.detour.Load()
	return d != nil && d.strayed
}

// verdict notes that a Retry has decided about a failure, and whether against
// repeating it only because that was not safe.
func (c *call) verdict(unsafe bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.judged, c.unsafe = true, unsafe
}

// maxReadmissions bounds how often a call may be deferred instead of failed.
const maxReadmissions = 8

func (c *call) mayReadmit() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readmitted < maxReadmissions
}

func (c *call) readmit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readmitted++
}

func (c *call) delayed(queued, waited time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.detours()
	d.queued += queued
	d.waited += waited
}

// recordOutcome books the latest verdict for the Report, which is that of the outermost
// Transport. Where an attempt around the call has had its own, or may not be the
// one whose answer the caller gets, that stands: it ends what is nested in it, which
// can only say that it was ended, and may say so when the Report is read already.
func (c *call) recordOutcome(o *Outcome) {
	if a := c.outer; a != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !a.concluded && !a.watch.racing { // which the loser of a race remains
			a.call.recordOutcome(o)
		}
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.final = nil
	if o.Class != Success || o.Quotas != nil || o.Usage != (Usage{}) {
		c.final = new(Outcome)
		*c.final = *o
	}
	if c.ledger != nil {
		c.ledger.write(c, c.reportLocked())
	}
}

func (c *call) reportLocked() Report {
	r := Report{Attempts: int(c.sent), Readmitted: int(c.readmitted), Outcome: Outcome{Class: Success}}
	if c.final != nil {
		r.Outcome = *c.final
	}
	if d := c.detour.Load(); d != nil {
		r.Queued, r.Waited, r.Route, r.Hops, r.Cache, r.CacheDetail = d.queued, d.waited, d.answered, d.hops, d.cache, d.why
	}
	return r
}

// reportNow is the call's Report, filled from now on where it was not before.
func (c *call) reportNow() *Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.ledger; l == nil || !l.own {
		c.ledger = &ledger{own: true, latest: c, report: &Report{Calls: 1}, shared: l}
		c.ledger.write(c, c.reportLocked())
	}
	return c.ledger.report
}
