package snubber

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/dialect"
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
)

// RejectedError is a request that was not sent. errors.Is finds Err in it,
// through the *url.Error that http.Client wraps around it, and
// context.DeadlineExceeded where the caller's deadline was the reason.
type RejectedError struct {
	// Err is ErrOpen, ErrLimited or ErrQuota.
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
	}
	return "snubber_rate_limited"
}

func (e *RejectedError) status() int {
	if e.Err == ErrOpen {
		return http.StatusServiceUnavailable
	}
	return http.StatusTooManyRequests
}

// bodyError is a request body that could not be read or had again.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "request body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// retriesErrors reports whether the SDK above retries every Go error and can
// only be stopped by a response: the Stainless-generated ones, by the headers
// that all of them send.
func retriesErrors(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, "X-Stainless-") {
			return true
		}
	}
	return false
}

// refuse gives the caller of the outermost Transport what stops it from trying
// again: an error, or to an SDK that retries errors a response in its own
// provider's shape.
func (t *Transport) refuse(c *call, e *RejectedError) (*http.Response, error) {
	if t.Reject != nil {
		res, err := t.Reject(c.in, e)
		if res != nil && err == nil {
			c.adopt(res)
		}
		return res, err
	}
	if !retriesErrors(c.in.Header) {
		return nil, e
	}
	return c.response(e.status(), e.code(), e.Error(), e.RetryAfter), nil
}

// unanswered is what an SDK that retries errors gets for a final failure
// without a response. The error's own text may hold a URL with a key in it, so
// the response has none of it.
func (c *call) unanswered(o Outcome) *http.Response {
	if o.Class == TimedOut {
		return c.response(http.StatusGatewayTimeout, "snubber_timeout", "the API did not answer in time ("+o.Reason+")", 0)
	}
	return c.response(http.StatusBadGateway, "snubber_unreachable", "the API could not be reached ("+o.Reason+")", 0)
}

func (c *call) response(status int, code, message string, retryAfter time.Duration) *http.Response {
	body := dialect.Refusal(c.asked.format, status, code, message)
	h := http.Header{
		"Content-Type":   {"application/json"},
		"Content-Length": {strconv.Itoa(len(body))},
		"X-Should-Retry": {"false"},
	}
	if retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(retryAfter.Round(time.Millisecond).Seconds()))))
	}
	res := &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}
	c.adopt(res)
	return res
}

// TimeoutError is an attempt that one of [Timeout]'s timers ended.
type TimeoutError struct {
	Phase TimeoutPhase
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

func (e *TimeoutError) Error() string {
	return "timed out after " + e.After.String() + " (" + strings.ReplaceAll(string(e.Phase), "_", " ") + ")"
}

// Timeout is true, as net.Error has it.
func (e *TimeoutError) Timeout() bool { return true }

// Is makes errors.Is(err, os.ErrDeadlineExceeded) true. It is not
// context.DeadlineExceeded: the caller's own deadline has not passed.
func (e *TimeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }
