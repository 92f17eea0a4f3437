package snubber_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// The first attempt of a call waits for an open circuit where a Retry is, the circuit
// shows it, and MaxWait bounds it. A call whose probe is due too late is refused at once.
func TestBreakerMaxWait(t *testing.T) {
	for _, tt := range []struct {
		name     string
		retry    *snubber.Retry
		maxWait  time.Duration
		deadline time.Duration
		fallback bool
		waits    bool
	}{
		{"zero", &snubber.Retry{}, 0, time.Hour, false, true},
		{"long enough", &snubber.Retry{}, 5 * time.Second, time.Hour, false, true},
		{"too short", &snubber.Retry{}, 3 * time.Second, time.Hour, false, false},
		{"negative", &snubber.Retry{}, -1, time.Hour, false, false},
		{"no Retry", nil, time.Minute, time.Hour, false, false},
		{"the deadline", &snubber.Retry{}, 0, 3 * time.Second, false, false},
		{"a route", &snubber.Retry{}, 0, time.Hour, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Breaker: &snubber.Breaker{Failures: 2, MaxWait: tt.maxWait}}
				base := tripped(t, tr, wiretest.Step{})
				tr = &snubber.Transport{Base: base, Breaker: tr.Breaker, Retry: tt.retry}
				if tt.fallback {
					tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: wiretest.Play(wiretest.Step{Status: 418})}}}
				}
				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				start := time.Now()
				done := make(chan error, 1)
				go func() {
					_, err := wiretest.Fetch(tr, wiretest.Chat(t).WithContext(ctx))
					done <- err
				}()
				synctest.Wait()
				if n := circuitOf(t, tr.Breaker).Waiting; n != map[bool]int{true: 1}[tt.waits] {
					t.Errorf("Waiting = %d", n)
				}
				err := <-done
				took := time.Since(start)
				switch {
				case tt.waits && (err != nil || took < 4*time.Second || took > 5*time.Second):
					t.Errorf("RoundTrip = %v after %v, want an answer after the open time", err, took)
				case !tt.waits && took != 0, !tt.waits && !tt.fallback && !errors.Is(err, snubber.ErrOpen):
					t.Errorf("RoundTrip = %v after %v, want ErrOpen at once", err, took)
				}
			})
		})
	}
}

// Calls that wait go by priority and then by arrival, one as the probe and the others
// when it has succeeded. One that is canceled leaves at once and sends nothing.
func TestBreakerMaxWaitOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Breaker: &snubber.Breaker{Failures: 2}}
		tripped(t, tr)
		var mu sync.Mutex
		var order []string
		tr = &snubber.Transport{Breaker: tr.Breaker, Retry: &snubber.Retry{}, Base: wiretest.Func(func(req *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, req.Header.Get("Name"))
			return wiretest.Response(200, http.NoBody), nil
		})}
		var all sync.WaitGroup
		for _, c := range []struct {
			name     string
			priority int
		}{{"first", 0}, {"second", 0}, {"low", -1}, {"high", 1}, {"canceled", 9}} {
			all.Go(func() {
				ctx, cancel := context.WithCancel(snubber.WithPriority(t.Context(), c.priority))
				defer cancel()
				if c.name == "canceled" {
					time.AfterFunc(time.Second, cancel)
				}
				start := time.Now()
				_, err := wiretest.Fetch(tr, wiretest.Chat(t, "Name", c.name).WithContext(ctx))
				if took := time.Since(start); c.name == "canceled" && (!errors.Is(err, context.Canceled) || took != time.Second) {
					t.Errorf("the canceled call ended with %v after %v", err, took)
				} else if c.name != "canceled" && err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if want := []string{"high", "first", "second", "low"}; !slices.Equal(order, want) {
			t.Errorf("order = %v, want %v", order, want)
		}
	})
}
