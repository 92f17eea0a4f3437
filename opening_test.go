package snubber_test

import (
	"io"
	"net/http"
	"strings"
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

// What goes wrong with an answer before its first content is repeated like any
// other failure, and the caller sees nothing but the answer after it.
func TestOpeningFailureIsRepeated(t *testing.T) {
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
					Base: base, Retry: &snubber.Retry{MinBackoff: -1}, Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{Concurrent: 1},
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

// The response is there with the first content and not later, and what was read
// by then comes at once, in the pieces in which it came.
func TestOpeningEndsAtContent(t *testing.T) {
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
