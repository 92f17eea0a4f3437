package snubber_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// The outcome of a Transport inside the losing attempt does not reach the
// Report, which the caller may be reading by then.
func TestHedgeLoserIsNotReported(t *testing.T) {
	const answer = `{"usage":{"prompt_tokens":1,"completion_tokens":1}}`
	for _, tt := range []*struct {
		name  string
		loser wiretest.Func // the first attempt of the race
		inner snubber.Transport
	}{
		{"its routes fail",
			func(*http.Request) (*http.Response, error) { return wiretest.Response(503, http.NoBody), nil },
			snubber.Transport{Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: wiretest.Func(slowToEnd)}}}}},
		{"its cache", slowToEnd, snubber.Transport{Cache: &snubber.Cache{}}},
		{"its flight is the winner's too",
			func(*http.Request) (*http.Response, error) {
				time.Sleep(3 * time.Second)
				return wiretest.Response(200, strings.NewReader(answer), "Content-Type", "application/json"), nil
			},
			snubber.Transport{Cache: &snubber.Cache{PromptTTL: time.Nanosecond}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &wiretest.Latencies{Times: wiretest.WarmTimes(time.Second)}
				var n atomic.Int32
				tt.inner.Base = wiretest.Func(func(req *http.Request) (*http.Response, error) {
					if n.Add(1) == 111 {
						return tt.loser(req)
					}
					req.Body, _ = req.GetBody()
					return base.RoundTrip(req)
				})
				outer := &snubber.Transport{Retry: &snubber.Retry{Hedge: true}, Base: &tt.inner}
				wiretest.WarmUp(t, outer)
				ctx, report := snubber.WithReport(context.Background())
				res, err := outer.RoundTrip(wiretest.Chat(t).WithContext(ctx))
				if err != nil || res.StatusCode != 200 {
					t.Fatal(res, err)
				}
				wiretest.ReadAll(t, res)
				said := report.Load()
				if said.Attempts < 1 || said.Outcome.Class != snubber.Success || said.Outcome.Usage.Output != 1 || said.Routes != nil {
					t.Errorf("report %+v", said)
				}
				time.Sleep(2 * time.Second)
				if report.Load().Outcome.Class != snubber.Success {
					t.Errorf("later %+v", report.Load())
				}
				if r := snubber.ReportOf(res); r.Load().Outcome.Class != snubber.Success || r.Load().Routes != nil {
					t.Errorf("of the response %+v", r.Load())
				}
			})
		})
	}
}

// slowToEnd is a base that notices the end of its request a second late.
func slowToEnd(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	time.Sleep(time.Second)
	return nil, req.Context().Err()
}

// The loser's response is closed, whether it arrives before the race ends or
// after.
func TestHedgeLoserIsClosed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		busy   time.Duration // how long the caller's goroutine is busy when the hedge is sent
		status int
	}{{"late", 0, 200}, {"in time", time.Minute, 200}, {"both fail", 0, 500}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := strings.Repeat("x", 100_000) // too long to be prefetched as a whole
				var steps []wiretest.Step
				for _, d := range wiretest.WarmTimes() {
					steps = append(steps, wiretest.Step{Delay: d})
				}
				base := wiretest.Play(append(steps,
					wiretest.Step{Status: tt.status, Body: body, Delay: 3 * time.Second}, wiretest.Step{Status: tt.status, Body: body, Delay: time.Second})...)
				deaf := wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
					return base.RoundTrip(req.WithContext(context.WithoutCancel(req.Context())))
				})
				tr := snubber.New(deaf)
				tr.Retry.MaxAttempts = 2
				tr.Retry.Hedge = true
				wiretest.WarmUp(t, tr)
				var overtaken atomic.Int32
				tr.Observe = func(e snubber.Event) {
					switch {
					case e.Kind == snubber.EventHedge:
						time.Sleep(tt.busy)
					case e.Kind == snubber.EventAttempt && e.Outcome.Reason == "overtaken":
						overtaken.Add(1)
					}
				}
				if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != tt.status || err != nil {
					t.Fatal(status, err)
				}
				time.Sleep(time.Minute)
				tries := base.Attempts()
				if len(tries) != 112 {
					t.Fatalf("%d requests, want 112", len(tries))
				}
				if n := overtaken.Load(); (n == 1) != (tt.status == 200) {
					t.Errorf("%d were overtaken", n)
				}
				for i, try := range tries[110:] {
					if try.Closed.IsZero() {
						t.Errorf("the answer of attempt %d is open", i+1)
					}
				}
				if q := tr.Limiter.Queues()[0]; q.InFlight != 0 {
					t.Errorf("%+v", q)
				}
			})
		})
	}
}
