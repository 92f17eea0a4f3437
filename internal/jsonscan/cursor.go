package jsonscan

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// Cursor walks a document that is whole in memory, token by token and in place.
// It allocates nothing.
type Cursor struct {
	b     []byte
	i     int
	Depth int // containers open after the token that was read last
}

// Token is one step of a [Cursor].
type Token struct {
	Kind Kind
	Key  bool   // a String that names a member
	End  bool   // the Object or Array ends here; false: it begins
	Raw  []byte // a scalar as it is written, a string without its quotes
	Size int    // String: the bytes of its UTF-8 text, escapes resolved
}

// NewCursor returns a Cursor at the start of b, which must not change while the
// Cursor or a Token of it is in use.
func NewCursor(b []byte) Cursor { return Cursor{b: b} }

// Next reads a token. Its Kind is None at the end of the bytes, also where they
// end within a token.
func (c *Cursor) Next() Token {
	b, i := c.b, c.i
	for i < len(b) && (b[i] <= ' ' || b[i] == ',' || b[i] == ':') {
		i++
	}
	if i == len(b) {
		c.i = i
		return Token{}
	}
	switch b[i] {
	case '"':
		return c.str(i + 1)
	case '{', '[':
		c.i = i + 1
		c.Depth++
		return Token{Kind: container(b[i])}
	case '}', ']':
		c.i = i + 1
		c.Depth--
		return Token{Kind: container(b[i]), End: true}
	}
	start := i
	for i++; i < len(b) && !ends(b[i]); i++ {
	}
	c.i = i
	return Token{Kind: kindOf(b[start]), Raw: b[start:i]}
}

// Skip passes over the next value.
func (c *Cursor) Skip() {
	for depth := c.Depth; ; {
		if t := c.Next(); t.Kind == None || !t.Key && c.Depth <= depth {
			return
		}
	}
}

func container(c byte) Kind {
	if c == '{' || c == '}' {
		return Object
	}
	return Array
}

func ends(c byte) bool {
	switch c {
	case ',', ':', ']', '}', '[', '{', '"':
		return true
	}
	return c <= ' '
}

// str reads a string whose text begins at i.
func (c *Cursor) str(i int) Token {
	b := c.b
	end, size := stringEnd(b, i)
	if c.i = end; end == len(b) {
		return Token{}
	}
	c.i++
	return Token{Kind: String, Key: c.colon(), Raw: b[i:end], Size: size}
}

// colon passes over white space and reports that a colon follows.
func (c *Cursor) colon() bool {
	for c.i < len(c.b) && c.b[c.i] <= ' ' {
		c.i++
	}
	return c.i < len(c.b) && c.b[c.i] == ':'
}

// Scalars passes over the next value and calls visit with each name, string and
// number in it, as [Cursor.Next] would return them. It is Next in a loop, which
// takes twice the time: a request's tool schemas are hundreds of short strings.
func (c *Cursor) Scalars(visit func(kind Kind, key bool, raw []byte, size int)) {
	b, depth := c.b, c.Depth
	for c.i < len(b) {
		i := c.i
		switch ch := b[i]; {
		case ch <= ' ', ch == ',', ch == ':':
			c.i++
			continue
		case ch == '"':
			end, size := stringEnd(b, i+1)
			if c.i = end; end == len(b) {
				return
			}
			c.i++
			key := c.colon()
			if visit(String, key, b[i+1:end], size); key {
				c.i++
				continue
			}
		case ch == '{', ch == '[':
			c.i++
			c.Depth++
		case ch == '}', ch == ']':
			c.i++
			c.Depth--
		default:
			if t := c.Next(); t.Kind == Number {
				visit(Number, false, t.Raw, 0)
			}
		}
		if c.Depth <= depth {
			return
		}
	}
}

// stringEnd returns where the closing quote of a string is whose text begins at
// i, the length of b if there is none, and the bytes of the text as UTF-8.
func stringEnd(b []byte, i int) (end, size int) {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	start, saved := i, 0 // what the escapes are longer than their text
	for {
		// Names and lines of prose with escapes are short: there eight bytes at
		// a time beat the start-up of two calls of IndexByte, which win a long
		// text.
		for n := 0; ; n++ {
			if n == 6 || i+8 > len(b) {
				i = special(b, i)
				break
			}
			w := binary.LittleEndian.Uint64(b[i:])
			quote, esc := w^ones*'"', w^ones*'\\'
			// A zero byte in either becomes the lowest bit that is set; false
			// ones can only be above it.
			if hit := ((quote - ones) &^ quote & tops) | ((esc - ones) &^ esc & tops); hit != 0 {
				i += bits.TrailingZeros64(hit) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			return len(b), 0
		}
		if b[i] == '"' {
			return i, i - start - saved
		}
		if i+6 <= len(b) && b[i+1] == 'u' && bytes.IndexByte(b[i+2:i+6], '"') < 0 {
			saved += 6 - utf8Size(b[i+2:i+6])
			i += 6
		} else {
			saved++
			i += 2
		}
	}
}

// special returns the index of the first quote or backslash from i on, or the
// length of b.
func special(b []byte, i int) int {
	// Not the whole rest at once: with an escape on every line, each search for
	// the closing quote would run to the end of the text again.
	for size := 512; i < len(b); size *= 2 {
		w := b[i:min(i+size, len(b))]
		quote := bytes.IndexByte(w, '"')
		if quote >= 0 {
			w = w[:quote]
		}
		if esc := bytes.IndexByte(w, '\\'); esc >= 0 {
			return i + esc
		}
		i += len(w)
		if quote >= 0 {
			return i
		}
	}
	return len(b)
}

// utf8Size returns the bytes of text that an escape's four hex digits stand for.
// Half a surrogate pair is half of four.
func utf8Size(d []byte) int {
	switch {
	case d[0]|0x20 == 'd' && (d[1] == '8' || d[1] == '9' || d[1] >= 'A'):
		return 2
	case d[0] != '0' || d[1] > '7':
		return 3
	case d[1] != '0' || d[2] > '7':
		return 2
	}
	return 1
}
