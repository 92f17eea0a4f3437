package snubber

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/seed-9e4f5248/snubber/internal/keyed"
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
		{"cookie", req("https://a/x", "Cookie", "session=1"), req("https://a/x", "Cookie", "session=2"), false},
		{"a proxy's cookie", req("https://a/x", "Cookie", "__cf_bm=1"), req("https://a/x", "Cookie", "__cf_bm=2"), true},
		{"a cookie beside a credential", req("https://a/x", "Authorization", "Bearer 1", "Cookie", "s=1"), req("https://a/x", "Authorization", "Bearer 1", "Cookie", "s=2"), true},
		{"api_key in the query", req("https://a/x?api_key=1"), req("https://a/x?api_key=2"), false},
		{"Azure's gateway", req("https://a/x", "Ocp-Apim-Subscription-Key", "1"), req("https://a/x", "Ocp-Apim-Subscription-Key", "2"), false},
		{"x-auth-token", req("https://a/x", "X-Auth-Token", "1"), req("https://a/x", "X-Auth-Token", "2"), false},
		{"userinfo", req("https://u:1@a/x"), req("https://u:2@a/x"), false},
		{"organization", req("https://a/x", "Authorization", "Bearer 1", "Openai-Organization", "1"), req("https://a/x", "Authorization", "Bearer 1", "Openai-Organization", "2"), false},
		{"project", req("https://a/x", "Authorization", "Bearer 1", "X-Goog-User-Project", "1"), req("https://a/x", "Authorization", "Bearer 1", "X-Goog-User-Project", "2"), false},
		{"a key behind a shared one", req("https://a/x", "Authorization", "Bearer 1", "X-Api-Key", "1"), req("https://a/x", "Authorization", "Bearer 1", "X-Api-Key", "2"), false},
		{"what an SDK says of itself", req("https://a/x", "X-Goog-Api-Client", "1", "X-Goog-Request-Params", "1"), req("https://a/x", "X-Goog-Api-Client", "2", "X-Goog-Request-Params", "2"), true},
		// Nobody has verified the claims: {"iss":"i","sub":"s"}, signed twice.
		{"another signature of one token", req("https://a/x", "Authorization", "Bearer eyJhIjoxfQ.eyJpc3MiOiJpIiwic3ViIjoicyJ9.AA"), req("https://a/x", "Authorization", "Bearer eyJhIjoxfQ.eyJpc3MiOiJpIiwic3ViIjoicyJ9.BB"), false},
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

// A thousand signed requests of one account are one queue, however they are signed.
func TestLimiterKeysOfSignatures(t *testing.T) {
	var inHeader, inQuery Limiter
	keys := make(map[keyed.Key]bool)
	for i := range 1000 {
		r, err := http.NewRequest("POST", "https://bedrock.us-east-1.amazonaws.com/model/m/invoke", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=AKIA1/202601%02d/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=%x", i%28+1, i))
		r.Header.Set("X-Amz-Date", fmt.Sprintf("20260101T%06dZ", i))
		r.Header.Set("X-Amz-Content-Sha256", fmt.Sprint(i))
		r.Header.Set("X-Amz-Security-Token", fmt.Sprint("session", i))
		keys[inHeader.keyOf(r, "m")] = true
		r, err = http.NewRequest("GET", fmt.Sprintf("https://b.s3.amazonaws.com/o?X-Amz-Credential=AKIA1%%2F2026%%2Fs3&X-Amz-Date=%d&X-Amz-Signature=%d", i, i), nil)
		if err != nil {
			t.Fatal(err)
		}
		keys[inQuery.keyOf(r, "m")] = true
	}
	if len(keys) != 2 {
		t.Errorf("%d keys of two origins, want 2", len(keys))
	}
}
