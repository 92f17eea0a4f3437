package snubber

import (
	"context"
	"io"
	"iter"
	"math"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/diskstore"
)

// DiskStore keeps a [Cache]'s entries as files in a directory, for development
// and for CI runs, where the same requests come again in the next process:
//
//	cache := &snubber.Cache{
//		Store:     &snubber.DiskStore{Dir: ".snubber"},
//		Secret:    secret, // the same in every run
//		PromptTTL: 24 * time.Hour,
//	}
//
// Any number of processes may use a directory at once. An entry is written to a
// file of its own and renamed when it is whole, so that a process that dies
// leaves the older entry or none. Nothing is synced: after a power failure an
// entry may be cut or empty, which shows in its length or to the cache. On
// Windows an entry that is being read can be neither replaced nor deleted; both
// are then an error.
//
// Files hold what the cache hands over, answers to prompts too, for their owner
// alone to read (mode 0600). The directory may hold other files, which are left alone.
//
// It is safe for concurrent use and must not be copied after first use.
type DiskStore struct {
	// Dir is the directory. It is made when the first entry is written.
	Dir string
	// MaxBytes bounds what the files take up, each counted in blocks of 4 KiB;
	// the least recently used go first, to the hour. If zero, 256 MiB; if
	// negative, there is no bound. Each further process that writes at the same
	// time may add a sixteenth.
	MaxBytes int64

	once  sync.Once
	store diskstore.Store
}

func (d *DiskStore) ready() *diskstore.Store {
	d.once.Do(func() { d.store.Init(d.Dir, orDefault(d.MaxBytes, 256<<20, math.MaxInt64)) })
	return &d.store
}

// Get implements [CacheStore]. The reader reads from the file.
func (d *DiskStore) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	return d.ready().Get(ctx, key)
}

// Put implements [CacheStore].
func (d *DiskStore) Put(ctx context.Context, key string, ttl time.Duration) (CacheWriter, error) {
	w, err := d.ready().Put(ctx, key, ttl)
	if err != nil {
		return nil, err // and no interface that holds a nil *Writer
	}
	return w, nil
}

// Delete implements [CacheStore].
func (d *DiskStore) Delete(ctx context.Context, key string) error {
	return d.ready().Delete(ctx, key)
}

// Keys implements [CacheStore].
func (d *DiskStore) Keys(ctx context.Context) iter.Seq2[string, error] {
	return d.ready().Keys(ctx)
}
