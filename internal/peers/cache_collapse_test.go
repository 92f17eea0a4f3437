package peers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// What other caches do wrong when several callers want the same.
func TestPeersCacheCollapse(t *testing.T) {
	kinds := func(t testing.TB) map[string]func(int) *http.Request {
		return map[string]func(int) *http.Request{
			"page":   func(int) *http.Request { return wiretest.GetPage(t) },
			"prompt": func(int) *http.Request { return wiretest.Chat(t) },
			"stream": func(int) *http.Request { return wiretest.ChatStream(t) },
		}
	}
	// answering is a base that takes a second, for the header and again for the
	// rest of the body.
	answering := func(n *atomic.Int32) wiretest.Func {
		return func(req *http.Request) (*http.Response, error) {
			n.Add(1)
			if err := wiretest.Sleep(req.Context(), time.Second); err != nil {
				return nil, err
			}
			header := wiretest.Header("Cache-Control", "max-age=60", "Content-Type", "application/json")
			pieces := []wiretest.Chunk{{At: 0, Text: wiretest.Completion[:20], Err: nil}, {At: time.Second, Text: wiretest.Completion[20:], Err: nil}}
			if req.URL.Path == "/v1/chat/completions" && req.GetBody != nil {
				b, _ := req.GetBody()
				if text, _ := io.ReadAll(b); strings.Contains(string(text), `"stream":true`) {
					header.Set("Content-Type", "text/event-stream")
					pieces = []wiretest.Chunk{{At: 0, Text: wiretest.DeltaEvent, Err: nil}, {At: time.Second, Text: wiretest.FinishedEvent + wiretest.DoneEvent, Err: nil}}
				}
			}
			res := wiretest.Response(200, wiretest.NewBody(pieces...).WithContext(req.Context()))
			res.Header, res.Request = header, req
			return res, nil
		}
	}
	body := func(kind string) string {
		if kind == "stream" {
			return wiretest.DeltaEvent + wiretest.FinishedEvent + wiretest.DoneEvent
		}
		return wiretest.Completion
	}

	for kind, req := range kinds(t) {
		for name, test := range map[string]func(t *testing.T, n *atomic.Int32, rt *snubber.Transport){
			"50 who come at once are one request": func(t *testing.T, n *atomic.Int32, rt *snubber.Transport) {
				bodies, errs := wiretest.FetchAll(t, rt, 50, req)
				if n.Load() != 1 || bodies[body(kind)] != 50 || len(errs) > 0 {
					t.Errorf("%d requests, %v, %v", n.Load(), bodies, errs)
				}
			},
			"who comes late has the whole": func(t *testing.T, n *atomic.Int32, rt *snubber.Transport) {
				bodies, errs := wiretest.FetchAll(t, &delayed{rt: rt, by: 40 * time.Millisecond}, 49, req)
				if n.Load() != 1 || bodies[body(kind)] != 49 || len(errs) > 0 {
					t.Errorf("%d requests, %v, %v", n.Load(), bodies, errs)
				}
			},
			"who leaves takes nobody along": func(t *testing.T, n *atomic.Int32, rt *snubber.Transport) {
				for _, after := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond} {
					n.Store(0)
					rt.Cache = &snubber.Cache{PromptTTL: time.Hour}
					bodies, errs := wiretest.FetchAll(t, rt, 50, func(i int) *http.Request {
						if i >= 25 {
							return req(i)
						}
						ctx, cancel := context.WithCancelCause(context.Background())
						time.AfterFunc(after, func() { cancel(nil) })
						return req(i).WithContext(ctx)
					})
					if n.Load() != 1 || bodies[body(kind)] != 25 || len(errs) != 25 {
						t.Errorf("left after %v: %d requests, %v, %v", after, n.Load(), bodies, errs)
					}
					for _, err := range errs {
						if !errors.Is(err, context.Canceled) {
							t.Errorf("left after %v: %v, want the caller's own cancellation", after, err)
						}
					}
				}
			},
			"the first to come may leave first": func(t *testing.T, n *atomic.Int32, rt *snubber.Transport) {
				ctx, cancel := context.WithCancel(context.Background())
				first := wiretest.Launch(rt, req(0).WithContext(ctx))
				second := wiretest.Launch(rt, req(1))
				time.Sleep(500 * time.Millisecond)
				cancel()
				if e := <-first; !errors.Is(e.Err, context.Canceled) || e.Took != 500*time.Millisecond {
					t.Errorf("the first: %v after %v", e.Err, e.Took)
				}
				if e := <-second; e.Err != nil || e.Body != body(kind) || n.Load() != 1 {
					t.Errorf("the second: %q, %v, %d requests", e.Body, e.Err, n.Load())
				}
			},
			"the last to leave ends the request, and nobody joins it": func(t *testing.T, n *atomic.Int32, rt *snubber.Transport) {
				var ended atomic.Int32
				inner := rt.Base
				rt.Base = wiretest.Func(func(req *http.Request) (*http.Response, error) {
					res, err := inner.RoundTrip(req)
					if err != nil {
						ended.Add(1)
					}
					return res, err
				})
				for _, pause := range []time.Duration{0, time.Nanosecond} {
					n.Store(0)
					ended.Store(0)
					rt.Cache = &snubber.Cache{PromptTTL: time.Hour}
					ctx, cancel := context.WithCancel(context.Background())
					a, b := wiretest.Launch(rt, req(0).WithContext(ctx)), wiretest.Launch(rt, req(1).WithContext(ctx))
					time.Sleep(500 * time.Millisecond)
					cancel()
					time.Sleep(pause)
					c := wiretest.Launch(rt, req(2))
					<-a
					<-b
					// A caller of the same moment may still be the last one.
					if left := n.Load() == 2; left != (ended.Load() == 1) || pause > 0 && !left {
						t.Errorf("%d requests of which %d have ended", n.Load(), ended.Load())
					}
					if e := <-c; e.Err != nil || e.Body != body(kind) {
						t.Errorf("who came after: %q, %v", e.Body, e.Err)
					}
				}
			},
			"each has its own header and request": func(t *testing.T, n *atomic.Int32, rt *snubber.Transport) {
				var all sync.WaitGroup
				for i := range 8 {
					r := req(i)
					all.Go(func() {
						res, err := rt.RoundTrip(r)
						if err != nil {
							t.Error(err)
							return
						}
						res.Header.Set("A", fmt.Sprint(i)) // a race, were it shared
						res.Header["Content-Type"][0] = "x"
						wiretest.ReadAll(t, res)
						if res.Header.Get("A") != fmt.Sprint(i) || res.Request == nil || res.Request.URL.String() != r.URL.String() {
							t.Errorf("header %v, request %v", res.Header, res.Request)
						}
					})
				}
				all.Wait()
			},
			"a slow reader holds nobody up": func(t *testing.T, n *atomic.Int32, rt *snubber.Transport) {
				res, err := rt.RoundTrip(req(0)) // and does not read
				if err != nil {
					t.Fatal(err)
				}
				if e := <-wiretest.Launch(rt, req(1)); e.Err != nil || e.Body != body(kind) || e.Took > time.Second {
					t.Errorf("the other: %q, %v, after %v", e.Body, e.Err, e.Took)
				}
				if got := wiretest.ReadAll(t, res); got != body(kind) || n.Load() != 1 {
					t.Errorf("the slow one: %q, %d requests", got, n.Load())
				}
			},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var n atomic.Int32
					test(t, &n, caching(answering(&n)))
				})
			})
		}
	}

	// Responses that are not shared: each caller goes on alone, and not one after the other.
	for name, answer := range map[string]func() *http.Response{
		"429": func() *http.Response {
			return wiretest.Response(429, strings.NewReader(wiretest.LimitedBody), "Cache-Control", "max-age=60")
		},
		"500": func() *http.Response { return wiretest.Response(500, strings.NewReader("{}")) },
		"401": func() *http.Response { return wiretest.Response(401, strings.NewReader("{}")) },
		"unstorable": func() *http.Response {
			return wiretest.Response(200, strings.NewReader("own"), "Cache-Control", "no-store")
		},
	} {
		t.Run("a "+name+" is not shared", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n atomic.Int32
				rt := caching(wiretest.Func(func(req *http.Request) (*http.Response, error) {
					n.Add(1)
					err := wiretest.Sleep(req.Context(), time.Second)
					return answer(), err
				}))
				start := time.Now()
				_, errs := wiretest.FetchAll(t, rt, 20, func(int) *http.Request { return wiretest.GetPage(t) })
				if d := time.Since(start); n.Load() != 20 || d > 2*time.Second || len(errs) > 0 {
					t.Errorf("%d requests in %v, %v", n.Load(), d, errs)
				}
				// A caller that comes soon after does not wait either.
				start = time.Now()
				wiretest.FetchAll(t, rt, 5, func(int) *http.Request { return wiretest.GetPage(t) })
				if d := time.Since(start); name == "unstorable" && d > time.Second {
					t.Errorf("the next took %v", d)
				}
			})
		})
	}

	for name, test := range map[string]func(t *testing.T){
		"an error in the middle reaches all, after what came before": func(t *testing.T) {
			boom := errors.New("reset")
			rt := caching(wiretest.Func(func(req *http.Request) (*http.Response, error) {
				return wiretest.Response(200, wiretest.NewBody(wiretest.Chunk{At: 0, Text: "first", Err: nil}, wiretest.Chunk{At: time.Second, Text: "", Err: boom}), "Cache-Control", "max-age=60"), nil
			}))
			var all sync.WaitGroup
			for range 10 {
				req := wiretest.GetPage(t)
				all.Go(func() {
					res, err := rt.RoundTrip(req)
					if err != nil {
						t.Error(err)
						return
					}
					b, err := io.ReadAll(res.Body)
					res.Body.Close()
					if string(b) != "first" || !errors.Is(err, boom) {
						t.Errorf("%q, %v", b, err)
					}
				})
			}
			all.Wait()
			if cache, _ := launchCache(t, rt); cache == "hit" {
				t.Error("stored all the same")
			}
		},
		"50 stale hits are one refresh, although each has left": func(t *testing.T) {
			var n atomic.Int32
			rt := caching(wiretest.Func(func(req *http.Request) (*http.Response, error) {
				if n.Add(1) > 1 {
					if err := wiretest.Sleep(req.Context(), time.Second); err != nil {
						return nil, err
					}
				}
				return wiretest.Response(200, strings.NewReader(fmt.Sprint(n.Load())), "Cache-Control", "max-age=10, stale-while-revalidate=60"), nil
			}))
			served(t, rt, wiretest.GetPage(t))
			time.Sleep(20 * time.Second)
			start := time.Now()
			ctx, cancel := context.WithCancel(context.Background())
			bodies, errs := wiretest.FetchAll(t, rt, 50, func(int) *http.Request { return wiretest.GetPage(t).WithContext(ctx) })
			cancel()
			if bodies["1"] != 50 || len(errs) > 0 || time.Since(start) > 0 {
				t.Errorf("%v, %v after %v, want 50 stale answers at once", bodies, errs, time.Since(start))
			}
			time.Sleep(5 * time.Second)
			if body, cache := served(t, rt, wiretest.GetPage(t)); body != "2" || cache != "hit" || n.Load() != 2 {
				t.Errorf("afterwards a %s of %q, %d requests", cache, body, n.Load())
			}
		},
		"a refresh that hangs ends": func(t *testing.T) {
			var n atomic.Int32
			rt := caching(wiretest.Func(func(req *http.Request) (*http.Response, error) {
				if n.Add(1) > 1 {
					defer n.Add(10)
					return wiretest.Hang(req)
				}
				return wiretest.Response(200, strings.NewReader("hello"), "Cache-Control", "max-age=10, stale-while-revalidate=6000000"), nil
			}))
			served(t, rt, wiretest.GetPage(t))
			time.Sleep(20 * time.Second)
			if body, cache := served(t, rt, wiretest.GetPage(t)); body != "hello" || cache != "stale" {
				t.Errorf("a %s of %q", cache, body)
			}
			if time.Sleep(24 * time.Hour); n.Load() != 12 {
				t.Error("the refresh still hangs after a day")
			}
		},
		"a stale answer stands in for a failure": func(t *testing.T) {
			for name, fail := range map[string]func() (*http.Response, error){
				"dial":      func() (*http.Response, error) { return nil, wiretest.RefusedDial() },
				"reset":     func() (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
				"500":       func() (*http.Response, error) { return wiretest.Response(500, strings.NewReader("")), nil },
				"503":       func() (*http.Response, error) { return wiretest.Response(503, strings.NewReader("")), nil },
				"timed out": nil,
			} {
				for _, control := range []string{"max-age=10, stale-if-error=60", "max-age=10, stale-if-error=60, must-revalidate", "max-age=10, stale-if-error=60, no-cache", "max-age=10"} {
					first := true
					rt := caching(wiretest.Func(func(req *http.Request) (*http.Response, error) {
						switch {
						case first:
							first = false
							return wiretest.Response(200, strings.NewReader("hello"), "Cache-Control", control), nil
						case fail == nil:
							return wiretest.Hang(req)
						}
						return fail()
					}))
					rt.Timeout = &snubber.Timeout{Headers: time.Second}
					served(t, rt, wiretest.GetPage(t))
					time.Sleep(20 * time.Second)
					res, err := rt.RoundTrip(wiretest.GetPage(t))
					var body string
					if err == nil {
						body = wiretest.ReadAll(t, res)
					}
					if want := control == "max-age=10, stale-if-error=60"; (body == "hello") != want {
						t.Errorf("%s with %q: %q, %v", name, control, body, err)
					} else if want && snubber.ReportOf(res).Load().Cache != "stale" {
						t.Errorf("%s: reported as %s", name, snubber.ReportOf(res).Load().Cache)
					}
				}
			}
		},
		"a stale answer stands in for an open circuit": func(t *testing.T) {
			rt := caching(wiretest.Play(wiretest.Page("hello", "Cache-Control", "stale-if-error=6000")))
			rt.Breaker = &snubber.Breaker{}
			served(t, rt, wiretest.GetPage(t))
			time.Sleep(2 * time.Minute)
			for _, c := range rt.Breaker.Circuits() {
				rt.Breaker.Trip(c.Key)
			}
			if body, cache := served(t, rt, wiretest.GetPage(t)); body != "hello" || cache != "stale" {
				t.Errorf("a %s of %q", cache, body)
			}
		},
		"the caller's own cancellation is answered with nothing stale": func(t *testing.T) {
			base := wiretest.Play(wiretest.Page("hello", "Cache-Control", "stale-if-error=6000"), wiretest.Step{Delay: time.Hour})
			rt := caching(base)
			served(t, rt, wiretest.GetPage(t))
			time.Sleep(2 * time.Minute)
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if e := <-wiretest.Launch(rt, wiretest.GetPage(t).WithContext(ctx)); !errors.Is(e.Err, context.DeadlineExceeded) {
				t.Errorf("%q, %v", e.Body, e.Err)
			}
		},
		"two variants, three rounds, two requests": func(t *testing.T) {
			base := wiretest.Play(wiretest.Page("hello", "Vary", "Foo"))
			rt := caching(base)
			for range 3 {
				served(t, rt, wiretest.GetPage(t, "Foo", "1"))
				served(t, rt, wiretest.GetPage(t, "Foo", "2"))
			}
			if base.Sent() != 2 {
				t.Errorf("%d requests", base.Sent())
			}
		},
		"who follows closes the body that it brought": func(t *testing.T) {
			var n atomic.Int32
			rt := caching(answering(&n))
			var own [3]*wiretest.CountedBody
			_, errs := wiretest.FetchAll(t, rt, 3, func(i int) *http.Request {
				req := wiretest.Chat(t)
				own[i] = &wiretest.CountedBody{Reader: strings.NewReader(wiretest.ChatBody)}
				req.Body = own[i]
				return req
			})
			for i, b := range own {
				if b.Closed == 0 || n.Load() != 1 || len(errs) > 0 {
					t.Errorf("body %d closed %d times, %d requests, %v", i, b.Closed, n.Load(), errs)
				}
			}
		},
		"what the first to come left behind is closed, if it is nobody's": func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Delay: time.Second, Body: "own", Header: wiretest.Header("Cache-Control", "no-store")})
			rt := caching(base)
			ctx, cancel := context.WithCancel(context.Background())
			first, second := wiretest.Launch(rt, wiretest.GetPage(t).WithContext(ctx)), wiretest.Launch(rt, wiretest.GetPage(t))
			cancel()
			if e := <-first; !errors.Is(e.Err, context.Canceled) {
				t.Errorf("the first: %v", e.Err)
			}
			if e := <-second; e.Err != nil || e.Body != "own" || e.Took != 2*time.Second {
				t.Errorf("the second: %q, %v after %v", e.Body, e.Err, e.Took)
			}
			synctest.Wait()
			for i, try := range base.Attempts() {
				if try.Closed.IsZero() {
					t.Errorf("the body of answer %d is open", i)
				}
			}
		},
		"a report is of its own call, though another made the request": func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Status: 503, Delay: time.Second}, wiretest.Page(wiretest.Completion))
			rt := caching(&snubber.Transport{Base: base, Retry: &snubber.Retry{}}) // a call within the call
			ctx, report := snubber.WithReport(context.Background())
			other, reported := snubber.WithReport(context.Background())
			first, second := wiretest.Launch(rt, wiretest.GetPage(t).WithContext(ctx)), wiretest.Launch(rt, wiretest.GetPage(t).WithContext(other))
			<-first
			<-second
			if report.Load().Calls != 1 || report.Load().Attempts != 2 || report.Load().Cache != "miss" {
				t.Errorf("the first: %+v", report)
			}
			if reported.Load().Calls != 1 || reported.Load().Attempts != 0 || reported.Load().Cache != "collapsed" {
				t.Errorf("the second: %+v", reported)
			}
		},
		"an answer too large is not kept for those who come late": func(t *testing.T) {
			huge := strings.Repeat("x", 1<<16)
			var n atomic.Int32
			rt := caching(wiretest.Func(func(req *http.Request) (*http.Response, error) {
				n.Add(1)
				var pieces []wiretest.Chunk
				for i := range 10 {
					pieces = append(pieces, wiretest.Chunk{At: time.Duration(i) * time.Second, Text: huge, Err: nil})
				}
				return wiretest.Response(200, wiretest.NewBody(pieces...).WithContext(req.Context()), "Cache-Control", "max-age=60"), nil
			}))
			rt.Cache.MaxEntryBytes = 1 << 17
			bodies, errs := wiretest.FetchAll(t, &delayed{rt: rt, by: time.Second}, 8, func(int) *http.Request { return wiretest.GetPage(t) })
			if bodies[strings.Repeat(huge, 10)] != 8 || len(errs) > 0 || n.Load() < 2 {
				t.Errorf("%d kinds of bodies, %d whole, %v, %d requests", len(bodies), bodies[strings.Repeat(huge, 10)], errs, n.Load())
			}
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}
}

// launchCache returns the cache's status of a call whose body may fail.
func launchCache(t testing.TB, rt http.RoundTripper) (cache string, err error) {
	t.Helper()
	res, err := rt.RoundTrip(wiretest.GetPage(t))
	if err != nil {
		return "", err
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return string(snubber.ReportOf(res).Load().Cache), nil
}

// delayed lets its callers through one after the other.
type delayed struct {
	rt http.RoundTripper
	by time.Duration
	n  atomic.Int32
}

func (d *delayed) RoundTrip(req *http.Request) (*http.Response, error) {
	time.Sleep(time.Duration(d.n.Add(1)-1) * d.by)
	return d.rt.RoundTrip(req)
}
