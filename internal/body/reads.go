package body

import (
	"slices"
	"sync"
)

// Reads holds the first Reads of a response's body, up to 64 KiB, and returns them
// again with their boundaries, since some clients parse Read by Read. It has no lock.
// Its owner fills it with Space and Append until StopFilling, and then empties it with
// Next.
type Reads struct {
	filling bool
	buf     []byte
	ends    []uint16 // where each Read ended, in buf
	at, off int      // the numbers of Reads and of bytes that Next has returned
	err     error    // of the last Read
}

const (
	readsSize = 8 << 10 // of the buffer, until more is needed; a stream's preamble has one or two
	minRead   = 4 << 10 // the least that is free for a Read
	maxReads  = 1 << 12
)

// readsPool holds buffers for the next bodies. All Transports may share it: a buffer is
// plain memory, and nothing in it waits.
var readsPool = sync.Pool{New: func() any { return &Reads{buf: make([]byte, 0, readsSize)} }}

// NewReads returns an empty Reads, to be filled.
func NewReads() *Reads {
	r := readsPool.Get().(*Reads)
	r.filling = true
	return r
}

// OneRead returns a Reads of one Read that returned b and err.
func OneRead(b []byte, err error) *Reads {
	return &Reads{buf: b, ends: []uint16{uint16(len(b))}, err: err}
}

// Free lets another body use the memory of r. Neither r nor its Bytes may be used
// after.
func (r *Reads) Free() {
	if cap(r.buf) > readsSize || cap(r.ends) > maxReads/8 {
		return // an unusual body has made it large
	}
	*r = Reads{buf: r.buf[:0], ends: r.ends[:0]}
	readsPool.Put(r)
}

// Filling reports whether StopFilling was not called yet.
func (r *Reads) Filling() bool { return r.filling }

// StopFilling ends the filling.
func (r *Reads) StopFilling() { r.filling = false }

// Space returns the memory for the next Read of the body. It is empty if r is full.
func (r *Reads) Space() []byte {
	left := maxAhead - 1 - len(r.buf) // so that an end fits its 16 bits
	if left <= 0 || len(r.ends) >= maxReads {
		return nil
	}
	if cap(r.buf)-len(r.buf) < minRead {
		r.buf = slices.Grow(r.buf, minRead)
	}
	free := r.buf[len(r.buf):cap(r.buf)]
	return free[:min(len(free), left)]
}

// Append adds a Read that put n bytes into Space and returned err.
func (r *Reads) Append(n int, err error) {
	r.buf = r.buf[:len(r.buf)+n]
	r.ends = append(r.ends, uint16(len(r.buf)))
	r.err = err
}

// Bytes returns what all the Reads returned. It is valid until Free.
func (r *Reads) Bytes() []byte { return r.buf }

// Err returns the error of the last Read.
func (r *Reads) Err() error { return r.err }

// Next returns the next Read as it was, or the part of it that fits into p. all reports
// that nothing is left. Next must not be called without an Append, or after it has
// returned all.
func (r *Reads) Next(p []byte) (n int, err error, all bool) {
	if len(p) == 0 && r.off < len(r.buf) {
		return 0, nil, false
	}
	end := int(r.ends[r.at])
	n = copy(p, r.buf[r.off:end])
	if r.off += n; r.off < end {
		return n, nil, false
	}
	if r.at++; r.at < len(r.ends) {
		return n, nil, false
	}
	return n, r.err, true
}
