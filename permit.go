package snubber

import (
	"math"
	"slices"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/dialect"
	"github.com/seed-9e4f5248/snubber/internal/mono"
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
	now = q.nowLocked(now)
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
		until = mono.Earlier(until, notBefore)
	}
	q.gate = time.Time{} // a probe's own
	q.reason = "quota_exhausted"
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

// change is a limit that is another than before.
type change struct {
	limit Limit
	was   float64 // a minute
}

// reported takes in what a response said of the quota, and returns the limits
// that it changed. A 429 gates the key too: nobody goes before until, and
// whoever cannot wait so long is refused now instead of at its deadline.
func (p permit) reported(o *Outcome, until, now time.Time) (changes []change) {
	q := p.line
	if q == nil || o.Class != RateLimited && len(o.Quotas) == 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now = q.nowLocked(now)
	var buffer [4]quota.Reading
	rs := buffer[:0]
	// What a message names is believed of places alone. Tokens are held back where
	// a header tells how many there are; by refusals alone the rate of requests
	// follows a quota of tokens better than a rate of tokens does, whose estimates
	// and bills differ (bench/effectiveness, tokens-hint).
	over := quota.Requests
	if o.Over == "concurrency" {
		over = quota.Concurrency
	}
	for _, r := range o.Quotas {
		if kind, ok := quotaKinds[r.Kind]; ok {
			if r.Remaining == 0 && kind < quota.Concurrency {
				over = kind
			}
			rs = append(rs, quota.Reading{Kind: kind, Window: r.Window, Limit: r.Limit, Remaining: r.Remaining, Reset: r.Reset})
		}
	}
	before := q.quota.Changes()
	q.quota.Answered(p.id, rs, now)
	if o.Class == RateLimited {
		q.quota.Rejected(p.id, over, !o.NotBefore.IsZero(), until, now)
		q.reason = o.Reason
		q.gateLocked(until, now)
	} else if q.waiting > 0 {
		q.pumpLocked(now)
	}
	if q.quota.Changes() == before {
		return nil
	}
	if q.quota.Counting() {
		q.l.counting.Store(true)
	}
	old := q.known
	q.known = q.limitsLocked(now)
	return changed(old, q.known)
}

// changed are the limits of now that were not the same.
func changed(old, now []Limit) (cs []change) {
	for _, l := range now {
		c := change{limit: l}
		for _, o := range old {
			if o.Kind == l.Kind && o.Daily == l.Daily {
				c.was = o.PerMinute
			}
		}
		if c.was != l.PerMinute {
			cs = append(cs, c)
		}
	}
	return cs
}

var (
	kindNames = [...]string{
		quota.Requests: "requests", quota.Tokens: "tokens", quota.Input: "input-tokens", quota.Output: "output-tokens", quota.Concurrency: "concurrency",
	}
	quotaKinds = map[string]quota.Kind{
		"requests": quota.Requests, "tokens": quota.Tokens, "input-tokens": quota.Input, "output-tokens": quota.Output, "concurrency": quota.Concurrency,
	}
)

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
func (p permit) settle(o *Outcome, asked asked, held bool, now time.Time) {
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
		input, output := dialect.Counted(asked.format, dialect.Usage(o.Usage))
		used = quota.Cost{Input: input, Output: output}
		if q.l.Tokens == nil {
			q.estimate.learn(int(asked.input), used)
		}
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
	outputs         quantile
	billed, counted float64 // input, fading
}

// learn compares a bill with what was counted, which is 0 where nobody did. Not
// with what was reserved: that has an older factor in it.
func (e *estimate) learn(counted int, used quota.Cost) {
	if used.Output > 0 {
		e.outputs.add(used.Output)
	}
	if counted > 0 && used.Input > 0 {
		e.billed = 0.9*e.billed + float64(used.Input)
		e.counted = 0.9*e.counted + float64(counted)
	}
}

// factor is what this key's tokens are of those that were counted: another
// tokenizer, tools, pictures.
func (e *estimate) factor() float64 {
	if e.counted == 0 {
		return 1
	}
	return min(max(e.billed/e.counted, 1.0/16), 16)
}

// input is the reservation for a prompt.
func (e *estimate) input(counted int) int {
	return int(math.Ceil(float64(counted) * e.factor()))
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
