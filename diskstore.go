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

// DiskStore stores the entries of a [Cache] as files in a directory. It is for
// development and for CI runs, where the next process makes the same requests:
//
//	cache := &snubber.Cache{
//		Store:     &snubber.DiskStore{Dir: ".snubber"},
//		Secret:    secret, // the same in every run
//		PromptTTL: 24 * time.Hour,
//	}
//
// Any number of processes may use a directory at once. An entry is written to a file of
// its own, which is renamed when it is complete. A process that dies leaves the older
// entry or none. Nothing is synced: after a power failure an entry may be truncated or
// empty, which its length or the cache shows. On Windows, replacing or deleting an
// entry that is being read is an error.
//
// The files hold what the cache stores, responses to prompts too. Only their owner can
// read them (mode 0600). Other files in the directory are left alone.
//
// A DiskStore is safe for concurrent use and must not be copied after first use.
type DiskStore struct {
	// Dir is the directory. It is made when the first entry is written. If empty, Get,
	// Put and Delete return an error.
	Dir string
	// MaxBytes bounds what the files take up, each counted in blocks of 4 KiB. The
	// least recently used entries go first, to the hour. If zero, 256 MiB; if negative,
	// there is no bound. Each further process that writes at the same time may add a
	// sixteenth.
	MaxBytes int64

	once  sync.Once
	store diskstore.Store
}

func (d *DiskStore) initialized() *diskstore.Store {
	d.once.Do(func() { d.store.Init(d.Dir, orDefault(d.MaxBytes, 256<<20, math.MaxInt64)) })
	return &d.store
}

// Get implements [CacheStore]. The reader reads from the file.
func (d *DiskStore) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	return d.initialized().Get(ctx, key)
}

// Put implements [CacheStore].
func (d *DiskStore) Put(ctx context.Context, key string, ttl time.Duration) (CacheWriter, error) {
	w, err := d.initialized().Put(ctx, key, ttl)
	if err != nil {
		return nil, err // and no interface that holds a nil *Writer
	}
	return w, nil
}

// Delete implements [CacheStore].
func (d *DiskStore) Delete(ctx context.Context, key string) error {
	return d.initialized().Delete(ctx, key)
}

// Keys implements [CacheStore].
func (d *DiskStore) Keys(ctx context.Context) iter.Seq2[string, error] {
	return d.initialized().Keys(ctx)
}
