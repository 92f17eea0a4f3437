package snubber_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// Requests that arrive together are sent in a burst and then exactly at the
// rate, to the nanosecond that arithmetic allows.
func TestLimiterPacesRequests(t *testing.T) {
	for _, tt := range []struct{ perMinute, burst, first int }{
		{perMinute: 30, first: 1},
		{perMinute: 120, first: 2},
		{perMinute: 600, first: 10},
		{perMinute: 7, first: 1},
		{perMinute: 60, burst: 5, first: 5},
		{perMinute: 6, burst: -1, first: 6},
		{perMinute: 600, burst: 1, first: 1},
	} {
		t.Run(fmt.Sprint(tt.perMinute, " burst ", tt.burst), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play()
				l := &snubber.Limiter{RequestsPerMinute: tt.perMinute, Burst: tt.burst}
				rt := &snubber.Transport{Base: base, Limiter: l}
				start := time.Now()
				var all []<-chan wiretest.Result
				for range 25 {
					all = append(all, wiretest.Launch(rt, wiretest.NewRequest(t, "GET", "https://a.test/", "")))
				}
				for i, c := range all {
					want := time.Duration(max(0, i-tt.first+1)) * time.Minute / time.Duration(tt.perMinute)
					if e := <-c; e.Err != nil || !wiretest.About(e.Took, want) {
						t.Errorf("call %d went after %v (%v), want %v", i, e.Took, e.Err, want)
					}
				}
				wiretest.CheckRate(t, base.Attempts(), start, tt.perMinute, tt.first)
				idle(t, l)
			})
		})
	}
}

// No window exceeds its share, however requests arrive, are cancelled and last.
// No share is lost either: a bucket that nothing waits for is full.
func TestLimiterNeverExceedsRate(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			base := wiretest.Play(wiretest.Step{Do: func(req *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
			}})
			l := &snubber.Limiter{RequestsPerMinute: 90, Burst: 4}
			rt := &snubber.Transport{Base: base, Limiter: l}
			start := time.Now()
			var all []<-chan wiretest.Result
			for range 200 {
				ctx := snubber.WithPriority(t.Context(), r.IntN(3))
				if r.IntN(3) == 0 {
					c, cancel := context.WithTimeout(ctx, time.Duration(r.IntN(20_000))*time.Millisecond)
					defer cancel()
					ctx = c
				}
				if r.IntN(4) == 0 {
					c, cancel := context.WithCancel(ctx)
					time.AfterFunc(time.Duration(r.IntN(5000))*time.Millisecond, cancel)
					ctx = c
				}
				all = append(all, wiretest.Launch(rt, wiretest.NewRequest(t, "GET", "https://a.test/", "").WithContext(ctx)))
				time.Sleep(time.Duration(r.IntN(800)) * time.Millisecond)
			}
			for _, c := range all {
				if e := <-c; e.Err != nil && !errors.Is(e.Err, context.Canceled) && !errors.Is(e.Err, context.DeadlineExceeded) {
					t.Errorf("call: %v", e.Err)
				}
			}
			wiretest.CheckRate(t, base.Attempts(), start, 90, 4)
			idle(t, l)
			time.Sleep(time.Minute)
			if q := queueOf(t, l); q.Requests != 4 {
				t.Errorf("%v requests left after a pause, want 4", q.Requests)
			}
		})
	}
}

const usage = `"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`

// The Limiter reserves tokens before it sends a request: a quarter of the
// text's length and the likely length of the response. The tokens used replace
// the reservation at the end.
func TestLimiterReservesAndSettlesTokens(t *testing.T) {
	asJSON := http.Header{"Content-Type": {"application/json"}}
	asSSE := http.Header{"Content-Type": {"text/event-stream"}}
	stream := `data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}` + "\n\n" +
		`data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n" +
		`data: {"choices":[],` + fmt.Sprintf(usage, 30, 12, 42) + "}\n\ndata: [DONE]\n\n"
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	const full = 20_000
	for _, tt := range []struct {
		name           string
		body           string
		tokens         func(*http.Request, []byte) int
		step           wiretest.Step
		during, after  float64 // tokens taken
		requests       float64 // requests taken at the end
		url, wantError string
	}{
		{name: "unary", body: wiretest.Prompt(400, 50), step: wiretest.Step{Header: asJSON, Body: wiretest.Usage(110, 20)}, during: 150, after: 130, requests: 1},
		{name: "underestimated", body: wiretest.Prompt(400, 50), step: wiretest.Step{Header: asJSON, Body: wiretest.Usage(3000, 50)}, during: 150, after: 3050, requests: 1},
		{name: "stream", body: wiretest.Prompt(400, 50), step: wiretest.Step{Header: asSSE, Body: stream}, during: 150, after: 42, requests: 1},
		{name: "no maximum stated", body: wiretest.Prompt(400, 0), step: wiretest.Step{Header: asJSON, Body: wiretest.Usage(110, 20)}, during: 1100, after: 130, requests: 1},
		{name: "a maximum beyond the likely", body: wiretest.Prompt(400, 4096), step: wiretest.Step{Header: asJSON, Body: wiretest.Usage(110, 20)}, during: 1100, after: 130, requests: 1},
		{name: "usage unknown", body: wiretest.Prompt(400, 50), step: wiretest.Step{Header: asJSON, Body: `{"choices":[]}`}, during: 150, after: 150, requests: 1},
		{name: "dial failed", body: wiretest.Prompt(400, 50), step: wiretest.Step{Err: dial}, during: 150, after: 0, requests: 0, wantError: "refused"},
		{name: "reset after it was sent", body: wiretest.Prompt(400, 50), step: wiretest.Step{Err: io.ErrUnexpectedEOF}, during: 150, after: 150, requests: 1, wantError: "EOF"},
		{name: "hook", body: wiretest.Prompt(400, 50), tokens: func(_ *http.Request, b []byte) int { return len(b) * 10 },
			step: wiretest.Step{Header: asJSON, Body: `{}`}, during: float64(10 * len(wiretest.Prompt(400, 50))), after: float64(10 * len(wiretest.Prompt(400, 50))), requests: 1},
		{name: "hostile hook", body: wiretest.Prompt(400, 50), tokens: func(*http.Request, []byte) int { return math.MinInt / 2 }, step: wiretest.Step{Header: asJSON, Body: `{}`}, requests: 1},
		{name: "no inference", url: "https://api.example.com/v1/files", body: wiretest.Prompt(400, 50), step: wiretest.Step{}, requests: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.step.Delay = time.Nanosecond // so that the test sees the request in flight
				base := wiretest.Play(tt.step)
				l := &snubber.Limiter{RequestsPerMinute: full, TokensPerMinute: full, Burst: full, EstimateTokens: tt.tokens}
				if tt.url == "" {
					tt.url = wiretest.ChatURL
				}
				c := wiretest.Launch(&snubber.Transport{Base: base, Limiter: l}, wiretest.NewRequest(t, "POST", tt.url, tt.body))
				if q := queueOf(t, l); full-q.Tokens != tt.during || full-q.Requests != 1 || q.InFlight != 1 {
					t.Errorf("under way: %v tokens and %v requests spent, %d in flight, want %v, 1, 1", full-q.Tokens, full-q.Requests, q.InFlight, tt.during)
				}
				e := <-c
				if (e.Err != nil) != (tt.wantError != "") || e.Err != nil && !strings.Contains(e.Err.Error(), tt.wantError) {
					t.Errorf("error %v, want %q", e.Err, tt.wantError)
				}
				// A nanosecond refills a third of a millionth of a token.
				if q := queueOf(t, l); full-q.Tokens < tt.after-1e-5 || full-q.Tokens > tt.after+1e-5 || full-q.Requests > tt.requests || full-q.Requests < tt.requests-1e-5 {
					t.Errorf("at the end: %v tokens and %v requests spent, want %v and %v", full-q.Tokens, full-q.Requests, tt.after, tt.requests)
				}
				idle(t, l)
			})
		})
	}
}

// The reservation for a response is what nine in ten responses of the key have
// used, or the request's maximum if that is less.
func TestLimiterLearnsResponseLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var next string
		base := wiretest.Play(wiretest.Step{Do: func(*http.Request) (*http.Response, error) {
			time.Sleep(time.Nanosecond)
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}},
				ContentLength: int64(len(next)), Body: io.NopCloser(strings.NewReader(next))}, nil
		}})
		const full = 100_000
		l := &snubber.Limiter{TokensPerMinute: full, Burst: full}
		rt := &snubber.Transport{Base: base, Limiter: l}
		reserved := func(most, out int) float64 {
			time.Sleep(time.Minute)
			next = wiretest.Usage(100, out)
			c := wiretest.Launch(rt, wiretest.NewRequest(t, "POST", wiretest.ChatURL, wiretest.Prompt(400, most)))
			n := full - queueOf(t, l).Tokens - 100
			<-c
			return n
		}
		for i, tt := range []struct{ most, out, want int }{
			{0, 40, 1000}, // no response is known yet
			{0, 60, 40},
			{0, 5000, 60},
			{0, 10, 5000},
			{20, 10, 20},
		} {
			if got := reserved(tt.most, tt.out); got != float64(tt.want) {
				t.Errorf("answer %d: %v tokens reserved, want %d", i, got, tt.want)
			}
		}
		for range 30 {
			reserved(0, 10)
		}
		if got := reserved(0, 10); got != 10 {
			t.Errorf("after thirty short answers %v tokens are reserved, want 10: one long one is forgotten", got)
		}
	})
}

// A request larger than the bucket is sent alone when the bucket is full. The
// excess is a debt that delays the requests after it.
func TestLimiterBooksDebt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cost := map[string]int{"/big": 1000, "/small": 100}
		l := &snubber.Limiter{TokensPerMinute: 6000, EstimateTokens: func(r *http.Request, _ []byte) int { return cost[r.URL.Path] }}
		rt := &snubber.Transport{Base: wiretest.Play(), Limiter: l}
		for i, tt := range []struct {
			path string
			want time.Duration
		}{
			{"/big", 0},
			{"/small", 10 * time.Second}, // 900 tokens of debt and 100 of its own
			{"/big", 11 * time.Second},   // when the bucket of 100 is full again
			{"/small", 21 * time.Second},
			{"/small", 22 * time.Second},
		} {
			c := wiretest.Launch(rt, wiretest.NewRequest(t, "GET", "https://a.test"+tt.path, ""))
			defer func() {
				if e := <-c; e.Err != nil || !wiretest.About(e.Took, tt.want) {
					t.Errorf("call %d (%s) went after %v (%v), want %v", i, tt.path, e.Took, e.Err, tt.want)
				}
			}()
		}
	})
}

// A request that no bucket can ever hold gets a clear error at once, whether or
// not other requests wait.
func TestLimiterRefusesWhatNeverFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play()
		l := &snubber.Limiter{TokensPerMinute: 1200}
		rt := &snubber.Transport{Base: base, Limiter: l}
		if e := <-wiretest.Launch(rt, wiretest.NewRequest(t, "POST", wiretest.ChatURL, wiretest.Prompt(800, 1000))); e.Err != nil {
			t.Fatalf("1200 tokens of 1200: %v", e.Err)
		}
		e := <-wiretest.Launch(rt, wiretest.NewRequest(t, "POST", wiretest.ChatURL, wiretest.Prompt(804, 1000)))
		var refusal *snubber.RejectedError
		if !errors.As(e.Err, &refusal) || !errors.Is(e.Err, snubber.ErrLimited) || e.Took != 0 ||
			!strings.Contains(e.Err.Error(), "TokensPerMinute") || refusal.RetryAfter != 0 {
			t.Errorf("1201 tokens of 1200: %v after %v, want ErrLimited that names TokensPerMinute, at once and without a time", e.Err, e.Took)
		}
		if n := base.Sent(); n != 1 {
			t.Errorf("%d sent, want 1", n)
		}
	})
}

// Requests, tokens and places are taken together or not at all. A request that
// waits for one of them holds none of the others.
func TestLimiterTakesAllOrNothing(t *testing.T) {
	for _, tt := range []struct {
		name             string
		l                *snubber.Limiter
		requests, tokens float64 // what remains while the second request waits
	}{
		{"requests lack", &snubber.Limiter{RequestsPerMinute: 1, TokensPerMinute: 60_000, MaxConcurrent: 5}, 0, 900},
		{"tokens lack", &snubber.Limiter{RequestsPerMinute: 60_000, TokensPerMinute: 100, Burst: 60_000, MaxConcurrent: 5}, 59_999, 0},
		{"places lack", &snubber.Limiter{RequestsPerMinute: 60_000, TokensPerMinute: 60_000, MaxConcurrent: 1}, 999, 900},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := tt.l
				l.EstimateTokens = func(*http.Request, []byte) int { return 100 }
				base := wiretest.Play(wiretest.Step{Delay: time.Nanosecond})
				rt := &snubber.Transport{Base: base, Limiter: l}
				first := wiretest.Launch(rt, wiretest.NewRequest(t, "GET", "https://a.test/", ""))
				ctx, cancel := context.WithCancel(t.Context())
				second := wiretest.Launch(rt, wiretest.NewRequest(t, "GET", "https://a.test/", "").WithContext(ctx))
				q := queueOf(t, l)
				if q.Waiting != 1 || q.InFlight != 1 || q.Requests != tt.requests || q.Tokens != tt.tokens {
					t.Errorf("%+v, want 1 waiting, 1 in flight, %v requests and %v tokens left", q, tt.requests, tt.tokens)
				}
				cancel()
				<-first
				<-second
				idle(t, l)
			})
		})
	}
}
