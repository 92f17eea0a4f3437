package body

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/notify"
)

// recorder copies what the first attempt reads from a body that exists once. Each
// attempt has a reader of its own, so that a transport that still reads for an old
// attempt never shares a position with the new one.
type recorder struct {
	src io.ReadCloser

	mu       sync.Mutex
	buf      []byte
	err      error // what ended src, io.EOF when all of it was read
	overflow bool  // the copy would be larger than MaxCopy, and was dropped
	reading  bool  // a reader is inside src.Read
	readers  int   // readers not yet closed
	released bool  // no more readers
	changed  notify.Broadcast
}

// replayReader is the body of one attempt.
type replayReader struct {
	r      *recorder
	off    int
	closed bool
}

// wait reports whether another reader can begin. It waits up to maxWait for the last
// one to be closed. A transport that got its response early closes the request's body
// after that, in a goroutine of its own.
func (r *recorder) wait(ctx context.Context) bool {
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	for {
		r.mu.Lock()
		ok := r.readyLocked()
		if ok || r.overflow {
			r.mu.Unlock()
			return ok
		}
		changed := r.changed.Wait()
		r.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (r *recorder) lost() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.overflow || r.err != nil && r.err != io.EOF
}

func (r *recorder) readyLocked() bool {
	return !r.overflow && !r.reading && (r.err != nil || r.readers == 0)
}

func (r *recorder) newReader() (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.readyLocked() {
		return nil, &Error{errNotReplayable}
	}
	r.readers++
	return &replayReader{r: r}, nil
}

// release closes src as soon as no reader is open. Closing it under a transport
// that still sends would be a data race.
func (r *recorder) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.released = true
	r.closeLocked()
}

func (r *recorder) closeLocked() {
	if r.released && r.readers == 0 {
		r.src.Close()
	}
}

func (v *replayReader) Read(p []byte) (int, error) {
	r := v.r
	r.mu.Lock()
	switch {
	case v.closed:
		r.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	case v.off < len(r.buf):
		n := copy(p, r.buf[v.off:])
		v.off += n
		r.mu.Unlock()
		return n, nil
	case r.err != nil:
		defer r.mu.Unlock()
		return 0, r.err
	}
	r.reading = true
	r.mu.Unlock()

	n, err := r.src.Read(p)
	if err != nil && err != io.EOF {
		err = &Error{err} // so that it is not taken for the network's, and is the same in every attempt
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.changed.Wake()
	r.reading = false
	r.err = err
	if r.overflow = r.overflow || r.released || len(r.buf)+n > MaxCopy; r.overflow {
		r.buf = nil
		v.off = 0
	} else {
		r.buf = append(r.buf, p[:n]...)
		v.off += n
	}
	return n, err
}

func (v *replayReader) Close() error {
	r := v.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if !v.closed {
		v.closed = true
		r.readers--
		r.closeLocked()
		r.changed.Wake()
	}
	return nil
}
