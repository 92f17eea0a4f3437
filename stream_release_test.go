package snubber_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/neterr"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// The terminal event of a stream gives the permit back before EOF or Close. The
// bytes after it pass as before.
func TestStreamReleaseAtTerminalEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const after = ": bye\n\n"
		tr := &snubber.Transport{
			Base:    wiretest.SSE(wiretest.Chunk{Text: wiretest.DeltaEvent}, wiretest.Chunk{At: time.Second, Text: wiretest.DoneEvent}, wiretest.Chunk{At: time.Minute, Text: after}),
			Breaker: &snubber.Breaker{},
			Limiter: &snubber.Limiter{MaxConcurrent: 1},
		}
		res, err := tr.RoundTrip(wiretest.ChatStream(t))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		wiretest.ReadOnce(t, res.Body)
		if n := inFlight(t, tr.Limiter); n != 1 {
			t.Fatalf("%d in flight in the middle of the stream, want 1", n)
		}
		wiretest.ReadOnce(t, res.Body)
		if n := inFlight(t, tr.Limiter); n != 0 {
			t.Errorf("%d in flight after the terminal event, want 0", n)
		}
		if c := circuitOf(t, tr.Breaker); c.Requests != 1 {
			t.Errorf("%d outcomes after the terminal event, want 1", c.Requests)
		}
		start := time.Now()
		next, err := tr.RoundTrip(wiretest.ChatStream(t))
		if err != nil || time.Since(start) != 0 {
			t.Fatalf("the next call: %v after %v, want at once", err, time.Since(start))
		}
		next.Body.Close()
		if got := wiretest.ReadAll(t, res); got != after {
			t.Errorf("after the terminal event: %q, want %q", got, after)
		}
		if n := inFlight(t, tr.Limiter); n != 0 {
			t.Errorf("%d in flight at the end, want 0: each permit is given back once", n)
		}
	})
}

// Every end of a body gives the permit back at that moment: EOF, an error,
// Close, and the end of the caller's context.
func TestStreamReleaseAtEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  wiretest.Chunk
		do   func(res *http.Response, cancel func())
	}{
		{"EOF", wiretest.Chunk{At: time.Second, Err: io.EOF}, func(res *http.Response, _ func()) { io.Copy(io.Discard, res.Body) }},
		{"error", wiretest.Chunk{At: time.Second, Err: neterr.Reset}, func(res *http.Response, _ func()) { io.Copy(io.Discard, res.Body) }},
		{"Close", wiretest.Chunk{At: -1}, func(res *http.Response, _ func()) { time.Sleep(time.Second); res.Body.Close() }},
		{"context", wiretest.Chunk{At: -1}, func(_ *http.Response, cancel func()) { time.Sleep(time.Second); cancel(); synctest.Wait() }},
		{"context in a Read", wiretest.Chunk{At: -1}, func(res *http.Response, cancel func()) {
			time.AfterFunc(time.Second, cancel)
			io.Copy(io.Discard, res.Body)
		}},
		{"Close in a Read", wiretest.Chunk{At: -1}, func(res *http.Response, _ func()) {
			time.AfterFunc(time.Second, func() { res.Body.Close() })
			io.Copy(io.Discard, res.Body)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := wiretest.NewBody(wiretest.Chunk{Text: "{"}, tt.end)
				tr := &snubber.Transport{Limiter: &snubber.Limiter{MaxConcurrent: 1}, Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
					return wiretest.Response(200, body), nil
				})}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				start := time.Now()
				res, err := tr.RoundTrip(wiretest.NewRequest(t, "GET", "https://api.example.com/x", "").WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				wiretest.ReadOnce(t, res.Body)
				if n := inFlight(t, tr.Limiter); n != 1 {
					t.Fatalf("%d in flight, want 1", n)
				}
				tt.do(res, cancel)
				if n := inFlight(t, tr.Limiter); n != 0 || time.Since(start) != time.Second {
					t.Errorf("%d in flight after %v, want 0 after 1s", n, time.Since(start))
				}
				res.Body.Close()
				if n := inFlight(t, tr.Limiter); n != 0 {
					t.Errorf("%d in flight after Close, want 0", n)
				}
				if body.Closes() == 0 {
					t.Error("the base's body is not closed")
				}
			})
		})
	}
}

// A body that nobody reads gives its permit back after the idle time, and can
// still be read. Without an idle time it is two minutes. The time runs from the
// last Read, and not during a Read.
func TestStreamReleaseUnread(t *testing.T) {
	for _, tt := range []struct {
		name    string
		timeout *snubber.Timeout
		want    time.Duration
	}{
		{"no Timeout", nil, 2 * time.Minute},
		{"default", &snubber.Timeout{}, 2 * time.Minute},
		{"10 s", &snubber.Timeout{Idle: 10 * time.Second}, 10 * time.Second},
		{"no Idle", &snubber.Timeout{Idle: -1}, 2 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{
					Base:    wiretest.SSE(wiretest.Chunk{Text: wiretest.DeltaEvent}, wiretest.Chunk{At: tt.want * 5 / 2, Text: wiretest.DeltaEvent}, wiretest.Chunk{At: tt.want * 5 / 2, Text: wiretest.DoneEvent}),
					Timeout: tt.timeout, Limiter: &snubber.Limiter{MaxConcurrent: 1}, Breaker: &snubber.Breaker{},
				}
				res, err := tr.RoundTrip(wiretest.ChatStream(t))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(tt.want - 1)
				got := wiretest.ReadOnce(t, res.Body) // the Read begins the idle time anew
				time.Sleep(tt.want - 1)
				if n := inFlight(t, tr.Limiter); n != 1 {
					t.Fatalf("%d in flight, want 1", n)
				}
				got += wiretest.ReadOnce(t, res.Body) // the Read waits past the end of the idle time
				time.Sleep(tt.want - 1)
				if n := inFlight(t, tr.Limiter); n != 1 {
					t.Fatalf("%d in flight just before the idle time, want 1", n)
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if n := inFlight(t, tr.Limiter); n != 0 {
					t.Fatalf("%d in flight after the idle time, want 0", n)
				}
				time.Sleep(time.Hour)
				if got += wiretest.ReadAll(t, res); got != wiretest.DeltaEvent+wiretest.DeltaEvent+wiretest.DoneEvent {
					t.Errorf("read %q, want all of it", got)
				}
				if c := circuitOf(t, tr.Breaker); c.Requests != 1 || c.Failures != 0 {
					t.Errorf("%d outcomes, %d failures, want a success", c.Requests, c.Failures)
				}
				if n := inFlight(t, tr.Limiter); n != 0 {
					t.Errorf("%d in flight at the end, want 0", n)
				}
			})
		})
	}
	t.Run("a Read that waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Base: wiretest.SSE(wiretest.Chunk{At: time.Hour, Text: wiretest.DoneEvent}), Limiter: &snubber.Limiter{MaxConcurrent: 1}}
			res, err := tr.RoundTrip(wiretest.ChatStream(t))
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Hour-1, func() {
				if n := inFlight(t, tr.Limiter); n != 1 {
					t.Errorf("%d in flight while a Read waits, want 1", n)
				}
			})
			wiretest.ReadAll(t, res)
		})
	})
}
