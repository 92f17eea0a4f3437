package cachestore

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// What a store still has to delete is remembered for so many keys, and where there
// are more, all that is older than that counts as deleted.
func TestOwedIsBounded(t *testing.T) {
	var o tombstones
	start := time.Now()
	key := func(i int) (k Key) {
		binary.BigEndian.PutUint64(k[:], uint64(i))
		return k
	}
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Second) }
	for i := range maxTombstones {
		o.add(key(i), at(i))
	}
	if !o.covers(key(5), at(5)) || o.covers(key(5), at(6)) || o.covers(key(maxTombstones), start) {
		t.Error("keys are not told apart")
	}
	o.remove(key(5), at(4))
	o.remove(key(6), at(6))
	if !o.covers(key(5), at(5)) || o.covers(key(6), at(6)) {
		t.Error("what is done is not told from what is not")
	}
	o.add(key(5), at(7)) // once more, which is no further key
	o.add(key(6), at(7))
	if len(o.deleted) != maxTombstones || o.covers(key(maxTombstones+1), start) {
		t.Errorf("%d keys of %d are told apart", len(o.deleted), maxTombstones)
	}
	o.add(key(maxTombstones+1), at(maxTombstones))
	if len(o.deleted) > maxTombstones || !o.covers(key(7), at(7)) || !o.covers(key(maxTombstones+1), at(maxTombstones)) || o.covers(key(maxTombstones+1), at(maxTombstones+1)) {
		t.Errorf("of more than %d keys %d are told apart, and some are forgotten", maxTombstones, len(o.deleted))
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
