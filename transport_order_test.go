package snubber_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// The circuit is checked before the queue. While it is open, a request neither
// waits for a token nor takes one.
func TestTransportOrderBreakerBeforeQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{})
		tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{RequestsPerMinute: 2, Burst: 2}}
		if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 {
			t.Fatalf("RoundTrip = %d, %v, want 200", status, err)
		}
		tr.Breaker.Trip("https://api.example.com m")
		for range 5 {
			mustRefuse(t, tr, wiretest.Chat(t))
		}
		if q := tr.Limiter.Queues()[0]; q.Requests != 1 || q.InFlight != 0 || q.Waiting != 0 {
			t.Errorf("%+v, want one request left", q)
		}
		tr.Breaker.Reset("https://api.example.com m")
		start := time.Now()
		if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 || time.Since(start) != 0 {
			t.Errorf("RoundTrip = %d, %v after %v, want 200 at once", status, err, time.Since(start))
		}
		tr.Breaker.Trip("https://api.example.com m")
		mustRefuse(t, tr, wiretest.Chat(t)) // at once, although the next token is half a minute away
	})
}

// The circuit is checked again after the queue. If it opened meanwhile, the
// request is not sent, and its quota is given back.
func TestTransportOrderBreakerAfterQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{})
		tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{RequestsPerMinute: 60, TokensPerMinute: 60_000, EstimateTokens: func(*http.Request, []byte) int { return 1000 }}}
		wiretest.Fetch(tr, wiretest.Chat(t))
		start := time.Now()
		errs := make(chan error)
		go func() {
			_, err := wiretest.Fetch(tr, wiretest.Chat(t))
			errs <- err
		}()
		time.Sleep(time.Second / 2)
		tr.Breaker.Trip("https://api.example.com m")
		if err := <-errs; !errors.Is(err, snubber.ErrOpen) {
			t.Fatalf("RoundTrip = %v, want ErrOpen", err)
		}
		if d := time.Since(start); d > time.Second+time.Millisecond {
			t.Errorf("refused after %v, want with its token after 1s", d)
		}
		if n := base.Sent(); n != 1 {
			t.Errorf("%d wire calls, want 1", n)
		}
		if q := tr.Limiter.Queues()[0]; q.Requests < 0.999 || q.Tokens < 999 || q.InFlight != 0 || q.Waiting != 0 {
			t.Errorf("%+v, want the request and its tokens given back", q)
		}
	})
}

// A request in the queue holds no place in a half-open circuit. The probe is
// the request that has its token.
func TestTransportOrderProbeAfterQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Breaker: &snubber.Breaker{Failures: 2, Probes: 1}, Limiter: &snubber.Limiter{RequestsPerMinute: 6, Burst: 2, Key: func(r *http.Request) string { return r.Header.Get("Tenant") }}}
		tripped(t, tr, wiretest.Step{})
		sleepOpen(t, tr.Breaker)
		errs := make(chan error)
		go func() { // the tenant whose quota is exhausted
			_, err := wiretest.Fetch(tr, wiretest.Chat(t))
			errs <- err
		}()
		synctest.Wait()
		if status, err := wiretest.Fetch(tr, wiretest.Chat(t, "Tenant", "other")); status != 200 {
			t.Errorf("another tenant's probe: %d, %v, want 200", status, err)
		}
		if err := <-errs; err != nil {
			t.Error(err)
		}
	})
}

// Each attempt takes quota and is counted by the breaker. The retries of a call
// leave the queue one token after the other, although their backoffs end
// earlier.
func TestTransportOrderEachAttemptPays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{Status: 500}, wiretest.Step{Body: "{}"})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{MaxBackoff: 500 * time.Millisecond}, Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{RequestsPerMinute: 60}}
		if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 {
			t.Fatalf("RoundTrip = %d, %v, want 200", status, err)
		}
		tries := base.Attempts()
		if len(tries) != 3 {
			t.Fatalf("%d attempts, want 3", len(tries))
		}
		for i := range 2 {
			if d := tries[i+1].At.Sub(tries[i].At); d < time.Second || d > time.Second+time.Microsecond {
				t.Errorf("attempt %d came %v after the one before, want 1s", i+2, d)
			}
		}
		if c := circuitOf(t, tr.Breaker); c.Requests != 3 || c.Failures != 2 {
			t.Errorf("%d outcomes, %d failures, want 3 and 2", c.Requests, c.Failures)
		}
	})
}

// The limits of Timeout do not run while a request waits in the queue.
func TestTransportOrderTimeoutAfterQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Delay: 2 * time.Second}), Limiter: &snubber.Limiter{RequestsPerMinute: 1}, Timeout: &snubber.Timeout{Headers: 3 * time.Second, Attempt: 4 * time.Second}}
		for range 3 {
			if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 {
				t.Errorf("RoundTrip = %d, %v, want 200", status, err)
			}
		}
	})
}
