package snubber_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A Breaker notices a black hole even if only the callers' deadlines end the
// calls. An attempt without a header counts if it took at least ten seconds and
// more than twice as long as any header did.
func TestBreakerBlackHole(t *testing.T) {
	const key = "https://api.example.com m"
	for _, tt := range []struct {
		name              string
		slowest, deadline time.Duration
		cancel            bool
		want              int
	}{
		{"15 s", 0, 15 * time.Second, false, 1},
		{"10 s", 0, 10 * time.Second, false, 1},
		{"less than 10 s", 0, 10*time.Second - 1, false, 0},
		{"5 s", 0, 5 * time.Second, false, 0},
		{"a service that is fast", time.Second, 15 * time.Second, false, 1},
		{"a service that is slow", 8 * time.Second, 15 * time.Second, false, 0},
		{"twice the slowest", 8 * time.Second, 16 * time.Second, false, 0},
		{"more than that", 8 * time.Second, 16*time.Second + 2, false, 1},
		{"a caller that leaves", 0, 15 * time.Second, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(wiretest.Step{Delay: tt.slowest}, wiretest.Step{Do: wiretest.Hang})
				tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{}, Timeout: &snubber.Timeout{}}
				wiretest.Fetch(tr, wiretest.Chat(t))
				tr.Breaker.Reset(key) // only the calls from now on count
				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				want := context.DeadlineExceeded
				if tt.cancel {
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(tt.deadline, cancel)
					want = context.Canceled
				}
				var timeout *snubber.TimeoutError
				if _, err := wiretest.Fetch(tr, wiretest.Chat(t).WithContext(ctx)); !errors.Is(err, want) || errors.As(err, &timeout) {
					t.Fatalf("RoundTrip = %v, want the caller's own %v", err, want)
				}
				if c := circuitOf(t, tr.Breaker); c.Failures != tt.want || c.Requests != tt.want {
					t.Errorf("%d outcomes, %d failures, want %d", c.Requests, c.Failures, tt.want)
				}
			})
		})
	}
	t.Run("after the header", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Breaker: &snubber.Breaker{}, Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
				return wiretest.Response(200, wiretest.NewBody(wiretest.Chunk{At: time.Hour})), nil
			})}
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			if _, err := wiretest.Fetch(tr, wiretest.Chat(t).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("body: %v, want context.DeadlineExceeded", err)
			}
			if c := circuitOf(t, tr.Breaker); c.Requests != 0 {
				t.Errorf("%d outcomes, want none", c.Requests)
			}
		})
	})
	t.Run("ten of them", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Do: wiretest.Hang})
			tr := snubber.New(base)
			tr.Breaker.MaxWait = -1
			for range 10 {
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				if _, err := wiretest.Fetch(tr, wiretest.Chat(t).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("RoundTrip = %v, want context.DeadlineExceeded", err)
				}
				cancel()
			}
			mustRefuse(t, tr, wiretest.Chat(t))
		})
	})
}
