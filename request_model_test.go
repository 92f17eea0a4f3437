package snubber_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// Model finds the name in the path or the body. In a function that a Transport
// calls it finds the name even after the body was sent.
func TestModel(t *testing.T) {
	const root = "https://api.example.com"
	for _, tt := range []struct{ method, url, body, want string }{
		{"POST", wiretest.ChatURL, wiretest.ChatBody, "m"},
		{"POST", wiretest.ChatURL, `{"messages":[{"role":"user","content":"\"model\":\"no\""}],"model":"late"}`, "late"},
		{"POST", wiretest.ChatURL, `{"metadata":{"model":"no"},"model":"top"}`, "top"},
		{"POST", wiretest.ChatURL, `{"model":"\u006d"}`, "m"},
		{"POST", wiretest.ChatURL, `{"model":7}`, ""},
		{"POST", wiretest.ChatURL, `{"model":"` + strings.Repeat("x", 10_000) + `"}`, ""},
		{"POST", wiretest.ChatURL, `{"messages":[]}`, ""},
		{"POST", wiretest.ChatURL, `not JSON`, ""},
		{"POST", wiretest.ChatURL, ``, ""},
		{"POST", root + "/v1/responses", `{"model":"r"}`, "r"},
		{"POST", root + "/v1/embeddings", `{"model":"e","input":"x"}`, "e"},
		{"POST", root + "/v1/messages", `{"model":"c"}`, "c"},
		{"POST", root + "/v1beta/models/g:generateContent", `{}`, "g"},
		{"POST", root + "/v1beta/models/g:streamGenerateContent?alt=sse", `{}`, "g"},
		{"POST", root + "/openai/deployments/d/chat/completions?api-version=1", `{"model":"other"}`, "d"},
		{"POST", root + "/model/b/converse", `{}`, "b"},
		{"POST", root + "/v1/files", `{"model":"no"}`, ""},
		{"GET", root + "/v1/models/m", "", ""},
	} {
		req := wiretest.NewRequest(t, tt.method, tt.url, tt.body)
		if got := snubber.Model(req); got != tt.want {
			t.Errorf("Model(%s %s %.60s) = %q, want %q", tt.method, tt.url, tt.body, got, tt.want)
		}
		if req.Body != nil {
			if b, _ := io.ReadAll(req.Body); string(b) != tt.body {
				t.Errorf("Model read %.60s", tt.body)
			}
		}
	}
	if got := snubber.Model(&http.Request{Method: "POST"}); got != "" {
		t.Errorf("Model without a URL = %q", got)
	}
	req := wiretest.WithoutGetBody(t, "POST", wiretest.ChatURL, &wiretest.TrackedBody{R: strings.NewReader(wiretest.ChatBody)}, int64(len(wiretest.ChatBody)))
	if got := snubber.Model(req); got != "" {
		t.Errorf("Model of a body that cannot be had again = %q", got)
	}
}

// Model knows the name below a Transport before and after the body was sent,
// even if the body cannot be read twice.
func TestModelInsideTransport(t *testing.T) {
	for _, getBody := range []bool{true, false} {
		for _, rt := range []*snubber.Retry{nil, {}} {
			synctest.Test(t, func(t *testing.T) {
				var got []string
				note := func(req *http.Request) { got = append(got, snubber.Model(req)) }
				tr := &snubber.Transport{
					Retry: rt,
					Base: wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
						note(req)
						b, _ := io.ReadAll(req.Body)
						req.Body.Close()
						if string(b) != wiretest.ChatBody {
							t.Errorf("the attempt got %q", b)
						}
						note(req)
						return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
					}),
					Breaker: &snubber.Breaker{Key: func(req *http.Request) string { note(req); return "k" }},
					Limiter: &snubber.Limiter{Key: func(req *http.Request) string { note(req); return "k" }},
					Classify: func(req *http.Request, _ *http.Response, _ error) snubber.Outcome {
						note(req)
						return snubber.Outcome{Class: snubber.Success}
					},
				}
				req := wiretest.Chat(t)
				if !getBody {
					req = wiretest.WithoutGetBody(t, "POST", wiretest.ChatURL, &wiretest.TrackedBody{R: bytes.NewReader([]byte(wiretest.ChatBody))}, int64(len(wiretest.ChatBody)))
				}
				res, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				wiretest.ReadAll(t, res)
				if len(got) < 5 {
					t.Errorf("asked %d times, want in Base twice and in each hook", len(got))
				}
				for i, m := range got {
					if m != "m" {
						t.Errorf("GetBody %v: Model = %q at place %d", getBody, m, i)
					}
				}
			})
		}
	}
}
