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
	endless := newFlow(chunk{0, strings.Repeat("x", 100), nil}, chunk{-1, "", nil})
	defer endless.Close()
	long := step{stream: endless, header: hdr("Cache-Control", "max-age=60"), delay: time.Second}
	base := play(long, page("short"))
	rt := &snubber.Transport{Base: base, Cache: &snubber.Cache{MaxEntryBytes: 10}}
	leader := make(chan *http.Response, 1)
	go func() {
		res, err := rt.RoundTrip(get(t))
		if err != nil {
			t.Error(err)
		}
		leader <- res
	}()
	synctest.Wait()
	follower := launch(rt, get(t))
	body := (<-leader).Body
	synctest.Wait()
	var got ended
	select {
	case got = <-follower:
	default: // it reads along
		body.Close()
		return false
	}
	if got.err != nil || got.body != "short" || base.sent() != 2 {
		t.Errorf("the follower has %+v after %d requests", got, base.sent())
	}
	body.Close()
	synctest.Wait()
	if endless.closes() == 0 {
		t.Error("nobody reads the upstream body, and it is open")
	}
	return true
}

// Entries that others store meanwhile do not delay a request, however slow the store
// is.
func TestCacheCollapseIsNotHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &recorder{get: func(context.Context) error { time.Sleep(10 * time.Millisecond); return nil }}
		rt := stored(play(page("hello")), store)
		ctx, cancel := context.WithCancel(t.Context())
		var busy sync.WaitGroup
		for i := range 20 { // each stores something else every 10 ms
			busy.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				for n := 0; ctx.Err() == nil; n++ {
					served(t, rt, newReq(t, "GET", pageURL+"/"+strings.Repeat("a", i)+"/"+strings.Repeat("b", n), "", "Cache-Control", "no-cache"))
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		start := time.Now()
		served(t, rt, get(t))
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
		second step // under way when the change is made
		after  time.Duration
		header []string
	}{
		{"a confirmation", step{status: 304, delay: 2 * time.Second, header: hdr("Etag", `"1"`, "Cache-Control", "max-age=60")}, 2 * time.Minute, nil},
		{"an answer to a HEAD", step{delay: 2 * time.Second, header: hdr("Etag", `"1"`, "Cache-Control", "max-age=60")}, 2 * time.Minute, nil},
		{"an answer for who wants a new one", step{body: "old", delay: 2 * time.Second, header: hdr("Cache-Control", "max-age=60")}, 0, []string{"Cache-Control", "no-cache"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := caching(play(page("old", "Etag", `"1"`), tt.second, step{}, page("new")))
				served(t, rt, get(t))
				time.Sleep(tt.after)
				asked := get(t, tt.header...)
				if strings.Contains(tt.name, "HEAD") {
					asked.Method = "HEAD"
				}
				asking := launch(rt, asked)
				time.Sleep(time.Second)
				served(t, rt, newReq(t, "PUT", pageURL, "new"))
				if got := <-asking; got.body != "old" && asked.Method == "GET" {
					t.Errorf("who asked before the change has %q", got.body)
				}
				if body, how := served(t, rt, get(t)); body != "new" {
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
			rt := stored(wire(func(req *http.Request) (*http.Response, error) {
				if req.Method == "PUT" {
					n.Add(1)
					return reply(204, strings.NewReader("")), nil
				}
				return reply(200, strings.NewReader(fmt.Sprint(n.Load())), "Cache-Control", "max-age=600", "Vary", "X"), nil
			}), s)
			served(t, rt, get(t, "X", "1"))
			puts := 0
			s.put = func(context.Context) error {
				if puts++; puts == during+1 {
					served(t, rt, newReq(t, "PUT", pageURL, "new"))
				}
				return nil
			}
			served(t, rt, get(t, "X", "2"))
			s.put = nil
			for _, x := range []string{"1", "2"} {
				if body, how := served(t, rt, get(t, "X", x)); body != "1" {
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
		base := play(page("old"), step{status: 503, delay: time.Second})
		rt := caching(base)
		served(t, rt, get(t))
		time.Sleep(2 * time.Minute)
		lenient := []string{"Cache-Control", "stale-if-error=600"}
		first := launch(rt, get(t, lenient...))
		strict, second := launch(rt, get(t)), launch(rt, get(t, lenient...))
		for _, got := range []ended{<-first, <-second} {
			if got.err != nil || got.body != "old" {
				t.Errorf("who would have a stale answer has %q, %v", got.body, got.err)
			}
		}
		if got := <-strict; got.err != nil || got.status != 503 {
			t.Errorf("who would not has a %d of %q, %v", got.status, got.body, got.err)
		}
		if base.sent() != 3 {
			t.Errorf("%d requests, want 3", base.sent())
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
		{"while it is asked for", 2 * time.Second, 0, pageURL, "new"},
		{"while it is read", 0, 2 * time.Second, pageURL, "new"},
		{"of something else", time.Second, 2 * time.Second, pageURL + "/other", "posted"},
		{"none", time.Second, time.Second, "", "posted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rt := caching(wire(func(req *http.Request) (*http.Response, error) {
					switch req.Method {
					case "POST":
						time.Sleep(tt.delay)
						body := newFlow(chunk{0, "pos", nil}, chunk{tt.read, "ted", nil})
						return reply(200, body, "Cache-Control", "max-age=60", "Content-Location", pageURL), nil
					case "PUT":
						return reply(200, strings.NewReader("")), nil
					}
					return reply(200, strings.NewReader("new")), nil
				}))
				posting := launch(rt, newReq(t, "POST", pageURL, "x"))
				time.Sleep(time.Second)
				if tt.change != "" {
					served(t, rt, newReq(t, "PUT", tt.change, "new"))
				}
				if got := <-posting; got.err != nil || got.body != "posted" {
					t.Errorf("the POST has %q, %v", got.body, got.err)
				}
				if body, how := served(t, rt, get(t)); body != tt.want {
					t.Errorf("a %s of %q, want %q", how, body, tt.want)
				}
			})
		})
	}
}

// A GET gets the stored response to a POST as it was: in an encoding that the GET can
// read, and with its trailer.
func TestCachePostResponse(t *testing.T) {
	answer := func(header ...string) wire {
		return func(req *http.Request) (*http.Response, error) {
			if req.Method == "GET" {
				return reply(200, strings.NewReader("plain")), nil
			}
			res := reply(200, strings.NewReader("posted"), append(header, "Cache-Control", "max-age=60", "Content-Location", pageURL)...)
			res.Trailer = hdr("T", "1")
			return res, nil
		}
	}
	rt := caching(answer())
	served(t, rt, newReq(t, "POST", pageURL, "x"))
	res, err := rt.RoundTrip(get(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := slurp(t, res); got != "posted" || res.Trailer.Get("T") != "1" {
		t.Errorf("%q with the trailer %v", got, res.Trailer)
	}
	rt = caching(answer("Content-Encoding", "br"))
	served(t, rt, newReq(t, "POST", pageURL, "x", "Accept-Encoding", "br"))
	if got, how := served(t, rt, get(t)); got != "plain" {
		t.Errorf("who says nothing of br has a %s of %q", how, got)
	}
	if got, how := served(t, rt, get(t, "Accept-Encoding", "br")); how != "hit" {
		t.Errorf("who reads br has a %s of %q", how, got)
	}
}

// A function of the user that panics after the response to a change leaves no body
// open.
func TestCacheInvalidationThenPanic(t *testing.T) {
	base := play(step{body: "changed"})
	rt := caching(base)
	rt.Cache.Identity = func(*http.Request) string {
		if base.sent() > 0 {
			panic("boom")
		}
		return ""
	}
	func() {
		defer func() { recover() }()
		rt.RoundTrip(newReq(t, "PUT", pageURL, "new"))
		t.Error("no panic")
	}()
	if base.all()[0].closed.IsZero() {
		t.Error("the body is open")
	}
}

// http.Client sets its time limit twice, in the context and in Request.Cancel.
// Neither ends the flight.
func TestCacheCollapseOutlivesClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wire(func(req *http.Request) (*http.Response, error) {
			flow := newFlow(chunk{0, "hello, ", nil}, chunk{2 * time.Second, "world", nil})
			res := reply(200, under(req.Context(), flow), "Cache-Control", "max-age=60")
			//lint:ignore SA1019 http.Transport minds it.
			if quit := req.Cancel; quit != nil {
				go func() { <-quit; flow.Close() }()
			}
			return res, nil
		})
		rt := caching(base)
		leader := &http.Client{Transport: rt, Timeout: time.Second}
		res, err := leader.Do(get(t))
		if err != nil {
			t.Fatal(err)
		}
		follower := launch(rt, get(t))
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("the client's limit is not kept")
		}
		res.Body.Close()
		if got := <-follower; got.err != nil || got.body != "hello, world" {
			t.Errorf("the other has %q, %v", got.body, got.err)
		}
	})
}

// Requests to different servers, or for different resources, have different
// responses.
func TestCacheKeyTargets(t *testing.T) {
	at := func(url, host string) *http.Request {
		req := newReq(t, "GET", url, "")
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
		{"an empty key and none", &snubber.Cache{}, at(pageURL+"?key=", ""), at(pageURL, "")},
		{"a key that is no credential", everybody, at(pageURL+"?key=a", ""), at(pageURL+"?key=b", "")},
	} {
		rt := &snubber.Transport{Base: play(page("a"), page("b")), Cache: tt.cache}
		served(t, rt, tt.a)
		if body, _ := served(t, rt, tt.b); body != "b" {
			t.Errorf("%s: the second has the first's answer", tt.name)
		}
	}
}

// A change under a host name invalidates the entries of that name.
func TestCacheInvalidationOfHost(t *testing.T) {
	named := func(method, url string) *http.Request {
		req := newReq(t, method, url, "")
		req.Host = "example.com"
		return req
	}
	rt := caching(play(page("old"), step{header: hdr("Location", "/list")}, page("new")))
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
				rt := caching(wire(func(req *http.Request) (*http.Response, error) {
					if req.URL.Path == "/wanted" {
						sent.Add(1)
					}
					time.Sleep(time.Second)
					return reply(200, strings.NewReader("hello"), "Cache-Control", "max-age=60"), nil
				}))
				rt.Limiter = &snubber.Limiter{RequestsPerMinute: 60, Burst: 1, Key: func(*http.Request) string { return "key" }}
				at := func(path string, priority int) *http.Request {
					req := newReq(t, "GET", "https://api.example.com"+path, "")
					return req.WithContext(snubber.WithPriority(req.Context(), priority))
				}
				start := time.Now()
				for i := range 5 {
					launch(rt, at(fmt.Sprint("/", i), 0))
				}
				normal := launch(rt, at("/wanted", 0))
				time.Sleep(tt.after)
				for _, c := range []<-chan ended{launch(rt, at("/wanted", tt.priority)), launch(rt, at("/wanted", tt.priority))} {
					if got := <-c; got.err != nil || got.body != "hello" || time.Since(start) > tt.by+10*time.Millisecond {
						t.Errorf("it has %q after %v, %v", got.body, time.Since(start), got.err)
					}
				}
				if got := <-normal; got.err != nil || got.body != "hello" || int(sent.Load()) != tt.sent {
					t.Errorf("the normal one has %q after %d requests, %v", got.body, sent.Load(), got.err)
				}
			})
		})
	}
}
