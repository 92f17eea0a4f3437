package snubber_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// asking sends a chat request with a body and a credential, and reads the response to
// its end.
func asking(t *testing.T, rt http.RoundTripper, body, key string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "https://api.example.com/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res, string(b)
}

const (
	hello       = `{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}`
	helloAgain  = `{ "messages": [{"content":"Hello","role":"user"}], "model": "gpt-4o" }`
	helloStream = `{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hello"}]}`
)

// Which requests are hits, and which are not.
func TestCache(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cache  *snubber.Cache
		fault  snubbertest.Fault
		first  string
		second string
		key    string // of the second
		header []string
		after  time.Duration
		wire   int
	}{
		{name: "the same request", first: hello, second: hello, wire: 1},
		{name: "another spelling of it", first: hello, second: helloAgain, wire: 1},
		{name: "a stream", first: helloStream, second: helloStream, wire: 1},
		{name: "stream and unary apart", first: hello, second: helloStream, wire: 2},
		{name: "another credential", first: hello, second: hello, key: "other", wire: 2},
		{name: "another beta", first: hello, second: hello, header: []string{"Openai-Beta", "x"}, wire: 2},
		{name: "an SDK's own header", first: hello, second: hello, header: []string{"X-Stainless-Retry-Count", "0"}, wire: 1},
		{name: "no-cache", first: hello, second: hello, header: []string{"Cache-Control", "no-cache"}, wire: 2},
		{name: "too old", first: hello, second: hello, after: time.Minute, wire: 2},
		{name: "not yet too old", first: hello, second: hello, after: time.Minute - 1, wire: 1},
		{name: "not permitted", cache: &snubber.Cache{}, first: hello, second: hello, wire: 2},
		{name: "too large", cache: &snubber.Cache{PromptTTL: time.Minute, MaxEntryBytes: 10}, first: hello, second: hello, wire: 2},
		{name: "an error", fault: snubbertest.Fault{Kind: snubbertest.ServerError, Times: 4}, first: hello, second: hello, wire: 5},
		{name: "an error inside a stream", fault: snubbertest.Fault{Kind: snubbertest.ErrorEvent, After: 2, Times: 1}, first: helloStream, second: helloStream, wire: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				provider := &snubbertest.Provider{}
				if tt.fault.Kind != healthy {
					provider.Inject(tt.fault)
				}
				rt := snubber.New(provider)
				if rt.Cache = tt.cache; rt.Cache == nil {
					rt.Cache = &snubber.Cache{PromptTTL: time.Minute}
				}
				res, first := asking(t, rt, tt.first, "key")
				time.Sleep(tt.after)
				if tt.key == "" {
					tt.key = "key"
				}
				again, second := asking(t, rt, tt.second, tt.key, tt.header...)
				if n := len(provider.Calls()); n != tt.wire {
					t.Fatalf("%d wire calls, want %d", n, tt.wire)
				}
				if tt.wire != 1 {
					return
				}
				if first != second || again.Header.Get("Content-Type") != res.Header.Get("Content-Type") {
					t.Errorf("the hit is %q, want %q", second, first)
				}
				if got := again.Header.Get("Cache-Status"); !strings.HasPrefix(got, "snubber; hit; ttl=") || again.Header.Get("X-Ratelimit-Limit-Requests") != "" {
					t.Errorf("header of the hit: %v", again.Header)
				}
				if r := snubber.ReportOf(again); r.Load().Cache != "hit" || r.Load().Attempts != 0 {
					t.Errorf("report of the hit: %+v", r)
				}
			})
		})
	}
}

// A hit works while the circuit is open and costs no token.
func TestCacheOutermost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider := &snubbertest.Provider{}
		rt := snubber.New(provider)
		rt.Cache = &snubber.Cache{PromptTTL: time.Hour}
		rt.Limiter = &snubber.Limiter{RequestsPerMinute: 1}
		asking(t, rt, hello, "key")
		rt.Breaker.Trip("https://api.example.com gpt-4o")
		start := time.Now()
		if res, _ := asking(t, rt, hello, "key"); res.StatusCode != 200 || time.Since(start) != 0 {
			t.Errorf("%v after %v, want a hit at once", res.Status, time.Since(start))
		}
	})
}

// A truncated stream and a fallback's response are never stored.
func TestCacheStoresNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider := &snubbertest.Provider{}
		provider.Inject(snubbertest.Fault{Kind: snubbertest.Truncate, After: 2, Times: 1})
		rt := snubber.New(provider)
		rt.Cache = &snubber.Cache{PromptTTL: time.Hour}
		req, _ := http.NewRequest("POST", "https://api.example.com/v1/chat/completions", strings.NewReader(helloStream))
		res, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err == nil {
			t.Error("the cut stream ended cleanly")
		}
		if res, _ := asking(t, rt, helloStream, ""); res.Header.Get("Cache-Status") != "snubber; fwd=uri-miss; stored" {
			t.Errorf("after a cut stream: %v", res.Header)
		}

		second := &snubbertest.Provider{}
		rt = snubber.New(failing(snubbertest.QuotaExhausted))
		rt.Cache = &snubber.Cache{PromptTTL: time.Hour}
		rt.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: second}}}
		for range 2 {
			asking(t, rt, hello, "key")
		}
		if n := len(second.Calls()); n != 2 {
			t.Errorf("the fallback was asked %d times, want 2", n)
		}
	})
}

// The memory is bounded in bytes, and entries that were not read lately go first.
func TestCacheMaxBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider := &snubbertest.Provider{Text: strings.Repeat("word ", 500)}
		rt := snubber.New(provider)
		rt.Cache = &snubber.Cache{PromptTTL: time.Hour, MaxBytes: 10_000, MaxEntryBytes: -1}
		ask := func(i int) { asking(t, rt, fmt.Sprintf(`{"model":"m","messages":[],"seed":%d}`, i), "key") }
		for i := range 4 {
			ask(i)
			ask(0)
		}
		ask(3)
		if n := len(provider.Calls()); n != 4 {
			t.Fatalf("%d wire calls, want 4", n)
		}
		ask(1)
		if n := len(provider.Calls()); n != 5 {
			t.Errorf("%d wire calls, want 5: the oldest is forgotten", n)
		}
	})
}

// The same prompt is sent once an hour.
func ExampleCache() {
	provider := &snubbertest.Provider{}
	t := snubber.New(provider)
	t.Cache = &snubber.Cache{PromptTTL: time.Hour}
	for range 3 {
		res, err := ask(context.Background(), t)
		fmt.Println(res.StatusCode, err, res.Header.Get("Cache-Status"))
	}
	fmt.Println("wire calls:", len(provider.Calls()))
	// Output:
	// 200 <nil> snubber; fwd=uri-miss; stored
	// 200 <nil> snubber; hit; ttl=3600
	// 200 <nil> snubber; hit; ttl=3600
	// wire calls: 1
}
