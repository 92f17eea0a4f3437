package cachestore

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Tombstones are bounded: beyond the bound everything received before counts as
// deleted.
func TestTombstonesAreBounded(t *testing.T) {
	var ts tombstones
	start := time.Now()
	key := func(i int) (k Key) {
		binary.BigEndian.PutUint64(k[:], uint64(i))
		return k
	}
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Second) }
	for i := range maxTombstones {
		ts.add(key(i), at(i))
	}
	if !ts.covers(key(5), at(5)) || ts.covers(key(5), at(6)) || ts.covers(key(maxTombstones), start) {
		t.Error("covers does not tell keys apart")
	}
	ts.remove(key(5), at(4))
	ts.remove(key(6), at(6))
	if !ts.covers(key(5), at(5)) || ts.covers(key(6), at(6)) {
		t.Error("what is done is not told from what is not")
	}
	ts.add(key(5), at(7)) // no further key
	ts.add(key(6), at(7))
	if len(ts.deleted) != maxTombstones || ts.covers(key(maxTombstones+1), start) {
		t.Errorf("%d keys of %d are told apart", len(ts.deleted), maxTombstones)
	}
	ts.add(key(maxTombstones+1), at(maxTombstones))
	if len(ts.deleted) > maxTombstones || !ts.covers(key(7), at(7)) || !ts.covers(key(maxTombstones+1), at(maxTombstones)) || ts.covers(key(maxTombstones+1), at(maxTombstones+1)) {
		t.Errorf("of more than %d keys %d are told apart, and some are forgotten", maxTombstones, len(ts.deleted))
	}
}

// A tombstone goes when the store confirms a later deletion.
func TestTombstoneUntilDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which no store is slow
		store := &failingStore{err: errors.New("failed")}
		s := new(Storage)
		s.Init(Config{Store: store, Secret: make([]byte, 32)})
		a := Access{Ctx: t.Context(), Now: time.Now(), Owner: discardFaults{}}
		for want := 1; want >= 0; want-- {
			s.Delete(a, Key{1})
			if n := len(s.tombstones.deleted); n != want {
				t.Errorf("%d tombstones while Delete = %v, want %d", n, store.err, want)
			}
			store.err = nil
		}
	})
}

// discardFaults is an owner that needs no reports.
type discardFaults struct{}

func (discardFaults) StoreFault(string) {}
func (discardFaults) BodyFailed(error)  {}

// failingStore is a store with nothing in it.
type failingStore struct {
	Store
	err error
}

func (s *failingStore) Delete(context.Context, string) error { return s.err }
