package peers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// What other caches do wrong with a response: by probes and by reports of defects.
func TestPeersCache(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string // of the behaviour that is right
		test func(t *testing.T)
	}{
		{"the first event of a recorded stream comes when it comes", func(t *testing.T) {
			for _, req := range []*http.Request{wiretest.ChatStream(t), wiretest.GetPage(t)} {
				flow := wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.DeltaEvent, Err: nil}, wiretest.Chunk{At: time.Second, Text: wiretest.DeltaEvent, Err: nil}, wiretest.Chunk{At: 2 * time.Second, Text: wiretest.DoneEvent, Err: nil})
				base := wiretest.Play(wiretest.Step{Stream: flow, Header: wiretest.Header("Content-Type", "text/event-stream", "Cache-Control", "max-age=60")})
				rt := caching(base)
				start := time.Now()
				res, err := rt.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				for i := range 3 {
					n, _ := res.Body.Read(make([]byte, 4096))
					if d := time.Since(start); d != time.Duration(i)*time.Second || n == 0 {
						t.Errorf("%s: read %d of %d bytes came after %v", req.Method, i, n, d)
					}
				}
				wiretest.ReadAll(t, res)
				body, cache := served(t, rt, req.Clone(t.Context()))
				if body != wiretest.DeltaEvent+wiretest.DeltaEvent+wiretest.DoneEvent || cache != "hit" || base.Sent() != 1 {
					t.Errorf("%s: then a %s of %q", req.Method, cache, body)
				}
			}
		}},
		{"a hit has the read boundaries of the recording", func(t *testing.T) {
			flow := wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.DeltaEvent, Err: nil}, wiretest.Chunk{At: time.Second, Text: wiretest.DeltaEvent + wiretest.FinishedEvent, Err: nil}, wiretest.Chunk{At: 2 * time.Second, Text: wiretest.DoneEvent, Err: nil})
			rt := caching(wiretest.Play(wiretest.Step{Stream: flow, Header: wiretest.Header("Content-Type", "text/event-stream")}))
			served(t, rt, wiretest.ChatStream(t))
			res, err := rt.RoundTrip(wiretest.ChatStream(t))
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range []string{wiretest.DeltaEvent, wiretest.DeltaEvent + wiretest.FinishedEvent, wiretest.DoneEvent} {
				p := make([]byte, 4096)
				if n, _ := res.Body.Read(p); string(p[:n]) != want {
					t.Errorf("read %d: %q", i, p[:n])
				}
			}
		}},
		{"a whole answer cut at any byte is no hit", func(t *testing.T) {
			for _, req := range []func() *http.Request{func() *http.Request { return wiretest.Chat(t) }, func() *http.Request { return wiretest.GetPage(t) }} {
				for n := range len(wiretest.Completion) {
					cut := wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.Completion[:n], Err: nil}, wiretest.Chunk{At: 0, Text: "", Err: io.ErrUnexpectedEOF})
					base := wiretest.Play(wiretest.Step{Stream: cut, Header: wiretest.Header("Cache-Control", "max-age=60", "Content-Type", "application/json")}, wiretest.JSON(200, wiretest.Completion))
					rt := caching(base)
					res, err := rt.RoundTrip(req())
					if err == nil {
						_, err = io.ReadAll(res.Body)
						res.Body.Close()
					}
					if err == nil {
						t.Fatalf("cut at %d: no error", n)
					}
					if body, cache := served(t, rt, req()); cache == "hit" || body != wiretest.Completion {
						t.Fatalf("cut at %d: a %s of %q", n, cache, body)
					}
				}
			}
		}},
		{"a stream that ends at any byte before its last event is no hit", func(t *testing.T) {
			last := len(wiretest.WholeStream) - len("\n\n") // the blank line makes an event
			for n := range last {
				base := wiretest.Play(wiretest.Step{Stream: wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.WholeStream[:n], Err: nil}), Header: wiretest.Header("Content-Type", "text/event-stream")},
					wiretest.Step{Stream: wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.WholeStream, Err: nil}), Header: wiretest.Header("Content-Type", "text/event-stream")})
				rt := caching(base)
				if res, err := rt.RoundTrip(wiretest.ChatStream(t)); err == nil {
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				if body, cache := served(t, rt, wiretest.ChatStream(t)); cache == "hit" || body != wiretest.WholeStream {
					t.Fatalf("ended at %d: a %s of %q", n, cache, body)
				}
			}
		}},
		{"a short answer with a longer Content-Length is no hit", func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Do: func(req *http.Request) (*http.Response, error) {
				res := wiretest.Response(200, strings.NewReader("short"), "Cache-Control", "max-age=60", "Content-Length", "10")
				res.ContentLength, res.Request = 10, req
				return res, nil
			}}, wiretest.Page("long enough"))
			rt := caching(base)
			if res, err := rt.RoundTrip(wiretest.GetPage(t)); err == nil {
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			if body, cache := served(t, rt, wiretest.GetPage(t)); cache == "hit" || body != "long enough" {
				t.Errorf("a %s of %q", cache, body)
			}
		}},
		{"a body that its reader leaves is no hit", func(t *testing.T) {
			for _, req := range []func() *http.Request{func() *http.Request { return wiretest.ChatStream(t) }, func() *http.Request { return wiretest.GetPage(t) }} {
				flow := func() *wiretest.Body {
					return wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.DeltaEvent, Err: nil}, wiretest.Chunk{At: time.Second, Text: wiretest.DeltaEvent + wiretest.FinishedEvent, Err: nil}, wiretest.Chunk{At: 2 * time.Second, Text: wiretest.DoneEvent, Err: nil})
				}
				h := wiretest.Header("Content-Type", "text/event-stream", "Cache-Control", "max-age=60")
				first := flow()
				base := wiretest.Play(wiretest.Step{Stream: first, Header: h}, wiretest.Step{Stream: flow(), Header: h})
				rt := caching(base)
				res, err := rt.RoundTrip(req())
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Read(make([]byte, 4096))
				res.Body.Close()
				synctest.Wait()
				if first.Closes() == 0 {
					t.Error("the recording goes on without a reader")
				}
				if body, cache := served(t, rt, req()); cache == "hit" || body != wiretest.WholeStream {
					t.Errorf("then a %s of %q", cache, body)
				}
			}
		}},
		{"a stream with an error event is no hit", func(t *testing.T) {
			const broken = "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n"
			h := wiretest.Header("Content-Type", "text/event-stream")
			base := wiretest.Play(wiretest.Step{Stream: wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.DeltaEvent, Err: nil}, wiretest.Chunk{At: 1, Text: broken + wiretest.DoneEvent, Err: nil}), Header: h},
				wiretest.Step{Stream: wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.WholeStream, Err: nil}), Header: h})
			rt := caching(base)
			if res, err := rt.RoundTrip(wiretest.ChatStream(t)); err == nil {
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
			if body, cache := served(t, rt, wiretest.ChatStream(t)); cache == "hit" || body != wiretest.WholeStream {
				t.Errorf("a %s of %q", cache, body)
			}
		}},
		{"an error in a 200 is no hit", func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Header: wiretest.Header("Content-Type", "application/json"), Body: `{"error":{"message":"overloaded","type":"server_error"}}`}, wiretest.JSON(200, wiretest.Completion))
			rt := caching(base)
			if res, err := rt.RoundTrip(wiretest.Chat(t)); err == nil {
				wiretest.ReadAll(t, res)
			}
			if body, cache := served(t, rt, wiretest.Chat(t)); cache == "hit" || body != wiretest.Completion {
				t.Errorf("a %s of %q", cache, body)
			}
		}},
		{"a prompt's failure is no hit, whatever it says about caching", func(t *testing.T) {
			for _, status := range []int{201, 400, 401, 403, 404, 429, 500, 503} {
				bad := wiretest.Page(`{"error":{"message":"no"}}`, "Content-Type", "application/json")
				bad.Status = status
				rt := caching(wiretest.Play(bad, wiretest.JSON(200, wiretest.Completion)))
				if res, err := rt.RoundTrip(wiretest.Chat(t)); err == nil {
					wiretest.ReadAll(t, res)
				}
				if body, cache := served(t, rt, wiretest.Chat(t)); cache == "hit" || body != wiretest.Completion {
					t.Errorf("%d: a %s of %q", status, cache, body)
				}
			}
		}},
		{"a prompt that has effects is sent every time", func(t *testing.T) {
			const url = "https://api.example.com/v1/responses"
			for _, member := range []string{`"store":true`, `"previous_response_id":"r"`, `"conversation":"c"`, `"conversation":{"id":"c"}`, `"background":true`} {
				req := func() *http.Request {
					return wiretest.NewRequest(t, "POST", url, `{"model":"m","input":"hello",`+member+`}`)
				}
				base := wiretest.Play(wiretest.Step{Header: wiretest.Header("Content-Type", "application/json"), Body: `{"id":"r","object":"response","status":"completed","output":[]}`})
				rt := caching(base)
				served(t, rt, req())
				if served(t, rt, req()); base.Sent() != 2 {
					t.Errorf("%s: sent %d times, want 2", member, base.Sent())
				}
			}
			for _, url := range []string{"https://api.example.com/v1/files", "https://api.example.com/v1/batches", "https://api.example.com/v1/orders"} {
				base := wiretest.Play(wiretest.Page("{}"))
				rt := caching(base)
				served(t, rt, wiretest.NewRequest(t, "POST", url, wiretest.ChatBody))
				if served(t, rt, wiretest.NewRequest(t, "POST", url, wiretest.ChatBody)); base.Sent() != 2 {
					t.Errorf("%s: sent %d times, want 2", url, base.Sent())
				}
			}
		}},
		{"a provider's no-store does not revoke PromptTTL, the request's own does", func(t *testing.T) {
			st := wiretest.JSON(200, wiretest.Completion)
			st.Header = wiretest.Header("Content-Type", "application/json", "Cache-Control", "no-store, no-cache, private, max-age=0")
			base := wiretest.Play(st)
			rt := caching(base)
			served(t, rt, wiretest.Chat(t))
			if _, cache := served(t, rt, wiretest.Chat(t)); cache != "hit" {
				t.Errorf("a %s, want a hit", cache)
			}
			base = wiretest.Play(wiretest.JSON(200, wiretest.Completion))
			rt = caching(base)
			served(t, rt, wiretest.Chat(t, "Cache-Control", "no-store"))
			if _, cache := served(t, rt, wiretest.Chat(t)); cache == "hit" {
				t.Error("stored against the request's no-store")
			}
		}},
		{"a rotating credential is one identity", func(t *testing.T) {
			base := wiretest.Play(wiretest.JSON(200, wiretest.Completion))
			rt := caching(base)
			rt.Cache.Identity = func(r *http.Request) string { return r.Header.Get("X-Tenant") }
			served(t, rt, wiretest.Chat(t, "Authorization", "Bearer 1", "X-Tenant", "a"))
			if _, cache := served(t, rt, wiretest.Chat(t, "Authorization", "Bearer 2", "X-Tenant", "a")); cache != "hit" {
				t.Errorf("the next token is a %s, want a hit", cache)
			}
			if _, cache := served(t, rt, wiretest.Chat(t, "Authorization", "Bearer 2", "X-Tenant", "b")); cache == "hit" {
				t.Error("two tenants share an answer")
			}
		}},
		{"no credential and no prompt is in the store or in what a hit says", func(t *testing.T) {
			const mark = "sEcReT"
			s := &recorder{}
			base := wiretest.Play(wiretest.Page("hello", "Vary", "Authorization, X-Api-Key, Cookie"))
			rt := stored(base, s)
			var seen strings.Builder
			var mu sync.Mutex
			rt.Observe = func(e snubber.Event) {
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintf(&seen, "%+v\n", e)
			}
			for range 2 {
				req := wiretest.NewRequest(t, "GET", wiretest.PageURL+"?key="+mark+"1", "", "Authorization", "Bearer "+mark+"2", "X-Api-Key", mark+"3", "Cookie", mark+"4")
				res, err := rt.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				wiretest.ReadAll(t, res)
				synctest.Wait()
				fmt.Fprintf(&seen, "%v %+v\n", res.Header, snubber.ReportOf(res).Load())
			}
			req := wiretest.NewRequest(t, "POST", wiretest.ChatURL, `{"model":"m","user":"`+mark+`5","messages":[]}`, "Authorization", mark+"6")
			served(t, rt, req)
			if base.Sent() != 2 {
				t.Errorf("%d sent, want one of each", base.Sent())
			}
			if i := strings.Index(seen.String()+s.seen.String(), mark); i >= 0 {
				t.Errorf("%.40s", (seen.String() + s.seen.String())[max(0, i-30):])
			}
		}},
		{"an origin cannot speak for the cache", func(t *testing.T) {
			base := wiretest.Play(wiretest.Page("hello", "Cache-Status", "snubber; hit; ttl=9", "X-Cached-Request-Id", "forged", "X-From-Cache", "1"))
			rt := caching(base)
			for i, want := range []string{"miss", "hit"} {
				res, err := rt.RoundTrip(wiretest.GetPage(t))
				if err != nil {
					t.Fatal(err)
				}
				wiretest.ReadAll(t, res)
				status := strings.Join(res.Header.Values("Cache-Status"), ", ")
				if strings.Count(status, "snubber") != 1 || strings.Contains(status, "hit") != (want == "hit") || strings.Contains(status, "ttl=9") {
					t.Errorf("answer %d, a %s: Cache-Status %q", i, want, status)
				}
				if v := res.Header.Get("X-Cached-Request-Id"); v != "" {
					t.Errorf("answer %d: X-Cached-Request-Id %q", i, v)
				}
			}
		}},
		{"a replayed completion has no old quota, cookie or id", func(t *testing.T) {
			st := wiretest.JSON(200, wiretest.Completion)
			st.Header = wiretest.Header("Content-Type", "application/json", "X-Request-Id", "first", "Set-Cookie", "a=b", "Retry-After", "3", "Openai-Processing-Ms", "9",
				"X-Ratelimit-Remaining-Requests", "5", "X-Ratelimit-Reset-Tokens", "1s", "Anthropic-Ratelimit-Requests-Remaining", "7", "Openai-Version", "2020-10-01")
			rt := caching(wiretest.Play(st))
			served(t, rt, wiretest.Chat(t))
			res, err := rt.RoundTrip(wiretest.Chat(t))
			if err != nil {
				t.Fatal(err)
			}
			if wiretest.ReadAll(t, res) != wiretest.Completion || res.Header.Get("Openai-Version") == "" || res.Header.Get("Content-Type") != "application/json" {
				t.Errorf("the hit lost more than it should: %v", res.Header)
			}
			for _, name := range []string{"X-Request-Id", "Set-Cookie", "Retry-After", "Openai-Processing-Ms", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Tokens", "Anthropic-Ratelimit-Requests-Remaining"} {
				if v, ok := res.Header[name]; ok {
					t.Errorf("the hit has %s: %q", name, v)
				}
			}
			if v := res.Header.Get("X-Cached-Request-Id"); v != "first" {
				t.Errorf("X-Cached-Request-Id %q, want the first answer's", v)
			}
		}},
		{"one hit's header is not another's", func(t *testing.T) {
			rt := caching(wiretest.Play(wiretest.Page("hello", "A", "1")))
			served(t, rt, wiretest.GetPage(t))
			for range 2 {
				req := wiretest.GetPage(t)
				res, err := rt.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				if got := res.Header.Values("A"); len(got) != 1 || got[0] != "1" {
					t.Errorf("A: %q, want what was stored", got)
				}
				if res.Request == nil || res.Request.URL.String() != wiretest.PageURL || res.ContentLength != 5 {
					t.Errorf("request %v, length %d", res.Request, res.ContentLength)
				}
				wiretest.ReadAll(t, res)
				res.Header["A"][0] = "2"
				res.Header.Add("A", "3")
				res.Header.Del("Cache-Control")
			}
		}},
		{"a fallback's answer is not the primary's", func(t *testing.T) {
			for _, req := range []func() *http.Request{func() *http.Request { return wiretest.Chat(t) }, func() *http.Request { return wiretest.GetPage(t) }} {
				ok := wiretest.Page(wiretest.Completion, "Content-Type", "application/json")
				first, second := wiretest.Play(wiretest.Step{Status: 500}, ok), wiretest.Play(wiretest.Page(`{"id":"other"}`, "Content-Type", "application/json"))
				rt := caching(first)
				rt.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: second}}}
				if body, _ := served(t, rt, req()); body != `{"id":"other"}` {
					t.Errorf("%q, want the fallback's answer", body)
				}
				if body, cache := served(t, rt, req()); cache == "hit" || body != wiretest.Completion {
					t.Errorf("then a %s of %q, want the primary's", cache, body)
				}
				if body, cache := served(t, rt, req()); cache != "hit" || body != wiretest.Completion {
					t.Errorf("at last a %s of %q, want a hit", cache, body)
				}
			}
		}},
		{"a fallback confirms and completes nothing of the primary's", func(t *testing.T) {
			for _, first := range []wiretest.Step{
				wiretest.Page("old", "Etag", `"a"`),
				{Status: 206, Body: "01234", Header: wiretest.Header("Cache-Control", "max-age=60", "Etag", `"a"`, "Content-Range", "bytes 0-4/10")},
			} {
				base := wiretest.Play(first, wiretest.Step{Status: 500}, wiretest.Step{Status: 500}, wiretest.Page("new")) // it is asked once more, without the conditions
				route := wiretest.Func(func(req *http.Request) (*http.Response, error) {
					switch {
					case req.Header.Get("If-None-Match") != "":
						return wiretest.Response(304, strings.NewReader(""), "Etag", `"a"`, "Cache-Control", "max-age=6000"), nil
					case req.Header.Get("Range") != "":
						return wiretest.Response(206, strings.NewReader("fghij"), "Etag", `"a"`, "Content-Range", "bytes 5-9/10", "Cache-Control", "max-age=6000"), nil
					}
					return wiretest.Response(200, strings.NewReader("fallback"), "Cache-Control", "max-age=6000"), nil
				})
				rt := caching(base)
				rt.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: route}}}
				req := wiretest.GetPage(t)
				if first.Status == 206 {
					req.Header.Set("Range", "bytes=0-4")
				}
				served(t, rt, req)
				time.Sleep(2 * time.Minute)
				if body, cache := served(t, rt, wiretest.GetPage(t)); body != "fallback" || cache != "miss" {
					t.Errorf("%d: a %s of %q, want the fallback's own answer", first.Status, cache, body)
				}
				if body, cache := served(t, rt, wiretest.GetPage(t)); body != "new" || cache == "hit" {
					t.Errorf("%d: then a %s of %q, want the primary's", first.Status, cache, body)
				}
				if all := base.Attempts(); first.Status == 0 && all[len(all)-1].Header.Get("If-None-Match") == "" {
					t.Error("the primary's answer was forgotten for the fallback's")
				}
			}
		}},
		{"a hit takes no token, and passes an open circuit", func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Stream: wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.WholeStream, Err: nil}), Header: wiretest.Header("Content-Type", "text/event-stream")}, wiretest.Step{Status: 500})
			rt := caching(base)
			rt.Limiter = &snubber.Limiter{RequestsPerMinute: 1, MaxWait: time.Millisecond}
			rt.Breaker = &snubber.Breaker{}
			served(t, rt, wiretest.ChatStream(t))
			for _, c := range rt.Breaker.Circuits() {
				rt.Breaker.Trip(c.Key)
			}
			for range 5 {
				if body, cache := served(t, rt, wiretest.ChatStream(t)); cache != "hit" || body != wiretest.WholeStream {
					t.Errorf("a %s of %q", cache, body)
				}
			}
		}},
		{"a failing store is a miss", func(t *testing.T) {
			s := &recorder{get: func(context.Context) error { return errors.New("down") }, put: func(context.Context) error { return errors.New("down") }}
			base := wiretest.Play(wiretest.Page("hello"))
			rt := stored(base, s)
			for range 2 {
				if body, cache := served(t, rt, wiretest.GetPage(t)); body != "hello" || cache == "hit" {
					t.Errorf("a %s of %q", cache, body)
				}
			}
		}},
		{"a store that hangs is a miss", func(t *testing.T) {
			hung := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			s := &recorder{get: hung, put: hung}
			rt := stored(wiretest.Play(wiretest.Page("hello")), s)
			start := time.Now()
			if body, cache := served(t, rt, wiretest.GetPage(t)); body != "hello" || cache == "hit" {
				t.Errorf("a %s of %q", cache, body)
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("the cache waited %v for its store", d)
			}
		}},
		{"a slow store delays no byte", func(t *testing.T) {
			s := &recorder{put: func(ctx context.Context) error { return wiretest.Sleep(ctx, 200*time.Millisecond) }}
			for _, req := range []func() *http.Request{func() *http.Request { return wiretest.ChatStream(t) }, func() *http.Request { return wiretest.GetPage(t) }} {
				base := wiretest.Play(wiretest.Step{Stream: wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.WholeStream, Err: nil}), Header: wiretest.Header("Content-Type", "text/event-stream", "Cache-Control", "max-age=60")})
				rt := stored(base, s)
				start := time.Now()
				res, err := rt.RoundTrip(req())
				if err != nil {
					t.Fatal(err)
				}
				b := make([]byte, len(wiretest.WholeStream))
				_, err = io.ReadFull(res.Body, b)
				if took := time.Since(start); err != nil || took > 0 {
					t.Errorf("%s: %v, all bytes after %v", req().Method, err, took)
				}
				if req().Method == "GET" {
					io.Copy(io.Discard, res.Body)
				}
				res.Body.Close() // as SDKs do at the last event
				if body, cache := served(t, rt, req()); body != wiretest.WholeStream || base.Sent() != 1 {
					t.Errorf("%s: who asks at once gets a %s of %q, %d sent", req().Method, cache, body, base.Sent())
				}
				time.Sleep(time.Second)
				if body, cache := served(t, rt, req()); body != wiretest.WholeStream || cache != "hit" {
					t.Errorf("%s: later a %s of %q", req().Method, cache, body)
				}
			}
		}},
		{"an entry without an end is a miss", func(t *testing.T) {
			rt := stored(wiretest.Play(wiretest.Page("hello")), &bottomless{})
			for range 2 {
				if body, cache := served(t, rt, wiretest.GetPage(t)); body != "hello" || cache == "hit" {
					t.Errorf("a %s of %q", cache, body)
				}
			}
		}},
		{"damaged, cut and exchanged entries are misses", func(t *testing.T) {
			s := &recorder{}
			base := wiretest.Play(wiretest.Page("hello"))
			rt := stored(base, s)
			served(t, rt, wiretest.GetPage(t))
			if _, cache := served(t, rt, wiretest.GetPage(t)); cache != "hit" {
				t.Fatalf("a %s, want a hit", cache)
			}
			good := maps.Clone(s.m)
			for key, b := range good {
				for i := range b {
					s.m = maps.Clone(good)
					s.m[key] = bytes.Clone(b)
					s.m[key][i] ^= 0x20
					if body, cache := served(t, rt, wiretest.GetPage(t)); body != "hello" {
						t.Fatalf("byte %d of %d turned: a %s of %q", i, len(b), cache, body)
					} else if cache == "hit" {
						t.Fatalf("byte %d of %d turned: a hit", i, len(b))
					}
					s.m = maps.Clone(good)
					s.m[key] = b[:i]
					if body, cache := served(t, rt, wiretest.GetPage(t)); body != "hello" || cache == "hit" {
						t.Fatalf("cut at byte %d of %d: a %s of %q", i, len(b), cache, body)
					}
				}
			}
			// Another's entry under this one's key.
			other := &recorder{}
			rt2 := stored(wiretest.Play(wiretest.Page("other")), other)
			served(t, rt2, wiretest.NewRequest(t, "GET", "https://api.example.com/other", ""))
			for _, theirs := range other.m {
				for key := range good {
					s.m = maps.Clone(good)
					s.m[key] = theirs
					if body, cache := served(t, rt, wiretest.GetPage(t)); body != "hello" || cache == "hit" {
						t.Fatalf("exchanged: a %s of %q", cache, body)
					}
				}
			}
		}},
		{"a store without a secret keeps nothing", func(t *testing.T) {
			for _, secret := range [][]byte{nil, []byte("short")} {
				s := &recorder{}
				rt := stored(wiretest.Play(wiretest.Page("hello")), s)
				rt.Cache.Secret = secret
				if res, err := rt.RoundTrip(wiretest.GetPage(t)); err == nil {
					wiretest.ReadAll(t, res)
				}
				if len(s.m) != 0 {
					t.Errorf("secret %q: %d entries", secret, len(s.m))
				}
			}
		}},
		{"20 000 addresses stay inside MaxBytes", func(t *testing.T) {
			const size, limit = 4 << 10, 1 << 20
			body := strings.Repeat("x", size)
			var hits int
			base := wiretest.Func(func(*http.Request) (*http.Response, error) {
				return wiretest.Response(200, strings.NewReader(body), "Cache-Control", "max-age=60", "Vary", "Foo"), nil
			})
			rt := caching(base)
			rt.Cache.MaxBytes = limit
			url := func(i int) *http.Request {
				return wiretest.NewRequest(t, "GET", fmt.Sprintf("https://a.test/%d", i), "")
			}
			for i := range 20_000 {
				served(t, rt, url(i))
			}
			for i := range 2000 { // the latest first, for each miss puts in again what is not counted yet
				if _, cache := served(t, rt, url(19_999-i)); cache == "hit" {
					hits++
				}
			}
			if hits*size > limit || hits == 0 {
				t.Errorf("%d answers of %d bytes are kept in %d", hits, size, limit)
			}
		}},
		{"an answer too large drives nothing out", func(t *testing.T) {
			huge := strings.Repeat("x", 1<<20)
			rt := caching(wiretest.Func(func(req *http.Request) (*http.Response, error) {
				if req.URL.Path == "/huge" {
					return wiretest.Response(200, strings.NewReader(huge), "Cache-Control", "max-age=60"), nil
				}
				return wiretest.Response(200, strings.NewReader(strings.Repeat("y", 1000)), "Cache-Control", "max-age=60"), nil
			}))
			rt.Cache.MaxBytes = 1 << 20
			for i := range 100 {
				served(t, rt, wiretest.NewRequest(t, "GET", fmt.Sprintf("https://a.test/%d", i), ""))
			}
			for range 3 {
				if body, cache := served(t, rt, wiretest.NewRequest(t, "GET", "https://a.test/huge", "")); cache == "hit" || body != huge {
					t.Errorf("the huge one is a %s of %d bytes", cache, len(body))
				}
			}
			for i := range 100 {
				if _, cache := served(t, rt, wiretest.NewRequest(t, "GET", fmt.Sprintf("https://a.test/%d", i), "")); cache != "hit" {
					t.Fatalf("address %d is a %s", i, cache)
				}
			}
		}},
		{"variants of one address are bounded", func(t *testing.T) {
			const size, limit = 4 << 10, 1 << 20
			rt := caching(wiretest.Func(func(*http.Request) (*http.Response, error) {
				return wiretest.Response(200, strings.NewReader(strings.Repeat("x", size)), "Cache-Control", "max-age=60", "Vary", "Foo"), nil
			}))
			rt.Cache.MaxBytes = limit
			var hits int
			for i := range 2000 {
				served(t, rt, wiretest.GetPage(t, "Foo", fmt.Sprint(i)))
			}
			for i := range 2000 {
				if _, cache := served(t, rt, wiretest.GetPage(t, "Foo", fmt.Sprint(1999-i))); cache == "hit" {
					hits++
				}
			}
			if hits*size > limit {
				t.Errorf("%d variants of %d bytes are kept in %d", hits, size, limit)
			}
		}},
		{"a crafted address is no variant of another", func(t *testing.T) {
			base := wiretest.Play(wiretest.Page("secret", "Vary", "Foo"))
			rt := caching(base)
			served(t, rt, wiretest.GetPage(t, "Foo", "bar"))
			for _, url := range []string{wiretest.PageURL + "?Foo=bar", wiretest.PageURL + "|Foo=bar", wiretest.PageURL + "%00Foo%00bar"} {
				if _, cache := served(t, rt, wiretest.NewRequest(t, "GET", url, "")); cache == "hit" {
					t.Errorf("%s is a hit", url)
				}
			}
		}},
		{"failed revalidations leave no body open", func(t *testing.T) {
			for _, status := range []int{304, 500, 404} {
				again := wiretest.Step{Status: status, Header: wiretest.Header("Etag", `"a"`), Body: "x"}
				if status == 304 {
					again.Body = ""
				}
				base := wiretest.Play(wiretest.Page("hello", "Cache-Control", "max-age=1, stale-if-error=600", "Etag", `"a"`), again)
				rt := caching(base)
				served(t, rt, wiretest.GetPage(t))
				time.Sleep(time.Hour)
				served(t, rt, wiretest.GetPage(t))
				for i, try := range base.Attempts() {
					if try.Closed.IsZero() {
						t.Errorf("%d: the body of answer %d is open", status, i)
					}
				}
			}
		}},
		{"the cache passes what it is not for", func(t *testing.T) {
			base := wiretest.Play(wiretest.Page("hello"))
			rt := caching(base)
			served(t, rt, wiretest.GetPage(t))
			req := wiretest.GetPage(t)
			if _, cache := served(t, rt, req.WithContext(snubber.WithNoCache(req.Context()))); cache == "hit" || base.Sent() != 2 {
				t.Errorf("WithNoCache: a %s, %d sent", cache, base.Sent())
			}
			if _, cache := served(t, rt, wiretest.GetPage(t)); cache != "hit" {
				t.Errorf("afterwards a %s", cache)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, tt.test) })
	}
}
