package snubbertest_test

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// step is a call at a time after the first and what becomes of it.
type step struct {
	at     time.Duration
	more   string // fields of the request
	status int
	header string // "Name: value" of the response, separated by ", "
}

const sec, ms = time.Second, time.Millisecond

func TestQuota(t *testing.T) {
	tests := []struct {
		name  string
		p     func() *snubbertest.Provider
		path  string
		steps []step
	}{
		{"one a second", func() *snubbertest.Provider { return &snubbertest.Provider{RequestsPerMinute: 60, Burst: 1} }, chatPath, []step{
			{0, "", 200, "X-Ratelimit-Limit-Requests: 60, X-Ratelimit-Remaining-Requests: 0, X-Ratelimit-Reset-Requests: 1s"},
			{0, "", 429, "Retry-After: 1, Retry-After-Ms: "},
			{sec - 1, "", 429, "Retry-After: 1, X-Ratelimit-Reset-Requests: 1ms"},
			{sec, "", 200, ""},
			{2*sec - 1, "", 429, ""},
			{10 * sec, "", 200, ""}, // the burst is not saved up
			{10 * sec, "", 429, ""},
		}},
		{"a minute's burst", func() *snubbertest.Provider { return &snubbertest.Provider{RequestsPerMinute: 3, RetryAfterMs: true} }, chatPath, []step{
			{0, "", 200, "X-Ratelimit-Remaining-Requests: 2, X-Ratelimit-Reset-Requests: 20s"},
			{0, "", 200, "X-Ratelimit-Remaining-Requests: 1, X-Ratelimit-Reset-Requests: 40s"},
			{500 * ms, "", 200, "X-Ratelimit-Remaining-Requests: 0, X-Ratelimit-Reset-Requests: 59.5s"},
			{500 * ms, "", 429, "Retry-After: 20, Retry-After-Ms: 19500"},
			{20 * sec, "", 200, ""},
			{39 * sec, "", 429, "Retry-After: 1"},
		}},
		// 60 s / 7 is no whole number of nanoseconds; it must not drift.
		{"exact", func() *snubbertest.Provider { return &snubbertest.Provider{RequestsPerMinute: 7, Burst: 2} }, chatPath, []step{
			{0, "", 200, ""}, {0, "", 200, ""}, {8571428571, "", 429, ""}, {8571428572, "", 200, ""}, {17142857142, "", 429, ""},
			{17142857143, "", 200, ""}, {25714285715, "", 200, ""}, {34285714286, "", 200, ""}, {42857142858, "", 200, ""},
			{51428571429, "", 200, ""}, {60*sec - 1, "", 429, ""}, {60 * sec, "", 200, ""},
		}},
		{"short minute", func() *snubbertest.Provider {
			return &snubbertest.Provider{RequestsPerMinute: 60, Burst: 1, Minute: 6 * sec, RetryAfterMs: true}
		}, chatPath, []step{
			{0, "", 200, ""}, {1, "", 429, "Retry-After: 1, Retry-After-Ms: 100"}, {100 * ms, "", 200, ""},
		}},
		// The prompt has 5 tokens, the answer 11.
		{"tokens charged by maximum", func() *snubbertest.Provider { return &snubbertest.Provider{TokensPerMinute: 60} }, chatPath, []step{
			{0, `"max_tokens":45,`, 200, "X-Ratelimit-Limit-Tokens: 60, X-Ratelimit-Remaining-Tokens: 10, X-Ratelimit-Reset-Tokens: 50s, X-Ratelimit-Limit-Requests: "},
			{0, `"max_tokens":15,`, 429, "Retry-After: 10, X-Ratelimit-Remaining-Tokens: 10"},
			{9*sec + 999*ms, `"max_tokens":15,`, 429, "Retry-After: 1"},
			{10 * sec, `"max_tokens":15,`, 200, ""},
			{10 * sec, `"max_tokens":56,`, 429, "Retry-After: "}, // never fits
		}},
		{"tokens refunded", func() *snubbertest.Provider { return &snubbertest.Provider{TokensPerMinute: 60, Refund: true} }, chatPath, []step{
			{0, `"max_tokens":45,`, 200, "X-Ratelimit-Remaining-Tokens: 10"},
			{0, `"max_tokens":15,`, 200, "X-Ratelimit-Remaining-Tokens: 24"}, // 60-16-20
		}},
		{"tokens charged at the end", func() *snubbertest.Provider { return &snubbertest.Provider{TokensPerMinute: 60} }, chatPath, []step{
			{0, "", 200, "X-Ratelimit-Remaining-Tokens: 55"}, {0, "", 200, "X-Ratelimit-Remaining-Tokens: 39"},
		}},
		{"both or none", func() *snubbertest.Provider {
			return &snubbertest.Provider{RequestsPerMinute: 60, Burst: 2, TokensPerMinute: 60}
		}, chatPath, []step{
			{0, `"max_tokens":55,`, 200, "X-Ratelimit-Remaining-Requests: 1"},
			{0, `"max_tokens":5,`, 429, "X-Ratelimit-Remaining-Requests: 1, Retry-After: 10"},
		}},
		{"rejected are free", func() *snubbertest.Provider { return &snubbertest.Provider{RequestsPerMinute: 60, Burst: 1} }, chatPath, []step{
			{0, "", 200, ""}, {900 * ms, "", 429, ""}, {sec, "", 200, ""},
		}},
		{"rejected are charged", func() *snubbertest.Provider {
			return &snubbertest.Provider{RequestsPerMinute: 60, Burst: 1, RejectedCharged: true}
		}, chatPath, []step{
			{0, "", 200, ""}, {900 * ms, "", 429, "Retry-After: 1"}, {1800 * ms, "", 429, ""}, {2800 * ms, "", 200, ""},
		}},
		{"silent", func() *snubbertest.Provider {
			return &snubbertest.Provider{RequestsPerMinute: 60, Burst: 1, NoHeaders: true, NoRetryAfter: true}
		}, chatPath, []step{
			{0, "", 200, "X-Ratelimit-Limit-Requests: "}, {0, "", 429, "Retry-After: , X-Ratelimit-Reset-Requests: "},
		}},
		{"anthropic", func() *snubbertest.Provider {
			return &snubbertest.Provider{RequestsPerMinute: 24, Burst: 1, TokensPerMinute: 600}
		}, messagesPath, []step{
			{0, `"max_tokens":5,`, 200, "Anthropic-Ratelimit-Requests-Limit: 24, Anthropic-Ratelimit-Requests-Remaining: 0, Anthropic-Ratelimit-Requests-Reset: 2000-01-01T00:00:03Z, Anthropic-Ratelimit-Tokens-Remaining: 590, Anthropic-Ratelimit-Tokens-Reset: 2000-01-01T00:00:01Z"},
			{0, "", 429, "Retry-After: 3, X-Should-Retry: true"},
		}},
		{"gemini", func() *snubbertest.Provider { return &snubbertest.Provider{RequestsPerMinute: 24, Burst: 1} }, geminiPath, []step{
			{0, "", 200, "X-Ratelimit-Limit-Requests: "}, {0, "", 429, "Retry-After: "},
		}},
		{"concurrency is free again at the end", func() *snubbertest.Provider { return &snubbertest.Provider{Concurrent: 1} }, chatPath, []step{
			{0, "", 200, ""}, {0, "", 200, ""},
		}},
		{"absurd", func() *snubbertest.Provider {
			return &snubbertest.Provider{RequestsPerMinute: 1, Burst: math.MaxInt / 2, TokensPerMinute: math.MaxInt / 2, Minute: 1 << 62}
		}, chatPath, []step{
			{0, `"max_tokens":4000000000000000000,`, 200, ""}, {time.Hour, `"max_tokens":9223372036854775807,`, 429, ""},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := tt.p()
				start := time.Now()
				for i, s := range tt.steps {
					time.Sleep(time.Until(start.Add(s.at)))
					res, body := post(t, p, tt.path, "{"+s.more+hello[tt.path][1:])
					if res.StatusCode != s.status {
						t.Errorf("call %d at %v: %d %s, want %d", i, s.at, res.StatusCode, body, s.status)
					}
					for _, h := range strings.Split(s.header, ", ") {
						name, want, _ := strings.Cut(h, ": ")
						if got := res.Header.Get(name); got != want {
							t.Errorf("call %d at %v: %s: %q, want %q", i, s.at, name, got, want)
						}
					}
				}
			})
		})
	}
}

func TestRejectionBodies(t *testing.T) {
	for _, tt := range []struct {
		path string
		want map[string]any
	}{
		{chatPath, map[string]any{"error.code": "rate_limit_exceeded", "error.type": "requests", "error.message": "Rate limit reached for m on requests per min (RPM): Limit 24, Used 24, Requested 1. Please try again in 2.5s."}},
		{responsesPath, map[string]any{"error.code": "rate_limit_exceeded"}},
		{embedPath, map[string]any{"error.code": "rate_limit_exceeded"}},
		{messagesPath, map[string]any{"type": "error", "error.type": "rate_limit_error", "request_id": "req_2"}},
		{geminiPath, map[string]any{"error.code": 429.0, "error.status": "RESOURCE_EXHAUSTED", "error.details.0.violations.0.quotaId": "GenerateRequestsPerMinutePerProjectPerModel", "error.details.1.retryDelay": "2.5s"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &snubbertest.Provider{RequestsPerMinute: 24, Burst: 1}
			post(t, p, tt.path, hello[tt.path])
			_, body := post(t, p, tt.path, hello[tt.path])
			for path, want := range tt.want {
				if got := field(t, body, path); got != want {
					t.Errorf("%s: %s = %v, want %v", tt.path, path, got, want)
				}
			}
			if s := p.Stats(); s.OK != 1 || s.Rejected != 1 {
				t.Errorf("%s: %+v", tt.path, s)
			}
		})
	}
}

func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &snubbertest.Provider{Concurrent: 2, EventGap: sec}
		var open []*http.Response
		for i, want := range []int{200, 200, 429} {
			res, err := p.RoundTrip(newRequest(t.Context(), "http://fake", chatPath, streamed(hello[chatPath])))
			if err != nil || res.StatusCode != want {
				t.Fatalf("call %d: %v, %v", i, res, err)
			}
			open = append(open, res)
		}
		open[0].Body.Close()
		if res, _ := post(t, p, chatPath, hello[chatPath]); res.StatusCode != 200 {
			t.Errorf("status %d with a place free", res.StatusCode)
		}
		open[1].Body.Close()
		open[2].Body.Close()
		if s := p.Stats(); s.MaxInFlight != 3 || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func ExampleProvider() {
	p := &snubbertest.Provider{RequestsPerMinute: 2, Text: "Hello!"}
	client := &http.Client{Transport: p} // or a transport under test with p below
	for range 3 {
		res, err := client.Post("http://fake/v1/chat/completions", "application/json",
			strings.NewReader(`{"model":"gpt-x","messages":[{"role":"user","content":"Hi"}]}`))
		if err != nil {
			fmt.Println(err)
			continue
		}
		res.Body.Close()
		fmt.Printf("%s, Retry-After %q\n", res.Status, res.Header.Get("Retry-After"))
	}
	s := p.Stats()
	fmt.Println(s.Wire, "calls,", s.Rejected, "rejected")
	// Output:
	// 200 OK, Retry-After ""
	// 200 OK, Retry-After ""
	// 429 Too Many Requests, Retry-After "30"
	// 3 calls, 1 rejected
}

func ExampleProvider_Inject() {
	p := &snubbertest.Provider{}
	client := &http.Client{Transport: p}
	call := func() {
		_, err := client.Post("http://fake/v1/messages", "application/json", strings.NewReader(`{"model":"claude-x","max_tokens":9}`))
		fmt.Println(err)
	}
	heal := p.Inject(snubbertest.Fault{Kind: snubbertest.Outage})
	call()
	heal()
	call()
	// Output:
	// Post "http://fake/v1/messages": dial tcp: connect: connection refused
	// <nil>
}
