package snubber_test

import (
	"context"
	"errors"
	"math/rand"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/neterr"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A call that already had an attempt waits for a circuit that opened meanwhile.
// The wait costs neither an attempt nor budget, and ends with the circuit's
// open time.
func TestBreakerCallWaitsForCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(append(slices.Repeat([]wiretest.Step{{Status: 503}}, 5), wiretest.Step{Body: "{}"})...)
		tr := &snubber.Transport{
			Base:    base,
			Retry:   &snubber.Retry{MaxAttempts: 2, Budget: &snubber.Budget{Capacity: 0.5}}, // not enough for one retry
			Breaker: &snubber.Breaker{Failures: 1, Probes: 1},
		}
		ctx, report := snubber.WithReport(t.Context())
		start := time.Now()
		res, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("RoundTrip = %v, %v, want 200", res, err)
		}
		wiretest.ReadAll(t, res)
		tries := base.Attempts()
		for i := range 5 {
			if got := tries[i+1].At.Sub(tries[i].At); got < 4*time.Second || got > 5*time.Second {
				t.Errorf("wait %d took %v, want the open time of 4s to 5s", i+1, got)
			}
		}
		if report.Load().Attempts != 6 || report.Load().Requeued != 5 || report.Load().BackoffTime != time.Since(start) {
			t.Errorf("report %+v, want 6 attempts, 5 of them readmitted, and %v of waiting", report, time.Since(start))
		}
	})
}

// A call enters the queue again at most eight times. After that it pays for an
// attempt.
func TestBreakerCallWaitsEightTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 503})
		tr := &snubber.Transport{
			Base:    base,
			Retry:   &snubber.Retry{MaxAttempts: 2, Budget: &snubber.Budget{Capacity: 0.5}},
			Breaker: &snubber.Breaker{Failures: 1},
		}
		if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 503 {
			t.Errorf("RoundTrip = %d, %v, want 503", status, err)
		}
		if n := base.Sent(); n != 9 {
			t.Errorf("%d wire calls, want 1 and 8 readmitted", n)
		}
	})
}

// A call does not begin to wait for a circuit if the wait exceeds MaxWait or
// the deadline, or if its end is unknown. The call returns the response that it
// has.
func TestBreakerCallDoesNotWaitInVain(t *testing.T) {
	for _, tt := range []struct {
		name     string
		retry    *snubber.Retry
		deadline time.Duration
		byHand   bool
	}{
		{"MaxWait", &snubber.Retry{MaxWait: 3 * time.Second}, time.Hour, false},
		{"deadline", &snubber.Retry{}, 3 * time.Second, false},
		{"by hand", &snubber.Retry{}, time.Hour, true},
		{"no Retry", nil, time.Hour, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Retry: tt.retry, Breaker: &snubber.Breaker{Failures: 1}}
				base := wiretest.Play(wiretest.Step{Do: func(*http.Request) (*http.Response, error) {
					if tt.byHand {
						tr.Breaker.Trip(chatKey)
					}
					return wiretest.Response(503, strings.NewReader("sorry")), nil
				}}, wiretest.Step{})
				tr.Base = base
				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				start := time.Now()
				res, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
				if err != nil || res.StatusCode != 503 {
					t.Fatalf("RoundTrip = %v, %v, want the 503", res, err)
				}
				if body := wiretest.ReadAll(t, res); body != "sorry" {
					t.Errorf("body = %q, want it as it came", body)
				}
				if d := time.Since(start); d != 0 || base.Sent() != 1 {
					t.Errorf("%d wire calls in %v, want 1 in no time", base.Sent(), d)
				}
			})
		})
	}
}

// Another call may open the circuit during a backoff. The call waits for the
// circuit at the end of its backoff; if that takes too long, it returns the
// response that it has.
func TestBreakerOpensDuringBackoff(t *testing.T) {
	for _, tt := range []struct {
		name     string
		maxWait  time.Duration
		deadline time.Duration
		want     int
	}{
		{"it fits", 0, time.Hour, 200},
		{"MaxWait", 3 * time.Second, time.Hour, 503},
		{"deadline", 0, 4 * time.Second, 503},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(wiretest.Step{Status: 503, Body: "sorry"}, wiretest.Step{Status: 500}, wiretest.Step{Body: "{}"})
				b := &snubber.Breaker{Failures: 2}
				tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{MaxWait: tt.maxWait}, Breaker: b}
				start := time.Now()
				time.AfterFunc(100*time.Millisecond, func() { wiretest.Fetch(&snubber.Transport{Base: base, Breaker: b}, wiretest.Chat(t)) })
				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				res, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
				if err != nil || res.StatusCode != tt.want {
					t.Fatalf("RoundTrip = %v, %v, want %d", res, err, tt.want)
				}
				body := wiretest.ReadAll(t, res)
				switch d := time.Since(start); tt.want {
				case 200:
					if d < 4*time.Second || base.Sent() != 3 {
						t.Errorf("%d wire calls in %v, want 3 and the open time waited for", base.Sent(), d)
					}
				default:
					if d < 250*time.Millisecond || d > 500*time.Millisecond || body != "sorry" || base.Sent() != 2 {
						t.Errorf("%q after %v and %d wire calls, want the first response at the end of the backoff", body, d, base.Sent())
					}
				}
			})
		})
	}
}

// A call that waits for a circuit can be cancelled at any time, and goes on as
// soon as the circuit is reset. A new call is refused at once meanwhile.
func TestBreakerWaitEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(tr *snubber.Transport, cancel func())
		want func(status int, err error) bool
	}{
		{"cancel", func(_ *snubber.Transport, cancel func()) { cancel() }, func(_ int, err error) bool { return errors.Is(err, context.Canceled) }},
		{"close", func(tr *snubber.Transport, _ func()) { tr.Breaker.Reset(chatKey) }, func(status int, err error) bool { return status == 200 }},
		{"opened for good", func(tr *snubber.Transport, _ func()) { tr.Breaker.Trip(chatKey) }, func(status int, err error) bool { return status == 503 && err == nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Status: 503}, wiretest.Step{}), Retry: &snubber.Retry{}, Breaker: &snubber.Breaker{Failures: 1, MaxWait: -1}}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				start := time.Now()
				done := make(chan bool)
				go func() {
					status, err := wiretest.Fetch(tr, wiretest.Chat(t).WithContext(ctx))
					t.Logf("RoundTrip = %d, %v", status, err)
					done <- tt.want(status, err)
				}()
				time.Sleep(time.Second)
				mustRefuse(t, tr, wiretest.Chat(t))
				tt.end(tr, cancel)
				if !<-done {
					t.Error("which is not what was to be")
				}
				if d := time.Since(start); d != time.Second {
					t.Errorf("ended after %v, want at once, after 1s", d)
				}
			})
		})
	}
}

// outage is a base that answers after a while. A request that is sent or in
// flight during one bad second fails.
type outage struct {
	start time.Time
	fail  func(ctx context.Context) (*http.Response, error)

	mu  sync.Mutex
	rnd *rand.Rand
}

func (o *outage) between(lo, hi time.Duration) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return lo + time.Duration(o.rnd.Int63n(int64(hi-lo)))
}

func (o *outage) answer(req *http.Request) (*http.Response, error) {
	d := o.between(300*time.Millisecond, 3*time.Second)
	end := o.start.Add(time.Second)
	now := time.Now()
	switch {
	case now.Before(o.start) && now.Add(d).After(o.start):
		time.Sleep(o.start.Sub(now) + o.between(0, 200*time.Millisecond))
		return o.fail(req.Context())
	case !now.Before(o.start) && now.Before(end):
		time.Sleep(o.between(0, 50*time.Millisecond))
		return o.fail(req.Context())
	}
	time.Sleep(d)
	return wiretest.Response(200, strings.NewReader(`{"choices":[]}`), "Content-Type", "application/json"), nil
}

// No call of thirty in flight is lost in an outage of one second, whatever its
// form and the times of its failures.
func TestBreakerOutageLosesNoCall(t *testing.T) {
	for name, fail := range map[string]func(context.Context) (*http.Response, error){
		"503": func(context.Context) (*http.Response, error) {
			return wiretest.Response(503, strings.NewReader("down")), nil
		},
		"503 with Retry-After": func(context.Context) (*http.Response, error) {
			return wiretest.Response(503, strings.NewReader("down"), "Retry-After", "1"), nil
		},
		"reset": func(context.Context) (*http.Response, error) { return nil, neterr.Reset },
		"dial": func(context.Context) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: neterr.Refused}
		},
		"broken answer": func(context.Context) (*http.Response, error) {
			return wiretest.Response(502, strings.NewReader("<html>")), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range int64(25) {
				synctest.Test(t, func(t *testing.T) {
					o := &outage{start: time.Now().Add(290 * time.Millisecond), fail: fail, rnd: rand.New(rand.NewSource(seed))}
					base := wiretest.Func(o.answer)
					tr := snubber.New(base)
					var wg sync.WaitGroup
					for range 30 {
						wg.Go(func() {
							time.Sleep(o.between(0, 280*time.Millisecond))
							if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 {
								t.Errorf("seed %d: lost a call: %d, %v", seed, status, err)
							}
						})
					}
					wg.Wait()
				})
			}
		})
	}
}
