package snubber_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A stream of a known format that ends before its terminal event ends in
// io.ErrUnexpectedEOF and counts as a failure. An unknown format, or one that
// the caller had encoded, ends as Base ends it.
func TestStreamTruncated(t *testing.T) {
	for _, tt := range []struct {
		name, url, body string
		header          []string
		text            string
		truncated       bool
	}{
		{"openai whole", wiretest.ChatURL, wiretest.StreamBody, nil, wiretest.DeltaEvent + wiretest.DoneEvent, false},
		{"openai cut", wiretest.ChatURL, wiretest.StreamBody, nil, wiretest.DeltaEvent, true},
		{"openai cut in an event", wiretest.ChatURL, wiretest.StreamBody, nil, wiretest.DeltaEvent + "data: {\"ch", true},
		{"openai finished", wiretest.ChatURL, wiretest.StreamBody, nil, wiretest.DeltaEvent + wiretest.FinishedEvent, false},
		{"openai empty", wiretest.ChatURL, wiretest.StreamBody, nil, "", true},
		{"anthropic whole", wiretest.AnthropicURL, wiretest.StreamBody, nil, wiretest.MessageStart + wiretest.TextDelta + wiretest.MessageStop, false},
		{"anthropic cut", wiretest.AnthropicURL, wiretest.StreamBody, nil, wiretest.MessageStart + wiretest.TextDelta, true},
		{"unknown path", "https://api.example.com/events", wiretest.StreamBody, nil, "data: 1\n\n", false},
		{"encoded", wiretest.ChatURL, wiretest.StreamBody, []string{"Content-Encoding", "br"}, "\x1b\x03", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Breaker: &snubber.Breaker{}, Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
					return wiretest.Response(200, strings.NewReader(tt.text), append(tt.header, "Content-Type", "text/event-stream")...), nil
				})}
				ctx, report := snubber.WithReport(t.Context())
				res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", tt.url, tt.body).WithContext(ctx))
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
				if ok := report.Load().Outcome.Class == snubber.Success; ok == tt.truncated {
					t.Errorf("outcome %+v, want truncated = %v", report.Load().Outcome, tt.truncated)
				}
			})
		})
	}
}

// A document that ends before it is complete is a failure at any length. If the
// document is a stream itself, it ends in an error, because its parts have been
// used. Otherwise it ends as it came, for no parser accepts half a document.
func TestStreamTruncatedDocument(t *testing.T) {
	const first = `[{"candidates":[{"content":{"parts":[{"text":"Hel"}]}}]}`
	long := `{"choices":[{"message":{"content":"` + strings.Repeat("x", 100_000)
	for _, tt := range []struct {
		name, path, body string
		chunks           []wiretest.Chunk
		err              error
		failures         int
	}{
		{"an array of events", wiretest.StreamPath("gemini"), "{}", []wiretest.Chunk{{Text: first}, {Text: `,{"candidates":[]}]`}}, nil, 0},
		{"cut in an event", wiretest.StreamPath("gemini"), "{}", []wiretest.Chunk{{Text: first}, {Text: `,{"candi`}}, io.ErrUnexpectedEOF, 1},
		{"cut between events", wiretest.StreamPath("gemini"), "{}", []wiretest.Chunk{{Text: first}}, io.ErrUnexpectedEOF, 1},
		{"an answer", "/v1/chat/completions", wiretest.ChatBody, []wiretest.Chunk{{Text: long}, {Text: `"}}]}`}}, nil, 0},
		{"half an answer", "/v1/chat/completions", wiretest.ChatBody, []wiretest.Chunk{{Text: long}}, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Breaker: &snubber.Breaker{}, Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
					return wiretest.Response(200, wiretest.NewBody(tt.chunks...), "Content-Type", "application/json"), nil
				})}
				res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", "https://api.example.com"+tt.path, tt.body))
				if err != nil {
					t.Fatal(err)
				}
				n, err := io.Copy(io.Discard, res.Body)
				res.Body.Close()
				want := 0
				for _, c := range tt.chunks {
					want += len(c.Text)
				}
				if int(n) != want || !errors.Is(err, tt.err) {
					t.Errorf("read %d, %v, want %d, %v", n, err, want, tt.err)
				}
				if c := circuitOf(t, tr.Breaker); c.Requests != 1 || c.Failures != tt.failures {
					t.Errorf("%d outcomes, %d failures, want 1 and %d", c.Requests, c.Failures, tt.failures)
				}
			})
		})
	}
}

// An error event within a stream is the verdict, whether the caller reads to
// the end or closes after the event. The bytes pass unchanged.
func TestStreamErrorEventIsVerdict(t *testing.T) {
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
		{"anthropic overloaded", wiretest.AnthropicURL, wiretest.MessageStart + wiretest.TextDelta + overloaded, snubber.Overloaded, 1, 1},
		{"anthropic limited", wiretest.AnthropicURL, wiretest.MessageStart + wiretest.TextDelta + limited, snubber.RateLimited, 0, 0},
		{"openai", wiretest.ChatURL, wiretest.DeltaEvent + server, snubber.ServerError, 1, 1},
		{"openai and then done", wiretest.ChatURL, wiretest.DeltaEvent + server + wiretest.DoneEvent, snubber.ServerError, 1, 1},
	} {
		for how, end := range map[string]func(io.Reader){"read on": func(r io.Reader) { io.Copy(io.Discard, r) }, "closed": func(io.Reader) {}} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tr := &snubber.Transport{Base: wiretest.SSE(wiretest.Chunk{Text: tt.text}), Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{MaxConcurrent: 1}}
					ctx, report := snubber.WithReport(t.Context())
					res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", tt.url, wiretest.StreamBody).WithContext(ctx))
					if err != nil || res.StatusCode != 200 {
						t.Fatalf("RoundTrip = %v, %v, want 200", res, err)
					}
					if got := wiretest.ReadOnce(t, res.Body); got != tt.text {
						t.Errorf("read %q, want %q", got, tt.text)
					}
					end(res.Body)
					res.Body.Close()
					if c := circuitOf(t, tr.Breaker); c.Requests != tt.requests || c.Failures != tt.failures {
						t.Errorf("%d outcomes, %d failures, want %d and %d", c.Requests, c.Failures, tt.requests, tt.failures)
					}
					if got := report.Load().Outcome.Class; got != tt.class {
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

// reads is a body whose Reads return the entries of the list.
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

// Read boundaries are the server's own: no Reads are joined, split or held
// back. Bytes that come together with the end or an error are returned together
// with it.
func TestStreamBodyReadBoundaries(t *testing.T) {
	want := []read{{text: "data: {"}, {}, {text: "\"choices\":[]}\n"}, {text: "\n"}, {text: wiretest.DeltaEvent + wiretest.DoneEvent[:3]}, {text: wiretest.DoneEvent[3:], err: io.EOF}}
	for _, stack := range []*snubber.Transport{{}, snubber.New(nil)} {
		stack.Base = wiretest.Func(func(*http.Request) (*http.Response, error) {
			return wiretest.Response(200, &reads{append([]read(nil), want...), io.NopCloser(nil)}, "Content-Type", "text/event-stream"), nil
		})
		res, err := stack.RoundTrip(wiretest.ChatStream(t))
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

// The error of a body is Base's own, also for errors.Is.
func TestStreamBodyError(t *testing.T) {
	cause := errors.New("cut")
	tr := snubber.New(wiretest.Func(func(*http.Request) (*http.Response, error) {
		return wiretest.Response(200, &reads{[]read{{text: "ab", err: cause}}, io.NopCloser(nil)}), nil
	}))
	res, err := tr.RoundTrip(wiretest.NewRequest(t, "GET", "https://api.example.com/x", ""))
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

// Closing a body, once or more, closes Base's body. A closed body returns
// nothing more.
func TestStreamBodyClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := wiretest.NewBody(wiretest.Chunk{Text: "abc"}, wiretest.Chunk{Text: "def"})
		tr := snubber.New(wiretest.Func(func(*http.Request) (*http.Response, error) { return wiretest.Response(200, body), nil }))
		res, err := tr.RoundTrip(wiretest.NewRequest(t, "GET", "https://api.example.com/x", ""))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadOnce(t, res.Body)
		for range 3 {
			if err := res.Body.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
		}
		if n, err := res.Body.Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
			t.Errorf("Read after Close = %d, %v, want an error that is no clean end", n, err)
		}
		if body.Closes() == 0 {
			t.Error("the base's body is not closed")
		}
	})
}

// A Read after Close returns no bytes of the response, prefetched or not, and
// no clean end, whatever Base's body returns.
func TestStreamBodyReadAfterClose(t *testing.T) {
	for _, req := range []*http.Request{wiretest.ChatStream(t), wiretest.NewRequest(t, "GET", "https://api.example.com/x", "")} {
		tr := &snubber.Transport{Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
			return wiretest.Response(200, strings.NewReader(wiretest.DeltaEvent+wiretest.DoneEvent), "Content-Type", "text/event-stream"), nil
		})}
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if n, err := res.Body.Read(make([]byte, 10)); n != 0 || err != http.ErrBodyReadAfterClose {
			t.Errorf("%s: Read = %d, %v", req.Method, n, err)
		}
	}
}

// The part that was seen decides the outcome of a body that the caller closes
// early. Content has proved that the service works; a preamble too long to hold
// has not.
func TestStreamBodyClosedEarly(t *testing.T) {
	for _, tt := range []struct {
		name string
		base wiretest.Func
		read bool
		want int
	}{
		{"before it is read", wiretest.SSE(wiretest.Chunk{Text: wiretest.TextDelta}, wiretest.Chunk{At: -1}), false, 1},
		{"after a stream's content", wiretest.SSE(wiretest.Chunk{Text: wiretest.TextDelta}, wiretest.Chunk{At: -1}), true, 1},
		{"behind a preamble", wiretest.SSE(wiretest.Chunk{Text: strings.Repeat(wiretest.MessageStart, 500)}, wiretest.Chunk{At: -1}), true, 0},
		{"before all of an answer", func(*http.Request) (*http.Response, error) {
			return wiretest.Response(200, strings.NewReader("{}"), "Content-Type", "application/json"), nil
		}, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Base: tt.base, Breaker: &snubber.Breaker{}}
				res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", wiretest.AnthropicURL, wiretest.StreamBody))
				if err != nil {
					t.Fatal(err)
				}
				if tt.read {
					wiretest.ReadOnce(t, res.Body)
				}
				res.Body.Close()
				if c := circuitOf(t, tr.Breaker); c.Requests != tt.want || c.Failures != 0 {
					t.Errorf("%d outcomes, %d failures, want %d and none", c.Requests, c.Failures, tt.want)
				}
			})
		})
	}
}

// socket is the body of an upgrade.
type socket struct {
	*wiretest.Body
	sent bytes.Buffer
}

func (s *socket) Write(p []byte) (int, error) { return s.sent.Write(p) }

// The body of a 101 response can be written to and is not inspected. Bytes that
// look like a broken stream are not one there.
func TestStreamBodyUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &socket{Body: wiretest.NewBody(wiretest.Chunk{Text: wiretest.DeltaEvent})}
		tr := snubber.New(wiretest.Func(func(*http.Request) (*http.Response, error) {
			return wiretest.Response(101, s, "Upgrade", "websocket", "Connection", "Upgrade", "Content-Type", "text/event-stream"), nil
		}))
		res, err := tr.RoundTrip(wiretest.ChatStream(t))
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
		if got := wiretest.ReadAll(t, res); got != wiretest.DeltaEvent {
			t.Errorf("read %q, want %q", got, wiretest.DeltaEvent)
		}
		if s.Closes() == 0 {
			t.Error("the base's body is not closed")
		}
	})
}

// Responses without a body keep their declared length, end cleanly and hold
// nothing.
func TestStreamBodyNone(t *testing.T) {
	for _, tt := range []struct {
		method string
		status int
		length int64
	}{
		{"HEAD", 200, 1000}, {"HEAD", 404, 1000}, {"GET", 204, 0}, {"GET", 304, 500}, {"GET", 200, 0}, {"POST", 503, 0},
	} {
		for name, body := range map[string]io.Reader{"NoBody": http.NoBody, "nil": nil, "empty": strings.NewReader("")} {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{MaxConcurrent: 1}, Timeout: &snubber.Timeout{}, Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
					res := wiretest.Response(tt.status, body)
					if body == nil {
						res.Body = nil
					}
					res.ContentLength = tt.length
					return res, nil
				})}
				res, err := tr.RoundTrip(wiretest.NewRequest(t, tt.method, "https://api.example.com/x", ""))
				if err != nil || res.StatusCode != tt.status || res.ContentLength != tt.length {
					t.Fatalf("%s %d, %s: %+v, %v", tt.method, tt.status, name, res, err)
				}
				if name != "empty" {
					if n := inFlight(t, tr.Limiter); n != 0 {
						t.Errorf("%s %d, %s: %d in flight with the header, want 0", tt.method, tt.status, name, n)
					}
				}
				if got := wiretest.ReadAll(t, res); got != "" {
					t.Errorf("%s %d, %s: body %q", tt.method, tt.status, name, got)
				}
				if n := inFlight(t, tr.Limiter); n != 0 {
					t.Errorf("%s %d, %s: %d in flight, want 0", tt.method, tt.status, name, n)
				}
			})
		}
	}
}

// leaver is a body whose caller cancels during a Read. The body notices that
// before the call does.
type leaver struct {
	ctx *wiretest.LateContext
	err error
}

func (b leaver) Read([]byte) (int, error) { close(b.ctx.Ended); return 0, b.err }
func (b leaver) Close() error             { return nil }

// An error after the end of the caller's context is the caller's end, whatever
// error Base returns. It does not count against the service.
func TestStreamBodyErrorOfCallersEnd(t *testing.T) {
	ctx, cause := &wiretest.LateContext{Context: t.Context(), Ended: make(chan struct{})}, errors.New("stream closed")
	tr := &snubber.Transport{Breaker: &snubber.Breaker{}, Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
		return wiretest.Response(200, leaver{ctx, cause}), nil
	})}
	res, err := tr.RoundTrip(wiretest.NewRequest(t, "GET", "https://api.example.com/x", "").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := res.Body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
		t.Errorf("Read = %v, want Canceled and the base's error", err)
	}
	if c := circuitOf(t, tr.Breaker); c.Requests != 0 {
		t.Errorf("%d outcomes, want none", c.Requests)
	}
	res.Body.Close()
}

// The cache does not store a body that can only be assumed to be complete, or
// that is called a failure.
func TestStreamBodyCachedOnlyIfComplete(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		class      snubber.Class
		kept       bool
	}{
		{"whole", wiretest.DeltaEvent + wiretest.DoneEvent, snubber.Success, true},
		{"finished", wiretest.DeltaEvent + wiretest.FinishedEvent, snubber.Success, false},
		{"of an unknown kind", "data: {\"x\":1}\n\n", snubber.Success, false},
		{"called a failure", wiretest.DeltaEvent + wiretest.DoneEvent, snubber.Invalid, false},
	} {
		base := wiretest.Play(wiretest.Step{Header: wiretest.Header("Content-Type", "text/event-stream"), Body: tt.text})
		tr := &snubber.Transport{Base: base, Cache: &snubber.Cache{PromptTTL: time.Hour}, Classify: func(*http.Request, *http.Response, error) snubber.Outcome {
			return snubber.Outcome{Class: tt.class}
		}}
		for range 2 {
			res, err := tr.RoundTrip(wiretest.ChatStream(t))
			if err != nil {
				t.Fatal(err)
			}
			if got := wiretest.ReadAll(t, res); got != tt.text {
				t.Errorf("%s: read %q", tt.name, got)
			}
		}
		if n := base.Sent(); (n == 1) != tt.kept {
			t.Errorf("%s: %d wire calls, want it kept: %v", tt.name, n, tt.kept)
		}
	}
}
