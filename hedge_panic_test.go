package snubber_test

import (
	"io"
	"maps"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A panic in either attempt reaches the caller's goroutine, and nothing is
// leaked.
func TestHedgePanic(t *testing.T) {
	for _, which := range []int{110, 111} {
		synctest.Test(t, func(t *testing.T) {
			base := &wiretest.Latencies{Times: wiretest.WarmTimes(time.Minute)}
			base.Before = func(n int, req *http.Request) {
				if n == which {
					time.Sleep(3 * time.Second)
					panic("mine")
				}
			}
			tr := snubber.New(base)
			tr.Retry.Hedge = true
			wiretest.WarmUp(t, tr)
			var mu sync.Mutex
			verdicts := map[string]int{}
			tr.Observe = func(e snubber.Event) {
				mu.Lock()
				defer mu.Unlock()
				if e.Kind == snubber.EventAttempt {
					verdicts[e.Outcome.Reason]++
				}
			}
			ctx, report := snubber.WithReport(t.Context())
			func() {
				defer func() {
					if p := recover(); p != "mine" {
						t.Errorf("recovered %v", p)
					}
				}()
				tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
				t.Error("no panic")
			}()
			if report.Load().Outcome.Class != snubber.Canceled || report.Load().Outcome.Reason != "panic" {
				t.Errorf("report %+v", report)
			}
			synctest.Wait()
			if q := tr.Limiter.Queues()[0]; q.InFlight != 0 {
				t.Errorf("%+v", q)
			}
			if want := map[string]int{"panic": 1, "overtaken": 1}; !maps.Equal(verdicts, want) { // the outcome of each attempt
				t.Errorf("verdicts %v, want %v", verdicts, want)
			}
		})
	}
}

// A function that calls runtime.Goexit in an attempt ends the caller's
// goroutine, and nothing is leaked.
func TestHedgeGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &wiretest.Latencies{Times: wiretest.WarmTimes(time.Minute)}
		base.Before = func(n int, req *http.Request) {
			if n == 111 {
				runtime.Goexit()
			}
		}
		tr := snubber.New(base)
		tr.Retry.Hedge = true
		wiretest.WarmUp(t, tr)
		ended := make(chan any)
		go func() {
			defer func() { ended <- recover() }()
			tr.RoundTrip(wiretest.Chat(t))
			t.Error("it returned")
		}()
		if p := <-ended; p != nil {
			t.Errorf("recovered %v", p)
		}
		synctest.Wait()
		if q := tr.Limiter.Queues()[0]; q.InFlight != 0 {
			t.Errorf("%+v", q)
		}
	})
}

// A panic of GetBody before a retry or a hedge leaks no permit.
func TestHedgeGetBodyPanics(t *testing.T) {
	for _, hedging := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			base := &wiretest.Latencies{Times: wiretest.WarmTimes(time.Minute), Status: map[int]int{}}
			if !hedging {
				base.Status[110] = 503
			}
			tr := snubber.New(base)
			tr.Retry.Hedge = hedging
			wiretest.WarmUp(t, tr)
			req := wiretest.Chat(t)
			again := req.GetBody
			req.GetBody = func() (io.ReadCloser, error) {
				base.Mu.Lock()
				defer base.Mu.Unlock()
				if base.Sent > 110 {
					panic("mine")
				}
				return again()
			}
			func() {
				defer func() {
					if p := recover(); p != "mine" {
						t.Errorf("recovered %v", p)
					}
				}()
				tr.RoundTrip(req)
				t.Error("no panic")
			}()
			synctest.Wait()
			if q := tr.Limiter.Queues()[0]; q.InFlight != 0 {
				t.Errorf("hedging %v: %+v", hedging, q)
			}
		})
	}
}
