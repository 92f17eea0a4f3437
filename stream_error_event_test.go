package snubber_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// breakOffs lists streams that break off after content, and the beginning of
// their format's error event. An open line or event before it is ended.
var breakOffs = []struct {
	name, path, kind, body string
	event                  string
}{
	{"openai", wiretest.StreamPath("openai"), "text/event-stream", wiretest.DeltaEvent, "data: {\"error\":{"},
	{"openai, in a line", wiretest.StreamPath("openai"), "text/event-stream", wiretest.DeltaEvent + "data: {\"cho", "\n\ndata: {\"error\":{"},
	{"openai, in a field's name", wiretest.StreamPath("openai"), "text/event-stream", wiretest.DeltaEvent + "dat", "\n\ndata: {\"error\":{"},
	{"openai, after a line", wiretest.StreamPath("openai"), "text/event-stream", wiretest.DeltaEvent + "data: {}\n", "\ndata: {\"error\":{"},
	{"responses", "/v1/responses", "text/event-stream", "event: response.created\ndata: {\"type\":\"response.created\"}\n\nevent: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n", "event: error\ndata: {\"error\":{"},
	{"anthropic", wiretest.StreamPath("anthropic"), "text/event-stream", wiretest.MessageStart + wiretest.TextDelta, "event: error\ndata: {\"error\":{"},
	{"anthropic, after a name", wiretest.StreamPath("anthropic"), "text/event-stream", wiretest.MessageStart + wiretest.TextDelta + "event: x\n", "\nevent: error\ndata: {\"error\":{"},
	{"gemini", wiretest.StreamPath("gemini"), "text/event-stream", "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]}}]}\r\n\r\n", "data: {\"error\":{"},
	{"gemini, between CR and LF", wiretest.StreamPath("gemini"), "text/event-stream", "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]}}]}\r\n\r\ndata: {}\r", "\n\r\ndata: {\"error\":{"},
	{"cohere", wiretest.StreamPath("cohere"), "text/event-stream", "event: message-start\ndata: {\"type\":\"message-start\"}\n\nevent: content-delta\ndata: {\"type\":\"content-delta\",\"delta\":{}}\n\n", "event: message-end\ndata: {\"delta\":{\"error\":"},
	{"ollama", wiretest.StreamPath("ollama"), "application/x-ndjson", "{\"message\":{\"content\":\"x\"},\"done\":false}\n", "{\"code\":\"snubber_"},
	{"ollama, in a line", wiretest.StreamPath("ollama"), "application/x-ndjson", "{\"message\":{\"content\":\"x\"},\"done\":false}\n{\"mess", "\n{\"code\":\"snubber_"},
	{"bedrock", wiretest.StreamPath("bedrock"), "application/vnd.amazon.eventstream", wiretest.AWSEvent("messageStart", `{}`) + wiretest.AWSEvent("contentBlockDelta", `{"delta":{"text":"x"}}`), "\x00"},
}

// With StreamErrors, a stream that breaks off ends in an error event of its own
// format and then in the error. That holds however it broke off and is read.
func TestStreamErrors(t *testing.T) {
	for _, tt := range breakOffs {
		for how, cause := range map[string]struct {
			end   wiretest.Chunk
			is    error
			class snubber.Class
		}{
			"end":     {wiretest.Chunk{Err: io.EOF}, io.ErrUnexpectedEOF, snubber.Unreachable},
			"error":   {wiretest.Chunk{Err: io.ErrClosedPipe}, io.ErrClosedPipe, snubber.Unreachable},
			"silence": {wiretest.Chunk{At: -1}, nil, snubber.TimedOut},
		} {
			for _, size := range []int{1, 7, 1 << 10} {
				t.Run(tt.name+"/"+how, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						tr := &snubber.Transport{
							StreamErrors: snubber.StreamErrorsAlways, Timeout: &snubber.Timeout{Idle: time.Minute}, Breaker: &snubber.Breaker{},
							Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
								return wiretest.Response(200, wiretest.NewBody(wiretest.Chunk{Text: tt.body}, cause.end), "Content-Type", tt.kind), nil
							}),
						}
						ctx, report := snubber.WithReport(t.Context())
						res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", "https://api.example.com"+tt.path, wiretest.StreamBody).WithContext(ctx))
						if err != nil {
							t.Fatal(err)
						}
						var got []byte
						p := make([]byte, size)
						for err == nil {
							var n int
							n, err = res.Body.Read(p)
							got = append(got, p[:n]...)
						}
						if cause.is != nil && !errors.Is(err, cause.is) {
							t.Errorf("error %v, want %v", err, cause.is)
						}
						if cause.is == nil {
							attemptTimedOut(t, err, snubber.PhaseIdle, time.Minute)
						}
						if n, again := res.Body.Read(p); n != 0 || again != err {
							t.Errorf("the next Read = %d, %v, want the same error", n, again)
						}
						said, ok := strings.CutPrefix(string(got), tt.body)
						if !ok || !strings.HasPrefix(said, tt.event) {
							t.Errorf("read %q, want %q and an event %q", got, tt.body, tt.event)
						}
						if report.Load().Outcome.Class != cause.class {
							t.Errorf("outcome %v, want %v", report.Load().Outcome.Class, cause.class)
						}
						res.Body.Close()
						understood(t, tt.path, tt.kind, got)
					})
				})
			}
		}
	}
}

// understood checks that a client finds the error, with the package's own
// reader.
func understood(t *testing.T, path, kind string, body []byte) {
	t.Helper()
	tr := &snubber.Transport{Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
		return wiretest.Response(200, bytes.NewReader(body), "Content-Type", kind), nil
	})}
	ctx, report := snubber.WithReport(t.Context())
	if _, err := wiretest.Fetch(tr, wiretest.NewRequest(t, "POST", "https://api.example.com"+path, wiretest.StreamBody).WithContext(ctx)); err != nil {
		t.Errorf("the event is not taken for one: %v", err)
	}
	if c := report.Load().Outcome.Class; c == snubber.Success || c == snubber.Unreachable {
		t.Errorf("the event has class %v", c)
	}
}

// By default only a format whose clients lose the error gets the event, and
// with StreamErrorsNever none does. A stream that ended by itself, or that the
// caller ended, never gets one.
func TestStreamErrorsDefault(t *testing.T) {
	for _, tt := range breakOffs {
		for _, value := range []snubber.StreamErrorMode{snubber.StreamErrorsAuto, snubber.StreamErrorsNever} {
			tr := &snubber.Transport{StreamErrors: value, Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
				return wiretest.Response(200, wiretest.NewBody(wiretest.Chunk{Text: tt.body}), "Content-Type", tt.kind), nil
			})}
			res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", "https://api.example.com"+tt.path, wiretest.StreamBody))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(res.Body)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: error %v", tt.name, err)
			}
			if want := value == 0 && tt.path == wiretest.StreamPath("ollama"); (len(got) > len(tt.body)) != want || !bytes.HasPrefix(got, []byte(tt.body)) {
				t.Errorf("%s, %d: read %q, want an event: %v", tt.name, value, got, want)
			}
		}
	}
	for _, body := range []string{wiretest.DeltaEvent + wiretest.DoneEvent, wiretest.DeltaEvent + wiretest.FinishedEvent, wiretest.DeltaEvent + "data: {\"error\":\"x\"}\n\n"} {
		tr := &snubber.Transport{StreamErrors: snubber.StreamErrorsAlways, Base: wiretest.SSE(wiretest.Chunk{Text: body})}
		res, err := tr.RoundTrip(wiretest.ChatStream(t))
		if err != nil {
			t.Fatal(err)
		}
		if got := wiretest.ReadAll(t, res); got != body {
			t.Errorf("read %q, want %q", got, body)
		}
	}
	for _, leave := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{StreamErrors: snubber.StreamErrorsAlways, Base: wiretest.SSE(wiretest.Chunk{Text: wiretest.DeltaEvent}, wiretest.Chunk{At: -1})}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			res, err := tr.RoundTrip(wiretest.ChatStream(t).WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Second, func() {
				if leave {
					cancel()
				} else {
					res.Body.Close()
				}
			})
			if got, err := io.ReadAll(res.Body); string(got) != wiretest.DeltaEvent || err == nil {
				t.Errorf("left %v: %q, %v", leave, got, err)
			}
		})
	}
}

// A stream that broke off before its content, or in one Read with it, also gets
// the event if it was kept for a retry that did not take place.
func TestStreamErrorsAfterRefusedRetry(t *testing.T) {
	const begun = "{\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":false}\n"
	for _, piece := range []wiretest.Chunk{{Text: begun}, {Text: strings.Replace(begun, "\"\"", "\"x\"", 1), Err: io.ErrUnexpectedEOF}} {
		synctest.Test(t, func(t *testing.T) { streamErrorsPutAside(t, piece) })
	}
}

func streamErrorsPutAside(t *testing.T, piece wiretest.Chunk) {
	tr := &snubber.Transport{
		Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{RequestsPerMinute: 1, MaxWait: time.Second},
		Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
			return wiretest.Response(200, wiretest.NewBody(piece), "Content-Type", "application/x-ndjson"), nil
		}),
	}
	res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", "https://api.example.com/api/chat", wiretest.StreamBody))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(res.Body)
	if said, ok := strings.CutPrefix(string(got), piece.Text); !ok || !strings.HasPrefix(said, "{\"code\"") || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %q, %v, want what came, an event and io.ErrUnexpectedEOF", got, err)
	}
	res.Body.Close()
}

// lateBody is a body that hangs after its bytes, and returns more when it is
// closed.
type lateBody struct {
	text, late string
	err        error
	gone       chan struct{}
}

func (b *lateBody) Read(p []byte) (n int, err error) {
	if b.text == "" {
		<-b.gone
		b.text, b.late, err = b.late, "", b.err
	}
	n, b.text = copy(p, b.text), ""
	return n, err
}

func (b *lateBody) Close() error {
	close(b.gone)
	return nil
}

// Bytes that a Read returns after the stream was given up neither precede nor
// replace the event, and are no clean end.
func TestStreamErrorsBeforeLateBytes(t *testing.T) {
	for _, end := range []error{nil, io.EOF, io.ErrClosedPipe} {
		for value, want := range map[snubber.StreamErrorMode]string{snubber.StreamErrorsAlways: wiretest.DeltaEvent + "data: {\"error\":{", snubber.StreamErrorsNever: wiretest.DeltaEvent + "data: {\"choices\":"} {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{
					StreamErrors: value, Timeout: &snubber.Timeout{Idle: time.Minute},
					Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
						return wiretest.Response(200, &lateBody{wiretest.DeltaEvent, "data: {\"choices\":", end, make(chan struct{})}, "Content-Type", "text/event-stream"), nil
					}),
				}
				res, err := tr.RoundTrip(wiretest.ChatStream(t))
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(res.Body)
				attemptTimedOut(t, err, snubber.PhaseIdle, time.Minute)
				if !strings.HasPrefix(string(got), want) {
					t.Errorf("late bytes and %v: read %q, want %q", end, got, want)
				}
			})
		}
	}
}

// Bytes that come in one Read with the error precede the event, which precedes
// the error.
func TestStreamErrorsAfterLastBytes(t *testing.T) {
	tr := &snubber.Transport{StreamErrors: snubber.StreamErrorsAlways, Base: wiretest.SSE(wiretest.Chunk{Text: wiretest.DeltaEvent}, wiretest.Chunk{Text: wiretest.RoleEvent, Err: io.ErrClosedPipe})}
	res, err := tr.RoundTrip(wiretest.ChatStream(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(res.Body)
	if !strings.HasPrefix(string(got), wiretest.DeltaEvent+wiretest.RoleEvent+"data: {\"error\":{") || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("read %q, %v", got, err)
	}
}
