package dialect

import (
	"bytes"
	"strings"
	"sync"

	"github.com/seed-9e4f5248/snubber/internal/jsonscan"
	"github.com/seed-9e4f5248/snubber/internal/stream"
)

// Phase is how far an answer has come. The order is that of getting there.
type Phase uint8

const (
	Preamble Phase = iota // nothing of the answer yet: it could still be replaced by another
	Content               // the answer has begun
	Finished              // every choice has ended; only usage and a terminator can follow
	Terminal              // the terminal event has come
	Failed                // an error has come instead of it
)

// Meter reads the body of a response as it passes and tells what it has seen:
// the first content, the end, an error within, the usage. It never asks for
// bytes and changes none. The zero Meter, before Start, sees an opaque body. A
// Meter is not safe for concurrent use and must not be copied after Start.
//
// However the body is cut into pieces, the result is the same. Memory is bounded
// whatever the body: a buffer for the current event of a stream, up to 64 KiB.
type Meter struct {
	framing framing
	phase   Phase // of an opaque body
	stream  bool  // the caller asked for one
	begun   bool  // a byte has come that is not blank
	judged  bool  // a unary body began like JSON
	ended   bool  // End has been asked
	marked  bool  // the format ends in [DONE]
	array   bool  // the format streams as one document
	r       *reader
}

type framing uint8

const (
	opaque framing = iota // passed, not judged
	unary                 // one JSON document
	sseFraming
	linesFraming
	framesFraming
)

// Start says what is to come: the answer to a request on r, with the
// Content-Type of its header, to a caller who asked for a stream or not. A type
// that the first byte contradicts is not believed: a JSON error under
// text/event-stream, events under application/json and a page of HTML under
// either are read as what they are.
//
// A stream of Gemini without alt=sse is a JSON array that arrives piece by
// piece; it is read as one document.
func (m *Meter) Start(r Route, contentType string, stream bool) {
	*m = Meter{
		framing: framingOf(r, contentType, stream), stream: stream, array: r.Format == Gemini,
		marked: r.Format == OpenAIChat || r.Format == OpenAIEmbeddings,
	}
}

func framingOf(r Route, contentType string, stream bool) framing {
	if r.Format == Unknown {
		return opaque
	}
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	switch media {
	case "text/event-stream":
		return sseFraming
	case "application/vnd.amazon.eventstream":
		return framesFraming
	case "application/x-ndjson", "application/stream+json", "application/jsonl":
		return linesFraming
	}
	switch {
	case r.Format == Ollama && stream:
		return linesFraming
	case media == "application/json", strings.HasSuffix(media, "+json"):
		return unary // also to a caller who wanted a stream
	case strings.HasPrefix(media, "text/"), strings.HasSuffix(media, "/octet-stream"):
		return unary // until its first byte says otherwise: proxies label JSON, streams and their own pages so
	case media != "":
		return opaque // speech, images
	case !stream:
		return unary
	case r.Format == Bedrock:
		return framesFraming
	}
	return sseFraming
}

// Observe reads the next bytes of the body, in order. It keeps no reference to p.
func (m *Meter) Observe(p []byte) {
	if len(p) == 0 {
		return
	}
	if m.framing == opaque {
		m.phase = Content
		return
	}
	if m.r == nil {
		m.r = readers.Get().(*reader)
		m.r.done = m.marked
		if m.framing == framesFraming {
			m.r.frames = new(stream.Frames)
		}
	}
	r := m.r
	if !m.begun && m.framing != framesFraming {
		m.begin(p)
	}
	switch m.framing {
	case sseFraming:
		r.sse.Feed(p, r)
	case linesFraming:
		r.lines.Feed(p, r)
	case framesFraming:
		if r.frames.Feed(p, r); r.frames.Broken() {
			r.phase = max(r.phase, Content)
		}
	case unary:
		m.observeUnary(p)
	}
}

// begin looks at the first byte that is not blank, which tells the framings apart
// better than the header does: no event begins like JSON, no JSON like an event,
// and nothing that a model says begins like HTML.
func (m *Meter) begin(p []byte) {
	i := 0
	for i < len(p) && (p[i] <= ' ' || p[i] == 0xEF || p[i] == 0xBB || p[i] == 0xBF) { // and a byte order mark
		i++
	}
	if i == len(p) {
		return // DeepSeek sends blank lines to keep the connection alive
	}
	m.begun = true
	r, first := m.r, p[i]
	switch {
	case first == '<':
		r.phase, r.failure = Failed, []byte{first}
	case m.framing == linesFraming:
	case first == '{', first == '[':
		m.framing, m.judged = unary, true
		r.json.Reset(eventPaths)
	case m.framing == unary && m.stream && strings.IndexByte("deir:", first) >= 0: // data, event, id, retry or a comment
		m.framing = sseFraming
	}
	if m.framing == unary {
		r.phase = max(r.phase, Content)
	}
}

func (m *Meter) observeUnary(p []byte) {
	r := m.r
	if !m.judged {
		return
	}
	ev := &r.event
	r.held = append(r.held, p[:min(len(p), maxKept-len(r.held))]...)
	r.json.Feed(p, r)
	switch {
	case r.phase == Failed:
	case ev.errored:
		r.phase, r.failure = Failed, wrapError(r.raw)
	case r.json.Done() && (ev.failed || ev.base || ev.kind == kindFailure || ev.code && !ev.shape && !ev.content && !ev.named):
		s := jsonscan.NewCursor(r.held) // it is short, or its beginning has what it says
		s.Skip()
		r.phase, r.failure = Failed, bytes.Clone(r.held[:s.Offset()])
	}
}

// Free ends the reading: what the Meter has allocated serves the next answer, and
// the Meter is the zero Meter again. Ask for Phase, Usage, Failure and End before;
// the bytes that Failure has returned stay the caller's. To free a Meter is no
// duty, to free it twice is no mistake.
func (m *Meter) Free() {
	if r := m.r; r != nil {
		r.clear()
		readers.Put(r)
	}
	*m = Meter{}
}

// readers is shared by all Meters because a reader is plain memory, has nothing
// that waits or runs, and is never in a caller's hands. It saves every answer
// most of a kilobyte.
var readers = sync.Pool{New: func() any { return new(reader) }}

// Phase returns how far the answer has come. A unary body is at Content from its
// first byte that is not blank, until an error is found in it. Finished is left
// again for Content where another choice begins after all that began had ended.
func (m *Meter) Phase() Phase {
	if m.r == nil {
		return m.phase
	}
	r := m.r
	if r.phase <= Content && m.Streaming() && (r.finished || r.choices != 0 && r.choices == r.ended) {
		return Finished
	}
	return r.phase
}

// Streaming reports that the body is a stream whose events the Meter reads.
func (m *Meter) Streaming() bool { return m.framing >= sseFraming }

// Opaque reports that nothing will ever be seen of the body.
func (m *Meter) Opaque() bool { return m.framing == opaque }

// Open reports whether the answer has shown what it is, so that nobody who holds
// its beginning back would learn more by waiting. A stream has at its first
// content, its end or its error. A JSON document has when it is whole: it comes at
// once where it comes at all, half of it is of no use to anybody, and an error can
// stand behind everything else in it, as OpenRouter's does. A document that is
// itself a stream has at its first content, too.
func (m *Meter) Open() bool {
	switch {
	case m.framing == opaque:
		return true
	case m.r == nil:
		return false
	case m.framing == unary:
		return m.begun && (!m.judged || m.r.json.Done() || m.stream && m.r.event.content)
	}
	return m.Phase() > Preamble
}

// Failure returns the error that made the Phase Failed, as JSON: the data of its
// event, up to 64 KiB, or {"error": …} with the error member of a unary body; of a
// page of HTML its first byte. It is nil in any other Phase and must not be changed.
func (m *Meter) Failure() []byte {
	if m.r == nil || m.r.phase != Failed {
		return nil
	}
	return m.r.failure
}

// Usage returns what the body has said of its usage so far; false if nothing.
func (m *Meter) Usage() (Usage, bool) {
	if m.r == nil {
		return Usage{}, false
	}
	return m.r.tally.usage()
}

// End says that the body has ended with EOF and returns whether the answer is
// whole. A stream is whole in the phases Finished and Terminal, and also if all
// its events were strangers to the tables: what is not understood is not judged.
// A JSON document is whole when it is balanced and carries no error; blanks that
// were to keep the connection alive and had nothing behind them are none.
func (m *Meter) End() (complete bool) {
	if m.framing == opaque {
		return true
	}
	if m.r == nil {
		return m.framing == unary && !m.stream // an empty body is a whole answer, an empty stream is none
	}
	r := m.r
	if !m.ended {
		m.sealed()
		m.ended = true
	}
	switch m.framing {
	case sseFraming:
		r.sse.Close(r)
	case linesFraming:
		r.lines.Close(r)
	case unary:
		return r.phase != Failed && m.begun && (!m.judged || r.json.Done())
	}
	switch phase := m.Phase(); {
	case phase == Failed:
		return false
	case phase == Terminal:
		return true
	case r.frames != nil && !r.frames.Broken() && !r.frames.Whole():
		return false // half a frame
	case phase == Finished:
		return true
	}
	return r.events && !r.known || r.frames != nil && r.frames.Broken()
}
