package bench

import (
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/quota"
	"pgregory.net/rapid"
)

// TestControlKeepsToWhatItKnows: however calls come, last, are billed, refused
// and given back, nothing raises what was configured, all that was taken comes
// back, who waited as long as told may go, and with nothing under way there is a
// time at which the next may.
func TestControlKeepsToWhatItKnows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perMinute := rapid.IntRange(1, 6000).Draw(t, "a minute")
		burst := rapid.IntRange(1, 20).Draw(t, "burst")
		places := rapid.IntRange(0, 5).Draw(t, "places")
		k := quota.New(quota.Config{Requests: quota.Ceiling{PerMinute: perMinute, Burst: burst}, Concurrent: places})
		now := time.Unix(1e9, 0)
		var open []int32
		end := func(id int32) {
			used := rapid.IntRange(0, 1<<20).Draw(t, "used")
			k.Settle(id, quota.Cost{Input: used, Output: used}, now)
			k.Free(now)
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(span(t, 0, 2*time.Second, "later"))
			cost := quota.Cost{Input: rapid.IntRange(0, 1000).Draw(t, "input"), Output: rapid.IntRange(0, 1000).Draw(t, "output")}
			d := k.Delay(cost, now)
			if d < 0 && len(open) == 0 {
				t.Fatal("nothing is under way, and the next waits for an end")
			}
			if waits := rapid.Bool().Draw(t, "waits"); d >= 0 && (d == 0 || waits) {
				now = now.Add(d)
				if again := k.Delay(cost, now); again != 0 {
					t.Fatalf("it waited %v, and is to wait another %v", d, again)
				}
				open = append(open, k.Take(cost, d > 0, now))
			}
			if len(open) == 0 {
				continue
			}
			i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
			id := open[i]
			switch rapid.SampledFrom([]string{"lasts", "answered", "succeeds", "refused", "unsent"}).Draw(t, "fate") {
			case "answered":
				k.Answered(id, []quota.Reading{{
					Kind:   rapid.SampledFrom([]quota.Kind{quota.Requests, quota.Tokens, quota.Input, quota.Output, quota.Concurrency}).Draw(t, "kind"),
					Window: span(t, 0, 48*time.Hour, "window"), Limit: rapid.Int64().Draw(t, "limit"),
					Remaining: rapid.Int64().Draw(t, "remaining"), Reset: span(t, -time.Second, time.Hour, "reset"),
				}}, now)
				continue
			case "succeeds":
				k.Succeeded(id, now)
				end(id)
			case "refused":
				kind := rapid.SampledFrom([]quota.Kind{quota.Requests, quota.Tokens, quota.Concurrency, quota.Unknown}).Draw(t, "over")
				k.Rejected(id, quota.Refusal{Kind: kind, Hinted: rapid.Bool().Draw(t, "hinted"), Empty: rapid.Bool().Draw(t, "empty"), Until: now.Add(span(t, 0, time.Minute, "gate"))}, now)
				end(id)
			case "unsent":
				k.GiveBack(id, now)
			default:
				continue
			}
			open = append(open[:i], open[i+1:]...)
			if k.InFlight() != len(open) || k.Pending() != len(open) {
				t.Fatalf("%d places and %d costs are taken, want %d", k.InFlight(), k.Pending(), len(open))
			}
		}
		for _, l := range k.Limits(now) {
			if rate := float64(perMinute) / 60; l.Kind == quota.Requests && !l.Stock && l.PerSecond > rate*(1+1e-9) {
				t.Fatalf("%v a second, configured were %v", l.PerSecond, rate)
			}
		}
	})
}

// TestStaleHeadersRaiseNothing: whatever an answer says that is older than
// another, or that only repeats what was said, no more goes than before.
func TestStaleHeadersRaiseNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, now := quota.New(quota.Config{}), time.Unix(1e9, 0)
		said := func(limit, remaining int64, reset time.Duration) []quota.Reading {
			return []quota.Reading{{Kind: quota.Requests, Window: time.Minute, Limit: limit, Remaining: remaining, Reset: reset}}
		}
		old := make([]int32, rapid.IntRange(1, 10).Draw(t, "old"))
		for i := range old {
			old[i] = k.Take(quota.Cost{}, false, now)
		}
		limit := rapid.Int64Range(60, 60_000).Draw(t, "limit")
		k.Answered(k.Take(quota.Cost{}, false, now), said(limit, rapid.Int64Range(0, limit).Draw(t, "left"), -1), now)
		before := k.Limits(now)
		for _, id := range old {
			k.Answered(id, said(rapid.Int64Range(1, 1<<40).Draw(t, "said"), rapid.Int64Range(-1, 1<<40).Draw(t, "left"), span(t, 0, time.Minute, "reset")), now)
		}
		for i, l := range k.Limits(now) {
			if l.PerSecond > before[i].PerSecond || l.Left > before[i].Left {
				t.Fatalf("%+v was %+v", l, before[i])
			}
		}
	})
}

// TestSaturatedControlStaysInItsRate: a key with always somebody waiting, over a
// quota that was configured, uses it and no window more than it.
func TestSaturatedControlStaysInItsRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perMinute := rapid.IntRange(1, 6000).Draw(t, "a minute")
		burst := rapid.IntRange(1, 20).Draw(t, "burst")
		k := quota.New(quota.Config{Requests: quota.Ceiling{PerMinute: perMinute, Burst: burst}})
		now := time.Unix(1e9, 0)
		var gone []time.Time
		for len(gone) < 100 {
			now = now.Add(k.Delay(quota.Cost{}, now))
			if rapid.IntRange(0, 9).Draw(t, "pause") == 0 {
				now = now.Add(span(t, 0, 10*time.Second, "pause"))
			}
			id := k.Take(quota.Cost{}, true, now)
			gone = append(gone, now)
			k.Answered(id, []quota.Reading{{Kind: quota.Requests, Window: time.Minute,
				Limit: rapid.Int64Range(1, 1<<40).Draw(t, "limit"), Remaining: rapid.Int64Range(0, 1<<40).Draw(t, "left"), Reset: span(t, 0, time.Minute, "reset")}}, now)
			k.Succeeded(id, now)
			k.Settle(id, quota.Cost{}, now)
			k.Free(now)
		}
		for i := range gone {
			for j := i; j < len(gone); j++ {
				if most := gone[j].Sub(gone[i]).Minutes()*float64(perMinute) + float64(burst); float64(j-i+1) > most+1e-6 {
					t.Fatalf("%d went in %v, want at most %v", j-i+1, gone[j].Sub(gone[i]), most)
				}
			}
		}
	})
}
