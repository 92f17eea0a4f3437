package jsonscan

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

// Reset makes s ready for a document. What is held below live and n alone has a
// meaning, the rest of stack and text need not be cleared for every event.
func (s *Scanner) Reset(paths *Paths) {
	s.paths, s.node, s.state = paths, root, between
	s.escaped, s.key, s.done = false, false, false
	s.n, s.live, s.open, s.size, s.raw = 0, 0, 0, 0, 0
}

// Done reports that the document's value has ended. A number, true, false or
// null as the whole document ends only with a byte after it.
func (s *Scanner) Done() bool { return s.done }

// Feed reads the next piece.
func (s *Scanner) Feed(p []byte, v Visitor) {
	s.rawFrom = 0
	i := 0
	switch s.state {
	case inString:
		i = s.resumeString(p, v)
	case inScalar:
		i = s.resumeScalar(p, v)
	}
	for i < len(p) {
		if s.open > int(s.live) {
			i = s.skip(p, i, v)
		} else {
			i = s.walk(p, i, v)
		}
	}
	if s.raw != 0 {
		v.Raw(s.raw, p[s.rawFrom:])
	}
}

// walk reads what is on a path, up to a container that is not. Most strings and
// scalars are whole in p and not held.
func (s *Scanner) walk(p []byte, i int, v Visitor) int {
	for i < len(p) {
		switch c := p[i]; c {
		case '"':
			if !s.key {
				s.begin(i, c)
			}
			start := i + 1
			end, plain := stringEnd(p, start)
			if end == len(p) {
				s.cutString(p[start:])
				return end
			}
			s.size = end - start
			i = end + 1
			s.endString(p, i, p[start:end], plain, v)
		case ':':
			s.key = false
			i++
		case ',':
			if s.live > 0 {
				if f := &s.stack[s.live-1]; f.object {
					s.key, s.node = true, nowhere
				} else {
					s.node = f.node
				}
			}
			i++
		case '{', '[':
			s.begin(i, c)
			s.open++
			i++
			if s.node == nowhere || s.live == maxLive {
				return i
			}
			s.stack[s.live] = frame{node: s.node, object: c == '{'}
			s.live++
			if s.key = c == '{'; s.key {
				s.node = nowhere
			}
		case '}', ']':
			i++
			if s.open > 0 {
				s.close(p, i, v)
			}
		case 0xEF, 0xBB, 0xBF: // a byte order mark
			i++
		default:
			if c <= ' ' {
				i++
				continue
			}
			s.begin(i, c)
			start := i
			s.kind = kindOf(c)
			if i = scalarEnd(p, i+1); i == len(p) {
				s.state, s.size, s.n = inScalar, 0, 0
				s.hold(p[start:])
				return i
			}
			text := p[start:i]
			s.ended(p, i, s.node, Value{s.kind, len(text), text[:min(len(text), maxText)]}, v)
		}
	}
	return i
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
	i, open := leave(p, i, s.open-int(s.live))
	s.open = int(s.live) + open
	switch {
	case open == 0:
		s.open++
		s.close(p, i, v)
	case i < len(p):
		s.node, s.key = nowhere, false
		s.cutString(p[i+1:])
		i = len(p)
	}
	return i
}

// cutString begins a string that ends in another piece.
func (s *Scanner) cutString(text []byte) {
	s.state, s.size, s.n = inString, 0, 0
	s.escaped = escapes(text)
	s.hold(text)
}

// resumeString goes on with a string that an earlier piece has begun.
func (s *Scanner) resumeString(p []byte, v Visitor) int {
	start := 0
	if s.escaped && len(p) > 0 {
		start = 1
		s.escaped = false
	}
	end, _ := stringEnd(p, start)
	if end == len(p) {
		s.escaped = s.escaped || escapes(p[start:])
		s.hold(p)
		return end
	}
	s.hold(p[:end])
	s.state = between
	s.endString(p, end+1, s.text[:s.n], false, v)
	return end + 1
}

// endString takes a string whose closing quote is before end. Of its text no
// more than is held may be given.
func (s *Scanner) endString(p []byte, end int, text []byte, plain bool, v Visitor) {
	switch {
	case s.open > int(s.live):
	case s.key:
		s.key = false
		s.node = s.member(text, plain)
	default:
		s.ended(p, end, s.node, Value{String, s.size, text[:min(len(text), maxText)]}, v)
	}
}

// member returns the node of the member that is named next in the innermost object.
func (s *Scanner) member(name []byte, plain bool) uint16 {
	at := uint16(nowhere)
	if s.live > 0 {
		at = s.stack[s.live-1].node
	}
	switch {
	case at == nowhere || s.paths.leaf(at):
		return nowhere
	case s.size > maxText: // only a part of it is held, and no path has such a name
		return s.paths.nodes[at].any
	case plain:
		return s.paths.step(at, name)
	}
	return s.paths.step(at, Unquote(name))
}

// resumeScalar goes on with a number or a literal, up to the byte after it.
func (s *Scanner) resumeScalar(p []byte, v Visitor) int {
	end := scalarEnd(p, 0)
	s.hold(p[:end])
	if end < len(p) {
		s.state = between
		s.ended(p, end, s.node, Value{s.kind, s.size, s.text[:s.n]}, v)
	}
	return end
}

func (s *Scanner) hold(b []byte) {
	s.size += len(b)
	s.n += uint8(copy(s.text[s.n:], b))
}
