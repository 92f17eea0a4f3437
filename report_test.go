package snubber_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// The report has the exact attempts, waits and final outcome.
func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500, Delay: time.Second}, wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "3")}, wiretest.JSON(200, wiretest.Usage(11, 7)))
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{}}
		ctx, report := snubber.WithReport(context.Background())
		res, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		ts := base.Attempts()
		if report.Load().Calls != 1 || report.Load().Attempts != 3 || report.Load().Requeued != 1 {
			t.Errorf("report %+v, want 1 call, 3 attempts, 1 readmitted", report.Load())
		}
		if want := ts[1].At.Sub(ts[0].At) - time.Second; report.Load().BackoffTime != want {
			t.Errorf("Waited = %v, want %v", report.Load().BackoffTime, want)
		}
		if want := ts[2].At.Sub(ts[1].At); report.Load().QueueTime != want {
			t.Errorf("Queued = %v, want %v", report.Load().QueueTime, want)
		}
		if o := report.Load().Outcome; o.Class != snubber.Success || o.Usage.Input != 11 || o.Usage.Output != 7 {
			t.Errorf("Outcome = %+v, want a success with the usage", o)
		}
		if got := snubber.ReportOf(res).Load(); got.Attempts != 3 || got.Outcome.Usage != report.Load().Outcome.Usage {
			t.Errorf("ReportOf = %+v, want %+v", got, report.Load())
		}
	})
}

// A backoff that the caller cut short is reported as long as it lasted.
func TestReportOfCanceledBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, report := snubber.WithReport(context.Background())
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(4*time.Second, cancel)
		tr := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Status: 503, Header: wiretest.Header("Retry-After", "30")}), Retry: &snubber.Retry{}}
		if _, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if report.Load().Attempts != 1 || report.Load().BackoffTime != 4*time.Second || report.Load().Outcome.Class != snubber.Overloaded {
			t.Errorf("report %+v, want 1 attempt, 4s and its verdict", report.Load())
		}
	})
}

// A wait in the queue that the caller cut short is reported as long as it
// lasted.
func TestReportOfCanceledQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Base: wiretest.Play(), Limiter: &snubber.Limiter{RequestsPerMinute: 1}}
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		ctx, report := snubber.WithReport(context.Background())
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(4*time.Second, cancel)
		if _, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if report.Load().Attempts != 0 || report.Load().QueueTime != 4*time.Second {
			t.Errorf("report %+v, want no attempt and 4s in the queue", report.Load())
		}
	})
}

// A report exists for failures too, whatever ended the call.
func TestReportOfFailures(t *testing.T) {
	for _, tt := range []struct {
		name     string
		base     *wiretest.Script
		stack    *snubber.Transport
		attempts int
		class    snubber.Class
	}{
		{name: "response", base: wiretest.Play(wiretest.Step{Status: 404}), attempts: 1, class: snubber.Invalid},
		{name: "error", base: wiretest.Play(wiretest.Step{Err: io.EOF}), attempts: 1, class: snubber.Unreachable},
		{name: "refused", base: wiretest.Play(), stack: &snubber.Transport{Limiter: &snubber.Limiter{TokensPerMinute: 1}}, attempts: 0, class: snubber.Rejected},
		{name: "timed out", base: wiretest.Play(wiretest.Step{Delay: time.Hour}), stack: &snubber.Transport{Timeout: &snubber.Timeout{Headers: time.Second}}, attempts: 1, class: snubber.TimedOut},
		{name: "attempts ran out", base: wiretest.Play(wiretest.Step{Status: 502}), stack: &snubber.Transport{Retry: &snubber.Retry{MaxAttempts: 3}}, attempts: 3, class: snubber.ServerError},
		{name: "truncated", base: wiretest.Play(wiretest.Step{Body: "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n", Header: wiretest.Header("Content-Type", "text/event-stream")}), attempts: 1, class: snubber.Unreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := tt.stack
				if tr == nil {
					tr = &snubber.Transport{}
				}
				tr.Base = tt.base
				ctx, report := snubber.WithReport(context.Background())
				if res, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx)); err == nil {
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				if report.Load().Calls != 1 || report.Load().Attempts != tt.attempts || report.Load().Outcome.Class != tt.class {
					t.Errorf("report %+v, want %d attempts and %v", report.Load(), tt.attempts, tt.class)
				}
			})
		})
	}
}

// A context for several round trips counts them. Its report is about the one
// that started last, however late an earlier one ends.
func TestReportOfSeveralCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{Status: 500}, wiretest.JSON(200, wiretest.Usage(11, 7))), Retry: &snubber.Retry{}}
		ctx, report := snubber.WithReport(context.Background())
		first, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		if report.Load().Calls != 1 || report.Load().Attempts != 3 || report.Load().BackoffTime == 0 {
			t.Errorf("after one call: %+v", report.Load())
		}
		second, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, second)
		wiretest.ReadAll(t, first)
		if report.Load().Calls != 2 || report.Load().Attempts != 1 || report.Load().BackoffTime != 0 || report.Load().Outcome.Class != snubber.Success {
			t.Errorf("after two: %+v, want the second alone", report.Load())
		}
	})
	// http.Client follows a redirect with the same context.
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 307, Header: wiretest.Header("Location", "https://api.example.com/v1/chat/completions?again")}, wiretest.JSON(200, wiretest.Usage(11, 7)))
		ctx, report := snubber.WithReport(context.Background())
		res, err := (&http.Client{Transport: snubber.New(base)}).Do(wiretest.Chat(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		if report.Load().Calls != 2 || report.Load().Attempts != 1 {
			t.Errorf("report %+v, want two calls, the second of one attempt", report.Load())
		}
	})
}

// ReportOf needs no WithReport, and returns nil for a response of another
// RoundTripper.
func TestReportOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500}, wiretest.JSON(200, wiretest.Usage(11, 7)))
		req := wiretest.Chat(t)
		res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		report := snubber.ReportOf(res)
		if report == nil {
			t.Fatal("no report")
		}
		wiretest.ReadAll(t, res)
		if report.Load().Calls != 1 || report.Load().Attempts != 2 || report.Load().Outcome.Usage.Output != 7 {
			t.Errorf("report %+v, want two attempts and the usage", report.Load())
		}
		if req.Context() != context.Background() {
			t.Error("the caller's request was changed")
		}
		if res.Request == req || res.Request.URL != req.URL || res.Request.Method != req.Method {
			t.Error("res.Request is not a shallow copy of the caller's")
		}
	})
	if r := snubber.ReportOf(nil); r != nil {
		t.Errorf("ReportOf(nil) = %v", r)
	}
	if r := snubber.ReportOf(&http.Response{}); r != nil {
		t.Errorf("ReportOf of a response without a request = %v", r)
	}
	if r := snubber.ReportOf(&http.Response{Request: wiretest.Chat(t)}); r != nil {
		t.Errorf("ReportOf of a foreign response = %v", r)
	}
}

// Load may be called while the call runs. Its result is final after the end of
// the body, by EOF or Close.
func TestReportLoadsAtAnyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := snubber.New(wiretest.Play(wiretest.JSON(200, wiretest.Usage(11, 7))))
		for i := range 50 {
			go func() {
				ctx, report := snubber.WithReport(context.Background())
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				done := make(chan struct{})
				defer close(done)
				go func() {
					for {
						select {
						case <-done:
							return
						default:
							if n := report.Load().Attempts; n > 1 {
								t.Errorf("%d attempts, want one at most", n)
							}
							runtime.Gosched()
						}
					}
				}()
				res, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
				if err != nil {
					t.Error(err)
					return
				}
				own := snubber.ReportOf(res)
				if i%2 == 0 {
					io.Copy(io.Discard, res.Body)
				} else {
					res.Body.Close()
				}
				for _, r := range []snubber.Report{report.Load(), own.Load()} {
					if r.Attempts != 1 || r.Outcome.Class != snubber.Success {
						t.Errorf("report %+v", r)
					}
				}
				res.Body.Close()
			}()
		}
		synctest.Wait()
	})
}

// ReportOf of a response of another RoundTripper returns nil, and a nil handle
// loads an empty Report.
func TestReportOfNothing(t *testing.T) {
	for _, res := range []*http.Response{nil, {}, {Request: &http.Request{}}} {
		h := snubber.ReportOf(res)
		if r := h.Load(); h != nil || r.Calls != 0 || r.Routes != nil {
			t.Errorf("ReportOf(%v) = %v with %+v, want nil and nothing", res, h, r)
		}
	}
}

// ReportOf describes the call of its response, even if a later call of the same
// context has begun.
func TestReportOfDescribesOwnCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, shared := snubber.WithReport(t.Context())
		rt := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Status: 400, Body: "no"}, wiretest.Step{Body: "yes"})}
		first, err := rt.RoundTrip(wiretest.Chat(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		second, err := rt.RoundTrip(wiretest.Chat(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		one, two := snubber.ReportOf(first), snubber.ReportOf(second)
		wiretest.ReadAll(t, first)
		wiretest.ReadAll(t, second)
		if one.Load().Outcome.Class != snubber.Invalid || two.Load().Outcome.Class != snubber.Success {
			t.Errorf("reports %v and %v, want invalid and success", one.Load().Outcome.Class, two.Load().Outcome.Class)
		}
		if shared.Load().Calls != 2 || shared.Load().Outcome.Class != snubber.Success {
			t.Errorf("the context's report: %d calls, %v; want 2, success", shared.Load().Calls, shared.Load().Outcome.Class)
		}
	})
}

// The report of a call that ended in the queue has the time in the queue.
func TestReportOfCallThatEndedInQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Delay: time.Minute, Body: "{}"}), Limiter: &snubber.Limiter{MaxConcurrent: 1}}
		first := wiretest.Launch(tr, wiretest.Chat(t))
		synctest.Wait()
		ctx, report := snubber.WithReport(t.Context())
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx)); report.Load().Outcome.Class != snubber.Canceled || report.Load().QueueTime != time.Second {
			t.Errorf("%v: report %+v, want canceled after 1s", err, report)
		}
		<-first
	})
}
