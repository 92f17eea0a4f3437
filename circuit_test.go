package snubber

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// rig drives one circuit by a clock of its own.
type rig struct {
	t   testing.TB
	b   *Breaker
	c   *circuit
	now time.Time
}

func newRig(t testing.TB, b *Breaker) *rig {
	// The start of a bucket for every window that divides a day: buckets count from
	// epoch, which is another in each process.
	now := mono.Time(24 * time.Hour).Time()
	return &rig{t: t, b: b, c: b.circuit(key{custom: "k"}, now), now: now}
}

func (r *rig) after(d time.Duration) *rig {
	r.now = r.now.Add(d)
	return r
}

const term = 30 * time.Second

// send admits one request.
func (r *rig) send() lease {
	r.t.Helper()
	l, _, at, ok := r.c.admit(r.now, term)
	if !ok {
		r.t.Fatalf("refused until %v, want admitted", at.Sub(r.now))
	}
	return l
}

// refused checks that the circuit admits nothing, and returns for how long.
func (r *rig) refused() time.Duration {
	r.t.Helper()
	at, ok := r.c.look(r.now)
	if ok {
		r.t.Fatal("look = ok, want refused")
	}
	if _, _, again, ok := r.c.admit(r.now, term); ok || !again.Equal(at) {
		r.t.Fatalf("admit = %v, %v, want refused until %v as look has it", again, ok, at)
	}
	return at.Sub(r.now)
}

func (r *rig) end(l lease, class Class) { l.done(&Outcome{Class: class}, r.now) }

// run sends requests that end at once: f fails, s succeeds, n is neutral.
func (r *rig) run(outcomes string) *rig {
	r.t.Helper()
	for _, o := range outcomes {
		r.end(r.send(), map[rune]Class{'f': ServerError, 's': Success, 'n': Transient}[o])
	}
	return r
}

func (r *rig) is(want CircuitState) *rig {
	r.t.Helper()
	if got := r.c.snapshot(r.now).State; got != want {
		r.t.Fatalf("state = %v, want %v", got, want)
	}
	return r
}

// halfOpen trips the circuit and waits for its open time.
func (r *rig) halfOpen() *rig {
	r.t.Helper()
	r.run("ffffffffff").is(CircuitOpen)
	return r.after(r.refused()).is(CircuitHalfOpen)
}

// Failures in a row open the circuit, at exactly the configured number; what
// proves the service alive begins the count anew, and what proves nothing
// neither counts nor resets.
func TestCircuitConsecutive(t *testing.T) {
	for _, tt := range []struct {
		failures int
		outcomes string
		want     CircuitState
	}{
		{0, "fffffffff", CircuitClosed},
		{0, "ffffffffff", CircuitOpen},
		{0, "fffffffffsfffffffff", CircuitClosed},
		{0, "fffffffffsffffffffff", CircuitOpen},
		{0, "fffffffffnf", CircuitOpen},
		{0, "fffffffffnnnnnnnnnn", CircuitClosed},
		{1, "f", CircuitOpen},
		{3, "ff", CircuitClosed},
		{3, "fff", CircuitOpen},
		{3, "ffsffsff", CircuitClosed},
		{-1, "ffffffffffffff", CircuitClosed},
	} {
		t.Run(fmt.Sprintf("%d/%s", tt.failures, tt.outcomes), func(t *testing.T) {
			newRig(t, &Breaker{Failures: tt.failures}).run(tt.outcomes).is(tt.want)
		})
	}
}

// Each class counts as the table of classes says: as a failure, as a sign of
// life, or not at all.
func TestCircuitClasses(t *testing.T) {
	const dies, lives, nothing = "failure", "alive", "neutral"
	for class, want := range map[Class]string{
		Success: lives, TooLong: lives, Filtered: lives, Invalid: lives,
		RateLimited: nothing, QuotaExhausted: nothing, Transient: nothing, Canceled: nothing, Rejected: nothing,
		Overloaded: dies, ServerError: dies, Unreachable: dies, TimedOut: dies,
	} {
		t.Run(class.String(), func(t *testing.T) {
			r := newRig(t, &Breaker{Failures: 3}).run("ff")
			r.end(r.send(), class)
			if (r.c.snapshot(r.now).State == CircuitOpen) != (want == dies) {
				t.Fatalf("after two failures and %v: %v, want it counted as %s", class, r.c.snapshot(r.now).State, want)
			}
			if want == dies {
				return
			}
			r.run("f")
			if opened := r.c.snapshot(r.now).State == CircuitOpen; opened != (want == nothing) {
				t.Errorf("%v between the failures: open = %v, want it counted as %s", class, opened, want)
			}
		})
	}
}

// The ratio opens the circuit when enough outcomes are there and half of them,
// or what is configured, have failed.
func TestCircuitRatio(t *testing.T) {
	for _, tt := range []struct {
		name     string
		b        *Breaker
		outcomes string
		want     CircuitState
	}{
		{"half of 19", &Breaker{}, "sfsfsfsfsfsfsfsfsff", CircuitClosed},
		{"half of 20", &Breaker{}, "sfsfsfsfsfsfsfsfsfsf", CircuitOpen},
		{"less than half", &Breaker{}, "ssfsfsfsfsfsfsfsfsfsfsf", CircuitClosed},
		{"neutral ones are not outcomes", &Breaker{}, "nsfsfsfsfsfsfsfsfsff", CircuitClosed},
		{"a tenth of five", &Breaker{Ratio: 0.1, MinRequests: 5}, "ssssf", CircuitOpen},
		{"below the minimum", &Breaker{Ratio: 0.1, MinRequests: 5}, "sssf", CircuitClosed},
		{"no minimum", &Breaker{MinRequests: -1}, "f", CircuitOpen},
		{"no ratio", &Breaker{Ratio: -1}, "sfsfsfsfsfsfsfsfsfsfsfsffffff", CircuitClosed},
		{"all of them", &Breaker{Ratio: 1, MinRequests: 3, Failures: -1}, "fff", CircuitOpen},
		{"not all of them", &Breaker{Ratio: 1, MinRequests: 3, Failures: -1}, "sfffffffffffffff", CircuitClosed},
	} {
		t.Run(tt.name, func(t *testing.T) { newRig(t, tt.b).run(tt.outcomes).is(tt.want) })
	}
}

// Both rules off is a breaker that never opens.
func TestCircuitOff(t *testing.T) {
	r := newRig(t, &Breaker{Failures: -1, Ratio: -1})
	for range 1000 {
		r.run("f")
	}
	r.is(CircuitClosed)
}

// An outcome counts for the whole window less one bucket at least, and never
// for longer than the window.
func TestCircuitWindow(t *testing.T) {
	for _, window := range []time.Duration{0, 10 * time.Second, 5 * time.Minute} {
		width := orDefault(window, 30*time.Second)
		for _, offset := range []time.Duration{0, 1, width / 20, width/10 - 1, width / 10, width / 3} {
			fresh := func() *rig {
				r := newRig(t, &Breaker{Window: window, Failures: -1, MinRequests: 2}).after(offset)
				return r.run("f").is(CircuitClosed)
			}
			fresh().after(width * 9 / 10).run("f").is(CircuitOpen)
			fresh().after(width).run("f").is(CircuitClosed)
			fresh().after(100 * width).run("f").is(CircuitClosed)
		}
	}
}

// The counts of a snapshot leave the window bucket by bucket.
func TestCircuitBuckets(t *testing.T) {
	r := newRig(t, &Breaker{Failures: -1, Ratio: -1})
	for range 20 {
		r.run("sf").after(3 * time.Second)
	}
	for left := 9; left >= 0; left-- { // the 20 of the last ten buckets, one bucket ahead now
		if s := r.c.snapshot(r.now); s.Requests != 2*left || s.Failures != left {
			t.Fatalf("%d outcomes, %d failures, want %d and %d", s.Requests, s.Failures, 2*left, left)
		}
		r.after(3 * time.Second)
	}
}

// A failure that took five minutes counts when it is known, although the
// window is half a minute; so ten of them in parallel open the circuit, and
// twenty with the ratio alone.
func TestCircuitLongCalls(t *testing.T) {
	for _, b := range []*Breaker{{}, {Failures: -1}} {
		r := newRig(t, b)
		var leases []lease
		for range 20 {
			leases = append(leases, r.send())
		}
		r.after(5 * time.Minute)
		for i, l := range leases {
			if i < 9 || b.Failures < 0 {
				r.is(CircuitClosed)
			}
			r.end(l, TimedOut)
		}
		r.is(CircuitOpen)
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
		r := newRig(t, &Breaker{Probes: probes}).halfOpen()
		var leases []lease
		for range n {
			leases = append(leases, r.send())
		}
		if got := r.refused(); got != term {
			t.Errorf("Probes %d: the next may come in %v, want with the end of a lease, %v", probes, got, term)
		}
		for i, l := range leases {
			r.is(CircuitHalfOpen)
			if i > 0 && i < n-1 {
				r.send() // a place that is free is given again
			}
			r.end(l, []Class{Success, Invalid, Filtered, TooLong}[i%4])
		}
		r.is(CircuitClosed).run("fffffffff").is(CircuitClosed).run("f").is(CircuitOpen)
	}
}

// One failed probe opens the circuit again, whatever the others said before.
func TestCircuitProbeFails(t *testing.T) {
	for _, outcomes := range []string{"f", "sf", "nf", "snnf"} {
		newRig(t, &Breaker{}).halfOpen().run(outcomes).is(CircuitOpen)
	}
}

// A probe that showed nothing gives its place back at once and does not count.
func TestCircuitProbeNeutral(t *testing.T) {
	for _, class := range []Class{RateLimited, QuotaExhausted, Transient, Canceled, Rejected} {
		r := newRig(t, &Breaker{}).halfOpen()
		for range 10 {
			a, b := r.send(), r.send()
			r.refused()
			r.end(a, class)
			r.end(b, class)
			r.is(CircuitHalfOpen)
		}
		r.run("s").is(CircuitHalfOpen).run("s").is(CircuitClosed)
	}
}

// A probe is a lease: one that hangs loses its place to the next when its time
// is over, and not before.
func TestCircuitLease(t *testing.T) {
	r := newRig(t, &Breaker{}).halfOpen()
	hung := []lease{r.send()}
	r.after(10 * time.Second)
	hung = append(hung, r.send())
	if got := r.refused(); got != 20*time.Second {
		t.Fatalf("refused for %v, want 20s: the first lease's rest", got)
	}
	r.after(20*time.Second - 1).refused()
	next := r.after(1).send()
	if got := r.refused(); got != 10*time.Second {
		t.Fatalf("refused for %v, want 10s: the second lease's rest", got)
	}
	// An outcome that comes late counts as long as the state is the same.
	r.end(hung[0], Success)
	r.is(CircuitHalfOpen)
	if got := r.refused(); got != 10*time.Second {
		t.Errorf("the end of an expired probe freed another's place")
	}
	r.end(next, Success)
	r.is(CircuitClosed)
	_ = hung[1]

	r = newRig(t, &Breaker{}).halfOpen()
	late := r.send()
	r.after(time.Hour)
	r.end(late, ServerError)
	r.is(CircuitOpen)
}

// Outcomes of an older state change nothing: neither the state nor the counts.
func TestCircuitStaleOutcomes(t *testing.T) {
	t.Run("a success from before the trip does not close", func(t *testing.T) {
		r := newRig(t, &Breaker{Probes: 1})
		old := []lease{r.send(), r.send(), r.send()}
		r.run("ffffffffff").is(CircuitOpen)
		r.end(old[0], Success)
		r.is(CircuitOpen).after(r.refused()).is(CircuitHalfOpen)
		r.end(old[1], Success)
		probe := r.is(CircuitHalfOpen).send()
		r.end(old[2], Success)
		r.is(CircuitHalfOpen).refused() // nor did it free the probe's place
		r.end(probe, Success)
		r.is(CircuitClosed)
	})
	t.Run("a failure from before the trip makes it no longer", func(t *testing.T) {
		r := newRig(t, &Breaker{})
		old := r.send()
		r.run("ffffffffff")
		want := r.refused()
		r.after(time.Second)
		old.done(&Outcome{Class: Overloaded, NotBefore: r.now.Add(time.Minute)}, r.now)
		if got := r.refused(); got != want-time.Second {
			t.Errorf("refused for %v, want %v", got, want-time.Second)
		}
	})
	t.Run("a failure from before the close does not open", func(t *testing.T) {
		r := newRig(t, &Breaker{Failures: 1})
		old := r.send()
		r.run("f").is(CircuitOpen).after(r.refused())
		r.end(old, ServerError)
		r.is(CircuitHalfOpen)
		a, b, c := r.send(), r.send(), lease{}
		r.end(a, Success)
		c = r.send()
		r.end(b, Success)
		r.is(CircuitClosed)
		r.end(c, ServerError) // a probe of the half-open state
		r.is(CircuitClosed)
		if s := r.c.snapshot(r.now); s.Requests != 0 || s.Consecutive != 0 {
			t.Errorf("%d outcomes, %d in a row, want none", s.Requests, s.Consecutive)
		}
	})
	t.Run("a probe of another half-open state does not count", func(t *testing.T) {
		r := newRig(t, &Breaker{}).halfOpen()
		old := r.send()
		r.run("f").is(CircuitOpen).after(r.refused()).run("s")
		r.end(old, Success)
		r.is(CircuitHalfOpen)
		r.run("s").is(CircuitClosed)
	})
}

// By hand a circuit opens at once, for as long as nobody closes it, and closes
// at once with nothing remembered of before.
func TestCircuitByHand(t *testing.T) {
	r := newRig(t, &Breaker{Failures: 3}).run("ff")
	old := r.send()
	r.c.force(true, r.now)
	for range 3 {
		if at, ok := r.c.look(r.now); ok || !at.IsZero() {
			t.Fatalf("look = %v, %v, want refused and nobody knows for how long", at, ok)
		}
		if s := r.c.snapshot(r.now); s.State != CircuitOpen || !s.ByHand || !s.Until.IsZero() {
			t.Fatalf("%+v, want open by hand", s)
		}
		r.after(24 * time.Hour)
	}
	r.end(old, Success)
	r.is(CircuitOpen)
	r.c.force(false, r.now)
	r.is(CircuitClosed).run("ff").is(CircuitClosed)
	old = r.send()
	r.c.force(false, r.now)
	r.end(old, ServerError)
	r.run("ff").is(CircuitClosed).run("f").is(CircuitOpen)
	r.c.force(false, r.now)
	r.is(CircuitClosed)
}

// Whoever waits for a circuit is woken when it closes and when a probe's place
// becomes free.
func TestCircuitWakes(t *testing.T) {
	woken := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	for name, wake := range map[string]func(r *rig, a, b lease){
		"a place is free": func(r *rig, a, b lease) { r.end(a, Canceled) },
		"it closed":       func(r *rig, a, b lease) { r.end(a, Success); r.end(b, Success) },
		"it opened again": func(r *rig, a, b lease) { r.end(a, ServerError) },
		"closed by hand":  func(r *rig, a, b lease) { r.c.force(false, r.now) },
		"opened by hand":  func(r *rig, a, b lease) { r.c.force(true, r.now) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, &Breaker{}).halfOpen()
			a, b := r.send(), r.send()
			c, d := r.c.wait(), r.c.wait()
			if woken(c) || woken(d) {
				t.Fatal("woken before anything happened")
			}
			wake(r, a, b)
			if !woken(c) || !woken(d) {
				t.Error("not all were woken")
			}
			if woken(r.c.wait()) {
				t.Error("the next to wait is woken by what was before")
			}
		})
	}
}
