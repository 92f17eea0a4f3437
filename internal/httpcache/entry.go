package httpcache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// write writes the entry of an answer whose body is in memory: its head, and each
// piece of the body after its length. more is told of the bytes on the way.
func (e *cached) write(x *sealing, more func(int)) error {
	if err := e.writeHead(x); err != nil {
		return err
	}
	var size [binary.MaxVarintLen64]byte
	for _, chunk := range e.chunks {
		x.Write(binary.AppendUvarint(size[:0], uint64(len(chunk))))
		if _, err := x.Write(chunk); err != nil {
			return err
		}
		more(len(chunk))
	}
	return x.end()
}

// writeHead writes all but the body, after its length.
func (e *cached) writeHead(x *sealing) error {
	head := e.encode(make([]byte, 0, 1024))
	if len(head) > maxEntryHead {
		return errEntry
	}
	x.Write(binary.AppendUvarint(nil, uint64(len(head))))
	_, err := x.Write(head)
	return err
}

// readBody reads the whole body into memory, and tells more of it. That of one
// segment stays where it was opened.
func (e *cached) readBody(u *unsealing, more func(int)) error {
	small := u.last
	for n := int64(0); ; {
		b, err := u.take(math.MaxInt64)
		switch {
		case err == io.EOF && n == e.size:
			return nil
		case err == io.EOF:
			return errEntry
		case err != nil:
			return err
		case b == nil:
			if err := u.next(); err != nil {
				return err
			}
		default:
			if n += int64(len(b)); !small {
				b = bytes.Clone(b)
			}
			e.chunks = append(e.chunks, b)
			more(len(b))
		}
	}
}

// encode appends all but the body. The meta is not in it: it is read anew, by the
// rules of the cache that opens the entry.
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
	return binary.AppendVarint(b, e.size)
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

// decode reads what encode has written.
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
		e.size = d.varint()
	default:
		return errEntry
	}
	if d.bad || len(d.b) > 0 || e.size < 0 {
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
