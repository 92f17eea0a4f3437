package snubber

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// shelf is where answers are kept: in memory.
type shelf struct {
	memory memory[cacheKey, *cached]
	puts   atomic.Uint64 // how often something was stored
	index  sync.Mutex    // held while the index of a URL's variants is changed
}

func (s *shelf) get(c *Cache, ctx context.Context, key cacheKey, now time.Time) *cached {
	e, _ := s.memory.get(key, now)
	return e
}

func (s *shelf) put(c *Cache, e *cached) {
	n := e.weight()
	if e.size > c.maxEntry() || !s.memory.put(e.key, e, n, e.until(c), time.Now()) {
		s.memory.delete(e.key) // what it would have replaced is out of date
	}
}

func (s *shelf) drop(c *Cache, key cacheKey) { s.memory.delete(key) }

func (s *shelf) purge(c *Cache, forget func(Stored) bool) (n int) {
	for key, e := range s.memory.all(time.Now()) {
		if e.variants != nil {
			if forget == nil {
				s.memory.delete(key)
			}
			continue
		}
		if forget == nil || forget(e.public()) {
			s.memory.delete(key)
			n++
		}
	}
	return n
}

func (e *cached) public() Stored {
	return Stored{Method: e.method, URL: e.url, Model: e.model, Status: e.status, Bytes: e.size, Since: e.received}
}

// storeVariant stores the answer to a GET, under the URL's key or, where answers
// vary, under that of its variant.
func (v *visit) storeVariant(e *cached, now time.Time) {
	c := v.cache
	names, _ := rfc9111.Vary(e.header)
	if len(names) == 0 {
		if e.status == http.StatusPartialContent {
			e = e.joined(c.shelf.get(c, v.call.ctx(), e.key, now), c)
		}
		c.shelf.put(c, e)
		return
	}
	c.shelf.index.Lock()
	defer c.shelf.index.Unlock()
	var x *variants
	if p := c.shelf.get(c, v.call.ctx(), e.primary, now); p != nil {
		x = p.variants
	}
	x, e.key = x.with(v, names, v.call.in.Header)
	if e.status == http.StatusPartialContent {
		e = e.joined(c.shelf.get(c, v.call.ctx(), e.key, now), c)
	}
	c.shelf.put(c, e)
	c.shelf.put(c, &cached{key: e.primary, primary: e.primary, method: e.method, url: e.url, received: now, variants: x})
}
