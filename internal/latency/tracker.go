// Package latency keeps recent values of one thing, for a percentile of them. It
// does not know what they measure, and has no clock.
package latency

import (
	"slices"
	"sync"
	"time"
)

const (
	enoughTimes = 50   // times that a key must have had before its 95th percentile means anything
	hedgeShare  = 0.05 // of the calls, at most
	hedgeCredit = 10   // hedges that calls without one can save up; it starts with none
)

// Tracker is how soon the responses of one service begin, and how many of its
// calls may be hedged. Its methods are safe for concurrent use.
type Tracker struct {
	mu     sync.Mutex
	times  [512]time.Duration // the latest
	n      int
	p95    time.Duration
	credit float64 // hedges that may be made
	used   time.Time
}

// NewTracker returns a Tracker that was last used now.
func NewTracker(now time.Time) *Tracker { return &Tracker{used: now} }

// Evictable reports whether the Tracker has not been used for an hour.
func (t *Tracker) Evictable(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Sub(t.used) > time.Hour
}

// Call counts a call and returns the time after which it is one of the slowest
// in twenty. It reports false while too few times are known.
func (t *Tracker) Call(now time.Time) (p95 time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.credit, t.used = min(t.credit+hedgeShare, hedgeCredit), now
	return t.p95, t.n >= enoughTimes
}

// Add records the time of a response. A response that was given up counts with
// the time that it had had: without these the percentile would sink, and with it
// the patience, each time it is used.
func (t *Tracker) Add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.times[t.n%len(t.times)] = d
	t.n++
	if n := min(t.n, len(t.times)); n >= enoughTimes && (t.n%16 == 0 || t.n == enoughTimes) {
		recent := t.times
		t.p95 = percentile(recent[:n], 95)
	}
}

// TakeHedge pays for a hedge. It reports false if there were too many.
func (t *Tracker) TakeHedge() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.credit < 1 {
		return false
	}
	t.credit--
	return true
}

// RefundHedge pays back a hedge that was not made.
func (t *Tracker) RefundHedge() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.credit++
}

// percentile sorts the values, of which there is at least one.
func percentile[V int32 | time.Duration](values []V, p int) V {
	slices.Sort(values)
	return values[(len(values)*p+99)/100-1]
}
