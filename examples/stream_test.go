package examples

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tmc/langchaingo/llms"
	"github.com/tmc/langchaingo/llms/ollama"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// An error in place of the first word is nothing that a program has to know of:
// it gets one answer, from the second wire call.
func TestErrorBeforeTheFirstWord(t *testing.T) {
	t.Parallel()
	for _, kind := range []snubbertest.Kind{snubbertest.ErrorEvent, snubbertest.Truncate, snubbertest.Reset} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, s sdk, streamed bool) {
				if kind == snubbertest.ErrorEvent && !streamed {
					t.Skip("there is no event")
				}
				r := newRig(t, s, &snubbertest.Provider{})
				r.provider.Inject(snubbertest.Fault{Kind: kind, Times: 1})
				r.works(t, streamed)
				r.wants(t, 1, 2)
			})
		})
	}
}

// A stream that breaks off after its first words is an error in every SDK, and is
// not asked for again: part of it has been heard.
func TestCutStream(t *testing.T) {
	t.Parallel()
	for _, s := range sdks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			l := &lockstep{provider: &snubbertest.Provider{}, sent: make(chan string, 1)}
			srv := httptest.NewServer(l)
			t.Cleanup(srv.Close)
			r := newRigAt(t, s, l.provider, srv)
			l.client = r.above
			l.provider.Inject(snubbertest.Fault{Kind: snubbertest.Truncate, After: 6})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			a, err := r.call(ctx, true)
			if err == nil {
				t.Fatalf("%+v, and no error", a)
			}
			if !s.opaque && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v is not io.ErrUnexpectedEOF", err)
			}
			if a.text == "" {
				t.Error("the words before the cut are lost")
			}
			r.wants(t, 1, 1)
		})
	}
}

// The clients of Ollama lose a read error: they end a stream in silence where its
// body fails, and a part of an answer is the answer. What the body says in Ollama's
// own words reaches them.
func TestOllamaCutStream(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		io.WriteString(w, `{"model":"m","created_at":"2026-03-03T12:00:00Z","message":{"role":"assistant","content":"The"},"done":false}`+"\n")
		http.NewResponseController(w).Flush()
		io.WriteString(w, `{"model":"m","created_at":"2026-03-03T12:00:00Z","message":{"role":"assistant","content":" quick"},"done":false}`+"\n")
	}))
	t.Cleanup(srv.Close)
	for _, tt := range []struct {
		streamErrors snubber.StreamErrorMode
		reported     bool
	}{{snubber.StreamErrorsAuto, true}, {snubber.StreamErrorsNever, false}} {
		rt := snubber.New(nil)
		rt.StreamErrors, rt.Retry = tt.streamErrors, nil
		llm, err := ollama.New(ollama.WithModel("m"), ollama.WithServerURL(srv.URL), ollama.WithHTTPClient(&http.Client{Transport: rt}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = llm.GenerateContent(t.Context(), []llms.MessageContent{llms.TextParts(llms.ChatMessageTypeHuman, prompt)},
			llms.WithStreamingFunc(func(context.Context, []byte) error { return nil }))
		if reported := err != nil && strings.Contains(err.Error(), "broke off"); reported != tt.reported {
			t.Errorf("StreamErrors %d: error %v, want one: %v", tt.streamErrors, err, tt.reported)
		}
	}
}
