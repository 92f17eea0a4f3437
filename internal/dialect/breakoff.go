package dialect

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
)

// LosesErrors reports that the Go clients of the format end a stream in silence
// where its body ends in a read error: they scan lines and never ask the scanner
// what stopped it. The format's own error event reaches them.
func (f Format) LosesErrors() bool { return f == Ollama }

// BreakOff returns what makes a stream that has broken off end in the format's own
// error event: what its last line and event lack, so that the event is one of its
// own, and the event. status and code are as for [Refusal]. It is nil where an event
// could not be told from the rest, or where the stream has come to an end of its own.
// Ask before Free.
func (m *Meter) BreakOff(f Format, status int, code, message string) []byte {
	if m.r == nil || m.Phase() >= Terminal {
		return nil
	}
	body := Refusal(f, status, code, message)
	r := m.r
	if !m.ended {
		m.sealed()
	}
	b := []byte(r.seal)
	dropped := r.pending > 0 && r.pending <= maxHeld
	if dropped {
		b = nil // half an event is not what the caller has
	}
	switch m.framing {
	case linesFraming:
		return append(append(b, body...), '\n')
	case framesFraming:
		if r.frames == nil || !r.frames.Whole() && !dropped {
			return nil // the client's decoder finds half a frame by itself
		}
		return exception(body)
	case sseFraming:
	default:
		return nil
	}
	name := ""
	switch f {
	case Anthropic, OpenAIResponses:
		name = "error"
	case Cohere:
		name = "message-end" // where it has its errors
		body, _ = json.Marshal(map[string]any{"type": name, "delta": map[string]any{"finish_reason": "ERROR", "error": message}})
	}
	end := r.sse.LineEnd()
	if name != "" {
		b = append(append(append(b, "event: "...), name...), end...)
	}
	b = append(append(append(b, "data: "...), body...), end...)
	return append(b, end...)
}

// Pending is how many bytes at the end of the body so far belong to an event that
// has not ended, and p is what Observe has read last. It is for who passes whole
// events on, so that an error event never stands behind half of another: what is
// pending is held back, and dropped where the stream breaks off. Who asks once has
// to ask after each piece, up to BreakOff. An event of more than 64 KiB is none to
// hold: then nothing is pending until it ends, and BreakOff seals it.
func (m *Meter) Pending(p []byte) int {
	r := m.r
	if r == nil || len(p) == 0 {
		return 0
	}
	switch m.framing {
	case sseFraming:
		r.pending = r.open.SSE(p)
	case linesFraming:
		r.pending = r.open.Lines(p)
	case framesFraming:
		r.pending = r.frames.Pending()
		if r.frames.Broken() {
			r.pending = 0
		}
	}
	if r.pending > maxHeld {
		return 0
	}
	return r.pending
}

// sealed notes what the stream lacks for another event to follow, before its end
// makes the framing forget.
func (m *Meter) sealed() {
	switch m.framing {
	case sseFraming:
		m.r.seal = m.r.sse.Seal()
	case linesFraming:
		m.r.seal = m.r.lines.Seal()
	}
}

// exception is a frame of the AWS event stream that says that the server failed.
func exception(payload []byte) []byte {
	var head []byte
	for _, h := range [...][2]string{
		{":message-type", "exception"}, {":exception-type", "internalServerException"}, {":content-type", "application/json"},
	} {
		head = append(append(head, byte(len(h[0]))), h[0]...)
		head = binary.BigEndian.AppendUint16(append(head, 7), uint16(len(h[1])))
		head = append(head, h[1]...)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(16+len(head)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(head)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, head...), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}
