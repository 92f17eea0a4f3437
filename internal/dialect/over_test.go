package dialect

import (
	"net/http"
	"testing"
	"time"
)

// What a limited call was too much for is in the words of the message, or in the
// one bucket that is empty.
func TestOver(t *testing.T) {
	empty := func(kinds ...string) http.Header {
		h := http.Header{}
		for _, k := range kinds {
			h.Set("X-Ratelimit-Limit-"+k, "100")
			h.Set("X-Ratelimit-Remaining-"+k, "0")
		}
		return h
	}
	for _, tt := range []struct {
		name, host, message string
		header              http.Header
		want                string
	}{
		{"OpenAI, tokens", "", "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000", nil, "tokens"},
		{"OpenAI, requests", "", "Rate limit reached for gpt-4o on requests per min (RPM): Limit 500", nil, "requests"},
		{"Anthropic, input", "", "This request would exceed your organization's rate limit of 50,000 input tokens per minute", nil, "input-tokens"},
		{"Anthropic, output", "", "This request would exceed your organization's rate limit of 8,000 output tokens per minute", nil, "output-tokens"},
		{"Anthropic, concurrency", "", "Number of concurrent connections has exceeded your rate limit", nil, "concurrency"},
		{"parallel", "", "Too many parallel requests", nil, "concurrency"},
		{"concurrency before requests", "", "too many concurrent requests per key", nil, "concurrency"},
		{"DeepSeek says nothing", "api.deepseek.com", "Rate limit reached", nil, "concurrency"},
		{"others say nothing", "", "slow down", nil, ""},
		{"an empty bucket", "", "slow down", empty("Tokens"), "tokens"},
		{"two empty buckets", "", "slow down", empty("Tokens", "Requests"), ""},
		{"words before buckets", "", "requests per minute", empty("Tokens"), "requests"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := tt.header
			if h == nil {
				h = http.Header{}
			}
			h.Set("Content-Type", "application/json")
			v := Classify(&Response{
				Host: tt.host, Status: 429, Header: h, Now: time.Unix(1e9, 0),
				Body: []byte(`{"error":{"message":"` + tt.message + `"}}`),
			})
			if v.Over != tt.want {
				t.Errorf("over %q, want %q", v.Over, tt.want)
			}
		})
	}
}
