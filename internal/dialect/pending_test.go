package dialect

import (
	"slices"
	"strings"
	"testing"
)

// Whoever passes whole events on has an error event behind whole events only,
// wherever the stream breaks off and however it comes.
func TestPendingAndBreakOff(t *testing.T) {
	const (
		sse   = ": hi\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\n: keep-alive\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\r\n\r\n"
		lines = "{\"message\":{\"content\":\"a\"}}\n{\"message\":{\"content\":\"b\"}}\n"
	)
	frames := string(appendFrame(appendFrame(nil, []byte(`{"delta":{"text":"a"}}`), ":event-type", "contentBlockDelta", ":message-type", "event"),
		[]byte(`{"delta":{"text":"b"}}`), ":event-type", "contentBlockDelta", ":message-type", "event"))
	for _, tt := range []struct {
		format Format
		media  string
		body   string
	}{{OpenAIChat, sseMedia, sse}, {Ollama, ndjsonMedia, lines}, {Bedrock, frameMedia, frames}} {
		for at := range len(tt.body) + 1 {
			for _, piece := range []int{1, 5, 1 << 20} {
				var m Meter
				m.Start(Route{Format: tt.format, Inference: true}, tt.media, true)
				pending := 0
				for p := range slices.Chunk([]byte(tt.body[:at]), piece) {
					m.Observe(p)
					pending = m.Pending(p)
				}
				passed := at - pending
				whole := tt.body[:passed]
				m.End()
				more := m.BreakOff(tt.format, 502, "snubber_unreachable", "x")
				if at > 0 && more == nil {
					t.Fatalf("%s at %d: no event", tt.media, at)
				}
				if at == 0 {
					continue
				}
				if pending > 0 && more[0] == '\n' {
					t.Fatalf("%s at %d: %q seals what was dropped", tt.media, at, more)
				}
				got := observe(Route{Format: tt.format}, tt.media, true, []byte(whole+string(more)), 1<<20)
				if got.phase != Failed || !strings.Contains(got.failure, "snubber_unreachable") {
					t.Fatalf("%s at %d in pieces of %d: %q: phase %d, failure %q", tt.media, at, piece, whole+string(more), got.phase, got.failure)
				}
				if i := strings.Index(tt.body, `"b"`); pending > 0 && at < i && strings.Contains(whole, `"b"`) {
					t.Fatalf("%q is passed", whole)
				}
				m.Free()
			}
		}
	}
	// An event that is too long to be held passes as it comes.
	var m Meter
	m.Start(Route{Format: OpenAIChat, Inference: true}, sseMedia, true)
	long := []byte("data: {\"choices\":[{\"delta\":{\"content\":\"" + strings.Repeat("x", maxHeld))
	m.Observe(long)
	if n := m.Pending(long); n != 0 {
		t.Errorf("%d bytes pending of an event that is too long, want 0", n)
	}
	if b := m.BreakOff(OpenAIChat, 502, "c", "x"); !strings.HasPrefix(string(b), "\n\n") {
		t.Errorf("%q does not seal it", b)
	}
}
