package dialect

import "github.com/seed-9e4f5248/snubber/internal/jsonscan"

// Proof is what the whole of an answer has shown to be.
type Proof uint8

const (
	// Unproven: it has something in it that may be an answer, or ends for a reason
	// that no table knows. It is passed on, says nothing for or against the
	// service, and is neither kept nor asked for again.
	Unproven Proof = iota
	// Disproven: it names a failure, or is no answer at all. [ClassifyEvent] tells
	// its class by [Meter.Failure], also where that is nil.
	Disproven
	// Passing is a success of which nothing is to be kept: blocked, refused, paused,
	// without content, made later, or in another form than was asked for.
	Passing
	// Proven has content, and the end that the format has or a reason for it that is
	// known to be a good one. It may be kept.
	Proven
)

// Proof judges a body that has ended in EOF, or is at [Terminal]. background says
// that the request asked for an answer that is made later. The Phase is Failed
// afterwards where the answer is Disproven and any byte of it has come. Ask before
// Free.
//
// What the Meter cannot look into is Passing: a picture, speech. A stream that
// [Meter.End] calls incomplete is Unproven, unless an error is in it.
func (m *Meter) Proof(background bool) Proof {
	if m.framing == opaque {
		return Passing
	}
	r := m.r
	if r == nil {
		return Disproven // nothing came
	}
	complete := m.End()
	switch {
	case r.phase == Failed:
		return Disproven
	case m.framing == unary && !m.begun, m.framing != unary && !r.events && r.frames == nil: // blanks, comments, a text
		return m.disprove()
	case !complete:
		return Unproven
	case m.framing == unary:
		return m.proofOfDocument(background)
	}
	s := r.seen
	switch {
	case s.answer && s.odd, !s.answer && s.stranger, !r.known:
		return Unproven
	case s.answer && !s.barren:
		return Proven
	case s.answer, s.good, s.barren, s.odd:
		return Passing
	}
	return m.disprove()
}

func (m *Meter) proofOfDocument(background bool) Proof {
	r, s := m.r, m.r.event.seen
	if !m.judged { // a text
		if m.stream {
			return m.disprove()
		}
		return Unproven
	}
	answer := s.answer || r.event.content
	switch {
	case s.pending && background:
		return Passing
	case s.pending:
		return m.disprove()
	case answer && s.odd:
		return Unproven
	case answer && (s.barren || m.stream && !m.array):
		return Passing
	case answer:
		return Proven
	case s.good, s.barren, s.odd:
		return Passing
	case s.stranger:
		return Unproven
	}
	return m.disprove()
}

// disprove makes a failure of what is no answer.
func (m *Meter) disprove() Proof {
	m.r.phase, m.r.failure = Failed, []byte(noAnswer)
	return Disproven
}

// ending is what a reason for which an answer has ended is worth.
type ending uint8

const (
	oddEnd ending = iota // one that no table knows
	goodEnd
	barrenEnd
)

var endReasons = map[string]ending{
	"stop": goodEnd, "length": goodEnd, "tool_calls": goodEnd, "function_call": goodEnd, // OpenAI
	"end_turn": goodEnd, "max_tokens": goodEnd, "stop_sequence": goodEnd, "tool_use": goodEnd, "model_context_window_exceeded": goodEnd, // Anthropic, Bedrock, Gemini
	"complete": goodEnd, "tool_call": goodEnd, // Cohere
	"max_output_tokens": goodEnd,                                                // OpenAI Responses
	"eos":               goodEnd, "eos_token": goodEnd, "model_length": goodEnd, // Together, TGI, Mistral
	"finish": goodEnd, // Titan

	"content_filter": barrenEnd, "content_filtered": barrenEnd, "refusal": barrenEnd, "pause_turn": barrenEnd, "guardrail_intervened": barrenEnd,
	"safety": barrenEnd, "recitation": barrenEnd, "blocklist": barrenEnd, "prohibited_content": barrenEnd, "spii": barrenEnd, "language": barrenEnd,
	"image_safety": barrenEnd, "malformed_function_call": barrenEnd, "unexpected_tool_call": barrenEnd, "no_image": barrenEnd,
	"sensitive": barrenEnd, "load": barrenEnd, "unload": barrenEnd, "malformed_tool_use": barrenEnd, "malformed_model_output": barrenEnd,
}

// endings looks a reason up, in any case.
func endings(reason []byte) ending {
	var lower [32]byte
	if len(reason) > len(lower) {
		return oddEnd
	}
	b := lower[:copy(lower[:], reason)]
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return endReasons[string(b)]
}

// isCode reports that a code is one of a failure: 0 and 200 say that there is none.
func isCode(v jsonscan.Value) bool {
	if v.Kind != jsonscan.Number && v.Kind != jsonscan.String {
		return false
	}
	switch string(v.Text) {
	case "", "0", "200", "20000", "ok", "OK", "success", "Success", "SUCCESS":
		return false
	}
	return true
}

// failedReason is the class of a reason for which a choice ended, in any case, or
// Unclassified where it names no failure.
func failedReason(word []byte) Class {
	var lower [32]byte
	if len(word) > len(lower) {
		return Unclassified
	}
	b := lower[:copy(lower[:], word)]
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return failedReasons[string(b)]
}

// failedReasons are reasons for which a choice ended that name a failure.
var failedReasons = map[string]Class{
	"error": ServerError, "abort": ServerError, "aborted": ServerError, "network_error": ServerError, "model_error": ServerError,
	"server_error": ServerError, "internal_error": ServerError, "timeout": ServerError,
	"insufficient_system_resource": Overloaded, "engine_overloaded": Overloaded, "overloaded": Overloaded,
}
