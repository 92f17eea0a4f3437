package snubber

import (
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	maxHeld  = 64 << 10 // bytes of an error body that are read for the verdict
	holdTime = time.Second
)

// held is an error body of which the beginning was read ahead, bounded in
// bytes and in time. What was read ahead is handed on with the rest behind it:
// reading ahead loses nothing, and a server that trickles its error body
// delays the verdict by a second and no more.
type held struct {
	rc     io.ReadCloser
	quiet  chan struct{} // closed when the reading ahead has stopped
	thrown any           // what it panicked with, to be read when it is quiet

	mu   sync.Mutex
	buf  []byte
	off  int
	err  error // what ended the body
	stop bool
}

func hold(rc io.ReadCloser, limit int) *held {
	h := &held{rc: rc, quiet: make(chan struct{})}
	go h.ahead(limit)
	t := time.NewTimer(holdTime)
	defer t.Stop()
	select {
	case <-h.quiet:
		h.rethrow()
	case <-t.C:
		h.mu.Lock()
		h.stop = true // after the Read that hangs
		h.mu.Unlock()
	}
	return h
}

func (h *held) ahead(limit int) {
	defer close(h.quiet)
	defer func() { h.thrown = recover() }() // in this goroutine nobody could, and the program would end
	chunk := make([]byte, 4<<10)
	for {
		n, err := h.rc.Read(chunk[:min(len(chunk), limit)])
		limit -= n
		read := chunk[:n]
		h.mu.Lock()
		h.buf = append(h.buf, read...)
		h.err = err
		stop := h.stop || err != nil || limit <= 0
		h.mu.Unlock()
		if stop {
			return
		}
	}
}

// rethrow has a panic of the reading ahead in the goroutine of whoever reads.
func (h *held) rethrow() {
	if h.thrown != nil {
		panic(h.thrown)
	}
}

// prefix is what has been read ahead.
func (h *held) prefix() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.buf
}

// whole reports whether all of the body has been read ahead.
func (h *held) whole() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err != nil
}

func (h *held) Read(p []byte) (int, error) {
	if n := h.copy(p); n > 0 || len(p) == 0 {
		return n, nil
	}
	<-h.quiet
	if n := h.copy(p); n > 0 {
		return n, nil
	}
	h.rethrow()
	if h.err != nil {
		return 0, h.err
	}
	return h.rc.Read(p)
}

func (h *held) copy(p []byte) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := copy(p, h.buf[h.off:])
	h.off += n
	return n
}

func (h *held) Close() error { return h.rc.Close() }

// keep closes the rest of the body and leaves res with what was read of it in
// memory, its length corrected if that is not all.
func (h *held) keep(res *http.Response) {
	h.rc.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stop = true
	read := h.buf[h.off:]
	if h.err == nil {
		shorten(res, len(read))
	}
	res.Body = &stored{rest: read, err: io.EOF}
	if h.err != nil {
		res.Body = &stored{rest: read, err: h.err}
	}
}

// stored is a body in memory and the error that ended it.
type stored struct {
	mu   sync.Mutex
	rest []byte
	err  error
}

func (s *stored) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rest) == 0 && len(p) > 0 {
		return 0, s.err
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *stored) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest, s.err = nil, http.ErrBodyReadAfterClose
	return nil
}
