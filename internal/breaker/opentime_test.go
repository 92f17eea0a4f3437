package breaker

import (
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// The open time is five seconds, doubles with each further opening up to a
// minute, and varies by a fifth.
func TestCircuitOpenTime(t *testing.T) {
	for _, tt := range []struct {
		openFor, maxOpenFor time.Duration
		want                []time.Duration // before jitter
		max                 time.Duration
	}{
		{0, 0, []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 60 * time.Second, 60 * time.Second}, 60 * time.Second},
		{time.Second, 3 * time.Second, []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second}, 3 * time.Second},
		{time.Minute, 0, []time.Duration{60 * time.Second}, 60 * time.Second},
		{mono.Forever, mono.Forever, []time.Duration{mono.Forever, mono.Forever}, mono.Forever},
	} {
		seen := make([]map[time.Duration]bool, len(tt.want))
		for range 50 {
			r := newRig(t, Config{OpenFor: tt.openFor, MaxOpenFor: tt.maxOpenFor})
			r.run("ffffffffff")
			for i, want := range tt.want {
				got := r.refused()
				if lo, hi := want/5*4, min(want/5*6, tt.max); got < lo || got > hi {
					t.Fatalf("%v: opening %d lasts %v, want %v to %v", tt.openFor, i+1, got, lo, hi)
				}
				if seen[i] == nil {
					seen[i] = make(map[time.Duration]bool)
				}
				seen[i][got] = true
				if want == mono.Forever {
					break // and no clock goes there
				}
				r.after(got - 1).is(Open).after(1).run("f").is(Open)
			}
		}
		for i, s := range seen {
			if s != nil && len(s) < 10 {
				t.Errorf("opening %d took only %d different times in 50", i+1, len(s))
			}
		}
	}
}

// Each healthy minute takes one doubling of the open time back.
func TestCircuitOpenTimeDecays(t *testing.T) {
	for _, tt := range []struct {
		healthy time.Duration
		want    time.Duration
	}{
		{time.Second, 40 * time.Second},
		{time.Minute - 1, 40 * time.Second},
		{time.Minute, 20 * time.Second},
		{2*time.Minute + 30*time.Second, 10 * time.Second},
		{3 * time.Minute, 5 * time.Second},
		{24 * time.Hour, 5 * time.Second},
		{200 * 365 * 24 * time.Hour, 5 * time.Second},
	} {
		r := newRig(t, Config{}).halfOpen()
		for range 2 {
			r.run("f").after(r.refused())
		}
		r.run("ss").is(Closed).after(tt.healthy).run("ffffffffff").is(Open)
		if got := r.refused(); got < tt.want*4/5 || got > tt.want*6/5 {
			t.Errorf("after three openings and %v of health: open for %v, want %v and a fifth", tt.healthy, got, tt.want)
		}
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
		{"shorter", []time.Duration{time.Second}, 4 * time.Second, 6 * time.Second},
		{"past", []time.Duration{-time.Hour}, 4 * time.Second, 6 * time.Second},
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
		if got := r.refused(); got > 6*time.Second {
			t.Errorf("open for %v, want 5s and a fifth", got)
		}
	})
}
