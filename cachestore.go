package snubber

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
)

// CacheStore keeps the entries of a [Cache] outside its memory: on a disk, or
// where other processes find them too. Entries are bytes that only the cache
// understands. Each carries a digest bound to its key, so a store that loses,
// cuts, damages or exchanges entries costs calls and gives no wrong answer; nor
// does one that fails or is slow, because the cache then goes on without it.
//
// A key has 1 to 128 bytes of the letters a to z, the digits and '-', and tells
// nothing about the request. A file name or a Redis key can be made of it as it is.
//
// A store is safe for concurrent use, and for that of several caches if it is
// shared. Package cachetest has the rules as a test for any store.
type CacheStore interface {
	// Get opens the entry that was committed last under the key. If there is
	// none, the error is an [io/fs.ErrNotExist]. The caller closes the reader, which
	// does not mind what becomes of the key in the meantime: it gives this entry
	// to its end or an error, never a part with a clean end and never parts of two.
	// ctx holds until the reader is closed.
	//
	// An entry of more than 64 KiB is read twice: to see that it is whole, and then
	// again while it is given, at the caller's pace. None is in memory as a whole.
	Get(ctx context.Context, key string) (io.ReadCloser, error)

	// Put begins an entry, which takes the place of an earlier one at its Commit
	// and not before. After ttl, which is positive, nobody asks for it any more
	// and the store may forget it; it may also do so earlier, to make room.
	// ctx holds until Commit or Abort.
	Put(ctx context.Context, key string, ttl time.Duration) (CacheWriter, error)

	// Delete forgets an entry. That there is none is not an error.
	Delete(ctx context.Context, key string) error

	// Keys yields the keys of the committed entries, in no order, each once. What
	// is committed, deleted or expires in the meantime may be among them or not;
	// the loop's body may delete. An error ends it.
	Keys(ctx context.Context) iter.Seq2[string, error]
}

// CacheWriter takes the bytes of one entry. It is used by one goroutine at a
// time and ends with Commit or Abort.
type CacheWriter interface {
	io.Writer
	// Commit makes the entry visible, whole. After an error it is not.
	Commit() error
	// Abort drops what was written. After Commit it does nothing, so that it may
	// be deferred.
	Abort() error
}

// cacheStore is a CacheStore as the engine takes it.
type cacheStore struct{ CacheStore }

func (s cacheStore) Put(ctx context.Context, key string, ttl time.Duration) (cachestore.Writer, error) {
	return s.CacheStore.Put(ctx, key, ttl)
}
