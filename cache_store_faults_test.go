package snubber_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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

// chaotic is a server whose responses name the request that they answer: the path,
// the field that they vary by, and their number. It is slow, fails, hangs and
// truncates.
type chaotic struct {
	mu   sync.Mutex
	rand *rand.Rand

	n, open, running atomic.Int32
}

func (c *chaotic) pick(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rand.IntN(n)
}

var errReset = errors.New("reset by chaos")

func (c *chaotic) RoundTrip(req *http.Request) (*http.Response, error) {
	c.running.Add(1)
	defer c.running.Add(-1)
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	if err := wiretest.Sleep(req.Context(), time.Duration(c.pick(300))*time.Millisecond); err != nil {
		return nil, err
	}
	kind := strings.TrimPrefix(req.URL.Path, "/")
	control, media := "max-age=2", "text/plain"
	pieces := 1 + c.pick(5)
	switch kind {
	case "unstored":
		control = "no-store"
	case "stale":
		control = "max-age=1, stale-while-revalidate=3, stale-if-error=5"
	case "huge":
		pieces = 40
	case "v1/chat/completions":
		media = "application/json"
	}
	switch c.pick(12) {
	case 0:
		return nil, errReset
	case 1:
		return c.response(req, 503, wiretest.NewBody(wiretest.Chunk{At: 0, Text: "no", Err: nil})), nil
	case 2:
		if c.pick(3) == 0 {
			return wiretest.Hang(req)
		}
	case 3:
		if tag := req.Header.Get("If-None-Match"); tag != "" {
			return c.response(req, 304, wiretest.NewBody(), "Cache-Control", control, "Etag", tag, "Vary", "Foo"), nil
		}
	}
	name := fmt.Sprintf("%s %s %d", kind, req.Header.Get("Foo"), c.n.Add(1))
	chunks := []wiretest.Chunk{{At: 0, Text: `{"id":"` + name, Err: nil}}
	at := time.Duration(0)
	for range pieces {
		at += time.Duration(c.pick(100)) * time.Millisecond
		chunks = append(chunks, wiretest.Chunk{At: at, Text: strings.Repeat("x", 1000), Err: nil})
	}
	switch c.pick(10) {
	case 0:
		chunks = append(chunks, wiretest.Chunk{At: at, Text: "", Err: errReset})
	case 1:
		chunks = append(chunks, wiretest.Chunk{At: -1, Text: "", Err: nil}) // never
	}
	chunks = append(chunks, wiretest.Chunk{At: at, Text: " " + name + `"}`, Err: nil})
	return c.response(req, 200, wiretest.NewBody(chunks...), "Cache-Control", control, "Content-Type", media, "Etag", `"`+name+`"`, "Vary", "Foo"), nil
}

func (c *chaotic) response(req *http.Request, status int, f *wiretest.Body, header ...string) *http.Response {
	c.open.Add(1)
	var once sync.Once
	res := wiretest.Response(status, &wiretest.WatchedBody{ReadCloser: f.WithContext(req.Context()), Closing: func() { once.Do(func() { c.open.Add(-1) }) }}, header...)
	res.Request = req
	return res
}

// Whatever fails and whichever caller leaves, a body that ends cleanly is a complete
// response to its own request, no caller gets the error of another, and nothing is
// left running or open.
func TestCacheStoreFaults(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			server := &chaotic{rand: rand.New(rand.NewPCG(seed, 0))}
			rt := caching(server)
			rt.Cache.MaxEntryBytes = 16 << 10
			if seed%4 == 3 {
				rt.Cache.Store, rt.Cache.Secret = &recorder{}, cacheSecret
			}
			if seed%2 == 1 {
				rt.Retry = &snubber.Retry{MaxAttempts: 2}
			}
			rng := rand.New(rand.NewPCG(seed, 1))
			var all sync.WaitGroup
			for i := range 80 {
				kinds := []string{"plain", "unstored", "stale", "huge", "v1/chat/completions", "plain", "stale"}
				kind, foo := kinds[rng.IntN(len(kinds))], fmt.Sprint(rng.IntN(2))
				wait, patience, slow := time.Duration(rng.IntN(8000))*time.Millisecond, 20*time.Second, rng.IntN(4) == 0
				leaves := rng.IntN(3) == 0
				if leaves {
					patience = time.Duration(rng.IntN(600)) * time.Millisecond
				}
				closes := rng.IntN(6) == 0
				all.Go(func() {
					time.Sleep(wait)
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					method, body := "GET", ""
					if kind == "v1/chat/completions" {
						method, body = "POST", `{"model":"m","messages":[],"foo":`+foo+`}`
					}
					req := wiretest.NewRequest(t, method, "https://chaos.test/"+kind, body, "Foo", foo).WithContext(ctx)
					res, err := rt.RoundTrip(req)
					var b []byte
					if err == nil {
						if closes {
							res.Body.Read(make([]byte, 10))
							res.Body.Close()
							return
						}
						var r io.Reader = res.Body
						if slow {
							r = &dawdling{r}
						}
						b, err = io.ReadAll(r)
						res.Body.Close()
					}
					switch {
					case err != nil:
						if ended := ctx.Err(); errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && ended == nil {
							t.Errorf("seed %d, call %d: told of another's end: %v, own %v", seed, i, err, ended)
						}
					case res.StatusCode == 200:
						var path, variant string
						var n, again int
						text := strings.ReplaceAll(strings.Trim(string(b), `{"id:}`), "x", "")
						if _, err := fmt.Sscanf(text, "%s %s %d %s %s %d", &path, &variant, &n, &path, &variant, &again); err != nil || n != again || path != kind || variant != foo {
							t.Errorf("seed %d, call %d: %s %s got %.60q...%q", seed, i, kind, foo, b, b[max(0, len(b)-40):])
						}
					}
				})
			}
			all.Wait()
			time.Sleep(10 * time.Minute) // for refreshes
			if server.open.Load() != 0 || server.running.Load() != 0 {
				t.Errorf("seed %d: %d bodies open, %d requests running", seed, server.open.Load(), server.running.Load())
			}
		})
	}
}

// dawdling is a slow reader.
type dawdling struct{ r io.Reader }

func (d *dawdling) Read(p []byte) (int, error) {
	time.Sleep(20 * time.Millisecond)
	return d.r.Read(p[:min(len(p), 700)])
}
