package snubber_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// prompted is a chat request with additional members in its body.
func prompted(t testing.TB, members string, header ...string) *http.Request {
	t.Helper()
	return wiretest.NewRequest(t, "POST", wiretest.ChatURL, `{"model":"m","messages":[{"role":"user","content":"hello"}]`+members+`}`, header...)
}

// A response that is more than its bytes, or whose key would be ambiguous, is never
// stored.
func TestCachePromptBypass(t *testing.T) {
	for _, tt := range []struct {
		why string
		req func(t *testing.T) *http.Request
	}{
		{"store", func(t *testing.T) *http.Request { return prompted(t, `,"store":true`) }},
		{"store", func(t *testing.T) *http.Request { return prompted(t, `,"store":false,"\u0073tore":true`) }},
		{"background", func(t *testing.T) *http.Request { return prompted(t, `,"background":true`) }},
		{"previous_response_id", func(t *testing.T) *http.Request { return prompted(t, `,"previous_response_id":"r"`) }},
		{"conversation", func(t *testing.T) *http.Request { return prompted(t, `,"conversation":{"id":"c"}`) }},
		{"container", func(t *testing.T) *http.Request { return prompted(t, `,"container":"c"`) }},
		{"mcp_servers", func(t *testing.T) *http.Request { return prompted(t, `,"mcp_servers":[{}]`) }},
		{"server tools", func(t *testing.T) *http.Request {
			return prompted(t, `,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}},{"type":"code_interpreter"}]`)
		}},
		{"request no-store", func(t *testing.T) *http.Request { return prompted(t, "", "Cache-Control", "no-store") }},
		{"conditions", func(t *testing.T) *http.Request { return prompted(t, "", "Content-Encoding", "gzip") }},
		{"no-cache context", func(t *testing.T) *http.Request {
			return prompted(t, "").WithContext(snubber.WithNoCache(t.Context()))
		}},
		{"body not at hand", func(t *testing.T) *http.Request {
			req := prompted(t, "")
			req.GetBody, req.ContentLength = nil, -1
			return req
		}},
		{"body not at hand", func(t *testing.T) *http.Request { // longer than the cache reads
			return prompted(t, `,"pad":"`+strings.Repeat("x", 4<<20)+`"`)
		}},
		{"body not at hand", func(t *testing.T) *http.Request { // the key would be that of a part
			req := prompted(t, "")
			whole, _ := req.GetBody()
			body, _ := io.ReadAll(whole)
			req.GetBody = func() (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(body[:20]), iotest.ErrReader(errors.New("gone")))), nil
			}
			req.ContentLength = -1
			return req
		}},
		{"method", func(t *testing.T) *http.Request {
			return wiretest.NewRequest(t, "POST", "https://api.example.com/v1/files", "{}")
		}},
		{"unknown format", func(t *testing.T) *http.Request {
			return wiretest.NewRequest(t, "POST", "https://api.example.com/v1/images/generations", `{"model":"m"}`)
		}},
	} {
		t.Run(tt.why, func(t *testing.T) {
			base := wiretest.Play(wiretest.JSON(200, wiretest.Completion))
			rt := caching(base)
			for range 2 {
				res, err := rt.RoundTrip(tt.req(t))
				if err != nil {
					t.Fatal(err)
				}
				wiretest.ReadAll(t, res)
				if r := snubber.ReportOf(res); r.Load().Cache != "bypass" || r.Load().CacheDetail != tt.why {
					t.Errorf("report %q, %q, want a bypass: %s", r.Load().Cache, r.Load().CacheDetail, tt.why)
				}
				if s := res.Header.Get("Cache-Status"); !strings.Contains(s, "snubber; fwd=") || !strings.Contains(s, tt.why) {
					t.Errorf("Cache-Status: %s", s)
				}
			}
			if n := base.Sent(); n != 2 {
				t.Errorf("%d requests, want 2", n)
			}
		})
	}
}

// These prompts look similar and are stored.
func TestCachePromptStored(t *testing.T) {
	for _, members := range []string{
		`,"store":false`,
		`,"store":null,"previous_response_id":null,"conversation":null,"background":false`,
		`,"metadata":{"store":true,"background":true}`,
		`,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"type":{"type":"mcp"}}}}},{"name":"g","input_schema":{"type":"object"}},{"type":"custom","name":"h"}]`,
		`,"tools":{"type":"x"}`,
		`,"tools":null`,
	} {
		base := wiretest.Play(wiretest.JSON(200, wiretest.Completion))
		rt := caching(base)
		served(t, rt, prompted(t, members))
		if body, cache := served(t, rt, prompted(t, members)); cache != "hit" || body != wiretest.Completion {
			t.Errorf("%s: a %s of %q", members, cache, body)
		}
	}
}

// Cache.Key, Identity and Ignore decide which requests are the same.
func TestCacheKeyHooks(t *testing.T) {
	same := func(t *testing.T, c *snubber.Cache, a, b *http.Request, want bool) {
		t.Helper()
		c.PromptTTL = time.Hour
		base := wiretest.Play(wiretest.Page(wiretest.Completion, "Content-Type", "application/json"))
		rt := &snubber.Transport{Base: base, Cache: c}
		served(t, rt, a)
		if _, cache := served(t, rt, b); (cache == "hit") != want {
			t.Errorf("the second is a %s, want shared %v", cache, want)
		}
	}
	tags := `,"user":"a","metadata":{"x":1},"safety_identifier":"s","prompt_cache_key":"k"`
	same(t, &snubber.Cache{IgnoreFields: snubber.CallerFields}, prompted(t, tags), prompted(t, ""), true)
	same(t, &snubber.Cache{IgnoreFields: snubber.CallerFields}, prompted(t, `,"service_tier":"flex"`), prompted(t, ""), false)
	same(t, &snubber.Cache{IgnoreFields: snubber.CallerFields}, prompted(t, `,"x":{"user":"a"}`), prompted(t, `,"x":{}`), false)
	same(t, &snubber.Cache{}, prompted(t, `,"user":"a"`), prompted(t, `,"user":"b"`), false)

	name := func(name string) func(*http.Request, []byte) string {
		return func(_ *http.Request, body []byte) string {
			if !bytes.Contains(body, []byte("hello")) {
				t.Errorf("Key saw %q", body)
			}
			return name
		}
	}
	same(t, &snubber.Cache{Key: name("x")}, prompted(t, `,"seed":1`), prompted(t, `,"seed":2`), true)
	same(t, &snubber.Cache{Key: name("")}, prompted(t, ""), prompted(t, ""), false)
	same(t, &snubber.Cache{Key: name("x")}, prompted(t, "", "Authorization", "a"), prompted(t, "", "Authorization", "b"), false)
	same(t, &snubber.Cache{Key: name("x")}, prompted(t, ""), prompted(t, `,"stream":true`), false)

	user := func(req *http.Request) string { return req.Header.Get("User") }
	same(t, &snubber.Cache{Identity: user}, prompted(t, "", "Authorization", "t1", "User", "u"), prompted(t, "", "Authorization", "t2", "User", "u"), true)
	same(t, &snubber.Cache{Identity: user}, prompted(t, "", "Authorization", "t1", "User", "u"), prompted(t, "", "Authorization", "t1", "User", "w"), false)
	// Nobody knows the names of all credentials.
	for _, name := range []string{"Private-Token", "X-Auth-Token", "Ocp-Apim-Subscription-Key", "Apikey", "X-Tenant", "X-Session-Id", "X-Access_token", "X-Accesstoken"} {
		same(t, &snubber.Cache{}, prompted(t, "", name, "a"), prompted(t, "", name, "b"), false)
		same(t, &snubber.Cache{}, prompted(t, "", name, "a"), prompted(t, "", name, "a"), true)
		same(t, &snubber.Cache{}, wiretest.GetPage(t, name, "a"), wiretest.GetPage(t, name, "b"), false)
		same(t, &snubber.Cache{}, wiretest.GetPage(t, name, "a"), wiretest.GetPage(t, name, "a"), true)
		same(t, &snubber.Cache{}, wiretest.GetPage(t, name, "a"), wiretest.GetPage(t, "X-"+name, "a"), false)
	}
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key", "X-Stainless-Retry-Count", "X-Request-Id", "User-Agent", "Traceparent", "X-Amz-Date"} {
		same(t, &snubber.Cache{}, prompted(t, "", name, "a"), prompted(t, "", name, "b"), true)
	}
	// An access key is no secret: a caller that only knows it signs otherwise than its owner.
	const signed, forged = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=1f",
		"AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00"
	for _, name := range []string{"Authorization", "X-Amz-Security-Token"} {
		same(t, &snubber.Cache{}, wiretest.GetPage(t, name, signed), wiretest.GetPage(t, name, forged), false)
		same(t, &snubber.Cache{}, prompted(t, "", name, signed), prompted(t, "", name, forged), false)
		same(t, &snubber.Cache{}, prompted(t, "", name, signed), prompted(t, "", name, signed), true)
		same(t, &snubber.Cache{Identity: user}, prompted(t, "", name, signed, "User", "u"), prompted(t, "", name, forged, "User", "u"), true)
	}
	at := func(query string) *http.Request {
		req := prompted(t, "", "User", "u")
		req.URL.RawQuery = query
		return req
	}
	same(t, &snubber.Cache{Identity: user}, at("alt=sse&key=1"), at("key=2&alt=sse"), true)
	same(t, &snubber.Cache{}, at("alt=sse&key=1"), at("key=2&alt=sse"), false)
	same(t, &snubber.Cache{}, at("alt=sse&key=1"), at("key=1&alt=sse"), true)
}

// A stored stream comes in the chunks in which it came first, without the header
// fields that were true only then.
func TestCachePromptChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{
			Stream: wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.DeltaEvent, Err: nil}, wiretest.Chunk{At: time.Second, Text: wiretest.DeltaEvent[:10], Err: nil}, wiretest.Chunk{At: time.Second, Text: wiretest.DeltaEvent[10:] + wiretest.FinishedEvent, Err: nil}, wiretest.Chunk{At: 2 * time.Second, Text: wiretest.DoneEvent, Err: nil}),
			Header: wiretest.Header("Content-Type", "text/event-stream", "X-Request-Id", "r1", "X-Ratelimit-Remaining-Requests", "5", "Set-Cookie", "a=b", "Openai-Processing-Ms", "7", "Openai-Version", "1"),
		})
		rt := caching(base)
		pieces := func() (ps []string, h http.Header) {
			res, err := rt.RoundTrip(wiretest.ChatStream(t))
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 64<<10)
			for {
				n, err := res.Body.Read(b)
				if n > 0 {
					ps = append(ps, string(b[:n]))
				}
				if err != nil {
					return ps, res.Header
				}
			}
		}
		first, live := pieces()
		again, h := pieces()
		if len(first) != 4 || strings.Join(first, "|") != strings.Join(again, "|") || base.Sent() != 1 {
			t.Errorf("%q, then %q", first, again)
		}
		if live.Get("X-Request-Id") != "r1" || live.Get("X-Ratelimit-Remaining-Requests") != "5" {
			t.Errorf("the first answer lost its header: %v", live)
		}
		for _, name := range []string{"X-Request-Id", "X-Ratelimit-Remaining-Requests", "Set-Cookie", "Openai-Processing-Ms"} {
			if h.Get(name) != "" {
				t.Errorf("the hit has %s: %s", name, h.Get(name))
			}
		}
		if h.Get("X-Cached-Request-Id") != "r1" || h.Get("Openai-Version") != "1" {
			t.Errorf("header of the hit: %v", h)
		}
	})
}

// A stored stream comes at the pace that the program wants, until its caller leaves.
func TestCachePromptPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Stream: wiretest.NewBody(wiretest.Chunk{Text: wiretest.DeltaEvent}, wiretest.Chunk{Text: wiretest.FinishedEvent}, wiretest.Chunk{Text: wiretest.DoneEvent}), Header: wiretest.Header("Content-Type", "text/event-stream")})
		rt := caching(base)
		rt.Cache.ReplayDelay = 30 * time.Millisecond
		again := func(ctx context.Context) (string, time.Duration, error) {
			began := time.Now()
			res, err := rt.RoundTrip(wiretest.ChatStream(t).WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			return string(b), time.Since(began), err
		}
		if _, took, _ := again(t.Context()); took != 0 {
			t.Errorf("the first answer took %v", took)
		}
		if got, took, err := again(t.Context()); err != nil || got != wiretest.DeltaEvent+wiretest.FinishedEvent+wiretest.DoneEvent || took != 60*time.Millisecond {
			t.Errorf("%q in %v (%v), want three pieces in 60 ms", got, took, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Millisecond)
		defer cancel()
		if got, took, err := again(ctx); err != context.DeadlineExceeded || got != wiretest.DeltaEvent+wiretest.FinishedEvent || took != 40*time.Millisecond {
			t.Errorf("%q in %v (%v), want two pieces and the caller's deadline", got, took, err)
		}
		res, err := rt.RoundTrip(wiretest.ChatStream(t))
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(res.Body, make([]byte, len(wiretest.DeltaEvent)))
		go func() { time.Sleep(10 * time.Millisecond); res.Body.Close() }()
		if n, err := res.Body.Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("a Read that Close has woken = %d, %v", n, err)
		}
	})
}

// An SDK closes a stream at its terminal event and not at its end.
func TestCachePromptClosedAtTerminalEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.DeltaEvent + wiretest.FinishedEvent, Err: nil}, wiretest.Chunk{At: time.Second, Text: wiretest.DoneEvent, Err: nil}, wiretest.Chunk{At: -1})
		base := wiretest.Play(wiretest.Step{Stream: body, Header: wiretest.Header("Content-Type", "text/event-stream")})
		rt := caching(base)
		res, err := rt.RoundTrip(wiretest.ChatStream(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(res.Body, make([]byte, len(wiretest.DeltaEvent+wiretest.FinishedEvent+wiretest.DoneEvent))); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if body, cache := served(t, rt, wiretest.ChatStream(t)); cache != "hit" || body != wiretest.DeltaEvent+wiretest.FinishedEvent+wiretest.DoneEvent {
			t.Errorf("a %s of %q", cache, body)
		}
		if synctest.Wait(); body.Closes() == 0 {
			t.Error("the body is open")
		}
	})
}

// Purge deletes the entries that its function selects, and shows it no credential.
func TestCachePurge(t *testing.T) {
	for name, store := range map[string]snubber.CacheStore{"memory": nil, "store": &recorder{}} {
		t.Run(name, func(t *testing.T) {
			page := wiretest.Page("hello", "Vary", "Accept")
			base := wiretest.Play(page, page, wiretest.JSON(200, wiretest.Completion), page)
			rt := stored(base, store)
			french := wiretest.GetPage(t, "Accept", "fr")
			french.URL.RawQuery = "q=1&key=SECRET"
			french.URL.User = url.UserPassword("u", "SECRET")
			served(t, rt, wiretest.GetPage(t))
			served(t, rt, french)
			served(t, rt, wiretest.Chat(t, "Authorization", "SECRET"))
			seen := map[string]int64{}
			n, err := rt.Cache.Purge(func(s snubber.StoredResponse) bool {
				seen[s.Method+" "+s.URL+" "+s.Model] = s.Bytes
				return s.Method == "POST"
			})
			if n != 1 || err != nil || len(seen) != 3 || seen["POST "+wiretest.ChatURL+" m"] != int64(len(wiretest.Completion)) || seen["GET "+wiretest.PageURL+"?q=1 "] != 5 {
				t.Errorf("%d, %v of %v", n, err, seen)
			}
			if _, cache := served(t, rt, wiretest.GetPage(t)); cache != "hit" {
				t.Errorf("what was not purged is a %s", cache)
			}
			if _, cache := served(t, rt, wiretest.Chat(t, "Authorization", "SECRET")); cache != "miss" {
				t.Errorf("what was purged is a %s", cache)
			}
			if n, err := rt.Cache.Purge(nil); n != 2 || err != nil {
				t.Errorf("all: %d, %v", n, err)
			}
			res, err := rt.RoundTrip(wiretest.GetPage(t))
			if err != nil {
				t.Fatal(err)
			}
			wiretest.ReadAll(t, res)
			if got := res.Header.Get("Cache-Status"); !strings.Contains(got, "fwd=uri-miss") { // the list of variants has gone too
				t.Errorf("after all was purged: %s", got)
			}
		})
	}
}

// Beyond MaxEntryBytes only the bytes are kept that a reader has not read yet, and
// the slowest reader sets the pace.
func TestCacheCollapseWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pieces, size = 100, 32 << 10
		var read int
		body := func(req *http.Request) (*http.Response, error) {
			return wiretest.Response(200, readerFunc(func(p []byte) (int, error) {
				if read++; read > pieces {
					return 0, io.EOF
				}
				return len(p[:min(size, len(p))]), nil
			}), "Cache-Control", "max-age=60"), nil
		}
		rt := &snubber.Transport{Base: wiretest.Func(body), Cache: &snubber.Cache{MaxBytes: 1 << 20, MaxEntryBytes: 256 << 10}}
		slow, err := rt.RoundTrip(wiretest.GetPage(t))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if most := (256<<10)/size + 2; read > most {
			t.Errorf("%d pieces are read ahead, want at most %d", read, most)
		}
		if b := wiretest.ReadAll(t, slow); len(b) != pieces*size {
			t.Errorf("%d bytes, want %d", len(b), pieces*size)
		}
		read = 0
		gone, err := rt.RoundTrip(wiretest.GetPage(t))
		if err != nil {
			t.Fatal(err)
		}
		if c := snubber.ReportOf(gone).Load().Cache; c != "miss" {
			t.Errorf("then a %s", c)
		}
		synctest.Wait()
		gone.Body.Close() // which the flight waits for
	})
}

// A reader that neither reads nor closes blocks the others for a while, and then gets
// an error. A reader that reads slowly does not, nor does one that nobody waits for.
func TestCacheCollapseStalledReader(t *testing.T) {
	const size = 1 << 20
	for _, tt := range []struct {
		name  string
		idle  func(a, b *http.Response) // what becomes of a, while b is read
		cut   bool
		least time.Duration // for b
	}{
		{"who does not read", func(*http.Response, *http.Response) {}, true, stallTime},
		{"who stops reading", func(a, _ *http.Response) { io.ReadFull(a.Body, make([]byte, 100_000)) }, true, stallTime},
		{"who stops reading later", func(a, _ *http.Response) {
			time.Sleep(10 * time.Second)
			io.ReadFull(a.Body, make([]byte, 10))
		}, true, stallTime},
		{"who reads slowly", func(a, _ *http.Response) {
			for range 100 {
				time.Sleep(20 * time.Second)
				io.ReadFull(a.Body, make([]byte, size/100))
			}
		}, false, 10 * time.Minute},
		{"who does not read while nobody waits", func(_, b *http.Response) { time.Sleep(time.Hour) }, false, 0},
	} {
		for _, leads := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/leads %v", tt.name, leads), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					start := wiretest.NewBody(wiretest.Chunk{At: time.Second, Text: wiretest.Noise(size), Err: nil})
					base := wiretest.Play(wiretest.Step{Stream: start, Header: wiretest.Header("Cache-Control", "max-age=60")})
					rt := &snubber.Transport{Base: base, Cache: &snubber.Cache{MaxEntryBytes: 100_000}}
					var all [2]*http.Response
					for i := range all {
						res, err := rt.RoundTrip(wiretest.GetPage(t))
						if err != nil {
							t.Fatal(err)
						}
						all[i] = res
					}
					a, b := all[0], all[1]
					if !leads {
						a, b = b, a
					}
					began := time.Now()
					go tt.idle(a, b)
					if tt.name == "who does not read while nobody waits" {
						time.Sleep(time.Hour)
						go wiretest.ReadAll(t, a)
					}
					if got := wiretest.ReadAll(t, b); len(got) != size || base.Sent() != 1 {
						t.Errorf("the other has %d bytes after %d requests", len(got), base.Sent())
					}
					if took := time.Since(began); took < tt.least || took > time.Hour+time.Minute {
						t.Errorf("it took %v", took)
					}
					time.Sleep(time.Hour) // for the slow reader
					if tt.cut {
						_, err := io.ReadAll(a.Body)
						if err == nil || !strings.Contains(err.Error(), "read") {
							t.Errorf("it reads on until %v", err)
						}
						if o := snubber.ReportOf(a).Load().Outcome; o.Class != snubber.Canceled {
							t.Errorf("its outcome is %+v", o)
						}
					} else if o := snubber.ReportOf(a).Load().Outcome; o.Class != snubber.Success {
						t.Errorf("its outcome is %+v", o)
					}
					a.Body.Close()
				})
			})
		}
	}
}

const stallTime = 30 * time.Second

// A body that was closed, or ended with an error, does not keep later bytes in
// memory, even if the program keeps the body.
func TestCacheCollapseClosedReader(t *testing.T) {
	const size = 64 << 20
	joined := make(chan struct{})
	all := io.LimitReader(repeating{}, size)
	base := wiretest.Func(func(*http.Request) (*http.Response, error) {
		return wiretest.Response(200, readerFunc(func(p []byte) (int, error) { <-joined; return all.Read(p) }), "Cache-Control", "max-age=60"), nil
	})
	rt := &snubber.Transport{Base: base, Cache: &snubber.Cache{MaxEntryBytes: 1 << 20}}
	var closed [2]*http.Response
	for i := range closed {
		res, err := rt.RoundTrip(wiretest.GetPage(t))
		if err != nil {
			t.Fatal(err)
		}
		closed[i] = res
	}
	close(joined)
	closed[0].Body.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if _, err := io.CopyN(io.Discard, closed[1].Body, size-1); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if after.HeapAlloc > before.HeapAlloc+size/4 {
		t.Errorf("%d bytes are kept", after.HeapAlloc-before.HeapAlloc)
	}
	closed[1].Body.Close()
	runtime.KeepAlive(closed)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A request that ends while it waits for another's response has its own error and
// report.
func TestCacheCollapseReportAfterLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := caching(wiretest.Play(wiretest.Step{Delay: time.Minute, Body: "hello", Header: wiretest.Header("Cache-Control", "max-age=600")}))
		go served(t, rt, wiretest.GetPage(t))
		synctest.Wait()
		ctx, report := snubber.WithReport(t.Context())
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if _, err := rt.RoundTrip(wiretest.GetPage(t).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if report.Load().Attempts != 0 || report.Load().Outcome.Class != snubber.Canceled {
			t.Errorf("report %+v, want no attempt of its own", report.Load())
		}
		time.Sleep(time.Hour)
	})
}
