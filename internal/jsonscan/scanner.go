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

// Reset makes s ready for a document. It sets what is read before it is written,
// field by field: the whole Scanner has 400 bytes, and every event resets one.
func (s *Scanner) Reset(paths *Paths) {
	s.paths, s.node, s.state = paths, root, between
	s.key, s.done = false, false
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

// walk reads what is on a path, up to a container that is not. Nearly every
// token is whole in p: it is looked at there and not held.
func (s *Scanner) walk(p []byte, i int, v Visitor) int {
	for i < len(p) {
		c, start := p[i], i
		kind := String
		var text []byte
		switch c {
		case '"':
			if !s.key {
				s.begin(i, c)
			}
			start++
			end, plain := stringEnd(p, start)
			if end == len(p) {
				s.cutString(p[start:])
				return end
			}
			i = end + 1
			text = p[start:end]
			if s.key {
				if s.member(text, len(text), plain); i < len(p) && p[i] == ':' {
					i++
				}
				continue
			}
		case ':':
			s.key = false
			i++
			continue
		case ',':
			if s.live > 0 {
				if f := &s.stack[s.live-1]; f.object {
					s.key, s.node = true, nowhere
				} else {
					s.node = f.node
				}
			}
			i++
			continue
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
			continue
		case '}', ']':
			i++
			if s.open > 0 {
				s.close(p, i, v)
			}
			continue
		default:
			if c <= ' ' || c == 0xEF || c == 0xBB || c == 0xBF { // white space, a byte order mark
				i++
				continue
			}
			s.begin(i, c)
			kind = kindOf(c)
			if i = scalarEnd(p, i+1); i == len(p) {
				s.state, s.kind, s.size, s.n = inScalar, kind, 0, 0
				s.hold(p[start:])
				return i
			}
			text = p[start:i]
		}
		// A string or another scalar has ended. This is ended without its call.
		if s.raw|s.paths.nodes[s.node].tag != 0 {
			s.report(s.node, kind, len(text), text, v, p, i)
		}
		s.node = nowhere
		s.done = s.done || s.open == 0
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
	s.key = false
	if s.open >= int(s.live) {
		s.ended(nowhere, Array, 0, nil, v, p, end)
		return
	}
	s.live--
	f, kind := &s.stack[s.live], Array
	if f.object {
		kind = Object
	}
	s.ended(f.node, kind, f.size, nil, v, p, end)
}

// ended takes the end, before p[end], of a value at a node.
func (s *Scanner) ended(at uint16, kind Kind, size int, text []byte, v Visitor, p []byte, end int) {
	if s.raw|s.paths.nodes[at].tag != 0 {
		s.report(at, kind, size, text, v, p, end)
	}
	s.node = nowhere
	s.done = s.done || s.open == 0
}

// report hands a value on, if it is at a path or being handed on already.
func (s *Scanner) report(at uint16, kind Kind, size int, text []byte, v Visitor, p []byte, end int) {
	if s.raw != 0 && s.open == s.rawOpen {
		v.Raw(s.raw, p[s.rawFrom:end])
		s.raw = 0
	}
	if tag := s.paths.nodes[at].tag; tag != 0 && s.raw == 0 {
		v.Found(tag, Value{kind, size, text[:min(len(text), maxText)]})
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
	switch text := s.text[:s.n]; {
	case s.open > int(s.live):
	case s.key:
		s.member(text, s.size, false)
	default:
		s.ended(s.node, String, s.size, text, v, p, end+1)
	}
	return end + 1
}

// member goes to the node of the member that is named next in the innermost
// object. Of a name of more bytes than are held there is only a part.
func (s *Scanner) member(name []byte, size int, plain bool) {
	s.key, s.node = false, nowhere
	if s.live == 0 {
		return
	}
	at := s.stack[s.live-1].node
	switch {
	case plain:
		s.node = s.paths.step(at, name)
	case s.paths.leaf(at):
	case size > maxText: // no path has such a name, whatever its escapes stand for
		s.node = s.paths.nodes[at].any
	default:
		s.node = s.paths.step(at, Unquote(name))
	}
}

// resumeScalar goes on with a number or a literal, up to the byte after it.
func (s *Scanner) resumeScalar(p []byte, v Visitor) int {
	end := scalarEnd(p, 0)
	s.hold(p[:end])
	if end < len(p) {
		s.state = between
		s.ended(s.node, s.kind, s.size, s.text[:s.n], v, p, end)
	}
	return end
}

func (s *Scanner) hold(b []byte) {
	s.size += len(b)
	s.n += uint8(copy(s.text[s.n:], b))
}
