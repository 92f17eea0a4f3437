package snubber_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/neterr"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// middle is another library's layer between two Transports. It passes on a
// clone, as net/http tells a RoundTripper that changes a request.
type middle struct{ next http.RoundTripper }

func (m middle) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("X-Middle", "was here")
	return m.next.RoundTrip(req)
}

// nests runs f for two nested Transports, directly and with a layer between
// them.
func nests(t *testing.T, f func(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper)) {
	t.Run("plain", func(t *testing.T) { f(t, func(rt http.RoundTripper) http.RoundTripper { return rt }) })
	t.Run("with a layer between", func(t *testing.T) { f(t, func(rt http.RoundTripper) http.RoundTripper { return middle{rt} }) })
}

// Nested Retries share one count of attempts. There are four wire calls in all,
// and both reports agree.
func TestTransportNestedSharesAttempts(t *testing.T) {
	for _, failure := range []wiretest.Step{{Status: 500}, {Status: 529}, {Err: neterr.Reset}} {
		nests(t, func(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(failure)
				ctx, report := snubber.WithReport(context.Background())
				outer := &snubber.Transport{Base: wrap(&snubber.Transport{Base: wrap(base), Retry: &snubber.Retry{}}), Retry: &snubber.Retry{}}
				res, err := outer.RoundTrip(wiretest.Chat(t).WithContext(ctx))
				if failure.Err != nil {
					if !errors.Is(err, failure.Err) {
						t.Errorf("err = %v, want %v", err, failure.Err)
					}
				} else if err != nil {
					t.Fatal(err)
				} else {
					wiretest.ReadAll(t, res)
				}
				if n := base.Sent(); n != 5 || report.Load().Attempts != 5 || report.Load().Calls != 1 {
					t.Errorf("%d wire calls, report %+v, want 5 in all", n, report.Load())
				}
				for i, tr := range base.Attempts() {
					if tr.Body != wiretest.ChatBody {
						t.Errorf("attempt %d sent %q", i, tr.Body)
					}
				}
			})
		})
	}
}

// The MaxAttempts of the outermost Retry bounds all attempts. A success within
// the bound is a success.
func TestTransportNestedMaxAttempts(t *testing.T) {
	for _, tt := range []struct {
		outer, inner int
		failures     int
		want         int
	}{
		{2, 4, 9, 2},
		{4, 2, 9, 4},
		{7, 3, 9, 7},
		{4, 4, 2, 3},
		{1, 4, 9, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := wiretest.Play(wiretest.FailTimes(tt.failures, wiretest.Step{Status: 500})...)
			outer := &snubber.Transport{Retry: &snubber.Retry{MaxAttempts: tt.outer},
				Base: &snubber.Transport{Base: base, Retry: &snubber.Retry{MaxAttempts: tt.inner}}}
			res, err := outer.RoundTrip(wiretest.Chat(t))
			if err != nil {
				t.Fatal(err)
			}
			wiretest.ReadAll(t, res)
			if n := base.Sent(); n != tt.want {
				t.Errorf("%d in %d: %d wire calls, want %d", tt.inner, tt.outer, n, tt.want)
			}
			if ok := res.StatusCode == 200; ok != (tt.failures < tt.want) {
				t.Errorf("%d in %d: got %d", tt.inner, tt.outer, res.StatusCode)
			}
		})
	}
}

// Five attempts are five wire calls under an SDK that makes three calls, also
// if Transports are nested.
func TestTransportNestedUnderSDK(t *testing.T) {
	nests(t, func(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) {
		synctest.Test(t, func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Status: 500})
			tr := snubber.New(wrap(snubber.New(wrap(base))))
			for count := range 3 {
				res, err := tr.RoundTrip(wiretest.Chat(t, "X-Stainless-Retry-Count", string(rune('0'+count))))
				if err != nil {
					t.Fatal(err)
				}
				wiretest.ReadAll(t, res)
				if res.Header.Get("X-Should-Retry") == "false" {
					break // as the SDK does
				}
			}
			if n := base.Sent(); n != 5 {
				t.Errorf("%d wire calls, want 5", n)
			}
		})
	})
}

// Only the outermost Transport turns a refusal into a response. To an outer
// Transport an inner refusal is Rejected: it is not retried, opens no circuit
// and is no attempt.
func TestTransportNestedConvertsRefusalOnce(t *testing.T) {
	nests(t, func(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) {
		synctest.Test(t, func(t *testing.T) {
			b := &snubber.Breaker{}
			b.Trip("https://api.example.com m")
			base := wiretest.Play()
			var between []error
			spy := spyOn(&snubber.Transport{Base: base, Breaker: b}, &between)
			var verdicts []snubber.Outcome
			outer := &snubber.Transport{
				Base: wrap(spy), Retry: &snubber.Retry{}, Breaker: &snubber.Breaker{Failures: 1},
				Observe: func(e snubber.Event) {
					if e.Kind == snubber.EventAttempt || e.Kind == snubber.EventRefused {
						verdicts = append(verdicts, e.Outcome)
					}
				},
			}
			ctx, report := snubber.WithReport(context.Background())
			res, err := outer.RoundTrip(wiretest.Chat(t, wiretest.StainlessHeader, "go").WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			wiretest.ReadAll(t, res)
			if res.StatusCode != 503 || res.Header.Get("X-Should-Retry") != "false" {
				t.Errorf("got %d %v, want the refusal's response", res.StatusCode, res.Header)
			}
			if len(between) != 1 || !errors.Is(between[0], snubber.ErrOpen) {
				t.Errorf("between the two: %v, want one refusal as an error", between)
			}
			if len(verdicts) != 1 || verdicts[0].Class != snubber.Rejected || !verdicts[0].Unsent {
				t.Errorf("verdicts %+v, want Rejected", verdicts)
			}
			if c := outer.Breaker.Circuits(); len(c) != 1 || c[0].State != snubber.CircuitClosed || c[0].Requests != 0 {
				t.Errorf("the outer circuit counted it: %+v", c)
			}
			if base.Sent() != 0 || report.Load().Attempts != 0 {
				t.Errorf("%d wire calls, report %+v, want none", base.Sent(), report.Load())
			}
			if _, err := outer.RoundTrip(wiretest.Chat(t)); !errors.Is(err, snubber.ErrOpen) {
				t.Errorf("another client got %v, want the error", err)
			}
		})
	})
}

// spyOn records the errors that a layer returns.
func spyOn(next http.RoundTripper, errs *[]error) http.RoundTripper {
	return wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
		res, err := next.RoundTrip(req)
		*errs = append(*errs, err)
		return res, err
	})
}

// The caller gets the response of an attempt that precedes an inner refusal.
func TestTransportNestedKeepsResponseBeforeRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500, Body: "mine"})
		outer := &snubber.Transport{Retry: &snubber.Retry{},
			Base: &snubber.Transport{Base: base, Breaker: &snubber.Breaker{Failures: 1}}}
		res, err := outer.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		if body := wiretest.ReadAll(t, res); res.StatusCode != 500 || body != "mine" || base.Sent() != 1 {
			t.Errorf("%d %q after %d wire calls, want the 500", res.StatusCode, body, base.Sent())
		}
	})
}

// The mark of nesting does not reach the response. A request with the context
// of resp.Request is a new call, with its own attempts and report.
func TestTransportNestedNotByResponseContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500})
		b := &snubber.Breaker{Failures: 6}
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Breaker: b}
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		again, err := tr.RoundTrip(wiretest.Chat(t).WithContext(res.Request.Context()))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, again)
		if n := base.Sent(); n <= 5 {
			t.Errorf("%d wire calls, want attempts of its own", n)
		}
		if one, two := snubber.ReportOf(res), snubber.ReportOf(again); one == two || one.Load().Attempts != 5 || two.Load().Attempts != base.Sent()-5 {
			t.Errorf("reports %+v and %+v", one, two)
		}
		// The refusal becomes a response, so this call is an outermost one.
		b.Trip("https://api.example.com m")
		refused, err := tr.RoundTrip(wiretest.Chat(t, wiretest.StainlessHeader, "go").WithContext(res.Request.Context()))
		if err != nil || refused.StatusCode != 503 {
			t.Fatalf("RoundTrip = %v, %v, want a 503", refused, err)
		}
		wiretest.ReadAll(t, refused)
	})
}

// A caller that cancels ends every nested Transport's call.
func TestTransportNestedCancel(t *testing.T) {
	nests(t, func(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(7*time.Second, cancel)
			start := time.Now()
			tr := snubber.New(wrap(snubber.New(wrap(wiretest.Play(wiretest.Step{Delay: time.Hour})))))
			_, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
			if !errors.Is(err, context.Canceled) || time.Since(start) != 7*time.Second {
				t.Errorf("%v after %v, want context.Canceled after 7s", err, time.Since(start))
			}
		})
	})
}

// Nested Transports share one count of requeues: eight in all.
func TestTransportNestedRequeues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "1")})
		full := func(rt http.RoundTripper) *snubber.Transport {
			return &snubber.Transport{Base: rt, Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{}}
		}
		ctx, report := snubber.WithReport(context.Background())
		res, err := full(full(base)).RoundTrip(wiretest.Chat(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		if n := base.Sent(); n != 13 || report.Load().Attempts != 13 || report.Load().Requeued != 8 {
			t.Errorf("%d wire calls, report %+v, want 5 attempts and 8 readmissions", n, report.Load())
		}
	})
}

// Reject of the outermost Transport alone is called, once.
func TestTransportNestedRejectHook(t *testing.T) {
	nests(t, func(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) {
		synctest.Test(t, func(t *testing.T) {
			b := &snubber.Breaker{}
			b.Trip("https://api.example.com m")
			own := errors.New("my own")
			asked := 0
			inner := &snubber.Transport{Base: wiretest.Play(), Breaker: b, Reject: func(*http.Request, *snubber.RejectedError) (*http.Response, error) {
				t.Error("the inner Reject was asked")
				return nil, own
			}}
			outer := &snubber.Transport{Base: wrap(inner), Retry: &snubber.Retry{}, Reject: func(_ *http.Request, e *snubber.RejectedError) (*http.Response, error) {
				asked++
				if e.Err != snubber.ErrOpen {
					t.Errorf("asked about %v", e)
				}
				return nil, own
			}}
			if _, err := outer.RoundTrip(wiretest.Chat(t)); err != own || asked != 1 {
				t.Errorf("err = %v after %d questions, want the hook's after one", err, asked)
			}
		})
	})
}

// The Report's verdict is what ended the body from outside, however deeply
// Transports are nested. The inner Transports, whose bodies are closed by it,
// do not count it as a success, in the Report or in their circuits.
func TestTransportNestedReportsEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		timeout *snubber.Timeout
		end     func(body io.Reader, cancel func())
		want    snubber.Class
		reason  string
	}{
		"idle":     {&snubber.Timeout{Idle: time.Minute}, func(b io.Reader, _ func()) { io.Copy(io.Discard, b) }, snubber.TimedOut, "timeout_idle"},
		"attempt":  {&snubber.Timeout{Attempt: time.Minute}, func(io.Reader, func()) { time.Sleep(time.Hour) }, snubber.TimedOut, "timeout_attempt"},
		"canceled": {nil, func(b io.Reader, cancel func()) { time.AfterFunc(time.Minute, cancel); io.Copy(io.Discard, b) }, snubber.Canceled, "canceled"},
		"left":     {nil, func(_ io.Reader, cancel func()) { cancel() }, snubber.Canceled, "canceled"},
		"closed":   {nil, func(io.Reader, func()) {}, snubber.Success, ""},
	} {
		t.Run(name, func(t *testing.T) {
			nests(t, func(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) {
				synctest.Test(t, func(t *testing.T) {
					innermost := &snubber.Transport{Base: wiretest.SSE(wiretest.Chunk{Text: wiretest.DeltaEvent}, wiretest.Chunk{At: -1}), Breaker: &snubber.Breaker{}}
					tr := &snubber.Transport{Base: wrap(&snubber.Transport{Base: wrap(innermost)}), Timeout: tt.timeout}
					ctx, report := snubber.WithReport(t.Context())
					ctx, cancel := context.WithCancel(ctx)
					defer cancel()
					res, err := tr.RoundTrip(wiretest.ChatStream(t).WithContext(ctx))
					if err != nil {
						t.Fatal(err)
					}
					tt.end(res.Body, cancel)
					res.Body.Close()
					synctest.Wait()
					if o := report.Load().Outcome; o.Class != tt.want || o.Reason != tt.reason {
						t.Errorf("the Report says %v, %q, want %v, %q", o.Class, o.Reason, tt.want, tt.reason)
					}
					want := 0
					if tt.want == snubber.Success {
						want = 1
					}
					if c := circuitOf(t, innermost.Breaker); c.Requests != want || c.Failures != 0 {
						t.Errorf("the inner circuit counts %d outcomes, %d failures, want %d and none", c.Requests, c.Failures, want)
					}
				})
			})
		})
	}
}
