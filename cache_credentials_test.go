package snubber_test

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// sharing are pairs of requests, and whether one may get the other's response.
func sharing(t testing.TB) []struct {
	name string
	a, b *http.Request
	same bool
} {
	post := func(body string, header ...string) *http.Request {
		return wiretest.NewRequest(t, "POST", wiretest.ChatURL, body, header...)
	}
	prompt := func(member string) *http.Request {
		return post(`{"model":"m","messages":[{"role":"user","content":"hello"}],` + member + `}`)
	}
	at := func(url string, header ...string) *http.Request {
		return wiretest.NewRequest(t, "GET", url, "", header...)
	}
	type pair = struct {
		name string
		a, b *http.Request
		same bool
	}
	pairs := []pair{
		{"the same page", wiretest.GetPage(t), wiretest.GetPage(t), true},
		{"the same prompt", wiretest.Chat(t), wiretest.Chat(t), true},
		{"another order of members", post(`{"model":"m","messages":[]}`), post(`{ "messages" : [ ], "model" : "m" }`), true},
		{"another spelling of a text", post(`{"model":"m","messages":["\u00e9\/"]}`), post(`{"model":"m","messages":["é/"]}`), true},
		{"another order of elements", prompt(`"x":[1,2]`), prompt(`"x":[2,1]`), false},
		{"neighbours above 2^53", prompt(`"seed":9007199254740993`), prompt(`"seed":9007199254740992`), false},
		{"huge numbers", prompt(`"seed":1e400`), prompt(`"seed":1e401`), false},
		{"a number and a text", prompt(`"x":1`), prompt(`"x":"1"`), false},
		{"zero and nothing", prompt(`"temperature":0`), wiretest.Chat(t), false},
		{"null and nothing", prompt(`"temperature":null`), wiretest.Chat(t), false},
		{"a name twice", prompt(`"x":1,"x":2`), prompt(`"x":2`), false},
		{"a name twice, in another order", prompt(`"x":1,"x":2`), prompt(`"x":2,"x":1`), false},
		{"a name twice, once escaped", prompt(`"x":1,"\u0078":2`), prompt(`"x":2`), false},
		{"half a surrogate", prompt(`"x":"\ud800"`), prompt(`"x":"\ufffd"`), false},
		{"half surrogates", prompt(`"x":"\ud800"`), prompt(`"x":"\ud801"`), false},
		{"invalid UTF-8", prompt("\"x\":\"\xff\""), prompt(`"x":"\ufffd"`), false},
		{"composed and decomposed", prompt(`"x":"é"`), prompt("\"x\":\"e\u0301\""), false},
		{"upper case", prompt(`"x":"Foo()"`), prompt(`"x":"foo()"`), false},
		{"space in a text", prompt(`"x":"foo"`), prompt(`"x":"foo "`), false},
		{"a second value after the first", post(wiretest.ChatBody), post(wiretest.ChatBody + wiretest.ChatBody), false},
		{"a member moved into another", prompt(`"x":{"a":1},"b":2`), prompt(`"x":{"a":1,"b":2}`), false},
		{"a stream and a whole", wiretest.Chat(t), wiretest.ChatStream(t), false},
		{"stream_options", post(`{"model":"m","stream":true,"messages":[]}`), post(`{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}`), false},
		{"user", prompt(`"user":"a"`), prompt(`"user":"b"`), false},
		{"another path", wiretest.Chat(t), wiretest.NewRequest(t, "POST", "https://api.example.com/v1/other/chat/completions", wiretest.ChatBody), false},
		{"another host", wiretest.Chat(t), wiretest.NewRequest(t, "POST", "https://api.example.net/v1/chat/completions", wiretest.ChatBody), false},
		{"another scheme", at("http://a.test/x"), at("https://a.test/x"), false},
		{"another query", at(wiretest.PageURL + "?a=1"), at(wiretest.PageURL + "?a=2"), false},
		{"path and query", at("https://a.test/x%3Fa=1"), at("https://a.test/x?a=1"), false},
		{"host and path", at("https://a.test/b/c"), at("https://a.test:443/b/c"), true},
		{"SDK's own fields", wiretest.Chat(t, "X-Stainless-Retry-Count", "0", "Idempotency-Key", "a", "Traceparent", "b", "User-Agent", "c", "X-Request-Id", "d"),
			wiretest.Chat(t, "X-Stainless-Retry-Count", "1", "Idempotency-Key", "b", "Traceparent", "c", "User-Agent", "d", "X-Request-Id", "e"), true},
		{"another version", wiretest.Chat(t, "Anthropic-Version", "2023-06-01"), wiretest.Chat(t, "Anthropic-Version", "2023-01-01"), false},
		{"another beta", wiretest.Chat(t, "Anthropic-Beta", "a"), wiretest.Chat(t, "Anthropic-Beta", "b"), false},
		{"another Accept", wiretest.Chat(t, "Accept", "application/json"), wiretest.Chat(t, "Accept", "text/event-stream"), false},
		{"another content type", wiretest.Chat(t, "Content-Type", "application/json"), wiretest.Chat(t, "Content-Type", "text/plain"), false},
		{"?key= of a prompt", wiretest.NewRequest(t, "POST", wiretest.ChatURL+"?key=a", wiretest.ChatBody), wiretest.NewRequest(t, "POST", wiretest.ChatURL+"?key=b", wiretest.ChatBody), false},
		{"?key= of a page", at(wiretest.PageURL + "?key=a"), at(wiretest.PageURL + "?key=b"), false},
		{"the credential of another field", wiretest.Chat(t, "X-Api-Key", "a"), wiretest.Chat(t, "Api-Key", "a"), false},
		{"credentials shifted", wiretest.Chat(t, "Authorization", "a", "X-Api-Key", "bc"), wiretest.Chat(t, "Authorization", "ab", "X-Api-Key", "c"), false},
	}
	for _, name := range []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Cookie", "Proxy-Authorization", "OpenAI-Organization", "OpenAI-Project"} {
		pairs = append(pairs,
			pair{name + " of a prompt", wiretest.Chat(t, name, "Bearer a"), wiretest.Chat(t, name, "Bearer b"), false},
			pair{name + " of a prompt, the same", wiretest.Chat(t, name, "Bearer a"), wiretest.Chat(t, name, "Bearer a"), true},
			pair{name + " of a prompt, or none", wiretest.Chat(t, name, "Bearer a"), wiretest.Chat(t), false},
			pair{name + " of a page", wiretest.GetPage(t, name, "Bearer a"), wiretest.GetPage(t, name, "Bearer b"), false},
			pair{name + " of a page, the same", wiretest.GetPage(t, name, "Bearer a"), wiretest.GetPage(t, name, "Bearer a"), true},
			pair{name + " of a page, or none", wiretest.GetPage(t, name, "Bearer a"), wiretest.GetPage(t), false},
			pair{name + " of a page, or none before", wiretest.GetPage(t), wiretest.GetPage(t, name, "Bearer a"), false})
	}
	return pairs
}

// Requests share a response only if the server could not have given them different
// ones.
func TestCacheCredentials(t *testing.T) {
	for _, p := range sharing(t) {
		t.Run(p.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := wiretest.Step{Body: wiretest.Completion, Header: wiretest.Header("Cache-Control", "max-age=60", "Content-Type", "application/json")}
				base := wiretest.Play(first)
				rt := caching(base)
				sent := ""
				if p.b.GetBody != nil {
					b, _ := p.b.GetBody()
					text, _ := io.ReadAll(b)
					sent = string(text)
				}
				served(t, rt, p.a)
				_, cache := served(t, rt, p.b)
				if same := cache == "hit"; same != p.same || same != (base.Sent() == 1) {
					t.Errorf("the second is a %s, %d sent", cache, base.Sent())
				}
				if all := base.Attempts(); len(all) == 2 && all[1].Body != sent {
					t.Errorf("sent %q, want the caller's own bytes %q", all[1].Body, sent)
				}
			})
		})
	}
}
