package peers_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// quick returns a Transport whose retries wait some milliseconds, for tests in
// real time.
func quick(base http.RoundTripper) *snubber.Transport {
	rt := snubber.New(base)
	rt.Retry = &snubber.Retry{MinBackoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond, Budget: &snubber.Budget{Capacity: -1}}
	return rt
}

// Bugs that show only with the real net/http as Base.
func TestPeersOverSockets(t *testing.T) {
	for _, tt := range []struct {
		name string // the correct behaviour
		test func(t *testing.T)
	}{
		{"retried bodies are closed, with MaxConnsPerHost 1", func(t *testing.T) {
			var n atomic.Int32
			url, base := wiretest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1)%3 != 0 {
					w.WriteHeader(503)
					w.Write(bytes.Repeat([]byte("x"), 200<<10)) // longer than is prefetched
				}
			})
			base.MaxConnsPerHost = 1
			for range 5 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				res, err := quick(base).RoundTrip(wiretest.NewRequest(t, "GET", url, "").WithContext(ctx))
				if err != nil || res.StatusCode != 200 {
					t.Fatalf("%v, %v, want 200 from the third attempt", res, err)
				}
				wiretest.ReadAll(t, res)
				cancel()
			}
		}},
		{"permits last to the end of a stream", func(t *testing.T) {
			var now, most atomic.Int32
			url, base := wiretest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				for range 5 {
					io.WriteString(w, "x")
					w.(http.Flusher).Flush()
				}
				now.Add(-1)
			})
			rt := quick(base)
			rt.Limiter = &snubber.Limiter{MaxConcurrent: 2}
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					res, err := rt.RoundTrip(wiretest.NewRequest(t, "GET", url, ""))
					if err != nil {
						t.Error(err)
						return
					}
					wiretest.ReadAll(t, res)
				})
			}
			if all.Wait(); most.Load() > 2 {
				t.Errorf("%d at a time, want 2", most.Load())
			}
			idle(t, rt.Limiter)
		}},
		{"an upgraded connection can be written to", func(t *testing.T) {
			url, base := wiretest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
				conn, rw, err := w.(http.Hijacker).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
				line, _ := rw.ReadString('\n')
				io.WriteString(conn, line)
			})
			res := must(t, quick(base), wiretest.NewRequest(t, "GET", url, "", "Connection", "Upgrade", "Upgrade", "echo"))
			defer res.Body.Close()
			rw, ok := res.Body.(io.ReadWriter)
			if res.StatusCode != 101 || !ok {
				t.Fatalf("%d with a %T, want 101 and a Writer", res.StatusCode, res.Body)
			}
			io.WriteString(rw, "hello\n")
			if line, err := bufio.NewReader(rw).ReadString('\n'); line != "hello\n" {
				t.Errorf("read %q, %v", line, err)
			}
		}},
		{"redirects are the client's to follow", func(t *testing.T) {
			url, base := wiretest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/" {
					t.Errorf("%s was asked for", r.URL.Path)
				}
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
			})
			res := must(t, quick(base), wiretest.NewRequest(t, "GET", url+"/", ""))
			if wiretest.ReadAll(t, res); res.StatusCode != 302 || res.Header.Get("Location") != "/elsewhere" {
				t.Errorf("%d, want the 302", res.StatusCode)
			}
		}},
		{"an answer before the upload has ended does not mix two attempts", func(t *testing.T) {
			for name, prepare := range map[string]func(*http.Request){
				"GetBody":       func(*http.Request) {},
				"read once":     func(r *http.Request) { r.GetBody = nil },
				"of any length": func(r *http.Request) { r.GetBody, r.ContentLength = nil, -1 },
			} {
				for _, size := range []int{8 << 20, 3 << 20} {
					want := bytes.Repeat([]byte("0123456789abcdef"), size/16)
					var n atomic.Int32
					url, base := wiretest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
						if n.Add(1) == 1 {
							w.WriteHeader(503)
							io.WriteString(w, "early")
							return // most of the body is unread
						}
						if got, err := io.ReadAll(r.Body); err == nil && !bytes.Equal(got, want) {
							t.Errorf("%s: %d bytes arrived that are not the caller's", name, len(got))
						}
					})
					for range 3 {
						n.Store(0)
						req, err := http.NewRequest("PUT", url, bytes.NewReader(want))
						if err != nil {
							t.Fatal(err)
						}
						prepare(req)
						again := req.GetBody != nil
						// The server resets a connection whose upload it does
						// not read. So a request that cannot be sent again may
						// end in the reset or the 503.
						res, err := quick(base).RoundTrip(req)
						if again && (err != nil || res.StatusCode != 200) {
							t.Errorf("%s: %v, %v, want 200 from the second attempt", name, res, err)
						}
						if err == nil {
							wiretest.ReadAll(t, res)
						}
					}
				}
			}
		}},
		{"a cancel while the body is read is the caller's, and says so", func(t *testing.T) {
			url, base := wiretest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "x")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			})
			rt := quick(base)
			rt.Limiter = &snubber.Limiter{MaxConcurrent: 1}
			ctx, cancel := context.WithCancel(t.Context())
			res := must(t, rt, wiretest.NewRequest(t, "GET", url, "").WithContext(ctx))
			if _, err := io.ReadFull(res.Body, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			cancel()
			if _, err := io.ReadAll(res.Body); !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want Canceled", err)
			}
			res.Body.Close()
			idle(t, rt.Limiter)
		}},
		{"a port where nobody listens opens the circuit", func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			url := "http://" + l.Addr().String()
			l.Close()
			rt := quick(&http.Transport{})
			rt.Retry, rt.Breaker = nil, &snubber.Breaker{Failures: 3}
			var refused int
			for range 10 {
				if _, err := rt.RoundTrip(wiretest.NewRequest(t, "GET", url, "")); errors.Is(err, snubber.ErrOpen) {
					refused++
				}
			}
			if refused != 7 {
				t.Errorf("%d of 10 were refused, want 7", refused)
			}
		}},
		{"a stream without an end arrives at once", func(t *testing.T) {
			url, base := wiretest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			})
			res := must(t, quick(base), wiretest.NewRequest(t, "POST", url+"/v1/chat/completions", wiretest.ChatBody))
			line, err := bufio.NewReader(res.Body).ReadString('\n')
			if err != nil || !strings.Contains(line, "hi") {
				t.Errorf("%q, %v", line, err)
			}
			res.Body.Close()
		}},
		{"a reverse proxy over it passes every stream whole", func(t *testing.T) {
			const events = 30
			up, base := wiretest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "text/event-stream")
				for range events {
					fmt.Fprint(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\n")
					w.(http.Flusher).Flush()
				}
				fmt.Fprint(w, "data: [DONE]\n\n")
			})
			target, err := url.Parse(up)
			if err != nil {
				t.Fatal(err)
			}
			proxy := &httputil.ReverseProxy{
				Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
				Transport: quick(base),
			}
			front, client := wiretest.Serve(t, proxy.ServeHTTP)
			for i := range 150 {
				res := must(t, client, wiretest.NewRequest(t, "POST", front+"/v1/chat/completions", wiretest.Prompt(1000, 0)))
				b, err := io.ReadAll(res.Body)
				if res.Body.Close(); err != nil || bytes.Count(b, []byte("data: {")) != events || !bytes.HasSuffix(b, []byte("[DONE]\n\n")) {
					t.Fatalf("stream %d: %d bytes and %v", i, len(b), err)
				}
			}
		}},
	} {
		t.Run(tt.name, tt.test)
	}
}
