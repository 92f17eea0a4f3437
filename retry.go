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

// Retry sends a failed request again. The zero value is a good policy: four
// attempts, equal jitter from half a second, a budget that stops retrying when
// nothing succeeds any more.
//
// When attempts run out the caller gets the last response as it came, so that
// an SDK can read the provider's own error from it. A wait that does not fit
// the caller's deadline or MaxWait is not begun.
//
// It is safe for concurrent use and must not be copied after first use.
type Retry struct {
	// MaxAttempts counts the first attempt too. If zero, 4; if negative, there
	// is no limit but deadline and budget.
	MaxAttempts int
	// MinBackoff is the ceiling of the first wait, which doubles up to
	// MaxBackoff; half of each wait is random. After Overloaded, and after
	// RateLimited without a hint, it is twice that. If zero, 500 ms and 8 s; if
	// negative, no wait of our own and no ceiling.
	MinBackoff, MaxBackoff time.Duration
	// MaxWait is the longest single wait, which a server can ask for with
	// Retry-After. Beyond it the response is returned at once. If zero, 60 s; if
	// negative, as long as the deadline allows.
	MaxWait time.Duration
	// Budget is shared by the calls to one circuit key. If nil, the zero Budget.
	Budget *Budget
	// If decides whether an outcome is worth another attempt; attempts, budget
	// and deadline still bound it. If nil, [Retryable].
	If func(*http.Request, Outcome) bool
	// Hedge sends a second request beside the first attempt of an inference call
	// whose answer does not begin within the time that 95 of 100 took, once there
	// were 50, and gives the first good answer; the other request is cancelled. It
	// costs money, since both may be billed, and is off if false. A stream is
	// hedged until its first content. There is at most one such request for 20
	// calls, it counts as an attempt and is paid from the Budget, and none is sent
	// that would have to queue, or to a circuit that is not closed.
	Hedge bool

	budget                     Budget // where Budget is nil
	latencies, streamLatencies keyed.Map[*latency.Tracker]
}

func (r *Retry) maxAttempts() int       { return orDefault(r.MaxAttempts, 4, math.MaxInt) }
func (r *Retry) maxWait() time.Duration { return timeOrDefault(r.MaxWait, 60*time.Second) }

func (r *Retry) budgetInUse() *Budget {
	if r.Budget != nil {
		return r.Budget
	}
	return &r.budget
}

func (r *Retry) wants(req *http.Request, o Outcome) bool {
	if r.If != nil {
		return r.If(req, o)
	}
	return Retryable(req, o)
}

// backoffSteps is the sequence of waits of one call. It is made after the first
// failure: a call that succeeds pays nothing for it.
type backoffSteps struct {
	steps   *backoff.ExponentialBackOff
	ceiling time.Duration
}

// newBackoff sets up equal jitter, U(b/2, b) with b doubling: intervals start at
// 3/4 of the base and vary by a third. Full jitter would be the wrong
// simplification here: it lets one call in seven spend all its attempts inside
// a one-second outage.
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
		backoff.WithMaxElapsedTime(0), // otherwise NextBackOff turns to -1 after 15 minutes, a hot loop
	)
	return p
}

// next is the wait before the next attempt. A server's hint is a floor, and
// jitter comes after it: a crowd told the same second must not come back in
// the same millisecond, nor before its time.
func (p *backoffSteps) next(o Outcome, now time.Time) time.Duration {
	var step time.Duration
	if p.steps != nil {
		step = p.steps.NextBackOff()
		if o.Class == Overloaded || o.Class == RateLimited && o.NotBefore.IsZero() {
			if step *= 2; step > p.ceiling { // and not min: that would have no jitter left
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

// Retryable is the policy of a nil Retry.If. A server's x-should-retry decides
// where it is given. Else RateLimited and what a server declined or never saw
// is repeatable whatever it asks for, and other failures are where repeating
// req is safe: an idempotent method (RFC 9110 §9.2.2), an Idempotency-Key,
// [WithIdempotent], or a known inference path. It does not judge whether
// waiting fits a deadline.
func Retryable(req *http.Request, o Outcome) bool {
	return repeatable(o) && (mayRepeat(o) || safe(req))
}

// repeatable reports whether another attempt could end differently.
func repeatable(o Outcome) bool {
	switch o.Class {
	case RateLimited, Overloaded, ServerError, Unreachable, TimedOut, Transient:
		return o.Advice != AdviceStop
	case Invalid:
		return o.Advice == AdviceRetry
	}
	return false
}

// mayRepeat reports whether repeating can do no harm, whatever the request.
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
	asked := infoOf(req, false)
	return asked.inference && !asked.background
}

type idempotentKey struct{}

// WithIdempotent marks the requests made with the context as safe to repeat,
// as an Idempotency-Key header would, without sending one.
func WithIdempotent(ctx context.Context) context.Context {
	return context.WithValue(ctx, idempotentKey{}, true)
}

// sdkRetry reports whether the request is itself the retry of an SDK above us.
// Such a request gets one attempt: the verdict on the call was already given.
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
