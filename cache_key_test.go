package snubber_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// raw is a request whose header has a field under a key that is not canonical.
func raw(req *http.Request, name string, values ...string) *http.Request {
	req.Header[name] = values
	return req
}

// A map of headers can be filled without Set, and a server reads names in any case.
// What is sent stays as it came.
func TestCacheHeaderNamesInAnyCase(t *testing.T) {
	t.Run("vary", func(t *testing.T) {
		base := wiretest.Play(wiretest.Page("hello", "Vary", "X-Lang"))
		rt := caching(base)
		served(t, rt, raw(wiretest.GetPage(t), "x-lang", "de"))
		if _, cache := served(t, rt, raw(wiretest.GetPage(t), "x-lang", "fr")); cache != "miss" {
			t.Errorf("another variant is a %s, want a miss", cache)
		}
		if _, cache := served(t, rt, wiretest.GetPage(t, "X-Lang", "de")); cache != "hit" {
			t.Errorf("the same variant is a %s, want a hit", cache)
		}
		//lint:ignore SA1008 the caller wrote it so.
		if h := base.Attempts()[0].Header; h["x-lang"] == nil || h["X-Lang"] != nil {
			t.Errorf("sent %v, want the header as it came", h)
		}
	})
	t.Run("no-store", func(t *testing.T) {
		rt := caching(wiretest.Play(wiretest.Page("hello")))
		for range 2 {
			if _, cache := served(t, rt, raw(wiretest.GetPage(t), "cache-control", "no-store")); cache != "bypass" {
				t.Errorf("cache = %s, want a bypass", cache)
			}
		}
	})
	t.Run("range", func(t *testing.T) {
		rt := caching(wiretest.Play(wiretest.Page("hello", "Etag", `"1"`)))
		served(t, rt, wiretest.GetPage(t))
		res, err := rt.RoundTrip(raw(wiretest.GetPage(t), "range", "bytes=1-2"))
		if err != nil {
			t.Fatal(err)
		}
		if body := wiretest.ReadAll(t, res); res.StatusCode != 206 || body != "el" {
			t.Errorf("range = %d %q, want 206, el", res.StatusCode, body)
		}
	})
	t.Run("condition", func(t *testing.T) {
		base := wiretest.Play(wiretest.Page("hello", "Etag", `"1"`, "Cache-Control", "max-age=0"), wiretest.Page("hello", "Etag", `"1"`, "Cache-Control", "max-age=0"))
		rt := caching(base)
		served(t, rt, wiretest.GetPage(t))
		served(t, rt, raw(wiretest.GetPage(t), "if-none-match", `"2"`))
		h := base.Attempts()[1].Header
		//lint:ignore SA1008 the caller wrote it so.
		if got := append(h["If-None-Match"], h["if-none-match"]...); len(got) != 2 || got[0] != `"2"` || got[1] != `"1"` {
			t.Errorf("asked with %q, want the caller's condition and the cache's", got)
		}
	})
	t.Run("credential", func(t *testing.T) {
		rt := caching(wiretest.Play(wiretest.Page("hello")))
		served(t, rt, raw(wiretest.GetPage(t), "x-api-key", "alice"))
		if _, cache := served(t, rt, raw(wiretest.GetPage(t), "x-api-key", "bob")); cache != "miss" {
			t.Errorf("another's page is a %s, want a miss", cache)
		}
		if _, cache := served(t, rt, wiretest.GetPage(t, "X-Api-Key", "alice")); cache != "hit" {
			t.Errorf("the own page is a %s, want a hit", cache)
		}
	})
}

// Whatever names the caller keeps its responses from others.
func TestCacheIdentityFields(t *testing.T) {
	for _, name := range []string{
		"Impersonate-User", "Impersonate-Group", "X-Remote-Group", "X-Remote-User", "X-Ms-Client-Principal", "X-Ms-Client-Principal-Id",
		"Cf-Access-Client-Id", "Client-Id", "X-App-Id", "From", "X-Amz-Account-Id", "X-Goog-User-Project", "X-Goog-Authenticated-User-Email",
		"X-Forwarded-Email", "X-Customer-Id",
	} {
		for _, req := range []func(value string) *http.Request{
			func(value string) *http.Request { return wiretest.GetPage(t, name, value) },
			func(value string) *http.Request { return prompted(t, "", name, value) },
			func(value string) *http.Request { return raw(wiretest.GetPage(t), strings.ToLower(name), value) },
		} {
			rt := caching(wiretest.Play(wiretest.Page(wiretest.Completion, "Content-Type", "application/json")))
			served(t, rt, req("alice"))
			if _, cache := served(t, rt, req("bob")); cache != "miss" {
				t.Errorf("%s: bob gets a %s, want a miss", name, cache)
			}
			if _, cache := served(t, rt, req("alice")); cache != "hit" {
				t.Errorf("%s: alice gets a %s, want a hit", name, cache)
			}
		}
	}
	for _, query := range []string{"access_token=%s&q=1", "q=1&API%%5FKEY=%s", "q=1;token=%s"} {
		rt := caching(wiretest.Play(wiretest.Page("hello")))
		at := func(value string) *http.Request {
			return wiretest.NewRequest(t, "GET", wiretest.PageURL+"?"+fmt.Sprintf(query, value), "")
		}
		served(t, rt, at("alice"))
		if _, cache := served(t, rt, at("bob")); cache != "miss" {
			t.Errorf("%s: bob gets a %s, want a miss", query, cache)
		}
		if _, cache := served(t, rt, at("alice")); cache != "hit" {
			t.Errorf("%s: alice gets a %s, want a hit", query, cache)
		}
	}
}

// Every header field tells prompts apart, but for a list and IgnoreHeaders.
func TestCacheIgnoreHeaders(t *testing.T) {
	second := func(c *snubber.Cache, a, b *http.Request) string {
		c.PromptTTL = time.Hour
		rt := &snubber.Transport{Base: wiretest.Play(wiretest.JSON(200, wiretest.Completion)), Cache: c}
		served(t, rt, a)
		_, cache := served(t, rt, b)
		return cache
	}
	for _, name := range []string{"X-Guardrail-Id", "X-Amzn-Bedrock-Guardrailidentifier", "X-Target-Url", "X-Deployment", "X-Model-Version", "Helicone-Target-Url", "Accept-Language"} {
		if cache := second(&snubber.Cache{}, prompted(t, "", name, "a"), prompted(t, "", name, "b")); cache != "miss" {
			t.Errorf("%s: another value is a %s, want a miss", name, cache)
		}
		if cache := second(&snubber.Cache{}, prompted(t, "", name, "a"), prompted(t, "", name, "a")); cache != "hit" {
			t.Errorf("%s: the same value is a %s, want a hit", name, cache)
		}
		if cache := second(&snubber.Cache{IgnoreHeaders: []string{strings.ToLower(name)}}, prompted(t, "", name, "a"), prompted(t, "", name, "b")); cache != "hit" {
			t.Errorf("%s, ignored: another value is a %s, want a hit", name, cache)
		}
	}
	for _, name := range []string{"X-Stainless-Package-Version", "Traceparent", "X-B3-Traceid", "X-Goog-Api-Client", "Amz-Sdk-Invocation-Id", "User-Agent", "X-Ms-Client-Request-Id", "Baggage"} {
		if cache := second(&snubber.Cache{}, prompted(t, "", name, "a"), prompted(t, "", name, "b")); cache != "hit" {
			t.Errorf("%s: another value is a %s, want a hit", name, cache)
		}
	}
}

// A field that makes each of twenty equal prompts a miss is named, in one event.
func TestCacheNamesVaryingHeader(t *testing.T) {
	rt := caching(wiretest.Play(wiretest.JSON(200, wiretest.Completion)))
	events := 0
	rt.Observe = func(e snubber.Event) {
		if e.Kind == snubber.EventCache && strings.Contains(e.Detail, "X-Serial") {
			events++
		}
	}
	for i := range 23 {
		res, err := rt.RoundTrip(prompted(t, "", "X-Serial", fmt.Sprint(i), "X-Deployment", "a", "Authorization", "Bearer SECRET"))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		named := strings.Contains(res.Header.Get("Cache-Status"), `detail="differs in each request: X-Serial"`)
		if named != (i >= 19) {
			t.Errorf("request %d: Cache-Status: %s", i+1, res.Header.Get("Cache-Status"))
		}
	}
	if events != 1 {
		t.Errorf("%d events name the field, want 1", events)
	}
	// Prompts that differ are no sign of anything.
	rt = caching(wiretest.Play(wiretest.JSON(200, wiretest.Completion)))
	for i := range 23 {
		res, err := rt.RoundTrip(prompted(t, fmt.Sprintf(`,"seed":%d`, i), "X-Serial", fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		if s := res.Header.Get("Cache-Status"); strings.Contains(s, "differs") {
			t.Errorf("different prompts: Cache-Status: %s", s)
		}
	}
}

// What depends on the world, or on what the server has, is not stored.
func TestCachePromptOfTheWorld(t *testing.T) {
	const responses, messages, gemini = "https://api.example.com/v1/responses", wiretest.AnthropicURL, "https://api.example.com/v1beta/models/g:generateContent"
	for _, tt := range []struct{ why, url, body string }{
		{"web_search_options", wiretest.ChatURL, `{"model":"m","messages":[],"web_search_options":{}}`},
		{"plugins", wiretest.ChatURL, `{"model":"m","messages":[],"plugins":[{"id":"web"}]}`},
		{"model", wiretest.ChatURL, `{"model":"a/b:online","messages":[]}`},
		{"search_parameters", wiretest.ChatURL, `{"model":"m","messages":[],"search_parameters":{"mode":"auto"}}`},
		{"data_sources", wiretest.ChatURL, `{"model":"m","messages":[],"data_sources":[{"type":"azure_search"}]}`},
		{"enable_search", wiretest.ChatURL, `{"model":"m","messages":[],"enable_search":true}`},
		{"server tools", gemini, `{"contents":[],"tools":[{"google_search":{}}]}`},
		{"server tools", gemini, `{"contents":[],"tools":[{"codeExecution":{}}]}`},
		{"server tools", gemini, `{"contents":[],"tools":[{"url_context":{}}]}`},
		{"server tools", messages, `{"model":"m","messages":[],"tools":[{"type":"web_search_20250305","name":"web_search"}]}`},
		{"prompt", responses, `{"model":"m","input":"hi","store":false,"prompt":{"id":"pmpt_1"}}`},
		{"store", responses, `{"model":"m","input":"hi"}`},
		{"agent", "https://api.example.com/v1/agents/completions", `{"agent_id":"a","messages":[]}`},
	} {
		rt := caching(wiretest.Play(wiretest.JSON(200, wiretest.Completion)))
		for range 2 {
			res, err := rt.RoundTrip(wiretest.NewRequest(t, "POST", tt.url, tt.body))
			if err != nil {
				t.Fatal(err)
			}
			wiretest.ReadAll(t, res)
			if s := res.Header.Get("Cache-Status"); !strings.Contains(s, `detail="`+tt.why) {
				t.Errorf("%s: Cache-Status: %s, want a bypass: %s", tt.body, s, tt.why)
			}
		}
	}
}

// The URL of a stored response has no secret in it.
func TestStoredResponseURL(t *testing.T) {
	for _, name := range []string{"api_key", "apikey", "access_token", "token", "sig", "X-Amz-Signature", "code", "auth", "password", "API%5FKEY", "Access_Token"} {
		rt := caching(wiretest.Play(wiretest.Page("hello")))
		served(t, rt, wiretest.NewRequest(t, "GET", wiretest.PageURL+"?q=1&"+name+"=SECRET&page=2", ""))
		got := ""
		if n, err := rt.Cache.Purge(func(s snubber.StoredResponse) bool { got = s.URL; return true }); n != 1 || err != nil {
			t.Errorf("%s: Purge = %d, %v, want 1", name, n, err)
		}
		if want := wiretest.PageURL + "?q=1&page=2"; got != want {
			t.Errorf("%s: URL = %s, want %s", name, got, want)
		}
	}
}
