package snubber

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// model is what a circuit should do, written the slow and obvious way.
type model struct {
	b                *Breaker
	state            CircuitState
	gen              int
	outcomes         []modelOutcome
	run, good, opens int
	until, closed    time.Time
	floor            time.Time
	byHand           bool
	leases           map[int]time.Time
}

type modelOutcome struct {
	at     time.Time
	failed bool
}

func (m *model) counts(now time.Time) (n, failed int) {
	bucket := int64(m.b.window() / 10)
	for _, o := range m.outcomes {
		if int64(mono.Of(now))/bucket-int64(mono.Of(o.at))/bucket < 10 {
			n++
			if o.failed {
				failed++
			}
		}
	}
	return n, failed
}

func (m *model) free(now time.Time) bool {
	n := 0
	for _, expires := range m.leases {
		if now.Before(expires) {
			n++
		}
	}
	return n < m.b.probes()
}

func (m *model) admits(now time.Time) bool {
	switch {
	case m.byHand:
		return false
	case m.state == CircuitClosed:
		return true
	}
	return !now.Before(m.until) && m.free(now)
}

func (m *model) enter(s CircuitState, now time.Time) {
	if s == CircuitClosed {
		m.outcomes, m.run, m.floor, m.closed = nil, 0, time.Time{}, now
	}
	m.state, m.gen, m.good, m.leases = s, m.gen+1, 0, map[int]time.Time{}
}

// done returns the bounds of the open time if the outcome opened the circuit.
func (m *model) done(id, gen int, o Outcome, now time.Time) (lo, hi time.Duration) {
	if gen != m.gen {
		return 0, 0
	}
	delete(m.leases, id)
	switch {
	case o.Class.failure():
		m.run++
		m.outcomes = append(m.outcomes, modelOutcome{now, true})
		if o.NotBefore.After(m.floor) {
			m.floor = o.NotBefore
		}
		n, failed := m.counts(now)
		if m.state == CircuitClosed && m.run < m.b.failures() && (n < m.b.minRequests() || float64(failed)/float64(n) < m.b.ratio()) {
			return 0, 0
		}
		if m.state == CircuitClosed && !m.closed.IsZero() {
			m.opens = max(0, m.opens-int(now.Sub(m.closed)/time.Minute))
		}
		base := m.b.openFor()
		for range m.opens {
			base = min(2*base, m.b.maxOpenFor())
		}
		m.opens++
		m.enter(CircuitOpen, now)
		lo, hi = max(base*4/5, m.floor.Sub(now)), max(base*6/5, m.floor.Sub(now))
		return min(lo, m.b.maxOpenFor()), min(hi, m.b.maxOpenFor())
	case o.Class.alive():
		m.run = 0
		m.outcomes = append(m.outcomes, modelOutcome{now, false})
		if m.good++; m.state == CircuitHalfOpen && m.good == m.b.probes() {
			m.enter(CircuitClosed, now)
		}
	}
	return 0, 0
}

// Whatever the order of events, the circuit does what the obvious model does.
func TestCircuitModel(t *testing.T) {
	classes := []Class{Success, Success, Success, ServerError, ServerError, ServerError, ServerError, TimedOut, Overloaded, Invalid, Canceled, Transient}
	opened, closed := 0, 0
	for seed := range int64(200) {
		rnd := rand.New(rand.NewSource(seed))
		b := &Breaker{
			Failures:    []int{0, 1, 3, 5, -1}[rnd.Intn(5)],
			Ratio:       []float64{0, 0.3, 0.9, -1}[rnd.Intn(4)],
			MinRequests: []int{0, 4, -1}[rnd.Intn(3)],
			Probes:      rnd.Intn(4),
			Window:      []time.Duration{0, 10 * time.Second}[rnd.Intn(2)],
		}
		r := newRig(t, b)
		m := &model{b: b, leases: map[int]time.Time{}}
		type flight struct {
			l       lease
			id, gen int
		}
		var flights []flight
		var log []string
		for step := range 400 {
			was := m.state
			switch p := rnd.Intn(100); {
			case p < 20:
				d := []time.Duration{time.Millisecond, time.Second, 4 * time.Second, 40 * time.Second, 2 * time.Minute}[rnd.Intn(5)]
				r.after(d)
				log = append(log, fmt.Sprint("wait ", d))
			case p < 60:
				want := m.admits(r.now)
				at, ok := r.c.look(r.now)
				l, _, _, admitted := r.c.admit(r.now, term)
				log = append(log, fmt.Sprint("admit ", admitted))
				if ok != want || admitted != want {
					t.Fatalf("seed %d, step %d: look %v, admit %v, want %v\n%v", seed, step, ok, admitted, want, log)
				}
				if !ok && !m.byHand && !at.After(r.now) {
					t.Fatalf("seed %d, step %d: refused until the past\n%v", seed, step, log)
				}
				if !admitted {
					break
				}
				if m.state == CircuitOpen {
					m.enter(CircuitHalfOpen, r.now)
				}
				if m.state == CircuitHalfOpen {
					m.leases[step] = r.now.Add(term)
				}
				flights = append(flights, flight{l, step, m.gen})
			case p < 98 && len(flights) > 0:
				i := rnd.Intn(len(flights))
				f := flights[i]
				flights = append(flights[:i], flights[i+1:]...)
				o := Outcome{Class: classes[rnd.Intn(len(classes))]}
				if o.Class == Overloaded {
					o.NotBefore = r.now.Add(time.Duration(rnd.Intn(100)) * time.Second)
				}
				log = append(log, fmt.Sprint("done ", o.Class, " of ", f.gen))
				f.l.done(&o, r.now)
				if lo, hi := m.done(f.id, f.gen, o, r.now); hi > 0 {
					at, ok := r.c.look(r.now)
					if got := at.Sub(r.now); ok || got < lo || got > hi {
						t.Fatalf("seed %d, step %d: open for %v, %v, want %v to %v\n%v", seed, step, got, !ok, lo, hi, log)
					}
					m.until = at
				}
			case p == 98:
				r.c.force(true, r.now)
				m.opens = 0
				m.enter(CircuitClosed, r.now)
				m.byHand = true
				log = append(log, "open by hand")
			case p == 99:
				r.c.force(false, r.now)
				m.opens = 0
				m.enter(CircuitClosed, r.now)
				m.byHand = false
				log = append(log, "close by hand")
			}
			if was != m.state && m.state == CircuitOpen {
				opened++
			}
			if was == CircuitHalfOpen && m.state == CircuitClosed {
				closed++
			}
			if m.byHand {
				continue
			}
			s := r.c.snapshot(r.now)
			state := m.state
			if state == CircuitOpen && !r.now.Before(m.until) {
				state = CircuitHalfOpen // the next to ask will find it so
			}
			n, failed := m.counts(r.now)
			if s.State != state || s.Requests != n || s.Failures != failed || s.Consecutive != m.run {
				t.Fatalf("seed %d, step %d: %+v, want %v, %d of %d, %d in a row\n%v", seed, step, s, state, failed, n, m.run, log)
			}
		}
	}
	if opened < 500 || closed < 50 { // fixed seeds: it is always the same number
		t.Errorf("opened %d times and closed %d times, want more", opened, closed)
	}
}
