package snubber_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A follower that comes to read after the beginning of the body is gone does not
// count as a caller: the last reader still ends the upstream request. The scheduler
// decides whether the follower or the flight is faster. With one processor it is as a
// rule the flight, which goes on before the callers that it wakes.
func TestCacheCollapseTooLate(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for range 100 {
		overtaken := false
		synctest.Test(t, func(t *testing.T) { overtaken = flightOvertaken(t) })
		if overtaken || t.Failed() {
			return
		}
	}
	t.Error("the follower was never too late")
}

// flightOvertaken reports whether the follower was too late.
func flightOvertaken(t *testing.T) bool {
	endless := wiretest.NewBody(wiretest.Chunk{At: 0, Text: strings.Repeat("x", 100), Err: nil}, wiretest.Chunk{At: -1, Text: "", Err: nil})
	defer endless.Close()
	long := wiretest.Step{Stream: endless, Header: wiretest.Header("Cache-Control", "max-age=60"), Delay: time.Second}
	base := wiretest.Play(long, wiretest.Page("short"))
	rt := &snubber.Transport{Base: base, Cache: &snubber.Cache{MaxEntryBytes: 10}}
	leader := make(chan *http.Response, 1)
	go func() {
		res, err := rt.RoundTrip(wiretest.GetPage(t))
		if err != nil {
			t.Error(err)
		}
		leader <- res
	}()
	synctest.Wait()
	follower := wiretest.Launch(rt, wiretest.GetPage(t))
	body := (<-leader).Body
	synctest.Wait()
	var got wiretest.Result
	select {
	case got = <-follower:
	default: // it reads along
		body.Close()
		return false
	}
	if got.Err != nil || got.Body != "short" || base.Sent() != 2 {
		t.Errorf("the follower has %+v after %d requests", got, base.Sent())
	}
	body.Close()
	synctest.Wait()
	if endless.Closes() == 0 {
		t.Error("nobody reads the upstream body, and it is open")
	}
	return true
}

// Entries that others store meanwhile do not delay a request, however slow the store
// is.
func TestCacheCollapseIsNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &recorder{get: func(context.Context) error { time.Sleep(10 * time.Millisecond); return nil }}
		rt := stored(wiretest.Play(wiretest.Page("hello")), store)
		ctx, cancel := context.WithCancel(t.Context())
		var busy sync.WaitGroup
		for i := range 20 { // each stores something else every 10 ms
			busy.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				for n := 0; ctx.Err() == nil; n++ {
					served(t, rt, wiretest.NewRequest(t, "GET", wiretest.PageURL+"/"+strings.Repeat("a", i)+"/"+strings.Repeat("b", n), "", "Cache-Control", "no-cache"))
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		start := time.Now()
		served(t, rt, wiretest.GetPage(t))
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		cancel()
		busy.Wait()
	})
}

// A response from before a change is not stored after it, even if nobody shares it.
func TestCacheInvalidationInFlight(t *testing.T) {
	for _, tt := range []struct {
		name   string
		second wiretest.Step // under way when the change is made
		after  time.Duration
		header []string
	}{
		{"a confirmation", wiretest.Step{Status: 304, Delay: 2 * time.Second, Header: wiretest.Header("Etag", `"1"`, "Cache-Control", "max-age=60")}, 2 * time.Minute, nil},
		{"an answer to a HEAD", wiretest.Step{Delay: 2 * time.Second, Header: wiretest.Header("Etag", `"1"`, "Cache-Control", "max-age=60")}, 2 * time.Minute, nil},
		{"an answer for who wants a new one", wiretest.Step{Body: "old", Delay: 2 * time.Second, Header: wiretest.Header("Cache-Control", "max-age=60")}, 0, []string{"Cache-Control", "no-cache"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := caching(wiretest.Play(wiretest.Page("old", "Etag", `"1"`), tt.second, wiretest.Step{}, wiretest.Page("new")))
				served(t, rt, wiretest.GetPage(t))
				time.Sleep(tt.after)
				asked := wiretest.GetPage(t, tt.header...)
				if strings.Contains(tt.name, "HEAD") {
					asked.Method = "HEAD"
				}
				asking := wiretest.Launch(rt, asked)
				time.Sleep(time.Second)
				served(t, rt, wiretest.NewRequest(t, "PUT", wiretest.PageURL, "new"))
				if got := <-asking; got.Body != "old" && asked.Method == "GET" {
					t.Errorf("who asked before the change has %q", got.Body)
				}
				if body, how := served(t, rt, wiretest.GetPage(t)); body != "new" {
					t.Errorf("who asks after it has a %s of %q", how, body)
				}
			})
		})
	}
}

// A change while a variant is being stored invalidates the other variants too,
// although their index is read before the change and written after it.
func TestCacheInvalidationOfVariants(t *testing.T) {
	for during := range 2 { // while the entry is written, or the index
		synctest.Test(t, func(t *testing.T) {
			s := &recorder{}
			var n atomic.Int32 // changes
			rt := stored(wiretest.Func(func(req *http.Request) (*http.Response, error) {
				if req.Method == "PUT" {
					n.Add(1)
					return wiretest.Response(204, strings.NewReader("")), nil
				}
				return wiretest.Response(200, strings.NewReader(fmt.Sprint(n.Load())), "Cache-Control", "max-age=600", "Vary", "X"), nil
			}), s)
			served(t, rt, wiretest.GetPage(t, "X", "1"))
			puts := 0
			s.put = func(context.Context) error {
				if puts++; puts == during+1 {
					served(t, rt, wiretest.NewRequest(t, "PUT", wiretest.PageURL, "new"))
				}
				return nil
			}
			served(t, rt, wiretest.GetPage(t, "X", "2"))
			s.put = nil
			for _, x := range []string{"1", "2"} {
				if body, how := served(t, rt, wiretest.GetPage(t, "X", x)); body != "1" {
					t.Errorf("after a change in the middle of write %d a %s of %q", during, how, body)
				}
			}
			if n.Load() != 1 {
				t.Errorf("%d changes", n.Load())
			}
		})
	}
}

// A request that accepts a stale response if the server fails accepts it for itself
// only.
func TestCacheCollapseStaleIfError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Page("old"), wiretest.Step{Status: 503, Delay: time.Second})
		rt := caching(base)
		served(t, rt, wiretest.GetPage(t))
		time.Sleep(2 * time.Minute)
		lenient := []string{"Cache-Control", "stale-if-error=600"}
		first := wiretest.Launch(rt, wiretest.GetPage(t, lenient...))
		strict, second := wiretest.Launch(rt, wiretest.GetPage(t)), wiretest.Launch(rt, wiretest.GetPage(t, lenient...))
		for _, got := range []wiretest.Result{<-first, <-second} {
			if got.Err != nil || got.Body != "old" {
				t.Errorf("who would have a stale answer has %q, %v", got.Body, got.Err)
			}
		}
		if got := <-strict; got.Err != nil || got.Status != 503 {
			t.Errorf("who would not has a %d of %q, %v", got.Status, got.Body, got.Err)
		}
		if base.Sent() != 3 {
			t.Errorf("%d requests, want 3", base.Sent())
		}
	})
}

// The response to a POST that a GET could get is not stored if the resource changes
// while it is fetched or read. Changes of other resources do not matter, nor does its
// own.
func TestCacheInvalidationOfPostResponse(t *testing.T) {
	for _, tt := range []struct {
		name        string
		delay, read time.Duration // of the POST's header, and of the rest of its body
		change      string
		want        string
	}{
		{"while it is asked for", 2 * time.Second, 0, wiretest.PageURL, "new"},
		{"while it is read", 0, 2 * time.Second, wiretest.PageURL, "new"},
		{"of something else", time.Second, 2 * time.Second, wiretest.PageURL + "/other", "posted"},
		{"none", time.Second, time.Second, "", "posted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := caching(wiretest.Func(func(req *http.Request) (*http.Response, error) {
					switch req.Method {
					case "POST":
						time.Sleep(tt.delay)
						body := wiretest.NewBody(wiretest.Chunk{At: 0, Text: "pos", Err: nil}, wiretest.Chunk{At: tt.read, Text: "ted", Err: nil})
						return wiretest.Response(200, body, "Cache-Control", "max-age=60", "Content-Location", wiretest.PageURL), nil
					case "PUT":
						return wiretest.Response(200, strings.NewReader("")), nil
					}
					return wiretest.Response(200, strings.NewReader("new")), nil
				}))
				posting := wiretest.Launch(rt, wiretest.NewRequest(t, "POST", wiretest.PageURL, "x"))
				time.Sleep(time.Second)
				if tt.change != "" {
					served(t, rt, wiretest.NewRequest(t, "PUT", tt.change, "new"))
				}
				if got := <-posting; got.Err != nil || got.Body != "posted" {
					t.Errorf("the POST has %q, %v", got.Body, got.Err)
				}
				if body, how := served(t, rt, wiretest.GetPage(t)); body != tt.want {
					t.Errorf("a %s of %q, want %q", how, body, tt.want)
				}
			})
		})
	}
}

// A GET gets the stored response to a POST as it was: in an encoding that the GET can
// read, and with its trailer.
func TestCachePostResponse(t *testing.T) {
	answer := func(header ...string) wiretest.Func {
		return func(req *http.Request) (*http.Response, error) {
			if req.Method == "GET" {
				return wiretest.Response(200, strings.NewReader("plain")), nil
			}
			res := wiretest.Response(200, strings.NewReader("posted"), append(header, "Cache-Control", "max-age=60", "Content-Location", wiretest.PageURL)...)
			res.Trailer = wiretest.Header("T", "1")
			return res, nil
		}
	}
	rt := caching(answer())
	served(t, rt, wiretest.NewRequest(t, "POST", wiretest.PageURL, "x"))
	res, err := rt.RoundTrip(wiretest.GetPage(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := wiretest.ReadAll(t, res); got != "posted" || res.Trailer.Get("T") != "1" {
		t.Errorf("%q with the trailer %v", got, res.Trailer)
	}
	rt = caching(answer("Content-Encoding", "br"))
	served(t, rt, wiretest.NewRequest(t, "POST", wiretest.PageURL, "x", "Accept-Encoding", "br"))
	if got, how := served(t, rt, wiretest.GetPage(t)); got != "plain" {
		t.Errorf("who says nothing of br has a %s of %q", how, got)
	}
	if got, how := served(t, rt, wiretest.GetPage(t, "Accept-Encoding", "br")); how != "hit" {
		t.Errorf("who reads br has a %s of %q", how, got)
	}
}

// A function of the user that panics after the response to a change leaves no body
// open.
func TestCacheInvalidationThenPanic(t *testing.T) {
	base := wiretest.Play(wiretest.Step{Body: "changed"})
	rt := caching(base)
	rt.Cache.Identity = func(*http.Request) string {
		if base.Sent() > 0 {
			panic("boom")
		}
		return ""
	}
	func() {
		defer func() { recover() }()
		rt.RoundTrip(wiretest.NewRequest(t, "PUT", wiretest.PageURL, "new"))
		t.Error("no panic")
	}()
	if base.Attempts()[0].Closed.IsZero() {
		t.Error("the body is open")
	}
}

// http.Client sets its time limit twice, in the context and in Request.Cancel.
// Neither ends the flight.
func TestCacheCollapseOutlivesClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Func(func(req *http.Request) (*http.Response, error) {
			flow := wiretest.NewBody(wiretest.Chunk{At: 0, Text: "hello, ", Err: nil}, wiretest.Chunk{At: 2 * time.Second, Text: "world", Err: nil})
			res := wiretest.Response(200, flow.WithContext(req.Context()), "Cache-Control", "max-age=60")
			//lint:ignore SA1019 http.Transport minds it.
			if quit := req.Cancel; quit != nil {
				go func() { <-quit; flow.Close() }()
			}
			return res, nil
		})
		rt := caching(base)
		leader := &http.Client{Transport: rt, Timeout: time.Second}
		res, err := leader.Do(wiretest.GetPage(t))
		if err != nil {
			t.Fatal(err)
		}
		follower := wiretest.Launch(rt, wiretest.GetPage(t))
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("the client's limit is not kept")
		}
		res.Body.Close()
		if got := <-follower; got.Err != nil || got.Body != "hello, world" {
			t.Errorf("the other has %q, %v", got.Body, got.Err)
		}
	})
}

// Requests to different servers, or for different resources, have different
// responses.
func TestCacheKeyTargets(t *testing.T) {
	at := func(url, host string) *http.Request {
		req := wiretest.NewRequest(t, "GET", url, "")
		if host != "" {
			req.Host = host
		}
		return req
	}
	everybody := &snubber.Cache{Identity: func(*http.Request) string { return "" }}
	for _, tt := range []struct {
		name  string
		cache *snubber.Cache
		a, b  *http.Request
	}{
		{"addresses of one name", &snubber.Cache{}, at("http://10.0.0.1/", "example.com"), at("http://10.0.0.2/", "example.com")},
		{"names of one address", &snubber.Cache{}, at("http://10.0.0.1/", "example.com"), at("http://10.0.0.1/", "example.org")},
		{"an empty key and none", &snubber.Cache{}, at(wiretest.PageURL+"?key=", ""), at(wiretest.PageURL, "")},
		{"a key that is no credential", everybody, at(wiretest.PageURL+"?key=a", ""), at(wiretest.PageURL+"?key=b", "")},
	} {
		rt := &snubber.Transport{Base: wiretest.Play(wiretest.Page("a"), wiretest.Page("b")), Cache: tt.cache}
		served(t, rt, tt.a)
		if body, _ := served(t, rt, tt.b); body != "b" {
			t.Errorf("%s: the second has the first's answer", tt.name)
		}
	}
}

// A change under a host name invalidates the entries of that name.
func TestCacheInvalidationOfHost(t *testing.T) {
	named := func(method, url string) *http.Request {
		req := wiretest.NewRequest(t, method, url, "")
		req.Host = "example.com"
		return req
	}
	rt := caching(wiretest.Play(wiretest.Page("old"), wiretest.Step{Header: wiretest.Header("Location", "/list")}, wiretest.Page("new")))
	served(t, rt, named("GET", "http://10.0.0.1/list"))
	served(t, rt, named("PUT", "http://10.0.0.1/item"))
	if body, _ := served(t, rt, named("GET", "http://10.0.0.1/list")); body != "new" {
		t.Errorf("after the change it is %q", body)
	}
}

// A high-priority request does not wait in a limiter's queue in the place of a normal
// one, and others of its priority share it. If the request is already sent, or the
// priority is no higher, one request is enough.
func TestCacheCollapsePriorities(t *testing.T) {
	for _, tt := range []struct {
		name     string
		priority int
		after    time.Duration // since the normal one has joined the queue
		sent     int           // for what both want
		by       time.Duration
	}{
		{"urgent", 1, 0, 2, 2 * time.Second},
		{"no more urgent", 0, 0, 1, 7 * time.Second},
		{"less urgent", -1, 0, 1, 7 * time.Second},
		{"urgent, and it is sent", 1, 5500 * time.Millisecond, 1, 7 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent atomic.Int32
				rt := caching(wiretest.Func(func(req *http.Request) (*http.Response, error) {
					if req.URL.Path == "/wanted" {
						sent.Add(1)
					}
					time.Sleep(time.Second)
					return wiretest.Response(200, strings.NewReader("hello"), "Cache-Control", "max-age=60"), nil
				}))
				rt.Limiter = &snubber.Limiter{RequestsPerMinute: 60, Burst: 1, Key: func(*http.Request) string { return "key" }}
				at := func(path string, priority int) *http.Request {
					req := wiretest.NewRequest(t, "GET", "https://api.example.com"+path, "")
					return req.WithContext(snubber.WithPriority(req.Context(), priority))
				}
				start := time.Now()
				for i := range 5 {
					wiretest.Launch(rt, at(fmt.Sprint("/", i), 0))
				}
				normal := wiretest.Launch(rt, at("/wanted", 0))
				time.Sleep(tt.after)
				for _, c := range []<-chan wiretest.Result{wiretest.Launch(rt, at("/wanted", tt.priority)), wiretest.Launch(rt, at("/wanted", tt.priority))} {
					if got := <-c; got.Err != nil || got.Body != "hello" || time.Since(start) > tt.by+10*time.Millisecond {
						t.Errorf("it has %q after %v, %v", got.Body, time.Since(start), got.Err)
					}
				}
				if got := <-normal; got.Err != nil || got.Body != "hello" || int(sent.Load()) != tt.sent {
					t.Errorf("the normal one has %q after %d requests, %v", got.Body, sent.Load(), got.Err)
				}
			})
		})
	}
}
