// Package sieve is a cache in memory that holds values by key within a number of
// bytes. It knows when a value expires and what it weighs. It does not know what a
// value is, and it reads no clock.
package sieve

import (
	"maps"
	"sync"
	"time"
	"unsafe"
)

// Cache holds values by key. Their weights together stay within a number of bytes.
// [Cache.Init] sets it; the zero Cache holds nothing. A Cache is safe for concurrent
// use and must not be copied. The values are shared by all callers that get them and
// must not change.
//
// SIEVE (Zhang et al., NSDI 2024) decides which value is evicted: a queue in order of
// arrival, and a hand that moves from the oldest value to the newest. The hand evicts
// the first value that no Get has found since the hand passed it. A scan of thousands
// of keys that are used once does not evict the values that are used often, as it would
// from an LRU. A hit moves nothing.
//
// There is one lock and one count of bytes. With a budget for each shard, one value of
// some megabytes would fit into no shard, or empty the shard that it falls into. More
// locks gain nothing: what a hit does under the lock takes a fiftieth of the rest of an
// HTTP cache's hit.
type Cache[K comparable, V any] struct {
	max, maxEntry int64

	mu        sync.Mutex
	slots     map[K]*slot[K, V]
	most      int         // len(slots) at its highest
	ends      slot[K, V]  // newer is the oldest slot, older the newest: the queue is a ring with ends in it
	hand      *slot[K, V] // eviction looks at this slot next
	sweepHand *slot[K, V] // the search for expired values looks at this slot next
	bytes     int64
}

type slot[K comparable, V any] struct {
	newer, older *slot[K, V]
	key          K
	value        V
	until        time.Time
	weight       int64
	visited      bool // since the hand came by
}

// sweepStep is how many slots each Put looks at for expired values. With two or
// more, expired values leave faster than new ones come, even if no Get asks for
// them again.
const sweepStep = 4

// Init sets the sum of all weights and the largest weight of one value, in bytes.
// Call it before any other method.
func (c *Cache[K, V]) Init(max, maxEntry int64) { c.max, c.maxEntry = max, maxEntry }

// Get returns the value of a key, unless it has expired.
func (c *Cache[K, V]) Get(k K, now time.Time) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slots[k]
	if s == nil {
		return v, false
	}
	if !now.Before(s.until) {
		c.dropLocked(s)
		return v, false
	}
	s.visited = true
	return s.value, true
}

// Put stores a value of so many bytes until a time. It replaces the value of the
// same key. If the new value is too large or has expired, Put reports false and
// changes nothing: a value that cannot be stored is no reason to evict others.
func (c *Cache[K, V]) Put(k K, v V, bytes int64, until, now time.Time) bool {
	weight := c.weight(bytes)
	if weight > c.maxEntry || weight > c.max || !now.Before(until) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.slots == nil {
		c.slots = make(map[K]*slot[K, V])
		c.ends.newer, c.ends.older = &c.ends, &c.ends
		c.hand, c.sweepHand = &c.ends, &c.ends
	}
	visited := false
	if s := c.slots[k]; s != nil {
		visited = s.visited // a value that was refreshed is no less wanted than before
		c.dropLocked(s)
	}
	c.sweepLocked(now)
	for c.bytes > c.max-weight {
		c.evictLocked(now)
	}
	s := &slot[K, V]{older: c.ends.older, newer: &c.ends, key: k, value: v, until: until, weight: weight, visited: visited}
	s.older.newer, s.newer.older = s, s
	c.slots[k] = s
	c.most = max(c.most, len(c.slots))
	c.bytes += weight
	return true
}

// weight returns what a value costs: its own bytes, the slot, and its place in the map.
// Right after the map has doubled, seven in sixteen of its places are in use.
func (c *Cache[K, V]) weight(bytes int64) int64 {
	return bytes + int64(unsafe.Sizeof(c.ends)) + int64(unsafe.Sizeof(c.ends.key)+unsafe.Sizeof(c.hand)+1)*16/7
}

// Delete removes the value of a key and reports whether there was one.
func (c *Cache[K, V]) Delete(k K) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slots[k]
	if s != nil {
		c.dropLocked(s)
	}
	return s != nil
}

// All returns the values that have not expired. The map is a copy, so that a
// caller that walks through it may call the Cache.
func (c *Cache[K, V]) All(now time.Time) map[K]V {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[K]V, len(c.slots))
	for k, s := range c.slots {
		if now.Before(s.until) {
			all[k] = s.value
		}
	}
	return all
}

func (c *Cache[K, V]) evictLocked(now time.Time) {
	for {
		s := c.hand
		c.hand = s.newer
		switch {
		case s == &c.ends:
		case s.visited && now.Before(s.until):
			s.visited = false
		default:
			c.dropLocked(s)
			return
		}
	}
}

func (c *Cache[K, V]) sweepLocked(now time.Time) {
	for range sweepStep {
		s := c.sweepHand
		c.sweepHand = s.newer
		if s != &c.ends && !now.Before(s.until) {
			c.dropLocked(s)
		}
	}
	// A map keeps the places of the keys that left it, and no weight accounts for
	// them any more.
	if c.most > 1000 && len(c.slots) < c.most/4 {
		small := make(map[K]*slot[K, V], len(c.slots)+1)
		maps.Copy(small, c.slots)
		c.slots, c.most = small, len(small)
	}
}

func (c *Cache[K, V]) dropLocked(s *slot[K, V]) {
	if c.hand == s {
		c.hand = s.newer
	}
	if c.sweepHand == s {
		c.sweepHand = s.newer
	}
	s.older.newer, s.newer.older = s.newer, s.older
	delete(c.slots, s.key)
	c.bytes -= s.weight
}
