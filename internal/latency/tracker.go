// Package latency holds recent values of something, for a percentile of them. It does
// not know what they measure, and has no clock.
package latency

import (
	"slices"
	"sync"
	"time"
)

const (
	enoughTimes = 50   // the number of times from which a 95th percentile means anything
	hedgeShare  = 0.05 // the largest share of the calls that are hedged
	hedgeCredit = 10   // the most hedges that calls without one save up; it starts with none
)

// Tracker holds how soon the responses of one service began, and how many of its calls
// may be hedged. It is safe for concurrent use.
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

// Call counts a call and returns the 95th percentile of the times. It reports false
// while fewer than 50 times are known.
func (t *Tracker) Call(now time.Time) (p95 time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.credit, t.used = min(t.credit+hedgeShare, hedgeCredit), now
	return t.p95, t.n >= enoughTimes
}

// Add records the time of a response. A response that was given up is to be added with
// the time that it had had. Otherwise the percentile would sink with each hedge.
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

// RefundHedge pays back a hedge that was not sent.
func (t *Tracker) RefundHedge() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.credit++
}

// percentile sorts the values, and returns the percentile p. There must be a value.
func percentile[V int32 | time.Duration](values []V, p int) V {
	slices.Sort(values)
	return values[(len(values)*p+99)/100-1]
}
