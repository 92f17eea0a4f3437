package snubber_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// MaxAttempts counts the first attempt.
func TestRetryMaxAttempts(t *testing.T) {
	for n, want := range map[int]int{0: 5, 1: 1, 2: 2, 7: 7} {
		synctest.Test(t, func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Status: 500})
			res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{MaxAttempts: n}}).RoundTrip(wiretest.Chat(t))
			if err != nil {
				t.Fatal(err)
			}
			wiretest.ReadAll(t, res)
			if got := base.Sent(); got != want {
				t.Errorf("MaxAttempts %d: %d attempts, want %d", n, got, want)
			}
		})
	}
}

// A negative MaxAttempts goes on until the deadline, and never past it.
func TestRetryUnboundedEndsWithDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		start := time.Now()
		res, err := (&snubber.Transport{Base: base, Retry: unbounded()}).RoundTrip(wiretest.Chat(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		// 8 s is the longest step, so the rest is shorter than that.
		if took := time.Since(start); took >= time.Minute || took < 52*time.Second {
			t.Errorf("returned after %v, want within the last 8 s of a minute", took)
		}
		if res.StatusCode != 500 {
			t.Errorf("got %d, want the last response", res.StatusCode)
		}
	})
}

// An attempt that Timeout ended is followed by at most one more.
func TestRetryTimedOutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Delay: time.Hour})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Timeout: &snubber.Timeout{Headers: time.Second}}
		start := time.Now()
		_, err := tr.RoundTrip(wiretest.Chat(t))
		var late *snubber.TimeoutError
		if !errors.As(err, &late) || late.Phase != snubber.PhaseHeaders {
			t.Errorf("err = %v, want a TimeoutError of the headers", err)
		}
		if n := base.Sent(); n != 2 {
			t.Errorf("%d attempts, want 2", n)
		}
		if d := time.Since(start); d < 2250*time.Millisecond || d > 2500*time.Millisecond {
			t.Errorf("took %v, want two seconds and one step", d)
		}
	})
	// A second timeout ends the call, even if another failure came between.
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Delay: time.Hour}, wiretest.Step{Status: 500}, wiretest.Step{Delay: time.Hour}, wiretest.Step{})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Timeout: &snubber.Timeout{Headers: time.Second}}
		_, err := tr.RoundTrip(wiretest.Chat(t))
		if n := base.Sent(); n != 3 || err == nil {
			t.Errorf("%d attempts, err %v, want 3 and the timeout", n, err)
		}
	})
}

// If alone decides what to retry, within the limits of attempts and waits.
func TestRetryIf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var models []string
		rt := &snubber.Retry{If: func(req *http.Request, o snubber.Outcome) bool {
			models = append(models, snubber.Model(req))
			return o.Class == snubber.Invalid
		}}
		base := wiretest.Play(wiretest.Step{Status: 404}, wiretest.Step{Status: 500, Body: "last"})
		res, err := (&snubber.Transport{Base: base, Retry: rt}).RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		if body := wiretest.ReadAll(t, res); body != "last" || base.Sent() != 2 {
			t.Errorf("%q after %d attempts, want the second response", body, base.Sent())
		}
		if len(models) != 2 || models[0] != "m" || models[1] != "m" {
			t.Errorf("Model in If = %q, want m twice", models)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 404})
		always := &snubber.Retry{If: func(*http.Request, snubber.Outcome) bool { return true }}
		res, err := (&snubber.Transport{Base: base, Retry: always}).RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		if n := base.Sent(); n != 5 {
			t.Errorf("%d attempts, want 5: If does not lift MaxAttempts", n)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a success is not retried, whatever If returns
		base := wiretest.Play(wiretest.Step{})
		always := &snubber.Retry{If: func(*http.Request, snubber.Outcome) bool { return true }}
		res, err := (&snubber.Transport{Base: base, Retry: always}).RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		if n := base.Sent(); n != 1 {
			t.Errorf("%d attempts of a success, want 1", n)
		}
	})
}

// A caller that cancels during a backoff gets its own error at once, and not
// the response.
func TestRetryCancelDuringBackoff(t *testing.T) {
	for _, sdk := range []string{"X-Other", "X-Stainless-Lang"} {
		synctest.Test(t, func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Status: 503, Header: wiretest.Header("Retry-After", "30")}, wiretest.Step{})
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(12*time.Second, cancel)
			start := time.Now()
			res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(wiretest.Chat(t, sdk, "go").WithContext(ctx))
			if res != nil || !errors.Is(err, context.Canceled) {
				t.Errorf("RoundTrip = %v, %v, want context.Canceled", res, err)
			}
			if d := time.Since(start); d != 12*time.Second {
				t.Errorf("returned after %v, want 12s", d)
			}
			if n := base.Sent(); n != 1 {
				t.Errorf("%d attempts, want 1", n)
			}
			if ts := base.Attempts(); ts[0].Closed.IsZero() {
				t.Error("the failed response's body is open")
			}
		})
	}
}

// A call whose context is done starts no attempt.
func TestRetryDoneContextStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		req := wiretest.Chat(t).WithContext(ctx)
		closed := 0
		req.Body = &wiretest.WatchedBody{ReadCloser: req.Body, Closing: func() { closed++ }}
		_, err := snubber.New(base).RoundTrip(req)
		if !errors.Is(err, context.Canceled) || base.Sent() != 0 || closed != 1 {
			t.Errorf("err %v, %d attempts, body closed %d times, want context.Canceled, 0, 1", err, base.Sent(), closed)
		}
	})
	// The context ends while a user's hook runs.
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{})
		ctx, cancel := context.WithCancel(context.Background())
		rt := &snubber.Retry{MinBackoff: -1, If: func(*http.Request, snubber.Outcome) bool { cancel(); return true }}
		_, err := (&snubber.Transport{Base: base, Retry: rt}).RoundTrip(wiretest.Chat(t).WithContext(ctx))
		if !errors.Is(err, context.Canceled) || base.Sent() != 1 {
			t.Errorf("err %v, %d attempts, want context.Canceled and 1", err, base.Sent())
		}
	})
}

// A 429 with Retry alone is a failed attempt like any other.
func TestRetry429WithoutLimiterIsAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "1")})
		ctx, report := snubber.WithReport(context.Background())
		res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(wiretest.Chat(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		if n := base.Sent(); n != 5 || report.Load().Requeued != 0 {
			t.Errorf("%d attempts, %d readmitted, want 5 and 0", n, report.Load().Requeued)
		}
	})
}

// A 429 with a Limiter sends the call back to the queue until the server's
// time. That costs no attempt and no budget, at most eight times.
func TestRetry429IsRequeued(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits int // 429s before the answer
		retry  *snubber.Retry
		want   int
		status int
	}{
		{"eight cost nothing", 8, &snubber.Retry{MaxAttempts: 1, Budget: &snubber.Budget{Capacity: 0.5, PerSecond: -1}}, 9, 200},
		{"the ninth does", 9, &snubber.Retry{MaxAttempts: 1}, 9, 429},
		{"and attempts come on top", math.MaxInt16, &snubber.Retry{}, 13, 429},
		{"and pay", math.MaxInt16, &snubber.Retry{Budget: &snubber.Budget{Capacity: 0.5, PerSecond: -1}}, 9, 429},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(wiretest.FailTimes(tt.limits, wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "2")})...)
				ctx, report := snubber.WithReport(context.Background())
				tr := &snubber.Transport{Base: base, Retry: tt.retry, Limiter: &snubber.Limiter{}}
				res, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				wiretest.ReadAll(t, res)
				if res.StatusCode != tt.status || base.Sent() != tt.want {
					t.Fatalf("%d after %d attempts, want %d after %d", res.StatusCode, base.Sent(), tt.status, tt.want)
				}
				if report.Load().Requeued != 8 || report.Load().Attempts != tt.want {
					t.Errorf("report %+v, want 8 readmitted of %d", report.Load(), tt.want)
				}
				for i, d := range wiretest.Waits(base.Attempts()) {
					if d < 2*time.Second || d > 2200*time.Millisecond && i < 8 {
						t.Errorf("wait %d = %v, want 2s to 2.2s", i, d)
					}
				}
			})
		})
	}
}

// A Limiter without a Retry holds the key and returns the 429.
func TestLimiter429WithoutRetryReturnsResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "10"), Body: "slow down"}, wiretest.Step{})
		tr := &snubber.Transport{Base: base, Limiter: &snubber.Limiter{}}
		start := time.Now()
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		if body := wiretest.ReadAll(t, res); res.StatusCode != 429 || body != "slow down" || time.Since(start) != 0 {
			t.Errorf("%d %q after %v, want the 429 at once", res.StatusCode, body, time.Since(start))
		}
		if res, err = tr.RoundTrip(wiretest.Chat(t)); err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		if d := time.Since(start); d < 10*time.Second || d > 11*time.Second {
			t.Errorf("the next request went after %v, want 10s to 11s", d)
		}
	})
}

// A call that already had an attempt waits for an open circuit. That costs
// neither an attempt nor budget.
func TestRetryWaitsForOpenCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{Status: 500}, wiretest.Step{})
		ctx, report := snubber.WithReport(context.Background())
		tr := &snubber.Transport{
			Base: base, Breaker: &snubber.Breaker{Failures: 1},
			Retry: &snubber.Retry{MaxAttempts: 2, Budget: &snubber.Budget{Capacity: 0.5, PerSecond: -1}},
		}
		res, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		if res.StatusCode != 200 || base.Sent() != 3 || report.Load().Requeued != 2 {
			t.Fatalf("%d after %d attempts, %+v, want 200 after 3, two of them readmitted", res.StatusCode, base.Sent(), report.Load())
		}
		ds := wiretest.Waits(base.Attempts()) // the open times
		if ds[0] < 4*time.Second || ds[0] > 5*time.Second || ds[1] < 4*time.Second || ds[1] > 5*time.Second {
			t.Errorf("waited %v, want 4s to 5s each", ds)
		}
		if report.Load().BackoffTime != ds[0]+ds[1] {
			t.Errorf("Waited = %v, want %v", report.Load().BackoffTime, ds[0]+ds[1])
		}
	})
}
