package cachestore

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// write writes an entry whose body is in memory: its head, and each chunk of the
// body after the chunk's length. It calls progress with the bytes of each chunk.
func (e *Entry) write(x *entryWriter, progress func(int)) error {
	if err := e.writeHead(x); err != nil {
		return err
	}
	var size [binary.MaxVarintLen64]byte
	for _, chunk := range e.Chunks {
		x.Write(binary.AppendUvarint(size[:0], uint64(len(chunk))))
		if _, err := x.Write(chunk); err != nil {
			return err
		}
		progress(len(chunk))
	}
	return x.finish()
}

// writeHead writes everything but the body, after its length.
func (e *Entry) writeHead(x *entryWriter) error {
	head := e.encode(make([]byte, 0, 1024))
	if len(head) > maxEntryHead {
		return errCorruptEntry
	}
	x.Write(binary.AppendUvarint(nil, uint64(len(head))))
	_, err := x.Write(head)
	return err
}

// readHead reads everything but the body.
func readHead(x *entryReader, p Policy) (*Entry, error) {
	head, err := x.head()
	if err != nil {
		return nil, err
	}
	e := &Entry{Key: x.key}
	if err := e.decode(head); err != nil {
		return nil, err
	}
	if e.Variants == nil {
		e.Prepare(p)
	}
	return e, nil
}

// readBody reads the whole body into memory and calls progress with the bytes of
// each chunk. The body of an entry of one segment stays where it was decrypted.
func (e *Entry) readBody(x *entryReader, progress func(int)) error {
	small := x.last
	for n := int64(0); ; {
		b, err := x.chunk(math.MaxInt64)
		switch {
		case err == io.EOF && n == e.Size:
			return nil
		case err == io.EOF:
			return errCorruptEntry
		case err != nil:
			return err
		case b == nil:
			if err := x.readSegment(); err != nil {
				return err
			}
		default:
			if n += int64(len(b)); !small {
				b = bytes.Clone(b)
			}
			e.Chunks = append(e.Chunks, b)
			progress(len(b))
		}
	}
}

// encode appends everything but the body. Meta is not part of it: the cache that
// opens the entry reads the header anew, by its own rules.
func (e *Entry) encode(b []byte) []byte {
	b = append(b, e.Primary[:]...)
	b = appendText(b, e.Method)
	b = appendText(b, e.URL)
	b = appendText(b, e.Model)
	b = binary.AppendVarint(b, e.Requested.UnixNano())
	b = binary.AppendVarint(b, e.Received.UnixNano())
	if e.Variants != nil {
		return e.Variants.encode(append(b, 'v'))
	}
	b = append(b, 'a', flag(e.Prompt, 1)|flag(e.Uncompressed, 2)|flag(e.Negotiated, 4))
	b = binary.AppendUvarint(b, uint64(e.Status))
	b = binary.AppendVarint(b, e.Part.First)
	b = binary.AppendVarint(b, e.Part.Last)
	b = binary.AppendVarint(b, e.Part.Size)
	for _, h := range [...]http.Header{e.Header, e.Trailer} {
		b = binary.AppendUvarint(b, uint64(len(h)))
		for name, values := range h {
			b = appendText(b, name)
			b = appendTexts(b, values)
		}
	}
	return binary.AppendVarint(b, e.Size)
}

func (x *Variants) encode(b []byte) []byte {
	b = append(b, x.Epoch[:]...)
	b = binary.AppendUvarint(b, uint64(len(x.Sets)))
	for _, s := range x.Sets {
		b = appendTexts(b, s.Names)
		b = binary.AppendUvarint(b, uint64(len(s.Known)))
		for _, k := range s.Known {
			b = append(append(b, k.Others[:]...), k.Key[:]...)
		}
	}
	return b
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
func (e *Entry) decode(b []byte) error {
	d := decoder{b: b}
	copy(e.Primary[:], d.bytes(uint64(len(e.Primary))))
	e.Method, e.URL, e.Model = d.text(), d.text(), d.text()
	e.Requested, e.Received = time.Unix(0, d.varint()), time.Unix(0, d.varint())
	switch kind := d.bytes(1); string(kind) {
	case "v":
		e.Variants = d.variants()
	case "a":
		flags := d.bytes(1)
		if d.bad {
			return errCorruptEntry
		}
		e.Prompt, e.Uncompressed, e.Negotiated = flags[0]&1 != 0, flags[0]&2 != 0, flags[0]&4 != 0
		e.Status = int(min(d.uvarint(), math.MaxInt16))
		e.Part = rfc9111.Span{First: d.varint(), Last: d.varint(), Size: d.varint()}
		e.Header, e.Trailer = d.header(), d.header()
		e.Size = d.varint()
	default:
		return errCorruptEntry
	}
	if d.bad || len(d.b) > 0 || e.Size < 0 {
		return errCorruptEntry
	}
	return nil
}

// decoder reads from b. It is bad once something was missing.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.bad, d.b = true, nil }

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) varint() int64 {
	n, size := binary.Varint(d.b)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

// count reads how many things follow, each of at least size bytes.
func (d *decoder) count(size uint64) int {
	n := d.uvarint()
	if n > uint64(len(d.b))/size {
		d.fail()
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

func (d *decoder) variants() *Variants {
	x := &Variants{}
	copy(x.Epoch[:], d.bytes(uint64(len(x.Epoch))))
	for range d.count(1) {
		s := VariantSet{Names: d.texts()}
		for range d.count(uint64(len(KnownVariant{}.Others) + len(KnownVariant{}.Key))) {
			var k KnownVariant
			copy(k.Others[:], d.bytes(uint64(len(k.Others))))
			copy(k.Key[:], d.bytes(uint64(len(k.Key))))
			s.Known = append(s.Known, k)
		}
		x.Sets = append(x.Sets, s)
	}
	return x
}
