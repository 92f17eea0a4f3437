package jsonscan

import "bytes"

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
}

// NewCursor returns a Cursor at the start of b, which must not change while the
// Cursor or a Token of it is in use.
func NewCursor(b []byte) Cursor { return Cursor{b: b} }

// Offset is where the token that was read last ends, and behind the white space
// that follows it if it was a string.
func (c *Cursor) Offset() int { return c.i }

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
		start := i + 1
		end, _ := stringEnd(b, start)
		if end == len(b) {
			c.i = end
			return Token{}
		}
		i = blanks(b, end+1)
		c.i = i
		return Token{Kind: String, Key: i < len(b) && b[i] == ':', Raw: b[start:end]}
	case '{', '[':
		c.i = i + 1
		c.Depth++
		return Token{Kind: container(b[i])}
	case '}', ']':
		c.i = i + 1
		c.Depth--
		return Token{Kind: container(b[i]), End: true}
	}
	c.i = scalarEnd(b, i+1)
	return Token{Kind: kindOf(b[i]), Raw: b[i:c.i]}
}

// Skip passes over the next value.
func (c *Cursor) Skip() {
	t := c.Next()
	for t.Key {
		t = c.Next()
	}
	if (t.Kind == Object || t.Kind == Array) && !t.End {
		i, open := leave(c.b, c.i, 1)
		if open > 0 {
			i = len(c.b)
		}
		c.i = i
		c.Depth += open - 1
	}
}

// Sum is what the scalars of a value come to.
type Sum struct {
	Names   int // bytes of the members' names, as they are written
	Text    int // bytes of the strings, see [TextSize]
	Numbers int
}

// Sum passes over the next value and adds up what is in it. A string of long
// bytes or more is left out if omit says so, which is also told the name that
// was read last before it, at first the given one.
//
// It reads what Next in a loop would, in three quarters of the time: the tool
// schemas of a request are hundreds of strings of ten bytes each, and this is the
// largest part of what a call is delayed by.
func (c *Cursor) Sum(name []byte, long int, omit func(name, text []byte) bool) (sum Sum) {
	b, i, open := c.b, c.i, 0
	for i < len(b) {
		switch ch := b[i]; {
		case ch == '"':
			end, plain := stringEnd(b, i+1)
			if end == len(b) {
				i = end
				break
			}
			text := b[i+1 : end]
			if i = blanks(b, end+1); i < len(b) && b[i] == ':' {
				i++
				name = text
				sum.Names += len(text)
				continue
			}
			switch {
			case len(text) >= long && omit(name, text):
			case plain:
				sum.Text += len(text)
			default:
				sum.Text += TextSize(text)
			}
		case ch == ',' || ch <= ' ' || ch == ':':
			i++
			continue
		case ch == '{' || ch == '[':
			i++
			open++
			continue
		case ch == '}' || ch == ']':
			i++
			open--
		default:
			if kindOf(ch) == Number {
				sum.Numbers++
			}
			i = scalarEnd(b, i+1)
		}
		if open <= 0 {
			break
		}
	}
	c.i = i
	c.Depth += open
	return sum
}

func container(c byte) Kind {
	if c == '{' || c == '}' {
		return Object
	}
	return Array
}

// blanks returns the index of the first byte from i on that is no white space.
func blanks(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' {
		i++
	}
	return i
}

// TextSize estimates the UTF-8 bytes of a string's text from what is written
// between its quotes: never too low, and exact where more than one byte in eight
// is a backslash, as in text of another script that was written in ASCII. With
// fewer escapes it is the length as written, which is too high by one byte for
// each line end or quote: to look at every escape would take longer than all
// else that is done with a prompt.
func TextSize(raw []byte) int {
	if bytes.Count(raw, backslash) <= len(raw)/8 {
		return len(raw)
	}
	size := 0
	for i := 0; i < len(raw); {
		switch {
		case raw[i] != '\\':
			size++
			i++
		case i+6 <= len(raw) && raw[i+1] == 'u':
			size += utf8Size(raw[i+2 : i+6])
			i += 6
		default:
			size++
			i += 2
		}
	}
	return size
}

var backslash = []byte{'\\'}

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
