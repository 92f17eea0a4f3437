package snubber

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Report says what became of one call. [ReportHandle.Load] returns it.
type Report struct {
	// Calls is the number of round trips made with a context of [WithReport]. Each
	// retry and each redirect of an SDK is one. The other fields are about the round
	// trip that started last. A Report of [ReportOf] is about one round trip.
	Calls int
	// Attempts is the number of requests sent, including those of nested Transports.
	Attempts int
	// Requeued is how often a server's limit or an open circuit put the call off. The
	// attempt after that does not count against [Retry.MaxAttempts].
	Requeued int
	// QueueTime is the time spent in the queues of Limiters. BackoffTime is the time
	// spent between attempts, and waiting for circuits.
	QueueTime, BackoffTime time.Duration
	// Cache says how the [Cache] took part. Empty if there is none. A response that was
	// stored, or is another call's, has no Usage: it is billed once.
	Cache CacheStatus
	// CacheDetail says why, in a few words.
	CacheDetail string
	// AnsweredBy is the route whose response the caller got. 0 is the Transport's own
	// route, also when every route failed; n is the nth route of its Fallback or
	// Balancer.
	AnsweredBy int
	// Routes are the routes that were tried, in order, if there was more than one. They
	// say why each route but the one that answered did not. The slice must not be
	// changed.
	Routes []RouteResult
	// Outcome is the verdict on the last attempt. It is final when the body has ended.
	Outcome Outcome
}

// RouteResult says what became of a request on one route.
type RouteResult struct {
	Route    int     // as in [Report.AnsweredBy]
	Attempts int     // requests sent there, 0 if it was refused before
	Outcome  Outcome // the verdict when the next route was tried, or the response was returned
}

// ReportHandle holds a Report that its calls fill while they run. [ReportHandle.Load]
// reads it at any time. A ReportHandle is safe for concurrent use.
type ReportHandle struct {
	mu     sync.Mutex
	report Report
	own    bool          // it is about one call, and was made when ReportOf first asked for it
	shared *ReportHandle // the context's handle, which a call's own one writes to as well; nil if there is none
	call   int           // the number of the call in shared
}

// Load returns the Report as it is now. It is final when the body of the response has
// ended, or when RoundTrip has returned an error. Load of a nil handle returns the zero
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

// WithReport returns a context whose calls fill the Report of the handle. If several
// calls have the context, the Report is about the one that started last.
func WithReport(ctx context.Context) (context.Context, *ReportHandle) {
	h := new(ReportHandle)
	return context.WithValue(ctx, reportHandleKey{}, h), h
}

// begin starts the Report of a call anew and returns the number of the call.
func (h *ReportHandle) begin() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.report = Report{Calls: h.report.Calls + 1}
	return h.report.Calls
}

// write sets the Report of a call, unless a later call has begun.
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

// reportedKey finds the call's own handle in the context of [http.Response.Request].
type reportedKey struct{}

// ReportOf returns the handle of the Report of the call that res answers. It is nil if
// no [Transport] made the call; Load works on a nil handle too.
func ReportOf(res *http.Response) *ReportHandle {
	if res == nil || res.Request == nil {
		return nil
	}
	h, _ := res.Request.Context().Value(reportedKey{}).(*ReportHandle)
	return h
}
