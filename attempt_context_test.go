package snubber_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// The context of an attempt lives until the response's body ends, and no
// longer. A context derived from it ends at the same time.
func TestAttemptContextEndsWithBody(t *testing.T) {
	type name struct{}
	for how, end := range map[string]func(*http.Response, func()){
		"EOF":     func(res *http.Response, _ func()) { io.Copy(io.Discard, res.Body) },
		"Close":   func(res *http.Response, _ func()) { res.Body.Close() },
		"caller":  func(_ *http.Response, cancel func()) { cancel() },
		"timeout": func(*http.Response, func()) { time.Sleep(time.Hour) },
	} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ctx, child context.Context
				ended := make(chan struct{})
				tr := &snubber.Transport{Timeout: &snubber.Timeout{Attempt: time.Minute}, Base: wiretest.Func(func(req *http.Request) (*http.Response, error) {
					ctx = req.Context()
					var cancel context.CancelFunc
					child, cancel = context.WithCancel(ctx)
					context.AfterFunc(child, func() { cancel(); close(ended) })
					return wiretest.Response(200, wiretest.NewBody(wiretest.Chunk{Text: "abc"})), nil
				})}
				outer, cancel := context.WithDeadline(context.WithValue(t.Context(), name{}, "v"), time.Now().Add(time.Hour))
				defer cancel()
				res, err := tr.RoundTrip(wiretest.NewRequest(t, "GET", "https://api.example.com/x", "").WithContext(outer))
				if err != nil {
					t.Fatal(err)
				}
				want, _ := outer.Deadline()
				if d, ok := ctx.Deadline(); !ok || !d.Equal(want) || ctx.Value(name{}) != "v" {
					t.Errorf("Deadline = %v, %v, Value = %v, want the caller's", d, ok, ctx.Value(name{}))
				}
				synctest.Wait()
				if ctx.Err() != nil || child.Err() != nil {
					t.Fatalf("ended with the header: %v", ctx.Err())
				}
				start := time.Now()
				end(res, cancel)
				<-ended
				<-ctx.Done()
				if how != "timeout" && !time.Now().Equal(start) {
					t.Errorf("ended after %v, want at once", time.Since(start))
				}
				if ctx.Err() == nil || child.Err() == nil {
					t.Error("still alive")
				}
				res.Body.Close()
			})
		})
	}
	t.Run("no body", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var ctx context.Context
			tr := &snubber.Transport{Base: wiretest.Func(func(req *http.Request) (*http.Response, error) {
				ctx = req.Context()
				return wiretest.Response(204, http.NoBody), nil
			})}
			if _, err := tr.RoundTrip(wiretest.NewRequest(t, "GET", "https://api.example.com/x", "")); err != nil {
				t.Fatal(err)
			}
			<-ctx.Done()
		})
	})
}

// A call leaves nothing behind when its body has ended: no timer that fires, no
// verdict that changes, and no goroutine. A goroutine would keep the bubble
// from ending.
func TestTimeoutLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var events []snubber.Event
		body := wiretest.NewBody(wiretest.Chunk{Text: `{"choices":[]}`})
		tr := snubber.New(wiretest.Func(func(*http.Request) (*http.Response, error) { return wiretest.Response(200, body), nil }))
		tr.Observe = func(e snubber.Event) {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if status, err := wiretest.Fetch(tr, wiretest.Chat(t).WithContext(ctx)); status != 200 {
			t.Fatalf("RoundTrip = %d, %v, want 200", status, err)
		}
		closes := body.Closes()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n := body.Closes(); n != closes {
			t.Errorf("closed %d times more after the end", n-closes)
		}
		if len(events) != 1 || events[0].Kind != snubber.EventAttempt || events[0].Outcome.Class != snubber.Success {
			t.Errorf("events %+v, want one success", events)
		}
		if c := circuitOf(t, tr.Breaker); c.Failures != 0 {
			t.Errorf("%d failures", c.Failures)
		}
	})
}

// hooked is a context that counts its watchers.
type hooked struct {
	context.Context
	mu       sync.Mutex
	watchers int
}

// Value hides the standard library's context below. The context package would
// call that one directly.
func (h *hooked) Value(any) any { return nil }

func (h *hooked) AfterFunc(f func()) func() bool {
	h.mu.Lock()
	h.watchers++
	h.mu.Unlock()
	stop := context.AfterFunc(h.Context, f)
	return sync.OnceValue(func() bool {
		h.mu.Lock()
		h.watchers--
		h.mu.Unlock()
		return stop()
	})
}

// A caller's context that outlives its calls, as a server's or a program's
// does, keeps no reference to a call that has ended.
func TestAttemptContextForgetsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, cancel := context.WithCancel(t.Context())
		defer cancel()
		ctx := &hooked{Context: inner}
		tr := snubber.New(wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{Err: io.EOF}, wiretest.Step{Do: wiretest.Hang}, wiretest.Step{Body: "{}"}))
		tr.Timeout.Headers = time.Second
		res, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("RoundTrip = %v, %v, want 200", res, err)
		}
		if ctx.watchers != 1 {
			t.Errorf("watched %d times while the body is open, want once", ctx.watchers)
		}
		wiretest.ReadAll(t, res)
		if ctx.watchers != 0 {
			t.Errorf("watched %d times after the call, want no more", ctx.watchers)
		}
	})
}

// One Transport may serve several synctest bubbles in turn, and real time
// between them. A program keeps its Transport in a package variable, and many
// tests use it.
func TestTransportInManyBubbles(t *testing.T) {
	var answer wiretest.Func
	tr := &snubber.Transport{
		Base:    wiretest.Func(func(req *http.Request) (*http.Response, error) { return answer(req) }),
		Retry:   &snubber.Retry{},
		Breaker: &snubber.Breaker{Failures: 1, Probes: 1},
		Limiter: &snubber.Limiter{RequestsPerMinute: 60, MaxConcurrent: 2},
		Timeout: &snubber.Timeout{},
	}
	plain := func(host string) { // another host each time, because a call must not wait in real time
		answer = func(*http.Request) (*http.Response, error) {
			return wiretest.Response(200, strings.NewReader("{}")), nil
		}
		if status, err := wiretest.Fetch(tr, wiretest.NewRequest(t, "GET", "https://"+host+".example.com/x", "")); status != 200 {
			t.Errorf("outside: %d, %v, want 200", status, err)
		}
	}
	for i := range 3 {
		plain(fmt.Sprint("outside", i))
		synctest.Test(t, func(t *testing.T) {
			n := 0
			answer = func(req *http.Request) (*http.Response, error) {
				if n++; n == 1 {
					return wiretest.Response(503, http.NoBody), nil
				}
				return wiretest.Response(200, wiretest.NewBody(wiretest.Chunk{At: time.Second, Text: "{}"})), nil
			}
			if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 { // the call waits for the circuit
				t.Errorf("RoundTrip = %d, %v, want 200", status, err)
			}
			for range 2 {
				if status, err := wiretest.Fetch(tr, wiretest.NewRequest(t, "GET", "https://inside.example.com/x", "")); status != 200 { // the call waits in the queue
					t.Errorf("RoundTrip = %d, %v, want 200", status, err)
				}
			}
			answer = wiretest.Hang
			_, err := wiretest.Fetch(&snubber.Transport{Base: tr}, wiretest.Chat(t))
			attemptTimedOut(t, err, snubber.PhaseHeaders, 10*time.Minute)
			tr.Breaker.Reset(chatKey)
		})
	}
	plain("outside")
}
