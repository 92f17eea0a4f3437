package quota

import (
	"math"
	"testing"
	"time"
)

// What a server's bucket holds shows in headers whose remaining and reset add
// up to the same. Then it may be used up, and otherwise the pace is all there is.
func TestCapacity(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reset func(used int, at float64) float64 // seconds
		left  func(used int, at float64) float64
		wide  bool
	}{
		{"a bucket of a minute", func(used int, at float64) float64 { return (float64(used) - 10*at) / 10 }, func(used int, at float64) float64 { return 600 - float64(used) + 10*at }, true},
		{"the same in whole seconds", func(used int, at float64) float64 { return math.Ceil((float64(used) - 10*at) / 10) }, func(used int, at float64) float64 { return 600 - float64(used) + 10*at }, true},
		{"others use it too", func(used int, at float64) float64 { return (2*float64(used) - 10*at) / 10 }, func(used int, at float64) float64 { return 600 - 2*float64(used) + 10*at }, true},
		{"a bucket of a second", func(used int, at float64) float64 { return float64(used%10) / 10 }, func(used int, at float64) float64 { return float64(10 - used%10) }, false},
		{"a window of the clock", func(used int, at float64) float64 { return 60 - at }, func(used int, at float64) float64 { return 600 - float64(used) }, false},
		{"a window whose reset stands", func(used int, at float64) float64 { return 60 }, func(used int, at float64) float64 { return 600 - float64(used) }, false},
		{"the same header again and again", func(used int, at float64) float64 { return 1 }, func(used int, at float64) float64 { return 590 }, false},
		{"no reset", func(used int, at float64) float64 { return -1e-9 }, func(used int, at float64) float64 { return 600 - float64(used) + 10*at }, false},
		{"nonsense", func(used int, at float64) float64 { return 1e9 * float64(used) }, func(used int, at float64) float64 { return 1e15 * float64(used) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := New(Config{})
			learn := func(from float64) (now time.Time) {
				for i := 1; i <= 200; i++ { // 20 a second, faster than it fills
					s := float64(i) / 20
					now = at(from + s)
					id := k.Take(Cost{}, true, now)
					left, reset := math.Max(0, math.Floor(tt.left(i, s))), time.Duration(math.Round(math.Max(-1, tt.reset(i, s)*1e3)))*time.Millisecond
					if reset < 0 {
						reset = -1
					}
					k.Answered(id, []Reading{{Requests, time.Minute, 600, int64(left), reset}}, now)
					k.Settle(id, Cost{}, now)
					k.Free(now)
				}
				return now
			}
			now := learn(0)
			b := k.short[Requests]
			if wide := b.burst() > 20; wide != tt.wide {
				t.Fatalf("a burst of %d, want a wide one: %v", b.burst(), tt.wide)
			}
			if !tt.wide {
				return
			}
			n, began := 0, now
			for now.Before(began.Add(time.Second)) {
				if d := k.Delay(Cost{}, now); d > 0 {
					now = now.Add(d)
					continue
				}
				k.Take(Cost{}, true, now)
				n++
			}
			if rate := peak * 9.8; float64(n) < 0.9*rate || float64(n) > rate+11 {
				t.Errorf("%d went in a second, want about %v", n, rate)
			}
			for range 1000 { // all that is left
				now = now.Add(k.Delay(Cost{}, now))
				k.Take(Cost{}, true, now)
			}
			if d := k.Delay(Cost{}, now); d < 90*time.Millisecond {
				t.Errorf("after all was used the next goes in %v, want the pace", d)
			}

			id := k.Take(Cost{}, true, now)
			k.Rejected(id, Refusal{Hinted: true, Empty: true, Until: now.Add(time.Second)}, now)
			k.Settle(id, Cost{}, now)
			k.Free(now)
			now = now.Add(time.Hour)
			if b.burst() > 9 || b.level(now) > 9 {
				t.Errorf("after a refusal %v of %d, want the pace", b.level(now), b.burst())
			}
			learn(10_000)
			if b.burst() > 9 {
				t.Errorf("a burst of %d again, want none after it was denied", b.burst())
			}
		})
	}
}

// A burst that the user configured is theirs, and a stock is one anyway.
func TestCapacityIsNotTheUsers(t *testing.T) {
	k := New(Config{Requests: Ceiling{PerMinute: 600, Burst: 3}})
	for i := range 100 {
		now := at(float64(i) / 20)
		id := k.Take(Cost{}, true, now)
		k.Answered(id, []Reading{{Requests, time.Minute, 600, 600 - int64(i), time.Duration(i) * 100 * time.Millisecond}}, now)
		k.Settle(id, Cost{}, now)
		k.Free(now)
	}
	if b := k.short[Requests]; b.room.holds == 0 || b.burst() != 3 {
		t.Errorf("a bucket of %v and a burst of %d, want 600 and the configured 3", b.room.holds, b.burst())
	}
}
