package snubber_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// recorded is a streamed answer as a provider sent it.
type recorded struct {
	name, url string
	header    http.Header
	body      []byte
}

// streamPaths are where the formats are asked; all others are asked like OpenAI.
var streamPaths = map[string]string{
	"anthropic": "/v1/messages",
	"gemini":    "/v1beta/models/m:streamGenerateContent",
	"vertex":    "/v1/models/m:streamGenerateContent",
	"cohere":    "/v2/chat",
	"bedrock":   "/model/m/converse-stream",
	"ollama":    "/api/chat",
	"openai":    "/v1/chat/completions",
}

// streams are the recorded streams, and one of each kind of which none was
// recorded to its end.
func streams(t testing.TB) (list []recorded) {
	t.Helper()
	files, err := filepath.Glob("internal/dialect/testdata/*stream*.http")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if res.StatusCode != http.StatusOK {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(file), ".http")
		provider, _, _ := strings.Cut(name, "_")
		path := streamPaths[provider]
		switch {
		case strings.Contains(name, "responses"):
			path = "/v1/responses"
		case path == "":
			path = streamPaths["openai"]
		}
		list = append(list, recorded{name, "https://api.example.com" + path, http.Header{"Content-Type": res.Header["Content-Type"]}, body})
	}
	made := func(name, path, kind string, events ...string) {
		list = append(list, recorded{name, "https://api.example.com" + path, hdr("Content-Type", kind), []byte(strings.Join(events, ""))})
	}
	made("gemini", streamPaths["gemini"], "text/event-stream",
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":8}}\r\n\r\n",
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"lo\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":8,\"candidatesTokenCount\":3}}\r\n\r\n")
	made("responses", "/v1/responses", "text/event-stream",
		"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\n",
		"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hello\"}\n\n",
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":3}}}\n\n")
	made("finish reason alone", streamPaths["openai"], "text/event-stream", roleEvent, deltaEvent, finishedEvent)
	made("no content", streamPaths["openai"], "text/event-stream", roleEvent, finishedEvent, doneEvent)
	made("bedrock", streamPaths["bedrock"], "application/vnd.amazon.eventstream",
		frame("messageStart", `{"role":"assistant"}`), frame("contentBlockDelta", `{"delta":{"text":"Hello"}}`),
		frame("messageStop", `{"stopReason":"end_turn"}`), frame("metadata", `{"usage":{"inputTokens":9,"outputTokens":3}}`))
	return list
}

// frame is a message of an AWS event stream.
func frame(event, payload string) string {
	var head []byte
	for _, h := range [][2]string{{":event-type", event}, {":message-type", "event"}} {
		head = append(append(head, byte(len(h[0]))), h[0]...)
		head = binary.BigEndian.AppendUint16(append(head, 7), uint16(len(h[1])))
		head = append(head, h[1]...)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(16+len(head)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(head)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, head...), payload...)
	return string(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)))
}

// ending is what one of the events of a stream has that nothing has to follow: its
// end, or an error. It is written down from the providers' documentation, and not
// taken from the code that is tested.
var ending = regexp.MustCompile(`^\[DONE\]$|"finish_reason":"|"finishReason":"|"type":"(message_stop|message-end|error|response\.(completed|failed))"|"done":\s*true|"error":\s*[{"]|"object":"error"`)

// ended reports whether a reader of so much of a stream knows that it is over.
func (r recorded) ended(body []byte) bool {
	if bytes.Contains([]byte(r.header.Get("Content-Type")), []byte("amazon")) {
		ends := false
		for len(body) >= 4 {
			n := int(binary.BigEndian.Uint32(body))
			if n > len(body) {
				return false
			}
			ends = ends || bytes.Contains(body[:n], []byte("messageStop")) || bytes.Contains(body[:n], []byte(":exception-type"))
			body = body[n:]
		}
		return ends && len(body) == 0
	}
	for line := range bytes.Lines(body) {
		data := bytes.TrimSpace(bytes.TrimPrefix(line, []byte("data:")))
		if ending.Match(data) && (json.Valid(data) || string(data) == "[DONE]") {
			return true
		}
	}
	return false
}

// chopped is a body that comes in pieces of a size and ends in err.
type chopped struct {
	rest []byte
	size int
	err  error
}

func (b *chopped) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, b.err
	}
	n := copy(p[:min(len(p), b.size)], b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (*chopped) Close() error { return nil }

// A stream that is cut at any byte and arrives in chunks of any size is never
// silently short. The caller gets exactly the bytes that came and an error, or
// another complete response. Nothing of it is cached or leaked.
func TestStreamTruncatedAnywhere(t *testing.T) {
	t.Parallel() // all in bubbles, as the other long ones
	const good = deltaEvent + doneEvent
	sizes := []int{1, 2, 3, 7, 64} // of the pieces, in turn; and all in one
	for _, r := range streams(t) {
		t.Run(r.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				retried, ends := 0, 0
				for n := range len(r.body) + 1 {
					ended := r.ended(r.body[:n])
					// try makes a call that is answered with the first n bytes and, if it
					// comes again, with another answer.
					try := func(size int, end error, retry *snubber.Retry) (again func() bool) {
						where := fmt.Sprintf("cut at %d of %d, in pieces of %d, %v", n, len(r.body), size, end)
						sent := 0
						tr := &snubber.Transport{
							Cache: &snubber.Cache{PromptTTL: time.Hour}, Limiter: &snubber.Limiter{MaxConcurrent: 1}, Timeout: &snubber.Timeout{}, Retry: retry, StreamErrors: snubber.StreamErrorsNever,
							Base: wire(func(*http.Request) (*http.Response, error) {
								if sent++; sent == 1 {
									return &http.Response{StatusCode: 200, Header: r.header.Clone(), Body: &chopped{rest: r.body[:n], size: size, err: end}, ContentLength: -1}, nil
								}
								return reply(200, strings.NewReader(good), "Content-Type", "text/event-stream"), nil
							}),
						}
						var got []byte
						res, err := tr.RoundTrip(newReq(t, "POST", r.url, streamBody))
						if err == nil {
							got, err = io.ReadAll(res.Body)
							res.Body.Close()
							if sent == 1 && !bytes.Equal(got, r.body[:n]) {
								t.Fatalf("%s: %q, want what was sent", where, got)
							}
						}
						switch {
						case sent == 2:
							if string(got) != good || err != nil {
								t.Fatalf("%s: %q, %v, want the other answer", where, got, err)
							}
							retried++
						case err == nil && !ended:
							t.Fatalf("%s: %q, and no error", where, got)
						case err == nil:
							ends++
						case !errors.Is(err, io.ErrUnexpectedEOF):
							t.Fatalf("%s: error %v, want io.ErrUnexpectedEOF", where, err)
						case n == len(r.body) && ended && end == io.EOF:
							t.Fatalf("%s: %v", where, err)
						}
						if in := inFlight(t, tr.Limiter); in != 0 {
							t.Fatalf("%s: %d in flight", where, in)
						}
						return func() bool {
							sent = 1
							fetch(tr, newReq(t, "POST", r.url, streamBody))
							return sent == 2 || err == nil
						}
					}
					retry := &snubber.Retry{MinBackoff: -1}
					try(1<<20, io.EOF, retry)
					switch size := sizes[n/4%len(sizes)]; {
					case n%4 == 0, n == len(r.body):
						if again := try(size, io.EOF, nil); !again() {
							t.Fatalf("cut at %d: cached", n)
						}
					case n%4 == 1:
						try(size, io.ErrUnexpectedEOF, retry)
					case n%4 == 2:
						try(size, io.EOF, retry)
					}
				}
				if retried == 0 || ends == 0 && r.ended(r.body) {
					t.Errorf("%d repeated, %d ended", retried, ends)
				}
			})
		})
	}
}
