package snubber_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// The Cache-Status of a response (RFC 9211), and the cache's status in the report.
func TestCacheStatus(t *testing.T) {
	aged := func(header ...string) wiretest.Step {
		return wiretest.Page("hello", append([]string{"Etag", `"a"`}, header...)...)
	}
	again := func(header ...string) func(testing.TB) *http.Request {
		return func(t testing.TB) *http.Request { return wiretest.GetPage(t, header...) }
	}
	for _, tt := range []struct {
		name     string
		first    []func(testing.TB) *http.Request // made before
		pause    time.Duration
		req      func(testing.TB) *http.Request
		steps    []wiretest.Step
		status   []string // members of Cache-Status after the name; a detail is not compared
		cache    string
		attempts int
	}{
		{"first", nil, 0, again(), []wiretest.Step{aged()}, []string{"fwd=uri-miss", "stored"}, "miss", 1},
		{"second", []func(testing.TB) *http.Request{again()}, 10 * time.Second, again(), []wiretest.Step{aged()}, []string{"hit", "ttl=50"}, "hit", 0},
		{"HEAD", []func(testing.TB) *http.Request{again()}, 10 * time.Second,
			func(t testing.TB) *http.Request { return wiretest.NewRequest(t, "HEAD", wiretest.PageURL, "") }, []wiretest.Step{aged()}, []string{"hit", "ttl=50"}, "hit", 0},
		{"another variant", []func(testing.TB) *http.Request{again("Foo", "1")}, 0, again("Foo", "2"), []wiretest.Step{aged("Vary", "Foo")}, []string{"fwd=vary-miss", "stored"}, "miss", 1},
		{"confirmed", []func(testing.TB) *http.Request{again()}, 2 * time.Minute, again(), []wiretest.Step{aged(), {Status: 304, Header: wiretest.Header("Etag", `"a"`)}},
			[]string{"fwd=stale", "fwd-status=304"}, "revalidated", 1},
		{"changed", []func(testing.TB) *http.Request{again()}, 2 * time.Minute, again(), []wiretest.Step{aged(), aged()}, []string{"fwd=stale", "stored"}, "miss", 1},
		{"wanted anew", []func(testing.TB) *http.Request{again()}, 0, again("Cache-Control", "no-cache"), []wiretest.Step{aged(), aged()}, []string{"fwd=request", "stored"}, "miss", 1},
		{"not to be stored, asks the request", nil, 0, again("Cache-Control", "no-store"), []wiretest.Step{aged()}, []string{"fwd=request"}, "bypass", 1},
		{"not to be stored, says the answer", nil, 0, again(), []wiretest.Step{{Header: wiretest.Header("Cache-Control", "no-store")}}, []string{"fwd=uri-miss", "fwd-status=200"}, "miss", 1},
		{"another method", nil, 0, func(t testing.TB) *http.Request { return wiretest.NewRequest(t, "DELETE", wiretest.PageURL, "") }, []wiretest.Step{{}}, []string{"fwd=method"}, "bypass", 1},
		{"WithNoCache", nil, 0, func(t testing.TB) *http.Request {
			return wiretest.GetPage(t).WithContext(snubber.WithNoCache(t.Context()))
		}, []wiretest.Step{aged()}, []string{"fwd=bypass"}, "bypass", 1},
		{"only if cached", nil, 0, again("Cache-Control", "only-if-cached"), []wiretest.Step{aged()}, []string{"fwd=uri-miss"}, "miss", 0},
		{"stale, taken as it is", []func(testing.TB) *http.Request{again()}, 2 * time.Minute, again("Cache-Control", "max-stale"), []wiretest.Step{aged()}, []string{"hit", "ttl=-60"}, "stale", 0},
		{"stale for a failure", []func(testing.TB) *http.Request{again()}, 2 * time.Minute, again(), []wiretest.Step{aged("Cache-Control", "stale-if-error=600"), {Status: 503}},
			[]string{"fwd=stale", "fwd-status=503"}, "stale", 1},
		{"stale for a lost connection", []func(testing.TB) *http.Request{again()}, 2 * time.Minute, again(), []wiretest.Step{aged("Cache-Control", "stale-if-error=600"), {Err: wiretest.RefusedDial()}},
			[]string{"fwd=stale"}, "stale", 1},
		{"stale while revalidating", []func(testing.TB) *http.Request{again()}, 2 * time.Minute, again(), []wiretest.Step{aged("Cache-Control", "stale-while-revalidate=600")}, []string{"hit", "ttl=-60"}, "stale", 0},
		{"prompt", nil, 0, func(t testing.TB) *http.Request { return wiretest.Chat(t) }, []wiretest.Step{wiretest.JSON(200, wiretest.Completion)}, []string{"fwd=uri-miss", "stored"}, "miss", 1},
		{"prompt again", []func(testing.TB) *http.Request{func(t testing.TB) *http.Request { return wiretest.Chat(t) }}, time.Minute,
			func(t testing.TB) *http.Request { return wiretest.Chat(t) }, []wiretest.Step{wiretest.JSON(200, wiretest.Completion)}, []string{"hit", "ttl=3540"}, "hit", 0},
		{"part", []func(testing.TB) *http.Request{again()}, 0, again("Range", "bytes=1-2"), []wiretest.Step{aged()}, []string{"hit", "ttl=60"}, "hit", 0},
		{"the caller's own condition", []func(testing.TB) *http.Request{again()}, 0, again("If-None-Match", `"a"`), []wiretest.Step{aged()}, []string{"hit", "ttl=60"}, "hit", 0},
		{"gone", nil, 0, again(), []wiretest.Step{{Status: 404}}, []string{"fwd=uri-miss", "fwd-status=404"}, "miss", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for i := range tt.steps {
					if h := tt.steps[i].Header; len(h["Cache-Control"]) > 1 {
						h["Cache-Control"] = []string{strings.Join(h["Cache-Control"], ", ")}
					}
				}
				rt := caching(wiretest.Play(tt.steps...))
				for _, first := range tt.first {
					served(t, rt, first(t))
				}
				time.Sleep(tt.pause)
				res, err := rt.RoundTrip(tt.req(t))
				if err != nil {
					t.Fatal(err)
				}
				wiretest.ReadAll(t, res)
				r := snubber.ReportOf(res)
				if r == nil || string(r.Load().Cache) != tt.cache || r.Load().Attempts != tt.attempts {
					t.Errorf("report %+v, want %s and %d attempts", r, tt.cache, tt.attempts)
				}
				if tt.attempts == 0 && r.Load().Outcome.Usage != (snubber.Usage{}) {
					t.Errorf("usage %+v billed twice", r.Load().Outcome.Usage)
				}
				lines := res.Header.Values("Cache-Status")
				if len(lines) != 1 {
					t.Fatalf("Cache-Status %q, want one member", lines)
				}
				members := strings.Split(lines[0], "; ")
				if members[0] != "snubber" {
					t.Errorf("Cache-Status %q", lines[0])
				}
				have := make(map[string]bool)
				for _, m := range members[1:] {
					have[m] = !strings.HasPrefix(m, "detail=")
				}
				for _, m := range tt.status {
					if !have[m] {
						t.Errorf("Cache-Status %q lacks %q", lines[0], m)
					}
				}
				if have["hit"] && (have["stored"] || strings.Contains(lines[0], "fwd=")) || have["stored"] != strings.Contains(strings.Join(tt.status, " "), "stored") {
					t.Errorf("Cache-Status %q, want %q", lines[0], tt.status)
				}
			})
		})
	}
}

// What other caches have said stays, even if it mentions this one; what the server has
// said in this cache's name does not.
func TestCacheStatusOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := caching(wiretest.Play(wiretest.Page("hello", "Cache-Status", `edge; fwd=miss; detail="snubber.example"`, "Cache-Status", "snubber; hit, outer; hit")))
		for _, own := range []string{"snubber; fwd=uri-miss; stored", "snubber; hit; ttl=60"} {
			res, err := rt.RoundTrip(wiretest.GetPage(t))
			if err != nil {
				t.Fatal(err)
			}
			wiretest.ReadAll(t, res)
			want := []string{`edge; fwd=miss; detail="snubber.example"`, "outer; hit", own}
			if got := res.Header["Cache-Status"]; !slices.Equal(got, want) {
				t.Errorf("Cache-Status = %q, want %q", got, want)
			}
		}
	})
}
