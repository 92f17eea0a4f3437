package httpcache

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync"
)

// seal encrypts the entries of a store. Who has the store can neither read the
// answers nor alter them, nor put one in the place of another. What does not open
// is a miss.
//
// An entry is a version, a random id and segments of 64 KiB, each encrypted by
// itself (AES-256-GCM) and bound to the key, the id, its number, and whether it is
// the last: the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár, CRYPTO
// 2015) with random nonces. A large entry can so be checked, and given, with one
// segment in memory; and one that was moved, left out or taken from another entry,
// an older one under the same key for instance, does not open.
type seal struct {
	once    sync.Once
	aead    cipher.AEAD
	buffers sync.Pool // of *[segmentRead]byte
}

const (
	sealVersion   = 2
	segmentSize   = 64 << 10
	segmentSealed = segmentSize + 12 + 16 // with nonce and tag
	entryPrefix   = 1 + 16                // version and id
	segmentRead   = entryPrefix + segmentSealed + 1
	maxEntryHead  = 1 << 20 // of an entry, beside the body
)

// entryID tells an entry from the others that there were under its key.
type entryID [16]byte

var errEntry = errors.New("not an entry")

func (s *seal) init(c *Cache) {
	s.once.Do(func() {
		c.init()
		s.buffers.New = func() any { return new([segmentRead]byte) }
		mac := hmac.New(sha256.New, c.secret)
		mac.Write([]byte("snubber cache entry 2"))
		block, err := aes.NewCipher(mac.Sum(nil))
		if err == nil {
			s.aead, err = cipher.NewGCMWithRandomNonce(block)
		}
		if err != nil {
			panic("snubber: " + err.Error()) // the key has the right length
		}
	})
}

// binding is what a segment is bound to, its associated data.
type binding struct {
	key    cacheKey
	id     entryID
	number uint64
	data   []byte
}

func (b *binding) next(last bool) []byte {
	b.data = append(append(b.data[:0], b.key[:]...), b.id[:]...)
	b.data = append(binary.BigEndian.AppendUint64(b.data, b.number), flag(last, 1))
	b.number++
	return b.data
}

// sealing writes an entry.
type sealing struct {
	binding
	aead       cipher.AEAD
	w          io.Writer
	plain, out []byte
	err        error // of w, for good
}

func (s *seal) begin(c *Cache, key cacheKey, size int64, w io.Writer) *sealing {
	s.init(c)
	x := &sealing{binding: binding{key: key}, aead: s.aead, w: w, plain: make([]byte, 0, min(size, segmentSize))}
	rand.Read(x.id[:])
	x.out = append(make([]byte, 0, entryPrefix+cap(x.plain)+s.aead.Overhead()), sealVersion)
	x.out = append(x.out, x.id[:]...)
	return x
}

func (x *sealing) Write(p []byte) (int, error) {
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

func (x *sealing) flush(last bool) error {
	if x.err == nil {
		x.out = x.aead.Seal(x.out, nil, x.plain, x.next(last))
		_, x.err = x.w.Write(x.out)
		x.out, x.plain = x.out[:0], x.plain[:0]
	}
	return x.err
}

// end writes the last segment.
func (x *sealing) end() error { return x.flush(true) }

// unsealing reads an entry: next gets one segment from the store, what is in it
// is then taken.
type unsealing struct {
	binding
	seal  *seal
	r     io.Reader
	in    *[segmentRead]byte
	have  int    // in in
	buf   []byte // where segments are opened
	plain []byte // what of buf has not been taken
	last  bool   // nothing follows
	piece int64  // what has not been taken of a piece of the body
}

// unseal begins to read an entry. Its buffer is given back by free.
func (s *seal) unseal(c *Cache, key cacheKey, r io.Reader) *unsealing {
	s.init(c)
	return &unsealing{binding: binding{key: key}, seal: s, r: r, in: s.buffers.Get().(*[segmentRead]byte)}
}

func (u *unsealing) free() {
	u.seal.buffers.Put(u.in)
	u.in, u.last = nil, true
}

// next opens one more segment. The error is io.EOF if there is none, errEntry if
// it is not genuine, or the store's.
func (u *unsealing) next() error {
	if u.last {
		return io.EOF
	}
	want := segmentSealed + 1 // one byte more tells whether it is the last
	if u.number == 0 {
		want = segmentRead
	}
	n, err := io.ReadFull(u.r, u.in[u.have:want])
	switch err {
	case nil:
	case io.EOF, io.ErrUnexpectedEOF:
		u.last = true
	default:
		return err
	}
	b := u.in[:u.have+n]
	first := u.number == 0
	if first {
		if len(b) < entryPrefix || b[0] != sealVersion {
			return errEntry
		}
		b = b[copy(u.id[:], b[1:])+1:]
	}
	var rest []byte
	if !u.last {
		b, rest = b[:segmentSealed], b[segmentSealed:]
	}
	// The first gets memory of its own size: a small entry's answer keeps it.
	if n := len(u.plain) + segmentSize; !first && cap(u.buf) < n {
		u.buf = append(make([]byte, 0, n+segmentSize), u.plain...)
	} else {
		u.buf = append(u.buf[:0], u.plain...)
	}
	if u.buf, err = u.seal.aead.Open(u.buf, nil, b, u.binding.next(u.last)); err != nil {
		return errEntry
	}
	u.plain, u.have = u.buf, copy(u.in[:], rest)
	return nil
}

// head takes what comes before the body. It is good until next.
func (u *unsealing) head() ([]byte, error) {
	for {
		n, size := binary.Uvarint(u.plain)
		if size < 0 || n > maxEntryHead {
			return nil, errEntry
		}
		if rest := u.plain[size:]; size > 0 && n <= uint64(len(rest)) {
			u.plain = rest[n:]
			return rest[:n:n], nil
		}
		if err := u.next(); err == io.EOF {
			return nil, errEntry
		} else if err != nil {
			return nil, err
		}
	}
}

// answer reads an answer but for its body.
func (u *unsealing) answer(c *Cache) (*cached, error) {
	head, err := u.head()
	if err != nil {
		return nil, err
	}
	e := &cached{key: u.key}
	if err := e.decode(head); err != nil {
		return nil, err
	}
	if e.variants == nil {
		e.prepare(c)
	}
	return e, nil
}

// take takes what comes next of the body, so many bytes at most: of one piece, and
// all of that if it fits into a segment. It is good until next, which must be
// called if it is nothing. The error is io.EOF at the end.
func (u *unsealing) take(most int64) ([]byte, error) {
	for u.piece == 0 {
		n, size := binary.Uvarint(u.plain)
		switch {
		case size < 0 || n > math.MaxInt64 || size == 0 && u.last && len(u.plain) > 0:
			return nil, errEntry
		case size == 0 && u.last:
			return nil, io.EOF
		case size == 0:
			return nil, nil
		}
		u.piece, u.plain = int64(n), u.plain[size:]
	}
	most = min(most, u.piece)
	if have := int64(len(u.plain)); have < min(most, segmentSize) {
		if u.last {
			return nil, errEntry
		}
		return nil, nil
	} else if most > have {
		most = have
	}
	b := u.plain[:most:most]
	u.plain, u.piece = u.plain[most:], u.piece-most
	return b, nil
}
