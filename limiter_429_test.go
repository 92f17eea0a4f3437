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
)

const limited = `{"error":{"message":"Rate limit reached for requests","type":"requests","param":null,"code":"rate_limit_exceeded"}}`

// tooMany is a 429 that says to come back after some time, or not when.
func tooMany(after string) step {
	st := step{status: 429, header: hdr("Content-Type", "application/json"), body: limited}
	if after != "" {
		st.header.Set("Retry-After", after)
	}
	return st
}

// A 429 holds all requests of its key until the server's time. Jitter comes
// after that time, never before. Without a time the hold is one step of the
// backoff.
func TestLimiter429HoldsKey(t *testing.T) {
	for _, tt := range []struct {
		after    string
		from, to time.Duration
	}{
		{"5", 5 * time.Second, 5500 * time.Millisecond},
		{"40", 40 * time.Second, 41 * time.Second}, // jitter of a tenth, at most a second
		{"0.2", 200 * time.Millisecond, 220 * time.Millisecond},
		{"", 500 * time.Millisecond, time.Second},
		{"-3", 500 * time.Millisecond, time.Second},
		{"soon", 500 * time.Millisecond, time.Second},
	} {
		for seed := range 5 {
			synctest.Test(t, func(t *testing.T) {
				base := play(tooMany(tt.after), step{})
				l := &snubber.Limiter{}
				rt := &snubber.Transport{Base: base, Limiter: l}
				if e := <-launch(rt, chat(t)); e.status != 429 || e.body != limited || e.took != 0 {
					t.Fatalf("%+v, want the 429 at once: without Retry it is the caller's", e)
				}
				until := time.Until(only(t, l).GatedUntil)
				if until < tt.from || until > tt.to {
					t.Errorf("gated for %v, want %v to %v", until, tt.from, tt.to)
				}
				one := launch(rt, chat(t))
				time.Sleep(tt.from / 2)
				two := launch(rt, chat(t))
				e, f := <-one, <-two
				if e.status != 200 || e.took < tt.from || e.took > tt.to {
					t.Errorf("Retry-After %q (%d): went after %v (%d, %v), want %v to %v", tt.after, seed, e.took, e.status, e.err, tt.from, tt.to)
				}
				if d := f.took - (e.took - tt.from/2); f.status != 200 || d <= 0 || d > 2*time.Second {
					t.Errorf("the second went %v after the first, want not at once: nobody knows how much the server will take", d)
				}
			})
		}
	}
}

// A 429 holds neither other keys nor requests that are already in flight.
func TestLimiter429SparesOtherKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{delay: time.Second}, tooMany("30"), step{})
		rt := &snubber.Transport{Base: base, Limiter: &snubber.Limiter{}}
		inFlight := launch(rt, chat(t))
		<-launch(rt, chat(t))
		if e := <-launch(rt, chat(t, "Authorization", "Bearer another")); e.status != 200 || e.took != 0 {
			t.Errorf("another credential: %+v, want 200 at once", e)
		}
		if e := <-launch(rt, newReq(t, "POST", chatURL, strings.Replace(chatBody, `"m"`, `"n"`, 1))); e.status != 200 || e.took != 0 {
			t.Errorf("another model: %+v, want 200 at once", e)
		}
		if e := <-inFlight; e.status != 200 || e.took != time.Second {
			t.Errorf("the call in flight: %+v, want 200 after 1s", e)
		}
	})
}

// A 429 that makes waiting requests too late refuses them at once, and not at
// their deadlines. The other requests keep their places.
func TestLimiter429RefusesLateWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(tooMany("20"), step{})
		base.steps[0].delay = time.Second
		l := &snubber.Limiter{MaxConcurrent: 1}
		rt := &snubber.Transport{Base: base, Limiter: l}
		first := launch(rt, named(t, t.Context(), "a"))
		short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		long, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		one, two, three := launch(rt, named(t, short, "b")), launch(rt, named(t, long, "c")), launch(rt, named(t, t.Context(), "d"))
		if e := <-first; e.status != 429 {
			t.Fatalf("%+v, want the 429", e)
		}
		e := <-one
		if !errors.Is(e.err, snubber.ErrLimited) || !errors.Is(e.err, context.DeadlineExceeded) || e.took != time.Second {
			t.Errorf("deadline of 10s: %v after %v, want ErrLimited and DeadlineExceeded after 1s, with the 429", e.err, e.took)
		}
		if e := <-two; e.status != 200 || e.took < 21*time.Second || e.took > 22*time.Second {
			t.Errorf("deadline of 30s: %+v, want 200 after 21s to 22s", e)
		}
		if e := <-three; e.status != 200 {
			t.Errorf("no deadline: %+v", e)
		}
		if got := order(base); got != "a c d" {
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
			base := play(tooMany(tt.after), step{})
			rt := &snubber.Transport{Base: base, Limiter: &snubber.Limiter{MaxWait: tt.maxWait}}
			<-launch(rt, chat(t))
			e := <-launch(rt, chat(t))
			var r *snubber.RejectedError
			switch {
			case tt.refused && (!errors.As(e.err, &r) || r.Err != snubber.ErrLimited || e.took != 0 || r.RetryAfter > tt.to || r.RetryAfter < tt.to-time.Second):
				t.Errorf("%s with MaxWait %v: %+v, want ErrLimited at once", tt.after, tt.maxWait, e)
			case !tt.refused && (e.status != 200 || e.took > tt.to || e.took < tt.to-time.Second):
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
			<-launch(&snubber.Transport{Base: play(tooMany(after)), Limiter: l}, chat(t))
			if d := time.Until(only(t, l).GatedUntil); d > 15*time.Minute {
				t.Errorf("Retry-After %s gates for %v", after, d)
			}
		})
	}
	for _, wait := range []time.Duration{16 * time.Minute, 24 * time.Hour, 1<<63 - 1} {
		synctest.Test(t, func(t *testing.T) {
			rt := &snubber.Transport{Base: play(tooMany(""), step{}), Limiter: &snubber.Limiter{MaxWait: -1}}
			rt.Classify = func(_ *http.Request, res *http.Response, _ error) snubber.Outcome {
				if res.StatusCode == 200 {
					return snubber.Outcome{Class: snubber.Success}
				}
				return snubber.Outcome{Class: snubber.RateLimited, NotBefore: time.Now().Add(wait)}
			}
			<-launch(rt, chat(t))
			if e := <-launch(rt, chat(t)); e.status != 200 || !about(e.took, 15*time.Minute) {
				t.Errorf("a wait of %v: %+v, want 200 after 15m", wait, e)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		base := play(tooMany("20"), tooMany("3"), step{})
		base.steps[0].delay, base.steps[1].delay = time.Second, 2*time.Second
		rt := &snubber.Transport{Base: base, Limiter: &snubber.Limiter{}}
		one, two := launch(rt, chat(t)), launch(rt, chat(t))
		<-one
		<-two
		if e := <-launch(rt, chat(t)); e.took < 19*time.Second || e.took > 20*time.Second {
			t.Errorf("went after %v, want what is left of the longer gate", e.took)
		}
	})
}

// With a Retry, a request that got a 429 goes back to the front of the queue,
// before all waiting requests.
func TestLimiter429RequeuesAtFront(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(tooMany("5"), step{})
		base.steps[0].delay = time.Second
		l := &snubber.Limiter{RequestsPerMinute: 60, MaxConcurrent: 1}
		rt := &snubber.Transport{Base: base, Limiter: l, Retry: &snubber.Retry{}}
		all := []<-chan ended{launch(rt, named(t, t.Context(), "a"))}
		for _, name := range []string{"b", "c", "d"} {
			all = append(all, launch(rt, named(t, t.Context(), name)))
		}
		for i, c := range all {
			if e := <-c; e.status != 200 {
				t.Errorf("call %d: %+v", i, e)
			}
		}
		if got := order(base); got != "a a b c d" {
			t.Errorf("sent %s, want a a b c d", got)
		}
		if d := base.all()[1].at.Sub(base.all()[0].at); d < 6*time.Second || d > 6500*time.Millisecond {
			t.Errorf("sent again after %v, want 6s to 6.5s", d)
		}
		within(t, base.all()[1:], base.all()[0].at, 60, 1)
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
			base := play(noQuota(""))
			l := &snubber.Limiter{}
			rt := &snubber.Transport{Base: base, Limiter: l, Observe: func(e snubber.Event) { fmt.Fprintf(&said, "%+v\n", e) }}
			url := chatURL
			if header[0] == "X-None" {
				url += "?key=" + secret
			}
			<-launch(rt, newReq(t, "POST", url, chatBody, header...))
			e := <-launch(rt, newReq(t, "POST", url, chatBody, header...))
			if !errors.Is(e.err, snubber.ErrQuota) {
				t.Fatalf("%+v, want ErrQuota", e)
			}
			fmt.Fprintf(&said, "%v %+v\n", e.err, e.err)
			if e = <-launch(rt, newReq(t, "POST", url, chatBody, append(header, "X-Stainless-Lang", "go")...)); e.status != 429 {
				t.Fatalf("%+v, want a refusal as a response", e)
			}
			fmt.Fprintln(&said, e.body)
			fmt.Fprintf(&said, "%+v", l.Queues())
			if strings.Contains(said.String(), secret) {
				t.Errorf("%v: the credential is in\n%s", header, said.String())
			}
			if q := only(t, l); !strings.Contains(q.Key, "api.example.com m #") {
				t.Errorf("key %q, want origin, model and a hash", q.Key)
			}
		})
	}
}
