package peers_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// State that outlives one attempt: circuits, permits, timers and contexts.
func TestPeersBreaker(t *testing.T) {
	for _, tt := range []struct {
		name string // the correct behaviour
		test func(t *testing.T)
	}{
		{"a response that comes after its timeout is closed", func(t *testing.T) {
			late := wiretest.Play(wiretest.Step{Do: func(*http.Request) (*http.Response, error) {
				time.Sleep(time.Minute) // ignores the context
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("x"))}, nil
			}})
			closed := &wiretest.OpenBodies{Base: late}
			rt := &snubber.Transport{Base: closed, Timeout: &snubber.Timeout{Headers: time.Second}}
			res, err := rt.RoundTrip(wiretest.Chat(t))
			var timeout *snubber.TimeoutError
			if res != nil || !errors.As(err, &timeout) || closed.Open.Load() != 0 {
				t.Errorf("%v, %v with %d bodies open, want a TimeoutError and none", res, err, closed.Open.Load())
			}
		}},
		{"finished calls under a long-lived context leave no goroutine", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			rt := snubber.New(wiretest.Play(wiretest.Step{Body: "x"}))
			before := runtime.NumGoroutine()
			for range 300 {
				res, err := rt.RoundTrip(wiretest.Chat(t).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				wiretest.ReadAll(t, res)
			}
			synctest.Wait()
			if n := runtime.NumGoroutine() - before; n > 100 {
				t.Errorf("%d goroutines more after 300 calls", n)
			}
		}},
		{"a panic gives back the probe's place and the permit", func(t *testing.T) {
			crash := func(*http.Request) (*http.Response, error) { panic("base") }
			l := &snubber.Limiter{MaxConcurrent: 1}
			b := &snubber.Breaker{Failures: 1, Probes: 1}
			rt := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{Do: crash}, wiretest.Step{}), Breaker: b, Limiter: l}
			wiretest.ReadAll(t, must(t, rt, wiretest.Chat(t)))
			time.Sleep(7 * time.Second)
			func() {
				defer func() {
					if recover() != "base" {
						t.Error("the panic did not come through")
					}
				}()
				rt.RoundTrip(wiretest.Chat(t))
			}()
			idle(t, l)
			if res := must(t, rt, wiretest.Chat(t)); res.StatusCode != 200 || wiretest.ReadAll(t, res) != "" || b.Circuits()[0].State != snubber.CircuitClosed {
				t.Errorf("after a probe that panicked: %d, %+v, want a probe that closes", res.StatusCode, b.Circuits()[0])
			}
		}},
		{"a success that began before the trip does not close", func(t *testing.T) {
			b := &snubber.Breaker{Failures: 1, Probes: 1, OpenFor: time.Second}
			rt := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Delay: 10 * time.Second}, wiretest.Step{Status: 500}, wiretest.Step{Delay: time.Hour}), Breaker: b}
			old := wiretest.Launch(rt, wiretest.Chat(t))
			<-wiretest.Launch(rt, wiretest.Chat(t))
			time.Sleep(2 * time.Second)
			ctx, cancel := context.WithCancel(t.Context())
			probe := wiretest.Launch(rt, wiretest.Chat(t).WithContext(ctx)) // half-open from here on
			if e := <-old; e.Status != 200 {
				t.Fatalf("%+v", e)
			}
			if s := b.Circuits()[0].State; s != snubber.CircuitHalfOpen {
				t.Errorf("the circuit is %v, want half-open", s)
			}
			cancel()
			<-probe
		}},
		{"timeouts reach into the body, also into one that is deaf to them", func(t *testing.T) {
			for phase, limits := range map[snubber.TimeoutPhase]*snubber.Timeout{
				snubber.PhaseIdle:    {Idle: time.Second},
				snubber.PhaseAttempt: {Attempt: time.Second},
			} {
				for _, body := range []io.ReadCloser{wiretest.Stuck("x", nil), &wiretest.SlowBody{ReadCloser: wiretest.Stuck("", io.EOF), Gap: 3 * time.Second}} {
					st := wiretest.Step{Header: wiretest.Header("Content-Type", "text/event-stream"), Stream: body}
					b, err := io.ReadAll(must(t, &snubber.Transport{Base: wiretest.Play(st), Timeout: limits}, wiretest.NewRequest(t, "GET", "https://api.example.com/x", "")).Body)
					var timeout *snubber.TimeoutError
					if !errors.As(err, &timeout) || timeout.Phase != phase {
						t.Errorf("%T: %q, %v, want a timeout of %s", body, b, err, phase)
					}
				}
			}
		}},
		{"the context lives to the end of the body, and its end is the caller's", func(t *testing.T) {
			var inner context.Context
			rt := snubber.New(wiretest.Play(wiretest.Step{Do: func(r *http.Request) (*http.Response, error) {
				inner = r.Context()
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: wiretest.Stuck("x", nil)}, nil
			}}))
			ctx, cancel := context.WithCancel(t.Context())
			res := must(t, rt, wiretest.Chat(t).WithContext(ctx))
			time.Sleep(time.Second)
			if _, err := res.Body.Read(make([]byte, 1)); err != nil || inner.Err() != nil {
				t.Errorf("a body reads with %v in a context with %v", err, inner.Err())
			}
			time.AfterFunc(time.Second, cancel)
			_, err := res.Body.Read(make([]byte, 1))
			var timeout *snubber.TimeoutError
			if !errors.Is(err, context.Canceled) || errors.As(err, &timeout) || inner.Err() != context.Canceled {
				t.Errorf("after the caller's cancel: %v in a context with %v, want Canceled", err, inner.Err())
			}
			res.Body.Close()
		}},
		{"dial errors open the circuit, and it stays open for seconds", func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Err: wiretest.RefusedDial()})
			rt := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{Failures: 3}}
			for range 30 {
				<-wiretest.Launch(rt, wiretest.Chat(t))
			}
			time.Sleep(3999 * time.Millisecond)
			if e := <-wiretest.Launch(rt, wiretest.Chat(t)); !errors.Is(e.Err, snubber.ErrOpen) || base.Sent() != 3 {
				t.Errorf("%v after %d dials, want ErrOpen after 3", e.Err, base.Sent())
			}
		}},
		{"a failure that took longer than the window counts, a hung probe does not stay", func(t *testing.T) {
			b := &snubber.Breaker{Failures: 2, Probes: 1}
			hung := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Delay: 5 * time.Minute, Status: 500}, wiretest.Step{Delay: 5 * time.Minute, Status: 500}, wiretest.Step{Delay: time.Hour}, wiretest.Step{}), Breaker: b}
			one := wiretest.Launch(hung, wiretest.Chat(t))
			time.Sleep(time.Minute)
			<-wiretest.Launch(hung, wiretest.Chat(t))
			<-one
			if s := b.Circuits()[0].State; s != snubber.CircuitOpen {
				t.Fatalf("the circuit is %v after two failures of five minutes, want open", s)
			}
			time.Sleep(7 * time.Second)
			probe := wiretest.Launch(hung, wiretest.Chat(t))
			if e := <-wiretest.Launch(hung, wiretest.Chat(t)); !errors.Is(e.Err, snubber.ErrOpen) {
				t.Errorf("%+v beside a probe, want ErrOpen: there is one place", e)
			}
			time.Sleep(30 * time.Second)
			if e := <-wiretest.Launch(hung, wiretest.Chat(t)); e.Status != 200 {
				t.Errorf("%+v after the lease, want the place", e)
			}
			<-probe
		}},
		{"hooks run under no lock", func(t *testing.T) {
			rt := snubber.New(wiretest.Play(wiretest.Step{Status: 500}, wiretest.TooMany("1"), wiretest.Step{}))
			rt.Breaker = &snubber.Breaker{Failures: 1}
			seen := map[snubber.EventKind]bool{}
			rt.Observe = func(e snubber.Event) {
				seen[e.Kind] = true
				rt.Breaker.Circuits()
				rt.Limiter.Queues()
				rt.ReadyAt(wiretest.Chat(t))
			}
			must(t, rt, wiretest.Chat(t)).Body.Close()
			for _, k := range []snubber.EventKind{snubber.EventAttempt, snubber.EventCircuit, snubber.EventGated, snubber.EventQueued} {
				if !seen[k] {
					t.Errorf("no event of kind %v: this was no test", k)
				}
			}
		}},
		{"the caller's own end is no failure and is not repeated", func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Delay: time.Hour})
			b := &snubber.Breaker{Failures: 1, MinRequests: 1}
			rt := &snubber.Transport{Base: base, Breaker: b, Retry: &snubber.Retry{}}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			if _, err := rt.RoundTrip(wiretest.Chat(t).WithContext(ctx)); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := rt.RoundTrip(wiretest.Chat(t).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if c := b.Circuits()[0]; base.Sent() != 2 || c.State != snubber.CircuitClosed || c.Failures != 0 {
				t.Errorf("%d sent, %+v, want 2 and no failure", base.Sent(), c)
			}
		}},
		{"a refusal for the deadline has its type, and closes the request's body", func(t *testing.T) {
			rt := &snubber.Transport{Base: wiretest.Play(), Limiter: &snubber.Limiter{RequestsPerMinute: 1}}
			must(t, rt, wiretest.Chat(t)).Body.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			own := &wiretest.CountedBody{Reader: strings.NewReader(wiretest.ChatBody)}
			req := wiretest.Chat(t).WithContext(ctx)
			req.Body = own
			if _, err := rt.RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) || own.Closed != 1 {
				t.Errorf("%v with the body closed %d times, want DeadlineExceeded and once", err, own.Closed)
			}
		}},
		{"opening and closing by hand at any time is safe, and probes are few", func(t *testing.T) {
			b := &snubber.Breaker{Failures: 1, Probes: 2}
			base := wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{Delay: time.Second})
			rt := &snubber.Transport{Base: base, Breaker: b}
			<-wiretest.Launch(rt, wiretest.Chat(t))
			key := b.Circuits()[0].Key
			for range 3 {
				b.Trip(key)
				time.Sleep(time.Minute)
				b.Reset(key)
			}
			base.Steps[1].Status = 500
			<-wiretest.Launch(rt, wiretest.Chat(t))
			base.Steps[1].Status = 200
			time.Sleep(10 * time.Second)
			before := base.Sent()
			var all []<-chan wiretest.Result
			for range 20 {
				all = append(all, wiretest.Launch(rt, wiretest.Chat(t)))
			}
			if n := base.Sent() - before; n != 2 {
				t.Errorf("%d of 20 were sent half-open, want 2", n)
			}
			for _, c := range all {
				<-c
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, tt.test) })
	}
}
