package stream

import "bytes"

// SSE reads server-sent events as the WHATWG HTML standard, section 9.2.6, says:
// lines end in CR, LF or CRLF, a byte order mark and comments are skipped, data
// fields are joined with a line feed, a blank line ends an event. It departs from
// the standard at the end of the stream only: an event without its blank line is
// handed on, marked Cut, because several servers leave the line out. The zero
// SSE is ready.
type SSE struct {
	state   sseState
	started bool  // the byte order mark is behind us or missing
	cr      bool  // the last byte was a CR: an LF now belongs to it
	data    bool  // the event has a data field
	crlf    bool  // lines end in CRLF
	n, name uint8 // bytes in fieldBuf, in nameBuf

	field    sseField
	fieldBuf [6]byte // one more than the longest field that means something
	nameBuf  [maxName]byte
}

type sseState uint8

const (
	inField sseState = iota
	afterColon
	inValue
)

type sseField uint8

const (
	otherField sseField = iota
	dataField
	eventField
)

var byteOrderMark = []byte("\xEF\xBB\xBF")

// Feed reads the next piece.
func (s *SSE) Feed(p []byte, sink Sink) {
	for i := 0; i < len(p); {
		c := p[i]
		if s.cr {
			s.cr = false
			if c == '\n' {
				s.crlf = true
				i++
				continue
			}
		}
		switch s.state {
		case inField:
			i++
			switch {
			case c == '\r' || c == '\n':
				s.endLine(c, sink)
			case c == ':':
				s.beginValue(sink)
				s.state = afterColon
			case int(s.n) < len(s.fieldBuf):
				s.fieldBuf[s.n] = c
				s.n++
				if s.n == 3 && !s.started && bytes.Equal(s.fieldBuf[:3], byteOrderMark) {
					s.started, s.n = true, 0
				}
			}
		case afterColon:
			s.state = inValue
			if c == ' ' {
				i++
			}
		case inValue:
			end := lineEnd(p[i:])
			if end > 0 {
				s.value(p[i:i+end], sink)
			}
			if i += end; i < len(p) {
				s.endLine(p[i], sink)
				i++
			}
		}
	}
}

// Close hands on the event that the stream has ended in.
func (s *SSE) Close(sink Sink) {
	if s.state == inField && s.n > 0 {
		s.beginValue(sink)
	}
	s.dispatch(sink, true)
	*s = SSE{crlf: s.crlf}
}

// LineEnd is what the stream's lines end in: some clients take no mixture.
func (s *SSE) LineEnd() string {
	if s.crlf {
		return "\r\n"
	}
	return "\n"
}

// Seal is what the stream lacks for another event to follow: the end of the line
// and of the event that it is in.
func (s *SSE) Seal() string {
	end, seal := s.LineEnd(), ""
	switch {
	case s.state != inField || s.n > 0:
		seal = end
	case s.cr && s.crlf:
		seal = "\n"
	}
	if s.data || s.name > 0 || s.state == inField && s.n > 0 {
		seal += end
	}
	return seal
}

// lineEnd returns the index of the first CR or LF, or the length of p.
func lineEnd(p []byte) int {
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		end = len(p)
	}
	if cr := bytes.IndexByte(p[:end], '\r'); cr >= 0 {
		return cr
	}
	return end
}

// beginValue takes the field's name, which has ended.
func (s *SSE) beginValue(sink Sink) {
	s.started = true
	s.field = otherField
	switch string(s.fieldBuf[:s.n]) {
	case "data":
		s.field = dataField
		if s.data {
			sink.Data(newline)
		}
		s.data = true
	case "event":
		s.field, s.name = eventField, 0
	}
	s.n = 0
}

func (s *SSE) value(p []byte, sink Sink) {
	switch s.field {
	case dataField:
		sink.Data(p)
	case eventField:
		s.name += uint8(copy(s.nameBuf[s.name:], p))
	}
}

func (s *SSE) endLine(c byte, sink Sink) {
	s.cr = c == '\r'
	if s.state == inField {
		if s.n == 0 {
			s.dispatch(sink, false)
		} else {
			s.beginValue(sink) // a field without a colon has an empty value
		}
	}
	s.started = true
	s.state = inField
}

func (s *SSE) dispatch(sink Sink, cut bool) {
	if s.data {
		sink.End(Event{Name: s.nameBuf[:s.name], Cut: cut})
	}
	s.data, s.name = false, 0
}
