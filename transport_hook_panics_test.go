package snubber_test

import (
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

// A hook that panics leaks no permit and no body.
func TestTransportHookPanics(t *testing.T) {
	boom := func() { panic("boom") }
	for name, tr := range map[string]*snubber.Transport{
		"Classify": {Classify: func(*http.Request, *http.Response, error) snubber.Outcome { boom(); return snubber.Outcome{} }},
		"EstimateTokens": {Limiter: &snubber.Limiter{MaxConcurrent: 1, TokensPerMinute: 1000, EstimateTokens: func(*http.Request, []byte) int {
			boom()
			return 0
		}}},
		"Retry.If": {Retry: &snubber.Retry{If: func(*http.Request, snubber.Outcome) bool { boom(); return false }}},
		"Observe":  {Observe: func(snubber.Event) { boom() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(wiretest.Step{Status: 500, Body: "{}"})
				tr.Base = base
				if tr.Limiter == nil {
					tr.Limiter = &snubber.Limiter{MaxConcurrent: 1}
				}
				func() {
					defer func() { recover() }()
					tr.RoundTrip(wiretest.NewRequest(t, "GET", "http://x.test/", ""))
				}()
				if n := inFlight(t, tr.Limiter); n != 0 {
					t.Errorf("%d in flight, want 0", n)
				}
				if base.Sent() > 0 && base.Attempts()[0].Closed.IsZero() {
					t.Error("the response's body is open")
				}
			})
		})
	}
}

// A hook that decides about a failure and panics leaks nothing, even if the
// error body is longer than the part that is read.
func TestTransportDecidingHookPanics(t *testing.T) {
	boom := func(*http.Request, snubber.Outcome) bool { panic("boom") }
	for name, tr := range map[string]*snubber.Transport{
		"Retry.If": {Retry: &snubber.Retry{If: boom}},
		"Route.If": {Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: wiretest.Play(), If: boom}}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(wiretest.Step{Status: 500, Body: strings.Repeat("x", 200<<10)})
				tr.Base, tr.Limiter = base, &snubber.Limiter{MaxConcurrent: 1}
				func() {
					defer func() { recover() }()
					tr.RoundTrip(wiretest.Chat(t))
				}()
				if n := inFlight(t, tr.Limiter); n != 0 || base.Attempts()[0].Closed.IsZero() {
					t.Errorf("%d in flight, the body closed at %v", n, base.Attempts()[0].Closed)
				}
			})
		})
	}
}

// A panic in any hook leaves the request's body closed, and so does runtime.Goexit.
func TestTransportHookPanicsCloseRequestBody(t *testing.T) {
	for how, boom := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
		for name, tr := range map[string]*snubber.Transport{
			"Breaker.Key": {Breaker: &snubber.Breaker{Key: func(*http.Request) string { boom(); return "" }}},
			"Limiter.Key": {Limiter: &snubber.Limiter{Key: func(*http.Request) string { boom(); return "" }}},
			"Retry.If":    {Retry: &snubber.Retry{If: func(*http.Request, snubber.Outcome) bool { boom(); return false }}},
			"Classify": {Classify: func(*http.Request, *http.Response, error) snubber.Outcome {
				boom()
				return snubber.Outcome{}
			}},
			"Observe of a cache": {Cache: &snubber.Cache{}, Observe: func(snubber.Event) { boom() }},
		} {
			t.Run(how+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tr.Base = wiretest.Play(wiretest.Step{Status: 500, Body: "no"})
					body := &closing{Reader: strings.NewReader("{}")}
					req := wiretest.NewRequest(t, "POST", "http://x.test/", "")
					req.Body, req.ContentLength = body, 2
					req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("{}")), nil }
					done := make(chan struct{})
					go func() {
						defer close(done)
						defer func() { recover() }()
						tr.RoundTrip(req)
						t.Error("RoundTrip returned, want the hook's end")
					}()
					<-done
					if !body.closed {
						t.Error("the request's body is open")
					}
				})
			})
		}
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// An observer that panics when a circuit becomes half-open costs no probe its place.
func TestTransportHookPanicsFreeProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{Body: "yes"})
		panics := true
		tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{Failures: 1}, Observe: func(e snubber.Event) {
			if e.Kind == snubber.EventCircuit && e.To == snubber.CircuitHalfOpen && panics {
				panics = false
				panic("boom")
			}
		}}
		send := func() (res *http.Response, err error) {
			defer func() { recover() }()
			return tr.RoundTrip(wiretest.NewRequest(t, "GET", "http://x.test/", ""))
		}
		if _, err := send(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if send(); panics {
			t.Fatal("no probe was sent")
		}
		if res, err := send(); err != nil || res == nil || res.StatusCode != 200 {
			t.Errorf("after the panic RoundTrip = %v, %v, want the next probe's response", res, err)
		}
	})
}
