package bench

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestCacheHit holds the allocations of a hit, and the share of a complete
// peer's. Times are for the program in cache: no test should fail for a busy
// machine.
func TestCacheHit(t *testing.T) {
	if race {
		t.Skip("the race detector allocates too")
	}
	for _, c := range CacheCases() {
		if c.Cold {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			samples, _, err := c.Compare(3, 200)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range c.Limit.Broken(samples, false) {
				t.Error(b)
			}
			t.Logf("%.1f allocations, %.0f bytes", samples[0].Allocs, samples[0].Bytes)
		})
	}
}

// TestFirstByte: a cold stream begins for the caller when it begins on the
// wire, with the cache as without.
func TestFirstByte(t *testing.T) {
	for _, posts := range []bool{false, true} {
		for _, s := range append([]CacheStack{{"no cache", func(base http.RoundTripper) http.RoundTripper { return base }, true, true}}, CacheStacks[0]) {
			t.Run(fmt.Sprintf("%s, posts %v", s.Name, posts), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if first, last := delays(t, s.Wrap, posts); first != 0 || last != 19*time.Second {
						t.Errorf("the first byte came after %v, the last after %v, want 0 and 19s", first, last)
					}
				})
			})
		}
	}
}

// delays are those of the first and the last byte of a stream of twenty events,
// a second apart.
func delays(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper, posts bool) (first, last time.Duration) {
	events := streamed()
	rt := wrap(roundTripper(func(req *http.Request) (*http.Response, error) {
		b := Base{Header: http.Header{"Content-Type": {"text/event-stream"}, "Cache-Control": {"max-age=3600"}}, Chunks: events}
		res, err := b.RoundTrip(req)
		res.Body = &paced{res.Body.(*chunks)}
		return res, err
	}))
	method, path, body := http.MethodGet, "/v1/events", io.Reader(nil)
	if posts {
		method, path, body = http.MethodPost, "/v1/chat/completions", bytes.NewReader(asStream(chat()))
	}
	req, err := http.NewRequest(method, "https://api.example.com"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	res, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first = -1
	buf := make([]byte, 4<<10)
	for {
		n, err := res.Body.Read(buf)
		if n > 0 {
			if last = time.Since(start); first < 0 {
				first = last
			}
		}
		if err == io.EOF {
			return first, last
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// paced lets a second pass between two reads, but before the first.
type paced struct{ *chunks }

func (p *paced) Read(b []byte) (int, error) {
	if n := len(p.left); n > 0 && n < len(streamed()) {
		time.Sleep(time.Second)
	}
	return p.chunks.Read(b)
}

// TestCacheHitBytes: a hit gives the very answer, and every contender is
// measured at hits alone (Open's origin answers once).
func TestCacheHitBytes(t *testing.T) {
	for _, c := range CacheCases() {
		if c.Cold {
			continue
		}
		for _, s := range CacheStacks {
			if !c.Fits(s) {
				continue
			}
			t.Run(c.Name+"/"+s.Name, func(t *testing.T) {
				rt, err := c.Open(s)
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if err := c.Call(rt, 0, make([]byte, 1<<10)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
}

func BenchmarkCache(b *testing.B) {
	for _, c := range CacheCases() {
		for _, s := range CacheStacks {
			if !c.Fits(s) {
				continue
			}
			b.Run(c.Name+"/"+s.Name, func(b *testing.B) {
				rt, err := c.Open(s)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				buf := make([]byte, 4<<10)
				for i := 0; b.Loop(); i++ {
					if err := c.Call(rt, i, buf); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkCacheParallel is the hit of one entry from all processors at once.
func BenchmarkCacheParallel(b *testing.B) {
	c := CacheCases()[0]
	for _, s := range CacheStacks {
		b.Run(s.Name, func(b *testing.B) {
			rt, err := c.Open(s)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				buf := make([]byte, 4<<10)
				for pb.Next() {
					if err := c.Call(rt, 0, buf); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
