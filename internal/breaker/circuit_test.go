package breaker

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// noRatio is a Ratio that no share of failures reaches.
var noRatio = math.Inf(1)

// noFailures is a number of failures in a row that none reaches.
const noFailures = math.MaxInt

// withDefaults fills the zero values of c with a usual policy.
func withDefaults(c Config) Config {
	or := func(d, def time.Duration) time.Duration {
		if d == 0 {
			return def
		}
		return d
	}
	if c.Failures == 0 {
		c.Failures = 10
	}
	if c.Ratio == 0 {
		c.Ratio = 0.5
	}
	if c.MinRequests == 0 {
		c.MinRequests = 20
	}
	if c.Probes == 0 {
		c.Probes = 2
	}
	c.Window = or(c.Window, 30*time.Second)
	c.OpenFor = or(c.OpenFor, 5*time.Second)
	c.MaxOpenFor = or(c.MaxOpenFor, time.Minute)
	return c
}

// rig drives one circuit by a clock of its own.
type rig struct {
	t   testing.TB
	c   *Circuit
	now time.Time
}

func newRig(t testing.TB, config Config) *rig {
	c := new(Circuit)
	c.Init(withDefaults(config))
	// The start of a bucket for every window that divides a day: buckets count from
	// the epoch, which is another in each process.
	return &rig{t: t, c: c, now: mono.Time(24 * time.Hour).Time()}
}

func (r *rig) after(d time.Duration) *rig {
	r.now = r.now.Add(d)
	return r
}

const ttl = 30 * time.Second

// send admits one request.
func (r *rig) send() Permit {
	r.t.Helper()
	p, _, at, ok := r.c.Acquire(r.now, ttl, false)
	if !ok {
		r.t.Fatalf("refused until %v, want admitted", at.Sub(r.now))
	}
	return p
}

// refused checks that the circuit admits nothing, and returns for how long.
func (r *rig) refused() time.Duration {
	r.t.Helper()
	at, ok := r.c.Check(r.now, false)
	if ok {
		r.t.Fatal("Check = ok, want refused")
	}
	if _, _, again, ok := r.c.Acquire(r.now, ttl, false); ok || !again.Equal(at) {
		r.t.Fatalf("Acquire = %v, %v, want refused until %v as Check has it", again, ok, at)
	}
	return at.Sub(r.now)
}

func (r *rig) end(p Permit, result Result) { p.Done(result, time.Time{}, r.now) }

// run sends requests that end at once: f fails, s shows life, n is neutral.
func (r *rig) run(outcomes string) *rig {
	r.t.Helper()
	for _, o := range outcomes {
		r.end(r.send(), map[rune]Result{'f': Failed, 's': Alive, 'n': Neutral}[o])
	}
	return r
}

func (r *rig) is(want State) *rig {
	r.t.Helper()
	if got := r.c.Snapshot(r.now).State; got != want {
		r.t.Fatalf("state = %v, want %v", got, want)
	}
	return r
}

// halfOpen trips the circuit and waits for its open time.
func (r *rig) halfOpen() *rig {
	r.t.Helper()
	r.run("ffffffffff").is(Open)
	return r.after(r.refused()).is(HalfOpen)
}

// Failures in a row open the circuit, at exactly the configured number; what
// proves the service alive begins the count anew, and what proves nothing
// neither counts nor resets.
func TestCircuitConsecutive(t *testing.T) {
	for _, tt := range []struct {
		failures int
		outcomes string
		want     State
	}{
		{0, "fffffffff", Closed},
		{0, "ffffffffff", Open},
		{0, "fffffffffsfffffffff", Closed},
		{0, "fffffffffsffffffffff", Open},
		{0, "fffffffffnf", Open},
		{0, "fffffffffnnnnnnnnnn", Closed},
		{1, "f", Open},
		{3, "ff", Closed},
		{3, "fff", Open},
		{3, "ffsffsff", Closed},
		{noFailures, "ffffffffffffff", Closed},
	} {
		t.Run(fmt.Sprintf("%d/%s", tt.failures, tt.outcomes), func(t *testing.T) {
			newRig(t, Config{Failures: tt.failures}).run(tt.outcomes).is(tt.want)
		})
	}
}

// Each result counts as a failure, as a sign of life, or not at all.
func TestCircuitResults(t *testing.T) {
	const dies, lives, nothing = "failure", "alive", "neutral"
	for result, want := range map[Result]string{Failed: dies, Alive: lives, Neutral: nothing, Limited: nothing} {
		t.Run(fmt.Sprint(result), func(t *testing.T) {
			r := newRig(t, Config{Failures: 3}).run("ff")
			r.end(r.send(), result)
			if (r.c.Snapshot(r.now).State == Open) != (want == dies) {
				t.Fatalf("after two failures and %v: %v, want it counted as %s", result, r.c.Snapshot(r.now).State, want)
			}
			if want == dies {
				return
			}
			r.run("f")
			if opened := r.c.Snapshot(r.now).State == Open; opened != (want == nothing) {
				t.Errorf("%v between the failures: open = %v, want it counted as %s", result, opened, want)
			}
		})
	}
}

// The ratio opens the circuit when enough outcomes are there and half of them,
// or what is configured, have failed.
func TestCircuitRatio(t *testing.T) {
	for _, tt := range []struct {
		name     string
		config   Config
		outcomes string
		want     State
	}{
		{"half of 19", Config{}, "sfsfsfsfsfsfsfsfsff", Closed},
		{"half of 20", Config{}, "sfsfsfsfsfsfsfsfsfsf", Open},
		{"less than half", Config{}, "ssfsfsfsfsfsfsfsfsfsfsf", Closed},
		{"neutral ones are not outcomes", Config{}, "nsfsfsfsfsfsfsfsfsff", Closed},
		{"a tenth of five", Config{Ratio: 0.1, MinRequests: 5}, "ssssf", Open},
		{"below the minimum", Config{Ratio: 0.1, MinRequests: 5}, "sssf", Closed},
		{"no minimum", Config{MinRequests: 1}, "f", Open},
		{"no ratio", Config{Ratio: noRatio}, "sfsfsfsfsfsfsfsfsfsfsfsffffff", Closed},
		{"all of them", Config{Ratio: 1, MinRequests: 3, Failures: noFailures}, "fff", Open},
		{"not all of them", Config{Ratio: 1, MinRequests: 3, Failures: noFailures}, "sfffffffffffffff", Closed},
	} {
		t.Run(tt.name, func(t *testing.T) { newRig(t, tt.config).run(tt.outcomes).is(tt.want) })
	}
}

// Both rules off is a breaker that never opens.
func TestCircuitOff(t *testing.T) {
	r := newRig(t, Config{Failures: noFailures, Ratio: noRatio})
	for range 1000 {
		r.run("f")
	}
	r.is(Closed)
}

// An outcome counts for the whole window less one bucket at least, and never
// for longer than the window.
func TestCircuitWindow(t *testing.T) {
	for _, width := range []time.Duration{30 * time.Second, 10 * time.Second, 5 * time.Minute} {
		for _, offset := range []time.Duration{0, 1, width / 20, width/10 - 1, width / 10, width / 3} {
			fresh := func() *rig {
				r := newRig(t, Config{Window: width, Failures: noFailures, MinRequests: 2}).after(offset)
				return r.run("f").is(Closed)
			}
			fresh().after(width * 9 / 10).run("f").is(Open)
			fresh().after(width).run("f").is(Closed)
			fresh().after(100 * width).run("f").is(Closed)
		}
	}
}

// The counts of a snapshot leave the window bucket by bucket.
func TestCircuitBuckets(t *testing.T) {
	r := newRig(t, Config{Failures: noFailures, Ratio: noRatio})
	for range 20 {
		r.run("sf").after(3 * time.Second)
	}
	for left := 9; left >= 0; left-- { // the 20 of the last ten buckets, one bucket ahead now
		if s := r.c.Snapshot(r.now); s.Requests != 2*left || s.Failures != left {
			t.Fatalf("%d outcomes, %d failures, want %d and %d", s.Requests, s.Failures, 2*left, left)
		}
		r.after(3 * time.Second)
	}
}

// A failure that took five minutes counts when it is known, although the
// window is half a minute; so ten of them in parallel open the circuit, and
// twenty with the ratio alone.
func TestCircuitLongCalls(t *testing.T) {
	for _, config := range []Config{{}, {Failures: noFailures}} {
		r := newRig(t, config)
		var permits []Permit
		for range 20 {
			permits = append(permits, r.send())
		}
		r.after(5 * time.Minute)
		for i, p := range permits {
			if i < 9 || config.Failures == noFailures {
				r.is(Closed)
			}
			r.end(p, Failed)
		}
		r.is(Open)
	}
}

// A half-open circuit admits Probes requests at a time and is closed by as
// many successes.
func TestCircuitProbes(t *testing.T) {
	for _, probes := range []int{0, 1, 2, 3, 7} {
		n := probes
		if n == 0 {
			n = 2
		}
		r := newRig(t, Config{Probes: probes}).halfOpen()
		var permits []Permit
		for range n {
			permits = append(permits, r.send())
		}
		if got := r.refused(); got != ttl {
			t.Errorf("Probes %d: the next may come in %v, want when the first place expires, %v", probes, got, ttl)
		}
		for i, p := range permits {
			r.is(HalfOpen)
			if i > 0 && i < n-1 {
				r.send() // a place that is free is given again
			}
			r.end(p, Alive)
		}
		r.is(Closed).run("fffffffff").is(Closed).run("f").is(Open)
	}
}

// One failed probe opens the circuit again, whatever the others said before.
func TestCircuitProbeFails(t *testing.T) {
	for _, outcomes := range []string{"f", "sf", "nf", "snnf"} {
		newRig(t, Config{}).halfOpen().run(outcomes).is(Open)
	}
}

// A probe that showed nothing gives its place back at once and does not count.
func TestCircuitProbeNeutral(t *testing.T) {
	for _, result := range []Result{Neutral, Limited} {
		r := newRig(t, Config{}).halfOpen()
		for range 10 {
			a, b := r.send(), r.send()
			r.refused()
			r.end(a, result)
			r.end(b, result)
			r.is(HalfOpen)
		}
		r.run("s").is(HalfOpen).run("s").is(Closed)
	}
}

// A probe that hangs loses its place to the next request when its time is over,
// and not before.
func TestCircuitProbeExpires(t *testing.T) {
	r := newRig(t, Config{}).halfOpen()
	hung := []Permit{r.send()}
	r.after(10 * time.Second)
	hung = append(hung, r.send())
	if got := r.refused(); got != 20*time.Second {
		t.Fatalf("refused for %v, want 20s: the first probe's rest", got)
	}
	r.after(20*time.Second - 1).refused()
	next := r.after(1).send()
	if got := r.refused(); got != 10*time.Second {
		t.Fatalf("refused for %v, want 10s: the second probe's rest", got)
	}
	// A result that comes late counts as long as the state is the same.
	r.end(hung[0], Alive)
	r.is(HalfOpen)
	if got := r.refused(); got != 10*time.Second {
		t.Errorf("the end of an expired probe freed another's place")
	}
	r.end(next, Alive)
	r.is(Closed)
	_ = hung[1]

	r = newRig(t, Config{}).halfOpen()
	late := r.send()
	r.after(time.Hour)
	r.end(late, Failed)
	r.is(Open)
}

// Results of an older state change nothing: neither the state nor the counts.
func TestCircuitStaleOutcomes(t *testing.T) {
	t.Run("a success from before the trip does not close", func(t *testing.T) {
		r := newRig(t, Config{Probes: 1})
		old := []Permit{r.send(), r.send(), r.send()}
		r.run("ffffffffff").is(Open)
		r.end(old[0], Alive)
		r.is(Open).after(r.refused()).is(HalfOpen)
		r.end(old[1], Alive)
		probe := r.is(HalfOpen).send()
		r.end(old[2], Alive)
		r.is(HalfOpen).refused() // nor did it free the probe's place
		r.end(probe, Alive)
		r.is(Closed)
	})
	t.Run("a failure from before the trip makes it no longer", func(t *testing.T) {
		r := newRig(t, Config{})
		old := r.send()
		r.run("ffffffffff")
		want := r.refused()
		r.after(time.Second)
		old.Done(Failed, r.now.Add(time.Minute), r.now)
		if got := r.refused(); got != want-time.Second {
			t.Errorf("refused for %v, want %v", got, want-time.Second)
		}
	})
	t.Run("a failure from before the close does not open", func(t *testing.T) {
		r := newRig(t, Config{Failures: 1})
		old := r.send()
		r.run("f").is(Open).after(r.refused())
		r.end(old, Failed)
		r.is(HalfOpen)
		a, b, c := r.send(), r.send(), Permit{}
		r.end(a, Alive)
		c = r.send()
		r.end(b, Alive)
		r.is(Closed)
		r.end(c, Failed) // a probe of the half-open state
		r.is(Closed)
		if s := r.c.Snapshot(r.now); s.Requests != 0 || s.Consecutive != 0 {
			t.Errorf("%d outcomes, %d in a row, want none", s.Requests, s.Consecutive)
		}
	})
	t.Run("a probe of another half-open state does not count", func(t *testing.T) {
		r := newRig(t, Config{}).halfOpen()
		old := r.send()
		r.run("f").is(Open).after(r.refused()).run("s")
		r.end(old, Alive)
		r.is(HalfOpen)
		r.run("s").is(Closed)
	})
}

// A forced circuit opens at once, until it is forced closed. It closes at once and
// remembers nothing of before.
func TestCircuitForce(t *testing.T) {
	r := newRig(t, Config{Failures: 3}).run("ff")
	old := r.send()
	r.c.Force(true, r.now)
	for range 3 {
		if at, ok := r.c.Check(r.now, false); ok || !at.IsZero() {
			t.Fatalf("Check = %v, %v, want refused and nobody knows for how long", at, ok)
		}
		if s := r.c.Snapshot(r.now); s.State != Open || !s.Forced || !s.Until.IsZero() {
			t.Fatalf("%+v, want forced open", s)
		}
		r.after(24 * time.Hour)
	}
	r.end(old, Alive)
	r.is(Open)
	r.c.Force(false, r.now)
	r.is(Closed).run("ff").is(Closed)
	old = r.send()
	r.c.Force(false, r.now)
	r.end(old, Failed)
	r.run("ff").is(Closed).run("f").is(Open)
	r.c.Force(false, r.now)
	r.is(Closed)
}

// A half-open circuit whose probe was told a time admits no probe before it, and
// never waits longer than MaxOpenFor. A closed circuit does not stop for it.
func TestCircuitLimited(t *testing.T) {
	for _, tt := range []struct{ asked, want time.Duration }{
		{20 * time.Second, 20 * time.Second},
		{time.Hour, time.Minute},
	} {
		r := newRig(t, Config{}).halfOpen()
		r.send().Done(Limited, r.now.Add(tt.asked), r.now)
		if got := r.is(Open).refused(); got != tt.want {
			t.Errorf("refused for %v after a probe's %v, want %v", got, tt.asked, tt.want)
		}
		r.after(tt.want).is(HalfOpen).run("ss").is(Closed)
	}
	r := newRig(t, Config{}).halfOpen()
	r.send().Done(Limited, r.now.Add(-time.Second), r.now)
	r.is(HalfOpen).send()

	r = newRig(t, Config{})
	r.send().Done(Limited, r.now.Add(time.Minute), r.now)
	r.is(Closed).send()
}

// A wait for a header means a hanging service after ten seconds, and after twice
// the longest wait that ended with a header.
func TestCircuitBlackHole(t *testing.T) {
	for _, tt := range []struct {
		headers []time.Duration
		ran     time.Duration
		want    bool
	}{
		{nil, 10*time.Second - 1, false},
		{nil, 10 * time.Second, true},
		{[]time.Duration{time.Second}, 10 * time.Second, true},
		{[]time.Duration{9 * time.Second, time.Second}, 18 * time.Second, false},
		{[]time.Duration{9 * time.Second, time.Second}, 18*time.Second + 2, true},
	} {
		r := newRig(t, Config{})
		for _, took := range tt.headers {
			r.send().Header(took)
		}
		if got := r.send().BlackHole(tt.ran); got != tt.want {
			t.Errorf("headers after %v: BlackHole(%v) = %v, want %v", tt.headers, tt.ran, got, tt.want)
		}
	}
	r := newRig(t, Config{}).halfOpen()
	probe := r.send()
	if probe.BlackHole(time.Second-1) || !probe.BlackHole(time.Second) {
		t.Error("a probe hangs before or not after a second")
	}
	var none Permit
	none.Header(time.Second)
	none.Done(Failed, time.Time{}, time.Now())
	if none.BlackHole(time.Hour) {
		t.Error("BlackHole = true for the zero Permit")
	}
}

// An open circuit is knowledge, a closed one can be made again.
func TestCircuitEvictable(t *testing.T) {
	r := newRig(t, Config{Failures: 1})
	if !r.c.Evictable(r.now) {
		t.Error("Evictable = false for a closed circuit")
	}
	r.run("f")
	if r.c.Evictable(r.now) {
		t.Error("Evictable = true for an open circuit")
	}
	if r.after(r.refused()); r.c.Evictable(r.now) {
		t.Error("Evictable = true for a half-open circuit")
	}
}
