package snubber_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// half is a body that a test reads in part.
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
		step    wiretest.Step
		timeout *snubber.Timeout
		end     func(t *testing.T, body *half, cancel func()) // called after one second
		want    time.Duration                                 // when the second request is sent
	}{
		{"EOF", wiretest.Step{Body: "x"}, nil, func(t *testing.T, b *half, _ func()) { b.drain() }, second},
		{"Close", wiretest.Step{Body: "x"}, nil, func(t *testing.T, b *half, _ func()) { b.Close() }, second},
		{"no body", wiretest.Step{Do: func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 204, Header: http.Header{}, Body: http.NoBody}, nil
		}}, nil, nil, 0},
		{"error status read by us", wiretest.Step{Status: 500, Body: "x"}, nil, nil, 0},
		{"terminal event before EOF", wiretest.Step{Do: wiretest.SSE(wiretest.Chunk{Text: event}, wiretest.Chunk{At: second, Text: wiretest.DoneEvent}, wiretest.Chunk{At: -1})}, nil,
			func(t *testing.T, b *half, _ func()) { b.read(len(event + wiretest.DoneEvent)) }, second},
		{"terminal event in the opening", wiretest.Step{Do: wiretest.SSE(wiretest.Chunk{Text: event + wiretest.DoneEvent}, wiretest.Chunk{At: -1})}, nil, nil, 0},
		{"an event that is not terminal", wiretest.Step{Header: wiretest.Header("Content-Type", "text/event-stream"), Stream: wiretest.Stuck(event, nil)}, nil,
			func(t *testing.T, b *half, _ func()) { b.read(len(event)) }, second + 2*time.Minute},
		{"read error", wiretest.Step{Stream: wiretest.Stuck("x", errors.New("reset"))}, nil, func(t *testing.T, b *half, _ func()) { b.drain() }, second},
		{"end of the context", wiretest.Step{Stream: wiretest.Stuck("x", nil)}, nil, func(t *testing.T, b *half, cancel func()) { cancel() }, second},
		{"unread", wiretest.Step{Body: "x"}, nil, nil, 2 * time.Minute},
		{"unread beyond Idle", wiretest.Step{Body: "x"}, &snubber.Timeout{Idle: 30 * second}, nil, 30 * second},
		{"unread without Idle", wiretest.Step{Body: "x"}, &snubber.Timeout{Idle: -1}, nil, 2 * time.Minute},
		{"read a little", wiretest.Step{Body: "xyz"}, nil, func(t *testing.T, b *half, _ func()) { b.read(1) }, second + 2*time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(tt.step, wiretest.Step{})
				l := &snubber.Limiter{MaxConcurrent: 1}
				rt := &snubber.Transport{Base: base, Limiter: l, Timeout: tt.timeout}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				res, err := rt.RoundTrip(wiretest.Chat(t).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				c := wiretest.Launch(rt, wiretest.Chat(t))
				if tt.end != nil {
					if l.Queues()[0].InFlight != 1 {
						t.Fatal("nothing is held while the body is open")
					}
					time.Sleep(second)
					tt.end(t, &half{res.Body}, cancel)
				}
				if e := <-c; e.Err != nil || e.Took != tt.want {
					t.Errorf("the second went after %v (%v), want %v", e.Took, e.Err, tt.want)
				}
				if tt.name == "unread" {
					if s := wiretest.ReadAll(t, res); s != "x" {
						t.Errorf("the body reads %q afterwards, want x", s)
					}
				}
				res.Body.Close()
				idle(t, l)
			})
		})
	}
}
