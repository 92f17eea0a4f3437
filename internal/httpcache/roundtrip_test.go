package httpcache

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// How the cache takes part in the second of two requests.
func TestCacheRoundTrip(t *testing.T) {
	old := func() *http.Response { return response(200, strings.NewReader("new"), "Cache-Control", "max-age=60") }
	for _, tt := range []struct {
		name         string
		config       Config
		first        func() *http.Response
		after        time.Duration
		second       func() *http.Response
		method, path string
		header       []string
		status       string
		detail       string
		body         string
		sent         int
	}{
		{name: "fresh", first: page("old"), status: "hit", body: "old", sent: 1},
		{name: "fresh HEAD", first: page("old"), method: "HEAD", status: "hit", sent: 1},
		{name: "fresh range", first: page("old"), header: []string{"Range", "bytes=1-1"}, status: "hit", body: "l", sent: 1},
		{name: "too old", first: page("old"), after: time.Hour, status: "miss", detail: "stale", body: "new", sent: 2},
		{name: "confirmed", first: page("old", "Etag", `"1"`), after: time.Hour,
			second: func() *http.Response { return response(304, http.NoBody, "Etag", `"1"`) }, status: "revalidated", body: "old", sent: 2},
		{name: "another was confirmed", first: page("old", "Etag", `"1"`), after: time.Hour,
			second: func() *http.Response { return response(304, http.NoBody, "Etag", `"2"`) }, status: "miss", detail: "status", sent: 3},
		{name: "stale-if-error", config: Config{StaleIfError: 2 * time.Hour}, first: page("old"), after: time.Hour,
			second: func() *http.Response { return nil }, status: "stale", detail: "stale-if-error", body: "old", sent: 2},
		{name: "while-revalidate", first: page("old", "Cache-Control", "max-age=60, stale-while-revalidate=7200"), after: time.Hour,
			status: "stale", detail: "stale-while-revalidate", body: "old", sent: 2},
		{name: "only-if-cached", first: page("old"), after: time.Hour, header: []string{"Cache-Control", "only-if-cached"}, status: "miss", detail: "only-if-cached", sent: 1},
		{name: "another variant", first: page("old", "Vary", "Foo"), header: []string{"Foo", "1"}, status: "miss", detail: "vary-miss", body: "new", sent: 2},
		{name: "unsafe", first: page("old"), method: "PUT", status: "bypass", detail: "method", body: "new", sent: 2},
		{name: "prompt", config: Config{PromptTTL: time.Hour}, first: page("{}", "Content-Type", "application/json"), method: "POST", path: "/chat", status: "hit", body: "{}", sent: 1},
		{name: "prompt without TTL", first: page("{}", "Content-Type", "application/json"), method: "POST", path: "/chat", status: "bypass", detail: "no PromptTTL", body: "new", sent: 2},
		{name: "prompt of another type", config: Config{PromptTTL: time.Hour}, first: page("text", "Content-Type", "text/plain"), method: "POST", path: "/chat",
			status: "miss", detail: "content type", body: "new", sent: 2},
		{name: "too large", config: Config{MaxBytes: 1 << 20, MaxEntryBytes: 2}, first: page("old"), status: "miss", detail: "uri-miss", body: "new", sent: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tt.second == nil {
					tt.second = old
				}
				tr := newTransport(t, tt.config, play(tt.first, tt.second))
				if tt.path == "" {
					tt.path = "/a"
				}
				method := "GET"
				if tt.path == "/chat" {
					method = "POST"
				}
				res, _, err := tr.do(request(t.Context(), method, tt.path))
				if err != nil {
					t.Fatal(err)
				}
				read(t, res)
				time.Sleep(tt.after)
				if tt.method != "" {
					method = tt.method
				}
				res, c, err := tr.do(request(t.Context(), method, tt.path, tt.header...))
				if err != nil {
					t.Fatal(err)
				}
				body := read(t, res)
				tr.idle()
				if c.status != tt.status || c.detail != tt.detail || body != tt.body || tr.sent() != tt.sent {
					t.Errorf("a %s (%s) of %q after %d requests, want a %s (%s) of %q after %d", c.status, c.detail, body, tr.sent(), tt.status, tt.detail, tt.body, tt.sent)
				}
			})
		})
	}
}

// What an unsafe request has changed is not served after it, nor stored by a flight
// that was under way.
func TestCacheInvalidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		tr := newTransport(t, Config{}, nil)
		tr.base = func(req *http.Request) (*http.Response, error) {
			if n.Add(1) == 2 {
				return slow(3)(req)
			}
			return page("x")(), nil
		}
		tr.get()
		go tr.get("Cache-Control", "no-cache")
		time.Sleep(time.Second)
		res, _, err := tr.do(request(t.Context(), "PUT", "/a"))
		if err != nil {
			t.Fatal(err)
		}
		read(t, res)
		time.Sleep(time.Minute / 2)
		if _, c := tr.get(); c.status != "miss" || tr.sent() != 4 {
			t.Errorf("a %s after %d requests, want a miss after 4", c.status, tr.sent())
		}
		tr.idle()
	})
}

// A panic of a user's function gives back what the caller would have got.
func TestCacheReleasesOnPanic(t *testing.T) {
	t.Run("key", func(t *testing.T) {
		tr := newTransport(t, Config{PromptTTL: time.Hour, Key: func(*http.Request, []byte) string { panic("boom") }}, play(page("{}")))
		c := &testCaller{tr: tr, req: request(t.Context(), "POST", "/chat")}
		if panicked(func() { tr.RoundTrip(c) }) != "boom" || !c.released {
			t.Errorf("the request body is released: %v, want true", c.released)
		}
	})
	for name, header := range map[string]string{"shared body": "max-age=60", "unshared body": "no-store"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newTransport(t, Config{}, nil)
				tr.base = func(req *http.Request) (*http.Response, error) {
					return response(200, &slowBody{req.Context(), 100, 1}, "Cache-Control", header), nil
				}
				tr.onStatus = func() { panic("boom") }
				if got := panicked(func() { tr.do(request(t.Context(), "GET", "/a")) }); got != "boom" {
					t.Errorf("panic = %v, want boom", got)
				}
				synctest.Wait()
				if !tr.exchange(0).wasClosed() {
					t.Error("the body is not closed")
				}
			})
		})
	}
	t.Run("base", func(t *testing.T) {
		tr := newTransport(t, Config{}, func(*http.Request) (*http.Response, error) { panic("boom") })
		if got := panicked(func() { tr.do(request(t.Context(), "GET", "/a")) }); got != "boom" {
			t.Errorf("panic = %v, want boom", got)
		}
	})
}

func panicked(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}
