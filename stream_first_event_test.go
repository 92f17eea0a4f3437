package snubber_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/neterr"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A failure before the first content is retried like any other failure. The
// caller sees only the response that follows.
func TestStreamFirstEventFailureIsRetried(t *testing.T) {
	const (
		sseType  = "text/event-stream"
		jsonType = "application/json"
		unary    = `{"model":"m","messages":[]}`
	)
	forever := wiretest.Chunk{At: -1}
	for _, tt := range []struct {
		name, url, body, kind string
		chunks                []wiretest.Chunk
		class                 snubber.Class
		reason                string
		after                 time.Duration // when the verdict comes
	}{
		{"overload first", wiretest.AnthropicURL, wiretest.StreamBody, sseType, []wiretest.Chunk{{Text: wiretest.OverloadedEvent}, forever}, snubber.Overloaded, "overloaded_error", 0},
		{"overload after a preamble", wiretest.AnthropicURL, wiretest.StreamBody, sseType, []wiretest.Chunk{{Text: wiretest.MessageStart}, {At: time.Second, Text: wiretest.PingEvent}, {At: 2 * time.Second, Text: wiretest.OverloadedEvent}, forever}, snubber.Overloaded, "overloaded_error", 2 * time.Second},
		{"error after a role", wiretest.ChatURL, wiretest.StreamBody, sseType, []wiretest.Chunk{{Text: ": wait\n\n"}, {Text: wiretest.RoleEvent}, {Text: "data: {\"error\":{\"code\":\"server_error\"}}\n\n"}, forever}, snubber.ServerError, "server_error", 0},
		{"an empty stream", wiretest.ChatURL, wiretest.StreamBody, sseType, nil, snubber.Unreachable, "truncated", 0},
		{"a stream of comments", wiretest.ChatURL, wiretest.StreamBody, sseType, []wiretest.Chunk{{Text: ": wait\n\n"}}, snubber.Unreachable, "truncated", 0},
		{"cut after the preamble", wiretest.AnthropicURL, wiretest.StreamBody, sseType, []wiretest.Chunk{{Text: wiretest.MessageStart}}, snubber.Unreachable, "truncated", 0},
		{"cut in the first event", wiretest.AnthropicURL, wiretest.StreamBody, sseType, []wiretest.Chunk{{Text: wiretest.TextDelta[:40]}}, snubber.Unreachable, "truncated", 0},
		{"reset", wiretest.AnthropicURL, wiretest.StreamBody, sseType, []wiretest.Chunk{{Text: wiretest.MessageStart}, {At: time.Second, Err: neterr.Reset}}, snubber.Unreachable, "reset", time.Second},
		{"content and a reset in one Read", wiretest.AnthropicURL, wiretest.StreamBody, sseType, []wiretest.Chunk{{Text: wiretest.MessageStart}, {At: time.Second, Text: wiretest.TextDelta, Err: neterr.Reset}}, snubber.Unreachable, "reset", time.Second},
		{"an empty stream as JSON", wiretest.ChatURL, wiretest.StreamBody, jsonType, nil, snubber.Unreachable, "truncated", 0},
		{"a page as a stream", wiretest.ChatURL, wiretest.StreamBody, sseType, []wiretest.Chunk{{Text: "\n<!DOCTYPE html>"}, forever}, snubber.ServerError, "html", 0},
		{"a page", wiretest.ChatURL, wiretest.StreamBody, "text/html; charset=utf-8", []wiretest.Chunk{{Text: "<html>"}, forever}, snubber.ServerError, "html", 0},
		{"a JSON error as a stream", wiretest.ChatURL, wiretest.StreamBody, sseType, []wiretest.Chunk{{Text: "{\"error\":"}, {At: time.Second, Text: "{\"message\":\"x\",\"code\":\"server_error\"}}"}, forever}, snubber.ServerError, "server_error", time.Second},
		{"a JSON error in place of a stream", wiretest.ChatURL, wiretest.StreamBody, jsonType, []wiretest.Chunk{{Text: "{\"error\":{\"code\":502}}"}, forever}, snubber.ServerError, "http_502", 0},
		{"first content too late", wiretest.AnthropicURL, wiretest.StreamBody, sseType, []wiretest.Chunk{{Text: wiretest.MessageStart}, forever}, snubber.TimedOut, "timeout_first_event", time.Minute},
		{"silence", wiretest.AnthropicURL, wiretest.StreamBody, sseType, []wiretest.Chunk{forever}, snubber.TimedOut, "timeout_idle", 40 * time.Second},
		{"a unary error", wiretest.ChatURL, unary, jsonType, []wiretest.Chunk{{Text: "\n\n{\"error\":{\"code\":502}"}, {At: time.Second, Text: "}"}, forever}, snubber.ServerError, "http_502", time.Second},
		{"an error behind an answer", wiretest.ChatURL, unary, jsonType, []wiretest.Chunk{{Text: "{\"choices\":[{\"message\":{\"content\":\"half\"},\"error\":{\"code\":502}}]}"}, forever}, snubber.ServerError, "http_502", 0},
		{"a unary error as text", wiretest.ChatURL, unary, "text/plain", []wiretest.Chunk{{Text: "{\"error\":{\"code\":502}}"}, forever}, snubber.ServerError, "http_502", 0},
		{"half a document", wiretest.ChatURL, unary, jsonType, []wiretest.Chunk{{Text: "{\"choices\":[{\"mess"}}, snubber.Unreachable, "truncated", 0},
		{"half a document and a reset", wiretest.ChatURL, unary, jsonType, []wiretest.Chunk{{Text: "{\"choices\":[{\"mess"}, {Err: neterr.Reset}}, snubber.Unreachable, "reset", 0},
		{"a document and a reset in one Read", wiretest.ChatURL, unary, jsonType, []wiretest.Chunk{{Text: "{\"choices\":[]}", Err: neterr.Reset}}, snubber.Unreachable, "reset", 0},
		{"blank lines and no document", wiretest.ChatURL, unary, jsonType, []wiretest.Chunk{{Text: "\n"}, {At: time.Second, Text: "\n"}, {At: 10 * time.Second, Err: io.EOF}}, snubber.Unreachable, "truncated", 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const answer = wiretest.DeltaEvent + wiretest.DoneEvent
				var bad *wiretest.Body
				base := wiretest.Play(
					wiretest.Step{Do: func(*http.Request) (*http.Response, error) {
						bad = wiretest.NewBody(tt.chunks...)
						return wiretest.Response(200, bad, "Content-Type", tt.kind), nil
					}},
					wiretest.Step{Header: wiretest.Header("Content-Type", sseType), Body: answer})
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
				res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", tt.url, tt.body))
				if err != nil || res.StatusCode != 200 {
					t.Fatalf("RoundTrip = %v, %v, want 200", res, err)
				}
				if got := wiretest.ReadAll(t, res); got != answer {
					t.Errorf("body %q, want %q", got, answer)
				}
				if n := base.Sent(); n != 2 {
					t.Errorf("%d wire calls, want 2", n)
				}
				if o := first.Outcome; o.Class != tt.class || o.Reason != tt.reason {
					t.Errorf("the first attempt was %v, %q, want %v, %q", o.Class, o.Reason, tt.class, tt.reason)
				}
				if first.Took != tt.after {
					t.Errorf("its verdict came after %v, want %v", first.Took, tt.after)
				}
				if bad.Closes() == 0 {
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
		chunks                []wiretest.Chunk
		at                    time.Duration
	}{
		{"anthropic", wiretest.AnthropicURL, wiretest.StreamBody, "text/event-stream", []wiretest.Chunk{{Text: wiretest.MessageStart}, {At: time.Second, Text: wiretest.PingEvent}, {At: 2 * time.Second, Text: wiretest.TextDelta}, {At: time.Hour, Text: wiretest.MessageStop}}, 2 * time.Second},
		{"openai", wiretest.ChatURL, wiretest.StreamBody, "text/event-stream", []wiretest.Chunk{{Text: wiretest.RoleEvent}, {At: time.Second, Text: wiretest.DeltaEvent[:30]}, {At: 2 * time.Second, Text: wiretest.DeltaEvent[30:]}, {At: time.Hour, Text: wiretest.DoneEvent}}, 2 * time.Second},
		{"no content", wiretest.ChatURL, wiretest.StreamBody, "text/event-stream", []wiretest.Chunk{{Text: wiretest.RoleEvent}, {At: time.Second, Text: wiretest.FinishedEvent}, {At: time.Hour, Text: wiretest.DoneEvent}}, time.Second},
		{"an event of no known kind", wiretest.ChatURL, wiretest.StreamBody, "text/event-stream", []wiretest.Chunk{{At: time.Second, Text: "data: {\"x\":1}\n\n"}, {At: time.Hour, Text: "data: {\"x\":2}\n\n"}}, time.Second},
		{"events labelled as JSON", wiretest.ChatURL, wiretest.StreamBody, "application/json", []wiretest.Chunk{{Text: wiretest.RoleEvent}, {At: time.Second, Text: wiretest.DeltaEvent}, {At: time.Hour, Text: wiretest.DoneEvent}}, time.Second},
		{"an array of events", "https://api.example.com/v1beta/models/m:streamGenerateContent", "{}", "application/json", []wiretest.Chunk{
			{Text: "[{\"candidates\":[{\"content\":{\"role\":\"model\"}}]}"}, {At: time.Second, Text: ",{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]}"}, {At: time.Hour, Text: "}]}]"}}, time.Second},
		{"a document", wiretest.ChatURL, wiretest.ChatBody, "application/json", []wiretest.Chunk{{Text: "\n"}, {At: time.Second, Text: "\n{"}, {At: 2 * time.Second, Text: "}"}, {At: time.Hour, Text: "\n"}}, 2 * time.Second},
		{"a long document", wiretest.ChatURL, wiretest.ChatBody, "application/json", []wiretest.Chunk{{Text: "{\"data\":\"" + strings.Repeat("x", 64<<10)}, {At: time.Hour, Text: "\"}"}}, 0},
		{"a long preamble", wiretest.AnthropicURL, wiretest.StreamBody, "text/event-stream", []wiretest.Chunk{{Text: strings.Repeat(wiretest.MessageStart, 500)}, {At: time.Hour, Text: wiretest.TextDelta + wiretest.MessageStop}}, 0},
		{"neither JSON nor events", wiretest.ChatURL, wiretest.ChatBody, "application/json", []wiretest.Chunk{{Text: "o"}, {At: time.Hour, Text: "k"}}, 0},
		{"nobody knows what", "https://api.example.com/v1/audio/speech", "{}", "audio/mpeg", []wiretest.Chunk{{At: time.Hour, Text: "x"}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var body *wiretest.Body
				tr := snubber.New(wiretest.Func(func(*http.Request) (*http.Response, error) {
					body = wiretest.NewBody(tt.chunks...)
					return wiretest.Response(200, body, "Content-Type", tt.kind), nil
				}))
				tr.Timeout = nil
				start := time.Now()
				res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", tt.url, tt.body))
				if err != nil {
					t.Fatal(err)
				}
				if d := time.Since(start); d != tt.at {
					t.Errorf("the response came after %v, want %v", d, tt.at)
				}
				p := make([]byte, 128<<10)
				for _, c := range tt.chunks {
					if len(c.Text) > 4<<10 {
						io.ReadFull(res.Body, p[:len(c.Text)]) // in more than one Read
						continue
					}
					n, err := res.Body.Read(p)
					if string(p[:n]) != c.Text || err != nil {
						t.Fatalf("Read = %q, %v, want %q", p[:n], err, c.Text)
					}
					if d := time.Since(start); c.At <= tt.at && d != tt.at || c.At > tt.at && d != c.At {
						t.Errorf("%q was there after %v, want %v", c.Text, d, max(c.At, tt.at))
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
		err                   error // the error of the Read that returned the body
		truncated             bool
	}{
		{"an event", wiretest.AnthropicURL, "text/event-stream", wiretest.MessageStart + wiretest.OverloadedEvent, nil, false},
		{"an event that says more", wiretest.AnthropicURL, "text/event-stream", wiretest.MessageStart + wiretest.OverloadedEvent + wiretest.PingEvent, nil, false},
		{"a cut", wiretest.AnthropicURL, "text/event-stream", wiretest.MessageStart, nil, true},
		{"a cut with content", wiretest.AnthropicURL, "text/event-stream", wiretest.MessageStart + wiretest.TextDelta, io.EOF, true},
		{"an error with content", wiretest.AnthropicURL, "text/event-stream", wiretest.MessageStart + wiretest.TextDelta, io.ErrUnexpectedEOF, true},
		{"nothing", wiretest.AnthropicURL, "text/event-stream", "", nil, true},
		{"a page", wiretest.ChatURL, "text/html", page, nil, false},
		{"a document", wiretest.ChatURL, "application/json", "{\"error\":{\"code\":502}}\n", nil, false},
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
				return &snubber.Transport{Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: wiretest.Play(wiretest.Step{Err: neterr.Refused})}}}}
			},
			"the deadline": func() *snubber.Transport {
				return &snubber.Transport{Retry: &snubber.Retry{MinBackoff: 20 * time.Second}}
			},
		} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tr := tr()
					tr.Timeout = &snubber.Timeout{}
					var opened []*wiretest.Body
					tr.Base = wiretest.Func(func(*http.Request) (*http.Response, error) {
						body := wiretest.NewBody()
						if tt.body != "" {
							body = wiretest.NewBody(wiretest.Chunk{Text: tt.body, Err: tt.err})
						}
						opened = append(opened, body)
						return wiretest.Response(200, body, "Content-Type", tt.kind, "X-Request-Id", "r"), nil
					})
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					req := wiretest.NewRequest(t, "POST", tt.url, wiretest.StreamBody, "X-Stainless-Lang", "go").WithContext(ctx)
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
						if f.Closes() == 0 {
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
				body := wiretest.NewBody(wiretest.Chunk{Text: "\n"}, wiretest.Chunk{At: -1})
				base := wiretest.Play(wiretest.Step{Do: func(*http.Request) (*http.Response, error) {
					return wiretest.Response(200, body, "Content-Type", kind), nil
				}})
				tr := snubber.New(base)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				start := time.Now()
				res, err := tr.RoundTrip(wiretest.ChatStream(t).WithContext(ctx))
				if res != nil || !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
					t.Errorf("RoundTrip = %v, %v after %v, want Canceled after 1s", res, err, time.Since(start))
				}
				if body.Closes() == 0 || base.Sent() != 1 {
					t.Errorf("closed %d times, %d wire calls, want closed and 1", body.Closes(), base.Sent())
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
	synctest.Test(t, func(t *testing.T) { // a caller that has cancelled does not get the held bytes
		tr := snubber.New(wiretest.SSE(wiretest.Chunk{Text: wiretest.DeltaEvent + wiretest.DoneEvent}))
		ctx, cancel := context.WithCancel(t.Context())
		res, err := tr.RoundTrip(wiretest.ChatStream(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		if n, err := res.Body.Read(make([]byte, 1000)); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("Read = %d, %v, want Canceled", n, err)
		}
	})
	for _, status := range []int{200, 500} { // a base that panics leaks nothing
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Limiter: &snubber.Limiter{MaxConcurrent: 1}, Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
				return wiretest.Response(status, panicReader{}, "Content-Type", "text/event-stream"), nil
			})}
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the panic is lost")
					}
				}()
				tr.RoundTrip(wiretest.ChatStream(t))
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
		"pings":         &again{text: wiretest.PingEvent},
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
			tr := snubber.New(wiretest.Func(func(*http.Request) (*http.Response, error) {
				return wiretest.Response(200, body, "Content-Type", kind), nil
			}))
			res, err := tr.RoundTrip(wiretest.ChatStream(t))
			if err != nil {
				t.Fatal(err)
			}
			n := int64(100 << 10)
			if name == "empty Reads" {
				n = 0 // there are never more bytes
			}
			if n, err := io.CopyN(io.Discard, res.Body, n); err != nil {
				t.Errorf("read %d, %v", n, err)
			}
			res.Body.Close()
		})
	}
}

// again is a body that repeats a text for ever.
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
		chunks          []wiretest.Chunk
		held            string
		class           snubber.Class
	}{
		{"content", wiretest.AnthropicURL, "text/event-stream", []wiretest.Chunk{{Text: wiretest.MessageStart}, {Text: wiretest.TextDelta}, {Text: wiretest.MessageStop}}, wiretest.MessageStart + wiretest.TextDelta, snubber.Success},
		{"overload", wiretest.AnthropicURL, "text/event-stream", []wiretest.Chunk{{Text: wiretest.MessageStart}, {Text: wiretest.OverloadedEvent}}, wiretest.MessageStart + wiretest.OverloadedEvent, snubber.Overloaded},
		{"cut", wiretest.AnthropicURL, "text/event-stream", []wiretest.Chunk{{Text: wiretest.MessageStart}}, wiretest.MessageStart, snubber.Unreachable},
		{"document", wiretest.ChatURL, "application/json", []wiretest.Chunk{{Text: "{\"choices\":"}, {Text: "[]}"}}, "{\"choices\":[]}", snubber.Success},
		{"error", wiretest.ChatURL, "application/json", []wiretest.Chunk{{Text: "{\"error\":{\"code\":429}}"}}, "{\"error\":{\"code\":429}}", snubber.RateLimited},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				base := wiretest.Play(
					wiretest.Step{Do: func(*http.Request) (*http.Response, error) {
						return wiretest.Response(200, wiretest.NewBody(tt.chunks...), "Content-Type", tt.kind), nil
					}},
					wiretest.Step{Header: wiretest.Header("Content-Type", "text/event-stream"), Body: wiretest.DeltaEvent + wiretest.DoneEvent})
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
				res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", tt.url, wiretest.StreamBody))
				if err != nil {
					t.Fatal(err)
				}
				if got := wiretest.ReadAll(t, res); got != wiretest.DeltaEvent+wiretest.DoneEvent || asked != 2 || base.Sent() != 2 {
					t.Errorf("body %q, asked %d times in %d attempts, want the second answer", got, asked, base.Sent())
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
		base := wiretest.Play(
			wiretest.Step{Header: wiretest.Header("Content-Type", "text/event-stream"), Body: wiretest.RoleEvent + limited},
			wiretest.Step{Header: wiretest.Header("Content-Type", "text/event-stream"), Body: wiretest.DeltaEvent + wiretest.DoneEvent})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{}}
		ctx, report := snubber.WithReport(t.Context())
		start := time.Now()
		res, err := tr.RoundTrip(wiretest.ChatStream(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		if got := wiretest.ReadAll(t, res); got != wiretest.DeltaEvent+wiretest.DoneEvent {
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
		base := wiretest.Play(
			wiretest.Step{Header: wiretest.Header("Content-Type", "text/event-stream"), Body: wiretest.OverloadedEvent},
			wiretest.Step{Do: wiretest.SSE(wiretest.Chunk{Text: wiretest.MessageStart}, wiretest.Chunk{At: time.Second, Text: wiretest.TextDelta}, wiretest.Chunk{At: time.Hour, Text: wiretest.MessageStop})})
		inner := &snubber.Transport{Base: base, Timeout: &snubber.Timeout{Idle: -1}}
		outer := &snubber.Transport{Base: inner, Retry: &snubber.Retry{MinBackoff: -1}, Limiter: &snubber.Limiter{MaxConcurrent: 1}}
		res, err := outer.RoundTrip(wiretest.NewRequest(t, "POST", wiretest.AnthropicURL, wiretest.StreamBody))
		if err != nil || base.Sent() != 2 {
			t.Fatalf("%v, %d wire calls, want 2", err, base.Sent())
		}
		for _, want := range []string{wiretest.MessageStart, wiretest.TextDelta, wiretest.MessageStop} {
			if got := wiretest.ReadOnce(t, res.Body); got != want {
				t.Errorf("Read %q, want %q", got, want)
			}
		}
		wiretest.ReadAll(t, res)
		if n := inFlight(t, outer.Limiter); n != 0 {
			t.Errorf("%d in flight, want 0", n)
		}
	})
}

// A reader that closes within the lookahead has not read the response, although
// the lookahead holds its end. The part that was read is not cached.
func TestStreamFirstEventClosedWithin(t *testing.T) {
	base := wiretest.Play(wiretest.Step{Do: func(*http.Request) (*http.Response, error) {
		return wiretest.Response(200, wiretest.NewBody(wiretest.Chunk{Text: wiretest.RoleEvent}, wiretest.Chunk{Text: wiretest.DeltaEvent + wiretest.DoneEvent}), "Content-Type", "text/event-stream"), nil
	}})
	tr := &snubber.Transport{Base: base, Cache: &snubber.Cache{PromptTTL: time.Hour}}
	res, err := tr.RoundTrip(wiretest.ChatStream(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := wiretest.ReadOnce(t, res.Body); got != wiretest.RoleEvent {
		t.Errorf("Read %q, want %q", got, wiretest.RoleEvent)
	}
	res.Body.Close()
	if res, err = tr.RoundTrip(wiretest.ChatStream(t)); err != nil {
		t.Fatal(err)
	}
	if got := wiretest.ReadAll(t, res); got != wiretest.RoleEvent+wiretest.DeltaEvent+wiretest.DoneEvent { // from the cache or from the server
		t.Errorf("then %q after %d wire calls, want all of it", got, base.Sent())
	}
}

// A response may end within its lookahead, before its bytes are read. It is
// stored once, when all of them have been.
func TestStreamFirstEventStoredOnce(t *testing.T) {
	var puts atomic.Int32
	store := &recorder{put: func(context.Context) error { puts.Add(1); return nil }}
	base := wiretest.Play(wiretest.Step{Do: func(*http.Request) (*http.Response, error) {
		return wiretest.Response(200, wiretest.NewBody(wiretest.Chunk{Text: wiretest.RoleEvent}, wiretest.Chunk{Text: wiretest.DeltaEvent + wiretest.DoneEvent}), "Content-Type", "text/event-stream"), nil
	}})
	rt := stored(base, store)
	res, err := rt.RoundTrip(wiretest.NewRequest(t, "POST", wiretest.ChatURL, wiretest.StreamBody))
	if err != nil {
		t.Fatal(err)
	}
	wiretest.ReadAll(t, res)
	if n, entries := puts.Load(), len(store.m); int(n) != entries || n == 0 {
		t.Errorf("%d entries were written for %d that there are", n, entries)
	}
}

// An error after the terminal event does not make the stream a failure.
func TestStreamFirstEventErrorAfterEnd(t *testing.T) {
	base := wiretest.Play(wiretest.Step{Do: wiretest.SSE(wiretest.Chunk{Text: wiretest.DeltaEvent + wiretest.DoneEvent, Err: neterr.Reset})})
	tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{MinBackoff: -1}, Breaker: &snubber.Breaker{}}
	res, err := tr.RoundTrip(wiretest.ChatStream(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(res.Body)
	res.Body.Close()
	if string(got) != wiretest.DeltaEvent+wiretest.DoneEvent || !errors.Is(err, neterr.Reset) || base.Sent() != 1 {
		t.Errorf("read %q, %v after %d wire calls, want the answer of the first", got, err, base.Sent())
	}
	if c := circuitOf(t, tr.Breaker); c.Requests != 1 || c.Failures != 0 {
		t.Errorf("%d outcomes, %d failures, want a success", c.Requests, c.Failures)
	}
}
