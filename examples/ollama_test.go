package examples

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	ollama "github.com/ollama/ollama/api"

	"github.com/seed-9e4f5248/snubber"
)

// Ollama's own client, which takes a stream for whole where its body fails: what it
// hears of a cut is the error in Ollama's words.
func TestOllama(t *testing.T) {
	t.Parallel()
	const head = `{"model":"m","created_at":"2026-03-03T12:00:00Z","message":{"role":"assistant","content":"`
	parts := []string{head + `The "},"done":false}` + "\n", head + `fox"},"done":false}` + "\n", head + `"},"done":true,"done_reason":"stop","prompt_eval_count":5,"eval_count":2}` + "\n"}
	for _, tt := range []struct {
		name   string
		parts  []string
		stream bool
		cut    bool
	}{
		{"plain", []string{head + `The fox"},"done":true,"done_reason":"stop"}`}, false, false},
		{"streamed", parts, true, false},
		{"cut", parts[:2], true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			media := "application/json; charset=utf-8"
			if tt.stream {
				media = "application/x-ndjson"
			}
			at, calls, heard := limitedOnce(t, media, tt.parts...)
			base, err := url.Parse(at)
			if err != nil {
				t.Fatal(err)
			}
			client := ollama.NewClient(base, &http.Client{Transport: snubber.New(nil)})
			var text strings.Builder
			done := false
			err = client.Chat(t.Context(), &ollama.ChatRequest{Model: "m", Stream: &tt.stream, Messages: []ollama.Message{{Role: "user", Content: prompt}}},
				func(r ollama.ChatResponse) error {
					text.WriteString(r.Message.Content)
					heard()
					done = done || r.Done
					return nil
				})
			if cut := err != nil && strings.Contains(err.Error(), "broke off"); text.String() != "The fox" || cut != tt.cut || (err != nil) != tt.cut || done == tt.cut {
				t.Errorf("%q, done %v, %v", &text, done, err)
			}
			if n := calls.Load(); n != 2 {
				t.Errorf("%d wire calls, want 2", n)
			}
		})
	}
}
