package snubber_test

import (
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

// The caller gets the last response unchanged when the attempts run out. The
// earlier bodies are closed before a wait begins.
func TestErrorBodyOfLastResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("x", 200<<10)
		base := wiretest.Play(
			wiretest.Step{Status: 500, Body: "one"},
			wiretest.Step{Status: 502, Body: long},
			wiretest.Step{Status: 503, Body: "three"},
			wiretest.Step{Status: 500, Body: "four"},
			wiretest.Step{Status: 504, Body: long, Header: wiretest.Header("X-Request-Id", "r4", "Content-Type", "text/plain")})
		start := time.Now()
		res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		ts := base.Attempts()
		if len(ts) != 5 {
			t.Fatalf("%d attempts, want 5", len(ts))
		}
		for i, tr := range ts[:4] {
			if !tr.Closed.Equal(tr.At) {
				t.Errorf("body %d closed at %v, want %v", i, tr.Closed.Sub(start), tr.At.Sub(start))
			}
		}
		if !ts[4].Closed.IsZero() {
			t.Error("the last body was closed before its reader did")
		}
		if res.StatusCode != 504 || res.Header.Get("X-Request-Id") != "r4" || res.ContentLength != int64(len(long)) {
			t.Errorf("got %d %v length %d", res.StatusCode, res.Header, res.ContentLength)
		}
		if len(res.Header) != 2 {
			t.Errorf("header %v, want as it came", res.Header)
		}
		if body := wiretest.ReadAll(t, res); body != long {
			t.Errorf("%d bytes of the body, want %d", len(body), len(long))
		}
		if ts := base.Attempts(); ts[4].Closed.IsZero() {
			t.Error("the last body was never closed")
		}
	})
}

// The caller gets the response of the last attempt when anything refuses the
// next attempt.
func TestErrorBodyReturnedOnRefusal(t *testing.T) {
	const long = 200 << 10
	for _, tt := range []struct {
		name     string
		tr       *snubber.Transport
		deadline time.Duration
		status   int
		attempts int
	}{
		{"the circuit opened and the deadline is near", &snubber.Transport{Retry: &snubber.Retry{}, Breaker: &snubber.Breaker{Failures: 1}}, 3 * time.Second, 500, 1},
		{"the circuit opened for longer than MaxWait", &snubber.Transport{Retry: &snubber.Retry{MaxWait: time.Second}, Breaker: &snubber.Breaker{Failures: 1}}, 0, 500, 1},
		{"the queue refuses", &snubber.Transport{Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{RequestsPerMinute: 1, MaxWait: time.Second}}, 0, 500, 1},
		{"the queue does not fit the deadline", &snubber.Transport{Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{RequestsPerMinute: 1}}, 10 * time.Second, 500, 1},
		{"the gate is longer than MaxWait", &snubber.Transport{Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{}}, 0, 429, 1},
		{"the budget is empty", &snubber.Transport{Retry: &snubber.Retry{Budget: &snubber.Budget{Capacity: 0.5}}}, 0, 500, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := "{" + strings.Repeat(" ", long) + "}"
				header := wiretest.Header("X-Request-Id", "r1", "Content-Length", "204802")
				if tt.status == 429 {
					header.Set("Retry-After", "300")
				}
				base := wiretest.Play(wiretest.Step{Status: tt.status, Body: body, Header: header}, wiretest.Step{})
				tt.tr.Base = base
				ctx := context.Background()
				if tt.deadline > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				res, err := tt.tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				if res.StatusCode != tt.status || res.Header.Get("X-Request-Id") != "r1" {
					t.Errorf("got %d %v, want the first response", res.StatusCode, res.Header)
				}
				got := wiretest.ReadAll(t, res)
				if !strings.HasPrefix(body, got) || len(got) < 64<<10 {
					t.Errorf("%d bytes that are not the body's beginning", len(got))
				}
				if res.ContentLength != int64(len(got)) {
					t.Errorf("ContentLength = %d, body has %d", res.ContentLength, len(got))
				}
				if n := base.Sent(); n != tt.attempts {
					t.Errorf("%d attempts, want %d", n, tt.attempts)
				}
				if err := ctx.Err(); err != nil {
					t.Errorf("it waited for the deadline: %v", err)
				}
			})
		})
	}
}

// An error body delays the next attempt by at most a second, and at most 64 KiB
// of it are read, whatever the server sends.
func TestErrorBodyOfHostileServer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stream func() io.ReadCloser
		within time.Duration
	}{
		{"endless", func() io.ReadCloser { return io.NopCloser(wiretest.Endless{}) }, 0},
		{"trickling", func() io.ReadCloser { return wiretest.Trickle(-1, 100*time.Millisecond) }, time.Second},
		{"hanging", func() io.ReadCloser { return wiretest.Trickle(1, 24*time.Hour) }, time.Second},
		{"slow but short", func() io.ReadCloser { return wiretest.Trickle(3, 100*time.Millisecond) }, 300 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(wiretest.Step{Status: 503, Stream: tt.stream()}, wiretest.Step{Status: 200, Body: "ok"})
				rt := &snubber.Retry{MinBackoff: -1}
				res, err := (&snubber.Transport{Base: base, Retry: rt}).RoundTrip(wiretest.Chat(t))
				if err != nil {
					t.Fatal(err)
				}
				if body := wiretest.ReadAll(t, res); body != "ok" {
					t.Errorf("body %q", body)
				}
				ts := base.Attempts()
				if d := ts[1].At.Sub(ts[0].At); d != tt.within {
					t.Errorf("the next attempt came after %v, want %v", d, tt.within)
				}
				if ts[0].Closed.IsZero() || ts[0].Closed.After(ts[1].At) {
					t.Errorf("closed at %v, want before %v", ts[0].Closed, ts[1].At)
				}
			})
		})
	}
	// The caller gets the whole body, at the server's own speed.
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 400, Stream: wiretest.Trickle(50, 100*time.Millisecond)})
		start := time.Now()
		res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("the response came after %v, want 1s", d)
		}
		if body := wiretest.ReadAll(t, res); body != strings.Repeat("x", 50) {
			t.Errorf("body %q, want 50 bytes", body)
		}
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("the body ended after %v, want 5s", d)
		}
	})
	// A body that is shorter than its Content-Length gives its error to the
	// reader, too.
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 400, Stream: io.NopCloser(io.MultiReader(strings.NewReader("half"), brokenReader{io.ErrUnexpectedEOF}))})
		res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if string(b) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("body %q, %v, want half and the error", b, err)
		}
	})
}

// panicsLate is a body whose Read panics after a while.
type panicsLate struct{}

func (panicsLate) Read([]byte) (int, error) { time.Sleep(2 * time.Second); panic("base") }
func (panicsLate) Close() error             { return nil }

// A panic of Base while an error body is prefetched reaches the reader of the
// body, which may recover it.
func TestErrorBodyPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Limiter: &snubber.Limiter{MaxConcurrent: 1}, Base: wiretest.Play(wiretest.Step{Status: 400, Stream: panicsLate{}})}
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if p := recover(); p != "base" {
					t.Errorf("recovered %v", p)
				}
			}()
			res.Body.Read(make([]byte, 1))
			t.Error("no panic")
		}()
		res.Body.Close()
		if n := inFlight(t, tr.Limiter); n != 0 {
			t.Errorf("%d in flight, want 0", n)
		}
	})
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// The caller gets the part of an error body that arrived, and then the error
// that ended it.
func TestErrorBodyThatBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := io.NopCloser(io.MultiReader(strings.NewReader("half"), brokenReader{io.ErrUnexpectedEOF}))
		base := wiretest.Play(wiretest.Step{Status: 500, Stream: stream, Header: wiretest.Header("Content-Length", "1000")}, wiretest.Step{})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{RequestsPerMinute: 1, MaxWait: time.Second}}
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if string(b) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("body %q, %v, want half and the error", b, err)
		}
		if got := res.Header.Get("Content-Length"); got != "1000" || base.Sent() != 1 {
			t.Errorf("Content-Length %q after %d attempts, want the server's", got, base.Sent())
		}
		if _, err := res.Body.Read(make([]byte, 1)); err != http.ErrBodyReadAfterClose {
			t.Errorf("Read after Close = %v", err)
		}
	})
}
