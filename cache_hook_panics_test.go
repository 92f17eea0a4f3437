package snubber_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// end is how a goroutine that made a call ended.
type end struct {
	body     string
	err      error
	panicked any
	gone     bool // by runtime.Goexit
}

// guarded makes a call in a goroutine and returns how that ended.
func guarded(rt http.RoundTripper, req *http.Request) <-chan end {
	c := make(chan end, 1)
	go func() {
		e := end{gone: true}
		defer func() {
			if p := recover(); p != nil {
				e = end{panicked: p}
			}
			c <- e
		}()
		res, err := rt.RoundTrip(req)
		var b []byte
		if err == nil {
			b, err = io.ReadAll(res.Body)
			res.Body.Close()
		}
		e = end{body: string(b), err: err}
	}()
	return c
}

// breaking is a body that panics at its second Read.
type breaking struct{ n int }

func (b *breaking) Read(p []byte) (int, error) {
	if b.n++; b.n > 1 {
		time.Sleep(time.Second)
		panic("boom")
	}
	return copy(p, wiretest.Completion[:10]), nil
}

func (b *breaking) Close() error { return nil }

// A panic of a function of the user reaches the goroutine of the call that it was
// called for. No other caller waits for it, and the next call is not affected.
func TestCacheHookPanics(t *testing.T) {
	for name, set := range map[string]func(rt *snubber.Transport, boom func()){
		"Cache.Key": func(rt *snubber.Transport, boom func()) {
			rt.Cache.Key = func(_ *http.Request, b []byte) string { boom(); return string(b) }
		},
		"Cache.Identity": func(rt *snubber.Transport, boom func()) {
			rt.Cache.Identity = func(*http.Request) string { boom(); return "a" }
		},
		"Classify": func(rt *snubber.Transport, boom func()) {
			rt.Classify = func(req *http.Request, res *http.Response, err error) snubber.Outcome {
				boom()
				return snubber.Classify(req, res, err)
			}
		},
		"Observe": func(rt *snubber.Transport, boom func()) { rt.Observe = func(snubber.Event) { boom() } },
		"Breaker.Key": func(rt *snubber.Transport, boom func()) {
			rt.Breaker = &snubber.Breaker{Key: func(*http.Request) string { boom(); return "a" }}
		},
		"Limiter.Key": func(rt *snubber.Transport, boom func()) {
			rt.Limiter = &snubber.Limiter{Key: func(*http.Request) string { boom(); return "a" }}
		},
		"Limiter.EstimateTokens": func(rt *snubber.Transport, boom func()) {
			rt.Limiter = &snubber.Limiter{TokensPerMinute: 1 << 20, EstimateTokens: func(*http.Request, []byte) int { boom(); return 1 }}
		},
		"Base": func(rt *snubber.Transport, boom func()) {
			inner := rt.Base
			rt.Base = wiretest.Func(func(req *http.Request) (*http.Response, error) { boom(); return inner.RoundTrip(req) })
		},
		"Store.Get": func(rt *snubber.Transport, boom func()) {
			rt.Cache.Store, rt.Cache.Secret = &recorder{get: func(context.Context) error { boom(); return nil }}, cacheSecret
		},
		"Store.Put": func(rt *snubber.Transport, boom func()) {
			rt.Cache.Store, rt.Cache.Secret = &recorder{put: func(context.Context) error { boom(); return nil }}, cacheSecret
		},
	} {
		for how, boom := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
			t.Run(name+"/"+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var n, sent atomic.Int32
					rt := caching(wiretest.Func(func(req *http.Request) (*http.Response, error) {
						sent.Add(1)
						if err := wiretest.Sleep(req.Context(), time.Second); err != nil {
							return nil, err
						}
						return wiretest.Response(200, strings.NewReader(wiretest.Completion), "Content-Type", "application/json"), nil
					}))
					set(rt, func() {
						if n.Add(1) == 1 {
							boom()
						}
					})
					first := guarded(rt, wiretest.Chat(t))
					synctest.Wait()
					others := []<-chan end{guarded(rt, wiretest.Chat(t)), guarded(rt, wiretest.Chat(t))}
					lost := 0
					for i, c := range append(others, first) {
						e := <-c
						switch hit := e.panicked != nil || e.gone; {
						case hit:
							// Observe is called in the goroutine of the event.
							if lost++; i < len(others) && name != "Observe" {
								t.Errorf("another had it: %+v", e)
							}
						case e.body != wiretest.Completion || e.err != nil && name != "Observe" && name != "Store.Put": // at a body's end these may cost that
							t.Errorf("%+v", e)
						}
					}
					if n.Load() == 0 || lost != 1 && !strings.HasPrefix(name, "Store.") {
						t.Errorf("asked %d times, %d callers lost", n.Load(), lost)
					}
					if e := <-guarded(rt, wiretest.Chat(t)); e.body != wiretest.Completion {
						t.Errorf("afterwards: %+v", e)
					}
				})
			})
		}
	}

	t.Run("a body", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			rt := caching(wiretest.Func(func(*http.Request) (*http.Response, error) {
				if n.Add(1) == 1 {
					return wiretest.Response(200, &breaking{}, "Content-Type", "application/json"), nil
				}
				return wiretest.Response(200, strings.NewReader(wiretest.Completion), "Content-Type", "application/json"), nil
			}))
			first := guarded(rt, wiretest.Chat(t))
			synctest.Wait()
			other := guarded(rt, wiretest.Chat(t))
			if e := <-first; e.panicked != "boom" {
				t.Errorf("the first: %+v", e)
			}
			if e := <-other; e.err == nil && e.body != wiretest.Completion || e.panicked != nil {
				t.Errorf("the other: %+v", e)
			}
			if e := <-guarded(rt, wiretest.Chat(t)); e.body != wiretest.Completion {
				t.Errorf("afterwards: %+v", e)
			}
		})
	})
	t.Run("a refresh", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int32
			rt := caching(wiretest.Func(func(*http.Request) (*http.Response, error) {
				return wiretest.Response(200, strings.NewReader(fmt.Sprint(n.Add(1))), "Cache-Control", "max-age=10, stale-while-revalidate=600"), nil
			}))
			served(t, rt, wiretest.GetPage(t))
			time.Sleep(20 * time.Second)
			rt.Classify = func(*http.Request, *http.Response, error) snubber.Outcome { panic("boom") }
			if body, cache := served(t, rt, wiretest.GetPage(t)); body != "1" || cache != "stale" {
				t.Errorf("a %s of %q", cache, body)
			}
			synctest.Wait() // a panic on a goroutine that nobody waits for ends the program
			rt.Classify = nil
			time.Sleep(time.Minute)
			served(t, rt, wiretest.GetPage(t))
			synctest.Wait()
			if body, _ := served(t, rt, wiretest.GetPage(t)); body != "3" {
				t.Errorf("afterwards %q, want what the next refresh brought", body)
			}
		})
	})
}
