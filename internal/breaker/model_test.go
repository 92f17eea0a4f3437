package breaker

import (
	"fmt"
	"math"
	"math/rand"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// model is what a circuit should do, written the slow and obvious way.
type model struct {
	config        Config
	state         State
	gen           int
	outcomes      []modelOutcome
	run, good     int
	until, down   time.Time
	serverRetryAt time.Time
	fast, slow    float64 // averages of failures, over the results of closed circuits
	last          time.Time
	forced        bool
	probes        map[int]time.Time
}

type modelOutcome struct {
	at     time.Time
	failed bool
}

func (m *model) counts(now time.Time) (n, failed int) {
	bucket := int64(m.config.Window / 10)
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
	for _, expires := range m.probes {
		if now.Before(expires) {
			n++
		}
	}
	return n < m.config.Probes
}

func (m *model) admits(now time.Time) bool {
	switch {
	case m.forced:
		return false
	case m.state == Closed:
		return true
	}
	return !now.Before(m.until) && m.free(now)
}

func (m *model) enter(s State, now time.Time) {
	if s == Closed {
		m.last = now
		m.outcomes, m.run, m.serverRetryAt = nil, 0, time.Time{}
	}
	m.state, m.gen, m.good, m.probes = s, m.gen+1, 0, map[int]time.Time{}
}

// row reports whether so many failures in a row are too many.
func (m *model) row(now time.Time) bool {
	chance := 1.0
	for range m.run {
		chance *= min(max(m.fast, m.slow), 0.9)
	}
	burst := now.Sub(m.last) < time.Second && m.run < 5*m.config.Failures
	return m.run >= m.config.Failures && (m.config.Chance == 0 || chance <= m.config.Chance && !burst)
}

// done returns the bounds of the open time if the outcome opened the circuit.
func (m *model) done(id, gen int, r Result, notBefore, now time.Time) (lo, hi time.Duration) {
	if gen != m.gen {
		return 0, 0
	}
	delete(m.probes, id)
	switch {
	case r == Failed:
		m.run++
		m.outcomes = append(m.outcomes, modelOutcome{now, true})
		if notBefore.After(m.serverRetryAt) {
			m.serverRetryAt = notBefore
		}
		n, failed := m.counts(now)
		if m.state == Closed && !m.row(now) && (n < m.config.MinRequests || float64(failed)/float64(n) < m.config.Ratio) {
			return 0, 0
		}
		if m.state == Closed {
			m.down = now
		}
		base := min(max(m.config.OpenFor, now.Sub(m.down)/20), m.config.MaxOpenFor)
		m.enter(Open, now)
		lo, hi = max(base*9/10, m.serverRetryAt.Sub(now)), max(base, m.serverRetryAt.Sub(now))
		return min(lo, m.config.MaxOpenFor), min(hi, m.config.MaxOpenFor)
	case r == Alive:
		if m.state == Closed {
			if idle := now.Sub(m.last); idle > time.Second {
				m.fast *= math.Pow(0.5, idle.Minutes()/5)
				m.slow *= math.Pow(0.5, idle.Minutes()/5)
			}
			m.last = now
			for range m.run {
				m.fast, m.slow = m.fast+(1-m.fast)/32, m.slow+(1-m.slow)/256
			}
			m.fast, m.slow = m.fast-m.fast/32, m.slow-m.slow/256
		}
		m.run = 0
		m.outcomes = append(m.outcomes, modelOutcome{now, false})
		if m.good++; m.state == HalfOpen && m.good == m.config.Probes {
			m.enter(Closed, now)
		}
	}
	return 0, 0
}

// Whatever the order of events, the circuit does what the obvious model does.
func TestCircuitModel(t *testing.T) {
	// overloaded is a failure with a time of the server's.
	const overloaded = Limited + 1
	results := []Result{Alive, Alive, Alive, Failed, Failed, Failed, Failed, Failed, overloaded, Alive, Neutral, Neutral}
	opened, closed := 0, 0
	for seed := range int64(200) {
		rnd := rand.New(rand.NewSource(seed))
		config := withDefaults(Config{
			Failures:    []int{0, 1, 3, 5, noFailures}[rnd.Intn(5)],
			Chance:      []float64{0, 1e-8, 1e-2}[rnd.Intn(3)],
			Ratio:       []float64{0, 0.3, 0.9, noRatio}[rnd.Intn(4)],
			MinRequests: []int{0, 4, 1}[rnd.Intn(3)],
			Probes:      rnd.Intn(4),
			Window:      []time.Duration{0, 10 * time.Second}[rnd.Intn(2)],
		})
		r := newRig(t, config)
		m := &model{config: config, probes: map[int]time.Time{}}
		type request struct {
			p       Permit
			id, gen int
		}
		var running []request
		var log []string
		for step := range 400 {
			was := m.state
			switch n := rnd.Intn(100); {
			case n < 20:
				d := []time.Duration{time.Millisecond, time.Second, 4 * time.Second, 40 * time.Second, 2 * time.Minute}[rnd.Intn(5)]
				r.after(d)
				log = append(log, fmt.Sprint("wait ", d))
			case n < 60:
				want := m.admits(r.now)
				at, ok := r.c.Check(r.now, false)
				p, _, _, admitted := r.c.Acquire(r.now, ttl, false)
				log = append(log, fmt.Sprint("acquire ", admitted))
				if ok != want || admitted != want {
					t.Fatalf("seed %d, step %d: Check %v, Acquire %v, want %v\n%v", seed, step, ok, admitted, want, log)
				}
				if !ok && !m.forced && !at.After(r.now) {
					t.Fatalf("seed %d, step %d: refused until the past\n%v", seed, step, log)
				}
				if !admitted {
					break
				}
				if m.state == Open {
					m.enter(HalfOpen, r.now)
				}
				if m.state == HalfOpen {
					m.probes[step] = r.now.Add(ttl)
				}
				running = append(running, request{p, step, m.gen})
			case n < 98 && len(running) > 0:
				i := rnd.Intn(len(running))
				f := running[i]
				running = append(running[:i], running[i+1:]...)
				result, notBefore := results[rnd.Intn(len(results))], time.Time{}
				if result == overloaded {
					result = Failed
					notBefore = r.now.Add(time.Duration(rnd.Intn(100)) * time.Second)
				}
				log = append(log, fmt.Sprint("done ", result, " of ", f.gen))
				f.p.Done(result, notBefore, r.now)
				if lo, hi := m.done(f.id, f.gen, result, notBefore, r.now); hi > 0 {
					at, ok := r.c.Check(r.now, false)
					if got := at.Sub(r.now); ok || got < lo || got > hi {
						t.Fatalf("seed %d, step %d: open for %v, %v, want %v to %v\n%v", seed, step, got, !ok, lo, hi, log)
					}
					m.until = at
				}
			case n == 98:
				r.c.Force(true, r.now)
				m.fast, m.slow = 0, 0
				m.enter(Closed, r.now)
				m.last = time.Time{}
				m.forced = true
				log = append(log, "force open")
			case n == 99:
				r.c.Force(false, r.now)
				m.fast, m.slow = 0, 0
				m.enter(Closed, r.now)
				m.last = time.Time{}
				m.forced = false
				log = append(log, "force closed")
			}
			if was != m.state && m.state == Open {
				opened++
			}
			if was == HalfOpen && m.state == Closed {
				closed++
			}
			if m.forced {
				continue
			}
			s := r.c.Snapshot(r.now)
			state := m.state
			if state == Open && !r.now.Before(m.until) {
				state = HalfOpen // the next to ask will find it so
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
