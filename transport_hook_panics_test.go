package snubber_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A hook that panics leaks no permit and no body.
func TestTransportHookPanics(t *testing.T) {
	boom := func() { panic("boom") }
	for name, tr := range map[string]*snubber.Transport{
		"Classify": {Classify: func(*http.Request, *http.Response, error) snubber.Outcome { boom(); return snubber.Outcome{} }},
		"Tokens": {Limiter: &snubber.Limiter{MaxConcurrent: 1, TokensPerMinute: 1000, EstimateTokens: func(*http.Request, []byte) int {
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
		"Retry.If":   {Retry: &snubber.Retry{If: boom}},
		"Route.When": {Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: wiretest.Play(), If: boom}}}},
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
