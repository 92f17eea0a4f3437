package httpcache

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// lent is the body of an answer that is larger than a segment and stays in the
// store: the caller has one segment after the other, each checked once more. What
// has become of the entry since it was found to be whole can only be an error then,
// never other bytes.
type lent struct {
	visit  *visit
	ctx    context.Context // the caller's, until the reading ends
	cancel context.CancelFunc

	mu            sync.Mutex // one Read at a time
	u             *unsealing
	skip, rest    int64 // bytes to pass over, and then to give
	trailer, into http.Header
	err           error

	hold sync.Mutex
	r    io.ReadCloser
	busy bool // the store is at it, and may be after the caller has left
	gone bool
}

// lentTime bounds the wait for a segment. An answer that is being given is worth
// more patience than one that the server can still be asked for.
const lentTime = 10 * time.Second

// errLent is an answer of which the store has not given all. Like any other that
// was cut, it is an [io.ErrUnexpectedEOF].
var errLent = &lentError{}

type lentError struct{}

func (*lentError) Error() string {
	return "the cache's store failed, or damaged the answer, while it was being read"
}
func (*lentError) Unwrap() error { return io.ErrUnexpectedEOF }

// lend opens n bytes of an answer's body, from first on. It is nil if the store
// does not have it any more, or not in time.
func (s *shelf) lend(v *visit, e *cached, first, n int64) *lent {
	if s.busy() {
		return nil
	}
	b := &lent{visit: new(visit), skip: first, rest: n}
	*b.visit = *v
	b.ctx, b.cancel = context.WithCancel(v.req.Context())
	opened := false
	defer func() {
		if !opened {
			b.release()
		}
	}()
	if b.step(shelfTime, func() (err error) {
		b.u, b.r, err = s.reopen(b.ctx, v.cache, e)
		return err
	}) != nil {
		return nil
	}
	opened = true
	return b
}

// step has the store do something, whether or not it is slow for others: to stop
// here would be the end of the answer.
func (b *lent) step(limit time.Duration, f func() error) error {
	return b.visit.cache.shelf.wait(b.ctx, b.visit, "get", limit, func(func(int)) error {
		b.hold.Lock()
		if b.gone {
			b.hold.Unlock()
			return context.Canceled
		}
		b.busy = true
		b.hold.Unlock()
		defer func() {
			b.hold.Lock()
			defer b.hold.Unlock()
			b.busy = false
			if b.gone || b.r != nil && b.u.last {
				b.closeLocked()
			}
		}()
		return f()
	})
}

func (b *lent) closeLocked() {
	if b.r != nil {
		b.u.free()
		b.r.Close()
		b.r = nil
	}
}

// release gives the entry back, now or when the store has done what it is at.
func (b *lent) release() {
	b.cancel()
	b.hold.Lock()
	defer b.hold.Unlock()
	b.gone = true
	if !b.busy {
		b.closeLocked()
	}
}

func (b *lent) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	err = errLent // of a store that panics
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
		chunk, failed := b.u.take(most)
		if failed == nil && chunk == nil {
			if failed = b.step(lentTime, b.u.next); failed == nil {
				continue
			}
		}
		if failed != nil {
			err = b.failed(failed)
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
	for name, values := range b.trailer {
		b.into[name] = append([]string(nil), values...)
	}
	err = io.EOF
	return 0, err
}

// failed is what the caller gets in place of further bytes.
func (b *lent) failed(err error) error {
	b.hold.Lock()
	closed := b.gone
	b.hold.Unlock()
	left := b.visit.req.Context().Err()
	switch {
	case left != nil:
		err = left
	case closed:
		return http.ErrBodyReadAfterClose
	default:
		if err == errEntry || err == io.EOF {
			b.visit.fault("damaged")
		}
		err = errLent
	}
	b.visit.call.Settle(err, nil)
	return err
}

func (b *lent) atPiece() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err == nil && b.rest > 0 && b.u.piece == 0
}

func (b *lent) Close() error {
	b.release() // which ends a Read that waits
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = http.ErrBodyReadAfterClose
	return nil
}
