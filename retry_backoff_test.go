package snubber_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/neterr"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// Each step of the backoff is half fixed and half random, and doubles up to a
// cap. The cap is twice as long if the server said that it is overloaded.
func TestRetryBackoffSteps(t *testing.T) {
	const ms = time.Millisecond
	sequence := func(b, limit time.Duration, n int) (bs []time.Duration) {
		for range n {
			bs = append(bs, min(b, limit))
			b *= 2
		}
		return bs
	}
	zeros := make([]time.Duration, 4)
	for _, tt := range []struct {
		name     string
		min, max time.Duration
		failure  wiretest.Step
		want     []time.Duration // the upper ends of the ranges
	}{
		{"defaults", 0, 0, wiretest.Step{Status: 500}, sequence(500*ms, 8*time.Second, 7)},
		{"overloaded", 0, 0, wiretest.Step{Status: 529}, sequence(time.Second, 8*time.Second, 7)},
		{"rate limited without a hint", 0, 0, wiretest.Step{Status: 429}, sequence(time.Second, 8*time.Second, 7)},
		{"dial error", 0, 0, wiretest.Step{Err: &net.OpError{Op: "dial", Err: neterr.Refused}}, sequence(500*ms, 8*time.Second, 7)},
		{"own", 40 * ms, 200 * ms, wiretest.Step{Status: 500}, sequence(40*ms, 200*ms, 5)},
		{"no ceiling", time.Second, -1, wiretest.Step{Status: 500}, sequence(time.Second, time.Hour, 8)},
		{"no wait of our own", -1, 0, wiretest.Step{Status: 500}, zeros},
		{"nothing but the server", -1, -1, wiretest.Step{Status: 529}, zeros},
		{"ceiling below the first", time.Minute, time.Second, wiretest.Step{Status: 500}, sequence(time.Second, time.Second, 3)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const runs = 200
				low := make([]time.Duration, len(tt.want))
				high := make([]time.Duration, len(tt.want))
				for run := range runs {
					base := wiretest.Play(wiretest.FailTimes(len(tt.want), tt.failure)...)
					rt := unbounded()
					rt.MinBackoff, rt.MaxBackoff = tt.min, tt.max
					res, err := (&snubber.Transport{Base: base, Retry: rt}).RoundTrip(wiretest.Chat(t))
					if err != nil {
						t.Fatal(err)
					}
					wiretest.ReadAll(t, res)
					got := wiretest.Waits(base.Attempts())
					if len(got) != len(tt.want) {
						t.Fatalf("%d waits, want %d", len(got), len(tt.want))
					}
					for i, d := range got {
						if b := tt.want[i]; d < b/2-1 || d > b+1 {
							t.Fatalf("wait %d = %v, want %v to %v", i, d, b/2, b)
						}
						if run == 0 {
							low[i] = d
						}
						low[i], high[i] = min(low[i], d), max(high[i], d)
					}
				}
				for i, b := range tt.want {
					// Two hundred draws miss an outer tenth of their range less
					// than once in a billion.
					if b > 0 && (low[i] > b/2+b/20 || high[i] < b-b/20) {
						t.Errorf("wait %d went from %v to %v, want all of %v to %v", i, low[i], high[i], b/2, b)
					}
				}
			})
		})
	}
}

// The server's wait is a minimum, and the jitter comes after it. A wait shorter
// than the backoff's step changes nothing.
func TestRetryAfterIsMinimum(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name     string
		status   int
		header   http.Header
		from, to time.Duration
	}{
		{"seconds", 503, wiretest.Header("Retry-After", "7"), 7 * time.Second, 7700 * ms},
		{"a second of jitter at most", 503, wiretest.Header("Retry-After", "30"), 30 * time.Second, 31 * time.Second},
		{"as long as MaxWait", 503, wiretest.Header("Retry-After", "60"), 60 * time.Second, 61 * time.Second},
		{"milliseconds", 429, wiretest.Header("Retry-After-Ms", "4500"), 4500 * ms, 4950 * ms},
		{"milliseconds before seconds", 429, wiretest.Header("Retry-After-Ms", "4500", "Retry-After", "9"), 4500 * ms, 4950 * ms},
		{"Azure", 429, wiretest.Header("X-Ms-Retry-After-Ms", "2000"), 2000 * ms, 2200 * ms},
		{"date against Date", 503, wiretest.Header("Retry-After", "Wed, 21 Oct 2015 07:28:05 GMT", "Date", "Wed, 21 Oct 2015 07:28:00 GMT"), 5 * time.Second, 5500 * ms},
		{"shorter than our own", 503, wiretest.Header("Retry-After-Ms", "1"), 500 * ms, 1000 * ms},
		{"zero", 500, wiretest.Header("Retry-After", "0"), 250 * ms, 500 * ms},
		{"negative", 500, wiretest.Header("Retry-After", "-5"), 250 * ms, 500 * ms},
		{"garbage", 500, wiretest.Header("Retry-After", "soon"), 250 * ms, 500 * ms},
		{"not a number", 500, wiretest.Header("Retry-After", "NaN"), 250 * ms, 500 * ms},
		{"Gemini", 429, nil, 3 * time.Second, 3300 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				failure := wiretest.Step{Status: tt.status, Header: tt.header}
				if tt.name == "Gemini" {
					failure.Body = `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"3s"}]}}`
				}
				low, high := time.Hour, time.Duration(0)
				for range 100 {
					base := wiretest.Play(failure, wiretest.Step{})
					res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(wiretest.Chat(t))
					if err != nil {
						t.Fatal(err)
					}
					wiretest.ReadAll(t, res)
					d := wiretest.Waits(base.Attempts())[0]
					low, high = min(low, d), max(high, d)
				}
				if low < tt.from-1 || high > tt.to+1 {
					t.Errorf("waited %v to %v, want %v to %v", low, high, tt.from, tt.to)
				}
				if low == high {
					t.Errorf("always waited %v: no jitter", low)
				}
			})
		})
	}
}

// A wait that exceeds MaxWait or the deadline does not begin. The caller gets
// the response at once and unchanged.
func TestRetryTooLongWaitReturnsResponse(t *testing.T) {
	for _, tt := range []struct {
		name     string
		after    string
		maxWait  time.Duration
		deadline time.Duration
		attempts int
	}{
		{"beyond MaxWait", "61", 0, 0, 1},
		{"beyond a MaxWait of one's own", "6", 5 * time.Second, 0, 1},
		{"within MaxWait", "5", 5 * time.Second, 0, 2},
		{"no MaxWait", "900", -1, 0, 2},
		{"beyond the deadline", "7", 0, 7 * time.Second, 1},
		{"within the deadline", "7", 0, 8 * time.Second, 2},
		{"no MaxWait but a deadline", "900", -1, 5 * time.Minute, 1},
		{"own step beyond the deadline", "", 0, 250 * time.Millisecond, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				header := http.Header{}
				if tt.after != "" {
					header.Set("Retry-After", tt.after)
				}
				base := wiretest.Play(wiretest.Step{Status: 503, Header: header, Body: "first"}, wiretest.Step{})
				tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{MaxWait: tt.maxWait}}
				ctx := context.Background()
				if tt.deadline > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				start := time.Now()
				res, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				body := wiretest.ReadAll(t, res)
				if n := base.Sent(); n != tt.attempts {
					t.Fatalf("%d attempts, want %d", n, tt.attempts)
				}
				if tt.attempts == 1 && (res.StatusCode != 503 || body != "first" || time.Since(start) != 0) {
					t.Errorf("%d %q after %v, want the 503 at once", res.StatusCode, body, time.Since(start))
				}
			})
		})
	}
}

// A Retry does not begin a backoff if the queue behind it exceeds the deadline.
func TestRetryNoBackoffBeforeLongQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500, Body: "no"}, wiretest.Step{Body: "yes"})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{RequestsPerMinute: 1}}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if e := <-wiretest.Launch(tr, wiretest.Chat(t).WithContext(ctx)); e.Status != 500 || e.Took != 0 || e.Body != "no" {
			t.Errorf("%+v, want the 500 at once", e)
		}
		if e := <-wiretest.Launch(tr, wiretest.Chat(t)); e.Status != 200 || e.Took.Round(time.Second) != time.Minute {
			t.Errorf("%+v, want the answer of the next minute", e)
		}
	})
}

// A Retry backs off before a queue that is full or too long for MaxWait,
// because the queue may be shorter afterwards. Only the deadline is the same
// after the backoff.
func TestRetryBackoffBeforeMovingQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 503, Header: wiretest.Header("Retry-After", "1")}, wiretest.Step{Body: "yes"})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{RequestsPerMinute: 60, MaxWait: 500 * time.Millisecond}}
		if e := <-wiretest.Launch(tr, wiretest.Chat(t)); e.Status != 200 {
			t.Errorf("%+v, want the retry's 200", e)
		}
	})
}
