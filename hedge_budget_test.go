package snubber_test

import (
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// Calls without a hedge save budget for ten hedges, and for no more.
func TestHedgeBudgetIsCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &wiretest.Latencies{Times: slices.Concat(wiretest.WarmTimes(), slices.Repeat([]time.Duration{time.Second / 2}, 290), []time.Duration{time.Minute})}
		tr := snubber.New(base)
		tr.Retry.Hedge = true
		tr.Limiter = nil
		tr.Retry.Budget = &snubber.Budget{Capacity: -1}
		for range 400 {
			wiretest.Fetch(tr, wiretest.Chat(t))
		}
		wiretest.FetchAll(t, tr, 30, func(int) *http.Request { return wiretest.Chat(t) })
		if n := base.Sent - 430; n != 10 {
			t.Errorf("%d hedges, want 10", n)
		}
	})
}

// A call earns its part of a hedge once, however many attempts it makes.
func TestHedgeBudgetEarnedOncePerCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &wiretest.Latencies{Times: slices.Concat(wiretest.WarmTimes(), slices.Repeat([]time.Duration{time.Second / 2}, 100), []time.Duration{time.Minute}), Status: map[int]int{}}
		for i := range 100 { // 25 calls with three failures each
			if i%4 != 3 {
				base.Status[110+i] = 500
			}
		}
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{Hedge: true, MinBackoff: -1, Budget: &snubber.Budget{Capacity: -1}}}
		wiretest.WarmUp(t, tr)
		for range 25 {
			wiretest.Fetch(tr, wiretest.Chat(t))
		}
		wiretest.FetchAll(t, tr, 30, func(int) *http.Request { return wiretest.Chat(t) })
		if n := base.Sent - 240; n != 8 { // a twentieth of 165
			t.Errorf("%d hedges, want 8", n)
		}
	})
}

// A denied hedge is not requested repeatedly while the response is missing. In
// an outage every call would do so.
func TestHedgeDeniedIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &wiretest.Latencies{Times: wiretest.WarmTimes(9 * time.Minute)}
		tr := snubber.New(base)
		tr.Retry.Hedge = true
		tr.Retry.Budget = &snubber.Budget{Capacity: 0.5}
		asked := 0
		tr.Limiter.TokensPerMinute = 1e9
		tr.Limiter.EstimateTokens = func(*http.Request, []byte) int { asked++; return 1 }
		wiretest.WarmUp(t, tr)
		asked = 0
		if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 || err != nil {
			t.Fatal(status, err)
		}
		if asked < 10 || asked > 100 {
			t.Errorf("asked %d times, want some, and fewer as time goes on", asked)
		}
	})
}

// A denied hedge is not tried again at once if responses arrive at once.
// Otherwise the loop would not let time pass.
func TestHedgeDeniedWithInstantResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := snubber.New(&wiretest.Latencies{Times: append(make([]time.Duration, 110), time.Second)})
		tr.Retry.Hedge = true
		tr.Retry.Budget = &snubber.Budget{Capacity: 0.5}
		tr.Limiter.TokensPerMinute = 1e9
		wiretest.WarmUp(t, tr)
		var asked atomic.Int32
		tr.Limiter.EstimateTokens = func(*http.Request, []byte) int {
			if asked.Add(1) > 1000 {
				panic("asked all the time")
			}
			return 1
		}
		if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 || err != nil {
			t.Error(status, err)
		}
	})
}
