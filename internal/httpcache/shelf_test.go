package httpcache

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// What a store still has to delete is remembered for so many keys, and where there
// are more, all that is older than that counts as deleted.
func TestOwedIsBounded(t *testing.T) {
	var o owed
	start := time.Now()
	key := func(i int) (k cacheKey) {
		binary.BigEndian.PutUint64(k[:], uint64(i))
		return k
	}
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Second) }
	for i := range maxOwed {
		o.add(key(i), at(i))
	}
	if !o.covers(key(5), at(5)) || o.covers(key(5), at(6)) || o.covers(key(maxOwed), start) {
		t.Error("keys are not told apart")
	}
	o.done(key(5), at(4))
	o.done(key(6), at(6))
	if !o.covers(key(5), at(5)) || o.covers(key(6), at(6)) {
		t.Error("what is done is not told from what is not")
	}
	o.add(key(5), at(7)) // once more, which is no further key
	o.add(key(6), at(7))
	if len(o.since) != maxOwed || o.covers(key(maxOwed+1), start) {
		t.Errorf("%d keys of %d are told apart", len(o.since), maxOwed)
	}
	o.add(key(maxOwed+1), at(maxOwed))
	if len(o.since) > maxOwed || !o.covers(key(7), at(7)) || !o.covers(key(maxOwed+1), at(maxOwed)) || o.covers(key(maxOwed+1), at(maxOwed+1)) {
		t.Errorf("of more than %d keys %d are told apart, and some are forgotten", maxOwed, len(o.since))
	}
}

// What the store did not delete when it was told, and does later, is no longer owed.
func TestOwedUntilDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which no store is slow
		store := &failingStore{err: errors.New("failed")}
		c := New(Config{Store: store, Secret: make([]byte, minSecret)})
		c.init()
		req, err := http.NewRequest("PUT", "http://a.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		v := &visit{cache: c, call: storeFaults{}, req: req, now: time.Now()}
		for want := 1; want >= 0; want-- {
			c.shelf.forget(v, cacheKey{1})
			if n := len(c.shelf.owed.since); n != want {
				t.Errorf("%d are owed while Delete = %v", n, store.err)
			}
			store.err = nil
		}
	})
}

// storeFaults is a caller to whom nothing happens but a store that fails.
type storeFaults struct{ Caller }

func (storeFaults) StoreFault(string) {}

// failingStore is a store with nothing in it.
type failingStore struct {
	Store
	err error
}

func (s *failingStore) Delete(context.Context, string) error { return s.err }
