package snubber_test

import (
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

// A program can read, trip and reset a circuit by its key, even before the
// first request of that key.
func TestBreakerTripAndReset(t *testing.T) {
	for _, tt := range []struct {
		name string
		key  func(*http.Request) string
		want string
	}{
		{"origin and model", nil, "https://api.example.com m"},
		{"own key", func(*http.Request) string { return "mine://a b" }, "mine://a b"},
		{"own plain key", func(*http.Request) string { return "mine" }, "mine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(wiretest.Step{})
				tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{Key: tt.key}}
				tr.Breaker.Trip(tt.want)
				refusal := mustRefuse(t, tr, wiretest.Chat(t))
				if refusal.Key != tt.want || refusal.RetryAfter != 0 {
					t.Errorf("%+v, want key %q and no time to come back", refusal, tt.want)
				}
				time.Sleep(time.Hour)
				mustRefuse(t, tr, wiretest.Chat(t))
				if c := circuitOf(t, tr.Breaker); c.Key != tt.want || c.State != snubber.CircuitOpen || !c.Forced {
					t.Errorf("%+v, want %q open by hand", c, tt.want)
				}
				tr.Breaker.Reset(tt.want)
				if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 {
					t.Errorf("RoundTrip = %d, %v, want 200", status, err)
				}
				if c := circuitOf(t, tr.Breaker); c.State != snubber.CircuitClosed || c.Forced {
					t.Errorf("%+v, want closed", c)
				}
			})
		})
	}
	t.Run("closing one that failed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{}
			tripped(t, tr, wiretest.Step{})
			tr.Breaker.Reset("https://api.example.com m")
			if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 {
				t.Errorf("RoundTrip = %d, %v, want 200", status, err)
			}
		})
	})
}

// Two Transports with one Breaker share its circuits.
func TestBreakerShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{}
		tripped(t, tr)
		mustRefuse(t, &snubber.Transport{Base: wiretest.Play(wiretest.Step{}), Breaker: tr.Breaker}, wiretest.Chat(t))
	})
}

// The number of circuits is bounded, whatever the keys. An open circuit is
// never dropped to make room for a new one.
func TestBreakerKeysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{
			Base: wiretest.Func(func(r *http.Request) (*http.Response, error) {
				if strings.HasPrefix(r.Header.Get("Tenant"), "bad") {
					return wiretest.Response(500, http.NoBody), nil
				}
				return wiretest.Response(200, http.NoBody), nil
			}),
			Breaker: &snubber.Breaker{Failures: 1, OpenFor: time.Hour, MaxOpenFor: time.Hour, Key: func(r *http.Request) string { return r.Header.Get("Tenant") }},
		}
		req := wiretest.NewRequest(t, "GET", "https://api.example.com/", "")
		visit := func(tenant string) (int, error) {
			req.Header["Tenant"] = []string{tenant}
			return wiretest.Fetch(tr, req)
		}
		for i := range 50 {
			visit(fmt.Sprint("bad", i))
		}
		for i := range 12_000 {
			visit(fmt.Sprint("good", i))
		}
		if n := len(tr.Breaker.Circuits()); n > 10_000 {
			t.Errorf("%d circuits, want 10 000 at most", n)
		}
		for i := range 50 {
			if _, err := visit(fmt.Sprint("bad", i)); !errors.Is(err, snubber.ErrOpen) {
				t.Fatalf("an open circuit was forgotten: %v", err)
			}
		}
	})
}
