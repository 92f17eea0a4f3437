package quota

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var start = time.Unix(1e9, 0)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// perMinute is the limit of requests that is in force, +Inf if there is none.
func perMinute(k *Control, now time.Time) float64 {
	for _, l := range k.Limits(now) {
		if l.Kind == Requests && !l.Stock {
			return l.PerSecond * 60
		}
	}
	return math.Inf(1)
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*math.Max(1, math.Abs(b)) }

func requests(limit, remaining int64) []Reading {
	return []Reading{{Kind: Requests, Window: time.Minute, Limit: limit, Remaining: remaining, Reset: -1}}
}

// The slow start lets five go, more with each success, and twice as many every
// three tenths of a second that somebody waits.
func TestSlowStart(t *testing.T) {
	k := New(Config{})
	admit := func(now time.Time) (ids []int32) {
		for k.Delay(Cost{}, now) == 0 {
			ids = append(ids, k.Take(Cost{}, false, now))
		}
		return ids
	}
	if n := len(admit(at(0))); n != 5 {
		t.Fatalf("%d at once, want 5", n)
	}
	for i, want := range []int{5, 10, 20, 40} {
		if d := k.Delay(Cost{}, at(0.3*float64(i))); d <= 0 || d > 100*time.Millisecond {
			t.Errorf("after %d doublings the next is in %v, want a part of the doubling", i, d)
		}
		if n := len(admit(at(0.3*float64(i+1) + 1e-6))); n != want {
			t.Errorf("doubling %d let %d more go, want %d", i, n, want)
		}
	}
	k = New(Config{Start: 20})
	if n := len(admit(at(0))); n != 20 {
		t.Errorf("%d at once, want the 20 that were configured", n)
	}
	k = New(Config{})
	ids := admit(at(0))
	k.Settle(ids[0], Cost{}, at(1))
	k.Free(at(1))
	k.Succeeded(ids[1], at(1))
	if n := len(admit(at(1))); n != 2 {
		t.Errorf("%d went after a success, want its place and one more", n)
	}
	k.Answered(ids[2], requests(6000, 5000), at(1))
	if n := len(admit(at(1))); n < 50 {
		t.Errorf("%d went when the limit was known, want the slow start to be over", n)
	}
}

// A limit in a header holds at once if it is lower. A higher one holds only if
// two answers in a row say so, and none that is older than what is known.
func TestStatedLimits(t *testing.T) {
	k := New(Config{})
	old := k.Take(Cost{}, false, at(0))
	next := func(limit int64) float64 {
		id := k.Take(Cost{}, false, at(1))
		k.Answered(id, requests(limit, limit), at(1))
		return perMinute(k, at(1))
	}
	for i, step := range []struct {
		limit int64
		want  float64
	}{{600, 588}, {300, 294}, {600, 294}, {600, 588}, {100, 98}, {600, 98}, {100, 98}, {600, 98}, {-1, 98}, {0, 98}} {
		if got := next(step.limit); !near(got, step.want) {
			t.Errorf("step %d, limit %d: %v a minute, want %v", i, step.limit, got, step.want)
		}
	}
	k.Answered(old, requests(9000, 9000), at(2))
	k.Answered(old, requests(9000, 9000), at(2))
	if got := perMinute(k, at(2)); !near(got, 98) {
		t.Errorf("an old answer raised the limit to %v", got)
	}
	k = New(Config{Requests: Ceiling{PerMinute: 60, Burst: 1}})
	id := k.Take(Cost{}, false, at(0))
	k.Answered(id, requests(6000, 6000), at(0))
	if got := perMinute(k, at(0)); !near(got, 60) {
		t.Errorf("a header raised what was configured to %v", got)
	}
}

// What is left is adopted downwards only, and answers may come in any order:
// each counts with what went after its request.
func TestRemaining(t *testing.T) {
	for _, swapped := range []bool{false, true} {
		k := New(Config{})
		a, b := k.Take(Cost{}, false, at(0)), k.Take(Cost{}, false, at(0))
		answer := func(first bool) {
			if first {
				k.Answered(a, requests(6000, 10), at(0))
			} else {
				k.Answered(b, requests(6000, 9), at(0))
			}
		}
		answer(!swapped)
		answer(swapped)
		if l := k.Limits(at(0))[0].Left; l > 9 || l < 8 {
			t.Errorf("swapped %v: %v left, want 9", swapped, l)
		}
		c := k.Take(Cost{}, false, at(0))
		k.Answered(c, requests(6000, 5000), at(0))
		if l := k.Limits(at(0))[0].Left; l > 8 {
			t.Errorf("swapped %v: %v left, want no more than before", swapped, l)
		}
	}
}

// A quota of a day is no pace: what it holds may go at once.
func TestDailyStock(t *testing.T) {
	k := New(Config{})
	id := k.Take(Cost{}, false, at(0))
	k.Answered(id, []Reading{{Kind: Requests, Window: 24 * time.Hour, Limit: 14400, Remaining: 200, Reset: -1}}, at(0))
	n := 0
	for ; k.Delay(Cost{}, at(0)) == 0; n++ {
		k.Take(Cost{}, false, at(0))
	}
	if n < 199 || n > 200 {
		t.Errorf("%d went at once, want the 200 that were left", n)
	}
}

// The refusals of a key that always has somebody waiting measure its quota: it
// settles close to the rate of a bucket that it was never told of.
func TestRefusalsMeasure(t *testing.T) {
	for _, quota := range []float64{0.05, 1, 10, 200} {
		k := New(Config{})
		level, last := math.Max(1, quota), 0.0
		burst := level
		refused, sent := 0, 0
		var opens time.Time
		end := 200 + 200/quota
		for now := 0.0; now < end; {
			if d := k.Delay(Cost{}, at(now)); d > 0 || at(now).Before(opens) {
				now += math.Max(math.Max(d.Seconds(), opens.Sub(at(now)).Seconds()), 1e-6)
				continue
			}
			id := k.Take(Cost{}, true, at(now))
			level, last = math.Min(burst, level+quota*(now-last)), now
			if sent++; level < 1 {
				opens = at(now + math.Max(1, (1-level)/quota))
				k.Rejected(id, Refusal{Hinted: true, Until: opens}, at(now))
				refused++
			} else {
				level--
				k.Succeeded(id, at(now))
			}
			k.Settle(id, Cost{}, at(now))
			k.Free(at(now))
		}
		if used := float64(sent-refused) / (quota * end); used < 0.8 { // at 1/s a gate of a second, in which the bucket of 1 is full, costs most
			t.Errorf("%v a second: %.3f used", quota, used)
		}
		if wasted := float64(refused) / float64(sent-refused); wasted > 0.09 {
			t.Errorf("%v a second: %d of %d refused", quota, refused, sent)
		}
	}
}

// What a rate that has grown for long got through says what the quota has become;
// what one got through that has hardly grown says less than was known.
func TestClimbed(t *testing.T) {
	for _, tt := range []struct{ now, low, high float64 }{{5, 0, 4.9}, {6, 0, 5.2}, {20, 6, 20}, {40, 11, 40}} {
		p := pace{w: 5, cut: shallowCut, size: 1}
		for p.rate() < tt.now {
			p.grown += 0.01
		}
		grown := p.grown
		if got := p.climbed(); got < tt.low || got > tt.high {
			t.Errorf("%v a second at %v, want %v to %v", got, tt.now, tt.low, tt.high)
		}
		if p.grown != grown {
			t.Error("it went on from another time")
		}
	}
}

// Of a burst that comes upon a lower quota any may be the first whose refusal is
// back, and then all that went before it seem to have passed.
func TestBurstMeasures(t *testing.T) {
	for most, refused := range map[float64][]int{
		420:  {17, 3, 12, 5, 16, 4, 9, 11, 2, 7, 14, 10, 6},
		1000: {0, 3, 12, 5, 16, 4, 9, 11, 2, 7, 14, 10, 6}, // which measures nothing, but is no mistake either
	} {
		k := New(Config{})
		reject := func(id int32, now time.Time) {
			k.Rejected(id, Refusal{Until: now.Add(time.Second)}, now)
			k.doubt.trying = false // it is known that there is a quota
			k.Settle(id, Cost{}, now)
			k.Free(now)
		}
		pass := func(id int32, now time.Time) {
			k.Succeeded(id, now)
			k.Settle(id, Cost{}, now)
			k.Free(now)
		}
		for s := 0.0; s < 2; s += 0.05 {
			pass(k.Take(Cost{}, true, at(s)), at(s))
		}
		reject(k.Take(Cost{}, true, at(2)), at(2.01))
		for s := 3.05; s < 8; s += 0.05 {
			pass(k.Take(Cost{}, true, at(s)), at(s))
		}
		reject(k.Take(Cost{}, true, at(8)), at(8.01))
		if got := perMinute(k, at(8.1)); got < 900 || got > 1300 {
			t.Fatalf("%v a minute, want some 1000", got)
		}
		var ids []int32
		for range 18 {
			ids = append(ids, k.Take(Cost{}, true, at(9.1)))
		}
		for _, i := range refused { // five pass
			reject(ids[i], at(9.13))
		}
		if got := perMinute(k, at(9.13)); got > most {
			t.Errorf("%v a minute after five of a burst, want at most %v", got, most)
		}
		for i, id := range ids {
			if !slices.Contains(refused, i) {
				pass(id, at(10))
			}
		}
		if got := perMinute(k, at(10)); got > most {
			t.Errorf("%v a minute after those of one instant had passed", got)
		}
	}
}

// A quota that is measured the same each time is one's own, and so is one that
// changes and stays; with others at it, measurements go to and fro.
func TestOthersAtAQuota(t *testing.T) {
	type measurement struct{ rate, calls float64 }
	of := func(rates ...float64) (ms []measurement) {
		for _, r := range rates {
			ms = append(ms, measurement{r, 40})
		}
		return ms
	}
	for _, c := range []struct {
		name     string
		measured []measurement
		want     bool
	}{
		{"the same", of(9.7, 9.8, 9.6, 9.7, 9.8, 9.7), false},
		{"more", of(4.9, 4.8, 10.8, 16.5, 19.6), false},
		{"less", of(19.6, 19.5, 14.4, 6.2, 4.9), false},
		{"less, and a burst as it fell", []measurement{{19.2, 107}, {19.7, 108}, {19.5, 109}, {19.6, 107}, {4.1, 5}, {4.9, 47}}, false},
		{"to and fro", of(5.2, 4.3, 4.9, 4.2, 5.5), true},
		{"seldom more than a few", []measurement{{5.2, 40}, {4.3, 8}, {4.9, 12}}, true},
		{"others that have left", of(5.2, 4.3, 4.9, 4.2, 5.5, 9.8, 9.7, 9.8, 9.7, 9.8), false},
	} {
		p := pace{w: 10, size: 1, told: 1, mean: 10}
		for _, m := range c.measured {
			p.compare(m.rate, m.calls)
			p.rise = 0
			if p.shared() {
				p.rise = p.steep()
			}
		}
		if got := p.rise > 0; got != c.want {
			t.Errorf("%s: shared is %v, want %v (score %v)", c.name, got, c.want, p.others)
		}
	}
}

// A place that was refused is not asked for again at once, and the last of a
// crowd finds how many there are.
func TestPlaces(t *testing.T) {
	k := New(Config{})
	k.ramp.over = true
	var ids []int32
	for range 16 {
		ids = append(ids, k.Take(Cost{}, false, at(0)))
	}
	for _, id := range ids[10:] {
		k.Rejected(id, Refusal{Kind: Concurrency, Until: at(1)}, at(0))
		k.Settle(id, Cost{}, at(0))
		k.Free(at(0))
	}
	if d := k.Delay(Cost{}, at(5)); d != -1 || k.InFlight() != 10 {
		t.Errorf("%v with %d in flight, want to wait for an end with 10", d, k.InFlight())
	}
	k.Settle(ids[0], Cost{}, at(5))
	k.Free(at(5))
	if d := k.Delay(Cost{}, at(5)); d != 0 {
		t.Errorf("%v with a place free, want 0", d)
	}
}

// Whatever it is told and in whatever order, the state stays sane: what is in
// flight is counted, no delay is negative but for places, no limit is above
// what was configured, and nothing waits for ever.
func FuzzControl(f *testing.F) {
	f.Add(uint64(1), int64(600), 60)
	f.Add(uint64(2), int64(1<<62), 0)
	f.Add(uint64(3), int64(-5), 1)
	f.Fuzz(func(t *testing.T, seed uint64, limit int64, configured int) {
		r := rand.New(rand.NewPCG(seed, 0))
		configured = min(max(configured, 0), 1e6)
		k := New(Config{Requests: Ceiling{PerMinute: configured, Burst: max(1, configured/60)}})
		now := start
		var open []int32
		for range 300 {
			now = now.Add(time.Duration(r.Int64N(int64(2 * time.Second))))
			c := Cost{r.IntN(1000), r.IntN(1000)}
			switch n := len(open); {
			case n == 0 || r.IntN(3) == 0:
				open = append(open, k.Take(c, r.IntN(2) == 0, now))
			default:
				i := r.IntN(n)
				id := open[i]
				switch r.IntN(5) {
				case 0:
					k.Answered(id, []Reading{{Kind(r.IntN(int(Unknown) + 1)), time.Duration(r.Int64N(int64(30 * time.Hour))), limit >> r.IntN(40), r.Int64N(1000) - 1, -1}}, now)
					continue
				case 1:
					k.Rejected(id, Refusal{Kind: Kind(r.IntN(int(Unknown) + 1)), Hinted: r.IntN(2) == 0, Empty: r.IntN(2) == 0, Until: now.Add(time.Duration(r.Int64N(int64(time.Minute))))}, now)
				case 2:
					k.Succeeded(id, now)
				case 3:
					k.GiveBack(id, now)
					open = append(open[:i], open[i+1:]...)
					continue
				}
				k.Settle(id, Cost{r.IntN(5000), r.IntN(5000)}, now)
				k.Free(now)
				open = append(open[:i], open[i+1:]...)
			}
			if k.InFlight() != len(open) || k.Pending() != len(open) {
				t.Fatalf("%d in flight and %d pending, want %d", k.InFlight(), k.Pending(), len(open))
			}
			if d := k.Delay(c, now); d < -1 || d > forever+time.Second || d == -1 && k.places == 0 {
				t.Fatalf("a delay of %v", d)
			}
			for _, l := range k.Limits(now) {
				if math.IsNaN(l.PerSecond) || l.PerSecond <= 0 && l.Kind != Concurrency || math.IsNaN(l.Left) {
					t.Fatalf("%+v", l)
				}
				if configured > 0 && l.Kind == Requests && !l.Stock && l.PerSecond > float64(configured)/60*(1+1e-9) {
					t.Fatalf("%v a second, configured were %v", l.PerSecond, float64(configured)/60)
				}
			}
		}
	})
}
