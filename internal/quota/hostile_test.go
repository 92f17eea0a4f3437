package quota

import (
	"math"
	"testing"
	"time"
)

// Whatever a server says of its quota, or bills, something goes now and then:
// without an answer nothing better could be learned.
func TestHostileServersEndNoKey(t *testing.T) {
	reading := func(kind Kind, window time.Duration, limit, remaining int64) func(*Control, int32) {
		return func(k *Control, id int32) {
			k.Answered(id, []Reading{{kind, window, limit, remaining, math.MaxInt64}}, start)
			k.Settle(id, Cost{10, 10}, start)
		}
	}
	for name, say := range map[string]func(*Control, int32){
		"one in 290 years":        reading(Requests, math.MaxInt64, 1, 0),
		"one token in 290 years":  reading(Tokens, math.MaxInt64, 1, 0),
		"one in a minute":         reading(Requests, time.Minute, 1, 0),
		"a limit of zero":         reading(Requests, time.Minute, 0, 0),
		"a negative limit":        reading(Requests, time.Minute, math.MinInt64, math.MinInt64),
		"more than can be":        reading(Tokens, 1, math.MaxInt64, math.MaxInt64),
		"more left than limit":    reading(Requests, time.Minute, 10, math.MaxInt64),
		"a window below zero":     reading(Requests, -1, 10, 10),
		"a kind that nobody has":  reading(Unknown, time.Minute, 10, 10),
		"a bill of all the money": func(k *Control, id int32) { k.Settle(id, Cost{math.MaxInt32, math.MaxInt32}, start) },
	} {
		t.Run(name, func(t *testing.T) {
			k := New(Config{Tokens: Ceiling{PerMinute: 1000, Burst: 100}})
			id := k.Take(Cost{10, 10}, false, start)
			say(k, id)
			k.Free(start)
			now := start
			for range 3 {
				d := k.Delay(Cost{10, 10}, now)
				if d < 0 || d > patience {
					t.Fatalf("the next goes in %v", d)
				}
				now = now.Add(d)
				if d = k.Delay(Cost{10, 10}, now); d != 0 {
					t.Fatalf("then it has to wait for another %v", d)
				}
				id := k.Take(Cost{10, 10}, true, now)
				k.Settle(id, Cost{10, 10}, now)
				k.Free(now)
			}
			for _, l := range k.Limits(now) {
				if math.IsNaN(l.Left) || math.IsNaN(l.PerSecond) || l.PerSecond <= 0 {
					t.Errorf("%+v", l)
				}
			}
		})
	}
}
