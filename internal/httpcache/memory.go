package httpcache

import (
	"maps"
	"sync"
	"time"
	"unsafe"
)

// memory holds values by key within a number of bytes. Which goes when room is
// needed is decided by SIEVE (Zhang et al., NSDI 2024): a queue in order of
// arrival, and a hand that walks from the oldest to the newest and evicts the
// first value that nobody asked for since it last came by. A scan of thousands of
// URLs that are asked for once does not push out what is asked for often, as it
// would from an LRU, and a hit moves nothing.
//
// There is one lock and one count of bytes. With a budget for each shard, one
// stream of some megabytes would not fit into any, or empty the one it falls
// into; and what a hit does under the lock takes a fiftieth of what the rest of
// the hit takes, so there is nothing to gain from more locks.
//
// Values are shared by all who get them and must not change.
type memory[K comparable, V any] struct {
	// max bounds the sum of the weights, maxEntry a single one. Set them before
	// first use.
	max, maxEntry int64

	mu    sync.Mutex
	m     map[K]*slot[K, V]
	most  int         // len(m) at its highest
	ends  slot[K, V]  // newer is the oldest slot, older the newest: the queue is a ring with ends in it
	hand  *slot[K, V] // whom eviction looks at next
	broom *slot[K, V] // whom the search for the expired looks at next
	bytes int64
}

type slot[K comparable, V any] struct {
	newer, older *slot[K, V]
	key          K
	value        V
	until        time.Time
	weight       int64
	asked        bool // since the hand came by
}

// swept is how many slots each put looks at for expired ones. With two or more,
// what has expired goes faster than what is new comes, whatever is never asked
// for again.
const swept = 4

// get returns the value under a key if it has not expired.
func (m *memory[K, V]) get(k K, now time.Time) (v V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.m[k]
	if s == nil {
		return v, false
	}
	if !now.Before(s.until) {
		m.dropLocked(s)
		return v, false
	}
	s.asked = true
	return s.value, true
}

// put keeps a value of so many bytes until a time, in the place of what was
// under its key. It reports false, and changes nothing, if the value is too
// large or has expired: a value that cannot be kept is no reason to evict others.
func (m *memory[K, V]) put(k K, v V, bytes int64, until, now time.Time) bool {
	weight := m.weight(bytes)
	if weight > m.maxEntry || weight > m.max || !now.Before(until) {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m == nil {
		m.m = make(map[K]*slot[K, V])
		m.ends.newer, m.ends.older = &m.ends, &m.ends
		m.hand, m.broom = &m.ends, &m.ends
	}
	asked := false
	if s := m.m[k]; s != nil {
		asked = s.asked // a value that was refreshed is no less wanted than before
		m.dropLocked(s)
	}
	m.sweepLocked(now)
	for m.bytes > m.max-weight {
		m.evictLocked(now)
	}
	s := &slot[K, V]{older: m.ends.older, newer: &m.ends, key: k, value: v, until: until, weight: weight, asked: asked}
	s.older.newer, s.newer.older = s, s
	m.m[k] = s
	m.most = max(m.most, len(m.m))
	m.bytes += weight
	return true
}

// weight is what a value costs: its own bytes, the slot, and its place in the
// map, of whose places seven in sixteen are in use right after it doubled.
func (m *memory[K, V]) weight(bytes int64) int64 {
	return bytes + int64(unsafe.Sizeof(m.ends)) + int64(unsafe.Sizeof(m.ends.key)+unsafe.Sizeof(m.hand)+1)*16/7
}

// delete forgets a value and reports whether there was one.
func (m *memory[K, V]) delete(k K) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.m[k]
	if s != nil {
		m.dropLocked(s)
	}
	return s != nil
}

// all returns what is there now. It is a copy because whoever looks at the
// values, a user's predicate for one, may call back.
func (m *memory[K, V]) all(now time.Time) map[K]V {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[K]V, len(m.m))
	for k, s := range m.m {
		if now.Before(s.until) {
			all[k] = s.value
		}
	}
	return all
}

func (m *memory[K, V]) evictLocked(now time.Time) {
	for {
		s := m.hand
		m.hand = s.newer
		switch {
		case s == &m.ends:
		case s.asked && now.Before(s.until):
			s.asked = false
		default:
			m.dropLocked(s)
			return
		}
	}
}

func (m *memory[K, V]) sweepLocked(now time.Time) {
	for range swept {
		s := m.broom
		m.broom = s.newer
		if s != &m.ends && !now.Before(s.until) {
			m.dropLocked(s)
		}
	}
	// A map does not give back the places of what left it, which no weight
	// accounts for any more.
	if m.most > 1000 && len(m.m) < m.most/4 {
		small := make(map[K]*slot[K, V], len(m.m)+1)
		maps.Copy(small, m.m)
		m.m, m.most = small, len(small)
	}
}

func (m *memory[K, V]) dropLocked(s *slot[K, V]) {
	if m.hand == s {
		m.hand = s.newer
	}
	if m.broom == s {
		m.broom = s.newer
	}
	s.older.newer, s.newer.older = s.newer, s.older
	delete(m.m, s.key)
	m.bytes -= s.weight
}
