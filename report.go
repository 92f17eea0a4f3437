package snubber

import (
	"context"
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

// reportSink is where a Report is kept: one that a context brought, for its calls
// one after the other, or one call's own, made when ReportOf first asked for it.
type reportSink struct {
	mu     sync.Mutex
	report Report
	own    bool        // of one call
	shared *reportSink // of the context, beside a call's own; nil if there is none
	call   int         // in the order of the shared one
}

type reportSinkKey struct{}

// WithReport returns a context whose calls fill the Report.
func WithReport(ctx context.Context) (context.Context, *Report) {
	s := new(reportSink)
	return context.WithValue(ctx, reportSinkKey{}, s), &s.report
}

// begin makes the call that has begun now the one that the Report is about, and
// returns its number.
func (s *reportSink) begin() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report = Report{Calls: s.report.Calls + 1}
	return s.report.Calls
}

// write replaces the Report by that of a call, unless a later call has begun.
func (s *reportSink) write(call int, r Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.report.Calls == call {
		r.Calls = call
		s.report = r
	}
	if s.shared != nil {
		s.shared.write(s.call, r)
	}
}

// reportedKey finds the Report of the call that a response answers in the context of
// [http.Response.Request].
type reportedKey struct{}

// ReportOf returns the Report of the call that res answers, or nil if no
// [Transport] made it.
func ReportOf(res *http.Response) *Report {
	if res == nil || res.Request == nil {
		return nil
	}
	s, _ := res.Request.Context().Value(reportedKey{}).(*reportSink)
	if s == nil {
		return nil
	}
	return &s.report
}
