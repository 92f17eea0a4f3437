package wiretest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Func is a round-tripper that reads and closes the request's body, and then
// calls the function.
type Func func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f Func) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	return f(req)
}

// RawFunc is a round-tripper that calls the function, which has to close the
// request's body.
type RawFunc func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f RawFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// Hang waits for the end of the request's context, as a black hole does.
func Hang(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// SSE returns a round-tripper that answers with an event stream of the chunks.
func SSE(chunks ...Chunk) Func {
	return func(*http.Request) (*http.Response, error) {
		return Response(200, NewBody(chunks...), "Content-Type", "text/event-stream"), nil
	}
}

// Latencies is a round-tripper that answers each request after a time of its
// own, and counts the requests.
type Latencies struct {
	Times  []time.Duration                // one a request, the last one for ever
	Status map[int]int                    // by the number of the request, from 0; none: 200
	Before func(n int, req *http.Request) // called before anything else, if not nil

	Mu       sync.Mutex // guards the counters
	Sent     int
	Canceled int // requests that their context ended
}

// RoundTrip waits and answers. It fails if the request's body is neither
// [ChatBody] nor [BackgroundBody].
func (l *Latencies) RoundTrip(req *http.Request) (*http.Response, error) {
	l.Mu.Lock()
	n := l.Sent
	l.Sent++
	l.Mu.Unlock()
	if l.Before != nil {
		l.Before(n, req)
	}
	if req.Body != nil {
		if b, err := io.ReadAll(req.Body); err != nil || string(b) != ChatBody && string(b) != BackgroundBody {
			return nil, errors.New("a broken body")
		}
		req.Body.Close()
	}
	if err := Sleep(req.Context(), l.Times[min(n, len(l.Times)-1)]); err != nil {
		l.Mu.Lock()
		l.Canceled++
		l.Mu.Unlock()
		return nil, err
	}
	status := 200
	if s := l.Status[n]; s != 0 {
		status = s
	}
	return Response(status, strings.NewReader(`{"usage":{"prompt_tokens":1,"completion_tokens":1}}`)), nil
}

// WarmUp makes 110 calls. With the times of [WarmTimes] they are enough to know
// the latency of a key, and earn enough budget for hedges.
func WarmUp(t testing.TB, rt http.RoundTripper) {
	t.Helper()
	for range 110 {
		if _, err := Fetch(rt, Chat(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// WarmTimes returns the times of the calls of [WarmUp], followed by the others.
// The 95th percentile of the first 110 is a second, and none of them is hedged.
func WarmTimes(then ...time.Duration) []time.Duration {
	return slices.Concat(slices.Repeat([]time.Duration{time.Second}, 49), slices.Repeat([]time.Duration{time.Second / 2}, 61), then)
}

// RequestLog is a round-tripper that keeps the requests it gets, with their
// bodies read. It fails if GetBody or ContentLength contradict the body.
type RequestLog struct {
	Next     http.RoundTripper // nil: an empty 200
	Requests []*http.Request
	Bodies   []string
}

// RoundTrip keeps the request and passes it to Next.
func (l *RequestLog) RoundTrip(req *http.Request) (*http.Response, error) {
	l.Requests = append(l.Requests, req)
	var b []byte
	if req.Body != nil {
		var err error
		if b, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body.Close()
		if req.GetBody != nil {
			again, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			if c, _ := io.ReadAll(again); !bytes.Equal(b, c) {
				return nil, errors.New("GetBody gives another body")
			}
		}
		if req.ContentLength >= 0 && req.ContentLength != int64(len(b)) {
			return nil, errors.New("ContentLength is of another body")
		}
	}
	l.Bodies = append(l.Bodies, string(b))
	if l.Next == nil {
		return Response(200, strings.NewReader("{}")), nil
	}
	return l.Next.RoundTrip(req)
}

// ReadyBase is a round-tripper that says when it is ready.
type ReadyBase struct {
	http.RoundTripper
	At  time.Time
	Err error
}

// ReadyAt returns At and Err.
func (r *ReadyBase) ReadyAt(*http.Request) (time.Time, error) { return r.At, r.Err }

// CountedBase is a [ReadyBase] that counts its calls. Without a RoundTripper it
// returns Err, or an empty 200.
type CountedBase struct {
	ReadyBase
	Calls int
}

// RoundTrip counts the call and answers it.
func (c *CountedBase) RoundTrip(req *http.Request) (*http.Response, error) {
	c.Calls++
	if c.RoundTripper != nil {
		return c.RoundTripper.RoundTrip(req)
	}
	if req.Body != nil {
		req.Body.Close()
	}
	if c.Err != nil {
		return nil, c.Err
	}
	return Response(200, strings.NewReader("{}")), nil
}

// IdleCounter is a round-tripper that counts the calls of CloseIdleConnections.
type IdleCounter struct {
	http.RoundTripper
	Closed int
}

// CloseIdleConnections counts the call.
func (c *IdleCounter) CloseIdleConnections() { c.Closed++ }

// OpenBodies is a round-tripper that counts the response bodies that are open.
type OpenBodies struct {
	Base http.RoundTripper
	Open atomic.Int64
}

// RoundTrip passes the request to Base.
func (b *OpenBodies) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := b.Base.RoundTrip(req)
	if err == nil {
		b.Open.Add(1)
		res.Body = &WatchedBody{ReadCloser: res.Body, Closing: sync.OnceFunc(func() { b.Open.Add(-1) })}
	}
	return res, err
}

// Serve starts a server on a socket, and returns its URL and a base of its own.
// Both are closed when the test ends.
func Serve(t testing.TB, h http.HandlerFunc) (url string, base *http.Transport) {
	t.Helper()
	srv := httptest.NewServer(h)
	base = &http.Transport{}
	t.Cleanup(func() {
		base.CloseIdleConnections()
		srv.Close()
	})
	return srv.URL, base
}
