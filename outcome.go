package snubber

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/body"
	"github.com/seed-9e4f5248/snubber/internal/dialect"
	"github.com/seed-9e4f5248/snubber/internal/neterr"
)

// Class is the verdict on one attempt. Every layer decides from it, and none looks at a
// status code.
type Class uint8

const (
	// Unclassified is the zero Class: there is no verdict yet.
	Unclassified Class = Class(dialect.Unclassified)
	// Success is a complete response below 400.
	Success Class = Class(dialect.Success)
	// RateLimited is a request over a short-term quota. After a wait the same request
	// passes.
	RateLimited Class = Class(dialect.RateLimited)
	// QuotaExhausted is a request over a billing, spend or daily quota. Waiting is
	// useless.
	QuotaExhausted Class = Class(dialect.QuotaExhausted)
	// Overloaded is a server that declined the work: a 529, or a 503 that says so.
	Overloaded Class = Class(dialect.Overloaded)
	// ServerError is any other 5xx.
	ServerError Class = Class(dialect.ServerError)
	// Unreachable is no response, or one that broke off: dial, TLS, reset, truncation.
	Unreachable Class = Class(dialect.Unreachable)
	// TimedOut is an attempt that a limit of [Timeout] has ended, with a
	// [*TimeoutError].
	TimedOut Class = Class(dialect.TimedOut)
	// Transient is a 4xx that may pass next time: 408, 409, 425, and the 424 and 498 of
	// some providers.
	Transient Class = Class(dialect.Transient)
	// TooLong is a prompt beyond the context window, or a request beyond the whole
	// quota.
	TooLong Class = Class(dialect.TooLong)
	// Filtered is a refusal by a content policy.
	Filtered Class = Class(dialect.Filtered)
	// Invalid is any other 4xx.
	Invalid Class = Class(dialect.Invalid)
	// Canceled is an attempt that the caller ended, by cancellation or by its deadline.
	Canceled Class = Class(dialect.Canceled)
	// Rejected is a request that this package did not send, with a [*RejectedError].
	Rejected Class = Class(dialect.Rejected)
)

var classNames = [...]string{
	"unclassified", "success", "rate-limited", "quota-exhausted", "overloaded", "server-error", "unreachable",
	"timed-out", "transient", "too-long", "filtered", "invalid", "canceled", "rejected",
}

// String returns the class in lower case with hyphens, fit for a metric's label.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return "class-unknown"
}

// failure reports whether the class counts against the service. A class that is neither
// failure nor alive is neutral.
func (c Class) failure() bool {
	return c == Overloaded || c == ServerError || c == Unreachable || c == TimedOut
}

// alive reports whether the class proves the service healthy.
func (c Class) alive() bool {
	return c == Success || c == TooLong || c == Filtered || c == Invalid
}

// Outcome is what is known of one attempt.
type Outcome struct {
	// Class is the verdict.
	Class Class
	// Unsent says that the request certainly reached no server: a failed dial, a
	// refused stream. It may be sent again whatever it asks for.
	Unsent bool
	// Declined says that a server certainly did not do the work: a 429, or a 503 or 529
	// that shows that the server itself declined. A bare 503 is not Declined, because a
	// proxy may send it after the server has done the work.
	Declined bool
	// Misconfigured says that a request was Invalid for its destination or its
	// credential, whatever it asks for. The key is not accepted (401, 403), or a model
	// or a deployment does not exist (404 of an inference path).
	Misconfigured bool
	// Advice is the server's x-should-retry. It is AdviceNone if the provider is known
	// to send it wrongly.
	Advice Advice
	// Reason is the provider's code or type, such as "rate_limit_exceeded". Without one
	// it is "http_503" or a short word of this package. It is fit for a metric's label,
	// and never holds text of a message, prompt or completion.
	Reason string
	// NotBefore is the time before which the server does not want another request. Zero
	// if it gave none.
	NotBefore time.Time
	// Exceeded is the quota that a RateLimited request exceeded, named as in
	// [Quota].Kind. Empty if the server did not say.
	Exceeded string
	// Quotas are the buckets that the response reported, nil if none.
	Quotas []Quota
	// Usage is what the response was billed. Zero until the end of the body.
	Usage Usage
}

// Advice is a server's explicit advice on whether to send the request again.
type Advice int8

const (
	AdviceNone  Advice = Advice(dialect.NoAdvice) // the server gave none
	AdviceRetry Advice = Advice(dialect.Again)    // x-should-retry: true
	AdviceStop  Advice = Advice(dialect.Stop)     // x-should-retry: false
)

// Quota is one bucket of a quota, as a server reported it.
type Quota struct {
	Kind      string        // "requests", "tokens", "input-tokens", "output-tokens", "concurrency"
	Window    time.Duration // the period of Limit, 0 if the server does not say
	Limit     int64         // -1: unknown
	Remaining int64         // -1: unknown
	Reset     time.Duration // until the bucket is full again, not until the next request may be sent; -1: unknown
}

// Usage is the number of tokens that a response was billed.
type Usage struct {
	Input, Output         int // Input includes the two below, Output includes reasoning
	CacheRead, CacheWrite int
}

// Classify gives the verdict on what a RoundTripper returned for req. It judges by the
// body and not by the status alone, for every provider that this package knows. Exactly
// one of res and err is expected; with neither the Class is Unreachable.
//
// Of a response of 400 and above it reads at most 64 KiB of the body, and leaves
// res.Body as if it had not been read. For a 200 it looks at the header only; inside a
// Transport also at the part of the body read so far.
//
// A [Transport] calls it once for each attempt. A Classify hook of your own usually
// calls it first, and changes what the hook knows better.
func Classify(req *http.Request, res *http.Response, err error) Outcome {
	if err != nil || res == nil {
		return classifyError(req, err)
	}
	if seen, ok := res.Body.(*seenBody); ok {
		return seen.o
	}
	var prefix []byte
	if res.StatusCode >= 400 && res.Body != nil && res.Body != http.NoBody {
		b := body.Prefetch(res.Body)
		prefix, res.Body = b.Bytes(), b
	}
	return classifyResponse(dialect.RouteOf(req.Method, req.URL), req, res, prefix, time.Now())
}

func classifyResponse(route dialect.Route, req *http.Request, res *http.Response, body []byte, now time.Time) Outcome {
	return outcomeOf(dialect.Classify(&dialect.Response{
		Route: route, Host: req.URL.Host, Status: res.StatusCode, Header: res.Header, Body: body, Now: now,
	}), now)
}

func outcomeOf(v dialect.Verdict, now time.Time) Outcome {
	o := Outcome{Class: Class(v.Class), Declined: v.Declined, Misconfigured: v.Misdirected, Advice: Advice(v.Advice), Reason: v.Reason, Exceeded: v.Over}
	if v.Wait > 0 {
		o.NotBefore = now.Add(v.Wait)
	}
	if len(v.Quotas) > 0 {
		o.Quotas = make([]Quota, len(v.Quotas))
		for i, q := range v.Quotas {
			o.Quotas[i] = Quota(q)
		}
	}
	return o
}

// classifyError gives the verdict on an error by its type alone. The text of an error
// is no contract.
func classifyError(req *http.Request, err error) Outcome {
	var (
		rejected *RejectedError
		timeout  *TimeoutError
		op       *net.OpError
		dns      *net.DNSError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		stream   streamError
	)
	switch {
	case errors.As(err, &rejected):
		o := Outcome{Class: Rejected, Unsent: true, Reason: rejected.code()}
		if rejected.RetryAfter > 0 {
			o.NotBefore = time.Now().Add(rejected.RetryAfter)
		}
		return o
	case errors.As(err, &timeout):
		return Outcome{Class: TimedOut, Reason: "timeout_" + string(timeout.Phase)}
	case req.Context().Err() != nil:
		return Outcome{Class: Canceled, Reason: cancelReason(req.Context())}
	case errors.As(err, new(*body.Error)):
		return Outcome{Class: Invalid, Advice: AdviceStop, Reason: "request_body"}
	case errors.As(err, &verify), errors.As(err, &unknown), errors.As(err, &hostname), errors.As(err, &invalid):
		// No second dial will make the certificate good.
		return Outcome{Class: Unreachable, Unsent: true, Advice: AdviceStop, Reason: "certificate"}
	case errors.Is(err, errRedirect):
		return Outcome{Class: Unreachable, Advice: AdviceStop, Reason: "redirect"}
	case errors.As(err, &dns):
		return Outcome{Class: Unreachable, Unsent: true, Reason: "dns"}
	case errors.As(err, &op) && op.Op == "dial", errors.Is(err, neterr.Refused):
		return Outcome{Class: Unreachable, Unsent: true, Reason: "dial"}
	case errors.As(err, &stream) && stream.Code == refusedStream:
		return Outcome{Class: Unreachable, Unsent: true, Reason: "refused_stream"}
	case errors.Is(err, neterr.Reset), errors.Is(err, neterr.Broken):
		return Outcome{Class: Unreachable, Reason: "reset"}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Outcome{Class: Unreachable, Reason: "eof"}
	}
	return Outcome{Class: Unreachable, Reason: "no_response"}
}

func cancelReason(ctx context.Context) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return "deadline"
	}
	return "canceled"
}

// streamError has the fields of the HTTP/2 stream error inside net/http, whose As
// method fills any struct of this shape (golang/go#53896). Without reading texts there
// is no other way to recognize a refused stream, which no server has processed.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

const refusedStream = 0x7 // RFC 9113 §7

func (streamError) Error() string { return "http2 stream error" }

// actionable reports whether Retry or a route may act on an outcome of the class.
func (c Class) actionable() bool {
	return c != Success && c != Unclassified && c != Canceled && c != Rejected
}

// seenBody is the part of a body that a Classify hook sees, with the package's verdict
// on it. The bytes alone do not tell the verdict: a stream that goes on looks like one
// that has broken off, because the hook sees EOF in both.
type seenBody struct {
	bytes.Reader
	o Outcome
}

func (*seenBody) Close() error { return nil }
