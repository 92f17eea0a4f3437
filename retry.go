package snubber

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/seed-9e4f5248/snubber/internal/keyed"
	"github.com/seed-9e4f5248/snubber/internal/latency"
)

// Retry repeats failed requests. The zero value is a good policy: five attempts, equal
// jitter from half a second, and a budget that stops retrying when nothing succeeds any
// more.
//
// When the attempts have run out, the caller gets the last response as it came, so that
// an SDK can read the provider's own error from it. A wait that does not fit into the
// caller's deadline or into MaxWait is not begun.
//
// A Retry is safe for concurrent use and must not be copied after first use.
type Retry struct {
	// MaxAttempts is the number of attempts, including the first. If zero, 5, and 3
	// while more than a third of the attempts fail; if negative, only the deadline and
	// the budget limit it.
	MaxAttempts int
	// MinBackoff is the longest first wait. The wait doubles up to MaxBackoff, and half
	// of each wait is random. After Overloaded, and after RateLimited without a
	// server's time, the wait is twice as long. If zero, 500 ms and 8 s. If negative,
	// MinBackoff means no wait beyond the server's own, and MaxBackoff no ceiling.
	MinBackoff, MaxBackoff time.Duration
	// MaxWait is the longest single wait, such as a server asks for with Retry-After.
	// If the wait is longer, the response is returned at once. If zero, 60 s; if
	// negative, only the deadline limits it.
	MaxWait time.Duration
	// Budget bounds the retries of all calls to one circuit key together. If nil, a
	// zero Budget of this Retry.
	Budget *Budget
	// If decides whether an outcome is worth another attempt. The attempts, the budget
	// and the deadline bound it all the same. If nil, [Retryable].
	If func(*http.Request, Outcome) bool
	// Hedge sends a second request when the first has not begun to answer within the
	// 95th percentile of recent latencies (after 50 samples) and uses whichever
	// succeeds first. The other one is cancelled. Hedge applies to the first attempt of
	// an inference request. A stream has begun to answer at its first content. Both
	// requests may be billed.
	//
	// At most one call in 20 is hedged. A hedge counts as an attempt and is paid for
	// from the Budget. It is not sent if it would have to wait in a queue, or if the
	// circuit is not closed.
	Hedge bool

	budget                     Budget // used if Budget is nil
	latencies, streamLatencies keyed.Map[*latency.Tracker]
}

// usualAttempts are those that a call has even where many attempts fail.
const usualAttempts = 3

func (r *Retry) maxAttempts() int       { return orDefault(r.MaxAttempts, 5, math.MaxInt) }
func (r *Retry) maxWait() time.Duration { return timeOrDefault(r.MaxWait, 60*time.Second) }

func (r *Retry) budgetOrOwn() *Budget {
	if r.Budget != nil {
		return r.Budget
	}
	return &r.budget
}

func (r *Retry) shouldRetry(req *http.Request, o Outcome) bool {
	if r.If != nil {
		return r.If(req, o)
	}
	return Retryable(req, o)
}

// backoffSteps is the sequence of waits of one call. It is made after the first
// failure, so that a call that succeeds pays nothing for it.
type backoffSteps struct {
	steps   *backoff.ExponentialBackOff
	ceiling time.Duration
}

// newBackoff returns equal jitter: each wait is U(b/2, b), and b doubles. Intervals
// start at 3/4 of the base and vary by a third. Full jitter would be the wrong
// simplification: with it one call in seven spends all its attempts inside a one-second
// outage.
func (r *Retry) newBackoff() *backoffSteps {
	p := &backoffSteps{ceiling: timeOrDefault(r.MaxBackoff, 8*time.Second)}
	if r.MinBackoff < 0 {
		return p
	}
	base := min(timeOrDefault(r.MinBackoff, 500*time.Millisecond), p.ceiling)
	p.steps = backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(base*3/4),
		backoff.WithMaxInterval(p.ceiling*3/4),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(1.0/3),
		backoff.WithMaxElapsedTime(0), // otherwise NextBackOff returns -1 after 15 minutes, and the loop never waits
	)
	return p
}

// next returns the wait before the next attempt. It is never shorter than the server's
// own time, and jitter comes after that time. Otherwise all clients that were told the
// same second would come back in the same millisecond.
func (p *backoffSteps) next(o Outcome, now time.Time) time.Duration {
	var step time.Duration
	if p.steps != nil {
		step = p.steps.NextBackOff()
		if o.Class == Overloaded || o.Class == RateLimited && o.NotBefore.IsZero() {
			if step *= 2; step > p.ceiling { // min would leave no jitter
				step = p.ceiling/2 + rand.N(p.ceiling/2+1)
			}
		}
	}
	hint := o.NotBefore.Sub(now)
	if o.NotBefore.IsZero() || hint <= step {
		return step
	}
	return hint + jitterAfter(hint)
}

func jitterAfter(hint time.Duration) time.Duration {
	return rand.N(min(time.Second, hint/10) + 1)
}

// Retryable is the policy of a nil Retry.If. The server's x-should-retry decides, if it
// sent one. Otherwise a request that was RateLimited, declined or never received is
// repeated whatever it asks for. After another failure it is repeated only if repeating
// req is safe: an idempotent method (RFC 9110 §9.2.2), an Idempotency-Key,
// [WithIdempotent], or a known inference path. Retryable does not judge whether a wait
// fits the deadline.
func Retryable(req *http.Request, o Outcome) bool {
	return repeatable(o) && (mayRepeat(o) || safe(req))
}

// repeatable reports whether another attempt could end in another way.
func repeatable(o Outcome) bool {
	switch o.Class {
	case RateLimited, Overloaded, ServerError, Unreachable, TimedOut, Transient:
		return o.Advice != AdviceStop
	case Invalid:
		return o.Advice == AdviceRetry
	}
	return false
}

// mayRepeat reports whether repeating does no harm, whatever the request asks for.
func mayRepeat(o Outcome) bool {
	return o.Unsent || o.Declined || o.Advice == AdviceRetry || o.Class == RateLimited
}

// safe reports whether doing the request twice is as good as once.
func safe(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace:
		return true
	}
	if len(req.Header["Idempotency-Key"]) > 0 || len(req.Header["X-Idempotency-Key"]) > 0 {
		return true
	}
	if req.Context().Value(idempotentKey{}) != nil {
		return true
	}
	info := infoOf(req, false)
	return info.inference && !info.background
}

type idempotentKey struct{}

// WithIdempotent returns a context whose requests are safe to repeat, as they would be
// with an Idempotency-Key header. No header is sent.
func WithIdempotent(ctx context.Context) context.Context {
	return context.WithValue(ctx, idempotentKey{}, true)
}

// sdkRetry reports whether the request is itself the retry of an SDK above. Such a
// request gets one attempt: the verdict on its call has been given.
func sdkRetry(h http.Header) bool {
	if v := h["X-Stainless-Retry-Count"]; len(v) > 0 {
		n, err := strconv.Atoi(v[0])
		return err == nil && n > 0
	}
	if v := h["Amz-Sdk-Request"]; len(v) > 0 { // "attempt=2; max=3"
		_, rest, ok := strings.Cut(v[0], "attempt=")
		return ok && !strings.HasPrefix(rest, "1;") && rest != "1"
	}
	return false
}
