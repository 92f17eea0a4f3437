package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
)

// loop is a retry loop by a policy that somebody documents.
type loop struct {
	base     http.RoundTripper
	attempts int
	attempt  time.Duration // limit of one attempt; 0: none
	total    time.Duration // limit of them all
	// wait is the time before the retry n, from 0. Where a server names a time, asked
	// is what it named.
	wait func(n int, asked time.Duration) time.Duration
	// ended is told how each attempt ended, and whether the retry that follows a
	// failure may be made; nil: all may.
	ended func(n int, failed bool) (again bool)
	sign  func(n int, h http.Header) // marks the attempt's request
}

func (l *loop) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if l.total > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, l.total)
		defer stop()
	}
	for n := 0; ; n++ {
		res, err := l.try(ctx, req, n)
		bad := failed(res, err)
		again := bad && n+1 < l.attempts && ctx.Err() == nil && !isStopped(res)
		if l.ended != nil {
			again = l.ended(n, bad) && again
		}
		if !again {
			return res, err
		}
		asked := time.Duration(0)
		if res != nil {
			s, _ := strconv.Atoi(res.Header.Get("Retry-After"))
			asked = time.Duration(s) * time.Second
			res.Body.Close()
		}
		if err := sleep(ctx, l.wait(n, asked)); err != nil {
			return nil, err
		}
	}
}

func isStopped(res *http.Response) bool {
	return res != nil && res.Header.Get("X-Should-Retry") == "false"
}

// try makes one attempt and reads its answer.
func (l *loop) try(ctx context.Context, req *http.Request, n int) (*http.Response, error) {
	if l.attempt > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, l.attempt)
		defer stop()
	}
	r := req.Clone(ctx)
	if req.GetBody != nil {
		r.Body, _ = req.GetBody()
	}
	if l.sign != nil {
		l.sign(n, r.Header)
	}
	res, err := l.base.RoundTrip(r)
	if err == nil { // the answers are small; a body outlives no context this way
		var b []byte
		b, err = io.ReadAll(res.Body)
		res.Body.Close()
		res.Body = io.NopCloser(bytes.NewReader(b))
	}
	return res, err
}

func failed(res *http.Response, err error) bool {
	return err != nil || res.StatusCode >= 500 || res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout
}

func double(base time.Duration, n int, limit time.Duration) time.Duration {
	return time.Duration(min(float64(base)*math.Pow(2, float64(n)), float64(limit)))
}

func jittered(d time.Duration, lo, hi float64) time.Duration {
	return time.Duration(float64(d) * (lo + rand.Float64()*(hi-lo)))
}

// stainless is the loop of openai-go and its sisters: three tries, half a second
// doubling to eight, up to a quarter less.
func stainless(base http.RoundTripper) http.RoundTripper {
	return &loop{base: base, attempts: 3,
		wait: func(n int, asked time.Duration) time.Duration {
			if 0 < asked && asked < time.Minute {
				return asked
			}
			return jittered(double(500*time.Millisecond, n, 8*time.Second), 0.75, 1)
		},
		sign: func(n int, h http.Header) {
			h.Set("X-Stainless-Lang", "go")
			h.Set("X-Stainless-Retry-Count", strconv.Itoa(n))
		},
	}
}

// retryable is go-retryablehttp with its defaults.
func retryable(w *world) http.RoundTripper {
	client := retryablehttp.NewClient()
	client.Logger = nil
	client.HTTPClient = &http.Client{Transport: w}
	return &retryablehttp.RoundTripper{Client: client}
}

func failsafeDefault(w *world) http.RoundTripper {
	return failsafehttp.NewRoundTripper(w, failsafe.Policy[*http.Response](failsafehttp.NewRetryPolicyBuilder().Build()),
		circuitbreaker.NewBuilder[*http.Response]().HandleIf(failed).Build())
}

// failsafeTuned has the numbers that the other breakers here have.
func failsafeTuned(w *world) http.RoundTripper {
	retry := failsafehttp.NewRetryPolicyBuilder().WithMaxAttempts(4).WithBackoff(500*time.Millisecond, 8*time.Second).WithJitterFactor(0.25).Build()
	breaker := circuitbreaker.NewBuilder[*http.Response]().HandleIf(failed).WithFailureThreshold(10).WithSuccessThreshold(2).WithDelay(5 * time.Second).Build()
	return failsafehttp.NewRoundTripper(w, failsafe.Policy[*http.Response](retry), breaker)
}

// byHand is the careful stack of the packages that everybody takes: a breaker that ten
// failures in a row open for five seconds, five tries, and a rate that is enough.
func byHand(w *world, waits bool) http.RoundTripper {
	limiter := rate.NewLimiter(200, 200)
	breaker := gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{
		MaxRequests: 1, Timeout: 5 * time.Second,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 10 },
	})
	one := &loop{base: w, attempts: 1}
	return roundTripper(func(req *http.Request) (res *http.Response, err error) {
		ctx := req.Context()
		steps := backoff.NewExponentialBackOff(backoff.WithInitialInterval(500*time.Millisecond), backoff.WithMaxInterval(8*time.Second), backoff.WithMaxElapsedTime(0))
		for n := 0; ; {
			if err := limiter.Wait(ctx); err != nil {
				return nil, err
			}
			res, err = breaker.Execute(func() (*http.Response, error) {
				res, err := one.RoundTrip(req)
				if err == nil && failed(res, nil) {
					return nil, errStatus
				}
				return res, err
			})
			if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
				if !waits {
					return nil, err
				}
				if err := sleep(ctx, jittered(time.Second, 0.75, 1.25)); err != nil {
					return nil, err
				}
				continue
			}
			if n++; err == nil || n == 5 {
				return res, err
			}
			if err := sleep(ctx, steps.NextBackOff()); err != nil {
				return nil, err
			}
		}
	})
}

// dotnet is the standard resilience handler of Microsoft.Extensions.Http: 30 s in all,
// three retries from 2 s on, a breaker at a tenth of at least 100 in 30 s for 5 s, and
// 10 s for each attempt.
func dotnet(w *world) http.RoundTripper {
	b := &ratioBreaker{base: w}
	return &loop{base: b, attempts: 4, attempt: 10 * time.Second, total: 30 * time.Second,
		wait: func(n int, asked time.Duration) time.Duration {
			return max(asked, jittered(double(2*time.Second, n, time.Minute), 0.5, 1.5))
		},
		ended: func(int, bool) bool { return true },
	}
}

// ratioBreaker opens for 5 s when a tenth of at least 100 requests in 30 s failed, and
// lets one through then.
type ratioBreaker struct {
	base    http.RoundTripper
	mu      sync.Mutex
	results []result
	opened  time.Time
	open    bool
	probing bool
}

type result struct {
	at     time.Time
	failed bool
}

func (b *ratioBreaker) RoundTrip(req *http.Request) (*http.Response, error) {
	b.mu.Lock()
	now := time.Now()
	if b.open && (b.probing || now.Sub(b.opened) < 5*time.Second) {
		b.mu.Unlock()
		// A response, and one that no policy repeats: the handler repeats no call that
		// its breaker has refused.
		req.Body.Close()
		res := respond(req, answer{status: http.StatusServiceUnavailable})
		res.Header.Set("X-Should-Retry", "false")
		return res, nil
	}
	probe := b.open
	b.probing = probe
	b.mu.Unlock()
	res, err := b.base.RoundTrip(req)
	b.mu.Lock()
	defer b.mu.Unlock()
	now = time.Now()
	bad := failed(res, err)
	if probe {
		b.probing, b.open = false, bad
		if b.opened = now; !bad {
			b.results = nil
		}
		return res, err
	}
	b.results = append(b.results, result{now, bad})
	for now.Sub(b.results[0].at) > 30*time.Second {
		b.results = b.results[1:]
	}
	n := 0
	for _, r := range b.results {
		if r.failed {
			n++
		}
	}
	if bad && !b.open && len(b.results) >= 100 && float64(n) >= 0.1*float64(len(b.results)) {
		b.open, b.opened = true, now
	}
	return res, err
}

// grpc has the values of gRFC A6: four attempts from 100 ms on, and a throttle of ten
// tokens of which more than half must be left.
func grpc(w *world) http.RoundTripper {
	var mu sync.Mutex
	tokens := 10.0
	return &loop{base: w, attempts: 4,
		wait: func(n int, asked time.Duration) time.Duration {
			return jittered(double(100*time.Millisecond, n, time.Second), 0.8, 1.2)
		},
		ended: func(_ int, failed bool) bool {
			mu.Lock()
			defer mu.Unlock()
			if failed {
				tokens = max(0, tokens-1)
			} else {
				tokens = min(10, tokens+0.1)
			}
			return tokens > 5
		},
	}
}

// aws is the standard mode of the AWS SDKs, version 2.1: three attempts, full jitter
// from 50 ms on, and 500 tokens of which a retry costs 14, paid back if it succeeds.
func aws(w *world) http.RoundTripper {
	var mu sync.Mutex
	tokens := 500.0
	return &loop{base: w, attempts: 3,
		wait: func(n int, asked time.Duration) time.Duration {
			d := jittered(double(50*time.Millisecond, n, 20*time.Second), 0, 1)
			return min(max(asked, d), d+5*time.Second)
		},
		ended: func(n int, failed bool) bool {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case !failed && n == 0:
				tokens = min(500, tokens+1)
			case !failed:
				tokens = min(500, tokens+14)
			case tokens < 14:
				return false
			case n < 2:
				tokens -= 14
			}
			return true
		},
	}
}
