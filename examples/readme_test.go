package examples

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"google.golang.org/genai"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/dashboard"
)

// The functions below hold the README's code, so that it compiles.

func readmeFirst() openai.Client {
	client := openai.NewClient(
		openaioption.WithHTTPClient(&http.Client{Transport: snubber.New(nil)}),
	)
	return client
}

func readmeSDKs(ctx context.Context, key string) (openai.Client, anthropic.Client, *genai.Client, error) {
	c := &http.Client{Transport: snubber.New(nil)} // one for all SDKs; leave Timeout at zero

	openaiClient := openai.NewClient(openaioption.WithHTTPClient(c))
	claudeClient := anthropic.NewClient(anthropicoption.WithHTTPClient(c))
	geminiClient, err := genai.NewClient(ctx, &genai.ClientConfig{APIKey: key, Backend: genai.BackendGeminiAPI, HTTPClient: c})
	return openaiClient, claudeClient, geminiClient, err
}

func readmeQuota() *snubber.Transport {
	t := snubber.New(nil)
	t.Limiter = &snubber.Limiter{RequestsPerMinute: 500, TokensPerMinute: 200_000}
	t.Observe = func(e snubber.Event) { slog.Info("snubber", "kind", e.Kind, "key", e.Key, "class", e.Outcome.Class) }
	return t
}

func readmeErrors(err error) {
	var rejected *snubber.RejectedError
	switch {
	case errors.Is(err, snubber.ErrOpen): // the circuit is open: use another model
	case errors.Is(err, snubber.ErrQuota): // billing or a daily quota: tell someone
	case errors.As(err, &rejected): // also ErrLimited: come back after rejected.RetryAfter
	}
}

func readmeRoutes(t *snubber.Transport, euKey string) {
	t.Fallback = &snubber.Fallback{Routes: []snubber.Route{
		{Transport: snubber.Reroute{URL: "https://eu.example.com/v1", Model: "gpt-4o", Header: http.Header{"Authorization": {"Bearer " + euKey}}}},
		{Transport: snubber.Stale}, // a stored response, fresh or not
		{Transport: snubber.StaticReply{Text: "The assistant is not available right now."}},
	}}
}

func readmeCache(t *snubber.Transport) {
	t.Cache = &snubber.Cache{PromptTTL: time.Hour}
}

func readmeSee(t *snubber.Transport) {
	d := dashboard.New(t)
	t.Observe = snubber.Observers(snubber.Log(slog.Default()), d.Observe)
	http.Handle("/debug/snubber/", d)
}

var _ = []any{readmeFirst, readmeSDKs, readmeQuota, readmeErrors, readmeRoutes, readmeCache, readmeSee}

// Every line of Go in the README stands in this file.
func TestReadmeCompiles(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	compiled := map[string]bool{}
	for line := range strings.Lines(string(here)) {
		compiled[strings.TrimSpace(line)] = true
	}
	lines, inside := 0, false
	for line := range strings.Lines(string(readme)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```go"
		case inside && line != "":
			if lines++; !compiled[line] {
				t.Errorf("not compiled: %s", line)
			}
		}
	}
	if lines == 0 {
		t.Error("no Go in the README")
	}
}
