package limit

import (
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
	"github.com/seed-9e4f5248/snubber/internal/quota"
)

// Permit is what one request has taken from its Queue. The zero value has taken
// nothing, and all its methods do nothing.
type Permit struct {
	queue *Queue
	id    int32 // of the queue's quota
	probe bool  // sent to find out whether an exhausted quota still is

	Shared bool // for the caller: a store outside this process has agreed
}

// Exhausted takes in that the request was refused for a quota that waiting does
// not restore. The zero time says that this is not believed of the key. Otherwise
// it gates the key, and returns until when: for a minute before the
// first probe, twice as long before each further one, fifteen minutes at most, and
// never longer than notBefore, the server's own time; a zero notBefore is none.
// Only a probe's own refusal doubles the time: of the requests that were in flight
// together, each would.
func (p Permit) Exhausted(notBefore, now time.Time) (until time.Time) {
	q := p.queue
	if q == nil {
		return until
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now = q.nowLocked(now)
	believed := q.quota.Exhausted(p.id)
	switch {
	case q.exhaustedBackoff == 0 && !believed:
		return until
	case q.exhaustedBackoff == 0:
		q.exhaustedBackoff = time.Minute
		q.exhaustedAt = now
	case !p.probe:
		return q.gate
	default:
		q.exhaustedBackoff = min(2*q.exhaustedBackoff, maxGate)
	}
	until = now.Add(q.exhaustedBackoff)
	if notBefore.After(now) {
		until = mono.Earlier(until, notBefore)
	}
	q.gate = time.Time{} // a probe's own
	q.reason = "quota_exhausted"
	q.gateLocked(until, now)
	return until
}

// ClearExhausted ends the state that Exhausted began, if the request was sent
// after it, as a probe is.
func (p Permit) ClearExhausted() {
	q := p.queue
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.exhaustedBackoff == 0 || !p.probe && !q.quota.SentSince(p.id, q.exhaustedAt) {
		return
	}
	q.exhaustedBackoff = 0
	if q.gate.Equal(q.probing) { // and not one that another answer has shut meanwhile
		q.gate = time.Time{}
	}
	q.grantLocked(q.nowLocked(time.Now()))
}

// Change is a limit that differs from what it was.
type Change struct {
	Limit    quota.Limit
	Previous float64 // PerSecond; 0: there was no limit
}

// Report is what a response said of the quota, besides the readings: kept apart,
// those stay on the caller's stack.
type Report struct {
	Limited  bool       // the request came too fast
	Over     quota.Kind // the limit that it exceeded
	Stated   bool       // the server named the time of the next
	Answered bool       // the request was let in
	Empty    bool       // it said that nothing was left
	Plenty   bool       // it said that much was left
	Sized    bool       // the limit is one of tokens
	Reason   string     // for the snapshot
}

// Report takes in what a response said of the quota, and returns the limits that
// it changed. A request that came too fast gates the key until the time. A waiter
// that cannot wait so long is refused now instead of at its deadline.
// counting is whether the key's tokens are limited, told when anything changed.
func (p Permit) Report(readings []quota.Reading, r Report, until, now time.Time) (changes []Change, counting, gated bool) {
	q := p.queue
	if q == nil {
		return nil, false, false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now = q.nowLocked(now)
	before := q.quota.Changes()
	q.quota.Answered(p.id, readings, now)
	if r.Limited {
		_, gate, probe := q.quota.Rejected(p.id, quota.Refusal{Kind: r.Over, Hinted: r.Stated, Empty: r.Empty, Plenty: r.Plenty, Sized: r.Sized, Until: until}, now)
		q.probes = 0
		if probe {
			q.probes = 2
		}
		if gate {
			q.reason = r.Reason
			q.gateLocked(until, now)
			q.assumed = q.gate
			if q.probeWait == 0 {
				q.probeWait = time.Second
				q.probeAt = now.Add(q.probeWait)
			}
			gated = true
		} else if q.waiting > 0 {
			q.grantLocked(now)
		}
	} else if r.Answered && q.quota.LetIn(p.id, now) {
		q.refutedLocked(now)
	} else if q.waiting > 0 {
		q.grantLocked(now)
	}
	if q.quota.Changes() == before {
		return nil, false, gated
	}
	old := q.known
	q.known = q.quota.Limits(now)
	return changed(old, q.known), q.quota.Counting(), gated
}

// changed returns the limits of now that differ from the old ones.
func changed(old, now []quota.Limit) (cs []Change) {
	for _, l := range now {
		c := Change{Limit: l}
		for _, o := range old {
			if o.Kind == l.Kind && o.Stock == l.Stock {
				c.Previous = o.PerSecond
			}
		}
		if c.Previous != l.PerSecond {
			cs = append(cs, c)
		}
	}
	return cs
}

// Release frees the place of a request whose response has ended.
func (p Permit) Release() {
	q := p.queue
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.nowLocked(time.Now())
	q.quota.Free(now)
	if q.waiting > 0 {
		q.grantLocked(now)
	}
}

// Settle replaces the estimate by what was used, where that is known, and frees
// the place if it is still held. It returns the difference, which is negative where
// less was used than reserved.
func (p Permit) Settle(s Settlement, now time.Time) (correction quota.Cost) {
	q := p.queue
	if q == nil {
		return correction
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now = q.nowLocked(now)
	reserved := q.quota.Cost(p.id)
	used := reserved
	switch {
	case s.Billed:
		used = s.Used
		if q.config.Learn {
			q.estimate.learn(s.Counted, used)
		}
	case s.Void:
		used = quota.Cost{} // turned away before a model saw it
	}
	if s.Succeeded {
		q.quota.Succeeded(p.id, now)
	}
	q.quota.Settle(p.id, used, now)
	if s.Held {
		q.quota.Free(now)
	}
	if q.waiting > 0 {
		q.grantLocked(now)
	}
	return used.Minus(reserved)
}

// Settlement is how a request that was sent has ended.
type Settlement struct {
	Used      quota.Cost // if Billed
	Billed    bool
	Void      bool // it cost nothing
	Succeeded bool
	Held      bool // its place is still taken
	Counted   int  // the prompt's tokens as they were counted before; 0: not
}

// Held reports whether anything was taken.
func (p Permit) Held() bool { return p.queue != nil }

// Cost is what was reserved for the request, until it is settled or canceled.
func (p Permit) Cost() quota.Cost {
	q := p.queue
	if q == nil {
		return quota.Cost{}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.quota.Cost(p.id)
}

// Cancel gives everything back for a request that was never sent.
func (p Permit) Cancel() {
	q := p.queue
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.cancelLocked(p, q.nowLocked(time.Now()))
}
