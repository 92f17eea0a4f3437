package examples

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// where is the base URL of a server as the SDK's users write it.
func (s sdk) where(url string) string {
	if strings.Contains(s.name, "openai") || strings.Contains(s.name, "OpenAI") {
		return url + "/v1"
	}
	return url
}

// The primary has no quota left: the SDK gets the answer of another provider,
// which sees neither the primary's key nor its model.
func TestFallbackAnswers(t *testing.T) {
	each(t, func(t *testing.T, s sdk, streamed bool) {
		r := newRig(t, s, &snubbertest.Provider{Text: "I am the first."})
		r.provider.Inject(snubbertest.Fault{Kind: snubbertest.QuotaExhausted})
		second := &snubbertest.Provider{Text: "I am the second."}
		srv := snubbertest.NewServer(second)
		t.Cleanup(srv.Close)
		r.snubber.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.Reroute{
			URL: s.where(srv.URL), Model: "other", Header: http.Header{"Authorization": {"Bearer mine"}},
		}}}}
		got, err := r.reads(streamed)
		if err != nil || got != second.Text {
			t.Fatalf("%q, %v, want the second's answer", got, err)
		}
		r.wants(t, 1, 1)
		calls := second.Calls()
		if len(calls) != 1 || calls[0].Model != "other" || calls[0].Header.Get("Authorization") != "Bearer mine" {
			t.Fatalf("the second got %+v", calls)
		}
		first := r.provider.Calls()[0]
		if !holds(first, "test") {
			t.Fatalf("the primary got no key: %v", first.Header)
		}
		if holds(calls[0], "test") {
			t.Errorf("the primary's key is in %s %v %s", calls[0].Query, calls[0].Header, calls[0].Body)
		}
	})
}

func holds(c snubbertest.Call, key string) bool {
	for _, v := range c.Header {
		if strings.Contains(strings.Join(v, "\n"), key) {
			return true
		}
	}
	return strings.Contains(c.Query, key) || strings.Contains(string(c.Body), key)
}

// reads asks, and puts the pieces of a stream together.
func (r *rig) reads(streamed bool) (string, error) {
	if !streamed {
		a, err := r.ask(context.Background(), nil)
		return a.text, err
	}
	var text strings.Builder
	_, err := r.ask(context.Background(), func(piece string) { text.WriteString(piece) })
	return text.String(), err
}

// A StaticReply is an answer to every SDK, whole and streamed.
func TestReplyIsAnAnswer(t *testing.T) {
	each(t, func(t *testing.T, s sdk, streamed bool) {
		r := newRig(t, s, &snubbertest.Provider{})
		r.provider.Inject(snubbertest.Fault{Kind: snubbertest.QuotaExhausted})
		const text = "Sorry, \"nobody\" is here.\n"
		r.snubber.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.StaticReply{Text: text}}}}
		got, err := r.reads(streamed)
		if err != nil || got != text {
			t.Fatalf("%q, %v, want %q", got, err, text)
		}
		r.wants(t, 1, 1)
	})
}
