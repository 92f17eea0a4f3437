package jsonscan

import "bytes"

// maxLive is how many containers deep a Scanner follows a path. Arrays count.
const maxLive = 12

// Visitor is told what a [Scanner] finds. What it is given is valid only during
// the call.
type Visitor interface {
	// Found is called at the end of a value at a path.
	Found(tag uint8, v Value)
	// Raw is called with the bytes of a string, object or array whose tag is a
	// raw one, in as many pieces as they come, before its Found. Other scalars
	// are not handed on: they fit into Value.Text. Nothing within such a value
	// is reported.
	Raw(tag uint8, p []byte)
}

// Value is what a [Scanner] knows of a value when it ends.
type Value struct {
	Kind Kind
	Size int    // String: bytes between the quotes. Object, Array: members.
	Text []byte // a scalar as it is written, a string without its quotes; at most 64 bytes, see Size
}

// Scanner reads one document in pieces, however it is cut, and reports the
// values at its paths. The zero Scanner is not ready: call Reset.
type Scanner struct {
	paths   *Paths
	state   scanState
	escaped bool  // the string so far ends in an unpaired backslash
	key     bool  // the next string, or the one being read, is a member's name
	done    bool  // the document's value has ended
	kind    Kind  // of the scalar being read
	n       uint8 // bytes held in text
	live    uint8 // the open containers on a path; those within them on none are only counted
	node    uint16
	open    int // open containers
	size    int // of the scalar being read

	raw     uint8 // the tag of the value that goes to Visitor.Raw, 0 outside of one
	rawOpen int   // the containers open around it
	rawFrom int   // where in the current piece it begins

	stack [maxLive]frame
	text  [maxText]byte
}

type frame struct {
	node   uint16
	object bool
	size   int
}

type scanState uint8

const (
	between scanState = iota
	inString
	inScalar
)

// Reset makes s ready for a document.
func (s *Scanner) Reset(paths *Paths) { *s = Scanner{paths: paths, node: root} }

// Done reports that the document's value has ended. A number, true, false or
// null as the whole document ends only with a byte after it.
func (s *Scanner) Done() bool { return s.done }

// Feed reads the next piece.
func (s *Scanner) Feed(p []byte, v Visitor) {
	s.rawFrom = 0
	for i := 0; i < len(p); {
		switch {
		case s.state == inString:
			i = s.readString(p, i, v)
		case s.state == inScalar:
			i = s.readScalar(p, i, v)
		case s.open > int(s.live):
			i = s.skip(p, i, v)
		default:
			i = s.step(p, i, v)
		}
	}
	if s.raw != 0 {
		v.Raw(s.raw, p[s.rawFrom:])
	}
}

// step reads one byte of structure, or begins a scalar.
func (s *Scanner) step(p []byte, i int, v Visitor) int {
	c := p[i]
	switch c {
	case ' ', '\t', '\n', '\r', '\v', '\f', 0xEF, 0xBB, 0xBF: // and a byte order mark
	case ':':
		s.key = false
	case ',':
		if s.live > 0 {
			if f := &s.stack[s.live-1]; f.object {
				s.key, s.node = true, nowhere
			} else {
				s.node = f.node
			}
		}
	case '{', '[':
		s.begin(i, c)
		s.open++
		if s.node != nowhere && s.live < maxLive {
			s.stack[s.live] = frame{node: s.node, object: c == '{'}
			s.live++
			if s.key = c == '{'; s.key {
				s.node = nowhere
			}
		}
	case '}', ']':
		if s.open > 0 {
			s.close(p, i+1, v)
		}
	case '"':
		if !s.key {
			s.begin(i, c)
		}
		s.state, s.kind, s.size, s.n = inString, String, 0, 0
	default:
		s.begin(i, c)
		s.state, s.kind, s.size, s.n = inScalar, kindOf(c), 0, 0
		return i
	}
	return i + 1
}

// begin notes that a value starts at i with c.
func (s *Scanner) begin(i int, c byte) {
	if s.live > 0 {
		s.stack[s.live-1].size++
	}
	if n := &s.paths.nodes[s.node]; n.raw && s.raw == 0 && (c == '{' || c == '[' || c == '"') {
		s.raw, s.rawOpen, s.rawFrom = n.tag, s.open, i
	}
}

// close ends the innermost container, whose last byte is before end.
func (s *Scanner) close(p []byte, end int, v Visitor) {
	s.open--
	at := uint16(nowhere)
	val := Value{Kind: Array}
	if s.open < int(s.live) {
		s.live--
		f := &s.stack[s.live]
		if f.object {
			val.Kind = Object
		}
		at, val.Size = f.node, f.size
	}
	s.key = false
	s.ended(p, end, at, val, v)
}

// ended reports a value that has ended before end.
func (s *Scanner) ended(p []byte, end int, at uint16, val Value, v Visitor) {
	if s.raw != 0 && s.open == s.rawOpen {
		v.Raw(s.raw, p[s.rawFrom:end])
		s.raw = 0
	}
	if tag := s.paths.nodes[at].tag; tag != 0 && s.raw == 0 {
		v.Found(tag, val)
	}
	s.node = nowhere
	if s.open == 0 {
		s.done = true
	}
}

// skip passes over containers that are on no path.
func (s *Scanner) skip(p []byte, i int, v Visitor) int {
	for ; i < len(p); i++ {
		switch p[i] {
		case '"':
			s.state, s.kind, s.node, s.key, s.size, s.n = inString, String, nowhere, false, 0, 0
			if i = s.readString(p, i+1, v) - 1; s.state == inString {
				return len(p)
			}
		case '{', '[':
			s.open++
		case '}', ']':
			if s.open == int(s.live)+1 {
				s.close(p, i+1, v)
				return i + 1
			}
			s.open--
		}
	}
	return i
}

// readString reads a string's bytes to its closing quote or to the end of p.
func (s *Scanner) readString(p []byte, i int, v Visitor) int {
	start, quote := i, -1
	for i < len(p) {
		if s.escaped {
			s.escaped = false
			i++
			continue
		}
		if quote < i { // an escape took it: look for the next
			if quote = bytes.IndexByte(p[i:], '"'); quote < 0 {
				quote = len(p)
			} else {
				quote += i
			}
		}
		esc := bytes.IndexByte(p[i:quote], '\\')
		if esc < 0 {
			i = quote
			break
		}
		s.escaped = true
		i += esc + 1
	}
	text := p[start:min(i, len(p))]
	if i >= len(p) {
		s.hold(text)
		return i
	}
	if s.size > 0 {
		s.hold(text)
		text = s.text[:s.n]
	} else {
		s.size = len(text)
	}
	s.state = between
	switch {
	case s.open > int(s.live):
	case s.key:
		s.key = false
		s.node = s.member(text)
	default:
		s.ended(p, i+1, s.node, Value{String, s.size, text[:min(len(text), maxText)]}, v)
	}
	return i + 1
}

// member returns the node of the member that is named next in the innermost object.
func (s *Scanner) member(name []byte) uint16 {
	at := uint16(nowhere)
	if s.live > 0 {
		at = s.stack[s.live-1].node
	}
	switch {
	case at == nowhere || s.paths.leaf(at):
		return nowhere
	case s.size > maxText: // only a part of it is held, and no path has such a name
		return s.paths.nodes[at].any
	}
	return s.paths.step(at, Unquote(name))
}

// readScalar reads a number or a literal up to the byte after it.
func (s *Scanner) readScalar(p []byte, i int, v Visitor) int {
	start := i
	for ; i < len(p); i++ {
		switch p[i] {
		case ' ', '\t', '\n', '\r', '\v', '\f', ',', ':', ']', '}', '[', '{', '"':
			s.hold(p[start:i])
			s.state = between
			s.ended(p, i, s.node, Value{s.kind, s.size, s.text[:s.n]}, v)
			return i
		}
	}
	s.hold(p[start:i])
	return i
}

func (s *Scanner) hold(b []byte) {
	s.size += len(b)
	s.n += uint8(copy(s.text[s.n:], b))
}
