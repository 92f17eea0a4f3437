package watchdog

import (
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

var usual = Limits{Headers: time.Minute, FirstEvent: 30 * time.Second, Idle: 10 * time.Second, Attempt: time.Hour, Hold: 20 * time.Second}

const second = mono.Time(time.Second)

// at is a time so many seconds after the start of the attempt.
func at(s int) mono.Time { return 1000*second + mono.Time(s)*second }

func newWatch() *Watch { return &Watch{Started: at(0)} }

// The nearest limit depends on what the attempt waits for.
func TestWatchNearest(t *testing.T) {
	none := Limits{mono.Forever, mono.Forever, mono.Forever, mono.Forever, mono.Forever}
	with := func(change func(l *Limits)) Limits {
		l := usual
		change(&l)
		return l
	}
	for _, tt := range []struct {
		name   string
		limits Limits
		do     func(w *Watch)
		at     mono.Time
		phase  Phase
		limit  time.Duration
	}{
		{"before the header", usual, func(w *Watch) {}, at(60), PhaseHeaders, time.Minute},
		{"the whole attempt is nearer", with(func(l *Limits) { l.Attempt = 5 * time.Second }), func(w *Watch) {}, at(5), PhaseAttempt, 5 * time.Second},
		{"between Reads", usual, func(w *Watch) { w.Header(at(1)) }, at(3600), PhaseAttempt, time.Hour},
		{"between Reads, holding", usual, func(w *Watch) { w.Header(at(1)); w.Holding = true }, at(21), PhaseHold, 20 * time.Second},
		{"holding counts from the last Read", usual, func(w *Watch) {
			w.Holding = true
			w.Header(at(1))
			w.BeginRead(at(2))
			w.EndRead(at(9))
		}, at(29), PhaseHold, 20 * time.Second},
		{"in a Read", usual, func(w *Watch) { w.Holding = true; w.Header(at(1)); w.BeginRead(at(5)) }, at(15), PhaseIdle, 10 * time.Second},
		{"in a Read before the content", with(func(l *Limits) { l.FirstEvent = 7 * time.Second }), func(w *Watch) {
			w.AwaitingContent = true
			w.Header(at(1))
			w.BeginRead(at(1))
		}, at(8), PhaseFirstEvent, 7 * time.Second},
		{"a slow reader is not a slow server", with(func(l *Limits) { l.FirstEvent = 7 * time.Second }), func(w *Watch) {
			w.AwaitingContent = true
			w.Header(at(1))
			w.BeginRead(at(1))
			w.EndRead(at(4)) // three seconds of seven
			w.BeginRead(at(100))
		}, at(104), PhaseFirstEvent, 7 * time.Second},
		{"in a Read behind the content", with(func(l *Limits) { l.FirstEvent = time.Second }), func(w *Watch) { w.Header(at(1)); w.BeginRead(at(5)) }, at(15), PhaseIdle, 10 * time.Second},
		{"upgraded", usual, func(w *Watch) { w.Header(at(1)); w.Upgraded = true; w.BeginRead(at(5)) }, mono.Never, "", 0},
		{"upgraded, holding", usual, func(w *Watch) { w.Header(at(1)); w.Upgraded, w.Holding = true, true }, at(21), PhaseHold, 20 * time.Second},
		{"no limits", none, func(w *Watch) { w.Holding = true; w.Header(at(1)) }, mono.Never, "", 0},
		{"no limits, in a Read", none, func(w *Watch) { w.Header(at(1)); w.BeginRead(at(1)) }, mono.Never, "", 0},
		{"no limits, before the header", none, func(w *Watch) {}, mono.Never, "", 0},
	} {
		w := newWatch()
		tt.do(w)
		if got, phase, limit := w.nearest(&tt.limits); got != tt.at || phase != tt.phase || limit != tt.limit {
			t.Errorf("%s: %q after %v at %v, want %q after %v at %v", tt.name, phase, limit, got.Sub(at(0)), tt.phase, tt.limit, tt.at.Sub(at(0)))
		}
	}
}

// The timer is set for the nearest limit, and not touched while it rings early
// enough.
func TestWatchArms(t *testing.T) {
	w := newWatch()
	if d, ok := w.Start(&usual); !ok || d != 20*time.Second || !w.Armed() {
		t.Fatalf("Start = %v, %v, want 20s: the time between two Reads comes next", d, ok)
	}
	w.Header(at(1))
	w.BeginRead(at(2))
	if d, ok := w.Arm(&usual, at(2)); !ok || d != 10*time.Second {
		t.Errorf("Arm = %v, %v, want 10s for the Read", d, ok)
	}
	w.EndRead(at(3))
	w.BeginRead(at(4))
	if d, ok := w.Arm(&usual, at(4)); ok {
		t.Errorf("Arm = %v for the next Read, want none: the timer rings earlier", d)
	}
	if phase, limit, passed := w.Ring(&usual, at(12)); passed || w.Armed() {
		t.Errorf("Ring = %q, %v, armed %v, want no limit passed and no timer set", phase, limit, w.Armed())
	}
	if d, ok := w.Arm(&usual, at(12)); !ok || d != 2*time.Second {
		t.Errorf("Arm = %v, %v after an early ring, want the 2s that are left", d, ok)
	}
	if phase, limit, passed := w.Ring(&usual, at(14)); !passed || phase != PhaseIdle || limit != 10*time.Second {
		t.Errorf("Ring = %q, %v, %v, want idle after 10s", phase, limit, passed)
	}
}

func TestWatchWithoutLimits(t *testing.T) {
	none := Limits{mono.Forever, mono.Forever, mono.Forever, mono.Forever, time.Minute}
	w := newWatch()
	if d, ok := w.Start(&none); ok {
		t.Errorf("Start = %v, want no timer", d)
	}
	w.Holding = true
	w.Header(at(1))
	if d, ok := w.Arm(&none, at(1)); !ok || d != time.Minute {
		t.Errorf("Arm = %v, %v, want a minute for the hold", d, ok)
	}
	w.Ring(&none, at(61))
	w.Holding = false
	if d, ok := w.Arm(&none, at(61)); ok || w.Armed() {
		t.Errorf("Arm = %v, want no timer when nothing is held", d)
	}
}
