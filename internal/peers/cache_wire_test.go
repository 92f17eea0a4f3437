package peers_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// The defects of other caches that need the real net/http below.
func TestPeersCacheSockets(t *testing.T) {
	const size = 100_000
	long := strings.Repeat("0123456789", size/10)
	// read is one GET and its result.
	read := func(rt http.RoundTripper, url string, header ...string) (body, cache string, err error) {
		res, err := rt.RoundTrip(wiretest.NewRequest(t, "GET", url, "", header...))
		if err != nil {
			return "", "", err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return string(b), string(snubber.ReportOf(res).Load().Cache), err
	}
	cutters := map[string]func(w http.ResponseWriter, n int32){
		"by Content-Length": func(w http.ResponseWriter, n int32) {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			io.WriteString(w, long[:size/2])
			if n == 1 {
				panic(http.ErrAbortHandler)
			}
			io.WriteString(w, long[size/2:])
		},
		"in chunks": func(w http.ResponseWriter, n int32) {
			io.WriteString(w, long[:size/2])
			w.(http.Flusher).Flush()
			if n == 1 {
				panic(http.ErrAbortHandler)
			}
			io.WriteString(w, long[size/2:])
		},
	}
	for _, http2 := range []bool{false, true} {
		for name, cut := range cutters {
			t.Run(fmt.Sprintf("an answer cut %s is no hit, HTTP/2 %v", name, http2), func(t *testing.T) {
				var n atomic.Int32
				srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Cache-Control", "max-age=60")
					cut(w, n.Add(1))
				}))
				if srv.EnableHTTP2 = http2; http2 {
					srv.StartTLS()
				} else {
					srv.Start()
				}
				defer srv.Close()
				rt := caching(srv.Client().Transport)
				if body, _, err := read(rt, srv.URL); err == nil {
					t.Errorf("%d bytes without an error", len(body))
				}
				if body, cache, err := read(rt, srv.URL); err != nil || cache == "hit" || body != long {
					t.Errorf("then a %s of %d bytes, %v", cache, len(body), err)
				}
				if body, cache, err := read(rt, srv.URL); err != nil || cache != "hit" || body != long || n.Load() != 2 {
					t.Errorf("at last a %s of %d bytes, %v", cache, len(body), err)
				}
			})
		}
	}

	t.Run("what was unpacked under way is whole as a hit", func(t *testing.T) {
		url, base := wiretest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Vary", "Accept-Encoding")
			if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				io.WriteString(w, long)
				return
			}
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, long)
			z.Close()
		})
		rt := caching(base)
		for i, want := range []string{"miss", "hit"} {
			res, err := rt.RoundTrip(wiretest.NewRequest(t, "GET", url, ""))
			if err != nil {
				t.Fatal(err)
			}
			if body := wiretest.ReadAll(t, res); body != long || string(snubber.ReportOf(res).Load().Cache) != want {
				t.Errorf("answer %d: a %s of %d bytes", i, snubber.ReportOf(res).Load().Cache, len(body))
			}
			if !res.Uncompressed || res.Header.Get("Content-Encoding") != "" || res.Header.Get("Content-Length") != "" && res.Header.Get("Content-Length") != fmt.Sprint(size) {
				t.Errorf("answer %d: uncompressed %v, %v", i, res.Uncompressed, res.Header)
			}
		}
		// Who asks for gzip in so many words is to have it packed, not the above.
		res, err := rt.RoundTrip(wiretest.NewRequest(t, "GET", url, "", "Accept-Encoding", "gzip"))
		if err != nil {
			t.Fatal(err)
		}
		if body := wiretest.ReadAll(t, res); res.Header.Get("Content-Encoding") != "gzip" || len(body) == size {
			t.Errorf("%d bytes, %v", len(body), res.Header)
		}
	})

	t.Run("many hits at once keep their bytes", func(t *testing.T) {
		url, base := wiretest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			io.WriteString(w, strings.Repeat(r.URL.Path[1:], 16<<10))
		})
		rt := caching(base)
		var all sync.WaitGroup
		for i := range 480 {
			path := string(rune('a' + i%16))
			all.Go(func() {
				if body, _, err := read(rt, url+"/"+path); err != nil || body != strings.Repeat(path, 16<<10) {
					t.Errorf("%s: %d bytes, %v", path, len(body), err)
				}
			})
		}
		all.Wait()
	})

	t.Run("interim answers reach the one who asks, and are not stored", func(t *testing.T) {
		url, base := wiretest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a>")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			w.Header().Set("Cache-Control", "max-age=60")
			io.WriteString(w, "hello")
		})
		rt := caching(base)
		for i := range 2 {
			var hints atomic.Int32
			trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if code == http.StatusEarlyHints && h.Get("Link") == "</a>" {
					hints.Add(1)
				}
				return nil
			}}
			req := wiretest.NewRequest(t, "GET", url, "")
			res, err := rt.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
			if err != nil {
				t.Fatal(err)
			}
			if body := wiretest.ReadAll(t, res); body != "hello" || int(hints.Load()) != 1-i || res.Header.Get("Link") != "" {
				t.Errorf("answer %d: %q, %d hints, %v", i, body, hints.Load(), res.Header)
			}
		}
	})

	t.Run("an upgrade is the caller's alone, and can be written to", func(t *testing.T) {
		url, base := wiretest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "echo")
			w.Header().Set("Cache-Control", "max-age=60")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			line, _ := buf.ReadString('\n')
			io.WriteString(conn, line)
		})
		rt := caching(base)
		for range 2 {
			res, err := rt.RoundTrip(wiretest.NewRequest(t, "GET", url, "", "Connection", "Upgrade", "Upgrade", "echo"))
			if err != nil {
				t.Fatal(err)
			}
			w, ok := res.Body.(io.Writer)
			if !ok || res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("%d with a %T", res.StatusCode, res.Body)
			}
			io.WriteString(w, "hello\n")
			if b, _ := io.ReadAll(res.Body); string(b) != "hello\n" {
				t.Errorf("%q", b)
			}
			res.Body.Close()
		}
	})

	t.Run("redirects are kept like other answers", func(t *testing.T) {
		var n atomic.Int32
		url, base := wiretest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			w.Header().Set("Cache-Control", "max-age=60")
			if r.URL.Path == "/old" {
				http.Redirect(w, r, "/new", http.StatusMovedPermanently)
				return
			}
			io.WriteString(w, "hello")
		})
		client := &http.Client{Transport: caching(base)}
		for range 3 {
			res, err := client.Get(url + "/old")
			if err != nil {
				t.Fatal(err)
			}
			if body := wiretest.ReadAll(t, res); body != "hello" || res.Request.URL.Path != "/new" || n.Load() != 2 {
				t.Errorf("%q from %s, %d requests", body, res.Request.URL.Path, n.Load())
			}
		}
	})

	t.Run("trailers come again", func(t *testing.T) {
		url, base := wiretest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Trailer", "Digest")
			io.WriteString(w, "hello")
			w.Header().Set("Digest", "d")
		})
		rt := caching(base)
		for i := range 2 {
			res, err := rt.RoundTrip(wiretest.NewRequest(t, "GET", url, ""))
			if err != nil {
				t.Fatal(err)
			}
			if wiretest.ReadAll(t, res); res.Trailer.Get("Digest") != "d" || res.Header.Get("Digest") != "" {
				t.Errorf("answer %d: trailer %v, header %v", i, res.Trailer, res.Header)
			}
		}
	})
}
