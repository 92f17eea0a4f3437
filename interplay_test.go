package snubber_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// A permit that was given back, because the circuit opened while its call
// queued, is not given back again by the route that takes the call over.
func TestFallbackReleasesPermitOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &snubber.Limiter{Concurrent: 1}
		tr := &snubber.Transport{
			Base: play(step{status: 500, delay: time.Second}), Limiter: l, Breaker: &snubber.Breaker{Failures: 1},
			Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: play(step{body: "{}"})}}},
		}
		a := launch(tr, newReq(t, "GET", "http://x.test/", ""))
		synctest.Wait()
		b := launch(tr, newReq(t, "GET", "http://x.test/", ""))
		if x, y := <-a, <-b; x.status != 200 || y.status != 200 {
			t.Errorf("%+v and %+v, want the route's answer", x, y)
		}
		if n := inFlight(t, l); n != 0 {
			t.Errorf("%d in flight, want 0", n)
		}
	})
}

// A function of the user that panics leaves no permit and no body behind.
func TestTransportHookPanics(t *testing.T) {
	boom := func() { panic("boom") }
	for name, tr := range map[string]*snubber.Transport{
		"Classify": {Classify: func(*http.Request, *http.Response, error) snubber.Outcome { boom(); return snubber.Outcome{} }},
		"Tokens": {Limiter: &snubber.Limiter{Concurrent: 1, TokensPerMinute: 1000, Tokens: func(*http.Request, []byte) int {
			boom()
			return 0
		}}},
		"Retry.If": {Retry: &snubber.Retry{If: func(*http.Request, snubber.Outcome) bool { boom(); return false }}},
		"Observe":  {Observe: func(snubber.Event) { boom() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := play(step{status: 500, body: "{}"})
				tr.Base = base
				if tr.Limiter == nil {
					tr.Limiter = &snubber.Limiter{Concurrent: 1}
				}
				func() {
					defer func() { recover() }()
					tr.RoundTrip(newReq(t, "GET", "http://x.test/", ""))
				}()
				if n := inFlight(t, tr.Limiter); n != 0 {
					t.Errorf("%d in flight, want 0", n)
				}
				if base.sent() > 0 && base.all()[0].closed.IsZero() {
					t.Error("the response's body is open")
				}
			})
		})
	}
}

// A response without a header map, which fakes return, is as good as any.
func TestClassifyNilHeader(t *testing.T) {
	for _, status := range []int{200, 400, 500} {
		tr := snubber.New(roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("{}"))}, nil
		}))
		tr.Retry.MaxAttempts = 1
		tr.Cache = &snubber.Cache{PromptTTL: time.Hour}
		res, err := tr.RoundTrip(chat(t, "X-Stainless-Lang", "go"))
		if err != nil || res.StatusCode != status {
			t.Fatalf("%v, %v, want %d", res, err, status)
		}
		slurp(t, res)
	}
}

// A request larger than the token bucket goes when the bucket is full, and is
// predicted to.
func TestLimiterPredictsLargeRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Base: play(step{body: "{}"}), Limiter: &snubber.Limiter{
			TokensPerMinute: 60_000, Tokens: func(*http.Request, []byte) int { return 10_000 },
		}}
		if at, err := tr.Ready(chat(t)); err != nil || !at.IsZero() {
			t.Errorf("Ready = %v, %v, want now", at, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if e := <-launch(tr, chat(t).WithContext(ctx)); e.err != nil || e.took != 0 {
			t.Errorf("%+v, want an answer at once", e)
		}
		if e := <-launch(tr, chat(t).WithContext(ctx)); !errors.Is(e.err, snubber.ErrLimited) {
			t.Errorf("%+v, want a refusal: the debt is 9 s", e)
		}
	})
}

// A slow Tokens function does not turn the buckets' clock back.
func TestLimiterSlowTokenEstimate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &snubber.Limiter{RequestsPerMinute: 600, TokensPerMinute: 1e9, Tokens: func(r *http.Request, _ []byte) int {
			if r.Header.Get("Slow") != "" {
				time.Sleep(200 * time.Millisecond)
			}
			return 1
		}}
		base := play(step{body: "{}"})
		tr := &snubber.Transport{Base: base, Limiter: l}
		var wg sync.WaitGroup
		send := func(header ...string) {
			wg.Go(func() {
				if res, err := tr.RoundTrip(chat(t, header...)); err == nil {
					slurp(t, res)
				}
			})
		}
		for range 1200 { // 40 a second, four times the limit
			send("Slow", "1")
			time.Sleep(25 * time.Millisecond)
			send()
			time.Sleep(25 * time.Millisecond)
		}
		if n := base.sent(); n > 610 {
			t.Errorf("%d sent in a minute, want at most 610", n)
		}
		wg.Wait()
	})
}

// One grant in twenty is the lower priority's, also against requests that
// could go straight through.
func TestLimiterLowPriorityIsNotStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &snubber.Limiter{TokensPerMinute: 6000, Burst: 100, Tokens: func(r *http.Request, _ []byte) int {
			if r.Header.Get("Big") != "" {
				return 100
			}
			return 9
		}}
		tr := &snubber.Transport{Base: play(step{body: "{}"}), Limiter: l}
		high := snubber.WithPriority(t.Context(), 1)
		for range 11 {
			<-launch(tr, chat(t).WithContext(high))
		}
		low := launch(tr, chat(t, "Big", "1"))
		for i := range 100 {
			time.Sleep(90 * time.Millisecond)
			launch(tr, chat(t).WithContext(high))
			synctest.Wait()
			select {
			case <-low:
				if i > 40 {
					t.Errorf("the low one went after %d others", i)
				}
				time.Sleep(time.Minute)
				return
			default:
			}
		}
		t.Error("100 grants and the low one still waits")
		<-low
	})
}

// The report of a call that ended in the queue says so.
func TestReportOfCallThatEndedInQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Base: play(step{delay: time.Minute, body: "{}"}), Limiter: &snubber.Limiter{Concurrent: 1}}
		first := launch(tr, chat(t))
		synctest.Wait()
		ctx, report := snubber.WithReport(t.Context())
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := tr.RoundTrip(chat(t).WithContext(ctx)); report.Outcome.Class != snubber.Canceled || report.Queued != time.Second {
			t.Errorf("%v: report %+v, want canceled after 1s", err, report)
		}
		<-first
	})
}

// A route's answer for which Classify has no word is an answer.
func TestFallbackUnclassifiedResponse(t *testing.T) {
	alt := play(step{body: "hello"})
	tr := &snubber.Transport{
		Base: play(step{status: 500}), Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: alt}}},
		Classify: func(r *http.Request, res *http.Response, err error) snubber.Outcome {
			if res != nil && res.StatusCode == 200 {
				return snubber.Outcome{}
			}
			return snubber.Classify(r, res, err)
		},
	}
	res, err := tr.RoundTrip(newReq(t, "GET", "http://x.test/", ""))
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%v, %v, want the route's 200", res, err)
	}
	if got := slurp(t, res); got != "hello" {
		t.Errorf("read %q", got)
	}
}

// A fallback needs no Retry to have the body again.
func TestFallbackWithoutRetry(t *testing.T) {
	for _, retry := range []*snubber.Retry{nil, {MaxAttempts: 1}} {
		alt := play(step{body: "hello"})
		tr := &snubber.Transport{Base: play(step{status: 500}), Retry: retry, Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: alt}}}}
		res, err := tr.RoundTrip(once(t, "PUT", filesURL, &tracked{r: strings.NewReader("abc")}, 3))
		if err != nil || res.StatusCode != 200 || string(alt.all()[0].body) != "abc" {
			t.Errorf("Retry %v: %v, %v, want the route's 200", retry, res, err)
		}
		slurp(t, res)
	}
}

// A retry that was paid for and never sent is paid back.
func TestBudgetRefundsRetryNeverSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := &snubber.Budget{Capacity: 1, PerSecond: -1, Deposit: -1}
		base := play(step{status: 500}, step{status: 500}, step{body: "{}"})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{Budget: budget, MinBackoff: time.Second}}
		ctx, cancel := context.WithCancel(t.Context())
		done := launch(tr, newReq(t, "GET", "http://x.test/", "").WithContext(ctx))
		synctest.Wait()
		cancel()
		if e := <-done; !errors.Is(e.err, context.Canceled) {
			t.Fatalf("%+v, want context.Canceled", e)
		}
		if e := <-launch(tr, newReq(t, "GET", "http://x.test/", "")); e.status != 200 {
			t.Errorf("%+v, want a retry and its 200", e)
		}
	})
}

// A layer of the user's that sends twice at a time fits between two Transports.
func TestHedgeBetweenTransports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &snubber.Transport{
			Base:  roundTrip(func(*http.Request) (*http.Response, error) { return reply(503, strings.NewReader("{}")), nil }),
			Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{},
		}
		hedge := roundTrip(func(r *http.Request) (*http.Response, error) {
			c := make(chan *http.Response, 2)
			for range 2 {
				go func() {
					res, _ := inner.RoundTrip(r)
					c <- res
				}()
			}
			first := <-c
			go func() {
				if res := <-c; res != nil {
					res.Body.Close()
				}
			}()
			return first, nil
		})
		outer := &snubber.Transport{Base: hedge, Retry: &snubber.Retry{MaxAttempts: 50}}
		for range 5 {
			res, err := outer.RoundTrip(newReq(t, "GET", "http://x.test/", ""))
			if err != nil {
				t.Fatal(err)
			}
			slurp(t, res)
		}
	})
}

// Cancelling is prompt while the body of a request is read ahead.
func TestRequestBodyCancelWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		defer pw.Close()
		ctx, cancel := context.WithCancel(t.Context())
		req := newReq(t, "POST", chatURL, "").WithContext(ctx)
		req.Body, req.GetBody, req.ContentLength = pr, nil, 100
		time.AfterFunc(time.Second, cancel)
		if e := <-launch(&snubber.Transport{Base: play()}, req); !errors.Is(e.err, context.Canceled) || e.took != time.Second {
			t.Errorf("%+v, want context.Canceled after 1s", e)
		}
	})
}

// What a fallback answered is not kept as the primary's answer, also where the
// primary's own body was being copied for the cache.
func TestCacheOfCallThatFellBack(t *testing.T) {
	message := func(text string) string {
		return `{"choices":[{"index":0,"message":{"content":"` + text + `"},"finish_reason":"stop"}]}`
	}
	base := play(step{body: message(strings.Repeat("x", 70<<10)), header: hdr("Content-Type", "application/json", "Bad", "1")})
	alt := play(step{body: message("fallback"), header: hdr("Content-Type", "application/json")})
	tr := &snubber.Transport{
		Base: base, Cache: &snubber.Cache{PromptTTL: time.Hour}, Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: alt}}},
		Classify: func(r *http.Request, res *http.Response, err error) snubber.Outcome {
			if res != nil && res.Header.Get("Bad") != "" {
				return snubber.Outcome{Class: snubber.ServerError}
			}
			return snubber.Classify(r, res, err)
		},
	}
	for range 2 {
		res, err := tr.RoundTrip(chat(t))
		if err != nil {
			t.Fatal(err)
		}
		slurp(t, res)
	}
	if n := base.sent(); n != 2 {
		t.Errorf("the primary was asked %d times, want 2", n)
	}
}

// A pause is not begun where the queue behind it cannot fit the deadline.
func TestRetryNoBackoffBeforeLongQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{status: 500, body: "no"}, step{body: "yes"})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{RequestsPerMinute: 1}}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if e := <-launch(tr, chat(t).WithContext(ctx)); e.status != 500 || e.took != 0 || e.body != "no" {
			t.Errorf("%+v, want the 500 at once", e)
		}
		if e := <-launch(tr, chat(t)); e.status != 200 || e.took.Round(time.Second) != time.Minute {
			t.Errorf("%+v, want the answer of the next minute", e)
		}
	})
}

// Only the deadline is the same after a pause as before it: a queue that is
// full or too long for MaxWait now may not be so then.
func TestRetryBackoffBeforeMovingQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{status: 503, header: hdr("Retry-After", "1")}, step{body: "yes"})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{RequestsPerMinute: 60, MaxWait: 500 * time.Millisecond}}
		if e := <-launch(tr, chat(t)); e.status != 200 {
			t.Errorf("%+v, want the retry's 200", e)
		}
	})
}

// A response that Classify calls Rejected, after an earlier failure, is closed.
func TestClassifyRejectedResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{status: 500, body: "first"}, step{body: "second"})
		tr := &snubber.Transport{
			Base: base, Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{Concurrent: 1},
			Classify: func(r *http.Request, res *http.Response, err error) snubber.Outcome {
				if res != nil && res.StatusCode == 200 {
					return snubber.Outcome{Class: snubber.Rejected}
				}
				return snubber.Classify(r, res, err)
			},
		}
		if e := <-launch(tr, chat(t)); e.status != 500 || e.body != "first" {
			t.Errorf("%+v, want the first response", e)
		}
		if n := inFlight(t, tr.Limiter); n != 0 || base.all()[1].closed.IsZero() {
			t.Errorf("%d in flight, the second body closed at %v", n, base.all()[1].closed)
		}
	})
}

// A function that decides about a failure and panics leaves nothing behind
// either, also where the error body is longer than what is read of it.
func TestTransportDecidingHookPanics(t *testing.T) {
	boom := func(*http.Request, snubber.Outcome) bool { panic("boom") }
	for name, tr := range map[string]*snubber.Transport{
		"Retry.If":   {Retry: &snubber.Retry{If: boom}},
		"Route.When": {Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: play(), When: boom}}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := play(step{status: 500, body: strings.Repeat("x", 200<<10)})
				tr.Base, tr.Limiter = base, &snubber.Limiter{Concurrent: 1}
				func() {
					defer func() { recover() }()
					tr.RoundTrip(chat(t))
				}()
				if n := inFlight(t, tr.Limiter); n != 0 || base.all()[0].closed.IsZero() {
					t.Errorf("%d in flight, the body closed at %v", n, base.all()[0].closed)
				}
			})
		})
	}
}
