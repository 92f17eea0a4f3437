package snubber

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// seal turns answers into the entries of a store and back. An entry is encrypted
// and bound to its key (AES-256-GCM with the key as associated data): who has the
// store can neither read the prompts' answers nor alter them, nor put one in the
// place of another. What does not open is a miss.
type seal struct {
	once sync.Once
	aead cipher.AEAD
}

const (
	sealVersion  = 1
	maxEntryHead = 1 << 20 // of an entry, beside the body
)

var errEntry = errors.New("not an entry")

func (s *seal) init(c *Cache) {
	s.once.Do(func() {
		c.init()
		mac := hmac.New(sha256.New, c.secret)
		mac.Write([]byte("snubber cache entry 1"))
		block, err := aes.NewCipher(mac.Sum(nil))
		if err == nil {
			s.aead, err = cipher.NewGCMWithRandomNonce(block)
		}
		if err != nil {
			panic("snubber: " + err.Error()) // the key has the right length
		}
	})
}

func (s *seal) close(c *Cache, e *cached) []byte {
	s.init(c)
	plain := e.encode(make([]byte, 0, e.size+1024))
	return s.aead.Seal(append(make([]byte, 0, 1+s.aead.Overhead()+len(plain)), sealVersion), nil, plain, e.key[:])
}

func (s *seal) open(c *Cache, key cacheKey, sealed []byte) (*cached, bool) {
	s.init(c)
	if len(sealed) < 1+s.aead.Overhead() || sealed[0] != sealVersion {
		return nil, false
	}
	plain, err := s.aead.Open(nil, nil, sealed[1:], key[:])
	if err != nil {
		return nil, false
	}
	e := &cached{key: key}
	if e.decode(plain) != nil {
		return nil, false
	}
	if e.variants == nil {
		e.prepare(c)
	}
	return e, true
}

// encode appends the answer. The meta is not in it: it is read anew, by the rules
// of the cache that opens the entry.
func (e *cached) encode(b []byte) []byte {
	b = append(b, e.primary[:]...)
	b = appendText(b, e.method)
	b = appendText(b, e.url)
	b = appendText(b, e.model)
	b = binary.AppendVarint(b, e.requested.UnixNano())
	b = binary.AppendVarint(b, e.received.UnixNano())
	if x := e.variants; x != nil {
		b = append(b, 'v')
		b = append(b, x.epoch[:]...)
		b = binary.AppendUvarint(b, uint64(len(x.sets)))
		for _, s := range x.sets {
			b = appendTexts(b, s.names)
			b = binary.AppendUvarint(b, uint64(len(s.known)))
			for _, k := range s.known {
				b = append(append(b, k.others[:]...), k.key[:]...)
			}
		}
		return b
	}
	b = append(b, 'a', flag(e.prompt, 1)|flag(e.uncompressed, 2)|flag(e.negotiated, 4))
	b = binary.AppendUvarint(b, uint64(e.status))
	b = binary.AppendVarint(b, e.span.First)
	b = binary.AppendVarint(b, e.span.Last)
	b = binary.AppendVarint(b, e.span.Size)
	for _, h := range [...]http.Header{e.header, e.trailer} {
		b = binary.AppendUvarint(b, uint64(len(h)))
		for name, values := range h {
			b = appendText(b, name)
			b = appendTexts(b, values)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(e.chunks)))
	for _, chunk := range e.chunks {
		b = binary.AppendUvarint(b, uint64(len(chunk)))
		b = append(b, chunk...)
	}
	return b
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTexts(b []byte, values []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(values)))
	for _, s := range values {
		b = appendText(b, s)
	}
	return b
}

// decode reads what encode has written; the body stays where it is in b.
func (e *cached) decode(b []byte) error {
	d := decoder{b: b}
	copy(e.primary[:], d.bytes(uint64(len(e.primary))))
	e.method, e.url, e.model = d.text(), d.text(), d.text()
	e.requested, e.received = time.Unix(0, d.varint()), time.Unix(0, d.varint())
	switch kind := d.bytes(1); string(kind) {
	case "v":
		x := &variants{}
		copy(x.epoch[:], d.bytes(uint64(len(x.epoch))))
		for range d.count(1) {
			s := variantSet{names: d.texts()}
			for range d.count(2 * sha256.Size) {
				var k knownVariant
				copy(k.others[:], d.bytes(sha256.Size))
				copy(k.key[:], d.bytes(sha256.Size))
				s.known = append(s.known, k)
			}
			x.sets = append(x.sets, s)
		}
		e.variants = x
	case "a":
		flags := d.bytes(1)
		if d.bad {
			return errEntry
		}
		e.prompt, e.uncompressed, e.negotiated = flags[0]&1 != 0, flags[0]&2 != 0, flags[0]&4 != 0
		e.status = int(min(d.uvarint(), math.MaxInt16))
		e.span = rfc9111.Span{First: d.varint(), Last: d.varint(), Size: d.varint()}
		e.header, e.trailer = d.header(), d.header()
		for range d.count(1) {
			chunk := d.bytes(d.uvarint())
			e.chunks = append(e.chunks, chunk)
			e.size += int64(len(chunk))
		}
	default:
		return errEntry
	}
	if d.bad || len(d.b) > 0 {
		return errEntry
	}
	return nil
}

// decoder reads from b, and is bad from the first thing on that is not there.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) varint() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

// count reads how many things follow, of at least so many bytes each.
func (d *decoder) count(size uint64) int {
	n := d.uvarint()
	if n > uint64(len(d.b))/size {
		d.bad, d.b = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) text() string { return string(d.bytes(d.uvarint())) }

func (d *decoder) texts() []string {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	values := make([]string, n)
	for i := range values {
		values[i] = d.text()
	}
	return values
}

func (d *decoder) header() http.Header {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	h := make(http.Header, n)
	for range n {
		name := d.text()
		h[name] = d.texts()
	}
	return h
}
