// Package canon writes a JSON document in one spelling, for hashing: what two
// programs, or one with maps, write differently but mean the same comes out as
// the same bytes. What differs in meaning never does.
//
// It is not RFC 8785. That reads numbers as doubles, and so makes one document
// of two whose seeds differ above 2^53.
package canon

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"math/bits"
	"slices"
	"sync"
	"unicode/utf8"
)

// MaxDepth is how many containers may be open at a time.
const MaxDepth = 1000

// Write writes the document without white space, the members of objects in the
// order of their names, strings in UTF-8 with no escapes but those that have to
// be, and numbers as they are. Members of the outermost object that are named in
// skip are left out.
//
// It reports false, and has written nothing, if the document has no such form
// that stands for it alone: it is not exactly one valid JSON value, an object has
// two members of one name, a string is not Unicode (half a surrogate pair, bad
// UTF-8), or it is more than MaxDepth deep. Then only its own bytes will do.
//
// The time it takes is linear in the document but for the sorting.
func Write(w io.Writer, document []byte, skip ...string) bool {
	if len(document) > math.MaxInt32 {
		return false
	}
	d := docs.Get().(*doc)
	defer d.free()
	d.b, d.skip = document, skip
	if !d.read() {
		return false
	}
	d.w = w
	d.value(0, len(document), 0)
	w.Write(d.out[:d.n])
	return true
}

// doc is read once to its end, which finds the objects' members and all that is
// wrong, and then walked in the order in which it is to be written. To sort in
// the output instead would move what is deep inside once for each object around it.
type doc struct {
	b       []byte
	i       int
	start   int // where the document's value begins
	depth   int
	amiss   int      // places so far that are not as they are to be written
	open    []member // of the objects that have not ended
	members []member // of those that have, sorted, each object's together
	objects []object // in the order in which they begin

	skip []string
	w    io.Writer
	n    int
	out  [512]byte // a hash takes longer over many small writes
}

// docs saves the growing of the lists, which for a short prompt takes longer than
// its reading.
var docs = sync.Pool{New: func() any { return new(doc) }}

// free gives d back to the pool. Nothing of the document stays in it, and lists
// that a large one has made long are let go.
func (d *doc) free() {
	const most = 1 << 10
	if cap(d.open) > most || cap(d.members) > most || cap(d.objects) > most {
		return
	}
	clear(d.open[:cap(d.open)])
	clear(d.members[:cap(d.members)])
	*d = doc{open: d.open[:0], members: d.members[:0], objects: d.objects[:0]}
	docs.Put(d)
}

type object struct {
	from, to int32 // its members
	next     int32 // the first object behind it
	end      int32 // the byte behind it
}

type member struct {
	name     []byte // what it means, not what is written
	from, to int32  // the value's bytes
	first    int32  // the first object in it, if there is one
	asIs     bool   // it is as it is to be written
}

func (d *doc) read() bool {
	d.blanks()
	d.start = d.i
	if !d.readValue() {
		return false
	}
	d.blanks()
	return d.i == len(d.b)
}

func (d *doc) blanks() {
	for d.i < len(d.b) && (d.b[d.i] == ' ' || d.b[d.i] == '\n' || d.b[d.i] == '\r' || d.b[d.i] == '\t') {
		d.i++
		d.amiss++
	}
}

// peek returns the byte that comes next, 0 at the end.
func (d *doc) peek() byte {
	if d.i < len(d.b) {
		return d.b[d.i]
	}
	return 0
}

// next takes the byte that comes after white space.
func (d *doc) next() byte {
	d.blanks()
	c := d.peek()
	d.i++
	return c
}

func (d *doc) readValue() bool {
	switch c := d.next(); c {
	case '"':
		_, ok := d.readString()
		return ok
	case '{', '[':
		if d.depth++; d.depth > MaxDepth {
			return false
		}
		ok := false
		if c == '{' {
			ok = d.readObject()
		} else {
			ok = d.readArray()
		}
		d.depth--
		return ok
	case 't':
		return d.readWord("rue")
	case 'f':
		return d.readWord("alse")
	case 'n':
		return d.readWord("ull")
	default:
		d.i--
		return d.readNumber()
	}
}

func (d *doc) readWord(rest string) bool {
	ok := bytes.HasPrefix(d.b[d.i:], []byte(rest))
	d.i += len(rest)
	return ok
}

func (d *doc) readArray() bool {
	d.blanks()
	if d.peek() == ']' {
		d.i++
		return true
	}
	for d.readValue() {
		switch d.next() {
		case ']':
			return true
		case ',':
		default:
			return false
		}
	}
	return false
}

func (d *doc) readObject() bool {
	at, mine := len(d.objects), len(d.open)
	d.objects = append(d.objects, object{})
	d.blanks()
	if d.peek() == '}' {
		d.i++
		d.close(at, mine)
		return true
	}
	for {
		if d.next() != '"' {
			return false
		}
		name, ok := d.readString()
		if !ok || d.next() != ':' {
			return false
		}
		d.blanks()
		amiss := d.amiss
		m := member{name: meaning(name), from: int32(d.i), first: int32(len(d.objects))}
		if !d.readValue() {
			return false
		}
		m.to, m.asIs = int32(d.i), d.amiss == amiss
		d.open = append(d.open, m)
		switch d.next() {
		case '}':
			return d.close(at, mine)
		case ',':
		default:
			return false
		}
	}
}

// close sorts the members of the object that ends here. It reports false if two
// have one name.
func (d *doc) close(at, mine int) bool {
	from := len(d.members)
	d.members = append(d.members, d.open[mine:]...)
	d.open = d.open[:mine]
	members := d.members[from:]
	byName := func(a, b member) int { return bytes.Compare(a.name, b.name) }
	if !slices.IsSortedFunc(members, byName) {
		slices.SortFunc(members, byName)
		d.amiss++
	}
	for i := 1; i < len(members); i++ {
		if bytes.Equal(members[i-1].name, members[i].name) {
			return false
		}
	}
	d.objects[at] = object{int32(from), int32(len(d.members)), int32(len(d.objects)), int32(d.i)}
	return true
}

// readString reads what comes after a quote, up to the next one, and returns what
// is between them, as it is written.
func (d *doc) readString() (raw []byte, ok bool) {
	start := d.i
	for {
		i := special(d.b, d.i)
		// No character begins before an escape and ends behind it.
		if i == len(d.b) || !utf8.Valid(d.b[d.i:i]) {
			return nil, false
		}
		if d.b[i] == '"' {
			d.i = i + 1
			return d.b[start:i], true
		}
		c, size := unescape(d.b[i:])
		if size == 0 {
			return nil, false
		}
		if size > 2 || short[c] == 0 { // \u001f may have to be, but is rare
			d.amiss++
		}
		d.i = i + size
	}
}

// meaning resolves the escapes of a string.
func meaning(raw []byte) []byte {
	i := special(raw, 0)
	if i == len(raw) {
		return raw
	}
	var text []byte
	for i < len(raw) {
		c, size := unescape(raw[i:])
		text = utf8.AppendRune(append(text, raw[:i]...), c)
		raw = raw[i+size:]
		i = special(raw, 0)
	}
	return append(text, raw...)
}

// special returns the index of the first byte from i on that is a quote, a
// backslash or a control character, or the length of b.
func special(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		const ones, highs = 0x0101010101010101, 0x8080808080808080
		w := binary.LittleEndian.Uint64(b[i:])
		q, s := w^ones*'"', w^ones*'\\'
		// Each term sets the highest bit of the bytes that it looks for, and
		// perhaps of some above the lowest of them, but of none below.
		if hit := ((w-ones*' ')&^w | (q-ones)&^q | (s-ones)&^s) & highs; hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// unescape reads an escape. Its size is 0 if it is none, or half of a pair.
func unescape(b []byte) (c rune, size int) {
	if len(b) < 2 || b[0] != '\\' {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	}
	switch c, ok := unit(b); {
	case !ok || c >= 0xDC00 && c < 0xE000:
		return 0, 0
	case c < 0xD800 || c >= 0xE000:
		return c, 6
	default:
		low, ok := unit(b[6:])
		if !ok || low < 0xDC00 || low >= 0xE000 {
			return 0, 0
		}
		return (c-0xD800)<<10 | (low - 0xDC00) + 0x10000, 12
	}
}

// unit reads \uXXXX.
func unit(b []byte) (c rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, h := range b[2:6] {
		switch {
		case h >= '0' && h <= '9':
			h -= '0'
		case h|0x20 >= 'a' && h|0x20 <= 'f':
			h = h | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		c = c<<4 | rune(h)
	}
	return c, true
}

func (d *doc) readNumber() bool {
	if d.peek() == '-' {
		d.i++
	}
	if d.peek() == '0' {
		d.i++
	} else if !d.digits() {
		return false
	}
	if d.peek() == '.' {
		d.i++
		if !d.digits() {
			return false
		}
	}
	if d.peek()|0x20 == 'e' {
		d.i++
		if c := d.peek(); c == '+' || c == '-' {
			d.i++
		}
		return d.digits()
	}
	return true
}

// digits reads one digit or more.
func (d *doc) digits() bool {
	start := d.i
	for d.i < len(d.b) && d.b[d.i]-'0' <= 9 {
		d.i++
	}
	return d.i > start
}

// value writes the value in b[i:end], of which at is the first object.
func (d *doc) value(i, end int, at int32) {
	for i < end {
		switch c := d.b[i]; c {
		case ' ', '\n', '\r', '\t':
			i++
		case '"':
			i += d.string(d.b[i+1:])
		case '{':
			o := d.objects[at]
			d.object(d.members[o.from:o.to], i == d.start)
			i, at = int(o.end), o.next
		case '[', ']', ',':
			d.byte(c)
			i++
		default: // a number or a word
			start := i
			for i < end && (d.b[i]|0x20 >= 'a' && d.b[i]|0x20 <= 'z' || d.b[i]-'0' <= 9 || d.b[i] == '.' || d.b[i] == '-' || d.b[i] == '+') {
				i++
			}
			d.write(d.b[start:i])
		}
	}
}

func (d *doc) object(members []member, outermost bool) {
	d.byte('{')
	first := true
	for _, m := range members {
		if outermost && slices.Contains(d.skip, string(m.name)) {
			continue
		}
		if !first {
			d.byte(',')
		}
		first = false
		d.text(m.name)
		d.byte(':')
		if m.asIs {
			d.write(d.b[m.from:m.to])
		} else {
			d.value(int(m.from), int(m.to), m.first)
		}
	}
	d.byte('}')
}

// string writes the string of which b begins with what is behind the first quote,
// and returns how long it is there with both.
func (d *doc) string(b []byte) int {
	d.byte('"')
	for i := 0; ; {
		end := special(b, i)
		d.write(b[i:end])
		if b[end] == '"' {
			d.byte('"')
			return end + 2
		}
		c, size := unescape(b[end:])
		d.rune(c)
		i = end + size
	}
}

// text writes a string of which text is the meaning.
func (d *doc) text(text []byte) {
	d.byte('"')
	for {
		i := special(text, 0)
		d.write(text[:i])
		if i == len(text) {
			break
		}
		d.rune(rune(text[i]))
		text = text[i+1:]
	}
	d.byte('"')
}

// short has the letter of the characters whose escape has two bytes. All encoders
// write line ends and quotes that way, so most texts are as they are to be written.
var short = [utf8.RuneSelf]byte{'\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't', '"': '"', '\\': '\\'}

func (d *doc) rune(c rune) {
	const hex = "0123456789abcdef"
	if len(d.out)-d.n < len(`\u0000`) {
		d.flush()
	}
	out := d.out[:d.n]
	switch {
	case c < utf8.RuneSelf && short[c] != 0:
		out = append(out, '\\', short[c])
	case c < ' ':
		out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	default:
		out = utf8.AppendRune(out, c)
	}
	d.n = len(out)
}

func (d *doc) byte(c byte) {
	if d.n == len(d.out) {
		d.flush()
	}
	d.out[d.n] = c
	d.n++
}

func (d *doc) write(p []byte) {
	if len(p) > len(d.out)-d.n {
		d.flush()
	}
	if len(p) > len(d.out) {
		d.w.Write(p)
		return
	}
	d.n += copy(d.out[d.n:], p)
}

func (d *doc) flush() {
	d.w.Write(d.out[:d.n])
	d.n = 0
}
