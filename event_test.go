package snubber_test

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// Every kind has a name for a metric's label. An unknown kind does not panic.
func TestEventKindString(t *testing.T) {
	seen := map[string]bool{}
	for k := snubber.EventAttempt; k <= snubber.EventLimitStoreFailed; k++ {
		if s := k.String(); s == "" || s == "unknown" || seen[s] {
			t.Errorf("kind %d is %q", k, s)
		} else {
			seen[s] = true
		}
	}
	for k, want := range map[snubber.EventKind]string{ // in the order of the constants
		snubber.EventRefused: "refused", snubber.EventCache: "cache", snubber.EventHedge: "hedge", snubber.EventLimit: "limit", snubber.EventLimitStoreFailed: "limit-store-failed",
	} {
		if k.String() != want {
			t.Errorf("%v, want %s", k, want)
		}
	}
	for _, k := range []snubber.EventKind{0, snubber.EventLimitStoreFailed + 1, 255} {
		if s := k.String(); s != "unknown" {
			t.Errorf("kind %d is %q", k, s)
		}
	}
}

// The events of a scripted call arrive in order. Each has the fields that its
// kind names, and no others.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []snubber.Event
		start := time.Now()
		base := wiretest.Play(
			wiretest.Step{Status: 500, Delay: time.Second},
			wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "3")},
			wiretest.JSON(200, wiretest.Usage(11, 7)))
		tr := &snubber.Transport{
			Base: base, Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{}, Breaker: &snubber.Breaker{},
			Observe: func(e snubber.Event) { events = append(events, e) },
		}
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		ts := base.Attempts()
		retried, sentBack := ts[1].At, ts[2].At
		const key = "https://api.example.com m"
		attempt := func(n int, at time.Time, took time.Duration, class snubber.Class) snubber.Event {
			return snubber.Event{Kind: snubber.EventAttempt, Time: at, Key: key, Attempt: n, Took: took, Outcome: snubber.Outcome{Class: class}}
		}
		want := []snubber.Event{
			attempt(1, start.Add(time.Second), time.Second, snubber.ServerError),
			{Kind: snubber.EventRetry, Time: start.Add(time.Second), Key: key, Attempt: 1, Outcome: snubber.Outcome{Class: snubber.ServerError}, Wait: retried.Sub(start) - time.Second},
			{Kind: snubber.EventLimit, Time: retried, Key: key, Limit: snubber.Limit{Kind: "requests", Source: "429"}},
			{Kind: snubber.EventGated, Time: retried, Key: key, Outcome: snubber.Outcome{Class: snubber.RateLimited}, Until: sentBack},
			attempt(2, retried, 0, snubber.RateLimited),
			{Kind: snubber.EventQueued, Time: sentBack, Key: key, Wait: sentBack.Sub(retried)},
			attempt(3, sentBack, 0, snubber.Success),
		}
		if len(events) != len(want) {
			t.Fatalf("%d events, want %d: %+v", len(events), len(want), events)
		}
		for i, e := range events {
			w := want[i]
			if want := map[int]string{1: "first", 2: "retry", 3: "requeue"}[e.Attempt]; e.Kind == snubber.EventAttempt && e.Detail != want {
				t.Errorf("event %d: attempt %d is a %q, want %q", i, e.Attempt, e.Detail, want)
			}
			if e.Outcome.Class != w.Outcome.Class {
				t.Errorf("event %d (%v): class %v, want %v", i, e.Kind, e.Outcome.Class, w.Outcome.Class)
			}
			if d := e.Until.Sub(w.Until); d < -time.Microsecond || d > time.Microsecond {
				t.Errorf("event %d (%v): Until = %v, want %v", i, e.Kind, e.Until, w.Until)
			}
			if e.Kind != w.Kind || !e.Time.Equal(w.Time) || e.Key != w.Key || e.Attempt != w.Attempt || e.Wait != w.Wait || e.Took != w.Took || e.From != 0 || e.To != 0 || e.Limit.Kind != w.Limit.Kind || e.Limit.Source != w.Limit.Source || (e.Limit.PerMinute > 0) != (w.Limit.Kind != "") || e.Previous != 0 {
				t.Errorf("event %d = %+v\nwant %+v", i, e, w)
			}
		}
		if last := events[len(events)-1].Outcome; last.Usage.Input != 11 || last.Usage.Output != 7 {
			t.Errorf("the answer's usage = %+v", last.Usage)
		}
	})
}

// The event of an attempt comes when its body has ended, and has the final
// outcome.
func TestEventAttemptAtBodyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []snubber.Event
		base := wiretest.Play(wiretest.Step{Stream: wiretest.Trickle(3, time.Second)})
		tr := &snubber.Transport{Base: base, Observe: func(e snubber.Event) { events = append(events, e) }}
		res, err := tr.RoundTrip(wiretest.NewRequest(t, "GET", "https://api.example.com/v1/models", ""))
		if err != nil {
			t.Fatal(err)
		}
		if len(events) != 0 {
			t.Fatalf("told before the body: %+v", events)
		}
		wiretest.ReadAll(t, res)
		if len(events) != 1 || events[0].Took != 3*time.Second || events[0].Outcome.Class != snubber.Success || events[0].Key != "https://api.example.com" {
			t.Errorf("events %+v, want one attempt of 3s", events)
		}
	})
}

// The transitions of a circuit and the calls that it refuses are events.
func TestEventCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []snubber.Event
		base := wiretest.Play(wiretest.Step{Status: 500}, wiretest.JSON(200, wiretest.Usage(11, 7)))
		tr := &snubber.Transport{
			Base: base, Breaker: &snubber.Breaker{Failures: 1, Probes: 1},
			Observe: func(e snubber.Event) {
				if e.Kind != snubber.EventAttempt {
					events = append(events, e)
				}
			},
		}
		start := time.Now()
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		if _, err := tr.RoundTrip(wiretest.Chat(t)); !errors.Is(err, snubber.ErrOpen) {
			t.Fatalf("err = %v, want ErrOpen", err)
		}
		if len(events) == 0 {
			t.Fatal("no events")
		}
		time.Sleep(time.Until(events[0].Until))
		if res, err = tr.RoundTrip(wiretest.Chat(t)); err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		const key = "https://api.example.com m"
		until := events[0].Until
		if d := until.Sub(start); d < 4*time.Second || d > 6*time.Second {
			t.Errorf("open until %v after the start, want 5s within a fifth", d)
		}
		want := []snubber.Event{
			{Kind: snubber.EventCircuit, Time: start, Key: key, From: snubber.CircuitClosed, To: snubber.CircuitOpen, Until: until},
			{Kind: snubber.EventRefused, Time: start, Key: key, Outcome: snubber.Outcome{Class: snubber.Rejected, Reason: "snubber_circuit_open"}},
			{Kind: snubber.EventCircuit, Time: until, Key: key, From: snubber.CircuitOpen, To: snubber.CircuitHalfOpen},
			{Kind: snubber.EventCircuit, Time: until, Key: key, From: snubber.CircuitHalfOpen, To: snubber.CircuitClosed},
		}
		if len(events) != len(want) {
			t.Fatalf("%d events, want %d: %+v", len(events), len(want), events)
		}
		for i, e := range events {
			w := want[i]
			if e.Kind != w.Kind || !e.Time.Equal(w.Time) || e.Key != w.Key || e.From != w.From || e.To != w.To || !e.Until.Equal(w.Until) ||
				e.Outcome.Class != w.Outcome.Class || e.Outcome.Reason != w.Outcome.Reason || e.Attempt != 0 || e.Wait != 0 || e.Took != 0 {
				t.Errorf("event %d = %+v\nwant %+v", i, e, w)
			}
		}
	})
}

// Observe runs without a lock held, so it may read the layers and make calls.
func TestObserveMayCallBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "1")}, wiretest.JSON(200, wiretest.Usage(11, 7)))
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{MaxConcurrent: 1}, Breaker: &snubber.Breaker{Failures: 1}}
		var once sync.Once
		kinds := map[snubber.EventKind]int{}
		tr.Observe = func(e snubber.Event) {
			kinds[e.Kind]++
			tr.Limiter.Queues()
			tr.Breaker.Circuits()
			tr.Breaker.Reset("https://elsewhere.example.com")
			if _, err := tr.ReadyAt(wiretest.NewRequest(t, "GET", "https://api.example.com/v1/models", "")); err != nil {
				t.Errorf("Ready: %v", err)
			}
			once.Do(func() {
				res, err := (&snubber.Transport{Base: wiretest.Play(), Limiter: tr.Limiter, Breaker: tr.Breaker}).RoundTrip(wiretest.NewRequest(t, "GET", "https://other.example.com/", ""))
				if err != nil {
					t.Errorf("a call from Observe: %v", err)
					return
				}
				wiretest.ReadAll(t, res)
			})
		}
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		for _, k := range []snubber.EventKind{snubber.EventAttempt, snubber.EventGated, snubber.EventQueued, snubber.EventCircuit} {
			if kinds[k] == 0 {
				t.Errorf("no %v event: %v", k, kinds)
			}
		}
	})
}

// A call with a nil Observe allocates less than a call with one that does
// nothing, because no texts are made for it.
func TestObserveNilAllocatesNothing(t *testing.T) {
	var none http.RoundTripper = bareBase{}
	req := wiretest.NewRequest(t, "GET", "https://api.example.com/v1/models", "")
	allocs := func(rt http.RoundTripper) float64 {
		return testing.AllocsPerRun(200, func() {
			res, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		})
	}
	layers := func(observe func(snubber.Event)) *snubber.Transport {
		return &snubber.Transport{Base: none, Retry: &snubber.Retry{}, Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{}, Observe: observe}
	}
	nobody, somebody := allocs(layers(nil)), allocs(layers(func(snubber.Event) {}))
	if nobody >= somebody {
		t.Errorf("%v allocations without Observe, %v with", nobody, somebody)
	}
}

// bareBase answers at once.
type bareBase struct{}

func (bareBase) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}
