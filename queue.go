package snubber

import (
	"container/list"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
	"github.com/seed-9e4f5248/snubber/internal/quota"
)

// maxGate bounds every gate, whatever a server says.
const maxGate = 15 * time.Minute

// line is the queue of one key in front of its buckets. Nothing is reserved
// before its turn: a reservation's time would stand even if the rate or the
// gate changed afterwards. One timer waits for the head, and is armed anew
// whenever anything changes.
//
// How fast the buckets fill is for [quota.Control] to find out, which is told
// of all that happens, under the lock and with a now that is never older than
// the one before.
type line struct {
	l   *Limiter
	key key

	mu       sync.Mutex
	quota    *quota.Control
	levels   []*level // of those priorities that have waiters, highest first
	waiting  int
	seq      uint64
	passed   int // grants in a row past a waiter of lower priority
	gate     time.Time
	reason   string        // of the gate
	probing  time.Time     // the gate that a probe of the latch has shut behind itself
	last     time.Time     // the latest now
	latch    time.Duration // of an exhausted quota, zero if it is not
	timer    *time.Timer   // nil while nobody waits: a kept timer would outlive a synctest bubble
	estimate estimate
	owed     []Share // to the Store
	known    []Limit // as they were when they changed last
}

type level struct {
	priority int
	queue    list.List  // of *waiter, the front next
	cost     quota.Cost // of all of them
}

type waiter struct {
	cost     quota.Cost
	level    *level
	place    *list.Element
	seq      uint64
	deadline time.Time // zero: none
	since    time.Time
	ready    chan struct{} // closed when one of the two below is set
	permit   permit
	refused  *RejectedError
}

func (l *Limiter) newLine(k key) *line {
	c := quota.Config{Concurrent: l.Concurrent}
	if n := l.RequestsPerMinute; n > 0 {
		c.Requests = quota.Ceiling{PerMinute: n, Burst: l.burst(n, n)}
	}
	if n := l.TokensPerMinute; n > 0 {
		unit := n
		if l.RequestsPerMinute > 0 {
			unit = l.RequestsPerMinute
		}
		c.Tokens = quota.Ceiling{PerMinute: n, Burst: l.burst(n, unit)}
	}
	return &line{l: l, key: k, quota: quota.New(c)}
}

// evictable: a key with waiters, permits, a gate or a bucket that is not full
// again holds what may not be forgotten.
func (q *line) evictable(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting == 0 && !now.Before(q.gate) && (q.latch == 0 || now.Sub(q.gate) > maxGate) && q.quota.Full(now)
}

// enter takes what a request of the cost needs, waiting for its turn; waited
// is zero if it went straight through. A call that the server sent back enters
// at the front of its priority. The error is a *RejectedError or the context's.
func (q *line) enter(ctx context.Context, cost quota.Cost, front bool, now time.Time) (p permit, waited time.Duration, err error) {
	q.mu.Lock()
	now = q.nowLocked(now)
	if q.waiting == 0 && !q.tooLargeLocked(cost) && q.delayLocked(cost, now) == 0 {
		p = q.takeLocked(cost, false, now)
		q.mu.Unlock()
		return p, 0, nil
	}
	priority := priorityOf(ctx)
	deadline, _ := ctx.Deadline()
	if r := q.refusalLocked(cost, priority, front, deadline, now); r != nil {
		q.mu.Unlock()
		return p, 0, r
	}
	w := q.joinLocked(cost, priority, front, deadline, now)
	q.pumpLocked(now)
	q.mu.Unlock()

	select {
	case <-w.ready:
	case <-ctx.Done():
		q.leave(w)
		return p, time.Since(now), ctx.Err()
	}
	if w.refused != nil {
		return p, time.Since(now), w.refused
	}
	return w.permit, time.Since(now), nil
}

// enterNow takes what a request of the cost needs if that is there, and does not
// try an exhausted quota.
func (q *line) enterNow(cost quota.Cost, now time.Time) (p permit, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now = q.nowLocked(now)
	if q.waiting > 0 || q.latch > 0 || q.tooLargeLocked(cost) || q.delayLocked(cost, now) != 0 {
		return p, false
	}
	return q.takeLocked(cost, false, now), true
}

// leave takes a waiter whose context has ended out of the queue, or gives back
// what it was granted in the same instant.
func (q *line) leave(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-w.ready:
		if w.refused == nil {
			q.giveBackLocked(w.permit, q.nowLocked(time.Now()))
		}
	default:
		q.leaveLocked(w)
		q.pumpLocked(q.nowLocked(time.Now()))
	}
}

// tooLargeLocked reports whether a request of the cost can never pass.
func (q *line) tooLargeLocked(cost quota.Cost) bool {
	return q.l.TokensPerMinute > 0 && cost.Input+cost.Output > q.l.TokensPerMinute
}

// refusalLocked decides whether a request may join at all.
func (q *line) refusalLocked(cost quota.Cost, priority int, front bool, deadline, now time.Time) *RejectedError {
	if q.tooLargeLocked(cost) {
		return &RejectedError{Err: ErrLimited, Key: q.key.String(), Reason: "the request is larger than TokensPerMinute"}
	}
	if q.latch > 0 && now.Before(q.gate) {
		return &RejectedError{Err: ErrQuota, Key: q.key.String(), Reason: "quota exhausted", RetryAfter: q.gate.Sub(now)}
	}
	if !front && q.waiting >= q.l.maxQueue() {
		return &RejectedError{Err: ErrLimited, Key: q.key.String(), Reason: "the queue is full", RetryAfter: q.predictLocked(cost, priority, front, now)}
	}
	return q.unfitLocked(q.predictLocked(cost, priority, front, now), deadline, now, now)
}

// unfitLocked is the refusal of a request that would wait too long; since is
// when it began to.
func (q *line) unfitLocked(wait time.Duration, deadline, since, now time.Time) *RejectedError {
	longest, gate := q.l.longestWait()
	var reason string
	var late bool
	switch {
	case wait <= 0:
		return nil
	case !deadline.IsZero() && now.Add(wait).After(deadline):
		reason, late = "the wait does not fit the deadline", true
	case now.Sub(since)+wait > longest:
		reason = "the wait is longer than MaxWait"
	case q.gate.Sub(now) > gate:
		reason = "gated by the server for more than a minute"
	default:
		return nil
	}
	return &RejectedError{Err: ErrLimited, Key: q.key.String(), Reason: reason, RetryAfter: wait, late: late}
}

// predictLocked is the wait of a request that would join now: the gate, then
// the slower bucket with all the costs before it. Places are not predicted.
func (q *line) predictLocked(cost quota.Cost, priority int, front bool, now time.Time) time.Duration {
	n, before := 1, quota.Cost{}
	for _, lv := range q.levels {
		if lv.priority > priority || lv.priority == priority && !front {
			n, before = n+lv.queue.Len(), before.Plus(lv.cost)
		}
	}
	return q.untilLocked(n, before, cost, now)
}

// untilLocked is the time until n requests have gone, of which those before the
// last cost so much.
func (q *line) untilLocked(n int, before, last quota.Cost, now time.Time) time.Duration {
	gate := max(0, q.gate.Sub(now)) // the buckets fill while it is shut
	return max(gate, q.quota.Lack(n, before, last, now))
}

// delayLocked is the time until the head may go, 0 for now and -1 while all
// places are taken, which no timer can predict.
func (q *line) delayLocked(cost quota.Cost, now time.Time) time.Duration {
	d := q.quota.Delay(cost, now)
	if d < 0 {
		return d
	}
	return max(d, q.gate.Sub(now))
}

// nowLocked is now, but never before the last: calls took theirs before they
// waited for the lock.
func (q *line) nowLocked(now time.Time) time.Time {
	if now.Before(q.last) {
		return q.last
	}
	q.last = now
	return now
}

func (q *line) takeLocked(cost quota.Cost, waited bool, now time.Time) permit {
	probe := q.latch > 0
	if probe {
		q.probing = now.Add(q.latch)
		q.gate = q.probing // this one finds out, the others wait for what it finds
	}
	return permit{line: q, id: q.quota.Take(cost, waited, now), probe: probe}
}

func (q *line) joinLocked(cost quota.Cost, priority int, front bool, deadline, now time.Time) *waiter {
	i, found := slices.BinarySearchFunc(q.levels, priority, func(lv *level, p int) int {
		switch { // highest first
		case lv.priority > p:
			return -1
		case lv.priority < p:
			return 1
		}
		return 0
	})
	if !found {
		q.levels = slices.Insert(q.levels, i, &level{priority: priority})
	}
	lv := q.levels[i]
	q.seq++
	w := &waiter{cost: cost, level: lv, seq: q.seq, deadline: deadline, since: now, ready: make(chan struct{})}
	if front {
		w.place = lv.queue.PushFront(w)
	} else {
		w.place = lv.queue.PushBack(w)
	}
	lv.cost = lv.cost.Plus(cost)
	q.waiting++
	return w
}

func (q *line) leaveLocked(w *waiter) {
	lv := w.level
	lv.queue.Remove(w.place)
	lv.cost = lv.cost.Minus(w.cost)
	q.waiting--
	if lv.queue.Len() == 0 {
		q.levels = slices.DeleteFunc(q.levels, func(l *level) bool { return l == lv })
	}
}

// headLocked is who goes next: the front of the highest priority, but every
// twentieth time the longest waiting of the fronts below it.
func (q *line) headLocked() *waiter {
	if len(q.levels) == 0 {
		return nil
	}
	head := q.levels[0].queue.Front().Value.(*waiter)
	if q.passed < 19 || len(q.levels) == 1 {
		return head
	}
	oldest := q.levels[1].queue.Front().Value.(*waiter)
	for _, lv := range q.levels[2:] {
		if w := lv.queue.Front().Value.(*waiter); w.seq < oldest.seq {
			oldest = w
		}
	}
	return oldest
}

// pumpLocked grants all that may go now and arms the timer for the next.
func (q *line) pumpLocked(now time.Time) {
	for {
		w := q.headLocked()
		if w == nil {
			q.disarmLocked()
			return
		}
		switch d := q.delayLocked(w.cost, now); {
		case d < 0:
			q.disarmLocked() // a release pumps again
			return
		case d > 0:
			q.armLocked(d)
			return
		}
		if len(q.levels) > 1 && w.level == q.levels[0] {
			q.passed++
		} else {
			q.passed = 0
		}
		w.permit = q.takeLocked(w.cost, now.After(w.since), now)
		q.leaveLocked(w)
		close(w.ready)
	}
}

func (q *line) armLocked(d time.Duration) {
	if q.timer == nil {
		q.timer = time.AfterFunc(d, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.pumpLocked(q.nowLocked(time.Now()))
		})
		return
	}
	q.timer.Reset(d)
}

func (q *line) disarmLocked() {
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
}

func (q *line) gateLocked(until, now time.Time) {
	until = mono.Earlier(until, now.Add(maxGate))
	if !until.After(q.gate) {
		q.pumpLocked(now)
		return // the longer of two gates holds
	}
	q.gate = until
	n, before := 0, quota.Cost{}
	for _, lv := range slices.Clone(q.levels) {
		for e := lv.queue.Front(); e != nil; {
			w := e.Value.(*waiter)
			e = e.Next()
			refusal := q.unfitLocked(q.untilLocked(n+1, before, w.cost, now), w.deadline, w.since, now)
			if q.latch > 0 {
				refusal = &RejectedError{Err: ErrQuota, Key: q.key.String(), Reason: "quota exhausted", RetryAfter: q.gate.Sub(now)}
			}
			if refusal == nil {
				n, before = n+1, before.Plus(w.cost)
				continue
			}
			w.refused = refusal
			q.leaveLocked(w)
			close(w.ready)
		}
	}
	q.pumpLocked(now)
}

func (q *line) giveBackLocked(p permit, now time.Time) {
	q.quota.GiveBack(p.id, now)
	if p.probe && q.gate.Equal(q.probing) {
		q.gate = now // it found out nothing: the next may
	}
	q.pumpLocked(now)
}

// ready predicts when a request that would join now could go.
func (q *line) ready(ctx context.Context, cost quota.Cost, now time.Time) (time.Time, *RejectedError) {
	deadline, _ := ctx.Deadline()
	q.mu.Lock()
	defer q.mu.Unlock()
	priority := priorityOf(ctx)
	if r := q.refusalLocked(cost, priority, false, deadline, now); r != nil {
		return time.Time{}, r
	}
	if d := q.predictLocked(cost, priority, false, now); d > 0 {
		return now.Add(d), nil
	}
	return time.Time{}, nil
}

func (q *line) snapshot(now time.Time) Queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Queue{Key: q.key.String(), Waiting: q.waiting, InFlight: q.quota.InFlight(), Exhausted: q.latch > 0}
	s.Limits = q.limitsLocked(now)
	s.Requests, s.Tokens = math.Inf(1), math.Inf(1)
	for _, l := range s.Limits {
		switch l.Kind {
		case "requests":
			s.Requests = min(s.Requests, l.Left)
		case "concurrency": // places, which InFlight tells of
		default:
			s.Tokens = min(s.Tokens, l.Left)
		}
	}
	if q.gate.After(now) {
		s.Reason = q.reason
		s.GatedUntil = now.Add(q.gate.Sub(now)) // on today's wall clock
	}
	return s
}

func (q *line) limitsLocked(now time.Time) (ls []Limit) {
	for _, l := range q.quota.Limits(now) {
		perMinute := l.PerSecond * 60
		if l.Kind == quota.Concurrency {
			perMinute = l.PerSecond
		}
		ls = append(ls, Limit{Kind: kindNames[l.Kind], Daily: l.Stock, PerMinute: perMinute, Left: l.Left, Source: l.Source.String()})
	}
	return ls
}

// restart begins the slow start again, when the service was down.
func (q *line) restart(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.quota.Restart(q.nowLocked(now))
}
