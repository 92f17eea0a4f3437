package snubber_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// chunk is a piece of a body, that is there at a time since the body began. An
// error ends the body; a negative time never comes.
type chunk struct {
	at   time.Duration
	text string
	err  error
}

// flow is a body in memory that comes in pieces, one or less a Read. It knows
// no context: only Close wakes a Read that waits.
type flow struct {
	chunks []chunk
	start  time.Time

	mu     sync.Mutex
	gone   chan struct{}
	closed int
}

func newFlow(chunks ...chunk) *flow {
	return &flow{chunks: chunks, start: time.Now(), gone: make(chan struct{})}
}

func (f *flow) Read(p []byte) (int, error) {
	select {
	case <-f.gone:
		return 0, io.ErrClosedPipe
	default:
	}
	if len(f.chunks) == 0 {
		return 0, io.EOF
	}
	c := &f.chunks[0]
	var there <-chan time.Time
	if c.at >= 0 {
		timer := time.NewTimer(time.Until(f.start.Add(c.at)))
		defer timer.Stop()
		there = timer.C
	}
	select {
	case <-there:
	case <-f.gone:
		return 0, io.ErrClosedPipe
	}
	if c.err != nil {
		return 0, c.err
	}
	n := copy(p, c.text)
	if c.text = c.text[n:]; c.text == "" {
		f.chunks = f.chunks[1:]
	}
	return n, nil
}

func (f *flow) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed++; f.closed == 1 && f.gone != nil {
		close(f.gone)
	}
	return nil
}

// closes is how often the body has been closed.
func (f *flow) closes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

const (
	deltaEvent = "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n"
	doneEvent  = "data: [DONE]\n\n"
)

// sse answers with a stream that comes in the chunks.
func sse(chunks ...chunk) wire {
	return func(*http.Request) (*http.Response, error) {
		return reply(200, newFlow(chunks...), "Content-Type", "text/event-stream"), nil
	}
}

// inFlight is the number of permits that are held.
func inFlight(t testing.TB, l *snubber.Limiter) int {
	t.Helper()
	qs := l.Quotas()
	if len(qs) != 1 {
		t.Fatalf("%d queues, want 1", len(qs))
	}
	return qs[0].InFlight
}

// take reads once, of a body that has something.
func take(t testing.TB, body io.Reader) string {
	t.Helper()
	p := make([]byte, 4096)
	n, err := body.Read(p)
	if err != nil {
		t.Fatalf("Read = %d, %v, want bytes", n, err)
	}
	return string(p[:n])
}

// The terminal event of a stream gives the permit back, although neither EOF
// nor Close have come, and what comes after it passes as before.
func TestBodyTerminalEventReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const after = ": bye\n\n"
		tr := &snubber.Transport{
			Base:    sse(chunk{text: deltaEvent}, chunk{at: time.Second, text: doneEvent}, chunk{at: time.Minute, text: after}),
			Breaker: &snubber.Breaker{},
			Limiter: &snubber.Limiter{Concurrent: 1},
		}
		res, err := tr.RoundTrip(streamReq(t))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		take(t, res.Body)
		if n := inFlight(t, tr.Limiter); n != 1 {
			t.Fatalf("%d in flight in the middle of the stream, want 1", n)
		}
		take(t, res.Body)
		if n := inFlight(t, tr.Limiter); n != 0 {
			t.Errorf("%d in flight after the terminal event, want 0", n)
		}
		if c := circuitOf(t, tr.Breaker); c.Requests != 1 {
			t.Errorf("%d outcomes after the terminal event, want 1", c.Requests)
		}
		start := time.Now()
		next, err := tr.RoundTrip(streamReq(t))
		if err != nil || time.Since(start) != 0 {
			t.Fatalf("the next call: %v after %v, want at once", err, time.Since(start))
		}
		next.Body.Close()
		if got := slurp(t, res); got != after {
			t.Errorf("after the terminal event: %q, want %q", got, after)
		}
		if n := inFlight(t, tr.Limiter); n != 0 {
			t.Errorf("%d in flight at the end, want 0: each permit is given back once", n)
		}
	})
}

// Whatever ends a body gives the permit back at that moment: its end, its
// error, Close, the end of the caller's context.
func TestBodyEndReleases(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  chunk
		do   func(res *http.Response, cancel func())
	}{
		{"EOF", chunk{at: time.Second, err: io.EOF}, func(res *http.Response, _ func()) { io.Copy(io.Discard, res.Body) }},
		{"error", chunk{at: time.Second, err: syscall.ECONNRESET}, func(res *http.Response, _ func()) { io.Copy(io.Discard, res.Body) }},
		{"Close", chunk{at: -1}, func(res *http.Response, _ func()) { time.Sleep(time.Second); res.Body.Close() }},
		{"context", chunk{at: -1}, func(_ *http.Response, cancel func()) { time.Sleep(time.Second); cancel(); synctest.Wait() }},
		{"context in a Read", chunk{at: -1}, func(res *http.Response, cancel func()) {
			time.AfterFunc(time.Second, cancel)
			io.Copy(io.Discard, res.Body)
		}},
		{"Close in a Read", chunk{at: -1}, func(res *http.Response, _ func()) {
			time.AfterFunc(time.Second, func() { res.Body.Close() })
			io.Copy(io.Discard, res.Body)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := newFlow(chunk{text: "{"}, tt.end)
				tr := &snubber.Transport{Limiter: &snubber.Limiter{Concurrent: 1}, Base: wire(func(*http.Request) (*http.Response, error) {
					return reply(200, body), nil
				})}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				start := time.Now()
				res, err := tr.RoundTrip(newReq(t, "GET", "https://api.example.com/x", "").WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				take(t, res.Body)
				if n := inFlight(t, tr.Limiter); n != 1 {
					t.Fatalf("%d in flight, want 1", n)
				}
				tt.do(res, cancel)
				if n := inFlight(t, tr.Limiter); n != 0 || time.Since(start) != time.Second {
					t.Errorf("%d in flight after %v, want 0 after 1s", n, time.Since(start))
				}
				res.Body.Close()
				if n := inFlight(t, tr.Limiter); n != 0 {
					t.Errorf("%d in flight after Close, want 0", n)
				}
				if body.closes() == 0 {
					t.Error("the base's body is not closed")
				}
			})
		})
	}
}

// A body that nobody reads gives its permit back after the idle time, two
// minutes where there is none, and can be read all the same. The time runs
// from the last Read, and not while a Read waits.
func TestBodyUnreadReleases(t *testing.T) {
	for _, tt := range []struct {
		name    string
		timeout *snubber.Timeout
		want    time.Duration
	}{
		{"no Timeout", nil, 2 * time.Minute},
		{"default", &snubber.Timeout{}, 2 * time.Minute},
		{"10 s", &snubber.Timeout{Idle: 10 * time.Second}, 10 * time.Second},
		{"no Idle", &snubber.Timeout{Idle: -1}, 2 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{
					Base:    sse(chunk{text: deltaEvent}, chunk{at: tt.want * 5 / 2, text: deltaEvent}, chunk{at: tt.want * 5 / 2, text: doneEvent}),
					Timeout: tt.timeout, Limiter: &snubber.Limiter{Concurrent: 1}, Breaker: &snubber.Breaker{},
				}
				res, err := tr.RoundTrip(streamReq(t))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(tt.want - 1)
				got := take(t, res.Body) // which begins the time anew
				time.Sleep(tt.want - 1)
				if n := inFlight(t, tr.Limiter); n != 1 {
					t.Fatalf("%d in flight, want 1", n)
				}
				got += take(t, res.Body) // waits past the end of that time
				time.Sleep(tt.want - 1)
				if n := inFlight(t, tr.Limiter); n != 1 {
					t.Fatalf("%d in flight just before the idle time, want 1", n)
				}
				time.Sleep(1)
				synctest.Wait()
				if n := inFlight(t, tr.Limiter); n != 0 {
					t.Fatalf("%d in flight after the idle time, want 0", n)
				}
				time.Sleep(time.Hour)
				if got += slurp(t, res); got != deltaEvent+deltaEvent+doneEvent {
					t.Errorf("read %q, want all of it", got)
				}
				if c := circuitOf(t, tr.Breaker); c.Requests != 1 || c.Failures != 0 {
					t.Errorf("%d outcomes, %d failures, want a success", c.Requests, c.Failures)
				}
				if n := inFlight(t, tr.Limiter); n != 0 {
					t.Errorf("%d in flight at the end, want 0", n)
				}
			})
		})
	}
	t.Run("a Read that waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Base: sse(chunk{at: time.Hour, text: doneEvent}), Limiter: &snubber.Limiter{Concurrent: 1}}
			res, err := tr.RoundTrip(streamReq(t))
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Hour-1, func() {
				if n := inFlight(t, tr.Limiter); n != 1 {
					t.Errorf("%d in flight while a Read waits, want 1", n)
				}
			})
			slurp(t, res)
		})
	})
}

const (
	anthropicURL  = "https://api.example.com/v1/messages"
	messageStart  = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n"
	pingEvent     = "event: ping\ndata: {\"type\":\"ping\"}\n\n"
	textDelta     = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n"
	messageStop   = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	finishedEvent = "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
)

// A stream of a known kind that ends before its terminal event ends in
// io.ErrUnexpectedEOF and counts as a failure. What is not known, and what the
// caller had encoded, ends as it ends.
func TestBodyTruncated(t *testing.T) {
	for _, tt := range []struct {
		name, url, body string
		header          []string
		text            string
		truncated       bool
	}{
		{"openai whole", chatURL, streamBody, nil, deltaEvent + doneEvent, false},
		{"openai cut", chatURL, streamBody, nil, deltaEvent, true},
		{"openai cut in an event", chatURL, streamBody, nil, deltaEvent + "data: {\"ch", true},
		{"openai finished", chatURL, streamBody, nil, deltaEvent + finishedEvent, false},
		{"openai empty", chatURL, streamBody, nil, "", true},
		{"anthropic whole", anthropicURL, streamBody, nil, messageStart + textDelta + messageStop, false},
		{"anthropic cut", anthropicURL, streamBody, nil, messageStart + textDelta, true},
		{"unknown path", "https://api.example.com/events", streamBody, nil, "data: 1\n\n", false},
		{"encoded", chatURL, streamBody, []string{"Content-Encoding", "br"}, "\x1b\x03", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Breaker: &snubber.Breaker{}, Base: wire(func(*http.Request) (*http.Response, error) {
					return reply(200, strings.NewReader(tt.text), append(tt.header, "Content-Type", "text/event-stream")...), nil
				})}
				ctx, report := snubber.WithReport(t.Context())
				res, err := tr.RoundTrip(newReq(t, "POST", tt.url, tt.body).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(res.Body)
				if string(got) != tt.text {
					t.Errorf("read %q, want %q", got, tt.text)
				}
				if tt.truncated != errors.Is(err, io.ErrUnexpectedEOF) || !tt.truncated && err != nil {
					t.Errorf("body ends in %v, want truncated = %v", err, tt.truncated)
				}
				if _, again := res.Body.Read(make([]byte, 1)); !tt.truncated && again != io.EOF || tt.truncated && again != err {
					t.Errorf("the next Read = %v, want the same end", again)
				}
				res.Body.Close()
				failures := 0
				if tt.truncated {
					failures = 1
				}
				if c := circuitOf(t, tr.Breaker); c.Requests != 1 || c.Failures != failures {
					t.Errorf("%d outcomes, %d failures, want %d", c.Requests, c.Failures, failures)
				}
				if ok := report.Outcome.Class == snubber.Success; ok == tt.truncated {
					t.Errorf("outcome %+v, want truncated = %v", report.Outcome, tt.truncated)
				}
			})
		})
	}
}

// An error event in the middle of a stream is the verdict, whether the caller
// reads to the end or closes as soon as it has seen it; the bytes pass
// unchanged.
func TestBodyErrorEvent(t *testing.T) {
	const (
		overloaded = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
		limited    = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow\"}}\n\n"
		server     = "data: {\"error\":{\"message\":\"The server had an error\",\"type\":\"server_error\",\"code\":null}}\n\n"
	)
	for _, tt := range []struct {
		name, url, text    string
		class              snubber.Class
		requests, failures int
	}{
		{"anthropic overloaded", anthropicURL, messageStart + textDelta + overloaded, snubber.Overloaded, 1, 1},
		{"anthropic limited", anthropicURL, messageStart + textDelta + limited, snubber.RateLimited, 0, 0},
		{"openai", chatURL, deltaEvent + server, snubber.ServerError, 1, 1},
		{"openai and then done", chatURL, deltaEvent + server + doneEvent, snubber.ServerError, 1, 1},
	} {
		for how, end := range map[string]func(io.Reader){"read on": func(r io.Reader) { io.Copy(io.Discard, r) }, "closed": func(io.Reader) {}} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tr := &snubber.Transport{Base: sse(chunk{text: tt.text}), Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{Concurrent: 1}}
					ctx, report := snubber.WithReport(t.Context())
					res, err := tr.RoundTrip(newReq(t, "POST", tt.url, streamBody).WithContext(ctx))
					if err != nil || res.StatusCode != 200 {
						t.Fatalf("RoundTrip = %v, %v, want 200", res, err)
					}
					if got := take(t, res.Body); got != tt.text {
						t.Errorf("read %q, want %q", got, tt.text)
					}
					end(res.Body)
					res.Body.Close()
					if c := circuitOf(t, tr.Breaker); c.Requests != tt.requests || c.Failures != tt.failures {
						t.Errorf("%d outcomes, %d failures, want %d and %d", c.Requests, c.Failures, tt.requests, tt.failures)
					}
					if got := report.Outcome.Class; got != tt.class {
						t.Errorf("outcome %v, want %v", got, tt.class)
					}
					if n := inFlight(t, tr.Limiter); n != 0 {
						t.Errorf("%d in flight, want 0", n)
					}
				})
			})
		}
	}
}

// reads is a body whose Reads return what the list says.
type reads struct {
	list []read
	io.Closer
}

type read struct {
	text string
	err  error
}

func (r *reads) Read(p []byte) (int, error) {
	if len(r.list) == 0 {
		return 0, io.EOF
	}
	next := r.list[0]
	r.list = r.list[1:]
	return copy(p, next.text), next.err
}

// Read boundaries are the server's own: nothing is joined, split or held back,
// and bytes that come together with the end or an error come together with it.
func TestBodyReadBoundaries(t *testing.T) {
	want := []read{{text: "data: {"}, {}, {text: "\"choices\":[]}\n"}, {text: "\n"}, {text: deltaEvent + doneEvent[:3]}, {text: doneEvent[3:], err: io.EOF}}
	for _, stack := range []*snubber.Transport{{}, snubber.New(nil)} {
		stack.Base = wire(func(*http.Request) (*http.Response, error) {
			return reply(200, &reads{append([]read(nil), want...), io.NopCloser(nil)}, "Content-Type", "text/event-stream"), nil
		})
		res, err := stack.RoundTrip(streamReq(t))
		if err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 1<<16)
		for i, w := range want {
			if n, err := res.Body.Read(p); string(p[:n]) != w.text || err != w.err {
				t.Errorf("Read %d = %q, %v, want %q, %v", i, p[:n], err, w.text, w.err)
			}
		}
		res.Body.Close()
	}
}

// The error of a body is the base's own, also to errors.Is.
func TestBodyError(t *testing.T) {
	cause := errors.New("cut")
	tr := snubber.New(wire(func(*http.Request) (*http.Response, error) {
		return reply(200, &reads{[]read{{text: "ab", err: cause}}, io.NopCloser(nil)}), nil
	}))
	res, err := tr.RoundTrip(newReq(t, "GET", "https://api.example.com/x", ""))
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10)
	if n, err := res.Body.Read(p); n != 2 || err != cause {
		t.Errorf("Read = %d, %v, want 2 and the base's error", n, err)
	}
	if n, err := res.Body.Read(p); n != 0 || err != cause {
		t.Errorf("the next Read = %d, %v, want 0 and the same error", n, err)
	}
}

// A closed body closes the base's, once or more, and gives nothing any more.
func TestBodyClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := newFlow(chunk{text: "abc"}, chunk{text: "def"})
		tr := snubber.New(wire(func(*http.Request) (*http.Response, error) { return reply(200, body), nil }))
		res, err := tr.RoundTrip(newReq(t, "GET", "https://api.example.com/x", ""))
		if err != nil {
			t.Fatal(err)
		}
		take(t, res.Body)
		for range 3 {
			if err := res.Body.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
		}
		if n, err := res.Body.Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
			t.Errorf("Read after Close = %d, %v, want an error that is no clean end", n, err)
		}
		if body.closes() == 0 {
			t.Error("the base's body is not closed")
		}
	})
}

// socket is the body of an upgrade.
type socket struct {
	*flow
	sent bytes.Buffer
}

func (s *socket) Write(p []byte) (int, error) { return s.sent.Write(p) }

// The body of a 101 response can be written to, and is not looked into: what
// looks like a broken stream there is none.
func TestBodyUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &socket{flow: newFlow(chunk{text: deltaEvent})}
		tr := snubber.New(wire(func(*http.Request) (*http.Response, error) {
			return reply(101, s, "Upgrade", "websocket", "Connection", "Upgrade", "Content-Type", "text/event-stream"), nil
		}))
		res, err := tr.RoundTrip(streamReq(t))
		if err != nil {
			t.Fatal(err)
		}
		w, ok := res.Body.(io.Writer)
		if !ok {
			t.Fatal("the body has no Write")
		}
		if n, err := w.Write([]byte("ping")); n != 4 || err != nil || s.sent.String() != "ping" {
			t.Errorf("Write = %d, %v, sent %q", n, err, s.sent.String())
		}
		if got := slurp(t, res); got != deltaEvent {
			t.Errorf("read %q, want %q", got, deltaEvent)
		}
		if s.closes() == 0 {
			t.Error("the base's body is not closed")
		}
	})
}

// Responses without a body keep what they say of its length, end cleanly and
// hold nothing.
func TestBodyNone(t *testing.T) {
	for _, tt := range []struct {
		method string
		status int
		length int64
	}{
		{"HEAD", 200, 1000}, {"HEAD", 404, 1000}, {"GET", 204, 0}, {"GET", 304, 500}, {"GET", 200, 0}, {"POST", 503, 0},
	} {
		for name, body := range map[string]io.Reader{"NoBody": http.NoBody, "nil": nil, "empty": strings.NewReader("")} {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{Concurrent: 1}, Timeout: &snubber.Timeout{}, Base: wire(func(*http.Request) (*http.Response, error) {
					res := reply(tt.status, body)
					if body == nil {
						res.Body = nil
					}
					res.ContentLength = tt.length
					return res, nil
				})}
				res, err := tr.RoundTrip(newReq(t, tt.method, "https://api.example.com/x", ""))
				if err != nil || res.StatusCode != tt.status || res.ContentLength != tt.length {
					t.Fatalf("%s %d, %s: %+v, %v", tt.method, tt.status, name, res, err)
				}
				if name != "empty" {
					if n := inFlight(t, tr.Limiter); n != 0 {
						t.Errorf("%s %d, %s: %d in flight with the header, want 0", tt.method, tt.status, name, n)
					}
				}
				if got := slurp(t, res); got != "" {
					t.Errorf("%s %d, %s: body %q", tt.method, tt.status, name, got)
				}
				if n := inFlight(t, tr.Limiter); n != 0 {
					t.Errorf("%s %d, %s: %d in flight, want 0", tt.method, tt.status, name, n)
				}
			})
		}
	}
}
