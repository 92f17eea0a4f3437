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
	// Requeued is how many of these were sent back by a server's limit or an
	// open circuit and cost no attempt.
	Requeued int
	// QueueTime is the time spent in limiters' queues, BackoffTime the time between
	// attempts and for circuits.
	QueueTime, BackoffTime time.Duration
	// Cache says how the [Cache] took part; empty if there is none. An answer from
	// another's call, like one that is stored, has no Usage: it is billed once.
	Cache CacheStatus
	// CacheDetail says in a few words why.
	CacheDetail string
	// Route is the one whose answer the caller got: 0 for the Transport's own, to
	// which the failure belongs too if all have failed, n for the nth of its
	// Fallback or its Balancer.
	AnsweredBy int
	// Routes are the routes that were asked, in that order, where it was more than
	// one: why each but the one that answered did not. Read it only.
	Routes []RouteResult
	// Outcome is the verdict on the last attempt, final once the body ended.
	Outcome Outcome
}

// RouteResult is what became of a request on one route.
type RouteResult struct {
	Route    int     // as in [Report.AnsweredBy]
	Attempts int     // requests sent there, 0 if it was refused before
	Outcome  Outcome // the verdict when the next route was asked, or the answer came
}

// ReportHandle is where a Report is filled while its calls run. [ReportHandle.Load]
// reads it at any time. It is safe for concurrent use.
type ReportHandle struct {
	mu     sync.Mutex
	report Report
	own    bool          // of one call, made when ReportOf first asked for it
	shared *ReportHandle // of the context, beside a call's own; nil if there is none
	call   int           // in the order of the shared one
}

// Load returns the Report as it is now. It is final when the body of the response
// has ended, or when RoundTrip has returned an error. Of a nil handle it is the zero
// Report.
func (h *ReportHandle) Load() Report {
	if h == nil {
		return Report{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.report
}

type reportHandleKey struct{}

// WithReport returns a context whose calls fill the Report of the handle.
func WithReport(ctx context.Context) (context.Context, *ReportHandle) {
	h := new(ReportHandle)
	return context.WithValue(ctx, reportHandleKey{}, h), h
}

// begin makes the call that has begun now the one that the Report is about, and
// returns its number.
func (h *ReportHandle) begin() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.report = Report{Calls: h.report.Calls + 1}
	return h.report.Calls
}

// write replaces the Report by that of a call, unless a later call has begun.
func (h *ReportHandle) write(call int, r Report) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.report.Calls == call {
		r.Calls = call
		h.report = r
	}
	if h.shared != nil {
		h.shared.write(h.call, r)
	}
}

// reportedKey finds the handle of the call that a response answers in the context of
// [http.Response.Request].
type reportedKey struct{}

// ReportOf returns the handle of the Report of the call that res answers. It is nil
// if no [Transport] made the call; Load works on that too.
func ReportOf(res *http.Response) *ReportHandle {
	if res == nil || res.Request == nil {
		return nil
	}
	h, _ := res.Request.Context().Value(reportedKey{}).(*ReportHandle)
	return h
}
