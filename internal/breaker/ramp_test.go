package breaker

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// site is a service that a ramp is tried on, driven by a clock of its own: patient
// requests come evenly, and one that is not admitted is tried again a little later, as
// those that wait are.
type site struct {
	*rig
	dice    *rand.Rand
	results results
	start   time.Time
}

type pending struct {
	at     time.Time
	permit Permit
	result Result
}

type results []pending

func (q results) Len() int           { return len(q) }
func (q results) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q results) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *results) Push(x any)        { *q = append(*q, x.(pending)) }
func (q *results) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// justClosed is a site whose circuit has been open and is closed now.
func justClosed(t *testing.T, seed uint64) *site {
	r := newRig(t, Config{Probes: 1, Chance: improbable, Ratio: noRatio}).run("ffffffffff")
	r.after(r.refused()).run("s").is(Closed)
	return &site{rig: r, dice: rand.New(rand.NewPCG(seed, 1)), start: r.now}
}

// load sends rate requests a second for a time. fails says whether a request that comes
// at an instant fails. It returns how many were sent and answered.
func (s *site) load(rate float64, long time.Duration, fails func(at time.Time) bool) (sent, ok int) {
	const step = 2 * time.Millisecond
	wanted := 0.0
	for end := s.now.Add(long); s.now.Before(end); s.after(step) {
		for len(s.results) > 0 && !s.results[0].at.After(s.now) {
			p := heap.Pop(&s.results).(pending)
			if s.end(p.permit, p.result); p.result == Alive {
				ok++
			}
		}
		for wanted = min(wanted+rate*step.Seconds(), 100); wanted >= 1; wanted-- {
			p, _, _, admitted := s.c.Acquire(s.now, ttl, true)
			if !admitted {
				break
			}
			sent++
			took, result := 200*time.Millisecond+time.Duration(s.dice.IntN(200))*time.Millisecond, Alive
			if fails(s.now) {
				took, result = 20*time.Millisecond, Failed
			}
			heap.Push(&s.results, pending{s.now.Add(took), p, result})
		}
	}
	return sent, ok
}

func never(time.Time) bool { return false }

// After a recovery a few requests go at first. The bound is gone within seconds where
// the service answers, even if it fails a share of them whatever the load.
func TestRampGivesWay(t *testing.T) {
	for _, share := range []float64{0, 0.3, 0.5, 0.7} {
		long := 0
		for seed := range uint64(20) {
			s := justClosed(t, seed)
			fails := func(time.Time) bool { return s.dice.Float64() < share }
			if sent, _ := s.load(50, time.Second/2, fails); sent > 8 {
				t.Errorf("%d sent in the first half second, want a few", sent)
			}
			for i := 0; s.c.state != Closed || s.c.ramp.on(); i++ {
				if s.load(50, time.Second, fails); i == 20 {
					long++
					break
				}
			}
		}
		if long > 2 { // a row of failures may look like too much load
			t.Errorf("a share of %v: %d of 20 bounded after 20 s", share, long)
		}
	}
}

// A service that collapses above its capacity gets nearly what it can carry. It answers
// what it has work in hand for, and refusing costs it half of a request's work.
func TestRampFindsCapacity(t *testing.T) {
	const capacity = 50.0
	for _, load := range []float64{1.2, 2, 5} {
		for seed := range uint64(5) {
			s := justClosed(t, seed)
			work, last := 0.0, s.now
			fails := func(at time.Time) bool {
				work, last = min(work+capacity*at.Sub(last).Seconds(), capacity/5), at
				if work >= 1 {
					work--
					return false
				}
				work = max(work-0.5, -capacity/5)
				return true
			}
			s.load(load*capacity, 30*time.Second, fails)
			sent, ok := s.load(load*capacity, time.Minute, fails)
			if goodput := float64(ok) / 60 / capacity; goodput < 0.9 || math.IsNaN(goodput) {
				t.Errorf("load %v, seed %d: %.2f of the capacity answered, want 0.9", load, seed, goodput)
			}
			if float64(sent) > 1.05*60*capacity {
				t.Errorf("load %v, seed %d: %d sent in a minute to a service that can do %v", load, seed, sent, 60*capacity)
			}
		}
	}
}

// When the load falls below what the service can carry the bound goes.
func TestRampEnds(t *testing.T) {
	s := justClosed(t, 1)
	s.load(100, 20*time.Second, func(time.Time) bool { return s.c.ramp.rate > 40 })
	if !s.c.ramp.found {
		t.Fatal("no bound was found")
	}
	s.load(5, 30*time.Second, never)
	if s.c.ramp.on() {
		t.Errorf("a bound of %v a second after half a minute of little load", s.c.ramp.rate)
	}
	if _, ok := s.c.Check(s.now, true); !ok || s.c.restricted.Load() {
		t.Error("the circuit is still restricted")
	}
}

// Requests that cannot wait are not held back for caution's sake, only where the load
// was found to be too much.
func TestRampPassesTheImpatient(t *testing.T) {
	s := justClosed(t, 1)
	for range 20 {
		if _, _, _, ok := s.c.Acquire(s.now, ttl, false); !ok {
			t.Fatal("an impatient request is refused at the beginning of a ramp")
		}
	}
	s = justClosed(t, 1)
	s.load(100, 20*time.Second, func(time.Time) bool { return s.c.ramp.rate > 40 })
	refused := 0
	for range 100 {
		if _, _, at, ok := s.c.Acquire(s.now, ttl, false); !ok {
			refused++
			if !at.After(s.now) {
				t.Fatalf("refused until %v, want a time to come", at.Sub(s.now))
			}
		}
	}
	if refused < 90 {
		t.Errorf("%d of 100 at once refused, want most", refused)
	}
}
