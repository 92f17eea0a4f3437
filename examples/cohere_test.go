package examples

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	cohere "github.com/cohere-ai/cohere-go/v2"
	"github.com/cohere-ai/cohere-go/v2/option"
	cohereclient "github.com/cohere-ai/cohere-go/v2/v2"

	"github.com/seed-9e4f5248/snubber"
)

// limitedOnce answers the first request with a 429 and all others with the parts
// of a body, the last of several when the client has heard of those before it.
func limitedOnce(t *testing.T, media string, parts ...string) (url string, calls *atomic.Int32, heard func()) {
	calls = new(atomic.Int32)
	ears := make(chan struct{})
	heard = sync.OnceFunc(func() { close(ears) })
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if calls.Add(1) == 1 {
			w.WriteHeader(http.StatusTooManyRequests)
			io.WriteString(w, `{"message":"slow down"}`)
			return
		}
		w.Header().Set("Content-Type", media)
		for i, p := range parts {
			if i > 0 && i == len(parts)-1 {
				select {
				case <-ears:
				case <-r.Context().Done():
				}
			}
			io.WriteString(w, p)
			http.NewResponseController(w).Flush()
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL, calls, heard
}

// cohereStream comes in pieces that each begin with the blank line of the event
// before: cohere-go parses what one Read brings, and fails on a blank line at its end.
var cohereStream = []string{
	"event: message-start\ndata: {\"id\":\"1\",\"type\":\"message-start\",\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[]}}}\n",
	"\nevent: content-start\ndata: {\"type\":\"content-start\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"type\":\"text\",\"text\":\"\"}}}}\n",
	"\nevent: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"The \"}}}}\n",
	"\nevent: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"fox\"}}}}\n",
	"\nevent: content-end\ndata: {\"type\":\"content-end\",\"index\":0}\n",
	"\nevent: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"tokens\":{\"input_tokens\":5,\"output_tokens\":2}}}}\n",
	"\ndata: [DONE]\n",
}

// cohere-go would itself repeat what snubber has repeated already, so it is to make
// one attempt.
func TestCohere(t *testing.T) {
	t.Parallel()
	const answer = `{"id":"1","finish_reason":"COMPLETE","message":{"role":"assistant","content":[{"type":"text","text":"The fox"}]},"usage":{"tokens":{"input_tokens":5,"output_tokens":2}}}`
	messages := cohere.ChatMessages{{Role: "user", User: &cohere.UserMessageV2{Content: &cohere.UserMessageV2Content{String: prompt}}}}
	for _, tt := range []struct {
		name  string
		parts []string // nil: not streamed
		cut   bool
	}{
		{"plain", nil, false},
		{"streamed", cohereStream, false},
		{"cut", cohereStream[:5], true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			media, parts := "text/event-stream", tt.parts
			if parts == nil {
				media, parts = "application/json", []string{answer}
			}
			url, calls, heard := limitedOnce(t, media, parts...)
			client := cohereclient.NewClient(option.WithBaseURL(url), option.WithToken("t"), option.WithMaxAttempts(1),
				option.WithHTTPClient(&http.Client{Transport: snubber.New(nil)}))
			var text strings.Builder
			var err error
			if tt.parts == nil {
				var res *cohere.V2ChatResponse
				if res, err = client.Chat(t.Context(), &cohere.V2ChatRequest{Model: "m", Messages: messages}); err == nil {
					text.WriteString(res.Message.Content[0].Text.Text)
				}
			} else {
				var stream cohereEvents
				if stream, err = client.ChatStream(t.Context(), &cohere.V2ChatStreamRequest{Model: "m", Messages: messages}); err == nil {
					err = hear(stream, &text, heard)
				}
			}
			if text.String() != "The fox" || errors.Is(err, io.ErrUnexpectedEOF) != tt.cut || (err != nil) != tt.cut {
				t.Errorf("%q, %v", &text, err)
			}
			if n := calls.Load(); n != 2 {
				t.Errorf("%d wire calls, want 2", n)
			}
		})
	}
}

type cohereEvents interface {
	Recv() (cohere.V2ChatStreamResponse, error)
	Close() error
}

func hear(stream cohereEvents, text *strings.Builder, heard func()) error {
	defer stream.Close()
	for {
		event, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if d := event.ContentDelta; d != nil {
			text.WriteString(*d.Delta.Message.Content.Text)
			heard()
		}
	}
}
