package stream

import "bytes"

// Pending counts the bytes of the event, or of the line, that a stream is within:
// what has to be held back by who passes whole events on. A comment of SSE is
// pending to the end of its line only, unless an event has begun: it keeps a
// connection alive and must not wait for what comes next. The zero Pending is
// ready. It is for one framing; [Frames] counts for itself.
type Pending struct {
	n     int
	field bool // the event has a line that is no comment
	begun bool // the line has a byte
	first byte // of it
	cr    bool // the last byte was a CR: an LF now belongs to it
	whole bool // nothing was pending before that CR's LF
}

// SSE reads the next piece and returns how many bytes are pending.
func (e *Pending) SSE(p []byte) int {
	for len(p) > 0 {
		if e.cr {
			e.cr = false
			if p[0] == '\n' {
				if p = p[1:]; !e.whole {
					e.n++
				}
				continue
			}
		}
		end := lineEnd(p)
		if end > 0 && !e.begun {
			e.begun, e.first = true, p[0]
		}
		if e.n += end; end == len(p) {
			break
		}
		e.n++
		e.cr = p[end] == '\r'
		e.field = e.field || e.begun && e.first != ':'
		if e.whole = !e.begun || !e.field; e.whole {
			e.n = 0
		}
		if !e.begun {
			e.field = false
		}
		e.begun = false
		p = p[end+1:]
	}
	return e.n
}

// Lines reads the next piece and returns how many bytes are pending.
func (e *Pending) Lines(p []byte) int {
	if i := bytes.LastIndexByte(p, '\n'); i >= 0 {
		e.n, p = 0, p[i+1:]
	}
	e.n += len(p)
	return e.n
}
