package peers_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// caching is a transport with nothing but a cache, which also stores prompts.
func caching(base http.RoundTripper) *snubber.Transport {
	return &snubber.Transport{Base: base, Cache: &snubber.Cache{PromptTTL: time.Hour}}
}

// served makes the round trip, reads the body to its end, and returns it and the
// cache's status.
func served(t testing.TB, rt http.RoundTripper, req *http.Request) (body, cache string) {
	t.Helper()
	res, err := rt.RoundTrip(req)
	if err != nil {
		t.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
		return "", ""
	}
	body = wiretest.ReadAll(t, res)
	return body, string(snubber.ReportOf(res).Load().Cache)
}

// recorder is a store in memory that remembers all it was ever given.
type recorder struct {
	mu   sync.Mutex
	m    map[string][]byte
	seen bytes.Buffer

	get, put func(context.Context) error // before each, nil: nothing
}

type recording struct {
	r   *recorder
	key string
	bytes.Buffer
}

func (r *recorder) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if r.get != nil {
		if err := r.get(ctx); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.seen, "%s\n", key)
	b, ok := r.m[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (r *recorder) Put(ctx context.Context, key string, ttl time.Duration) (snubber.CacheWriter, error) {
	if r.put != nil {
		if err := r.put(ctx); err != nil {
			return nil, err
		}
	}
	return &recording{r: r, key: key}, nil
}

func (w *recording) Commit() error {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	fmt.Fprintf(&w.r.seen, "%s %s\n", w.key, w.Bytes())
	if w.r.m == nil {
		w.r.m = make(map[string][]byte)
	}
	w.r.m[w.key] = bytes.Clone(w.Bytes())
	return nil
}

func (w *recording) Abort() error { return nil }

func (r *recorder) Delete(_ context.Context, key string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.m, key)
	return nil
}

func (r *recorder) Keys(context.Context) iter.Seq2[string, error] {
	r.mu.Lock()
	keys := slices.Collect(maps.Keys(r.m))
	r.mu.Unlock()
	return func(yield func(string, error) bool) {
		for _, k := range keys {
			if !yield(k, nil) {
				return
			}
		}
	}
}

// bottomless is a store whose entries have no end.
type bottomless struct{ recorder }

func (*bottomless) Get(context.Context, string) (io.ReadCloser, error) {
	return io.NopCloser(zeros{}), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

var cacheSecret = bytes.Repeat([]byte("s"), 32)

// stored is a transport whose cache uses the store.
func stored(base http.RoundTripper, s snubber.CacheStore) *snubber.Transport {
	return &snubber.Transport{Base: base, Cache: &snubber.Cache{PromptTTL: time.Hour, Store: s, Secret: cacheSecret}}
}
