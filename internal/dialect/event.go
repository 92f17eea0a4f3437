package dialect

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/seed-9e4f5248/snubber/internal/jsonscan"
	"github.com/seed-9e4f5248/snubber/internal/stream"
)

const (
	// maxHeld bounds what is held of an event, as of an error body.
	maxHeld = 64 << 10
	// maxKept bounds what a free reader keeps of that for the next answer: a
	// single long event must not make all later ones expensive to remember.
	maxKept = 4 << 10
)

// reader is what a Meter knows of its body. It is the [stream.Sink] of the
// framing and the [jsonscan.Visitor] of the data.
type reader struct {
	sse    stream.SSE
	lines  stream.Lines
	frames *stream.Frames
	json   jsonscan.Scanner // of the event, or of the whole unary body
	tally  tally

	phase    Phase
	events   bool // there was one
	known    bool // there was one that is in the tables
	finished bool // by messageStop, a blocked prompt or the usage
	done     bool // the format ends in [DONE]
	seen     evidence
	choices  uint64 // bits of the choices that began; all from the 64th on share the last
	ended    uint64 // bits of the choices that ended

	event   event
	held    []byte // the event's data, of a document its beginning
	raw     []byte // an error member's value
	failure []byte
	seal    string // see BreakOff
	open    stream.Pending
	pending int // see Pending

	inner   *jsonscan.Scanner // of an embedded event
	quad    [4]byte           // of its base64
	text    [3]byte           // of quad
	quadLen uint8
	within  bool // the embedded event is being read
}

// event is what is known of the event, or of the document, that is being read.
type event struct {
	size     int // bytes of data
	kind     eventKind
	shape    bool // the data is of a known format
	content  bool
	failed   bool
	errored  bool // by an error member, which is held in raw
	index    int  // of the choice being read
	finished bool
	choices  uint64 // as below, if the event comes to its end
	ended    uint64
	blocked  bool
	embedded bool // inner is at it
	named    bool // it has a type
	empty    bool // its choices are an empty array
	counted  bool // it states a usage
	code     bool // it has the code or the words of an error
	base     bool // it has MiniMax's code
	seen     evidence
}

// evidence is what proves an answer.
type evidence struct {
	answer   bool // some of it
	stranger bool // something that no table knows
	good     bool // a reason for its end that is known to be one
	odd      bool // one that is not known
	barren   bool // one for which there is nothing to keep: filtered, refused, paused
	pending  bool // a status of what is not finished
}

func (s *evidence) add(t evidence) {
	s.answer, s.stranger = s.answer || t.answer, s.stranger || t.stranger
	s.good, s.odd, s.barren, s.pending = s.good || t.good, s.odd || t.odd, s.barren || t.barren, t.pending
}

// clear makes r as new, with its buffers. The failure is the caller's.
func (r *reader) clear() {
	held, raw, inner := r.held[:0], r.raw[:0], r.inner
	if cap(held) > maxKept {
		held = nil
	}
	if cap(raw) > maxKept {
		raw = nil
	}
	*r = reader{held: held, raw: raw, inner: inner}
}

// Data implements [stream.Sink].
func (r *reader) Data(p []byte) {
	if r.event.size == 0 {
		r.json.Reset(eventPaths)
	}
	if room := maxHeld - r.event.size; room >= 0 && room < len(p) {
		r.held = append(r.held, p[:room]...)
		r.json.Feed(p[:room], r)
		r.event.size += room + 1
		// An event that long is one to pass on, unless it has said otherwise:
		// whoever waits for the first content could not hold it for ever.
		if r.event.kind != kindPreamble && !r.event.failed {
			r.phase = max(r.phase, Content)
		}
		r.json.Feed(p[room:], r)
		return
	}
	if r.event.size < maxHeld {
		r.held = append(r.held, p...)
		r.event.size += len(p)
	}
	r.json.Feed(p, r)
}

// End implements [stream.Sink]: it judges the event.
func (r *reader) End(e stream.Event) {
	r.judge(e)
	r.held, r.raw, r.quadLen = r.held[:0], r.raw[:0], 0
	r.event = event{}
}

func (r *reader) judge(e stream.Event) {
	ev := &r.event
	data := bytes.TrimSpace(r.held)
	if len(e.Name) > 0 {
		if kind := eventKinds[string(e.Name)]; kind != kindOther {
			ev.kind = kind
		}
		ev.seen.name(e.Name)
	}
	switch {
	case r.phase >= Terminal: // what follows the end changes nothing, vLLM's [DONE] after an error above all
		return
	case string(data) == "[DONE]":
		r.events, r.known = true, true
		r.endMark()
		return
	case e.Cut && string(e.Name) == "message_stop": // whose data says nothing more
		r.events, r.known, r.phase = true, true, Terminal
		return
	case e.Cut && (ev.size == 0 || !r.json.Done()):
		return // half an event
	}
	if len(data) == 0 && ev.kind == kindOther && !e.Exception {
		return
	}
	if r.phase == Preamble && !r.events && ev.kind == kindOther && len(e.Name) == 0 && ev.size > 0 && !strings.ContainsRune(`{["`, rune(data[0])) {
		r.fail(e, data) // a line of a proxy, in the place of the first event
		return
	}
	r.events = true
	r.choices, r.ended = r.choices|ev.choices, r.ended|ev.ended
	r.finished = r.finished || ev.blocked
	if ev.kind != kindOther || ev.shape {
		r.known = true
	}
	if ev.base || ev.code && !ev.shape && !ev.content && !ev.named && len(e.Name) == 0 {
		ev.failed = true
	}
	ev.seen.answer = ev.kind != kindPreamble && (ev.seen.answer || ev.content)
	ev.seen.stranger = ev.kind == kindOther && !ev.shape && (ev.seen.stranger || ev.named)
	r.seen.add(ev.seen)
	if ev.empty && ev.counted && r.seen.answer {
		r.finished = true // the usage comes last, also where nothing else says that it is the end
	}
	switch {
	case ev.failed, e.Exception, ev.kind == kindFailure:
		r.fail(e, data)
	case ev.kind == kindTerminal:
		r.phase = Terminal
	case ev.kind == kindFinish:
		r.finished = true
	case ev.kind == kindPreamble:
	case ev.content || !ev.shape:
		r.phase = max(r.phase, Content)
	}
}

// endMark takes [DONE]. It ends a stream of choices. One of another format that
// has not ended as that does is broken, and one that had nothing in it is none.
func (r *reader) endMark() {
	switch {
	case !r.done && r.choices == 0 && !r.finished:
		r.phase, r.failure = Failed, []byte(wrongEnd)
	case r.done && !r.seen.answer && !r.seen.good && !r.seen.barren && !r.seen.odd && !r.seen.stranger:
		r.phase, r.failure = Failed, []byte(noAnswer)
	default:
		r.phase = Terminal
	}
}

// What stands for the error of an answer that had none and was none.
const (
	noAnswer = `{"error":{"type":"server_error","code":"empty_answer"}}`
	wrongEnd = `{"error":{"type":"server_error","code":"wrong_end"}}`
)

// name takes the name of an event: pieces of an answer are deltas everywhere.
func (s *evidence) name(name []byte) {
	s.answer = s.answer || bytes.HasSuffix(name, []byte("delta")) || bytes.HasSuffix(name, []byte("Delta"))
}

// reason takes the reason for which a choice has ended, or the answer.
func (ev *event) reason(v jsonscan.Value) {
	if v.Kind != jsonscan.String || v.Size == 0 {
		return
	}
	if failedReason(v.Text) != Unclassified {
		ev.failed = true
		return
	}
	switch end := endings(v.Text); end {
	case goodEnd:
		ev.seen.good = true
	case barrenEnd:
		ev.seen.barren = true
	default:
		ev.seen.odd = true
	}
}

// fail keeps what the error event says.
func (r *reader) fail(e stream.Event, data []byte) {
	r.phase = Failed
	switch {
	case e.Exception && len(e.Name) > 0 && len(data) > 1 && data[0] == '{':
		// The class is in the frame's header alone. A unary error of the same
		// protocol has it in __type, where there is no X-Amzn-ErrorType.
		r.failure = append(r.failure, `{"__type":"`...)
		for _, c := range e.Name {
			if c > ' ' && c != '"' && c != '\\' && c < 0x7F {
				r.failure = append(r.failure, c)
			}
		}
		r.failure = append(r.failure, '"')
		if rest := bytes.TrimSpace(data[1:]); len(rest) > 0 && rest[0] != '}' {
			r.failure = append(r.failure, ',')
		}
		r.failure = append(r.failure, data[1:]...)
	case e.Exception && len(e.Name) > 0:
		r.fail(e, []byte("{}"))
	case r.event.errored && (r.event.size > maxHeld || r.event.embedded):
		r.failure = wrapError(r.raw)
	default:
		r.failure = append(r.failure, data...)
	}
}

// wrapError returns an error body with the value of its error member.
func wrapError(value []byte) []byte {
	b := make([]byte, 0, len(value)+10)
	b = append(b, `{"error":`...)
	return append(append(b, value...), '}')
}

// Raw implements [jsonscan.Visitor].
func (r *reader) Raw(tag uint8, p []byte) {
	if tag == factError {
		if r.event.errored {
			return // the first error is the cause
		}
		r.raw = append(r.raw, p[:min(len(p), maxHeld-len(r.raw))]...)
		return
	}
	if r.within {
		return // an embedded event embeds none
	}
	if !r.event.embedded {
		r.event.embedded = true
		if r.inner == nil {
			r.inner = new(jsonscan.Scanner)
		}
		r.inner.Reset(eventPaths)
	}
	r.within = true
	for _, c := range p {
		if c == '"' || c == '\\' { // around it, or before a slash
			continue
		}
		r.quad[r.quadLen] = c
		if r.quadLen++; r.quadLen == 4 {
			n, _ := base64.StdEncoding.Decode(r.text[:], r.quad[:])
			r.inner.Feed(r.text[:n], r)
			r.quadLen = 0
		}
	}
	r.within = false
}

// Found implements [jsonscan.Visitor].
func (r *reader) Found(tag uint8, v jsonscan.Value) {
	ev := &r.event
	filled := v.Size > 0 && (v.Kind == jsonscan.String || v.Kind == jsonscan.Object || v.Kind == jsonscan.Array)
	switch tag {
	case factError:
		if filled {
			ev.failed, ev.errored = true, true
		} else if !ev.errored {
			r.raw = r.raw[:0]
		}
	case factType:
		ev.named = ev.named || filled
		if kind := eventKinds[string(v.Text)]; kind != kindOther {
			ev.kind = kind
		}
		ev.seen.name(v.Text)
	case factObject:
		ev.failed = ev.failed || string(v.Text) == "error"
	case factShape:
		ev.shape = true
	case factContent:
		ev.content = ev.content || filled
	case factText:
		ev.content = ev.content || filled && v.Kind == jsonscan.String
	case factRefusal:
		ev.content = ev.content || filled
		ev.seen.barren = ev.seen.barren || filled
	case factPart:
		ev.seen.barren = ev.seen.barren || string(v.Text) == "refusal"
	case factChoice:
		ev.shape = true
		ev.empty = v.Kind == jsonscan.Array && v.Size == 0
		if v.Kind == jsonscan.Object {
			bit := uint64(1) << min(ev.index, 63)
			ev.choices |= bit
			if ev.finished {
				ev.ended |= bit
			}
			ev.index, ev.finished = 0, false
		}
	case factIndex:
		ev.index, _ = jsonscan.Count(v.Text)
	case factFinish:
		ev.finished = filled
		ev.reason(v)
	case factReason:
		ev.reason(v)
	case factBlocked:
		ev.blocked = ev.blocked || filled
		ev.seen.barren = ev.seen.barren || filled
	case factEndReason:
		ev.failed = ev.failed || v.Kind == jsonscan.String && strings.HasPrefix(string(v.Text), "ERROR")
		ev.reason(v)
	case factStatus:
		switch string(v.Text) {
		case "failed", "cancelled", "canceled":
			ev.failed = true
		case "queued", "in_progress":
			ev.seen.pending = true
		}
	case factBase:
		ev.base = ev.base || isCode(v)
	case factCode:
		ev.code = ev.code || isCode(v)
	case factDetail:
		ev.code = ev.code || filled
	case factStranger:
		ev.seen.stranger = ev.seen.stranger || filled || v.Kind == jsonscan.Number || v.Kind == jsonscan.True
	case factDone:
		ev.shape = true
		if v.Kind == jsonscan.True {
			ev.kind = kindTerminal
		}
	case factMetrics:
		ev.kind = kindTerminal
	case factEmbedded:
	default:
		if v.Kind == jsonscan.Number {
			ev.counted = true
			r.tally.set(tag-factCounts, v.Text)
		}
	}
}
