package snubber_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// An exhausted quota costs one wire call after a minute, then after two,
// doubling to fifteen. Every other request is refused at once. The first
// request to find it exhausted gets the provider's response, and is not
// retried.
func TestLimiterExhaustedProbesRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.NoQuota(""))
		l := &snubber.Limiter{}
		rt := &snubber.Transport{Base: base, Limiter: l, Retry: &snubber.Retry{}}
		start := time.Now()
		for time.Since(start) < 90*time.Minute {
			sent := base.Sent()
			e := <-wiretest.Launch(rt, wiretest.Chat(t))
			switch {
			case e.Took != 0:
				t.Fatalf("a call waited %v", e.Took)
			case base.Sent() > sent:
				if e.Status != 429 || e.Body != wiretest.ExhaustedBody {
					t.Fatalf("the call that was sent: %+v, want the provider's 429", e)
				}
			default:
				var r *snubber.RejectedError
				if !errors.As(e.Err, &r) || r.Err != snubber.ErrQuota || r.RetryAfter <= 0 || r.RetryAfter > 15*time.Minute {
					t.Fatalf("after %v: %v, want ErrQuota with a time", time.Since(start), e.Err)
				}
			}
			if q := queueOf(t, l); !q.Exhausted || !q.GatedUntil.After(time.Now()) {
				t.Fatalf("%+v, want it exhausted and gated", q)
			}
			time.Sleep(time.Second)
		}
		if got, want := fmt.Sprint(seconds(base, start)), "[0 60 180 420 900 1800 2700 3600 4500]"; got != want {
			t.Errorf("sent after %v seconds, want %s", got, want)
		}
	})
}

// seconds returns the times of the attempts, in whole seconds since start.
func seconds(base *wiretest.Script, start time.Time) (at []int) {
	for _, s := range base.Attempts() {
		at = append(at, int(s.At.Sub(start)/time.Second))
	}
	return at
}

// The server's time is an upper bound of the wait for an exhausted quota, not a
// lower one. A short time is ignored, because servers send one with every 429.
func TestLimiterExhaustedServerTime(t *testing.T) {
	for _, tt := range []struct{ after, want string }{
		{"400", "[0 60 180 420 820 1220 1620]"},
		{"7200", "[0 60 180 420 900 1800]"},
		{"1e10", "[0 60 180 420 900 1800]"},
		{"20", "[0 60 180 420 900 1800]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := wiretest.Play(wiretest.NoQuota(tt.after))
			rt := &snubber.Transport{Base: base, Limiter: &snubber.Limiter{}}
			start := time.Now()
			for time.Since(start) < 30*time.Minute {
				<-wiretest.Launch(rt, wiretest.Chat(t))
				time.Sleep(5 * time.Second)
			}
			<-wiretest.Launch(rt, wiretest.Chat(t))
			if got := fmt.Sprint(seconds(base, start)); got != tt.want {
				t.Errorf("Retry-After %s: sent after %s seconds, want %s", tt.after, got, tt.want)
			}
		})
	}
}

// Requests that queue when the quota turns out to be exhausted are refused in
// that instant. Many responses in flight double the wait only once.
func TestLimiterExhaustedWithManyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.NoQuota(""))
		base.Steps[0].Delay = time.Second
		l := &snubber.Limiter{MaxConcurrent: 50, RequestsPerMinute: 6000} // no slow start
		rt := &snubber.Transport{Base: base, Limiter: l}
		var sent, waiting []<-chan wiretest.Result
		for range 50 {
			sent = append(sent, wiretest.Launch(rt, wiretest.Chat(t)))
		}
		for range 10 {
			waiting = append(waiting, wiretest.Launch(rt, wiretest.Chat(t)))
		}
		for _, c := range sent {
			if e := <-c; e.Status != 429 {
				t.Errorf("%+v, want the provider's 429", e)
			}
		}
		for _, c := range waiting {
			if e := <-c; !errors.Is(e.Err, snubber.ErrQuota) || e.Took != time.Second {
				t.Errorf("%+v, want ErrQuota after 1s", e)
			}
		}
		time.Sleep(time.Minute)
		var probes int
		for range 20 {
			if e := <-wiretest.Launch(rt, wiretest.Chat(t)); e.Err == nil {
				probes++
			} else if !errors.Is(e.Err, snubber.ErrQuota) {
				t.Error(e.Err)
			}
		}
		if probes != 1 {
			t.Errorf("%d of 20 were sent after the minute, want one", probes)
		}
		if d := time.Until(queueOf(t, l).GatedUntil); d != 2*time.Minute-time.Second && d != 2*time.Minute {
			t.Errorf("gated for %v more after the probe, want the second period of 2m", d)
		}
		idle(t, l)
	})
}

// A successful probe ends the wait for all requests. A probe that was never
// sent gives way to the next at once. Any other probe is the one wire call of
// its period, whatever its outcome.
func TestLimiterExhaustedProbeOutcomes(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for _, tt := range []struct {
		name  string
		probe wiretest.Step
		wait  time.Duration // time until the next request is sent
	}{
		{"success", wiretest.Step{}, 0},
		{"not sent", wiretest.Step{Err: refused}, 0},
		{"given up", wiretest.Step{Delay: time.Hour}, time.Minute},
		{"reset", wiretest.Step{Err: io.ErrUnexpectedEOF}, time.Minute},
		{"server error", wiretest.Step{Status: 500}, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(wiretest.NoQuota(""), tt.probe, wiretest.Step{})
				l := &snubber.Limiter{}
				rt := &snubber.Transport{Base: base, Limiter: l}
				<-wiretest.Launch(rt, wiretest.Chat(t))
				time.Sleep(time.Minute)
				ctx, cancel := context.WithCancel(t.Context())
				c := wiretest.Launch(rt, wiretest.Chat(t).WithContext(ctx))
				if base.Sent() != 2 {
					t.Fatal("no probe was sent after a minute")
				}
				if tt.probe.Delay > 0 {
					if e := <-wiretest.Launch(rt, wiretest.Chat(t)); !errors.Is(e.Err, snubber.ErrQuota) {
						t.Errorf("while the probe is under way: %+v, want ErrQuota", e)
					}
				}
				cancel()
				<-c
				if tt.wait > 0 {
					time.Sleep(tt.wait - time.Nanosecond)
					if e := <-wiretest.Launch(rt, wiretest.Chat(t)); !errors.Is(e.Err, snubber.ErrQuota) {
						t.Errorf("%+v just before %v, want ErrQuota", e, tt.wait)
					}
					time.Sleep(time.Nanosecond)
				}
				for range 3 {
					if e := <-wiretest.Launch(rt, wiretest.Chat(t)); e.Status != 200 {
						t.Errorf("%+v after %v, want 200", e, tt.wait)
					}
				}
				if q := queueOf(t, l); q.Exhausted {
					t.Errorf("%+v after a success, want it free", q)
				}
				idle(t, l)
			})
		})
	}
}
