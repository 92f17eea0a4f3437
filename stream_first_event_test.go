package snubber_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

const (
	overloadedEvent = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
	roleEvent       = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"
)

// A failure before the first content is retried like any other failure. The
// caller sees only the response that follows.
func TestStreamFirstEventFailureIsRetried(t *testing.T) {
	const (
		sseType  = "text/event-stream"
		jsonType = "application/json"
		unary    = `{"model":"m","messages":[]}`
	)
	forever := chunk{at: -1}
	for _, tt := range []struct {
		name, url, body, kind string
		chunks                []chunk
		class                 snubber.Class
		reason                string
		after                 time.Duration // the verdict
	}{
		{"overload first", anthropicURL, streamBody, sseType, []chunk{{text: overloadedEvent}, forever}, snubber.Overloaded, "overloaded_error", 0},
		{"overload after a preamble", anthropicURL, streamBody, sseType, []chunk{{text: messageStart}, {at: time.Second, text: pingEvent}, {at: 2 * time.Second, text: overloadedEvent}, forever}, snubber.Overloaded, "overloaded_error", 2 * time.Second},
		{"error after a role", chatURL, streamBody, sseType, []chunk{{text: ": wait\n\n"}, {text: roleEvent}, {text: "data: {\"error\":{\"code\":\"server_error\"}}\n\n"}, forever}, snubber.ServerError, "server_error", 0},
		{"an empty stream", chatURL, streamBody, sseType, nil, snubber.Unreachable, "truncated", 0},
		{"a stream of comments", chatURL, streamBody, sseType, []chunk{{text: ": wait\n\n"}}, snubber.Unreachable, "truncated", 0},
		{"cut after the preamble", anthropicURL, streamBody, sseType, []chunk{{text: messageStart}}, snubber.Unreachable, "truncated", 0},
		{"cut in the first event", anthropicURL, streamBody, sseType, []chunk{{text: textDelta[:40]}}, snubber.Unreachable, "truncated", 0},
		{"reset", anthropicURL, streamBody, sseType, []chunk{{text: messageStart}, {at: time.Second, err: syscall.ECONNRESET}}, snubber.Unreachable, "reset", time.Second},
		{"content and a reset in one Read", anthropicURL, streamBody, sseType, []chunk{{text: messageStart}, {at: time.Second, text: textDelta, err: syscall.ECONNRESET}}, snubber.Unreachable, "reset", time.Second},
		{"an empty stream as JSON", chatURL, streamBody, jsonType, nil, snubber.Unreachable, "truncated", 0},
		{"a page as a stream", chatURL, streamBody, sseType, []chunk{{text: "\n<!DOCTYPE html>"}, forever}, snubber.ServerError, "html", 0},
		{"a page", chatURL, streamBody, "text/html; charset=utf-8", []chunk{{text: "<html>"}, forever}, snubber.ServerError, "html", 0},
		{"a JSON error as a stream", chatURL, streamBody, sseType, []chunk{{text: "{\"error\":"}, {at: time.Second, text: "{\"message\":\"x\",\"code\":\"server_error\"}}"}, forever}, snubber.ServerError, "server_error", time.Second},
		{"a JSON error in place of a stream", chatURL, streamBody, jsonType, []chunk{{text: "{\"error\":{\"code\":502}}"}, forever}, snubber.ServerError, "http_502", 0},
		{"first content too late", anthropicURL, streamBody, sseType, []chunk{{text: messageStart}, forever}, snubber.TimedOut, "timeout_first_event", time.Minute},
		{"silence", anthropicURL, streamBody, sseType, []chunk{forever}, snubber.TimedOut, "timeout_idle", 40 * time.Second},
		{"a unary error", chatURL, unary, jsonType, []chunk{{text: "\n\n{\"error\":{\"code\":502}"}, {at: time.Second, text: "}"}, forever}, snubber.ServerError, "http_502", time.Second},
		{"an error behind an answer", chatURL, unary, jsonType, []chunk{{text: "{\"choices\":[{\"message\":{\"content\":\"half\"},\"error\":{\"code\":502}}]}"}, forever}, snubber.ServerError, "http_502", 0},
		{"a unary error as text", chatURL, unary, "text/plain", []chunk{{text: "{\"error\":{\"code\":502}}"}, forever}, snubber.ServerError, "http_502", 0},
		{"half a document", chatURL, unary, jsonType, []chunk{{text: "{\"choices\":[{\"mess"}}, snubber.Unreachable, "truncated", 0},
		{"half a document and a reset", chatURL, unary, jsonType, []chunk{{text: "{\"choices\":[{\"mess"}, {err: syscall.ECONNRESET}}, snubber.Unreachable, "reset", 0},
		{"a document and a reset in one Read", chatURL, unary, jsonType, []chunk{{text: "{\"choices\":[]}", err: syscall.ECONNRESET}}, snubber.Unreachable, "reset", 0},
		{"blank lines and no document", chatURL, unary, jsonType, []chunk{{text: "\n"}, {at: time.Second, text: "\n"}, {at: 10 * time.Second, err: io.EOF}}, snubber.Unreachable, "truncated", 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const answer = "data: [DONE]\n\n"
				var bad *flow
				base := play(
					step{do: func(*http.Request) (*http.Response, error) {
						bad = newFlow(tt.chunks...)
						return reply(200, bad, "Content-Type", tt.kind), nil
					}},
					step{header: hdr("Content-Type", sseType), body: answer})
				var first snubber.Event
				tr := &snubber.Transport{
					Base: base, Retry: &snubber.Retry{MinBackoff: -1}, Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{MaxConcurrent: 1},
					Timeout: &snubber.Timeout{FirstEvent: time.Minute, Idle: 40 * time.Second},
					Observe: func(e snubber.Event) {
						if e.Kind == snubber.EventAttempt && e.Attempt == 1 {
							first = e
						}
					},
				}
				if tt.name == "first content too late" {
					tr.Timeout.Idle = -1
				}
				res, err := tr.RoundTrip(newReq(t, "POST", tt.url, tt.body))
				if err != nil || res.StatusCode != 200 {
					t.Fatalf("RoundTrip = %v, %v, want 200", res, err)
				}
				if got := slurp(t, res); got != answer {
					t.Errorf("body %q, want %q", got, answer)
				}
				if n := base.sent(); n != 2 {
					t.Errorf("%d wire calls, want 2", n)
				}
				if o := first.Outcome; o.Class != tt.class || o.Reason != tt.reason {
					t.Errorf("the first attempt was %v, %q, want %v, %q", o.Class, o.Reason, tt.class, tt.reason)
				}
				if first.Took != tt.after {
					t.Errorf("its verdict came after %v, want %v", first.Took, tt.after)
				}
				if bad.closes() == 0 {
					t.Error("its body is open")
				}
				if n := inFlight(t, tr.Limiter); n != 0 {
					t.Errorf("%d in flight, want 0", n)
				}
			})
		})
	}
}

// RoundTrip returns with the first content, and not later. The bytes read by
// then are available at once, with their boundaries.
func TestStreamFirstEventReturnsResponse(t *testing.T) {
	for _, tt := range []struct {
		name, url, body, kind string
		chunks                []chunk
		at                    time.Duration
	}{
		{"anthropic", anthropicURL, streamBody, "text/event-stream", []chunk{{text: messageStart}, {at: time.Second, text: pingEvent}, {at: 2 * time.Second, text: textDelta}, {at: time.Hour, text: messageStop}}, 2 * time.Second},
		{"openai", chatURL, streamBody, "text/event-stream", []chunk{{text: roleEvent}, {at: time.Second, text: deltaEvent[:30]}, {at: 2 * time.Second, text: deltaEvent[30:]}, {at: time.Hour, text: doneEvent}}, 2 * time.Second},
		{"no content", chatURL, streamBody, "text/event-stream", []chunk{{text: roleEvent}, {at: time.Second, text: finishedEvent}, {at: time.Hour, text: doneEvent}}, time.Second},
		{"an event of no known kind", chatURL, streamBody, "text/event-stream", []chunk{{at: time.Second, text: "data: {\"x\":1}\n\n"}, {at: time.Hour, text: "data: {\"x\":2}\n\n"}}, time.Second},
		{"events labelled as JSON", chatURL, streamBody, "application/json", []chunk{{text: roleEvent}, {at: time.Second, text: deltaEvent}, {at: time.Hour, text: doneEvent}}, time.Second},
		{"an array of events", "https://api.example.com/v1beta/models/m:streamGenerateContent", "{}", "application/json", []chunk{
			{text: "[{\"candidates\":[{\"content\":{\"role\":\"model\"}}]}"}, {at: time.Second, text: ",{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]}"}, {at: time.Hour, text: "}]}]"}}, time.Second},
		{"a document", chatURL, chatBody, "application/json", []chunk{{text: "\n"}, {at: time.Second, text: "\n{"}, {at: 2 * time.Second, text: "}"}, {at: time.Hour, text: "\n"}}, 2 * time.Second},
		{"a long document", chatURL, chatBody, "application/json", []chunk{{text: "{\"data\":\"" + strings.Repeat("x", 64<<10)}, {at: time.Hour, text: "\"}"}}, 0},
		{"a long preamble", anthropicURL, streamBody, "text/event-stream", []chunk{{text: strings.Repeat(messageStart, 500)}, {at: time.Hour, text: textDelta + messageStop}}, 0},
		{"neither JSON nor events", chatURL, chatBody, "application/json", []chunk{{text: "o"}, {at: time.Hour, text: "k"}}, 0},
		{"nobody knows what", "https://api.example.com/v1/audio/speech", "{}", "audio/mpeg", []chunk{{at: time.Hour, text: "x"}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var body *flow
				tr := snubber.New(wire(func(*http.Request) (*http.Response, error) {
					body = newFlow(tt.chunks...)
					return reply(200, body, "Content-Type", tt.kind), nil
				}))
				tr.Timeout = nil
				start := time.Now()
				res, err := tr.RoundTrip(newReq(t, "POST", tt.url, tt.body))
				if err != nil {
					t.Fatal(err)
				}
				if d := time.Since(start); d != tt.at {
					t.Errorf("the response came after %v, want %v", d, tt.at)
				}
				p := make([]byte, 128<<10)
				for _, c := range tt.chunks {
					if len(c.text) > 4<<10 {
						io.ReadFull(res.Body, p[:len(c.text)]) // in more than one piece
						continue
					}
					n, err := res.Body.Read(p)
					if string(p[:n]) != c.text || err != nil {
						t.Fatalf("Read = %q, %v, want %q", p[:n], err, c.text)
					}
					if d := time.Since(start); c.at <= tt.at && d != tt.at || c.at > tt.at && d != c.at {
						t.Errorf("%q was there after %v, want %v", c.text, d, max(c.at, tt.at))
					}
				}
				if n, err := res.Body.Read(p); n != 0 || err != io.EOF {
					t.Errorf("at the end: %d, %v, want EOF", n, err)
				}
				res.Body.Close()
			})
		})
	}
}

// The caller gets the failure unchanged if no retry helps: the event within the
// stream, or the beginning and an error. That holds even if it was kept for a
// wait that did not take place.
func TestStreamFirstEventFailureIsReturned(t *testing.T) {
	page := "<html>" + strings.Repeat("x", 100) + "</html>"
	for _, tt := range []struct {
		name, url, kind, body string
		err                   error // of the Read that the body came with
		truncated             bool
	}{
		{"an event", anthropicURL, "text/event-stream", messageStart + overloadedEvent, nil, false},
		{"an event that says more", anthropicURL, "text/event-stream", messageStart + overloadedEvent + pingEvent, nil, false},
		{"a cut", anthropicURL, "text/event-stream", messageStart, nil, true},
		{"a cut with content", anthropicURL, "text/event-stream", messageStart + textDelta, io.EOF, true},
		{"an error with content", anthropicURL, "text/event-stream", messageStart + textDelta, io.ErrUnexpectedEOF, true},
		{"nothing", anthropicURL, "text/event-stream", "", nil, true},
		{"a page", chatURL, "text/html", page, nil, false},
		{"a document", chatURL, "application/json", "{\"error\":{\"code\":502}}\n", nil, false},
	} {
		for how, tr := range map[string]func() *snubber.Transport{
			"no Retry":    func() *snubber.Transport { return &snubber.Transport{} },
			"no attempts": func() *snubber.Transport { return &snubber.Transport{Retry: &snubber.Retry{MaxAttempts: 2}} },
			"the queue": func() *snubber.Transport {
				return &snubber.Transport{Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{RequestsPerMinute: 1}}
			},
			"the circuit": func() *snubber.Transport {
				return &snubber.Transport{Retry: &snubber.Retry{}, Breaker: &snubber.Breaker{Failures: 1}}
			},
			"the route": func() *snubber.Transport {
				return &snubber.Transport{Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: play(step{err: syscall.ECONNREFUSED})}}}}
			},
			"the deadline": func() *snubber.Transport {
				return &snubber.Transport{Retry: &snubber.Retry{MinBackoff: 20 * time.Second}}
			},
		} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tr := tr()
					tr.Timeout = &snubber.Timeout{}
					var opened []*flow
					tr.Base = wire(func(*http.Request) (*http.Response, error) {
						opened = append(opened, newFlow(chunk{text: tt.body, err: tt.err}))
						if tt.body == "" {
							opened[len(opened)-1].chunks = nil
						}
						return reply(200, opened[len(opened)-1], "Content-Type", tt.kind, "X-Request-Id", "r"), nil
					})
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					req := newReq(t, "POST", tt.url, streamBody, "X-Stainless-Lang", "go").WithContext(ctx)
					res, err := tr.RoundTrip(req)
					if err != nil || res.StatusCode != 200 || res.Header.Get("X-Request-Id") != "r" {
						t.Fatalf("RoundTrip = %v, %v, want the 200", res, err)
					}
					if stop := res.Header.Get("X-Should-Retry") == "false"; stop != (tr.Retry != nil) {
						t.Errorf("X-Should-Retry: false is there: %v", stop)
					}
					got, err := io.ReadAll(res.Body)
					res.Body.Close()
					if string(got) != tt.body {
						t.Errorf("body %q, want %q", got, tt.body)
					}
					if tt.truncated != errors.Is(err, io.ErrUnexpectedEOF) || !tt.truncated && err != nil {
						t.Errorf("it ends in %v, want truncated: %v", err, tt.truncated)
					}
					for i, f := range opened {
						if f.closes() == 0 {
							t.Errorf("body %d of %d is open", i+1, len(opened))
						}
					}
				})
			})
		}
	}
}

// The caller's end stops the wait for the first content at its moment, and so
// does a timer. Neither leaves anything behind.
func TestStreamFirstEventWaitEnds(t *testing.T) {
	for _, kind := range []string{"text/event-stream", "application/json"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := newFlow(chunk{text: "\n"}, chunk{at: -1})
				base := play(step{do: func(*http.Request) (*http.Response, error) { return reply(200, body, "Content-Type", kind), nil }})
				tr := snubber.New(base)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				start := time.Now()
				res, err := tr.RoundTrip(streamReq(t).WithContext(ctx))
				if res != nil || !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
					t.Errorf("RoundTrip = %v, %v after %v, want Canceled after 1s", res, err, time.Since(start))
				}
				if body.closes() == 0 || base.sent() != 1 {
					t.Errorf("closed %d times, %d wire calls, want closed and 1", body.closes(), base.sent())
				}
				if n := inFlight(t, tr.Limiter); n != 0 {
					t.Errorf("%d in flight, want 0", n)
				}
				if c := circuitOf(t, tr.Breaker); c.Requests != 0 {
					t.Errorf("%d outcomes, want none: the caller left", c.Requests)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // what is held is not given to a caller who has left
		tr := snubber.New(sse(chunk{text: deltaEvent + doneEvent}))
		ctx, cancel := context.WithCancel(t.Context())
		res, err := tr.RoundTrip(streamReq(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		if n, err := res.Body.Read(make([]byte, 1000)); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("Read = %d, %v, want Canceled", n, err)
		}
	})
	for _, status := range []int{200, 500} { // a base that panics gives everything back
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Limiter: &snubber.Limiter{MaxConcurrent: 1}, Base: wire(func(*http.Request) (*http.Response, error) {
				return reply(status, panicReader{}, "Content-Type", "text/event-stream"), nil
			})}
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the panic is lost")
					}
				}()
				tr.RoundTrip(streamReq(t))
			}()
			if n := inFlight(t, tr.Limiter); n != 0 {
				t.Errorf("%d in flight, want 0", n)
			}
		})
	}
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("base") }

// A stream without content is not held for ever. The caller gets it after 64
// KiB, or after some thousand Reads.
func TestStreamFirstEventIsBounded(t *testing.T) {
	for name, body := range map[string]io.Reader{
		"pings":         &again{text: pingEvent},
		"one line":      &again{text: ": and so on "},
		"one event":     io.MultiReader(strings.NewReader("event: ping\ndata: "), &again{text: "x"}),
		"blanks":        &again{text: "\n"},
		"empty Reads":   &again{},
		"a document":    io.MultiReader(strings.NewReader("{\"choices\":["), &again{text: "{},"}),
		"an error":      io.MultiReader(strings.NewReader("{\"error\":\""), &again{text: "xxx"}),
		"not a message": io.MultiReader(strings.NewReader("{\"x\":\""), &again{text: "xxx"}),
	} {
		t.Run(name, func(t *testing.T) {
			kind := "text/event-stream"
			if strings.HasPrefix(name, "a") || strings.HasPrefix(name, "n") {
				kind = "application/json"
			}
			tr := snubber.New(wire(func(*http.Request) (*http.Response, error) { return reply(200, body, "Content-Type", kind), nil }))
			res, err := tr.RoundTrip(streamReq(t))
			if err != nil {
				t.Fatal(err)
			}
			n := int64(100 << 10)
			if name == "empty Reads" {
				n = 0 // there will never be more
			}
			if n, err := io.CopyN(io.Discard, res.Body, n); err != nil {
				t.Errorf("read %d, %v", n, err)
			}
			res.Body.Close()
		})
	}
}

// again is a body without end.
type again struct {
	text string
	left string
}

func (a *again) Read(p []byte) (int, error) {
	if a.left == "" {
		a.left = a.text
	}
	n := copy(p, a.left)
	a.left = a.left[n:]
	return n, nil
}

// The hook is called once, at the end of the lookahead, and sees the bytes
// held. If it calls Classify itself, it gets the verdict that there would be
// without it.
func TestStreamFirstEventClassify(t *testing.T) {
	for _, tt := range []struct {
		name, url, kind string
		chunks          []chunk
		held            string
		class           snubber.Class
	}{
		{"content", anthropicURL, "text/event-stream", []chunk{{text: messageStart}, {text: textDelta}, {text: messageStop}}, messageStart + textDelta, snubber.Success},
		{"overload", anthropicURL, "text/event-stream", []chunk{{text: messageStart}, {text: overloadedEvent}}, messageStart + overloadedEvent, snubber.Overloaded},
		{"cut", anthropicURL, "text/event-stream", []chunk{{text: messageStart}}, messageStart, snubber.Unreachable},
		{"document", chatURL, "application/json", []chunk{{text: "{\"choices\":"}, {text: "[]}"}}, "{\"choices\":[]}", snubber.Success},
		{"error", chatURL, "application/json", []chunk{{text: "{\"error\":{\"code\":429}}"}}, "{\"error\":{\"code\":429}}", snubber.RateLimited},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				base := play(
					step{do: func(*http.Request) (*http.Response, error) {
						return reply(200, newFlow(tt.chunks...), "Content-Type", tt.kind), nil
					}},
					step{header: hdr("Content-Type", "text/event-stream"), body: doneEvent})
				tr := &snubber.Transport{
					Retry: &snubber.Retry{}, Base: base,
					Classify: func(req *http.Request, res *http.Response, err error) snubber.Outcome {
						o := snubber.Classify(req, res, err)
						if asked++; asked > 1 {
							return o
						}
						b, rerr := io.ReadAll(res.Body)
						if string(b) != tt.held || rerr != nil {
							t.Errorf("the hook sees %q, %v, want %q", b, rerr, tt.held)
						}
						if o.Class != tt.class {
							t.Errorf("Classify = %v, want %v", o.Class, tt.class)
						}
						return snubber.Outcome{Class: snubber.ServerError, Reason: "mine"}
					},
				}
				res, err := tr.RoundTrip(newReq(t, "POST", tt.url, streamBody))
				if err != nil {
					t.Fatal(err)
				}
				if got := slurp(t, res); got != doneEvent || asked != 2 || base.sent() != 2 {
					t.Errorf("body %q, asked %d times in %d attempts, want the second answer", got, asked, base.sent())
				}
			})
		})
	}
}

// A rate limit that only the stream tells holds the key, and the call goes back
// to the queue.
func TestStreamFirstEventRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limited = "data: {\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"Please try again in 9.9s.\"}}\n\n"
		base := play(
			step{header: hdr("Content-Type", "text/event-stream"), body: roleEvent + limited},
			step{header: hdr("Content-Type", "text/event-stream"), body: deltaEvent + doneEvent})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{}}
		ctx, report := snubber.WithReport(t.Context())
		start := time.Now()
		res, err := tr.RoundTrip(streamReq(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		if got := slurp(t, res); got != deltaEvent+doneEvent {
			t.Errorf("body %q", got)
		}
		if d := time.Since(start); d < 9900*time.Millisecond || d > 11*time.Second {
			t.Errorf("sent again after %v, want after the 9.9s that the server asked for", d)
		}
		if report.Load().QueueTime == 0 {
			t.Error("it did not wait in the queue")
		}
	})
}

// Nested Transports each hold the lookahead once. The outer one gets the chunks
// as the inner one did.
func TestStreamFirstEventNested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(
			step{header: hdr("Content-Type", "text/event-stream"), body: overloadedEvent},
			step{do: sse(chunk{text: messageStart}, chunk{at: time.Second, text: textDelta}, chunk{at: time.Hour, text: messageStop})})
		inner := &snubber.Transport{Base: base, Timeout: &snubber.Timeout{Idle: -1}}
		outer := &snubber.Transport{Base: inner, Retry: &snubber.Retry{MinBackoff: -1}, Limiter: &snubber.Limiter{MaxConcurrent: 1}}
		res, err := outer.RoundTrip(newReq(t, "POST", anthropicURL, streamBody))
		if err != nil || base.sent() != 2 {
			t.Fatalf("%v, %d wire calls, want 2", err, base.sent())
		}
		for _, want := range []string{messageStart, textDelta, messageStop} {
			if got := take(t, res.Body); got != want {
				t.Errorf("Read %q, want %q", got, want)
			}
		}
		slurp(t, res)
		if n := inFlight(t, outer.Limiter); n != 0 {
			t.Errorf("%d in flight, want 0", n)
		}
	})
}

// A reader that closes within the lookahead has not read the response, although
// the lookahead holds its end. The part that was read is not cached.
func TestStreamFirstEventClosedWithin(t *testing.T) {
	base := play(step{do: func(*http.Request) (*http.Response, error) {
		return reply(200, newFlow(chunk{text: roleEvent}, chunk{text: deltaEvent + doneEvent}), "Content-Type", "text/event-stream"), nil
	}})
	tr := &snubber.Transport{Base: base, Cache: &snubber.Cache{PromptTTL: time.Hour}}
	res, err := tr.RoundTrip(streamReq(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := take(t, res.Body); got != roleEvent {
		t.Errorf("Read %q, want %q", got, roleEvent)
	}
	res.Body.Close()
	if res, err = tr.RoundTrip(streamReq(t)); err != nil {
		t.Fatal(err)
	}
	if got := slurp(t, res); got != roleEvent+deltaEvent+doneEvent { // stored or asked for again
		t.Errorf("then %q after %d wire calls, want all of it", got, base.sent())
	}
}

// A response may end within its lookahead, before its bytes are read. It is
// stored once, when all of them have been.
func TestStreamFirstEventStoredOnce(t *testing.T) {
	var puts atomic.Int32
	store := &recorder{put: func(context.Context) error { puts.Add(1); return nil }}
	base := play(step{do: func(*http.Request) (*http.Response, error) {
		return reply(200, newFlow(chunk{text: roleEvent}, chunk{text: deltaEvent + doneEvent}), "Content-Type", "text/event-stream"), nil
	}})
	rt := stored(base, store)
	res, err := rt.RoundTrip(newReq(t, "POST", chatURL, streamPrompt))
	if err != nil {
		t.Fatal(err)
	}
	slurp(t, res)
	if n, entries := puts.Load(), len(store.m); int(n) != entries || n == 0 {
		t.Errorf("%d entries were written for %d that there are", n, entries)
	}
}

// An error after the terminal event does not make the stream a failure.
func TestStreamFirstEventErrorAfterEnd(t *testing.T) {
	base := play(step{do: sse(chunk{text: deltaEvent + doneEvent, err: syscall.ECONNRESET})})
	tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{MinBackoff: -1}, Breaker: &snubber.Breaker{}}
	res, err := tr.RoundTrip(streamReq(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(res.Body)
	res.Body.Close()
	if string(got) != deltaEvent+doneEvent || !errors.Is(err, syscall.ECONNRESET) || base.sent() != 1 {
		t.Errorf("read %q, %v after %d wire calls, want the answer of the first", got, err, base.sent())
	}
	if c := circuitOf(t, tr.Breaker); c.Requests != 1 || c.Failures != 0 {
		t.Errorf("%d outcomes, %d failures, want a success", c.Requests, c.Failures)
	}
}
