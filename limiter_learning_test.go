package snubber_test

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// limits returns the limits of the limiter's only queue, in words.
func limits(t *testing.T, l *snubber.Limiter) string {
	t.Helper()
	var all []string
	for _, lim := range queueOf(t, l).Limits {
		name := lim.Kind
		if lim.Daily {
			name += " a day"
		}
		all = append(all, fmt.Sprintf("%s %.2f of %s", name, lim.PerMinute, lim.Source))
	}
	return strings.Join(all, ", ")
}

// The Limiter learns limits from the headers that providers send. Limits per
// minute and per day are separate, and each new limit is an event.
func TestLimiterLearnsRecordedHeaders(t *testing.T) {
	for _, tt := range []struct {
		file, want        string
		perMinute, places int // configured
	}{
		// 14 400 requests are for a day, ten a minute; 6 000 tokens are for a
		// minute.
		{file: "groq_chat_success.http", want: "tokens 5880.00 of header, requests a day 9.80 of header"},
		{file: "mistral_chat_success.http", want: "requests 58.80 of header, tokens 349125.00 of header"},
		{file: "anthropic_messages_success.http", want: "requests 49.00 of header, tokens 58800.00 of header, input-tokens 49000.00 of header, output-tokens 9800.00 of header"},
		{file: "mistral_chat_success.http", want: "requests 30.00 of configured, tokens 349125.00 of header, concurrency 4.00 of configured",
			perMinute: 30, places: 4},
		{file: "ollama_chat_success.http", want: ""},
	} {
		t.Run(tt.file+" "+fmt.Sprint(tt.perMinute), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &snubber.Limiter{RequestsPerMinute: tt.perMinute, MaxConcurrent: tt.places}
				var told []string
				rt := &snubber.Transport{Base: wiretest.Play(wiretest.Recorded(t, filepath.Join("internal", "dialect", "testdata", tt.file))), Limiter: l, Observe: func(e snubber.Event) {
					if e.Kind == snubber.EventLimit {
						if e.Key == "" || e.Time.IsZero() || e.Previous != 0 {
							t.Errorf("%+v, want a key, a time and nothing before", e)
						}
						told = append(told, e.Limit.Kind)
					}
				}}
				if e := <-wiretest.Launch(rt, wiretest.NewRequest(t, "POST", wiretest.ChatURL, wiretest.Prompt(40, 10))); e.Err != nil {
					t.Fatal(e.Err)
				}
				if got := limits(t, l); got != tt.want {
					t.Errorf("%s\nwant %s", got, tt.want)
				}
				if n := strings.Count(tt.want, " of header"); tt.perMinute == 0 && len(told) != n {
					t.Errorf("events of %q, want %d", told, n)
				}
				// A second response with the same limits makes no event.
				told = nil
				<-wiretest.Launch(rt, wiretest.NewRequest(t, "POST", wiretest.ChatURL, wiretest.Prompt(40, 10)))
				if told != nil {
					t.Errorf("events of %q for what was known", told)
				}
			})
		})
	}
}

// An event has the previous value of a limit, and a snapshot tells why a key is
// held.
func TestLimiterEventHasPreviousLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := func(limit string, status int) wiretest.Step {
			left := "5"
			if status == 429 {
				left = "0" // while some are left, a 429 is no sign of a limit
			}
			return wiretest.Step{Status: status, Header: http.Header{"X-Ratelimit-Limit-Requests": {limit}, "X-Ratelimit-Remaining-Requests": {left}, "Retry-After": {"7"}}}
		}
		l := &snubber.Limiter{}
		var seen []string
		rt := &snubber.Transport{Base: wiretest.Play(said("600", 200), said("300", 200), said("300", 429)), Limiter: l, Observe: func(e snubber.Event) {
			if e.Kind == snubber.EventLimit {
				seen = append(seen, fmt.Sprintf("%s %.0f was %.0f by %s", e.Limit.Kind, e.Limit.PerMinute, e.Previous, e.Limit.Source))
			}
		}}
		for range 2 {
			<-wiretest.Launch(rt, wiretest.NewRequest(t, "GET", "https://a.test/", ""))
		}
		if q := queueOf(t, l); q.Reason != "" || !q.GatedUntil.IsZero() {
			t.Errorf("gated for %q until %v before anyone was refused", q.Reason, q.GatedUntil)
		}
		<-wiretest.Launch(rt, wiretest.NewRequest(t, "GET", "https://a.test/", ""))
		if q := queueOf(t, l); q.Reason == "" || !q.GatedUntil.After(time.Now().Add(6*time.Second)) {
			t.Errorf("gated for %q until %v, want a reason and seven seconds", q.Reason, q.GatedUntil)
		}
		time.Sleep(time.Minute)
		if q := queueOf(t, l); q.Reason != "" {
			t.Errorf("still gated for %q", q.Reason)
		}
		if len(seen) < 2 || seen[0] != "requests 588 was 0 by header" || seen[1] != "requests 294 was 588 by header" {
			t.Errorf("%q", seen)
		}
	})
}

// A limit of concurrent requests is not taken for a limit of tokens.
func TestLimiterConcurrencyIsNoTokenLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &snubber.Limiter{MaxConcurrent: 3}
		<-wiretest.Launch(&snubber.Transport{Base: wiretest.Play(), Limiter: l}, wiretest.NewRequest(t, "GET", "https://a.test/", ""))
		if q := queueOf(t, l); !math.IsInf(q.Tokens, 1) || !math.IsInf(q.Requests, 1) {
			t.Errorf("%v tokens and %v requests left of three places, want no limit", q.Tokens, q.Requests)
		}
	})
}

// biller returns a base whose responses use so many tokens. They come after a
// nanosecond, in which a test can read the reservation.
func biller(in, out *int) *wiretest.Script {
	return wiretest.Play(wiretest.Step{Do: func(*http.Request) (*http.Response, error) {
		time.Sleep(time.Nanosecond)
		b := wiretest.Usage(*in, *out)
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}},
			ContentLength: int64(len(b)), Body: io.NopCloser(strings.NewReader(b))}, nil
	}})
}

// The error of the estimate shrinks with use. It covers a tokenizer that makes
// twice as many tokens of a text, and callers that allow 64 000 tokens for
// responses of 800.
func TestLimiterEstimateLearnsFromUsage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const full = 1_000_000
		in, out := 200, 800
		l := &snubber.Limiter{TokensPerMinute: full, Burst: full}
		rt := &snubber.Transport{Base: biller(&in, &out), Limiter: l}
		var off []float64
		for range 20 {
			time.Sleep(time.Minute)
			c := wiretest.Launch(rt, wiretest.NewRequest(t, "POST", wiretest.ChatURL, wiretest.Prompt(400, 64_000)))
			off = append(off, math.Abs(full-queueOf(t, l).Tokens-1000)/1000)
			if e := <-c; e.Err != nil {
				t.Fatal(e.Err)
			}
		}
		if off[0] > 0.3 {
			t.Errorf("the first reservation is %.0f %% off", 100*off[0])
		}
		for i, o := range off[1:] {
			if o > 0.02 {
				t.Errorf("reservation %d is %.0f %% off, want none", i+1, 100*o)
			}
		}
	})
}

// A response that used more than a minute's tokens does not make every later
// request too large. Otherwise no request could show that it was an exception.
func TestLimiterEstimateSurvivesHugeUsage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, huge := range []struct{ in, out int }{{100, 50_000}, {50_000, 10}} {
			in, out := huge.in, huge.out
			l := &snubber.Limiter{TokensPerMinute: 10_000}
			rt := &snubber.Transport{Base: biller(&in, &out), Limiter: l}
			for i := range 20 {
				if e := <-wiretest.Launch(rt, wiretest.NewRequest(t, "POST", wiretest.ChatURL, wiretest.Prompt(8000, 0))); e.Err != nil {
					t.Fatalf("%+v: call %d: %v", huge, i, e.Err)
				}
				in, out = 2000, 10
			}
			if e := <-wiretest.Launch(rt, wiretest.NewRequest(t, "POST", wiretest.ChatURL, wiretest.Prompt(80_000, 0))); e.Err == nil {
				t.Errorf("%+v: a prompt of more than a minute's tokens passed", huge)
			}
		}
	})
}

// The slow start begins again after an idle time and when a circuit closes.
func TestLimiterSlowStartBeginsAgain(t *testing.T) {
	for _, again := range []string{"no", "pause", "circuit"} {
		t.Run(again, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				down := false
				base := wiretest.Play(wiretest.Step{Do: func(req *http.Request) (*http.Response, error) {
					if down {
						return &http.Response{StatusCode: 500, Header: http.Header{}, Body: http.NoBody}, nil
					}
					time.Sleep(time.Second)
					return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
				}})
				rt := &snubber.Transport{Base: base, Limiter: &snubber.Limiter{}, Breaker: &snubber.Breaker{Failures: 3, OpenFor: 5 * time.Second}}
				// crowd starts n calls together and returns how many were sent
				// at once.
				crowd := func(n int) int {
					before := base.Sent()
					var all []<-chan wiretest.Result
					for range n {
						all = append(all, wiretest.Launch(rt, wiretest.NewRequest(t, "GET", "https://a.test/", "")))
					}
					went := base.Sent() - before
					for _, c := range all {
						<-c
					}
					return went
				}
				if n := crowd(60); n != 5 {
					t.Fatalf("%d went at once at first, want 5", n)
				}
				most := 30 // after sixty successes
				switch again {
				case "pause":
					time.Sleep(time.Minute)
				case "circuit":
					down = true
					crowd(3)
					down = false
					time.Sleep(8 * time.Second)
					for range 2 { // as many as Probes
						<-wiretest.Launch(rt, wiretest.NewRequest(t, "GET", "https://a.test/", ""))
					}
					if c := rt.Breaker.Circuits()[0]; c.State != snubber.CircuitClosed {
						t.Fatalf("the circuit is %v", c.State)
					}
				}
				n := crowd(30)
				if again != "circuit" && n != most || again == "circuit" && n > 8 {
					t.Errorf("%d went at once after %s, want %d, and a slow start after a circuit only", n, again, most)
				}
			})
		})
	}
}
