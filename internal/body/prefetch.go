package body

import (
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// maxAhead bounds the bytes of a response's body that are read before the
	// caller gets the response.
	maxAhead = 64 << 10
	// maxWait bounds the wait for a Read or a Close that another goroutine makes.
	maxWait = time.Second
)

// Prefetched is a body whose start was read ahead, for at most 64 KiB and one second.
// Its Read returns that start and then the rest of the body, so nothing is lost. It is
// safe for concurrent use as far as the body itself is.
type Prefetched struct {
	rc       io.ReadCloser
	done     chan struct{} // closed when the reading ahead has stopped
	panicked any           // what the reading panicked with; to be read after done

	mu   sync.Mutex
	buf  []byte
	off  int
	err  error // what ended the body
	stop bool  // stop after the current Read
}

// Prefetch reads the start of rc. If a Read of rc panics, Prefetch panics too, or later
// the Read of the Prefetched.
func Prefetch(rc io.ReadCloser) *Prefetched {
	b := &Prefetched{rc: rc, done: make(chan struct{})}
	go b.readAhead()
	t := time.NewTimer(maxWait)
	defer t.Stop()
	select {
	case <-b.done:
		b.repanic()
	case <-t.C:
		b.mu.Lock()
		b.stop = true
		b.mu.Unlock()
	}
	return b
}

func (b *Prefetched) readAhead() {
	defer close(b.done)
	defer func() { b.panicked = recover() }() // nothing could recover it in this goroutine, and the program would end
	left := maxAhead
	chunk := make([]byte, 4<<10)
	for {
		n, err := b.rc.Read(chunk[:min(len(chunk), left)])
		left -= n
		b.mu.Lock()
		b.buf = append(b.buf, chunk[:n]...)
		b.err = err
		stop := b.stop || err != nil || left <= 0
		b.mu.Unlock()
		if stop {
			return
		}
	}
}

func (b *Prefetched) repanic() {
	if b.panicked != nil {
		panic(b.panicked)
	}
}

// Bytes returns what has been read ahead. The caller must not change it.
func (b *Prefetched) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf
}

// Complete reports whether all of the body has been read ahead.
func (b *Prefetched) Complete() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err != nil
}

// Read implements [io.Reader].
func (b *Prefetched) Read(p []byte) (int, error) {
	if n := b.copy(p); n > 0 || len(p) == 0 {
		return n, nil
	}
	<-b.done
	if n := b.copy(p); n > 0 {
		return n, nil
	}
	b.repanic()
	if b.err != nil {
		return 0, b.err
	}
	return b.rc.Read(p)
}

func (b *Prefetched) copy(p []byte) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := copy(p, b.buf[b.off:])
	b.off += n
	return n
}

// Close closes the body.
func (b *Prefetched) Close() error { return b.rc.Close() }

// Buffer closes the body. It leaves res with the part that was read ahead, in memory.
func (b *Prefetched) Buffer(res *http.Response) {
	b.rc.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stop = true
	SetMemory(res, b.buf[b.off:], b.err)
}
