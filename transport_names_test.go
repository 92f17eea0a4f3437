package snubber_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// The name of a model comes from a request: in events, queues, circuits and errors it
// is one short line.
func TestModelNamesInKeys(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	inPath := wiretest.NewRequest(t, "POST", "https://api.example.com/v1beta/models/m:generateContent", `{"contents":[]}`)
	inPath.URL = &url.URL{Scheme: "https", Host: "api.example.com", Path: "/v1beta/models/" + long + "\n\x1b[2J:generateContent"}
	inBody := wiretest.NewRequest(t, "POST", wiretest.ChatURL, `{"model":"a\n\u001b[2Jb","messages":[]}`)
	tr := snubber.New(wiretest.Play(wiretest.Step{Status: 400}))
	var keys []string
	tr.Observe = func(e snubber.Event) { keys = append(keys, e.Key) }
	for range 2 {
		if _, err := wiretest.Fetch(tr, inPath); err != nil {
			t.Fatal(err)
		}
		if _, err := wiretest.Fetch(tr, inBody); err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range tr.Limiter.Queues() {
		keys = append(keys, q.Key)
	}
	for _, c := range tr.Breaker.Circuits() {
		keys = append(keys, c.Key)
	}
	if len(keys) < 4 {
		t.Errorf("%d keys, want those of events, queues and circuits", len(keys))
	}
	for _, k := range keys {
		if strings.ContainsAny(k, "\n\x1b") || len(k) > 200 {
			t.Errorf("key = %q (%d bytes), want a short line", k[:min(len(k), 200)], len(k))
		}
		if tr.Breaker.Trip(k); strings.Contains(k, `a\n`) {
			_, err := wiretest.Fetch(tr, inBody)
			if !errors.Is(err, snubber.ErrOpen) {
				t.Errorf("after Trip(%q) the call = %v, want %v", k, err, snubber.ErrOpen)
			}
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("error = %q, want one line", err)
			}
		}
	}
}
