package cachestore

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// SegmentedBody is the body of a response that is larger than a segment and stays
// in the store. The reader gets one segment after the other, each verified again.
// If the entry has changed since it was found to be whole, the reader gets
// [ErrRead] and no other bytes.
type SegmentedBody struct {
	storage *Storage
	owner   Owner
	request context.Context
	ctx     context.Context // of request, until the body is released
	cancel  context.CancelFunc

	mu                 sync.Mutex // one Read at a time
	entry              *entryReader
	skip, rest         int64 // bytes to skip, and then to return
	announced, trailer http.Header
	err                error
	faults             faultList

	sourceMu sync.Mutex
	source   io.ReadCloser
	inUse    bool // a call of the store uses entry and source, maybe an abandoned one
	released bool
}

// faultList collects what the owner of a body is told, until the lock is released
// under which it happened: the owner may call functions of the user.
type faultList struct {
	ops    []string
	failed error
}

func (l *faultList) StoreFault(op string) { l.ops = append(l.ops, op) }
func (l *faultList) BodyFailed(err error) { l.failed = err }

func (l faultList) tell(o Owner) {
	for _, op := range l.ops {
		o.StoreFault(op)
	}
	if l.failed != nil {
		o.BodyFailed(l.failed)
	}
}

// segmentTimeout bounds the wait for a segment. A response that has begun deserves
// more patience than one that the server can still be asked for.
const segmentTimeout = 10 * time.Second

// Open opens n bytes of the body of a remote entry, from first on. It returns nil
// if the store does not have the body any more, or not in time. If announced is not
// nil, it gets the entry's trailer at the end of the body. The body ends with a.Ctx.
func (s *Storage) Open(a Access, e *Entry, first, n int64, announced http.Header) *SegmentedBody {
	if s.calls.suspended() {
		return nil
	}
	b := &SegmentedBody{storage: s, owner: a.Owner, request: a.Ctx, skip: first, rest: n, announced: announced, trailer: e.Trailer}
	b.ctx, b.cancel = context.WithCancel(a.Ctx)
	opened := false
	defer func() {
		if !opened { // or the store has panicked
			b.release()
		}
	}()
	err := b.use(b.owner, callTime, func() (err error) {
		b.entry, b.source, err = s.reopen(b.ctx, e)
		return err
	})
	if opened = err == nil; !opened {
		return nil
	}
	return b
}

// use calls the store, even if it is too slow for others: not to call it would end
// the response.
func (b *SegmentedBody) use(owner Owner, limit time.Duration, f func() error) error {
	return b.storage.calls.call(b.ctx, owner, "get", limit, func(func(int)) error {
		b.sourceMu.Lock()
		if b.released {
			b.sourceMu.Unlock()
			return context.Canceled
		}
		b.inUse = true
		b.sourceMu.Unlock()
		defer func() {
			b.sourceMu.Lock()
			defer b.sourceMu.Unlock()
			b.inUse = false
			if b.released || b.source != nil && b.entry.last {
				b.closeSourceLocked()
			}
		}()
		return f()
	})
}

func (b *SegmentedBody) closeSourceLocked() {
	if b.source != nil {
		b.entry.release()
		b.source.Close()
		b.source = nil
	}
}

// release closes the entry, at once or when the call that uses it returns.
func (b *SegmentedBody) release() {
	b.cancel()
	b.sourceMu.Lock()
	defer b.sourceMu.Unlock()
	b.released = true
	if !b.inUse {
		b.closeSourceLocked()
	}
}

// Read implements [io.Reader]. It returns bytes of one chunk.
func (b *SegmentedBody) Read(p []byte) (int, error) {
	n, faults, err := b.read(p)
	faults.tell(b.owner)
	return n, err
}

func (b *SegmentedBody) read(p []byte) (n int, faults faultList, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err = b.readLocked(p)
	faults, b.faults = b.faults, faultList{}
	return n, faults, err
}

func (b *SegmentedBody) readLocked(p []byte) (n int, err error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	err = ErrRead // if the store panics
	defer func() {
		if err != nil {
			b.err = err
			b.release()
		}
	}()
	for b.rest > 0 {
		most := min(int64(len(p)), b.rest)
		if b.skip > 0 {
			most = b.skip
		}
		chunk, failed := b.entry.chunk(most)
		if failed == nil && chunk == nil {
			if failed = b.use(&b.faults, segmentTimeout, b.entry.readSegment); failed == nil {
				continue
			}
		}
		if failed != nil {
			err = b.failLocked(failed)
			return 0, err
		}
		if b.skip > 0 {
			b.skip -= int64(len(chunk))
			continue
		}
		b.rest -= int64(copy(p, chunk))
		err = nil
		return len(chunk), nil
	}
	FillTrailer(b.announced, b.trailer)
	err = io.EOF
	return 0, err
}

// failLocked notes what the owner is to be told, and returns the error that the
// reader gets.
func (b *SegmentedBody) failLocked(err error) error {
	b.sourceMu.Lock()
	closed := b.released
	b.sourceMu.Unlock()
	ended := b.request.Err()
	switch {
	case ended != nil:
		err = ended
	case closed:
		return http.ErrBodyReadAfterClose
	default:
		if err == errCorruptEntry || err == io.EOF {
			b.faults.StoreFault("damaged")
		}
		err = ErrRead
	}
	b.faults.BodyFailed(err)
	return err
}

// AtChunkStart reports whether the next Read returns the beginning of a chunk.
func (b *SegmentedBody) AtChunkStart() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err == nil && b.rest > 0 && b.entry.chunkLeft == 0
}

// Close implements [io.Closer]. It ends a Read that waits for the store.
func (b *SegmentedBody) Close() error {
	b.release()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = http.ErrBodyReadAfterClose
	return nil
}
