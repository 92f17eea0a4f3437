package snubber_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A 429 holds all requests of its key until the server's time. Jitter comes
// after that time, never before. Without a time the hold is one step of the
// backoff.
func TestLimiter429HoldsKey(t *testing.T) {
	for _, tt := range []struct {
		after    string
		from, to time.Duration
	}{
		{"5", 5 * time.Second, 5500 * time.Millisecond},
		{"40", 40 * time.Second, 41 * time.Second}, // the jitter is a tenth, at most a second
		{"0.2", 200 * time.Millisecond, 220 * time.Millisecond},
		{"", 500 * time.Millisecond, time.Second},
		{"-3", 500 * time.Millisecond, time.Second},
		{"soon", 500 * time.Millisecond, time.Second},
	} {
		for seed := range 5 {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(wiretest.TooMany(tt.after), wiretest.Step{})
				l := &snubber.Limiter{}
				rt := &snubber.Transport{Base: base, Limiter: l}
				if e := <-wiretest.Launch(rt, wiretest.Chat(t)); e.Status != 429 || e.Body != wiretest.LimitedBody || e.Took != 0 {
					t.Fatalf("%+v, want the 429 at once: without Retry it is the caller's", e)
				}
				until := time.Until(queueOf(t, l).GatedUntil)
				if until < tt.from || until > tt.to {
					t.Errorf("gated for %v, want %v to %v", until, tt.from, tt.to)
				}
				one := wiretest.Launch(rt, wiretest.Chat(t))
				time.Sleep(tt.from / 2)
				two := wiretest.Launch(rt, wiretest.Chat(t))
				e, f := <-one, <-two
				if e.Status != 200 || e.Took < tt.from || e.Took > tt.to {
					t.Errorf("Retry-After %q (%d): went after %v (%d, %v), want %v to %v", tt.after, seed, e.Took, e.Status, e.Err, tt.from, tt.to)
				}
				if d := f.Took - (e.Took - tt.from/2); f.Status != 200 || d <= 0 || d > 2*time.Second {
					t.Errorf("the second went %v after the first, want not at once: nobody knows how much the server will take", d)
				}
			})
		}
	}
}

// A 429 holds neither other keys nor requests that are already in flight.
func TestLimiter429SparesOtherKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Delay: time.Second}, wiretest.TooMany("30"), wiretest.Step{})
		rt := &snubber.Transport{Base: base, Limiter: &snubber.Limiter{}}
		inFlight := wiretest.Launch(rt, wiretest.Chat(t))
		<-wiretest.Launch(rt, wiretest.Chat(t))
		if e := <-wiretest.Launch(rt, wiretest.Chat(t, "Authorization", "Bearer another")); e.Status != 200 || e.Took != 0 {
			t.Errorf("another credential: %+v, want 200 at once", e)
		}
		if e := <-wiretest.Launch(rt, wiretest.NewRequest(t, "POST", wiretest.ChatURL, strings.Replace(wiretest.ChatBody, `"m"`, `"n"`, 1))); e.Status != 200 || e.Took != 0 {
			t.Errorf("another model: %+v, want 200 at once", e)
		}
		if e := <-inFlight; e.Status != 200 || e.Took != time.Second {
			t.Errorf("the call in flight: %+v, want 200 after 1s", e)
		}
	})
}

// A 429 that makes waiting requests too late refuses them at once, and not at
// their deadlines. The other requests keep their places.
func TestLimiter429RefusesLateWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.TooMany("20"), wiretest.Step{})
		base.Steps[0].Delay = time.Second
		l := &snubber.Limiter{MaxConcurrent: 1}
		rt := &snubber.Transport{Base: base, Limiter: l}
		first := wiretest.Launch(rt, wiretest.Named(t, t.Context(), "a"))
		short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		long, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		one, two, three := wiretest.Launch(rt, wiretest.Named(t, short, "b")), wiretest.Launch(rt, wiretest.Named(t, long, "c")), wiretest.Launch(rt, wiretest.Named(t, t.Context(), "d"))
		if e := <-first; e.Status != 429 {
			t.Fatalf("%+v, want the 429", e)
		}
		e := <-one
		if !errors.Is(e.Err, snubber.ErrLimited) || !errors.Is(e.Err, context.DeadlineExceeded) || e.Took != time.Second {
			t.Errorf("deadline of 10s: %v after %v, want ErrLimited and DeadlineExceeded after 1s, with the 429", e.Err, e.Took)
		}
		if e := <-two; e.Status != 200 || e.Took < 21*time.Second || e.Took > 22*time.Second {
			t.Errorf("deadline of 30s: %+v, want 200 after 21s to 22s", e)
		}
		if e := <-three; e.Status != 200 {
			t.Errorf("no deadline: %+v", e)
		}
		if got := base.Names(); got != "a c d" {
			t.Errorf("sent %s, want a c d", got)
		}
		idle(t, l)
	})
}

// Without MaxWait, a key that is held for much more than a minute refuses at
// once. A negative MaxWait allows any wait; a positive one alone decides.
func TestLimiter429AndMaxWait(t *testing.T) {
	for _, tt := range []struct {
		after   string
		maxWait time.Duration
		refused bool
		to      time.Duration
	}{
		{"50", 0, false, 51 * time.Second},
		{"90", 0, true, 91 * time.Second},
		{"90", -1, false, 91 * time.Second},
		{"90", 2 * time.Minute, false, 91 * time.Second},
		{"50", 30 * time.Second, true, 51 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := wiretest.Play(wiretest.TooMany(tt.after), wiretest.Step{})
			rt := &snubber.Transport{Base: base, Limiter: &snubber.Limiter{MaxWait: tt.maxWait}}
			<-wiretest.Launch(rt, wiretest.Chat(t))
			e := <-wiretest.Launch(rt, wiretest.Chat(t))
			var r *snubber.RejectedError
			switch {
			case tt.refused && (!errors.As(e.Err, &r) || r.Err != snubber.ErrLimited || e.Took != 0 || r.RetryAfter > tt.to || r.RetryAfter < tt.to-time.Second):
				t.Errorf("%s with MaxWait %v: %+v, want ErrLimited at once", tt.after, tt.maxWait, e)
			case !tt.refused && (e.Status != 200 || e.Took > tt.to || e.Took < tt.to-time.Second):
				t.Errorf("%s with MaxWait %v: %+v, want 200 after at most %v", tt.after, tt.maxWait, e, tt.to)
			}
		})
	}
}

// A 429 holds a key for at most a quarter of an hour, whatever the server or a
// hook says. The longer of two holds counts.
func TestLimiter429IsBounded(t *testing.T) {
	for _, after := range []string{"901", "3599", "86400", "1e10", "9999999999999999999", "Fri, 31 Dec 2100 23:59:59 GMT"} {
		synctest.Test(t, func(t *testing.T) {
			l := &snubber.Limiter{}
			<-wiretest.Launch(&snubber.Transport{Base: wiretest.Play(wiretest.TooMany(after)), Limiter: l}, wiretest.Chat(t))
			if d := time.Until(queueOf(t, l).GatedUntil); d > 15*time.Minute {
				t.Errorf("Retry-After %s gates for %v", after, d)
			}
		})
	}
	for _, wait := range []time.Duration{16 * time.Minute, 24 * time.Hour, 1<<63 - 1} {
		synctest.Test(t, func(t *testing.T) {
			rt := &snubber.Transport{Base: wiretest.Play(wiretest.TooMany(""), wiretest.Step{}), Limiter: &snubber.Limiter{MaxWait: -1}}
			rt.Classify = func(_ *http.Request, res *http.Response, _ error) snubber.Outcome {
				if res.StatusCode == 200 {
					return snubber.Outcome{Class: snubber.Success}
				}
				return snubber.Outcome{Class: snubber.RateLimited, NotBefore: time.Now().Add(wait)}
			}
			<-wiretest.Launch(rt, wiretest.Chat(t))
			if e := <-wiretest.Launch(rt, wiretest.Chat(t)); e.Status != 200 || !wiretest.About(e.Took, 15*time.Minute) {
				t.Errorf("a wait of %v: %+v, want 200 after 15m", wait, e)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.TooMany("20"), wiretest.TooMany("3"), wiretest.Step{})
		base.Steps[0].Delay, base.Steps[1].Delay = time.Second, 2*time.Second
		rt := &snubber.Transport{Base: base, Limiter: &snubber.Limiter{}}
		one, two := wiretest.Launch(rt, wiretest.Chat(t)), wiretest.Launch(rt, wiretest.Chat(t))
		<-one
		<-two
		if e := <-wiretest.Launch(rt, wiretest.Chat(t)); e.Took < 19*time.Second || e.Took > 20*time.Second {
			t.Errorf("went after %v, want what is left of the longer gate", e.Took)
		}
	})
}

// With a Retry, a request that got a 429 goes back to the front of the queue,
// before all waiting requests.
func TestLimiter429RequeuesAtFront(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.TooMany("5"), wiretest.Step{})
		base.Steps[0].Delay = time.Second
		l := &snubber.Limiter{RequestsPerMinute: 60, MaxConcurrent: 1}
		rt := &snubber.Transport{Base: base, Limiter: l, Retry: &snubber.Retry{}}
		all := []<-chan wiretest.Result{wiretest.Launch(rt, wiretest.Named(t, t.Context(), "a"))}
		for _, name := range []string{"b", "c", "d"} {
			all = append(all, wiretest.Launch(rt, wiretest.Named(t, t.Context(), name)))
		}
		for i, c := range all {
			if e := <-c; e.Status != 200 {
				t.Errorf("call %d: %+v", i, e)
			}
		}
		if got := base.Names(); got != "a a b c d" {
			t.Errorf("sent %s, want a a b c d", got)
		}
		if d := base.Attempts()[1].At.Sub(base.Attempts()[0].At); d < 6*time.Second || d > 6500*time.Millisecond {
			t.Errorf("sent again after %v, want 6s to 6.5s", d)
		}
		wiretest.CheckRate(t, base.Attempts()[1:], base.Attempts()[0].At, 60, 1)
		idle(t, l)
	})
}

// No credential appears in a key, an event, an error or the response of a
// refusal.
func TestLimiterKeepsSecrets(t *testing.T) {
	const secret = "sk-VERY-SECRET"
	for _, header := range [][]string{
		{"Authorization", "Bearer " + secret}, {"X-Api-Key", secret}, {"Api-Key", secret}, {"X-Goog-Api-Key", secret},
		{"Authorization", "Basic " + secret}, {"Authorization", "AWS4-HMAC-SHA256 Credential=" + secret + "/x, Signature=y"},
		{"X-None", ""}, // the key in the query
	} {
		synctest.Test(t, func(t *testing.T) {
			var said strings.Builder
			base := wiretest.Play(wiretest.NoQuota(""))
			l := &snubber.Limiter{}
			rt := &snubber.Transport{Base: base, Limiter: l, Observe: func(e snubber.Event) { fmt.Fprintf(&said, "%+v\n", e) }}
			url := wiretest.ChatURL
			if header[0] == "X-None" {
				url += "?key=" + secret
			}
			<-wiretest.Launch(rt, wiretest.NewRequest(t, "POST", url, wiretest.ChatBody, header...))
			e := <-wiretest.Launch(rt, wiretest.NewRequest(t, "POST", url, wiretest.ChatBody, header...))
			if !errors.Is(e.Err, snubber.ErrQuota) {
				t.Fatalf("%+v, want ErrQuota", e)
			}
			fmt.Fprintf(&said, "%v %+v\n", e.Err, e.Err)
			if e = <-wiretest.Launch(rt, wiretest.NewRequest(t, "POST", url, wiretest.ChatBody, append(header, "X-Stainless-Lang", "go")...)); e.Status != 429 {
				t.Fatalf("%+v, want a refusal as a response", e)
			}
			fmt.Fprintln(&said, e.Body)
			fmt.Fprintf(&said, "%+v", l.Queues())
			if strings.Contains(said.String(), secret) {
				t.Errorf("%v: the credential is in\n%s", header, said.String())
			}
			if q := queueOf(t, l); !strings.Contains(q.Key, "api.example.com m #") {
				t.Errorf("key %q, want origin, model and a hash", q.Key)
			}
		})
	}
}
