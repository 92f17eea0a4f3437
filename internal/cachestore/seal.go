package cachestore

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math"
	"sync"
)

// sealer encrypts the entries of a store. Whoever has the store can neither read
// nor alter a response, nor put one entry in the place of another. An entry that
// does not open is a miss.
//
// An entry is a version, a random id, and segments of 64 KiB. Each segment is
// encrypted by itself (AES-256-GCM) and bound to the key, the id, its number and
// whether it is the last: the STREAM construction (Hoang, Reyhanitabar, Rogaway,
// Vizár, CRYPTO 2015) with random nonces. So a large entry can be checked and read
// with one segment in memory. A segment that was moved, dropped or taken from
// another entry, such as an older one of the same key, does not open.
type sealer struct {
	aead    cipher.AEAD
	buffers sync.Pool // of *[firstRead]byte
}

const (
	sealVersion   = 2
	segmentSize   = 64 << 10
	segmentSealed = segmentSize + 12 + 16 // with nonce and tag
	entryPrefix   = 1 + 16                // version and id
	firstRead     = entryPrefix + segmentSealed + 1
	maxEntryHead  = 1 << 20 // bytes of an entry before the body
)

// entryID tells an entry from earlier and later ones of its key.
type entryID [16]byte

func (s *sealer) init(secret []byte) {
	s.buffers.New = func() any { return new([firstRead]byte) }
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("snubber cache entry 2"))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err == nil {
		s.aead, err = cipher.NewGCMWithRandomNonce(block)
	}
	if err != nil {
		panic("snubber: " + err.Error()) // the key has the right length
	}
}

// associatedData is what a segment is bound to.
type associatedData struct {
	key    Key
	id     entryID
	number uint64 // of the next segment
	data   []byte
}

func (d *associatedData) next(last bool) []byte {
	d.data = append(append(d.data[:0], d.key[:]...), d.id[:]...)
	d.data = append(binary.BigEndian.AppendUint64(d.data, d.number), flag(last, 1))
	d.number++
	return d.data
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

// entryWriter writes an entry in segments.
type entryWriter struct {
	associatedData
	aead       cipher.AEAD
	w          io.Writer
	plain, out []byte
	err        error // of w; no write follows it
}

// newWriter begins an entry of about size bytes.
func (s *sealer) newWriter(key Key, size int64, w io.Writer) *entryWriter {
	x := &entryWriter{associatedData: associatedData{key: key}, aead: s.aead, w: w, plain: make([]byte, 0, min(size, segmentSize))}
	rand.Read(x.id[:])
	x.out = append(make([]byte, 0, entryPrefix+cap(x.plain)+s.aead.Overhead()), sealVersion)
	x.out = append(x.out, x.id[:]...)
	return x
}

func (x *entryWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && x.err == nil {
		if len(x.plain) == segmentSize {
			x.flush(false) // more follows
		}
		k := min(segmentSize-len(x.plain), len(p))
		x.plain, p = append(x.plain, p[:k]...), p[k:]
	}
	return n, x.err
}

func (x *entryWriter) flush(last bool) error {
	if x.err == nil {
		x.out = x.aead.Seal(x.out, nil, x.plain, x.associatedData.next(last))
		_, x.err = x.w.Write(x.out)
		x.out, x.plain = x.out[:0], x.plain[:0]
	}
	return x.err
}

// finish writes the last segment.
func (x *entryWriter) finish() error { return x.flush(true) }

// entryReader reads an entry: readSegment gets one segment from the store, head
// and chunk then take what is in it.
type entryReader struct {
	associatedData
	sealer    *sealer
	r         io.Reader
	sealed    *[firstRead]byte
	filled    int    // bytes of sealed that are the beginning of the next segment
	opened    []byte // where segments are decrypted
	plain     []byte // the part of opened that was not taken yet
	last      bool   // no segment follows
	chunkLeft int64  // bytes of the current chunk that were not taken yet
}

// newReader begins to read an entry. The caller calls release when it is done.
func (s *sealer) newReader(key Key, r io.Reader) *entryReader {
	return &entryReader{associatedData: associatedData{key: key}, sealer: s, r: r, sealed: s.buffers.Get().(*[firstRead]byte)}
}

// release returns the buffer to the pool.
func (x *entryReader) release() {
	x.sealer.buffers.Put(x.sealed)
	x.sealed, x.last = nil, true
}

// readSegment opens one more segment. The error is io.EOF if there is none,
// errCorruptEntry if it is not genuine, or the store's.
func (x *entryReader) readSegment() error {
	if x.last {
		return io.EOF
	}
	want := segmentSealed + 1 // one byte more tells whether the segment is the last
	if x.number == 0 {
		want = firstRead
	}
	n, err := io.ReadFull(x.r, x.sealed[x.filled:want])
	switch err {
	case nil:
	case io.EOF, io.ErrUnexpectedEOF:
		x.last = true
	default:
		return err
	}
	b := x.sealed[:x.filled+n]
	isFirst := x.number == 0
	if isFirst {
		if len(b) < entryPrefix || b[0] != sealVersion {
			return errCorruptEntry
		}
		b = b[copy(x.id[:], b[1:])+1:]
	}
	var rest []byte
	if !x.last {
		b, rest = b[:segmentSealed], b[segmentSealed:]
	}
	// The first segment gets memory of its own size, because a small entry keeps it.
	if n := len(x.plain) + segmentSize; !isFirst && cap(x.opened) < n {
		x.opened = append(make([]byte, 0, n+segmentSize), x.plain...)
	} else {
		x.opened = append(x.opened[:0], x.plain...)
	}
	if x.opened, err = x.sealer.aead.Open(x.opened, nil, b, x.associatedData.next(x.last)); err != nil {
		return errCorruptEntry
	}
	x.plain, x.filled = x.opened, copy(x.sealed[:], rest)
	return nil
}

// head takes what comes before the body. It is valid until readSegment.
func (x *entryReader) head() ([]byte, error) {
	for {
		n, size := binary.Uvarint(x.plain)
		if size < 0 || n > maxEntryHead {
			return nil, errCorruptEntry
		}
		if rest := x.plain[size:]; size > 0 && n <= uint64(len(rest)) {
			x.plain = rest[n:]
			return rest[:n:n], nil
		}
		if err := x.readSegment(); err == io.EOF {
			return nil, errCorruptEntry
		} else if err != nil {
			return nil, err
		}
	}
}

// chunk takes at most so many bytes of the body: bytes of one chunk, and all of a
// chunk that fits into a segment. They are valid until readSegment. If chunk returns
// nil, the caller must call readSegment first. The error is io.EOF at the end of the
// body.
func (x *entryReader) chunk(most int64) ([]byte, error) {
	for x.chunkLeft == 0 {
		n, size := binary.Uvarint(x.plain)
		switch {
		case size < 0 || n > math.MaxInt64 || size == 0 && x.last && len(x.plain) > 0:
			return nil, errCorruptEntry
		case size == 0 && x.last:
			return nil, io.EOF
		case size == 0:
			return nil, nil
		}
		x.chunkLeft, x.plain = int64(n), x.plain[size:]
	}
	most = min(most, x.chunkLeft)
	if have := int64(len(x.plain)); have < min(most, segmentSize) {
		if x.last {
			return nil, errCorruptEntry
		}
		return nil, nil
	} else if most > have {
		most = have
	}
	b := x.plain[:most:most]
	x.plain, x.chunkLeft = x.plain[most:], x.chunkLeft-most
	return b, nil
}
