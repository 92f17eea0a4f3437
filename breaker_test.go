package snubber_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// wire is a base that answers from a function. It takes the request's body in.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	return w(req)
}

// reply is a response; header is in pairs.
func reply(status int, body io.Reader, header ...string) *http.Response {
	rc, ok := body.(io.ReadCloser)
	if !ok {
		rc = io.NopCloser(body)
	}
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: hdr(header...), Body: rc, ContentLength: -1,
	}
}

// hang waits for the end of the request's context, as a black hole does.
func hang(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// fetch makes the round trip and reads the body to its end.
func fetch(rt http.RoundTripper, req *http.Request) (status int, err error) {
	res, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// circuitOf is the snapshot of the breaker's only circuit.
func circuitOf(t testing.TB, b *snubber.Breaker) snubber.Circuit {
	t.Helper()
	cs := b.Circuits()
	if len(cs) != 1 {
		t.Fatalf("%d circuits, want 1: %v", len(cs), cs)
	}
	return cs[0]
}

// tripped is a transport whose circuit has just been opened by two 503s, and
// whose base goes on with the steps.
func tripped(t testing.TB, tr *snubber.Transport, steps ...step) *script {
	t.Helper()
	base := play(append([]step{{status: 503}, {status: 503}}, steps...)...)
	tr.Base = base
	if tr.Breaker == nil {
		tr.Breaker = &snubber.Breaker{Failures: 2}
	}
	for range 2 {
		if status, err := fetch(tr, chat(t)); status != 503 {
			t.Fatalf("RoundTrip = %d, %v, want 503", status, err)
		}
	}
	if c := circuitOf(t, tr.Breaker); c.State != snubber.CircuitOpen {
		t.Fatalf("circuit is %v after two failures, want open", c.State)
	}
	return base
}

// sleepOpen sleeps until the open circuit lets probes through.
func sleepOpen(t testing.TB, b *snubber.Breaker) {
	t.Helper()
	time.Sleep(time.Until(circuitOf(t, b).Until))
	if c := circuitOf(t, b); c.State != snubber.CircuitHalfOpen {
		t.Fatalf("circuit is %v after its open time, want half-open", c.State)
	}
}

// mustRefuse checks that a request is refused for an open circuit, at once and
// with its body closed, and returns the error.
func mustRefuse(t testing.TB, rt http.RoundTripper, req *http.Request) *snubber.RejectedError {
	t.Helper()
	body := &flow{}
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
	if body.closes() == 0 {
		t.Error("the refused request's body is not closed")
	}
	return refusal
}

// An open circuit refuses in no time, without a wire call and with the body
// closed, and says which circuit it was and when to come back. A Retry does
// not hold up a call's first attempt.
func TestBreakerRefuses(t *testing.T) {
	for _, retry := range []*snubber.Retry{nil, {MaxAttempts: 1}} {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Retry: retry, Breaker: &snubber.Breaker{Failures: 2}, Timeout: &snubber.Timeout{}}
			base := tripped(t, tr, step{})
			if retry != nil {
				retry.MaxAttempts = 4
			}
			refusal := mustRefuse(t, tr, chat(t))
			if want := "https://api.example.com m"; refusal.Key != want {
				t.Errorf("Key = %q, want %q", refusal.Key, want)
			}
			until := circuitOf(t, tr.Breaker).Until
			if d := refusal.RetryAfter; d < 4*time.Second || d > 6*time.Second || d != time.Until(until) {
				t.Errorf("RetryAfter = %v, want 5s and a fifth, up to %v", d, time.Until(until))
			}
			time.Sleep(refusal.RetryAfter - 1)
			if d := mustRefuse(t, tr, chat(t)).RetryAfter; d != 1 {
				t.Errorf("RetryAfter = %v at the end, want 1ns", d)
			}
			if n := base.sent(); n != 2 {
				t.Errorf("%d wire calls, want 2", n)
			}
			time.Sleep(1)
			if status, err := fetch(tr, chat(t)); status != 200 {
				t.Errorf("after RetryAfter: %d, %v, want 200", status, err)
			}
		})
	}
}

// What a response or an error counts for is decided by what it means.
func TestBreakerCounts(t *testing.T) {
	const dies, lives, nothing = "failure", "alive", "neutral"
	fail := func(err error) step { return step{err: err} }
	for _, tt := range []struct {
		name string
		step step
		want string
	}{
		{"200", step{}, lives},
		{"204", step{status: 204}, lives},
		{"307", step{status: 307, header: hdr("Location", "/")}, lives},
		{"400", step{status: 400, body: `{"error":{"message":"no","type":"invalid_request_error"}}`}, lives},
		{"too long", step{status: 400, body: `{"error":{"message":"maximum context length","code":"context_length_exceeded"}}`}, lives},
		{"filtered", step{status: 400, body: `{"error":{"message":"no","code":"content_filter"}}`}, lives},
		{"401", step{status: 401}, lives},
		{"404", step{status: 404}, lives},
		{"408", step{status: 408}, nothing},
		{"409", step{status: 409}, nothing},
		{"425", step{status: 425}, nothing},
		{"429", step{status: 429}, nothing},
		{"429 with a wait", step{status: 429, header: hdr("Retry-After", "20")}, nothing},
		{"quota", step{status: 429, body: `{"error":{"message":"no","code":"insufficient_quota","type":"insufficient_quota"}}`}, nothing},
		{"500", step{status: 500}, dies},
		{"502", step{status: 502}, dies},
		{"503", step{status: 503}, dies},
		{"503 declined", step{status: 503, header: hdr("Retry-After", "1")}, dies},
		{"504", step{status: 504}, dies},
		{"529", step{status: 529, body: `{"type":"error","error":{"type":"overloaded_error","message":"busy"}}`}, dies},
		{"dial", fail(&net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}), dies},
		{"dns", fail(&net.DNSError{Err: "no such host", IsNotFound: true}), dies},
		{"reset", fail(syscall.ECONNRESET), dies},
		{"eof", fail(io.EOF), dies},
		{"header timeout", step{delay: time.Hour}, dies},
		{"a refusal below", fail(&snubber.RejectedError{Err: snubber.ErrLimited}), nothing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &snubber.Breaker{}
				tr := &snubber.Transport{Base: play(tt.step), Breaker: b, Timeout: &snubber.Timeout{}}
				fetch(tr, chat(t))
				c := circuitOf(t, b)
				want := map[string][2]int{dies: {1, 1}, lives: {1, 0}, nothing: {0, 0}}[tt.want]
				if got := [2]int{c.Requests, c.Failures}; got != want {
					t.Errorf("counted %d, failed %d, want it to count as %s", c.Requests, c.Failures, tt.want)
				}
			})
		})
	}
}

// The default circuit opens with the tenth failure in a row and not before.
func TestBreakerDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{status: 500})
		tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{}}
		for range 10 {
			if status, err := fetch(tr, chat(t)); status != 500 {
				t.Fatalf("RoundTrip %d = %d, %v, want 500", base.sent(), status, err)
			}
		}
		mustRefuse(t, tr, chat(t))
		// Another model of the same origin is another circuit, another credential is not.
		if status, err := fetch(tr, newReq(t, "POST", chatURL, strings.Replace(chatBody, `"m"`, `"n"`, 1))); status != 500 {
			t.Errorf("another model: %d, %v, want 500", status, err)
		}
		mustRefuse(t, tr, chat(t, "Authorization", "Bearer other"))
		if n := len(tr.Breaker.Circuits()); n != 2 {
			t.Errorf("%d circuits, want 2", n)
		}
	})
}

const streamBody = `{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}`

func streamReq(t testing.TB) *http.Request { return newReq(t, "POST", chatURL, streamBody) }

// The breaker waits for the end of the body: a header alone proves nothing.
func TestBreakerVerdictAtBodyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var body *flow
		tr := &snubber.Transport{Breaker: &snubber.Breaker{Failures: 1}, Base: wire(func(*http.Request) (*http.Response, error) {
			return reply(200, body, "Content-Type", "text/event-stream"), nil
		})}
		body = newFlow(chunk{text: deltaEvent}, chunk{at: time.Minute, text: doneEvent})
		res, err := tr.RoundTrip(streamReq(t))
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

		body = newFlow(chunk{text: deltaEvent}, chunk{at: time.Minute, err: syscall.ECONNRESET})
		if status, err := fetch(tr, streamReq(t)); status != 200 || !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("RoundTrip = %d, %v, want 200 and a reset", status, err)
		}
		mustRefuse(t, tr, chat(t))
	})
}

// A unary answer that breaks off, by an error or by a clean end in the middle
// of its JSON, counts as a failure too.
func TestBreakerUnaryBodyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Breaker: &snubber.Breaker{}, Base: wire(func(*http.Request) (*http.Response, error) {
			return reply(200, newFlow(chunk{text: `{"choices":`}, chunk{at: time.Second, err: io.ErrUnexpectedEOF}), "Content-Type", "application/json"), nil
		})}
		if _, err := fetch(tr, chat(t)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("body: %v, want io.ErrUnexpectedEOF", err)
		}
		if c := circuitOf(t, tr.Breaker); c.Failures != 1 {
			t.Errorf("%d failures, want 1", c.Failures)
		}
	})
}

// The lease of a probe is the header timeout, at most half a minute, which it
// also is without a Timeout. A probe whose body nobody reads keeps its place
// that long and no longer.
func TestBreakerLease(t *testing.T) {
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
			tr := &snubber.Transport{Timeout: tt.timeout}
			tripped(t, tr, step{body: "{}"})
			sleepOpen(t, tr.Breaker)
			var hung []*http.Response
			for range 2 {
				res, err := tr.RoundTrip(chat(t))
				if err != nil {
					t.Fatal(err)
				}
				hung = append(hung, res)
			}
			if d := mustRefuse(t, tr, chat(t)).RetryAfter; d != tt.want {
				t.Fatalf("RetryAfter = %v, want the lease, %v", d, tt.want)
			}
			time.Sleep(tt.want - 1)
			mustRefuse(t, tr, chat(t))
			time.Sleep(1)
			if status, err := fetch(tr, chat(t)); status != 200 {
				t.Errorf("after the lease: %d, %v, want 200", status, err)
			}
			// Its outcome counts although the lease was over: one of two successes.
			if c := circuitOf(t, tr.Breaker); c.State != snubber.CircuitHalfOpen {
				t.Fatalf("circuit is %v after one success, want half-open", c.State)
			}
			slurp(t, hung[0])
			if c := circuitOf(t, tr.Breaker); c.State != snubber.CircuitClosed {
				t.Errorf("circuit is %v after two successes, want closed", c.State)
			}
			hung[1].Body.Close()
		})
	}
}

// Only Probes requests are on the wire at a time while half-open, and a probe
// that its caller cancels makes room at once.
func TestBreakerProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Breaker: &snubber.Breaker{Failures: 2, Probes: 3}}
		base := tripped(t, tr, step{delay: 10 * time.Second})
		sleepOpen(t, tr.Breaker)
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 10)
		for range 10 {
			go func() {
				_, err := fetch(tr, chat(t).WithContext(ctx))
				errs <- err
			}()
		}
		synctest.Wait()
		if n := base.sent() - 2; n != 3 {
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
			if status, err := fetch(tr, chat(t)); status != 200 {
				t.Fatalf("a probe after the cancelled ones: %d, %v, want 200", status, err)
			}
		}
		if c := circuitOf(t, tr.Breaker); c.State != snubber.CircuitClosed {
			t.Errorf("circuit is %v after three successes, want closed", c.State)
		}
	})
}

// A call that began before the circuit opened says nothing about it after:
// its success does not close it.
func TestBreakerStaleSuccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{delay: 3 * time.Second}, step{status: 503})
		tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{Failures: 2, Probes: 1}}
		old := make(chan int)
		go func() {
			status, _ := fetch(tr, chat(t))
			old <- status
		}()
		synctest.Wait()
		fetch(tr, chat(t))
		fetch(tr, chat(t))
		if status := <-old; status != 200 {
			t.Fatalf("the old call: %d, want 200", status)
		}
		mustRefuse(t, tr, chat(t))
	})
}

// The circuit is looked at before the queue: while it is open a request
// neither waits for a token nor takes one.
func TestBreakerLooksBeforeQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{})
		tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{RequestsPerMinute: 2, Burst: 2}}
		if status, err := fetch(tr, chat(t)); status != 200 {
			t.Fatalf("RoundTrip = %d, %v, want 200", status, err)
		}
		tr.Breaker.Open("https://api.example.com m")
		for range 5 {
			mustRefuse(t, tr, chat(t))
		}
		if q := tr.Limiter.Quotas()[0]; q.Requests != 1 || q.InFlight != 0 || q.Waiting != 0 {
			t.Errorf("%+v, want one request left", q)
		}
		tr.Breaker.Close("https://api.example.com m")
		start := time.Now()
		if status, err := fetch(tr, chat(t)); status != 200 || time.Since(start) != 0 {
			t.Errorf("RoundTrip = %d, %v after %v, want 200 at once", status, err, time.Since(start))
		}
		tr.Breaker.Open("https://api.example.com m")
		mustRefuse(t, tr, chat(t)) // although the next token is half a minute away
	})
}

// The circuit is asked again after the queue: a request that waited while it
// opened is not sent, and what it took of the quota is given back.
func TestBreakerAdmitsAfterQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{})
		tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{RequestsPerMinute: 60, TokensPerMinute: 60_000, Tokens: func(*http.Request, []byte) int { return 1000 }}}
		fetch(tr, chat(t))
		start := time.Now()
		errs := make(chan error)
		go func() {
			_, err := fetch(tr, chat(t))
			errs <- err
		}()
		time.Sleep(time.Second / 2)
		tr.Breaker.Open("https://api.example.com m")
		if err := <-errs; !errors.Is(err, snubber.ErrOpen) {
			t.Fatalf("RoundTrip = %v, want ErrOpen", err)
		}
		if d := time.Since(start); d > time.Second+time.Millisecond {
			t.Errorf("refused after %v, want with its token after 1s", d)
		}
		if n := base.sent(); n != 1 {
			t.Errorf("%d wire calls, want 1", n)
		}
		if q := tr.Limiter.Quotas()[0]; q.Requests < 0.999 || q.Tokens < 999 || q.InFlight != 0 || q.Waiting != 0 {
			t.Errorf("%+v, want the request and its tokens given back", q)
		}
	})
}

// A place in a half-open circuit is not held while queueing: the probe is the
// request that has its token.
func TestBreakerProbeIsNotHeldInQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Breaker: &snubber.Breaker{Failures: 2, Probes: 1}, Limiter: &snubber.Limiter{RequestsPerMinute: 6, Burst: 2, Key: func(r *http.Request) string { return r.Header.Get("Tenant") }}}
		tripped(t, tr, step{})
		sleepOpen(t, tr.Breaker)
		errs := make(chan error)
		go func() { // of the tenant whose quota is used up
			_, err := fetch(tr, chat(t))
			errs <- err
		}()
		synctest.Wait()
		if status, err := fetch(tr, chat(t, "Tenant", "other")); status != 200 {
			t.Errorf("another tenant's probe: %d, %v, want 200", status, err)
		}
		if err := <-errs; err != nil {
			t.Error(err)
		}
	})
}

// A black hole is noticed although only the callers' own deadlines end the
// calls: one of at least ten seconds, and more than twice as long as any
// header took, without a header counts.
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
				base := play(step{delay: tt.slowest}, step{do: hang})
				tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{}, Timeout: &snubber.Timeout{}}
				fetch(tr, chat(t))
				tr.Breaker.Close(key) // only what comes now counts
				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				want := context.DeadlineExceeded
				if tt.cancel {
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(tt.deadline, cancel)
					want = context.Canceled
				}
				var timeout *snubber.TimeoutError
				if _, err := fetch(tr, chat(t).WithContext(ctx)); !errors.Is(err, want) || errors.As(err, &timeout) {
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
			tr := &snubber.Transport{Breaker: &snubber.Breaker{}, Base: wire(func(*http.Request) (*http.Response, error) {
				return reply(200, newFlow(chunk{at: time.Hour})), nil
			})}
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			if _, err := fetch(tr, chat(t).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("body: %v, want context.DeadlineExceeded", err)
			}
			if c := circuitOf(t, tr.Breaker); c.Requests != 0 {
				t.Errorf("%d outcomes, want none", c.Requests)
			}
		})
	})
	t.Run("ten of them", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			base := play(step{do: hang})
			tr := snubber.New(base)
			for range 10 {
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				if _, err := fetch(tr, chat(t).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("RoundTrip = %v, want context.DeadlineExceeded", err)
				}
				cancel()
			}
			mustRefuse(t, tr, chat(t))
		})
	})
}

// Circuits can be read, opened and closed by their key, also one that no
// request has had yet.
func TestBreakerByHand(t *testing.T) {
	for _, tt := range []struct {
		name string
		key  func(*http.Request) string
		want string
	}{
		{"origin and model", nil, "https://api.example.com m"},
		{"own key", func(*http.Request) string { return "mine://a b" }, "mine://a b"},
		{"own plain key", func(*http.Request) string { return "mine" }, "mine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := play(step{})
				tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{Key: tt.key}}
				tr.Breaker.Open(tt.want)
				refusal := mustRefuse(t, tr, chat(t))
				if refusal.Key != tt.want || refusal.RetryAfter != 0 {
					t.Errorf("%+v, want key %q and no time to come back", refusal, tt.want)
				}
				time.Sleep(time.Hour)
				mustRefuse(t, tr, chat(t))
				if c := circuitOf(t, tr.Breaker); c.Key != tt.want || c.State != snubber.CircuitOpen || !c.ByHand {
					t.Errorf("%+v, want %q open by hand", c, tt.want)
				}
				tr.Breaker.Close(tt.want)
				if status, err := fetch(tr, chat(t)); status != 200 {
					t.Errorf("RoundTrip = %d, %v, want 200", status, err)
				}
				if c := circuitOf(t, tr.Breaker); c.State != snubber.CircuitClosed || c.ByHand {
					t.Errorf("%+v, want closed", c)
				}
			})
		})
	}
	t.Run("closing one that failed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{}
			tripped(t, tr, step{})
			tr.Breaker.Close("https://api.example.com m")
			if status, err := fetch(tr, chat(t)); status != 200 {
				t.Errorf("RoundTrip = %d, %v, want 200", status, err)
			}
		})
	})
}

// Two Transports with one Breaker share its circuits.
func TestBreakerShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{}
		tripped(t, tr)
		mustRefuse(t, &snubber.Transport{Base: play(step{}), Breaker: tr.Breaker}, chat(t))
	})
}

// The number of circuits is bounded whatever the keys, and an open one is
// never forgotten for the sake of a new one.
func TestBreakerKeysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{
			Base: wire(func(r *http.Request) (*http.Response, error) {
				if strings.HasPrefix(r.Header.Get("Tenant"), "bad") {
					return reply(500, http.NoBody), nil
				}
				return reply(200, http.NoBody), nil
			}),
			Breaker: &snubber.Breaker{Failures: 1, OpenFor: time.Hour, MaxOpenFor: time.Hour, Key: func(r *http.Request) string { return r.Header.Get("Tenant") }},
		}
		req := newReq(t, "GET", "https://api.example.com/", "")
		visit := func(tenant string) (int, error) {
			req.Header["Tenant"] = []string{tenant}
			return fetch(tr, req)
		}
		for i := range 50 {
			visit(fmt.Sprint("bad", i))
		}
		for i := range 12_000 {
			visit(fmt.Sprint("good", i))
		}
		if n := len(tr.Breaker.Circuits()); n > 10_000 {
			t.Errorf("%d circuits, want 10 000 at most", n)
		}
		for i := range 50 {
			if _, err := visit(fmt.Sprint("bad", i)); !errors.Is(err, snubber.ErrOpen) {
				t.Fatalf("an open circuit was forgotten: %v", err)
			}
		}
	})
}

// key is the circuit of the requests of chat.
const chatKey = "https://api.example.com m"

// A call that had an attempt already waits for the circuit that opened under
// it. That costs neither an attempt nor the budget; the wait ends with the
// circuit's open time and no later.
func TestBreakerAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(append(slices.Repeat([]step{{status: 503}}, 5), step{body: "{}"})...)
		tr := &snubber.Transport{
			Base:    base,
			Retry:   &snubber.Retry{MaxAttempts: 2, Budget: &snubber.Budget{Capacity: 0.5}}, // which pays for none
			Breaker: &snubber.Breaker{Failures: 1, Probes: 1},
		}
		ctx, report := snubber.WithReport(t.Context())
		start := time.Now()
		res, err := tr.RoundTrip(chat(t).WithContext(ctx))
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("RoundTrip = %v, %v, want 200", res, err)
		}
		slurp(t, res)
		tries := base.all()
		for i, want := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 60 * time.Second} {
			if got := tries[i+1].at.Sub(tries[i].at); got < want*4/5 || got > min(want*6/5, time.Minute) {
				t.Errorf("wait %d took %v, want the open time of %v and a fifth", i+1, got, want)
			}
		}
		if report.Attempts != 6 || report.Readmitted != 5 || report.Waited != time.Since(start) {
			t.Errorf("report %+v, want 6 attempts, 5 of them readmitted, and %v of waiting", report, time.Since(start))
		}
	})
}

// Eight deferred admissions are the most; then an attempt has to be paid.
func TestBreakerAwaitedEightTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{status: 503})
		tr := &snubber.Transport{
			Base:    base,
			Retry:   &snubber.Retry{MaxAttempts: 2, Budget: &snubber.Budget{Capacity: 0.5}},
			Breaker: &snubber.Breaker{Failures: 1},
		}
		if status, err := fetch(tr, chat(t)); status != 503 {
			t.Errorf("RoundTrip = %d, %v, want 503", status, err)
		}
		if n := base.sent(); n != 9 {
			t.Errorf("%d wire calls, want 1 and 8 readmitted", n)
		}
	})
}

// A wait for a circuit that does not fit MaxWait or the deadline, or whose end
// nobody knows, is not begun: the call gets the response it has.
func TestBreakerNotAwaited(t *testing.T) {
	for _, tt := range []struct {
		name     string
		retry    *snubber.Retry
		deadline time.Duration
		byHand   bool
	}{
		{"MaxWait", &snubber.Retry{MaxWait: 3 * time.Second}, time.Hour, false},
		{"deadline", &snubber.Retry{}, 3 * time.Second, false},
		{"by hand", &snubber.Retry{}, time.Hour, true},
		{"no Retry", nil, time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Retry: tt.retry, Breaker: &snubber.Breaker{Failures: 1}}
				base := play(step{do: func(*http.Request) (*http.Response, error) {
					if tt.byHand {
						tr.Breaker.Open(chatKey)
					}
					return reply(503, strings.NewReader("sorry")), nil
				}}, step{})
				tr.Base = base
				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				start := time.Now()
				res, err := tr.RoundTrip(chat(t).WithContext(ctx))
				if err != nil || res.StatusCode != 503 {
					t.Fatalf("RoundTrip = %v, %v, want the 503", res, err)
				}
				if body := slurp(t, res); body != "sorry" {
					t.Errorf("body = %q, want it as it came", body)
				}
				if d := time.Since(start); d != 0 || base.sent() != 1 {
					t.Errorf("%d wire calls in %v, want 1 in no time", base.sent(), d)
				}
			})
		})
	}
}

// A circuit that another call opens during a backoff is waited for when the
// backoff ends, or, where that would take too long, not: then the call gets the
// response it has, at the end of its backoff.
func TestBreakerOpensDuringBackoff(t *testing.T) {
	for _, tt := range []struct {
		name     string
		maxWait  time.Duration
		deadline time.Duration
		want     int
	}{
		{"it fits", 0, time.Hour, 200},
		{"MaxWait", 3 * time.Second, time.Hour, 503},
		{"deadline", 0, 4 * time.Second, 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := play(step{status: 503, body: "sorry"}, step{status: 500}, step{body: "{}"})
				b := &snubber.Breaker{Failures: 2}
				tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{MaxWait: tt.maxWait}, Breaker: b}
				start := time.Now()
				time.AfterFunc(100*time.Millisecond, func() { fetch(&snubber.Transport{Base: base, Breaker: b}, chat(t)) })
				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				res, err := tr.RoundTrip(chat(t).WithContext(ctx))
				if err != nil || res.StatusCode != tt.want {
					t.Fatalf("RoundTrip = %v, %v, want %d", res, err, tt.want)
				}
				body := slurp(t, res)
				switch d := time.Since(start); tt.want {
				case 200:
					if d < 4*time.Second || base.sent() != 3 {
						t.Errorf("%d wire calls in %v, want 3 and the open time waited for", base.sent(), d)
					}
				default:
					if d < 250*time.Millisecond || d > 500*time.Millisecond || body != "sorry" || base.sent() != 2 {
						t.Errorf("%q after %v and %d wire calls, want the first response at the end of the backoff", body, d, base.sent())
					}
				}
			})
		})
	}
}

// Who waits for a circuit can leave at any time, and goes on at once when it
// is closed by hand; a call that comes meanwhile is refused at once.
func TestBreakerAwaitEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(tr *snubber.Transport, cancel func())
		want func(status int, err error) bool
	}{
		{"cancel", func(_ *snubber.Transport, cancel func()) { cancel() }, func(_ int, err error) bool { return errors.Is(err, context.Canceled) }},
		{"close", func(tr *snubber.Transport, _ func()) { tr.Breaker.Close(chatKey) }, func(status int, err error) bool { return status == 200 }},
		{"opened for good", func(tr *snubber.Transport, _ func()) { tr.Breaker.Open(chatKey) }, func(status int, err error) bool { return status == 503 && err == nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Base: play(step{status: 503}, step{}), Retry: &snubber.Retry{}, Breaker: &snubber.Breaker{Failures: 1}}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				start := time.Now()
				done := make(chan bool)
				go func() {
					status, err := fetch(tr, chat(t).WithContext(ctx))
					t.Logf("RoundTrip = %d, %v", status, err)
					done <- tt.want(status, err)
				}()
				time.Sleep(time.Second)
				mustRefuse(t, tr, chat(t))
				tt.end(tr, cancel)
				if !<-done {
					t.Error("which is not what was to be")
				}
				if d := time.Since(start); d != time.Second {
					t.Errorf("ended after %v, want at once, after 1s", d)
				}
			})
		})
	}
}

// outage is a base that answers after a while, except that what is sent or on
// its way in one bad second fails.
type outage struct {
	start time.Time
	fail  func(ctx context.Context) (*http.Response, error)

	mu  sync.Mutex
	rnd *rand.Rand
}

func (o *outage) between(lo, hi time.Duration) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return lo + time.Duration(o.rnd.Int63n(int64(hi-lo)))
}

func (o *outage) answer(req *http.Request) (*http.Response, error) {
	d := o.between(300*time.Millisecond, 3*time.Second)
	end := o.start.Add(time.Second)
	now := time.Now()
	switch {
	case now.Before(o.start) && now.Add(d).After(o.start):
		time.Sleep(o.start.Sub(now) + o.between(0, 200*time.Millisecond))
		return o.fail(req.Context())
	case !now.Before(o.start) && now.Before(end):
		time.Sleep(o.between(0, 50*time.Millisecond))
		return o.fail(req.Context())
	}
	time.Sleep(d)
	return reply(200, strings.NewReader(`{"choices":[]}`), "Content-Type", "application/json"), nil
}

// Of thirty calls in flight when an outage of one second begins none is lost,
// whatever the outage looks like and however its failures fall.
func TestBreakerOutageLosesNothing(t *testing.T) {
	for name, fail := range map[string]func(context.Context) (*http.Response, error){
		"503": func(context.Context) (*http.Response, error) { return reply(503, strings.NewReader("down")), nil },
		"503 with Retry-After": func(context.Context) (*http.Response, error) {
			return reply(503, strings.NewReader("down"), "Retry-After", "1"), nil
		},
		"reset": func(context.Context) (*http.Response, error) { return nil, syscall.ECONNRESET },
		"dial": func(context.Context) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		},
		"broken answer": func(context.Context) (*http.Response, error) { return reply(502, strings.NewReader("<html>")), nil },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range int64(25) {
				synctest.Test(t, func(t *testing.T) {
					o := &outage{start: time.Now().Add(290 * time.Millisecond), fail: fail, rnd: rand.New(rand.NewSource(seed))}
					base := wire(o.answer)
					tr := snubber.New(base)
					var wg sync.WaitGroup
					for range 30 {
						wg.Go(func() {
							time.Sleep(o.between(0, 280*time.Millisecond))
							if status, err := fetch(tr, chat(t)); status != 200 {
								t.Errorf("seed %d: lost a call: %d, %v", seed, status, err)
							}
						})
					}
					wg.Wait()
				})
			}
		})
	}
}
