// Package stream cuts the three framings in which AI APIs stream their answers
// into events: server-sent events ([SSE]), newline-delimited JSON ([Lines]) and
// the AWS event stream ([Frames]).
//
// Each takes its input in pieces, however it is cut, hands an event's data on as
// it comes and holds none of it: an event may be of any length.
package stream

import "bytes"

// Sink takes events apart from their framing.
type Sink interface {
	// Data is called with the next piece of the current event's data, which is
	// valid only during the call.
	Data(p []byte)
	// End is called at the end of an event that has data, or in [Frames] a name.
	// The name, at most 64 bytes of it, is valid only during the call.
	End(e Event)
}

// Event is what the framing itself says of an event.
type Event struct {
	Name      []byte // the event field of SSE, :event-type or :exception-type of a frame
	Exception bool   // a frame whose :message-type is exception or error
	Cut       bool   // the stream ended within the event
}

// maxName is how much of an event's name is held.
const maxName = 64

// Lines reads one event per line. Blank lines are no events. The zero Lines is
// ready.
type Lines struct{ begun bool }

// Feed reads the next piece.
func (l *Lines) Feed(p []byte, sink Sink) {
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, newline)
		if !l.begun {
			line = bytes.TrimLeft(line, " \t\r")
		}
		if len(line) > 0 {
			l.begun = true
			sink.Data(line)
		}
		if ended && l.begun {
			l.begun = false
			sink.End(Event{})
		}
		p = rest
	}
}

// Seal is what the stream lacks for another event to follow.
func (l *Lines) Seal() string {
	if l.begun {
		return "\n"
	}
	return ""
}

// Close ends a last line that has no line end.
func (l *Lines) Close(sink Sink) {
	if l.begun {
		l.begun = false
		sink.End(Event{Cut: true})
	}
}

var newline = []byte{'\n'}
