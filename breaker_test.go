package snubber_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/neterr"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// An open circuit refuses in no time, without a wire call and with the body
// closed, and says which circuit it was and when to come back. Without MaxWait a
// Retry does not hold up a call's first attempt.
func TestBreakerOpenCircuitRefuses(t *testing.T) {
	for _, retry := range []*snubber.Retry{nil, {MaxAttempts: 1}} {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Retry: retry, Breaker: &snubber.Breaker{Failures: 2, MaxWait: -1}, Timeout: &snubber.Timeout{}}
			base := tripped(t, tr, wiretest.Step{})
			if retry != nil {
				retry.MaxAttempts = 4
			}
			refusal := mustRefuse(t, tr, wiretest.Chat(t))
			if want := "https://api.example.com m"; refusal.Key != want {
				t.Errorf("Key = %q, want %q", refusal.Key, want)
			}
			until := circuitOf(t, tr.Breaker).Until
			if d := refusal.RetryAfter; d < 4*time.Second || d > 5*time.Second || d != time.Until(until) {
				t.Errorf("RetryAfter = %v, want 4s to 5s, up to %v", d, time.Until(until))
			}
			time.Sleep(refusal.RetryAfter - 1)
			if d := mustRefuse(t, tr, wiretest.Chat(t)).RetryAfter; d != 1 {
				t.Errorf("RetryAfter = %v at the end, want 1ns", d)
			}
			if n := base.Sent(); n != 2 {
				t.Errorf("%d wire calls, want 2", n)
			}
			time.Sleep(time.Nanosecond)
			if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 {
				t.Errorf("after RetryAfter: %d, %v, want 200", status, err)
			}
		})
	}
}

// The meaning of a response or an error decides what it counts as.
func TestBreakerCounts(t *testing.T) {
	const dies, lives, nothing = "failure", "alive", "neutral"
	fail := func(err error) wiretest.Step { return wiretest.Step{Err: err} }
	for _, tt := range []struct {
		name string
		step wiretest.Step
		want string
	}{
		{"200", wiretest.Step{}, lives},
		{"204", wiretest.Step{Status: 204}, lives},
		{"307", wiretest.Step{Status: 307, Header: wiretest.Header("Location", "/")}, lives},
		{"400", wiretest.Step{Status: 400, Body: `{"error":{"message":"no","type":"invalid_request_error"}}`}, lives},
		{"too long", wiretest.Step{Status: 400, Body: `{"error":{"message":"maximum context length","code":"context_length_exceeded"}}`}, lives},
		{"filtered", wiretest.Step{Status: 400, Body: `{"error":{"message":"no","code":"content_filter"}}`}, lives},
		{"401", wiretest.Step{Status: 401}, lives},
		{"404", wiretest.Step{Status: 404}, lives},
		{"408", wiretest.Step{Status: 408}, nothing},
		{"409", wiretest.Step{Status: 409}, nothing},
		{"425", wiretest.Step{Status: 425}, nothing},
		{"429", wiretest.Step{Status: 429}, nothing},
		{"429 with a wait", wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "20")}, nothing},
		{"quota", wiretest.Step{Status: 429, Body: `{"error":{"message":"no","code":"insufficient_quota","type":"insufficient_quota"}}`}, nothing},
		{"500", wiretest.Step{Status: 500}, dies},
		{"502", wiretest.Step{Status: 502}, dies},
		{"503", wiretest.Step{Status: 503}, dies},
		{"503 declined", wiretest.Step{Status: 503, Header: wiretest.Header("Retry-After", "1")}, dies},
		{"504", wiretest.Step{Status: 504}, dies},
		{"529", wiretest.Step{Status: 529, Body: `{"type":"error","error":{"type":"overloaded_error","message":"busy"}}`}, dies},
		{"dial", fail(&net.OpError{Op: "dial", Net: "tcp", Err: neterr.Refused}), dies},
		{"dns", fail(&net.DNSError{Err: "no such host", IsNotFound: true}), dies},
		{"reset", fail(neterr.Reset), dies},
		{"eof", fail(io.EOF), dies},
		{"header timeout", wiretest.Step{Delay: time.Hour}, dies},
		{"a refusal below", fail(&snubber.RejectedError{Err: snubber.ErrLimited}), nothing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &snubber.Breaker{}
				tr := &snubber.Transport{Base: wiretest.Play(tt.step), Breaker: b, Timeout: &snubber.Timeout{}}
				wiretest.Fetch(tr, wiretest.Chat(t))
				c := circuitOf(t, b)
				want := map[string][2]int{dies: {1, 1}, lives: {1, 0}, nothing: {0, 0}}[tt.want]
				if got := [2]int{c.Requests, c.Failures}; got != want {
					t.Errorf("counted %d, failed %d, want it to count as %s", c.Requests, c.Failures, tt.want)
				}
			})
		})
	}
}

// The default circuit opens with the tenth failure in a row, and not before.
func TestBreakerDefaultOpensAfterTenFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500})
		tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{}}
		for range 10 {
			if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 500 {
				t.Fatalf("RoundTrip %d = %d, %v, want 500", base.Sent(), status, err)
			}
		}
		mustRefuse(t, tr, wiretest.Chat(t))
		// Another model of the same origin is another circuit, another credential is not.
		if status, err := wiretest.Fetch(tr, wiretest.NewRequest(t, "POST", wiretest.ChatURL, strings.Replace(wiretest.ChatBody, `"m"`, `"n"`, 1))); status != 500 {
			t.Errorf("another model: %d, %v, want 500", status, err)
		}
		mustRefuse(t, tr, wiretest.Chat(t, "Authorization", "Bearer other"))
		if n := len(tr.Breaker.Circuits()); n != 2 {
			t.Errorf("%d circuits, want 2", n)
		}
	})
}

// The Breaker waits for the end of the body, because a header alone proves
// nothing.
func TestBreakerVerdictAtBodyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var body *wiretest.Body
		tr := &snubber.Transport{Breaker: &snubber.Breaker{Failures: 1}, Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
			return wiretest.Response(200, body, "Content-Type", "text/event-stream"), nil
		})}
		body = wiretest.NewBody(wiretest.Chunk{Text: wiretest.DeltaEvent}, wiretest.Chunk{At: time.Minute, Text: wiretest.DoneEvent})
		res, err := tr.RoundTrip(wiretest.ChatStream(t))
		if err != nil {
			t.Fatal(err)
		}
		if c := circuitOf(t, tr.Breaker); c.Requests != 0 {
			t.Errorf("%d outcomes with the header, want none", c.Requests)
		}
		p := make([]byte, 4096)
		if _, err := res.Body.Read(p); err != nil {
			t.Fatal(err)
		}
		if c := circuitOf(t, tr.Breaker); c.Requests != 0 {
			t.Errorf("%d outcomes with the first event, want none", c.Requests)
		}
		if _, err := res.Body.Read(p); err != nil {
			t.Fatal(err)
		}
		if c := circuitOf(t, tr.Breaker); c.Requests != 1 || c.Failures != 0 {
			t.Errorf("%d outcomes, %d failures with the terminal event, want a success", c.Requests, c.Failures)
		}
		res.Body.Close()
		if c := circuitOf(t, tr.Breaker); c.Requests != 1 {
			t.Errorf("%d outcomes after Close, want the one", c.Requests)
		}

		body = wiretest.NewBody(wiretest.Chunk{Text: wiretest.DeltaEvent}, wiretest.Chunk{At: time.Minute, Err: neterr.Reset})
		if status, err := wiretest.Fetch(tr, wiretest.ChatStream(t)); status != 200 || !errors.Is(err, neterr.Reset) {
			t.Fatalf("RoundTrip = %d, %v, want 200 and a reset", status, err)
		}
		mustRefuse(t, tr, wiretest.Chat(t))
	})
}

// A response without a stream counts as a failure if it breaks off, with an
// error or with a clean end within its JSON.
func TestBreakerUnaryBodyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Breaker: &snubber.Breaker{}, Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
			return wiretest.Response(200, wiretest.NewBody(wiretest.Chunk{Text: `{"choices":`}, wiretest.Chunk{At: time.Second, Err: io.ErrUnexpectedEOF}), "Content-Type", "application/json"), nil
		})}
		if _, err := wiretest.Fetch(tr, wiretest.Chat(t)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("body: %v, want io.ErrUnexpectedEOF", err)
		}
		if c := circuitOf(t, tr.Breaker); c.Failures != 1 {
			t.Errorf("%d failures, want 1", c.Failures)
		}
	})
}

// A probe holds its place for the header timeout, at most half a minute, and
// for half a minute without a Timeout. A probe whose body nobody reads loses
// its place then.
func TestBreakerProbeTimeLimit(t *testing.T) {
	for _, tt := range []struct {
		timeout *snubber.Timeout
		want    time.Duration
	}{
		{nil, 30 * time.Second},
		{&snubber.Timeout{}, 30 * time.Second},
		{&snubber.Timeout{Headers: 7 * time.Second}, 7 * time.Second},
		{&snubber.Timeout{Headers: time.Hour}, 30 * time.Second},
		{&snubber.Timeout{Headers: -1}, 30 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Timeout: tt.timeout, Breaker: &snubber.Breaker{Failures: 2, Probes: 2}}
			tripped(t, tr, wiretest.Step{Body: "{}"})
			sleepOpen(t, tr.Breaker)
			var hung []*http.Response
			for range 2 {
				res, err := tr.RoundTrip(wiretest.Chat(t))
				if err != nil {
					t.Fatal(err)
				}
				hung = append(hung, res)
			}
			if d := mustRefuse(t, tr, wiretest.Chat(t)).RetryAfter; d != tt.want {
				t.Fatalf("RetryAfter = %v, want the lease, %v", d, tt.want)
			}
			time.Sleep(tt.want - 1)
			mustRefuse(t, tr, wiretest.Chat(t))
			time.Sleep(time.Nanosecond)
			if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 {
				t.Errorf("after the lease: %d, %v, want 200", status, err)
			}
			// The probe's outcome counts even after it lost its place: one of
			// two successes.
			if c := circuitOf(t, tr.Breaker); c.State != snubber.CircuitHalfOpen {
				t.Fatalf("circuit is %v after one success, want half-open", c.State)
			}
			wiretest.ReadAll(t, hung[0])
			if c := circuitOf(t, tr.Breaker); c.State != snubber.CircuitClosed {
				t.Errorf("circuit is %v after two successes, want closed", c.State)
			}
			hung[1].Body.Close()
		})
	}
}

// At most Probes requests are on the wire while the circuit is half-open. A
// probe that its caller cancels frees its place at once.
func TestBreakerHalfOpenProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Breaker: &snubber.Breaker{Failures: 2, Probes: 3}}
		base := tripped(t, tr, wiretest.Step{Delay: 10 * time.Second})
		sleepOpen(t, tr.Breaker)
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 10)
		for range 10 {
			go func() {
				_, err := wiretest.Fetch(tr, wiretest.Chat(t).WithContext(ctx))
				errs <- err
			}()
		}
		synctest.Wait()
		if n := base.Sent() - 2; n != 3 {
			t.Fatalf("%d probes on the wire, want 3", n)
		}
		for range 7 {
			if err := <-errs; !errors.Is(err, snubber.ErrOpen) {
				t.Fatalf("RoundTrip = %v, want ErrOpen", err)
			}
		}
		time.Sleep(time.Second)
		cancel()
		for range 3 {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Fatalf("RoundTrip = %v, want context.Canceled", err)
			}
		}
		for i := range 3 {
			if c := circuitOf(t, tr.Breaker); c.State != snubber.CircuitHalfOpen {
				t.Fatalf("circuit is %v after %d successes, want half-open", c.State, i)
			}
			if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 {
				t.Fatalf("a probe after the cancelled ones: %d, %v, want 200", status, err)
			}
		}
		if c := circuitOf(t, tr.Breaker); c.State != snubber.CircuitClosed {
			t.Errorf("circuit is %v after three successes, want closed", c.State)
		}
	})
}

// A call that began before the circuit opened tells nothing about the service
// afterwards. Its success does not close the circuit.
func TestBreakerIgnoresOlderSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Delay: 3 * time.Second}, wiretest.Step{Status: 503})
		tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{Failures: 2, Probes: 1}}
		old := make(chan int)
		go func() {
			status, _ := wiretest.Fetch(tr, wiretest.Chat(t))
			old <- status
		}()
		synctest.Wait()
		wiretest.Fetch(tr, wiretest.Chat(t))
		wiretest.Fetch(tr, wiretest.Chat(t))
		if status := <-old; status != 200 {
			t.Fatalf("the old call: %d, want 200", status)
		}
		mustRefuse(t, tr, wiretest.Chat(t))
	})
}
