// Package cachestore keeps the entries of a cache in memory or, encrypted, in a
// store of the user. It knows what an entry holds, how its bytes are written, when
// it has expired, and how long to wait for a store. It does not know requests,
// what a key is made of, or which entry answers which request.
package cachestore

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"time"
)

// Store keeps entries outside the memory of a [Storage]. Its rules are those of
// snubber.CacheStore.
type Store interface {
	Get(ctx context.Context, key string) (io.ReadCloser, error)
	Put(ctx context.Context, key string, ttl time.Duration) (Writer, error)
	Delete(ctx context.Context, key string) error
	Keys(ctx context.Context) iter.Seq2[string, error]
}

// Writer takes the bytes of one entry.
type Writer interface {
	io.Writer
	Commit() error
	Abort() error
}

// Key is the key of an entry: an HMAC, of which the storage needs no more than
// that it is unique.
type Key [32]byte

// String is the key as a [Store] gets it.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// parseKey reads what String has made. A store may hold keys of other programs.
func parseKey(s string) (k Key, ok bool) {
	b, err := hex.DecodeString(s)
	return k, err == nil && copy(k[:], b) == len(k) && len(b) == len(k)
}

// Access says on whose behalf the storage is used.
type Access struct {
	Ctx   context.Context // of the request; only Open ends with it
	Now   time.Time
	Owner Owner
}

// Owner is told of failures of the store. Its methods must not use the body that
// they are told about, whose Read is waiting for them.
type Owner interface {
	// StoreFault reports that the operation op of the store failed. The store's
	// error may hold anything, so it is not passed on.
	StoreFault(op string)
	// BodyFailed reports that reading the body of [Storage.Open] ended with err,
	// which is not io.EOF.
	BodyFailed(err error)
}

// ErrRead is what the reader of a body gets if the store has not returned all of
// it. It wraps [io.ErrUnexpectedEOF], as the error of any other truncated body.
var ErrRead error = readError{}

type readError struct{}

func (readError) Error() string { return "cache store: read failed or entry corrupted" }
func (readError) Unwrap() error { return io.ErrUnexpectedEOF }

// errCorruptEntry is the error of bytes that are not an entry of this key and
// this secret.
var errCorruptEntry = errors.New("not an entry of this cache")
