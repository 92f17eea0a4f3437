package snubber

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/keyed"
)

var (
	// ErrOpen is the condition of a request that was refused because its circuit is
	// open.
	ErrOpen = errors.New("circuit open")
	// ErrLimited is the condition of a request that a [Limiter] refused: the wait is
	// too long, the queue is full, or the request is larger than the quota.
	ErrLimited = errors.New("rate limited")
	// ErrQuota is the condition of a request that was refused because its quota is
	// exhausted and waiting does not restore it.
	ErrQuota = errors.New("quota exhausted")
	// ErrNoRoute is the condition of a request that a route of a [Fallback] or a
	// [Balancer] cannot take. See [Reroute] for which requests those are. [Stale]
	// returns it if nothing is stored.
	ErrNoRoute = errors.New("route cannot take the request")
)

// RejectedError is the error of a request that was not sent. errors.Is finds Err in it,
// also through the *url.Error of http.Client. It finds context.DeadlineExceeded too, if
// the caller's deadline was the reason.
type RejectedError struct {
	// Err is ErrOpen, ErrLimited, ErrQuota or ErrNoRoute.
	Err error
	// Key names the circuit or the queue that refused: origin and model, and for a
	// queue the hash of the credential.
	Key string
	// Reason says why, in a few words. It may be empty.
	Reason string
	// RetryAfter is the time after which the same request is worth trying again. Zero
	// if nobody can say.
	RetryAfter time.Duration

	late bool // the caller's deadline was the reason
}

// Error says which condition refused which key, why, and when to try again.
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

// NonRetriable stops the retries of azcore, the pipeline of the Azure SDKs. azcore
// retries every error without this method.
func (e *RejectedError) NonRetriable() {}

// RetryableError returns false, which stops the retries of the AWS SDKs.
func (e *RejectedError) RetryableError() bool { return false }

// Timeout returns false, so that no client retries the refusal as a network timeout.
func (e *RejectedError) Timeout() bool { return false }

// Temporary returns false, for the same reason as Timeout.
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

// TimeoutError is the error of an attempt that a limit of [Timeout] has ended.
type TimeoutError struct {
	Phase TimeoutPhase  // what the attempt was waiting for
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

// Error says which limit has passed.
func (e *TimeoutError) Error() string {
	return "timed out after " + e.After.String() + " (" + strings.ReplaceAll(string(e.Phase), "_", " ") + ")"
}

// Timeout returns true. With Temporary it makes the error a [net.Error].
func (e *TimeoutError) Timeout() bool { return true }

// Temporary returns true, because the next attempt may be in time.
func (e *TimeoutError) Temporary() bool { return true }

// Is reports whether target is [os.ErrDeadlineExceeded]. It is false for
// context.DeadlineExceeded, because the caller's own deadline has not passed.
func (e *TimeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

// errRedirect is the error for a redirect from another origin than the caller's. The
// client above would follow it with the credentials of the caller's origin.
var errRedirect = errors.New("refusing a redirect from a fallback origin: it would leak the original request's credentials")

// unroutable returns the refusal of a request that a route cannot take. Its class is
// Rejected, so that the next route is tried.
func unroutable(req *http.Request, reason string) error {
	return &RejectedError{Err: ErrNoRoute, Key: keyed.Origin(req.URL, "").String(), Reason: reason}
}

// failUnsent closes the body of a request that is not sent, as a RoundTripper must, and
// returns the error.
func failUnsent(req *http.Request, err error) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	return nil, err
}

// errTruncated is the error of a stream that ended before its terminal event. SDKs
// would take a clean end for a complete response.
var errTruncated = &truncatedError{}

type truncatedError struct{}

func (*truncatedError) Error() string { return "the stream ended before its terminal event" }
func (*truncatedError) Unwrap() error { return io.ErrUnexpectedEOF }

// endedError is a Base's error after the caller's context has ended. It holds both.
type endedError struct{ end, err error }

func (e *endedError) Error() string   { return e.end.Error() + ": " + e.err.Error() }
func (e *endedError) Unwrap() []error { return []error{e.end, e.err} }
