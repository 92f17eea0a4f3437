package snubber

import (
	"math"
	"slices"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/dialect"
)

// permit is what one request has taken.
type permit struct {
	line  *line
	cost  int32 // tokens reserved
	probe bool  // sent to find out whether an exhausted quota still is
}

// hold gates the key: nobody goes before until, and whoever cannot wait so
// long is refused now instead of at its deadline.
func (p permit) hold(until, now time.Time) {
	q := p.line
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gateLocked(until, q.nowLocked(now))
}

// exhausted latches the key: a first probe after a minute, each further one
// after twice as long, at most fifteen minutes, and never later than the
// server's own time. Only a probe's own refusal doubles it: of a crowd in
// flight each would.
func (p permit) exhausted(notBefore, now time.Time) (until time.Time) {
	q := p.line
	if q == nil {
		return until
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.latch == 0:
		q.latch = time.Minute
	case !p.probe:
		return q.gate
	default:
		q.latch = min(2*q.latch, maxGate)
	}
	until = now.Add(q.latch)
	if notBefore.After(now) {
		until = earlier(until, notBefore)
	}
	q.gate = time.Time{} // a probe's own
	q.gateLocked(until, now)
	return until
}

// answered ends the latch if a probe was what got the answer.
func (p permit) answered() {
	q := p.line
	if q == nil || !p.probe {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.latch = 0
	if q.gate.Equal(q.probing) { // and not one that another answer has shut meanwhile
		q.gate = time.Time{}
	}
	q.pumpLocked(q.nowLocked(time.Now()))
}

// free ends the holding of a place in Concurrent.
func (p permit) free() {
	q := p.line
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inFlight--
	if q.waiting > 0 {
		q.pumpLocked(q.nowLocked(time.Now()))
	}
}

// settle replaces the estimate by what was used, where the outcome tells, and
// frees the place if it is still held.
func (p permit) settle(o *Outcome, format dialect.Format, held bool, now time.Time) {
	q := p.line
	if q == nil {
		return
	}
	used := int(p.cost)
	switch {
	case o.Usage != (Usage{}):
		used = dialect.Counted(format, dialect.Usage(o.Usage))
	case o.Declined, o.Class == Invalid:
		used = 0 // turned away before a model saw it
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now = q.nowLocked(now)
	q.pending--
	if held {
		q.inFlight--
	}
	if q.tokens != nil {
		if o.Usage.Output > 0 {
			q.billed.add(o.Usage.Output)
		}
		if d := used - int(p.cost); d > 0 {
			q.chargeLocked(d, now)
		} else {
			creditLocked(q.tokens, -d, now)
		}
	}
	if q.waiting > 0 {
		q.pumpLocked(now)
	}
}

// refund undoes the taking of a request that was never sent.
func (p permit) refund() {
	q := p.line
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.giveBackLocked(p, q.nowLocked(time.Now()))
}

// quantile keeps the latest values for their 90th percentile.
type quantile struct {
	values [32]int32
	n      int
}

func (t *quantile) add(v int) {
	t.values[t.n%len(t.values)] = int32(min(v, math.MaxInt32))
	t.n++
}

func (t *quantile) p90(none int) int {
	n := min(t.n, len(t.values))
	if n == 0 {
		return none
	}
	sorted := t.values
	slices.Sort(sorted[:n])
	return int(sorted[(n*9+9)/10-1])
}
