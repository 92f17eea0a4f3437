package snubber_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// upload counts how often a request's body is closed.
type upload struct {
	io.Reader
	closed int
}

func (u *upload) Close() error { u.closed++; return nil }

// stuck is a body that brings a text and then an error, or without one hangs
// until it is closed.
func stuck(text string, err error) io.ReadCloser {
	return &hanging{text: strings.NewReader(text), err: err}
}

type hanging struct {
	text *strings.Reader
	err  error
	mu   sync.Mutex
	end  chan struct{} // made by who comes first, inside its bubble
	shut bool
}

func (h *hanging) wait() chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.end == nil {
		h.end = make(chan struct{})
	}
	return h.end
}

func (h *hanging) Read(p []byte) (int, error) {
	if n, err := h.text.Read(p); err == nil {
		return n, nil
	}
	if h.err != nil {
		return 0, h.err
	}
	<-h.wait()
	return 0, io.ErrClosedPipe
}

func (h *hanging) Close() error {
	end := h.wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.shut {
		h.shut = true
		close(end)
	}
	return nil
}

// half is a body that is read in part.
type half struct{ io.ReadCloser }

func (h *half) read(n int) { io.ReadFull(h, make([]byte, n)) }
func (h *half) drain()     { io.Copy(io.Discard, h) }

// A request holds its place until the response's body ends, whichever way that
// happens. The next request is sent in the same instant.
func TestLimiterMaxConcurrentUntilBodyEnd(t *testing.T) {
	const second = time.Second
	event := `data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}` + "\n\n"
	for _, tt := range []struct {
		name    string
		step    step
		timeout *snubber.Timeout
		end     func(t *testing.T, body *half, cancel func()) // after one second
		want    time.Duration                                 // when the second goes
	}{
		{"EOF", step{body: "x"}, nil, func(t *testing.T, b *half, _ func()) { b.drain() }, second},
		{"Close", step{body: "x"}, nil, func(t *testing.T, b *half, _ func()) { b.Close() }, second},
		{"no body", step{do: func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 204, Header: http.Header{}, Body: http.NoBody}, nil
		}}, nil, nil, 0},
		{"error status read by us", step{status: 500, body: "x"}, nil, nil, 0},
		{"terminal event before EOF", step{do: sse(chunk{text: event}, chunk{at: second, text: doneEvent}, chunk{at: -1})}, nil,
			func(t *testing.T, b *half, _ func()) { b.read(len(event + doneEvent)) }, second},
		{"terminal event in the opening", step{do: sse(chunk{text: event + doneEvent}, chunk{at: -1})}, nil, nil, 0},
		{"an event that is not terminal", step{header: hdr("Content-Type", "text/event-stream"), stream: stuck(event, nil)}, nil,
			func(t *testing.T, b *half, _ func()) { b.read(len(event)) }, second + 2*time.Minute},
		{"read error", step{stream: stuck("x", errors.New("reset"))}, nil, func(t *testing.T, b *half, _ func()) { b.drain() }, second},
		{"end of the context", step{stream: stuck("x", nil)}, nil, func(t *testing.T, b *half, cancel func()) { cancel() }, second},
		{"unread", step{body: "x"}, nil, nil, 2 * time.Minute},
		{"unread beyond Idle", step{body: "x"}, &snubber.Timeout{Idle: 30 * second}, nil, 30 * second},
		{"unread without Idle", step{body: "x"}, &snubber.Timeout{Idle: -1}, nil, 2 * time.Minute},
		{"read a little", step{body: "xyz"}, nil, func(t *testing.T, b *half, _ func()) { b.read(1) }, second + 2*time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := play(tt.step, step{})
				l := &snubber.Limiter{MaxConcurrent: 1}
				rt := &snubber.Transport{Base: base, Limiter: l, Timeout: tt.timeout}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				res, err := rt.RoundTrip(chat(t).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				c := launch(rt, chat(t))
				if tt.end != nil {
					if l.Queues()[0].InFlight != 1 {
						t.Fatal("nothing is held while the body is open")
					}
					time.Sleep(second)
					tt.end(t, &half{res.Body}, cancel)
				}
				if e := <-c; e.err != nil || e.took != tt.want {
					t.Errorf("the second went after %v (%v), want %v", e.took, e.err, tt.want)
				}
				if tt.name == "unread" {
					if s := slurp(t, res); s != "x" {
						t.Errorf("the body reads %q afterwards, want x", s)
					}
				}
				res.Body.Close()
				idle(t, l)
			})
		})
	}
}
