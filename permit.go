package snubber

import (
	"math"
	"slices"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/dialect"
	"github.com/seed-9e4f5248/snubber/internal/quota"
)

// permit is what one request has taken.
type permit struct {
	line  *line
	id    int32 // of the line's quota
	probe bool  // sent to find out whether an exhausted quota still is

	shared bool // the Store has agreed
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

// reported takes in what a response said of the quota. A 429 gates the key too:
// nobody goes before until, and whoever cannot wait so long is refused now
// instead of at its deadline.
func (p permit) reported(o *Outcome, until, now time.Time) {
	q := p.line
	if q == nil || o.Class != RateLimited && len(o.Quotas) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now = q.nowLocked(now)
	var buffer [4]quota.Reading
	rs := buffer[:0]
	over := quota.Unknown
	for _, r := range o.Quotas {
		kind, ok := quotaKinds[r.Kind]
		if !ok {
			continue
		}
		if r.Remaining == 0 && kind < quota.Concurrency {
			over = kind
		}
		rs = append(rs, quota.Reading{Kind: kind, Window: r.Window, Limit: r.Limit, Remaining: r.Remaining, Reset: r.Reset})
	}
	q.quota.Answered(p.id, rs, now)
	if o.Class == RateLimited {
		q.quota.Rejected(p.id, over, !o.NotBefore.IsZero(), until, now)
		q.gateLocked(until, now)
	} else if q.waiting > 0 {
		q.pumpLocked(now)
	}
	if q.quota.Counting() {
		q.l.counting.Store(true)
	}
}

var quotaKinds = map[string]quota.Kind{
	"requests": quota.Requests, "tokens": quota.Tokens, "input-tokens": quota.Input, "output-tokens": quota.Output, "concurrency": quota.Concurrency,
}

// free ends the holding of a place.
func (p permit) free() {
	q := p.line
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.nowLocked(time.Now())
	q.quota.Free(now)
	if q.waiting > 0 {
		q.pumpLocked(now)
	}
}

// settle replaces the estimate by what was used, where the outcome tells, and
// frees the place if it is still held.
func (p permit) settle(o *Outcome, format dialect.Format, held bool, now time.Time) {
	q := p.line
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now = q.nowLocked(now)
	reserved := q.quota.Cost(p.id)
	used := reserved
	switch {
	case o.Usage != (Usage{}):
		input, output := dialect.Counted(format, dialect.Usage(o.Usage))
		used = quota.Cost{Input: input, Output: output}
		q.estimate.billed(reserved, used)
	case o.Declined, o.Class == Invalid:
		used = quota.Cost{} // turned away before a model saw it
	}
	if o.Class == Success {
		q.quota.Succeeded(p.id, now)
	}
	if p.shared {
		q.oweLocked(0, used.Minus(reserved))
	}
	q.quota.Settle(p.id, used, now)
	if held {
		q.quota.Free(now)
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
	if p.shared {
		q.oweLocked(-1, quota.Cost{}.Minus(q.quota.Cost(p.id)))
	}
	q.giveBackLocked(p, q.nowLocked(time.Now()))
}

// estimate is how a key's bills compare with what was expected of them.
type estimate struct {
	outputs quantile
}

func (e *estimate) billed(reserved, used quota.Cost) {
	if used.Output > 0 {
		e.outputs.add(used.Output)
	}
}

// output is the reservation for an answer: what was asked for, but no more than
// nine in ten of this key's answers have billed. asked is 0 where no number
// was, -1 where the answer has no tokens.
func (e *estimate) output(asked int) int {
	likely := e.outputs.p90(1000)
	switch {
	case asked < 0:
		return 0
	case asked > 0:
		return min(asked, likely)
	}
	return likely
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
