package snubber

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
)

// CacheStore stores the entries of a [Cache] outside its memory: on a disk, or where
// other processes find them too. Entries are bytes that only the cache understands.
// Each is encrypted and bound to its key. So a store that loses, truncates, damages or
// swaps entries costs requests, but never gives a wrong response. The same is true of
// one that fails or is slow, because the cache then works without it.
//
// A key has 1 to 128 bytes of the letters a to z, the digits and '-', and reveals
// nothing about the request. It can be a file name or a Redis key as it is.
//
// A store must be safe for concurrent use, and for that of several caches if they share
// it. The cache waits for a call a quarter of a second, and longer only for large
// entries. Then it abandons the call: its context ends, and its result is discarded
// whenever it comes. For a second the cache makes no further call. So a store sees
// abandoned calls beside new ones, also of the same key. Each call has a goroutine of
// its own, because a store need not obey its context.
//
// Package cachetest tests these rules for any store.
type CacheStore interface {
	// Get opens the entry that was last committed under the key. If there is none,
	// the error is an [io/fs.ErrNotExist]. The caller closes the reader. If the entry
	// is replaced or deleted meanwhile, the reader must return either the whole
	// original entry or an error. ctx is valid until the reader is closed.
	//
	// An entry of more than 64 KiB is read twice: to verify it, and again while it is
	// returned, at the caller's speed. It is never in memory as a whole.
	Get(ctx context.Context, key string) (io.ReadCloser, error)

	// Put begins an entry. Commit puts it in the place of an earlier one, which stays
	// until then. The entry is not needed after ttl, which is positive. The store may
	// delete it then, or earlier to make room. ctx is valid until Commit or Abort.
	Put(ctx context.Context, key string, ttl time.Duration) (CacheWriter, error)

	// Delete deletes an entry. It is no error if there is none.
	Delete(ctx context.Context, key string) error

	// Keys yields the keys of the committed entries, in any order, each once. Entries
	// that are committed, deleted or expire meanwhile may be among them or not. The
	// body of the loop may call Delete. An error ends the loop.
	Keys(ctx context.Context) iter.Seq2[string, error]
}

// CacheWriter takes the bytes of one entry. One goroutine at a time uses it, and ends
// it with Commit or Abort.
type CacheWriter interface {
	io.Writer
	// Commit makes the whole entry visible. If it returns an error, the entry is not
	// visible.
	Commit() error
	// Abort drops what was written. After Commit it does nothing, so it can be
	// deferred.
	Abort() error
}

// cacheStore adapts a CacheStore to the engine, whose Writer is another type.
type cacheStore struct{ CacheStore }

func (s cacheStore) Put(ctx context.Context, key string, ttl time.Duration) (cachestore.Writer, error) {
	return s.CacheStore.Put(ctx, key, ttl)
}
