// Package keyed holds one state for each key: a circuit, a queue, a budget. It knows
// what a key is made of. It does not know what a state is, only whether it may be
// forgotten. It sees no request and no credential.
package keyed

import (
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxKeys bounds each Map. Keys come from requests, and a server of many tenants
// has many.
const maxKeys = 10_000

// Map holds one state for each key, made when it is first needed. The zero Map is
// empty. It is safe for concurrent use and must not be copied after first use.
//
// A Map of 10 000 keys forgets a state before it makes another one. A state that is not
// Evictable is never forgotten, and the Map then grows. The key is no type parameter,
// because a comparison of keys would then go through a dictionary.
type Map[V interface{ Evictable(now time.Time) bool }] struct {
	// last is the entry of the last Get. Most programs call one model most of the
	// time, and comparing a key with itself takes a fraction of the time of hashing
	// it.
	last atomic.Pointer[entry[V]]

	mu      sync.RWMutex
	entries map[Key]*entry[V]
	n       atomic.Int32 // len(entries)
}

type entry[V any] struct {
	key   Key
	value V
	used  atomic.Int64 // unix seconds
}

// Find returns the state of k, if there is one. The state does not count as used.
func (m *Map[V]) Find(k Key) (v V, ok bool) {
	if m.n.Load() == 0 {
		return v, false
	}
	m.mu.RLock()
	e := m.entries[k]
	m.mu.RUnlock()
	if e == nil {
		return v, false
	}
	return e.value, true
}

// Get returns the state of k, and makes it with create if there is none.
func (m *Map[V]) Get(k Key, now time.Time, create func(Key) V) V {
	e := m.last.Load()
	if e == nil || e.key != k {
		m.mu.RLock()
		if e = m.entries[k]; e != nil {
			m.last.Store(e) // under the lock, or it may come after the entry's eviction
		}
		m.mu.RUnlock()
	}
	if e == nil {
		m.mu.Lock()
		if e = m.entries[k]; e == nil {
			if m.entries == nil {
				m.entries = make(map[Key]*entry[V])
			}
			for range 2 { // so that a Map that had to grow shrinks again
				if len(m.entries) >= maxKeys {
					m.evictLocked(now)
				}
			}
			e = &entry[V]{key: k, value: create(k)}
			m.entries[k] = e
			m.n.Store(int32(len(m.entries)))
		}
		m.mu.Unlock()
	}
	if s := now.Unix(); e.used.Load() != s { // one store a second, and not one a call, keeps the cache line shared
		e.used.Store(s)
	}
	return e.value
}

// evictLocked forgets the least recently used of the first evictable entries
// it meets. Map order is random, so this is a sampled LRU; the exact one would
// cost every call a write to a shared list.
func (m *Map[V]) evictLocked(now time.Time) {
	const sample = 32
	var oldest Key
	found, at := 0, int64(0)
	for k, e := range m.entries {
		if !e.value.Evictable(now) {
			continue
		}
		if u := e.used.Load(); found == 0 || u < at {
			oldest, at = k, u
		}
		if found++; found == sample {
			break
		}
	}
	if found > 0 {
		m.last.Store(nil)
		delete(m.entries, oldest)
	}
}

// All yields the states of this moment with the Strings of their keys, in the order of
// the Strings. The loop may call methods of m.
func (m *Map[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		type named struct {
			name  string
			value V
		}
		m.mu.RLock()
		all := make([]named, 0, len(m.entries))
		for k, e := range m.entries {
			all = append(all, named{k.String(), e.value})
		}
		m.mu.RUnlock()
		slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.name, b.name) })
		for _, e := range all {
			if !yield(e.name, e.value) {
				return
			}
		}
	}
}
