package snubber_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// Over real connections of each protocol, an overload before the first content
// is retried unseen. Each event arrives before the next one is sent, and a
// truncated stream is an error.
func TestStreamOverSockets(t *testing.T) {
	for _, tt := range []struct {
		name         string
		http2, zip   bool
		trailer, cut bool
	}{
		{name: "chunked"}, {name: "chunked, cut", cut: true},
		{name: "trailer", trailer: true}, {name: "trailer, cut", trailer: true, cut: true},
		{name: "gzip", zip: true}, {name: "gzip, cut", zip: true, cut: true},
		{name: "http2", http2: true}, {name: "http2, cut", http2: true, cut: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events := []string{wiretest.MessageStart, wiretest.TextDelta, wiretest.PingEvent, wiretest.TextDelta, wiretest.MessageStop}
			read := make(chan struct{}) // the client acknowledged an event
			wires := 0
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				wires++
				w.Header().Set("Content-Type", "text/event-stream")
				var out io.Writer = w
				flush := func() { http.NewResponseController(w).Flush() }
				if tt.zip && r.Header.Get("Accept-Encoding") == "gzip" {
					w.Header().Set("Content-Encoding", "gzip")
					z := gzip.NewWriter(w)
					defer z.Close()
					out, flush = z, func() { z.Flush(); http.NewResponseController(w).Flush() }
				}
				if tt.trailer {
					w.Header().Set("Trailer", "X-End")
					defer w.Header().Set("X-End", "reached")
				}
				if wires == 1 {
					io.WriteString(out, wiretest.MessageStart+wiretest.OverloadedEvent)
					return
				}
				for i, event := range events {
					if i >= 2 {
						<-read
					}
					if tt.cut && i == 4 {
						return
					}
					io.WriteString(out, event)
					flush()
				}
			}))
			srv.EnableHTTP2 = tt.http2
			if tt.http2 {
				srv.StartTLS()
			} else {
				srv.Start()
			}
			defer srv.Close()
			tr := snubber.New(srv.Client().Transport)
			tr.Retry.MinBackoff = -1
			tr.Limiter.MaxConcurrent = 1
			res, err := (&http.Client{Transport: tr}).Do(wiretest.NewRequest(t, "POST", srv.URL+"/v1/messages", wiretest.StreamBody))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.Uncompressed != tt.zip || (res.ProtoMajor == 2) != tt.http2 {
				t.Fatalf("HTTP/%d, uncompressed %v", res.ProtoMajor, res.Uncompressed)
			}
			for i, want := range append([]string{events[0] + events[1]}, events[2:4]...) {
				if i > 0 {
					read <- struct{}{}
				}
				got := make([]byte, len(want))
				if _, err := io.ReadFull(res.Body, got); string(got) != want {
					t.Fatalf("event %d: %q, %v, want %q", i, got, err, want)
				}
			}
			read <- struct{}{}
			rest, err := io.ReadAll(res.Body)
			switch {
			case tt.cut && (!errors.Is(err, io.ErrUnexpectedEOF) || len(rest) > 0):
				t.Errorf("a cut ends in %q, %v, want io.ErrUnexpectedEOF", rest, err)
			case !tt.cut && (err != nil || string(rest) != wiretest.MessageStop):
				t.Errorf("the rest is %q, %v, want %q", rest, err, wiretest.MessageStop)
			}
			if got := res.Trailer.Get("X-End"); tt.trailer && got != "reached" {
				t.Errorf("trailer %q", got)
			}
			if wires != 2 {
				t.Errorf("%d wire calls, want 2", wires)
			}
			if n := inFlight(t, tr.Limiter); n != 0 {
				t.Errorf("%d in flight, want 0", n)
			}
		})
	}
}

// readCounter is a body that returns one piece for each Read, and counts the
// Reads.
type readCounter struct {
	pieces []string
	reads  int
}

func (c *readCounter) Read(p []byte) (int, error) {
	if c.reads++; c.reads > len(c.pieces) {
		return 0, io.EOF
	}
	return copy(p, c.pieces[c.reads-1]), nil
}

// Base's body is read ahead up to the first content. After that each Read of
// the caller makes one Read of Base's body.
func TestStreamExtraReads(t *testing.T) {
	body := &readCounter{pieces: []string{wiretest.RoleEvent, ": wait\n\n", wiretest.DeltaEvent}}
	for range 100 {
		body.pieces = append(body.pieces, wiretest.DeltaEvent)
	}
	body.pieces = append(body.pieces, wiretest.DoneEvent)
	tr := snubber.New(wiretest.Func(func(*http.Request) (*http.Response, error) {
		return wiretest.Response(200, body, "Content-Type", "text/event-stream"), nil
	}))
	res, err := tr.RoundTrip(wiretest.ChatStream(t))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body.reads != 3 {
		t.Errorf("%d Reads to the first content, want 3", body.reads)
	}
	for i, want := range body.pieces {
		if got := wiretest.ReadOnce(t, res.Body); got != want {
			t.Fatalf("Read %d: %q, want %q", i, got, want)
		}
		if body.reads != max(i+1, 3) {
			t.Fatalf("%d Reads of the base for %d of the caller", body.reads, i+1)
		}
	}
}

// A caller that gets a response gets the server's bytes and nothing else. That
// holds whatever the server sends, in whatever chunks and under whatever media
// type.
func FuzzStreamPasses(f *testing.F) {
	kinds := []string{"text/event-stream", "application/json", "application/x-ndjson", "application/vnd.amazon.eventstream", "text/plain", "audio/mpeg", ""}
	paths := []string{"/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1beta/models/m:streamGenerateContent", "/v2/chat", "/api/chat", "/model/m/converse-stream"}
	for _, r := range wiretest.Streams(f, "internal/dialect/testdata") {
		f.Add(r.Body, uint8(0), uint8(0), uint8(7))
	}
	f.Fuzz(func(t *testing.T, body []byte, kind, path, size uint8) {
		tr := &snubber.Transport{StreamErrors: snubber.StreamErrorsNever, Timeout: &snubber.Timeout{}, Limiter: &snubber.Limiter{MaxConcurrent: 1}, Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
			return wiretest.Response(200, &wiretest.ChoppedBody{Rest: body, Size: int(size) + 1, Err: io.EOF}, "Content-Type", kinds[int(kind)%len(kinds)]), nil
		})}
		res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", "https://api.example.com"+paths[int(path)%len(paths)], wiretest.StreamBody))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if !bytes.Equal(got, body) {
			t.Errorf("%q became %q (%v)", body, got, err)
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("error %v", err)
		}
		if n := inFlight(t, tr.Limiter); n != 0 {
			t.Errorf("%d in flight", n)
		}
		if strings.HasPrefix(string(body), "data: [DONE]\n\n") && kind%7 == 0 && err != nil {
			t.Errorf("whole, and %v", err)
		}
	})
}
