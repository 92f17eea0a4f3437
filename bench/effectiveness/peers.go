package main

import (
	"context"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"golang.org/x/time/rate"
)

// doubling is the loop that everybody writes first: sleep(2**attempt), six
// attempts.
func doubling(w *world, s *scenario) ask {
	once := through(s, w)
	return func(ctx context.Context, c *call) error {
		for n := 0; ; n++ {
			err := once(ctx, c)
			if err == nil || n == 5 {
				return err
			}
			if err := sleep(ctx, time.Second<<n); err != nil {
				return err
			}
		}
	}
}

// sdk is openai-go as it is, over any round-tripper. Its own retries are on.
func sdk(base func(*world) http.RoundTripper) func(*world, *scenario) ask {
	return func(w *world, s *scenario) ask {
		client := openai.NewClient(option.WithAPIKey("sk-simulated"), option.WithHTTPClient(&http.Client{Transport: base(w)}))
		return func(ctx context.Context, c *call) error {
			_, err := client.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{
				Model:     "gpt-4o",
				MaxTokens: openai.Int(int64(c.max)),
				Messages:  []openai.ChatCompletionMessageParamUnion{openai.UserMessage(c.prompt())},
			})
			return err
		}
	}
}

// retryable is go-retryablehttp with its defaults.
func retryable(w *world, s *scenario) ask {
	client := retryablehttp.NewClient()
	client.Logger = nil
	client.HTTPClient = &http.Client{Transport: w}
	return through(s, &retryablehttp.RoundTripper{Client: client})
}

// failsafeTold is failsafe-go with its retry around a limiter of the quota.
// It counts calls and not tokens, so that it is told the mean.
func failsafeTold(w *world, s *scenario) ask {
	retry := failsafehttp.NewRetryPolicyBuilder().
		WithMaxAttempts(4).
		WithBackoff(500*time.Millisecond, 8*time.Second).
		WithJitterFactor(0.25).
		Build()
	limiter := ratelimiter.NewSmoothBuilderWithMaxRate[*http.Response](time.Duration(float64(time.Second) / s.callsPerSecond())).
		WithMaxWaitTime(24 * time.Hour).
		Build()
	return through(s, failsafehttp.NewRoundTripper(w, failsafe.Policy[*http.Response](retry), limiter))
}

// byHand is the careful loop: x/time/rate with the quota, and backoff/v4 for
// what fails in spite of it.
func byHand(w *world, s *scenario) ask {
	once := through(s, w)
	limiter := func(b bucket) *rate.Limiter {
		if b.perSecond == 0 {
			return rate.NewLimiter(rate.Inf, 0)
		}
		return rate.NewLimiter(rate.Limit(b.perSecond), max(1, int(b.burst)))
	}
	requests, tokens := limiter(s.told.requests), limiter(s.told.tokens)
	return func(ctx context.Context, c *call) error {
		return backoff.Retry(func() error {
			if err := requests.Wait(ctx); err != nil {
				return backoff.Permanent(err)
			}
			if err := tokens.WaitN(ctx, int(s.provider.used(c))); err != nil {
				return backoff.Permanent(err)
			}
			return once(ctx, c)
		}, backoff.WithContext(backoff.NewExponentialBackOff(), ctx))
	}
}
