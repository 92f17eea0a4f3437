package snubber

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/dialect"
)

// serveUncached is what the layers below the cache make of the call.
func (c *call) serveUncached() (*http.Response, error) {
	var r result
	c.roundTripUncached(&r)
	return c.deliver(&r)
}

// deliver gives the result to the caller in the form that the caller
// understands.
func (c *call) deliver(r *result) (*http.Response, error) {
	c.replay.Release(c.req.Body)
	var refusal *RejectedError
	if r.err != nil {
		refusal = refusalIn(r.err)
	}
	if refusal != nil && c.t.Observe != nil {
		c.t.Observe(Event{Kind: EventRefused, Time: time.Now(), Key: refusal.Key, Outcome: r.o})
	}
	if c.parent != nil {
		return r.res, r.err
	}
	c.tally.report()
	if r.err == nil {
		if c.stopsSDKRetry(r.o) {
			r.res.Header = r.res.Header.Clone()
			r.res.Header.Set("X-Should-Retry", "false")
		}
		c.attachReport(r.res)
		return r.res, nil
	}
	if refusal != nil || c.tally.tried == 0 {
		c.recordOutcome(&r.o) // no attempt has
	}
	if refusal != nil {
		return c.t.reject(c, refusal)
	}
	if (r.o.Class == Unreachable || r.o.Class == TimedOut) && c.stopsSDKRetry(r.o) {
		return c.failureResponse(r.o), nil
	}
	return nil, r.err
}

func refusalIn(err error) (refusal *RejectedError) {
	errors.As(err, &refusal)
	return refusal
}

// stopsSDKRetry reports whether the SDK above must be told not to try again: it would,
// and a Retry of ours had the verdict. Where repeating was only not safe, that
// is for the SDK to decide, which may know better.
func (c *call) stopsSDKRetry(o Outcome) bool {
	return c.tally.repeatingDecided() && o.Class != Success && retriesErrors(c.req.Header)
}

// attachReport makes res the answer to the caller's request, and says which way it
// came if it was not the usual one.
func (c *call) attachReport(res *http.Response) {
	res.Request = c.req.WithContext((*reported)(c))
	if hops, route := c.tally.routes(); len(hops) > 1 {
		res.Header = res.Header.Clone()
		if res.Header == nil { // of a Reject hook's response
			res.Header = http.Header{}
		}
		res.Header.Set("Snubber-Route", provenance(hops, route))
	}
}

// reported is a call as the context of [http.Response.Request]: the caller's
// context with the call's Report in it. It does not carry the mark of nesting, so
// that a request made with it is a call of its own. The conversion of a pointer
// allocates nothing.
type reported call

func (r *reported) Deadline() (time.Time, bool) { return r.req.Context().Deadline() }
func (r *reported) Done() <-chan struct{}       { return r.req.Context().Done() }
func (r *reported) Err() error                  { return r.req.Context().Err() }

func (r *reported) Value(key any) any {
	if key == (reportedKey{}) {
		return r.tally.ownReport()
	}
	return r.req.Context().Value(key)
}

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

// reject gives the caller of the outermost Transport what stops it from trying
// again: an error, or to an SDK that retries errors a response in its own
// provider's shape.
func (t *Transport) reject(c *call, e *RejectedError) (*http.Response, error) {
	if t.Reject != nil {
		res, err := t.Reject(c.req, e)
		switch {
		case err != nil:
			if res != nil && res.Body != nil {
				res.Body.Close()
			}
			return nil, err
		case res != nil:
			if res.Body == nil {
				res.Body = http.NoBody
			}
			c.attachReport(res)
			return res, nil
		}
		return nil, e
	}
	if !retriesErrors(c.req.Header) {
		return nil, e
	}
	return c.errorResponse(e.status(), e.code(), e.Error(), e.RetryAfter), nil
}

// failureResponse is what an SDK that retries errors gets for a final failure
// without a response. The error's own text may hold a URL with a key in it, so
// the response has none of it.
func (c *call) failureResponse(o Outcome) *http.Response {
	if o.Class == TimedOut {
		return c.errorResponse(http.StatusGatewayTimeout, "snubber_timeout", "the API did not answer in time ("+o.Reason+")", 0)
	}
	return c.errorResponse(http.StatusBadGateway, "snubber_unreachable", "the API could not be reached ("+o.Reason+")", 0)
}

func (c *call) errorResponse(status int, code, message string, retryAfter time.Duration) *http.Response {
	res := newResponse(status, "application/json", dialect.Refusal(c.info.format, status, code, message))
	res.Header.Set("X-Should-Retry", "false")
	if retryAfter > 0 {
		res.Header.Set("Retry-After", strconv.Itoa(int(math.Ceil(retryAfter.Round(time.Millisecond).Seconds()))))
	}
	c.attachReport(res)
	return res
}

// newResponse returns a response that no server has sent.
func newResponse(status int, mediaType string, body []byte) *http.Response {
	return &http.Response{
		Status: strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {mediaType}, "Content-Length": {strconv.Itoa(len(body))}},
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}
}

// provenance is the hops as a response header, a list of RFC 9651: the routes in
// the order in which they were asked, each with its class, its reason and the
// number of its wire calls, and "answered" at the one whose answer this is.
func provenance(hops []RouteResult, route int) string {
	var b strings.Builder
	for i, h := range hops {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d;class=%s;calls=%d", h.Route, h.Outcome.Class, h.Attempts)
		if isToken(h.Outcome.Reason) {
			b.WriteString(";reason=" + h.Outcome.Reason)
		}
		if h.Route == route {
			b.WriteString(";answered")
		}
	}
	return b.String()
}

// isToken reports whether s is a token of RFC 9651, which reasons are that no
// Classify of the user's has written.
func isToken(s string) bool {
	for i, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || strings.IndexByte("0123456789_-.:/", c) < 0) {
			return false
		}
	}
	return s != ""
}
