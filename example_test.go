package snubber_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// ask sends one chat request, as an SDK would.
func ask(ctx context.Context, rt http.RoundTripper) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, "POST", "https://api.example.com/v1/chat/completions",
		strings.NewReader(`{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}`))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer key")
	res, err := (&http.Client{Transport: rt}).Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res, err
}

// The recommended stack around a provider that fails once.
func Example() {
	provider := &snubbertest.Provider{}
	provider.Script(snubbertest.Reply{Status: 500})

	res, err := ask(context.Background(), snubber.New(provider))
	fmt.Println(res.StatusCode, err)
	report := snubber.ReportOf(res)
	fmt.Println(report.Load().Attempts, "attempts,", report.Load().Outcome.Class)
	// Output:
	// 200 <nil>
	// 2 attempts, success
}

// The order of the layers, seen from outside. The first attempt takes a token,
// fails and is counted. The second finds the circuit open before it waits for a
// token, so the caller gets the response of the first.
func ExampleTransport_order() {
	provider := &snubbertest.Provider{}
	provider.Script(snubbertest.Reply{Status: 500})
	t := &snubber.Transport{
		Base:    provider,
		Retry:   &snubber.Retry{MaxWait: time.Second},
		Breaker: &snubber.Breaker{Failures: 1},
		Limiter: &snubber.Limiter{RequestsPerMinute: 60},
		Observe: func(e snubber.Event) {
			switch e.Kind {
			case snubber.EventCircuit:
				fmt.Println("circuit", e.From, "->", e.To)
			case snubber.EventAttempt:
				fmt.Println("attempt", e.Attempt, e.Outcome.Class)
			}
		},
	}
	res, err := ask(context.Background(), t)
	fmt.Println(res.StatusCode, err)
	fmt.Println("wire calls:", len(provider.Calls()))
	// Output:
	// circuit closed -> open
	// attempt 1 server-error
	// 500 <nil>
	// wire calls: 1
}

// The caller gets the last response, and not an error, when the attempts run
// out.
func ExampleRetry() {
	provider := &snubbertest.Provider{}
	provider.Inject(snubbertest.Fault{Kind: snubbertest.ServerError})
	t := &snubber.Transport{Base: provider, Retry: &snubber.Retry{MaxAttempts: 3, MinBackoff: time.Millisecond}}

	res, err := ask(context.Background(), t)
	fmt.Println(res.StatusCode, err)
	fmt.Println("wire calls:", len(provider.Calls()))
	// Output:
	// 500 <nil>
	// wire calls: 3
}

// An open circuit refuses without a wire call, and tells when to come back.
func ExampleBreaker() {
	provider := &snubbertest.Provider{}
	breaker := &snubber.Breaker{}
	t := &snubber.Transport{Base: provider, Breaker: breaker}

	breaker.Trip("https://api.example.com gpt-4o")
	_, err := ask(context.Background(), t)
	fmt.Println(errors.Is(err, snubber.ErrOpen), len(provider.Calls()))

	breaker.Reset("https://api.example.com gpt-4o")
	_, err = ask(context.Background(), t)
	fmt.Println(err, len(provider.Calls()))
	// Output:
	// true 0
	// <nil> 1
}

// The Limiter refuses a request at once if its predicted wait exceeds its
// deadline.
func ExampleLimiter() {
	t := &snubber.Transport{Base: &snubbertest.Provider{}, Limiter: &snubber.Limiter{RequestsPerMinute: 1}}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	for range 2 {
		_, err := ask(ctx, t)
		var rejected *snubber.RejectedError
		if errors.As(err, &rejected) {
			fmt.Println(rejected.Err, "-", rejected.Reason, "-", rejected.RetryAfter.Round(time.Minute))
		} else {
			fmt.Println(err)
		}
	}
	// Output:
	// <nil>
	// rate limited - the wait does not fit the deadline - 1m0s
}

// Each phase of an attempt has a limit of its own.
func ExampleTimeout() {
	provider := &snubbertest.Provider{}
	provider.Inject(snubbertest.Fault{Kind: snubbertest.BlackHole})
	t := &snubber.Transport{Base: provider, Timeout: &snubber.Timeout{Headers: 10 * time.Millisecond}}

	_, err := ask(context.Background(), t)
	var timeout *snubber.TimeoutError
	fmt.Println(errors.As(err, &timeout), timeout)
	// Output:
	// true timed out after 10ms (headers)
}

// A report tells how a call went, even if an SDK hides the response.
func ExampleWithReport() {
	provider := &snubbertest.Provider{}
	provider.Script(snubbertest.Reply{Status: 503, Header: http.Header{"Retry-After": {"0"}}})
	t := snubber.New(provider)
	t.Retry.MinBackoff = time.Millisecond

	ctx, report := snubber.WithReport(context.Background())
	ask(ctx, t)
	fmt.Println(report.Load().Calls, "call,", report.Load().Attempts, "attempts,", report.Load().Outcome.Usage.Output > 0)
	// Output:
	// 1 call, 2 attempts, true
}
