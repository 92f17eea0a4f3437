package snubbertest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber/snubbertest"
)

const (
	chatPath      = "/v1/chat/completions"
	responsesPath = "/v1/responses"
	messagesPath  = "/v1/messages"
	geminiPath    = "/v1beta/models/gemini-x:generateContent"
	geminiStream  = "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"
	embedPath     = "/v1/embeddings"
)

// hello is a prompt of 5 tokens for each dialect: 20 bytes of text.
var hello = map[string]string{
	chatPath:      `{"model":"m","messages":[{"role":"user","content":"01234567890123456789"}]}`,
	responsesPath: `{"model":"m","input":"01234567890123456789"}`,
	messagesPath:  `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"01234567890123456789"}]}]}`,
	geminiPath:    `{"contents":[{"role":"user","parts":[{"text":"01234567890123456789"}]}]}`,
	geminiStream:  `{"contents":[{"role":"user","parts":[{"text":"01234567890123456789"}]}]}`,
	embedPath:     `{"model":"m","input":["0123456789","0123456789"]}`,
}

// streamed is the request for a stream on the same path.
func streamed(body string) string { return `{"stream":true,` + body[1:] }

func newRequest(ctx context.Context, base, path, body string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, "POST", base+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return req
}

// post makes a call in memory and reads all of the answer.
func post(t *testing.T, p *snubbertest.Provider, path, body string) (*http.Response, string) {
	t.Helper()
	res, err := p.RoundTrip(newRequest(t.Context(), "http://fake", path, body))
	if err != nil {
		t.Fatalf("RoundTrip: %v", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("body: %v", err)
	}
	return res, string(b)
}

// field is a value in a JSON text, by a path like "choices.0.message".
func field(t *testing.T, text, path string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("not JSON: %v: %q", err, text)
	}
	for _, key := range strings.Split(path, ".") {
		switch o := v.(type) {
		case map[string]any:
			v = o[key]
		case []any:
			var i int
			if fmt.Sscan(key, &i); i >= len(o) {
				return nil
			}
			v = o[i]
		}
	}
	return v
}

func TestAnswers(t *testing.T) {
	const text = "one two three" // 4 tokens
	tests := []struct {
		path, more string
		want       map[string]any
	}{
		{chatPath, "", map[string]any{"object": "chat.completion", "choices.0.message.content": text, "choices.0.finish_reason": "stop", "usage.prompt_tokens": 5.0, "usage.completion_tokens": 4.0, "usage.total_tokens": 9.0}},
		{chatPath, `"max_tokens":2,`, map[string]any{"choices.0.message.content": "one two ", "choices.0.finish_reason": "length", "usage.completion_tokens": 2.0}},
		{responsesPath, "", map[string]any{"object": "response", "status": "completed", "output.0.content.0.text": text, "usage.input_tokens": 5.0, "usage.output_tokens": 4.0}},
		{responsesPath, `"max_output_tokens":2,`, map[string]any{"status": "incomplete", "incomplete_details.reason": "max_output_tokens", "output.0.content.0.text": "one two "}},
		{messagesPath, "", map[string]any{"type": "message", "content.0.text": text, "stop_reason": "end_turn", "usage.input_tokens": 5.0, "usage.output_tokens": 4.0}},
		{messagesPath, `"max_tokens":2,`, map[string]any{"stop_reason": "max_tokens"}},
		{geminiPath, "", map[string]any{"candidates.0.content.parts.0.text": text, "candidates.0.finishReason": "STOP", "usageMetadata.promptTokenCount": 5.0, "usageMetadata.candidatesTokenCount": 4.0}},
		{geminiPath, `"generationConfig":{"maxOutputTokens":2},`, map[string]any{"candidates.0.finishReason": "MAX_TOKENS"}},
		{embedPath, "", map[string]any{"object": "list", "data.1.object": "embedding", "data.1.embedding.1": 1.0, "data.1.embedding.0": 0.0, "usage.prompt_tokens": 5.0}},
		{embedPath, `"encoding_format":"base64","dimensions":1,`, map[string]any{"data.0.embedding": "AACAPw=="}},
	}
	for _, tt := range tests {
		p := &snubbertest.Provider{Text: text}
		// Behind any prefix it is the same dialect.
		for _, prefix := range []string{"", "/gateway/openai/v7"} {
			res, body := post(t, p, prefix+tt.path, "{"+tt.more+hello[tt.path][1:])
			if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" || res.ContentLength != int64(len(body)) {
				t.Errorf("%s: status %d, type %q, length %d of %d", tt.path, res.StatusCode, res.Header.Get("Content-Type"), res.ContentLength, len(body))
			}
			for path, want := range tt.want {
				if got := field(t, body, path); got != want {
					t.Errorf("%s %s: %s = %v, want %v", tt.path, tt.more, path, got, want)
				}
			}
		}
	}
}

func TestStreams(t *testing.T) {
	tests := []struct {
		path, body string
		text       string // path of the piece of text in an event
		last       string // begin of the last event
		has        []string
	}{
		{chatPath, streamed(hello[chatPath]), "choices.0.delta.content", "data: [DONE]\n\n", nil},
		{chatPath, `{"stream_options":{"include_usage":true},` + streamed(hello[chatPath])[1:], "choices.0.delta.content", "data: [DONE]\n\n", []string{`"choices":[],`, `"completion_tokens":4`}},
		{responsesPath, streamed(hello[responsesPath]), "delta", "event: response.completed\ndata: {", []string{`"output_tokens":4`, "event: response.created\n"}},
		{messagesPath, streamed(hello[messagesPath]), "delta.text", "event: message_stop\ndata: {", []string{`"output_tokens":4`, "event: ping\n", "event: message_start\n"}},
		{geminiStream, hello[geminiStream], "candidates.0.content.parts.0.text", "data: {", []string{`"finishReason":"STOP"`, "\r\n\r\n"}},
	}
	for _, tt := range tests {
		p := &snubbertest.Provider{Text: "one two three"}
		res, body := post(t, p, tt.path, tt.body)
		if res.ContentLength != -1 || res.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("%s: length %d, type %q", tt.path, res.ContentLength, res.Header.Get("Content-Type"))
		}
		sep := "\n\n"
		if tt.path == geminiStream {
			sep = "\r\n\r\n"
		}
		events := strings.SplitAfter(body, sep)
		if n := len(events); events[n-1] != "" {
			t.Fatalf("%s: last event has no end: %q", tt.path, events[n-1])
		}
		events = events[:len(events)-1]
		said := ""
		for _, e := range events {
			if _, data, _ := strings.Cut(e, "data: "); strings.HasPrefix(data, "{") {
				if s, ok := field(t, strings.TrimSpace(data), tt.text).(string); ok {
					said += s
				}
			}
		}
		if said != "one two three" {
			t.Errorf("%s: the stream says %q", tt.path, said)
		}
		if last := events[len(events)-1]; !strings.HasPrefix(last, tt.last) {
			t.Errorf("%s: last event %q, want %q", tt.path, last, tt.last)
		}
		for _, s := range tt.has {
			if !strings.Contains(body, s) {
				t.Errorf("%s: no %q in %s", tt.path, s, body)
			}
		}
		if c := p.Calls()[0]; !c.Stream || !c.Complete || c.OutputTokens != 4 || c.InputTokens != 5 {
			t.Errorf("%s: recorded %+v", tt.path, c)
		}
	}
}

// Events arrive when they are sent, each in a Read of its own.
func TestStreamTiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &snubbertest.Provider{Latency: 2 * time.Second, EventGap: time.Second, Text: "01234567"}
		start := time.Now()
		res, err := p.RoundTrip(newRequest(t.Context(), "http://fake", chatPath, streamed(hello[chatPath])))
		if err != nil || time.Since(start) != 2*time.Second {
			t.Fatalf("header after %v, err %v", time.Since(start), err)
		}
		b := make([]byte, 1<<16)
		for i := 0; ; i++ {
			n, err := res.Body.Read(b)
			if err == io.EOF {
				if i != 5 {
					t.Errorf("%d events, want 5", i)
				}
				break
			}
			if want := time.Duration(2+i) * time.Second; time.Since(start) != want || !strings.HasSuffix(string(b[:n]), "\n\n") {
				t.Errorf("event %d after %v, want %v: %q", i, time.Since(start), want, b[:n])
			}
		}
		if _, err := res.Body.Read(b); err != io.EOF {
			t.Errorf("Read after the end: %v", err)
		}
	})
}

func TestRejectsBadRequests(t *testing.T) {
	p := &snubbertest.Provider{RequestsPerMinute: 1}
	for _, tt := range []struct {
		path, body string
		status     int
	}{
		{chatPath, ``, 400}, // a body that was drained by an earlier attempt
		{chatPath, `{"model":`, 400},
		{chatPath, `{"model":7}`, 400},
		{chatPath, `{"max_tokens":1e99}`, 400},
		{messagesPath, `[]`, 400},
		{geminiPath, `null and void`, 400},
		{strings.TrimSuffix(geminiStream, "?alt=sse"), hello[geminiStream], 400},
		{embedPath, `{"input":"x","dimensions":-1}`, 400},
		{embedPath, `{"input":"x","dimensions":1000000000}`, 400},
		{embedPath, `{"input":[` + strings.Repeat(`"",`, 3000) + `""]}`, 400},
		{"/v1/models", ``, 404},
		{"/v1beta/models/gemini-x:fly", `{}`, 404},
		{"", ``, 404},
		{chatPath, `{"messages":"` + strings.Repeat("x", 33<<20) + `"}`, 413},
	} {
		res, body := post(t, p, tt.path, tt.body)
		if msg, _ := field(t, body, "error.message").(string); res.StatusCode != tt.status || msg == "" {
			t.Errorf("%s %.40s: %d %s, want %d", tt.path, tt.body, res.StatusCode, body, tt.status)
		}
	}
	// None of them cost anything.
	if res, _ := post(t, p, chatPath, hello[chatPath]); res.StatusCode != 200 {
		t.Errorf("status %d after bad requests", res.StatusCode)
	}
}

func TestScript(t *testing.T) {
	p := &snubbertest.Provider{RequestsPerMinute: 1}
	p.Inject(snubbertest.Fault{Kind: snubbertest.Outage})
	p.Script(
		snubbertest.Reply{},
		snubbertest.Reply{Status: 529},
		snubbertest.Reply{Status: 429, Header: http.Header{"retry-after": {"7"}}},
		snubbertest.Reply{Status: 502, Body: "<html>bad gateway</html>"},
		snubbertest.Reply{Body: "data: 1\n\ndata: 2\n\n"},
		snubbertest.Reply{Fault: snubbertest.Fault{Kind: snubbertest.Overloaded}},
		snubbertest.Reply{Status: 204},
	)
	for i, want := range []struct {
		status     int
		kind, body string
	}{
		{200, "application/json", `"type":"message"`},
		{529, "application/json", `"overloaded_error"`},
		{429, "application/json", `"rate_limit_error"`},
		{502, "text/plain; charset=utf-8", "<html>bad gateway</html>"},
		{200, "text/event-stream", "data: 1\n\ndata: 2\n\n"},
		{529, "application/json", `"overloaded_error"`},
	} {
		res, body := post(t, p, messagesPath, hello[messagesPath])
		if res.StatusCode != want.status || res.Header.Get("Content-Type") != want.kind || !strings.Contains(body, want.body) {
			t.Errorf("reply %d: %d %q %s", i, res.StatusCode, res.Header.Get("Content-Type"), body)
		}
		if got := res.Header.Get("Retry-After"); i == 2 && got != "7" {
			t.Errorf("Retry-After %q", got)
		}
	}
	if res, body := post(t, p, "/anything", ""); res.StatusCode != 204 || body != "" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	if _, err := p.RoundTrip(newRequest(t.Context(), "http://fake", chatPath, hello[chatPath])); err == nil {
		t.Error("the outage does not follow the script")
	}
	p.Script(snubbertest.Reply{Status: 500})
	p.Clear()
	if res, _ := post(t, p, chatPath, hello[chatPath]); res.StatusCode != 200 {
		t.Errorf("status %d after Clear", res.StatusCode)
	}
}

func TestRecord(t *testing.T) {
	p := &snubbertest.Provider{}
	p.TextFunc = func(c snubbertest.Call) string { return "you said " + string(c.Body[:8]) }
	req := newRequest(t.Context(), "http://fake", chatPath+"?q=1", hello[chatPath])
	req.Header.Set("X-Test", "a")
	res, err := p.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	if got := field(t, string(b), "choices.0.message.content"); got != `you said {"model"` {
		t.Errorf("said %v", got)
	}
	req.Header.Set("X-Test", "later")
	c := p.Calls()[0]
	if c.Method != "POST" || c.Path != chatPath || c.Query != "q=1" || c.Header.Get("X-Test") != "a" || string(c.Body) != hello[chatPath] || c.Model != "m" || c.Status != 200 || !c.Complete || c.Cancelled {
		t.Errorf("recorded %+v", c)
	}
	c.Header.Set("X-Test", "b")
	if p.Calls()[0].Header.Get("X-Test") != "a" {
		t.Error("the record can be written to")
	}
	if res.Request != req || res.Proto != "HTTP/1.1" || res.Status != "200 OK" || res.Header.Get("Date") == "" {
		t.Errorf("response %+v", res)
	}
}

func TestConcurrentUse(t *testing.T) {
	p := &snubbertest.Provider{RequestsPerMinute: 100, Concurrent: 50}
	p.Inject(snubbertest.Fault{Kind: snubbertest.BrownOut, Chance: 0.2},
		snubbertest.Fault{Kind: snubbertest.Reset, After: 2, Chance: 0.2})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			body := hello[chatPath]
			if i%2 == 0 {
				body = streamed(body)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			res, err := p.RoundTrip(newRequest(ctx, "http://fake", chatPath, body))
			if err != nil {
				return
			}
			if i%3 == 0 {
				cancel()
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			p.Calls()
		})
	}
	wg.Wait()
	s := p.Stats()
	if s.Wire != 200 || s.OK+s.Rejected+s.Failed+s.Cancelled != 200 || s.InFlight != 0 || s.Rejected < 50 {
		t.Errorf("%+v", s)
	}
}

// created matches what depends on the moment of a call.
var created = regexp.MustCompile(`"created(_at)?":\d+`)

// The same provider behind a server gives what it gives in memory.
func TestServer(t *testing.T) {
	p := &snubbertest.Provider{Text: "one two three", TokensPerMinute: 1000}
	srv := snubbertest.NewServer(p)
	defer srv.Close()
	q := &snubbertest.Provider{Text: "one two three", TokensPerMinute: 1000}
	for path, body := range hello {
		for _, body := range []string{body, streamed(body)} {
			res, err := srv.Client().Do(newRequest(t.Context(), srv.URL, path, body))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(res.Body)
			res.Body.Close()
			res2, want := post(t, q, path, body)
			if res.StatusCode != res2.StatusCode || res.ContentLength != res2.ContentLength || res.Status != res2.Status || res.Proto != res2.Proto || err != nil {
				t.Errorf("%s: %v %d, in memory %v %d; %v", path, res.Status, res.ContentLength, res2.Status, res2.ContentLength, err)
			}
			if created.ReplaceAllString(string(b), "") != created.ReplaceAllString(want, "") {
				t.Errorf("%s:\n%s\nin memory:\n%s", path, b, want)
			}
			for name := range res2.Header {
				if res.Header.Get(name) == "" {
					t.Errorf("%s: %s: only in memory", path, name)
				}
			}
		}
	}
}
