package snubber_test

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
)

// sharing are pairs of requests, and whether one may get the other's response.
func sharing(t testing.TB) []struct {
	name string
	a, b *http.Request
	same bool
} {
	post := func(body string, header ...string) *http.Request { return newReq(t, "POST", chatURL, body, header...) }
	prompt := func(member string) *http.Request {
		return post(`{"model":"m","messages":[{"role":"user","content":"hello"}],` + member + `}`)
	}
	at := func(url string, header ...string) *http.Request { return newReq(t, "GET", url, "", header...) }
	type pair = struct {
		name string
		a, b *http.Request
		same bool
	}
	pairs := []pair{
		{"the same page", get(t), get(t), true},
		{"the same prompt", chat(t), chat(t), true},
		{"another order of members", post(`{"model":"m","messages":[]}`), post(`{ "messages" : [ ], "model" : "m" }`), true},
		{"another spelling of a text", post(`{"model":"m","messages":["\u00e9\/"]}`), post(`{"model":"m","messages":["é/"]}`), true},
		{"another order of elements", prompt(`"x":[1,2]`), prompt(`"x":[2,1]`), false},
		{"neighbours above 2^53", prompt(`"seed":9007199254740993`), prompt(`"seed":9007199254740992`), false},
		{"huge numbers", prompt(`"seed":1e400`), prompt(`"seed":1e401`), false},
		{"a number and a text", prompt(`"x":1`), prompt(`"x":"1"`), false},
		{"zero and nothing", prompt(`"temperature":0`), chat(t), false},
		{"null and nothing", prompt(`"temperature":null`), chat(t), false},
		{"a name twice", prompt(`"x":1,"x":2`), prompt(`"x":2`), false},
		{"a name twice, in another order", prompt(`"x":1,"x":2`), prompt(`"x":2,"x":1`), false},
		{"a name twice, once escaped", prompt(`"x":1,"\u0078":2`), prompt(`"x":2`), false},
		{"half a surrogate", prompt(`"x":"\ud800"`), prompt(`"x":"\ufffd"`), false},
		{"half surrogates", prompt(`"x":"\ud800"`), prompt(`"x":"\ud801"`), false},
		{"invalid UTF-8", prompt("\"x\":\"\xff\""), prompt(`"x":"\ufffd"`), false},
		{"composed and decomposed", prompt(`"x":"é"`), prompt("\"x\":\"e\u0301\""), false},
		{"upper case", prompt(`"x":"Foo()"`), prompt(`"x":"foo()"`), false},
		{"space in a text", prompt(`"x":"foo"`), prompt(`"x":"foo "`), false},
		{"a second value after the first", post(chatBody), post(chatBody + chatBody), false},
		{"a member moved into another", prompt(`"x":{"a":1},"b":2`), prompt(`"x":{"a":1,"b":2}`), false},
		{"a stream and a whole", chat(t), streamed(t), false},
		{"stream_options", post(`{"model":"m","stream":true,"messages":[]}`), post(`{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}`), false},
		{"user", prompt(`"user":"a"`), prompt(`"user":"b"`), false},
		{"another path", chat(t), newReq(t, "POST", "https://api.example.com/v1/other/chat/completions", chatBody), false},
		{"another host", chat(t), newReq(t, "POST", "https://api.example.net/v1/chat/completions", chatBody), false},
		{"another scheme", at("http://a.test/x"), at("https://a.test/x"), false},
		{"another query", at(pageURL + "?a=1"), at(pageURL + "?a=2"), false},
		{"path and query", at("https://a.test/x%3Fa=1"), at("https://a.test/x?a=1"), false},
		{"host and path", at("https://a.test/b/c"), at("https://a.test:443/b/c"), true},
		{"SDK's own fields", chat(t, "X-Stainless-Retry-Count", "0", "Idempotency-Key", "a", "Traceparent", "b", "User-Agent", "c", "X-Request-Id", "d"),
			chat(t, "X-Stainless-Retry-Count", "1", "Idempotency-Key", "b", "Traceparent", "c", "User-Agent", "d", "X-Request-Id", "e"), true},
		{"another version", chat(t, "Anthropic-Version", "2023-06-01"), chat(t, "Anthropic-Version", "2023-01-01"), false},
		{"another beta", chat(t, "Anthropic-Beta", "a"), chat(t, "Anthropic-Beta", "b"), false},
		{"another Accept", chat(t, "Accept", "application/json"), chat(t, "Accept", "text/event-stream"), false},
		{"another content type", chat(t, "Content-Type", "application/json"), chat(t, "Content-Type", "text/plain"), false},
		{"?key= of a prompt", newReq(t, "POST", chatURL+"?key=a", chatBody), newReq(t, "POST", chatURL+"?key=b", chatBody), false},
		{"?key= of a page", at(pageURL + "?key=a"), at(pageURL + "?key=b"), false},
		{"the credential of another field", chat(t, "X-Api-Key", "a"), chat(t, "Api-Key", "a"), false},
		{"credentials shifted", chat(t, "Authorization", "a", "X-Api-Key", "bc"), chat(t, "Authorization", "ab", "X-Api-Key", "c"), false},
	}
	for _, name := range []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Cookie", "Proxy-Authorization", "OpenAI-Organization", "OpenAI-Project"} {
		pairs = append(pairs,
			pair{name + " of a prompt", chat(t, name, "Bearer a"), chat(t, name, "Bearer b"), false},
			pair{name + " of a prompt, the same", chat(t, name, "Bearer a"), chat(t, name, "Bearer a"), true},
			pair{name + " of a prompt, or none", chat(t, name, "Bearer a"), chat(t), false},
			pair{name + " of a page", get(t, name, "Bearer a"), get(t, name, "Bearer b"), false},
			pair{name + " of a page, the same", get(t, name, "Bearer a"), get(t, name, "Bearer a"), true},
			pair{name + " of a page, or none", get(t, name, "Bearer a"), get(t), false},
			pair{name + " of a page, or none before", get(t), get(t, name, "Bearer a"), false})
	}
	return pairs
}

// Requests share a response only if the server could not have given them different
// ones.
func TestCacheCredentials(t *testing.T) {
	for _, p := range sharing(t) {
		t.Run(p.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := step{body: completion, header: hdr("Cache-Control", "max-age=60", "Content-Type", "application/json")}
				base := play(first)
				rt := caching(base)
				sent := ""
				if p.b.GetBody != nil {
					b, _ := p.b.GetBody()
					text, _ := io.ReadAll(b)
					sent = string(text)
				}
				served(t, rt, p.a)
				_, cache := served(t, rt, p.b)
				if same := cache == "hit"; same != p.same || same != (base.sent() == 1) {
					t.Errorf("the second is a %s, %d sent", cache, base.sent())
				}
				if all := base.all(); len(all) == 2 && all[1].body != sent {
					t.Errorf("sent %q, want the caller's own bytes %q", all[1].body, sent)
				}
			})
		})
	}
}
