package dialect

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"
)

func token(claims, signature string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + b64([]byte(claims)) + "." + signature
}

// Each pair is of two customers: what the one has used up is not the other's.
func TestQuotaOwnersApart(t *testing.T) {
	shared := http.Header{"Authorization": {"Bearer gateway"}}
	with := func(name, value string) http.Header {
		h := shared.Clone()
		h[name] = []string{value}
		return h
	}
	for _, tt := range []struct {
		name           string
		a, b           http.Header
		queryA, queryB string
		userA, userB   string
	}{
		{name: "cookie", a: http.Header{"Cookie": {"session=a"}}, b: http.Header{"Cookie": {"session=b"}}},
		{name: "raw cookie", a: http.Header{"cookie": {"session=a"}}, b: http.Header{"cookie": {"session=b"}}},
		{name: "query", queryA: "api_key=a", queryB: "api_key=b"},
		{name: "escaped query", queryA: "api%5Fkey=a", queryB: "api%5Fkey=b"},
		{name: "subscription", a: http.Header{"Ocp-Apim-Subscription-Key": {"a"}}, b: http.Header{"Ocp-Apim-Subscription-Key": {"b"}}},
		{name: "raw key", a: http.Header{"x-api-key": {"a"}}, b: http.Header{"x-api-key": {"b"}}},
		{name: "token", a: http.Header{"X-Auth-Token": {"a"}}, b: http.Header{"X-Auth-Token": {"b"}}},
		{name: "userinfo", userA: "a:p@", userB: "b:p@"},
		{name: "organization", a: with("Openai-Organization", "a"), b: with("Openai-Organization", "b")},
		{name: "project", a: with("Openai-Project", "a"), b: with("Openai-Project", "b")},
		{name: "user project", a: with("X-Goog-User-Project", "a"), b: with("X-Goog-User-Project", "b")},
		{name: "behind a shared one", a: with("X-Api-Key", "a"), b: with("X-Api-Key", "b")},
		{name: "impersonated", a: with("Impersonate-User", "a"), b: with("Impersonate-User", "b")},
		{name: "values moved between fields", a: http.Header{"X-Api-Key": {"a"}, "Client-Id": {"b"}}, b: http.Header{"X-Api-Key": {"b"}, "Client-Id": {"a"}}},
		{name: "the same value in another field", a: http.Header{"X-Api-Key": {"a"}, "Client-Id": {"b"}}, b: http.Header{"X-Auth-Token": {"a"}, "Client-Id": {"b"}}},
		{name: "subject", a: http.Header{"Authorization": {"Bearer " + token(`{"iss":"i","sub":"a"}`, "s")}}, b: http.Header{"Authorization": {"Bearer " + token(`{"iss":"i","sub":"b"}`, "s")}}},
		{name: "tenant", a: http.Header{"Authorization": {"Bearer " + token(`{"iss":"i","sub":"a","tid":"1"}`, "s")}}, b: http.Header{"Authorization": {"Bearer " + token(`{"iss":"i","sub":"a","tid":"2"}`, "s")}}},
		{name: "signing account", a: http.Header{"Authorization": {"AWS4-HMAC-SHA256 Credential=A/1/r/s/aws4_request, Signature=0"}}, b: http.Header{"Authorization": {"AWS4-HMAC-SHA256 Credential=B/1/r/s/aws4_request, Signature=0"}}},
	} {
		a, _ := QuotaOwner(tt.a, parseURL(t, "https://"+tt.userA+"a.example.com/v1/x?"+tt.queryA))
		b, _ := QuotaOwner(tt.b, parseURL(t, "https://"+tt.userB+"a.example.com/v1/x?"+tt.queryB))
		if a == b || a == "" {
			t.Errorf("%s: both are %q", tt.name, a)
		}
	}
}

// A thousand requests of one account are one queue.
func TestQuotaOwnerOfSigned(t *testing.T) {
	for name, request := range map[string]func(i int) (http.Header, string){
		"aws": func(i int) (http.Header, string) {
			return http.Header{
				"Authorization": {fmt.Sprintf("AWS4-HMAC-SHA256 Credential=AKIA1/%d/r/s/aws4_request, SignedHeaders=host, Signature=%x", i, i)},
				"X-Amz-Date":    {fmt.Sprint(i)}, "X-Amz-Content-Sha256": {fmt.Sprint(i)}, "Amz-Sdk-Invocation-Id": {fmt.Sprint(i)},
				"Amz-Sdk-Request": {fmt.Sprintf("attempt=%d; max=3", i)}, "X-Amz-Security-Token": {fmt.Sprint(i / 100)},
			}, ""
		},
		"aws query": func(i int) (http.Header, string) {
			return nil, fmt.Sprintf("X-Amz-Algorithm=A&X-Amz-Credential=AKIA1%%2F%d&X-Amz-Date=%d&X-Amz-Expires=60&X-Amz-Signature=%x", i, i, i)
		},
		"shared key": func(i int) (http.Header, string) {
			return http.Header{"Authorization": {fmt.Sprintf("SharedKey account:%x", i)}, "X-Ms-Date": {fmt.Sprint(i)}, "X-Ms-Client-Request-Id": {fmt.Sprint(i)}}, ""
		},
		"digest": func(i int) (http.Header, string) {
			return http.Header{"Authorization": {fmt.Sprintf(`Digest username="u", nonce="%d", response="%x"`, i, i)}}, ""
		},
		"google": func(i int) (http.Header, string) {
			return http.Header{"X-Goog-Api-Key": {"k"}, "X-Goog-Api-Client": {fmt.Sprintf("gl-go/%d", i)}, "X-Goog-Request-Params": {fmt.Sprintf("model=%d", i)}}, ""
		},
		"rotating token": func(i int) (http.Header, string) {
			return http.Header{"Authorization": {"Bearer " + token(fmt.Sprintf(`{"iss":"i","sub":"u","aud":["a"],"azp":"c","exp":%d,"jti":"%d"}`, i, i), fmt.Sprint(i))}}, ""
		},
		"cookies of a proxy": func(i int) (http.Header, string) {
			return http.Header{"Cookie": {fmt.Sprintf("__cf_bm=%d; session=u; _cfuvid=%d; AWSALB=%d; AWSALBCORS=%d", i, i, i, i)}}, ""
		},
		"cookie beside a key": func(i int) (http.Header, string) {
			return http.Header{"X-Api-Key": {"k"}, "Cookie": {fmt.Sprintf("visit=%d", i)}}, ""
		},
		"pages": func(i int) (http.Header, string) {
			return http.Header{"Authorization": {"Bearer k"}}, fmt.Sprintf("pageToken=%d", i)
		},
	} {
		owners := map[string]bool{}
		for i := range 1000 {
			h, query := request(i)
			owner, claims := QuotaOwner(h, parseURL(t, "https://a.example.com/?"+query))
			owners[owner] = true
			if claims != (name == "rotating token") {
				t.Fatalf("%s: claims = %v", name, claims)
			}
		}
		if len(owners) != 1 || owners[""] {
			t.Errorf("%s: %d owners of 1000 requests, want 1", name, len(owners))
		}
	}
}

// However many fields name the owner, and in whatever order a map gives them.
func TestQuotaOwnerIsOne(t *testing.T) {
	h, raw := http.Header{}, http.Header{}
	for i := range 20 {
		h.Set(fmt.Sprintf("X-Tenant-%d", i), fmt.Sprint(i))
		raw[fmt.Sprintf("x-tenant-%d", i)] = []string{fmt.Sprint(i)}
	}
	u := parseURL(t, "https://a.example.com/?client_id=c&api_key=k")
	want, _ := QuotaOwner(h, u)
	for range 50 {
		if got, _ := QuotaOwner(raw, u); got != want {
			t.Fatalf("QuotaOwner = %q, want %q", got, want)
		}
	}
}

func TestQuotaOwnerOfNobody(t *testing.T) {
	h := http.Header{"Accept": {"*/*"}, "Cookie": {"__cf_bm=1"}, "X-Request-Id": {"1"}}
	if owner, _ := QuotaOwner(h, parseURL(t, "https://a.example.com/?q=1&pageToken=2")); owner != "" {
		t.Errorf("QuotaOwner = %q, want none", owner)
	}
	for _, bad := range []string{"eyJ", "eyJhbGciOiJub25lIn0.e30.", "Bearer eyJ.!!.x", "Bearer " + token(`{"sub":"u"}`, "s"), "Bearer " + token(`[]`, "s")} {
		owner, claims := QuotaOwner(http.Header{"Authorization": {bad}}, parseURL(t, "https://a.example.com/"))
		if owner != bad || claims {
			t.Errorf("QuotaOwner of %q = %q, %v, want it as it is", bad, owner, claims)
		}
	}
	h = http.Header{"Authorization": {"Bearer k"}, "Content-Type": {"application/json"}, "X-Stainless-Lang": {"go"}, "Accept": {"*/*"}}
	u := parseURL(t, "https://a.example.com/v1/chat/completions")
	if n := testing.AllocsPerRun(10, func() { QuotaOwner(h, u) }); n != 0 {
		t.Errorf("QuotaOwner allocates %v times for one key, want 0", n)
	}
}
