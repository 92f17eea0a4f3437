package snubber_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// chatKey names the circuit of the requests of [wiretest.Chat].
const chatKey = "https://api.example.com m"

// healthy is no fault.
const healthy snubbertest.Kind = 0

// unbounded returns a Retry without the limits that end a long sequence.
func unbounded() *snubber.Retry {
	return &snubber.Retry{MaxAttempts: -1, Budget: &snubber.Budget{Capacity: -1}}
}

// circuitOf returns the snapshot of the breaker's only circuit.
func circuitOf(t testing.TB, b *snubber.Breaker) snubber.Circuit {
	t.Helper()
	cs := b.Circuits()
	if len(cs) != 1 {
		t.Fatalf("%d circuits, want 1: %v", len(cs), cs)
	}
	return cs[0]
}

// tripped opens the circuit of tr with two 503s and returns its new Base, which
// goes on with the steps.
func tripped(t testing.TB, tr *snubber.Transport, steps ...wiretest.Step) *wiretest.Script {
	t.Helper()
	base := wiretest.Play(append([]wiretest.Step{{Status: 503}, {Status: 503}}, steps...)...)
	tr.Base = base
	if tr.Breaker == nil {
		tr.Breaker = &snubber.Breaker{Failures: 2}
	}
	for range 2 {
		if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 503 {
			t.Fatalf("RoundTrip = %d, %v, want 503", status, err)
		}
	}
	if c := circuitOf(t, tr.Breaker); c.State != snubber.CircuitOpen {
		t.Fatalf("circuit is %v after two failures, want open", c.State)
	}
	return base
}

// sleepOpen sleeps until the open circuit admits probes.
func sleepOpen(t testing.TB, b *snubber.Breaker) {
	t.Helper()
	time.Sleep(time.Until(circuitOf(t, b).Until))
	if c := circuitOf(t, b); c.State != snubber.CircuitHalfOpen {
		t.Fatalf("circuit is %v after its open time, want half-open", c.State)
	}
}

// mustRefuse checks that an open circuit refuses the request, at once and with
// its body closed, and returns the error.
func mustRefuse(t testing.TB, rt http.RoundTripper, req *http.Request) *snubber.RejectedError {
	t.Helper()
	body := &wiretest.Body{}
	req.Body = body
	start := time.Now()
	res, err := rt.RoundTrip(req)
	var refusal *snubber.RejectedError
	if res != nil || !errors.Is(err, snubber.ErrOpen) || !errors.As(err, &refusal) {
		t.Fatalf("RoundTrip = %v, %v, want only ErrOpen", res, err)
	}
	if d := time.Since(start); d != 0 {
		t.Errorf("the refusal took %v", d)
	}
	if body.Closes() == 0 {
		t.Error("the refused request's body is not closed")
	}
	return refusal
}

// queueOf returns the snapshot of the limiter's only queue.
func queueOf(t testing.TB, l *snubber.Limiter) snubber.QueueStatus {
	t.Helper()
	qs := l.Queues()
	if len(qs) != 1 {
		t.Fatalf("%d queues, want 1: %+v", len(qs), qs)
	}
	return qs[0]
}

// inFlight returns the number of permits held in the limiter's only queue.
func inFlight(t testing.TB, l *snubber.Limiter) int {
	t.Helper()
	return queueOf(t, l).InFlight
}

// idle checks that no request waits and no permit is held.
func idle(t testing.TB, l *snubber.Limiter) {
	t.Helper()
	for _, q := range l.Queues() {
		if q.InFlight != 0 || q.Waiting != 0 {
			t.Errorf("%d in flight, %d waiting at the end (%s)", q.InFlight, q.Waiting, q.Key)
		}
	}
}

// attemptTimedOut checks that err is the timer of the phase, in every way in
// which a caller may test it, and not the caller's own deadline.
func attemptTimedOut(t testing.TB, err error, phase snubber.TimeoutPhase, after time.Duration) {
	t.Helper()
	var late *snubber.TimeoutError
	var netErr interface{ Timeout() bool }
	switch {
	case !errors.As(err, &late):
		t.Fatalf("error = %v, want a *TimeoutError", err)
	case late.Phase != phase || late.After != after:
		t.Errorf("timed out in %q after %v, want %q after %v", late.Phase, late.After, phase, after)
	case !errors.As(err, &netErr) || !netErr.Timeout():
		t.Errorf("%v: Timeout() is false", err)
	case !errors.Is(err, os.ErrDeadlineExceeded):
		t.Errorf("%v is not os.ErrDeadlineExceeded", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		t.Errorf("%v is a context's error", err)
	}
}

// failing returns a provider that always answers with the fault.
func failing(kind snubbertest.Kind) *snubbertest.Provider {
	p := &snubbertest.Provider{}
	if kind != healthy {
		p.Inject(snubbertest.Fault{Kind: kind})
	}
	return p
}
