package snubber

import (
	"fmt"
	"net/http"
	"testing"
)

// The origin, the credential and the model of a request decide whose quota it
// uses. Anything that differs from request to request does not.
func TestLimiterKeys(t *testing.T) {
	req := func(url string, header ...string) *http.Request {
		r, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	const aws = "AWS4-HMAC-SHA256 Credential=AKIA%s/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=%s"
	for _, tt := range []struct {
		name string
		a, b *http.Request
		same bool
	}{
		{"same", req("https://a/x", "Authorization", "Bearer 1"), req("https://a/y", "Authorization", "Bearer 1"), true},
		{"query", req("https://a/x?n=1"), req("https://a/x?n=2"), true},
		{"host", req("https://a/x"), req("https://b/x"), false},
		{"port", req("https://a:1/x"), req("https://a:2/x"), false},
		{"scheme", req("https://a/x"), req("http://a/x"), false},
		{"bearer", req("https://a/x", "Authorization", "Bearer 1"), req("https://a/x", "Authorization", "Bearer 2"), false},
		{"x-api-key", req("https://a/x", "X-Api-Key", "1"), req("https://a/x", "X-Api-Key", "2"), false},
		{"api-key", req("https://a/x", "Api-Key", "1"), req("https://a/x", "Api-Key", "2"), false},
		{"x-goog-api-key", req("https://a/x", "X-Goog-Api-Key", "1"), req("https://a/x", "X-Goog-Api-Key", "2"), false},
		{"key in the query", req("https://a/x?key=1"), req("https://a/x?key=2"), false},
		{"none and some", req("https://a/x"), req("https://a/x", "Authorization", "Bearer 1"), false},
		{"another signature of one access key", req("https://a/x", "Authorization", fmt.Sprintf(aws, "1", "aa")), req("https://a/x", "Authorization", fmt.Sprintf(aws, "1", "bb")), true},
		{"another access key", req("https://a/x", "Authorization", fmt.Sprintf(aws, "1", "aa")), req("https://a/x", "Authorization", fmt.Sprintf(aws, "2", "aa")), false},
	} {
		for _, l := range []*Limiter{{}, {Secret: []byte("s")}} {
			if got := l.keyOf(tt.a, "m") == l.keyOf(tt.b, "m"); got != tt.same {
				t.Errorf("%s: one key %v, want %v", tt.name, got, tt.same)
			}
			if l.keyOf(tt.a, "m") == l.keyOf(tt.a, "n") {
				t.Errorf("%s: two models share a key", tt.name)
			}
		}
		one, two := &Limiter{Secret: []byte("s")}, &Limiter{Secret: []byte("s")}
		if one.keyOf(tt.a, "m") != two.keyOf(tt.a, "m") {
			t.Errorf("%s: the same secret gives different keys", tt.name)
		}
		shared := &Limiter{Key: func(*http.Request) string { return "all" }}
		if shared.keyOf(tt.a, "m") != shared.keyOf(tt.b, "n") {
			t.Errorf("%s: Key does not decide", tt.name)
		}
	}
}
