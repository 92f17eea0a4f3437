package snubber_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// ending matches an event after which nothing has to follow: the end of a
// stream, or an error. It is written from the providers' documentation, and not
// from the tested code.
var ending = regexp.MustCompile(`^\[DONE\]$|"finish_reason":"|"finishReason":"|"type":"(message_stop|message-end|error|response\.(completed|failed))"|"done":\s*true|"base_resp"|"error":\s*[{"]|"object":"error"`)

// streamEnded reports whether a reader of this part of the stream knows that
// the stream is over.
func streamEnded(r wiretest.Stream, body []byte) bool {
	if bytes.Contains([]byte(r.Header.Get("Content-Type")), []byte("amazon")) {
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
	if bytes.Contains(body, []byte("event: message_stop\ndata")) {
		return true // the data after the name of the last event does not matter
	}
	for line := range bytes.Lines(body) {
		data := bytes.TrimSpace(bytes.TrimPrefix(line, []byte("data:")))
		if ending.Match(data) && (json.Valid(data) || string(data) == "[DONE]") {
			return true
		}
	}
	return false
}

// A stream that is cut at any byte and arrives in chunks of any size is never
// silently short. The caller gets exactly the bytes that came and an error, or
// another complete response. Nothing of it is cached or leaked.
func TestStreamTruncatedAnywhere(t *testing.T) {
	t.Parallel() // every case runs in a bubble
	const good = wiretest.DeltaEvent + wiretest.DoneEvent
	sizes := []int{1, 2, 3, 7, 64} // of the chunks, in turn; and all in one
	for _, r := range wiretest.Streams(t, "internal/dialect/testdata") {
		t.Run(r.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				retried, ends := 0, 0
				for n := range len(r.Body) + 1 {
					ended := streamEnded(r, r.Body[:n])
					// try makes a call. Its first attempt gets the first n
					// bytes, the next one another response.
					try := func(size int, end error, retry *snubber.Retry) (again func() bool) {
						where := fmt.Sprintf("cut at %d of %d, in pieces of %d, %v", n, len(r.Body), size, end)
						sent := 0
						tr := &snubber.Transport{
							Cache: &snubber.Cache{PromptTTL: time.Hour}, Limiter: &snubber.Limiter{MaxConcurrent: 1}, Timeout: &snubber.Timeout{}, Retry: retry, StreamErrors: snubber.StreamErrorsNever,
							Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
								if sent++; sent == 1 {
									return &http.Response{StatusCode: 200, Header: r.Header.Clone(), Body: &wiretest.ChoppedBody{Rest: r.Body[:n], Size: size, Err: end}, ContentLength: -1}, nil
								}
								return wiretest.Response(200, strings.NewReader(good), "Content-Type", "text/event-stream"), nil
							}),
						}
						var got []byte
						res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", r.URL, wiretest.StreamBody))
						if err == nil {
							got, err = io.ReadAll(res.Body)
							res.Body.Close()
							if sent == 1 && !bytes.Equal(got, r.Body[:n]) {
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
						case n == len(r.Body) && ended && end == io.EOF:
							t.Fatalf("%s: %v", where, err)
						}
						if in := inFlight(t, tr.Limiter); in != 0 {
							t.Fatalf("%s: %d in flight", where, in)
						}
						return func() bool {
							sent = 1
							wiretest.Fetch(tr, wiretest.NewRequest(t, "POST", r.URL, wiretest.StreamBody))
							return sent == 2 || err == nil
						}
					}
					retry := &snubber.Retry{MinBackoff: -1}
					try(1<<20, io.EOF, retry)
					switch size := sizes[n/4%len(sizes)]; {
					case n%4 == 0, n == len(r.Body):
						if again := try(size, io.EOF, nil); !again() {
							t.Fatalf("cut at %d: cached", n)
						}
					case n%4 == 1:
						try(size, io.ErrUnexpectedEOF, retry)
					case n%4 == 2:
						try(size, io.EOF, retry)
					}
				}
				if retried == 0 || ends == 0 && streamEnded(r, r.Body) {
					t.Errorf("%d repeated, %d ended", retried, ends)
				}
			})
		})
	}
}
