package bench

import (
	"net/http"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/failsafe-go/failsafe-go/timeout"
	"github.com/seed-9e4f5248/snubber"
)

// Stack is a contender: what it puts around a base.
type Stack struct {
	Name string
	Wrap func(http.RoundTripper) http.RoundTripper
}

// Stacks are the contenders, the bare base first.
var Stacks = []Stack{
	{"base", func(base http.RoundTripper) http.RoundTripper { return base }},
	{"snubber", func(base http.RoundTripper) http.RoundTripper { return snubber.New(base) }},
	{"failsafe", Failsafe},
}

// Failsafe is failsafe-go's retry, breaker, limiter and timeout around base,
// with the thresholds of [snubber.New] as far as failsafe-go has them. Its limiter, like
// that of New, lets everything pass.
func Failsafe(base http.RoundTripper) http.RoundTripper {
	failed := func(res *http.Response, err error) bool {
		return err != nil || res != nil && res.StatusCode >= 500
	}
	retry := failsafehttp.NewRetryPolicyBuilder().
		WithMaxAttempts(4).
		WithBackoff(500*time.Millisecond, 8*time.Second).
		WithJitterFactor(0.25).
		Build()
	breaker := circuitbreaker.NewBuilder[*http.Response]().
		HandleIf(failed).
		WithFailureRateThreshold(0.5, 20, 30*time.Second).
		WithDelay(5 * time.Second).
		WithSuccessThreshold(2).
		Build()
	limiter := ratelimiter.NewSmoothBuilderWithMaxRate[*http.Response](time.Nanosecond).
		WithMaxWaitTime(time.Minute).
		Build()
	limit := timeout.New[*http.Response](10 * time.Minute)
	return failsafehttp.NewRoundTripper(base, failsafe.Policy[*http.Response](retry), breaker, limiter, limit)
}
