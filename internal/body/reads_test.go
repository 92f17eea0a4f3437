package body

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// fill appends Reads of the pieces, the last with err, and reports how many fit.
func fill(r *Reads, pieces [][]byte, err error) int {
	for i, p := range pieces {
		room := r.Space()
		if len(room) < len(p) {
			return i
		}
		var e error
		if i == len(pieces)-1 {
			e = err
		}
		r.Append(copy(room, p), e)
	}
	return len(pieces)
}

// What comes out is what went in, Read by Read, whatever the size of the reader's
// buffer.
func TestReadsKeepBoundaries(t *testing.T) {
	broken := errors.New("broken")
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var pieces [][]byte
		for range 1 + rng.IntN(20) {
			pieces = append(pieces, bytes.Repeat([]byte{byte('a' + len(pieces))}, rng.IntN(600)))
		}
		end := []error{nil, io.EOF, broken}[rng.IntN(3)]
		r := NewReads()
		if n := fill(r, pieces, end); n != len(pieces) {
			t.Fatalf("round %d: %d of %d Reads fit", round, n, len(pieces))
		}
		if all := bytes.Join(pieces, nil); !bytes.Equal(r.Bytes(), all) || r.Err() != end {
			t.Fatalf("round %d: Bytes = %d bytes, %v, want %d, %v", round, len(r.Bytes()), r.Err(), len(all), end)
		}
		size := 1 + rng.IntN(700)
		for i, p := range pieces {
			for first := true; first || len(p) > 0; first = false {
				buf := make([]byte, size)
				n, err, all := r.Next(buf)
				want := min(len(p), size)
				if !bytes.Equal(buf[:n], p[:want]) {
					t.Fatalf("round %d: Next = %q, want %q", round, buf[:n], p[:want])
				}
				p = p[want:]
				last := i == len(pieces)-1 && len(p) == 0
				if all != last || last && err != end || !last && err != nil {
					t.Fatalf("round %d: Next = %v, all %v, want all %v", round, err, all, last)
				}
			}
		}
		r.Free()
	}
}

// An empty Read takes nothing from Reads that have bytes.
func TestReadsEmptyRead(t *testing.T) {
	r := OneRead([]byte("abc"), io.EOF)
	if n, err, all := r.Next(nil); n != 0 || err != nil || all {
		t.Errorf("Next(nil) = %d, %v, %v, want nothing", n, err, all)
	}
	buf := make([]byte, 10)
	if n, err, all := r.Next(buf); string(buf[:n]) != "abc" || err != io.EOF || !all {
		t.Errorf("Next = %q, %v, %v, want abc and all", buf[:n], err, all)
	}
}

// Reads end at 64 KiB and at 4096 Reads, and a large one does not stay in the pool.
func TestReadsAreBounded(t *testing.T) {
	r := NewReads()
	total := 0
	for {
		room := r.Space()
		if len(room) == 0 {
			break
		}
		r.Append(len(room), nil)
		total += len(room)
	}
	if total != maxAhead-1 {
		t.Errorf("%d bytes fit, want %d", total, maxAhead-1)
	}
	r.Free()
	n := 0
	for r = NewReads(); len(r.Space()) > 0; n++ {
		r.Append(0, nil)
	}
	if n != maxReads {
		t.Errorf("%d empty Reads fit, want %d", n, maxReads)
	}
	r.Free()
	for range 10 {
		if r := NewReads(); cap(r.buf) > readsSize || len(r.buf) != 0 || len(r.ends) != 0 || !r.Filling() {
			t.Fatalf("NewReads has %d bytes of %d, %d Reads, filling %v", len(r.buf), cap(r.buf), len(r.ends), r.Filling())
		}
	}
}

func TestReadsFilling(t *testing.T) {
	r := NewReads()
	if !r.Filling() {
		t.Error("Filling = false, want true before Finish")
	}
	if r.StopFilling(); r.Filling() {
		t.Error("Filling = true after Finish")
	}
	if OneRead(nil, io.EOF).Filling() {
		t.Error("Filling = true for OneRead")
	}
}
