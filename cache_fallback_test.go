package snubber_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A fallback's response is not stored, at any depth. Every route of a Balancer is a
// primary one.
func TestCacheFallbackNotStored(t *testing.T) {
	failing := func() http.RoundTripper { return wiretest.Play(wiretest.Step{Status: 500}) }
	falling := func(first, second http.RoundTripper) *snubber.Transport {
		return &snubber.Transport{Base: first, Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: second}}}}
	}
	for name, tt := range map[string]struct {
		base func(answers http.RoundTripper) http.RoundTripper
		kept bool
	}{
		"the second route of a Balancer": {func(b http.RoundTripper) http.RoundTripper {
			return &snubber.Balancer{Routes: []snubber.Route{{Transport: failing()}, {Transport: b}}}
		}, true},
		"the fallback of a Transport below": {func(b http.RoundTripper) http.RoundTripper { return falling(failing(), b) }, false},
		"a fallback two below": {func(b http.RoundTripper) http.RoundTripper {
			return &snubber.Transport{Base: falling(failing(), b)}
		}, false},
		"a fallback below a cache below": {func(b http.RoundTripper) http.RoundTripper {
			rt := falling(failing(), b)
			rt.Cache = &snubber.Cache{PromptTTL: time.Hour}
			return rt
		}, false},
		"a Spread's fallback": {func(b http.RoundTripper) http.RoundTripper {
			return &snubber.Balancer{Routes: []snubber.Route{{Transport: falling(failing(), b)}}}
		}, false},
		"a fallback that was not needed": {func(b http.RoundTripper) http.RoundTripper { return falling(b, failing()) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, req := range []func() *http.Request{func() *http.Request { return wiretest.Chat(t) }, func() *http.Request { return wiretest.GetPage(t) }} {
				rt := caching(tt.base(wiretest.Play(wiretest.Page(wiretest.Completion, "Content-Type", "application/json"))))
				served(t, rt, req())
				if body, cache := served(t, rt, req()); (cache == "hit") != tt.kept || body != wiretest.Completion {
					t.Errorf("%s: then a %s of %q, want it kept: %v", req().Method, cache, body, tt.kept)
				}
			}
		})
	}
}

// The header of a fallback's response to a HEAD does not update an entry.
func TestCacheFallbackDoesNotValidate(t *testing.T) {
	for name, nested := range map[string]bool{"a fallback": false, "the fallback of a Transport below": true} {
		synctest.Test(t, func(t *testing.T) {
			base := wiretest.Play(wiretest.Page("old"), wiretest.Step{Status: 503}, wiretest.Page("new"))
			rt := caching(base)
			fallback := &snubber.Fallback{Routes: []snubber.Route{{Transport: wiretest.Play(wiretest.Step{Header: wiretest.Header("Cache-Control", "max-age=6000")})}}}
			if nested {
				rt.Base = &snubber.Transport{Base: base, Fallback: fallback}
			} else {
				rt.Fallback = fallback
			}
			served(t, rt, wiretest.GetPage(t))
			time.Sleep(2 * time.Minute)
			res, err := rt.RoundTrip(wiretest.NewRequest(t, "HEAD", wiretest.PageURL, ""))
			if err != nil {
				t.Fatal(err)
			}
			if wiretest.ReadAll(t, res); res.Header.Get("Cache-Control") != "max-age=6000" {
				t.Errorf("%s: the HEAD has %v", name, res.Header)
			}
			if body, how := served(t, rt, wiretest.GetPage(t)); body != "new" || how != "miss" {
				t.Errorf("%s: then a %s of %q", name, how, body)
			}
		})
	}
}

// Stale finds the entry of the cache around it, whichever caller's request is sent. Its
// response is not stored as a new one.
func TestStaleOfCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Page("hello"), wiretest.Step{Status: 404, Body: "gone"}, wiretest.Step{Status: 500})
		rt := caching(&snubber.Transport{Base: base, Fallback: &snubber.Fallback{Routes: []snubber.Route{{
			Transport: snubber.Stale, If: func(_ *http.Request, o snubber.Outcome) bool { return o.Class != snubber.Success },
		}}}})
		served(t, rt, wiretest.GetPage(t))
		time.Sleep(2 * time.Minute)
		for range 2 {
			res, err := rt.RoundTrip(wiretest.GetPage(t))
			if err != nil {
				t.Fatal(err)
			}
			if body := wiretest.ReadAll(t, res); body != "hello" || res.Header.Get("Age") != "120" {
				t.Errorf("%q with %v", body, res.Header)
			}
			if r := snubber.ReportOf(res); r.Load().Attempts != 1 || r.Load().AnsweredBy != 1 {
				t.Errorf("report %+v, want the one request that was sent", r)
			}
		}
		if n := base.Sent(); n != 3 {
			t.Errorf("%d requests, want 3: the stale answer is not fresh", n)
		}
	})
}

// primary's own body was being copied for the cache.
func TestCacheOfCallThatFellBack(t *testing.T) {
	message := func(text string) string {
		return `{"choices":[{"index":0,"message":{"content":"` + text + `"},"finish_reason":"stop"}]}`
	}
	base := wiretest.Play(wiretest.Step{Body: message(strings.Repeat("x", 70<<10)), Header: wiretest.Header("Content-Type", "application/json", "Bad", "1")})
	alt := wiretest.Play(wiretest.Step{Body: message("fallback"), Header: wiretest.Header("Content-Type", "application/json")})
	tr := &snubber.Transport{
		Base: base, Cache: &snubber.Cache{PromptTTL: time.Hour}, Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: alt}}},
		Classify: func(r *http.Request, res *http.Response, err error) snubber.Outcome {
			if res != nil && res.Header.Get("Bad") != "" {
				return snubber.Outcome{Class: snubber.ServerError}
			}
			return snubber.Classify(r, res, err)
		},
	}
	for range 2 {
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
	}
	if n := base.Sent(); n != 2 {
		t.Errorf("the primary was asked %d times, want 2", n)
	}
}
