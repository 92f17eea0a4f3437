package dialect

import (
	"strings"
	"testing"
	"time"
)

// A fixed answer is one by our own reading: a stream is whole, has content, and
// nothing was billed.
func TestAnswer(t *testing.T) {
	const text = "out of \"order\" \u2028 </script>"
	for _, tt := range []struct {
		path, body string
		media      string // "" for none
	}{
		{"/v1/chat/completions", `{"model":"m"}`, jsonMedia},
		{"/v1/chat/completions", `{"model":"m","stream":true}`, sseMedia},
		{"/v1/completions", `{"model":"m"}`, jsonMedia},
		{"/v1/completions", `{"model":"m","stream":true}`, sseMedia},
		{"/v1/responses", `{"model":"m"}`, jsonMedia},
		{"/v1/responses", `{"model":"m","stream":true}`, sseMedia},
		{"/v1/messages", `{"model":"m"}`, jsonMedia},
		{"/v1/messages", `{"model":"m","stream":true}`, sseMedia},
		{"/v1beta/models/m:generateContent", `{}`, jsonMedia},
		{"/v1beta/models/m:streamGenerateContent?alt=sse", `{}`, sseMedia},
		{"/v1beta/models/m:streamGenerateContent", `{}`, jsonMedia},
		{"/v2/chat", `{"model":"m"}`, jsonMedia},
		{"/v2/chat", `{"model":"m","stream":true}`, sseMedia},
		{"/v1/chat", `{"model":"m"}`, jsonMedia},
		{"/v1/chat", `{"model":"m","stream":true}`, ndjsonMedia},
		{"/api/chat", `{"model":"m"}`, ndjsonMedia},
		{"/api/chat", `{"model":"m","stream":false}`, jsonMedia},
		{"/api/generate", `{"model":"m"}`, ndjsonMedia},
		{"/model/m/converse", `{}`, jsonMedia},
		{"/model/m/converse-stream", `{}`, frameMedia},
		{"/model/m/invoke", `{}`, ""},
		{"/v1/embeddings", `{"model":"m"}`, ""},
		{"/v1/images/generations", `{"model":"m"}`, ""},
		{"/v1/models", ``, ""},
	} {
		u := parseURL(t, "https://api.example.com"+tt.path)
		r := RouteOf("POST", u)
		p := r.ReadPrompt([]byte(tt.body))
		media, body, ok := r.Answer(u, p, 200, text, time.Unix(1e9, 0))
		if media != tt.media || ok != (tt.media != "") {
			t.Errorf("%s %s: %q, %v, want %q", tt.path, tt.body, media, ok, tt.media)
		}
		if !ok {
			continue
		}
		// As escaped by encoding/json, once at least.
		if !strings.Contains(string(body), `out of \"order\" \u2028 \u003c/script\u003e`) {
			t.Errorf("%s %s: no text in %s", tt.path, tt.body, body)
		}
		var m Meter
		m.Start(r, media, p.Stream)
		m.Observe(body)
		if m.Streaming() {
			if m.Phase() != Terminal && !m.End() {
				t.Errorf("%s %s: phase %d of %s", tt.path, tt.body, m.Phase(), body)
			}
		}
		if v := Classify(&Response{Route: r, Status: 200, Body: body}); v.Class != Success {
			t.Errorf("%s %s: class %d", tt.path, tt.body, v.Class)
		}
		if u, _ := m.Usage(); u != (Usage{}) {
			t.Errorf("%s %s: billed %+v", tt.path, tt.body, u)
		}
		m.Free()
		if _, body, ok := r.Answer(u, p, 503, "m", time.Time{}); !ok || string(body) != string(Refusal(r.Format, 503, "snubber_reply", "m")) {
			t.Errorf("%s %s as an error: %s", tt.path, tt.body, body)
		}
	}
}
