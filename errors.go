package snubber

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/keyed"
)

var (
	// ErrOpen is the condition of a request refused because its circuit is open.
	ErrOpen = errors.New("circuit open")
	// ErrLimited is the condition of a request refused by a [Limiter]: the wait
	// too long, the queue full, the request larger than the quota.
	ErrLimited = errors.New("rate limited")
	// ErrQuota is the condition of a request refused because its quota is
	// exhausted and waiting does not restore it.
	ErrQuota = errors.New("quota exhausted")
	// ErrNoRoute is the condition of a request that a route of a [Fallback] or a
	// [Balancer] cannot take: [Reroute] says which ones, [Stale] has nothing kept.
	ErrNoRoute = errors.New("not for this route")
)

// RejectedError is a request that was not sent. errors.Is finds Err in it,
// through the *url.Error that http.Client wraps around it, and
// context.DeadlineExceeded where the caller's deadline was the reason.
type RejectedError struct {
	// Err is ErrOpen, ErrLimited, ErrQuota or ErrNoRoute.
	Err error
	// Key is the circuit or queue that refused: origin, model, and for a queue
	// the hash of the credential.
	Key string
	// Reason says more than Err in a few words.
	Reason string
	// RetryAfter is when it is worth coming back, zero if nobody can say.
	RetryAfter time.Duration

	late bool
}

// Error says which condition, for which key, why and when to come back.
func (e *RejectedError) Error() string {
	s := "not sent: " + e.Err.Error() + " (" + e.Key + ")"
	if e.Reason != "" && e.Reason != e.Err.Error() {
		s += ": " + e.Reason
	}
	if e.RetryAfter > 0 {
		s += ", retry after " + e.RetryAfter.Round(time.Millisecond).String()
	}
	return s
}

// Unwrap returns Err, and context.DeadlineExceeded if the deadline was the reason.
func (e *RejectedError) Unwrap() []error {
	if e.late {
		return []error{e.Err, context.DeadlineExceeded}
	}
	return []error{e.Err}
}

// NonRetriable marks the error for azcore, the Azure SDKs' pipeline, which
// retries every error without this method.
func (e *RejectedError) NonRetriable() {}

// RetryableError is false: it stops the AWS SDKs' retries.
func (e *RejectedError) RetryableError() bool { return false }

// Timeout is false, so that nobody retries the refusal as a network timeout.
func (e *RejectedError) Timeout() bool { return false }

// Temporary is false for the same reason.
func (e *RejectedError) Temporary() bool { return false }

func (e *RejectedError) code() string {
	switch e.Err {
	case ErrOpen:
		return "snubber_circuit_open"
	case ErrQuota:
		return "snubber_quota_exhausted"
	case ErrNoRoute:
		return "snubber_no_route"
	}
	return "snubber_rate_limited"
}

func (e *RejectedError) status() int {
	if e.Err == ErrOpen || e.Err == ErrNoRoute {
		return http.StatusServiceUnavailable
	}
	return http.StatusTooManyRequests
}

// TimeoutError is an attempt that one of [Timeout]'s timers ended.
type TimeoutError struct {
	Phase TimeoutPhase  // what it was waiting for
	After time.Duration // the limit that passed
}

// TimeoutPhase is what an attempt was waiting for.
type TimeoutPhase string

const (
	PhaseHeaders    TimeoutPhase = "headers"     // the response's header
	PhaseFirstEvent TimeoutPhase = "first_event" // the first content of a stream
	PhaseIdle       TimeoutPhase = "idle"        // the next bytes of the body
	PhaseAttempt    TimeoutPhase = "attempt"     // the whole attempt
)

// Error says which limit passed.
func (e *TimeoutError) Error() string {
	return "timed out after " + e.After.String() + " (" + strings.ReplaceAll(string(e.Phase), "_", " ") + ")"
}

// Timeout is true. With Temporary it makes the error a net.Error.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary is true: the next attempt may be in time.
func (e *TimeoutError) Temporary() bool { return true }

// Is makes errors.Is(err, os.ErrDeadlineExceeded) true. It is not
// context.DeadlineExceeded: the caller's own deadline has not passed.
func (e *TimeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// errRedirect is a redirect of another origin than the caller's. The client above
// would follow it with the credentials of the caller's.
var errRedirect = errors.New("refusing a redirect from a fallback origin: it would leak the original request's credentials")

// unroutable is the refusal of a request that a route cannot take. It has the
// class Rejected, so that the next route is asked.
func unroutable(req *http.Request, reason string) error {
	return &RejectedError{Err: ErrNoRoute, Key: keyed.Origin(req.URL, "").String(), Reason: reason}
}
