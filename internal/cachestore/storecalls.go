package cachestore

import (
	"context"
	"errors"
	"io/fs"
	"sync/atomic"
	"time"
)

const (
	// callTime bounds a call of the store, because a request waits for it. A disk,
	// or a cache server nearby, takes a few milliseconds.
	callTime = 250 * time.Millisecond
	// callBytes are the bytes of an entry that get callTime once more.
	callBytes = 16 << 20
	// storeBackoff is how long no call is made after one that exceeded its time.
	storeBackoff = time.Second
	// maxStoreCalls is how many calls may run at once, abandoned ones included.
	maxStoreCalls = 256
)

// errStoreSlow is the error of a call that was abandoned, or was not made because
// an earlier one was.
var errStoreSlow = errors.New("the cache store is too slow")

// storeCalls bounds the calls of a store. A store need not obey its context, so
// each call has a goroutine of its own, which is abandoned if it takes too long.
type storeCalls struct {
	backoffUntil atomic.Int64 // unix nanoseconds
	inFlight     atomic.Int32
}

// suspended reports whether no call should be made now.
func (c *storeCalls) suspended() bool {
	return time.Now().UnixNano() < c.backoffUntil.Load() || c.inFlight.Load() >= maxStoreCalls
}

// call runs f, which calls the store for op, and waits for it until the limit or
// the end of ctx. f extends the limit by calling progress with the number of bytes
// it has read or written. Once call has returned an error, f may still be running.
// A panic of f reaches the caller.
func (c *storeCalls) call(ctx context.Context, owner Owner, op string, limit time.Duration, f func(progress func(int)) error) error {
	c.inFlight.Add(1)
	type outcome struct {
		err      error
		panicked any
	}
	done := make(chan outcome, 1)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	go func() {
		var o outcome
		defer func() {
			o.panicked = recover()
			c.inFlight.Add(-1)
			done <- o
		}()
		o.err = errStoreSlow // if f ends its goroutine
		n := 0
		o.err = f(func(bytes int) {
			if n += bytes; n >= callBytes {
				n = 0
				timer.Reset(limit)
			}
		})
	}()
	select {
	case o := <-done:
		if o.panicked != nil {
			panic(o.panicked)
		}
		if o.err != nil && !errors.Is(o.err, fs.ErrNotExist) && ctx.Err() == nil {
			owner.StoreFault(op)
		}
		return o.err
	case <-timer.C:
		c.backoffUntil.Store(time.Now().Add(storeBackoff).UnixNano())
		owner.StoreFault(op + " slow")
		return errStoreSlow
	case <-ctx.Done():
		return ctx.Err()
	}
}
