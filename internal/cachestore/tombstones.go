package cachestore

import (
	"sync"
	"time"
)

// tombstones are the entries whose deletion the store did not confirm: it failed,
// was too slow, or was not called because it had been. This process ignores such
// an entry if it was received before the deletion.
type tombstones struct {
	mu      sync.Mutex
	deleted map[Key]int64 // when, in unix nanoseconds: entries of a store have no monotonic clock
	all     int64         // the same for every key, after there were too many
}

// maxTombstones is how many keys are told apart.
const maxTombstones = 4096

// add notes that the entry of a key was to be deleted at a time.
func (t *tombstones) add(key Key, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.deleted == nil {
		t.deleted = make(map[Key]int64)
	}
	if _, ok := t.deleted[key]; !ok && len(t.deleted) >= maxTombstones {
		clear(t.deleted)
		t.all = at.UnixNano()
	}
	t.deleted[key] = at.UnixNano()
}

// remove notes that the store has no entry of the key that was received before a
// time.
func (t *tombstones) remove(key Key, before time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.deleted[key]; ok && at <= before.UnixNano() {
		delete(t.deleted, key)
	}
}

// covers reports whether an entry that was received at a time counts as deleted.
func (t *tombstones) covers(key Key, received time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.deleted[key]
	return ok && received.UnixNano() <= at || received.UnixNano() <= t.all
}
