package snubber_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A resource changes now and then, and clients ask for parts of it and for the whole.
// What the cache makes of stored, combined and completed parts is always the bytes of
// one version, and of the range that the response names.
func TestCacheRangeOfOneVersion(t *testing.T) {
	const size = 60
	version := func(n int) string {
		return strings.Repeat(fmt.Sprintf("<%08d>", n), size/10)
	}
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			n, hits := 1, 0
			rt := caching(wiretest.Func(func(req *http.Request) (*http.Response, error) {
				tag := fmt.Sprintf(`"%d"`, n)
				header := []string{"Etag", tag, "Cache-Control", "max-age=5", "Accept-Ranges", "bytes"}
				var from, to int
				ranged := req.Header.Get("Range")
				switch {
				case req.Header.Get("If-None-Match") == tag:
					return wiretest.Response(304, strings.NewReader(""), header...), nil
				case ranged == "" || req.Header.Get("If-Range") != "" && req.Header.Get("If-Range") != tag:
					return wiretest.Response(200, strings.NewReader(version(n)), header...), nil
				case strings.HasSuffix(ranged, "-"):
					fmt.Sscanf(ranged, "bytes=%d-", &from)
					to = size - 1
				case strings.HasPrefix(ranged, "bytes=-"):
					fmt.Sscanf(ranged, "bytes=-%d", &from)
					from, to = size-from, size-1
				default:
					fmt.Sscanf(ranged, "bytes=%d-%d", &from, &to)
				}
				if rng.IntN(8) == 0 && to > from { // fewer bytes than requested, as a server may
					to--
				}
				body := version(n)[from : to+1]
				header = append(header, "Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, size))
				if rng.IntN(10) == 0 { // and one that is cut
					return wiretest.Response(206, wiretest.NewBody(wiretest.Chunk{At: 0, Text: body[:len(body)/2], Err: nil}, wiretest.Chunk{At: 0, Text: "", Err: io.ErrUnexpectedEOF}), header...), nil
				}
				return wiretest.Response(206, strings.NewReader(body), header...), nil
			}))
			for i := range 200 {
				if rng.IntN(12) == 0 {
					n++
				}
				time.Sleep(time.Duration(rng.IntN(900)) * time.Millisecond)
				req := wiretest.GetPage(t)
				from := rng.IntN(size)
				to := from + rng.IntN(size-from)
				switch rng.IntN(5) {
				case 0:
				case 1:
					req.Header.Set("Range", fmt.Sprintf("bytes=%d-", from))
				case 2:
					req.Header.Set("Range", fmt.Sprintf("bytes=-%d", 1+from))
				default:
					req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to))
				}
				res, err := rt.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil {
					continue // truncated, with an error
				}
				if strings.Contains(res.Header.Get("Cache-Status"), "; hit") {
					hits++
				}
				var of, first, last, all int
				fmt.Sscanf(res.Header.Get("Etag"), `"%d"`, &of)
				switch res.StatusCode {
				case 200:
					first, last = 0, size-1
					if res.Header.Get("Content-Range") != "" {
						t.Fatalf("seed %d, call %d: a whole with Content-Range %q", seed, i, res.Header.Get("Content-Range"))
					}
				case 206:
					if req.Header.Get("Range") == "" {
						t.Fatalf("seed %d, call %d: a part to who asked for the whole: %v", seed, i, res.Header)
					}
					fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &all)
				default:
					t.Fatalf("seed %d, call %d: status %d", seed, i, res.StatusCode)
				}
				if string(b) != version(of)[first:last+1] {
					t.Fatalf("seed %d, call %d: %s got %d-%d of version %d: %q", seed, i, req.Header.Get("Range"), first, last, of, b)
				}
				if length := res.Header.Get("Content-Length"); length != "" && length != fmt.Sprint(len(b)) {
					t.Fatalf("seed %d, call %d: Content-Length %s of %d bytes", seed, i, length, len(b))
				}
			}
			if hits < 20 {
				t.Errorf("seed %d: %d hits of 200", seed, hits)
			}
		})
	}
}

// A background refresh fetches the whole response, also after a request for a part or
// with a condition, because others may join it.
func TestCacheRangeRefresh(t *testing.T) {
	const whole, part = "ABCDEFGHIJ", "AB"
	for name, tt := range map[string]struct {
		stored string // what of it
		ask    []string
		asks   string // the Range of the refresh
		code   int
	}{
		"a part of it":             {whole, []string{"Range", "bytes=0-1"}, "", 206},
		"a part of a version":      {whole, []string{"Range", "bytes=0-1", "If-Range", `"1"`}, "", 206},
		"whether it has changed":   {whole, []string{"If-None-Match", `"1"`}, "", 304},
		"a part that is all there": {part, []string{"Range", "bytes=0-1"}, "bytes=0-1", 206},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var asked []http.Header
				rt := caching(wiretest.Func(func(req *http.Request) (*http.Response, error) {
					mu.Lock()
					asked = append(asked, req.Header)
					first := len(asked) == 1
					mu.Unlock()
					tag, control := `"1"`, "max-age=1, stale-while-revalidate=10"
					if !first {
						time.Sleep(20 * time.Second)
						tag, control = `"2"`, "max-age=60"
					}
					header := []string{"Cache-Control", control, "Etag", tag}
					if first && tt.stored == part || req.Header.Get("Range") == "bytes=0-1" {
						return wiretest.Response(206, strings.NewReader(part), append(header, "Content-Range", "bytes 0-1/10")...), nil
					}
					return wiretest.Response(200, strings.NewReader(whole), header...), nil
				}))
				if tt.stored == part {
					served(t, rt, wiretest.GetPage(t, tt.ask...))
				} else {
					served(t, rt, wiretest.GetPage(t))
				}
				time.Sleep(3 * time.Second)
				for range 2 { // one refresh will do
					res, err := rt.RoundTrip(wiretest.GetPage(t, tt.ask...))
					if err != nil {
						t.Fatal(err)
					}
					if wiretest.ReadAll(t, res); res.StatusCode != tt.code {
						t.Errorf("status %d, want %d", res.StatusCode, tt.code)
					}
				}
				time.Sleep(10 * time.Second) // too late to have the stale answer, and early enough to join
				res, err := rt.RoundTrip(wiretest.GetPage(t))
				if err != nil {
					t.Fatal(err)
				}
				if body := wiretest.ReadAll(t, res); res.StatusCode != 200 || body != whole {
					t.Errorf("who asks for the whole has a %d of %q", res.StatusCode, body)
				}
				mu.Lock()
				defer mu.Unlock()
				if len(asked) < 2 || asked[1].Get("Range") != tt.asks || len(asked) > 2 && tt.stored == whole {
					t.Errorf("the server was asked %v", asked)
				}
			})
		})
	}
}
