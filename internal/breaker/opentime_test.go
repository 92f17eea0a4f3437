package breaker

import (
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// The open time is OpenFor at first, then a twentieth of the time that the service has
// been down, at most MaxOpenFor, and less by up to a tenth.
func TestCircuitOpenTime(t *testing.T) {
	for _, tt := range []struct {
		openFor, maxOpenFor time.Duration
		down                time.Duration
		want                time.Duration // before jitter
	}{
		{0, 0, 0, 5 * time.Second},
		{0, 0, time.Minute, 5 * time.Second},
		{0, 0, 200 * time.Second, 10 * time.Second},
		{0, 0, 10 * time.Minute, 30 * time.Second},
		{0, 0, 20 * time.Minute, time.Minute},
		{0, 0, 24 * time.Hour, time.Minute},
		{time.Second, 3 * time.Second, 0, time.Second},
		{time.Second, 3 * time.Second, 40 * time.Second, 2 * time.Second},
		{time.Second, 3 * time.Second, time.Hour, 3 * time.Second},
		{time.Minute, 0, 0, time.Minute},
		{mono.Forever, mono.Forever, 0, mono.Forever},
	} {
		seen := make(map[time.Duration]bool)
		for range 50 {
			r := newRig(t, Config{OpenFor: tt.openFor, MaxOpenFor: tt.maxOpenFor}).run("ffffffffff")
			if tt.down > 0 {
				r.after(tt.down).run("f").is(Open)
			}
			got := r.refused()
			if lo := tt.want / 10 * 9; got < lo || got > tt.want {
				t.Fatalf("%v, down for %v: open for %v, want %v to %v", tt.openFor, tt.down, got, lo, tt.want)
			}
			seen[got] = true
			if tt.want < mono.Forever { // where no clock goes
				r.after(got - 1).is(Open).after(1).is(HalfOpen)
			}
		}
		if len(seen) < 10 {
			t.Errorf("%v, down for %v: only %d different times in 50", tt.openFor, tt.down, len(seen))
		}
	}
}

// An outage is noticed to be over within a tenth of its time, and within 5 s where that
// is more, and a minute where it is less. One of two hours costs fewer than 200 probes.
func TestCircuitNoticesRecovery(t *testing.T) {
	for _, long := range []time.Duration{time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, 2 * time.Hour} {
		for range 20 {
			r := newRig(t, Config{}).run("ffffffffff")
			start, probes := r.now, 0
			for r.after(r.refused()); r.now.Sub(start) < long; r.after(r.refused()) {
				r.run("f")
				probes++
			}
			if lag, limit := r.now.Sub(start)-long, min(max(long/10, 5*time.Second), time.Minute); lag > limit {
				t.Errorf("an outage of %v: noticed %v late, want %v", long, lag, limit)
			}
			if probes >= 200 {
				t.Errorf("an outage of %v: %d probes", long, probes)
			}
		}
	}
}

// A service that was up for a moment is down anew: what was before does not count.
func TestCircuitOpenTimeAfterRecovery(t *testing.T) {
	r := newRig(t, Config{}).halfOpen().after(10 * time.Minute).run("ss").is(Closed).after(time.Second).run("ffffffffff").is(Open)
	if got := r.refused(); got > 5*time.Second {
		t.Errorf("open for %v after a recovery, want 5s", got)
	}
}

// The open time lasts until a failing server's own time at least, up to
// MaxOpenFor. A later and shorter time does not replace an earlier and longer one.
func TestCircuitServerRetryAt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		hints  []time.Duration // of the last failures
		lo, hi time.Duration
	}{
		{"longer", []time.Duration{20 * time.Second}, 20 * time.Second, 20 * time.Second},
		{"shorter", []time.Duration{time.Second}, 4 * time.Second, 5 * time.Second},
		{"past", []time.Duration{-time.Hour}, 4 * time.Second, 5 * time.Second},
		{"capped", []time.Duration{time.Hour}, time.Minute, time.Minute},
		{"years", []time.Duration{mono.Forever}, time.Minute, time.Minute},
		{"the longest", []time.Duration{30 * time.Second, 10 * time.Second}, 30 * time.Second, 30 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, Config{Failures: len(tt.hints)})
			for _, h := range tt.hints {
				r.send().Done(Failed, r.now.Add(h), r.now)
			}
			if got := r.refused(); got < tt.lo || got > tt.hi {
				t.Errorf("open for %v, want %v to %v", got, tt.lo, tt.hi)
			}
		})
	}
	t.Run("of a probe", func(t *testing.T) {
		r := newRig(t, Config{}).halfOpen()
		r.send().Done(Failed, r.now.Add(45*time.Second), r.now)
		if got := r.refused(); got != 45*time.Second {
			t.Errorf("open for %v, want 45s", got)
		}
	})
	t.Run("of a closed circuit's past", func(t *testing.T) {
		r := newRig(t, Config{Failures: 1})
		r.send().Done(Failed, r.now.Add(50*time.Second), r.now)
		r.after(r.refused()).run("ss").is(Closed).after(time.Hour).run("f")
		if got := r.refused(); got > 5*time.Second {
			t.Errorf("open for %v, want 5s at most", got)
		}
	})
}
