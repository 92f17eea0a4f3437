// Package limit is the queue of one key in front of its quota: which request goes
// next, and when.
//
// It knows priorities, deadlines, costs in tokens, the gate that a refusal shuts,
// and what package quota makes of the key's limits. It knows no request, no response
// and no provider: the caller translates what a server said into a [Report], and
// a [Refusal] into an error of its own.
package limit

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
	"github.com/seed-9e4f5248/snubber/internal/quota"
)

// maxGate bounds every gate, whatever a server says.
const maxGate = 15 * time.Minute

// Config has no zero values: the caller resolves them.
type Config struct {
	quota.Config
	MaxTokens, MaxQueue int // MaxTokens: 0 is no bound
	MaxWait, MaxGate    time.Duration
	Learn               bool // the estimate, from what answers have billed
}

// Refusal is a request that may not wait.
type Refusal struct {
	Exhausted  bool // and waiting does not help
	Deadline   bool // the caller's was the reason
	Reason     string
	RetryAfter time.Duration
}

func (r *Refusal) Error() string { return r.Reason }

// Snapshot is the state of a Queue at a time.
type Snapshot struct {
	Waiting, InFlight int
	OldestWait        time.Duration // of the waiter that joined first
	Exhausted         bool
	GatedUntil        time.Time
	Reason            string
	Limits            []quota.Limit
	Refusals          quota.Beliefs
}

// Queue is the queue of one key in front of its buckets. Nothing is reserved
// before its turn: a reservation's time would stand even if the rate or the
// gate changed afterwards. One timer waits for the head, and is armed anew
// whenever anything changes.
//
// How fast the buckets fill is for [quota.Control] to find out, which is told
// of all that happens, under the lock and with a now that is never older than
// the one before.
type Queue struct {
	config Config

	mu               sync.Mutex
	quota            *quota.Control
	priorities       []*priorityQueue // of those priorities that have waiters, highest first
	waiting          int
	seq              uint64
	grantsInARow     int // grants in a row past a waiter of lower priority
	gate             time.Time
	reason           string        // of the gate
	probeAt          time.Time     // when a request may try a gate that refusals have shut
	probeWait        time.Duration // before the next
	probes           int           // requests that may go at once
	assumed          time.Time     // the gate, if refusals have shut it
	delayed          []*waiter     // that may not go before a time of their own, the earliest first
	probing          time.Time     // the gate that a probe of the latch has shut behind itself
	last             time.Time     // the latest now
	exhaustedAt      time.Time
	exhaustedBackoff time.Duration // of an exhausted quota, zero if it is not
	timer            *time.Timer   // nil while nobody waits: a kept timer would outlive a synctest bubble
	estimate         estimate
	known            []quota.Limit // as they were when they changed last
}

type priorityQueue struct {
	priority int
	queue    list.List  // of *waiter, the front next
	cost     quota.Cost // of all of them
}

type waiter struct {
	cost     quota.Cost
	in       *priorityQueue
	place    *list.Element
	seq      uint64
	deadline time.Time // zero: none
	since    time.Time
	ready    chan struct{} // closed when one of the two below is set
	permit   Permit
	refused  *Refusal

	notBefore time.Time // while it is delayed
}

// Init makes q an empty queue. It must not be copied after.
func (q *Queue) Init(c Config) {
	q.config = c
	q.quota = quota.New(c.Config)
}

// Evictable reports whether the queue may be forgotten: it has no waiters, no
// permits and no gate, and its buckets are full.
func (q *Queue) Evictable(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting == 0 && !now.Before(q.gate) && (q.exhaustedBackoff == 0 || now.Sub(q.gate) > maxGate) && q.quota.Full(now)
}

// Acquire takes what a request of the cost needs, and waits for its turn. waited
// is zero if the request went straight through. front puts a request that the
// server sent back before the others of its priority. The error is a *Refusal or
// the context's.
func (q *Queue) Acquire(ctx context.Context, cost quota.Cost, priority int, front bool, notBefore, now time.Time) (p Permit, waited time.Duration, err error) {
	q.mu.Lock()
	now = q.nowLocked(now)
	if q.waiting == 0 && !notBefore.After(now) && !q.tooLargeLocked(cost) && q.delayLocked(cost, now) == 0 {
		p = q.takeLocked(cost, false, now)
		q.mu.Unlock()
		return p, 0, nil
	}
	deadline, _ := ctx.Deadline()
	if r := q.refusalLocked(cost, priority, front, deadline, now); r != nil {
		q.mu.Unlock()
		return p, 0, r
	}
	var w *waiter
	if notBefore.After(now) {
		w = q.delayLockedUntil(cost, priority, notBefore, deadline, now)
	} else {
		w = q.joinLocked(cost, priority, front, deadline, now)
	}
	q.grantLocked(now)
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

// TryAcquire takes what a request of the cost needs if nothing has to be waited
// for. It does not probe an exhausted quota.
func (q *Queue) TryAcquire(cost quota.Cost, now time.Time) (p Permit, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now = q.nowLocked(now)
	if q.waiting > 0 || q.exhaustedBackoff > 0 || q.tooLargeLocked(cost) || q.delayLocked(cost, now) != 0 {
		return p, false
	}
	return q.takeLocked(cost, false, now), true
}

// leave takes a waiter whose context has ended out of the queue, or gives back
// what it was granted in the same instant.
func (q *Queue) leave(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-w.ready:
		if w.refused == nil {
			q.cancelLocked(w.permit, q.nowLocked(time.Now()))
		}
	default:
		q.leaveLocked(w)
		q.grantLocked(q.nowLocked(time.Now()))
	}
}

// tooLargeLocked reports whether a request of the cost can never pass.
func (q *Queue) tooLargeLocked(cost quota.Cost) bool {
	return q.config.MaxTokens > 0 && cost.Input+cost.Output > q.config.MaxTokens
}

// refusalLocked decides whether a request may join at all.
func (q *Queue) refusalLocked(cost quota.Cost, priority int, front bool, deadline, now time.Time) *Refusal {
	if q.tooLargeLocked(cost) {
		return &Refusal{Reason: "the request is larger than TokensPerMinute"}
	}
	if q.exhaustedBackoff > 0 && now.Before(q.gate) {
		return &Refusal{Exhausted: true, Reason: "quota exhausted", RetryAfter: q.gate.Sub(now)}
	}
	if !front && q.waiting >= q.config.MaxQueue {
		return &Refusal{Reason: "the queue is full", RetryAfter: q.predictLocked(cost, priority, front, now)}
	}
	return q.tooLateLocked(q.predictLocked(cost, priority, front, now), deadline, now, now)
}

// tooLateLocked is the refusal of a request that would wait too long, nil if it
// may wait; since is when it began to.
func (q *Queue) tooLateLocked(wait time.Duration, deadline, since, now time.Time) *Refusal {
	longest, gate := q.config.MaxWait, q.config.MaxGate
	var reason string
	var late bool
	switch {
	case wait <= 0:
		return nil
	case !deadline.IsZero() && now.Add(wait).After(deadline):
		reason, late = "the wait does not fit the deadline", true
	case now.Sub(since)+wait > longest:
		reason = "the wait is longer than MaxWait"
	case q.gate.Sub(now) > gate && !(q.assumed.Equal(q.gate) && !q.quota.Trustworthy()): // which may be lifted soon
		reason = "gated by the server for more than a minute"
	default:
		return nil
	}
	return &Refusal{Reason: reason, RetryAfter: wait, Deadline: late}
}

// predictLocked is the wait of a request that would join now: the gate, then
// the slower bucket with all the costs before it. Places are not predicted.
func (q *Queue) predictLocked(cost quota.Cost, priority int, front bool, now time.Time) time.Duration {
	n, before := 1, quota.Cost{}
	for _, pq := range q.priorities {
		if pq.priority > priority || pq.priority == priority && !front {
			n, before = n+pq.queue.Len(), before.Plus(pq.cost)
		}
	}
	return q.waitLocked(n, before, cost, now)
}

// waitLocked is the time until n requests have gone, of which those before the
// last cost so much.
func (q *Queue) waitLocked(n int, before, last quota.Cost, now time.Time) time.Duration {
	gate := max(0, q.gate.Sub(now)) // the buckets fill while it is shut
	return max(gate, q.quota.Lack(n, before, last, now))
}

// delayLocked is the time until the head may go, 0 for now and -1 while all
// places are taken, which no timer can predict.
func (q *Queue) delayLocked(cost quota.Cost, now time.Time) time.Duration {
	d := q.quota.Delay(cost, now)
	if d < 0 {
		return d
	}
	return max(d, q.gate.Sub(now))
}

// nowLocked is now, but never before the last: calls took theirs before they
// waited for the lock.
func (q *Queue) nowLocked(now time.Time) time.Time {
	if now.Before(q.last) {
		return q.last
	}
	q.last = now
	return now
}

func (q *Queue) takeLocked(cost quota.Cost, waited bool, now time.Time) Permit {
	probe := q.exhaustedBackoff > 0
	if probe {
		q.probing = now.Add(q.exhaustedBackoff)
		q.gate = q.probing // this one finds out, the others wait for what it finds
	}
	return Permit{queue: q, id: q.quota.Take(cost, waited, now), probe: probe}
}

func (q *Queue) joinLocked(cost quota.Cost, priority int, front bool, deadline, now time.Time) *waiter {
	w := &waiter{cost: cost, deadline: deadline, since: now, ready: make(chan struct{})}
	q.enqueueLocked(w, priority, front)
	return w
}

// enqueueLocked puts a waiter at the front or the back of its priority.
func (q *Queue) enqueueLocked(w *waiter, priority int, front bool) {
	i, found := slices.BinarySearchFunc(q.priorities, priority, func(pq *priorityQueue, p int) int {
		switch { // highest first
		case pq.priority > p:
			return -1
		case pq.priority < p:
			return 1
		}
		return 0
	})
	if !found {
		q.priorities = slices.Insert(q.priorities, i, &priorityQueue{priority: priority})
	}
	w.in = q.priorities[i]
	q.seq++
	w.seq = q.seq
	if front {
		w.place = w.in.queue.PushFront(w)
	} else {
		w.place = w.in.queue.PushBack(w)
	}
	w.in.cost = w.in.cost.Plus(w.cost)
	q.waiting++
}

// delayLockedUntil adds a waiter that joins at the front of its priority at the
// time.
func (q *Queue) delayLockedUntil(cost quota.Cost, priority int, notBefore, deadline, now time.Time) *waiter {
	w := &waiter{cost: cost, in: &priorityQueue{priority: priority}, deadline: deadline, since: now, ready: make(chan struct{}), notBefore: notBefore}
	i, _ := slices.BinarySearchFunc(q.delayed, w, func(a, b *waiter) int { return a.notBefore.Compare(b.notBefore) })
	q.delayed = slices.Insert(q.delayed, i, w)
	q.waiting++
	return w
}

// admitDelayedLocked lets the delayed waiters join whose time has come.
func (q *Queue) admitDelayedLocked(now time.Time) {
	n := 0
	for n < len(q.delayed) && !q.delayed[n].notBefore.After(now) {
		n++
	}
	for i := n - 1; i >= 0; i-- { // the earliest is in front of the others
		w := q.delayed[i]
		q.waiting--
		q.enqueueLocked(w, w.in.priority, true)
		w.notBefore = time.Time{}
	}
	q.delayed = slices.Delete(q.delayed, 0, n)
}

func (q *Queue) leaveLocked(w *waiter) {
	if !w.notBefore.IsZero() {
		q.delayed = slices.DeleteFunc(q.delayed, func(d *waiter) bool { return d == w })
		q.waiting--
		return
	}
	pq := w.in
	pq.queue.Remove(w.place)
	pq.cost = pq.cost.Minus(w.cost)
	q.waiting--
	if pq.queue.Len() == 0 {
		q.priorities = slices.DeleteFunc(q.priorities, func(l *priorityQueue) bool { return l == pq })
	}
}

// headLocked is the waiter that goes next: the front of the highest priority, but
// every twentieth time the longest waiting of the fronts below it.
func (q *Queue) headLocked() *waiter {
	if len(q.priorities) == 0 {
		return nil
	}
	head := q.priorities[0].queue.Front().Value.(*waiter)
	if q.grantsInARow < 19 || len(q.priorities) == 1 {
		return head
	}
	oldest := q.priorities[1].queue.Front().Value.(*waiter)
	for _, pq := range q.priorities[2:] {
		if w := pq.queue.Front().Value.(*waiter); w.seq < oldest.seq {
			oldest = w
		}
	}
	return oldest
}

// grantLocked grants all that may go now and arms the timer for the next.
func (q *Queue) grantLocked(now time.Time) {
	for {
		q.admitDelayedLocked(now)
		next := time.Duration(-1)
		if len(q.delayed) > 0 {
			next = q.delayed[0].notBefore.Sub(now)
		}
		w := q.headLocked()
		if w == nil {
			q.armLocked(next)
			return
		}
		d := q.delayLocked(w.cost, now)
		if d > 0 && q.probes > 0 && q.exhaustedBackoff == 0 {
			q.probes--
			w.permit = q.takeLocked(w.cost, now.After(w.since), now)
			q.quota.Probe(w.permit.id)
			q.leaveLocked(w)
			close(w.ready)
			continue
		}
		if d > 0 && q.assumed.Equal(q.gate) && q.gate.After(now) {
			ok, check := q.quota.Refuted(now)
			if ok {
				q.gate, q.probeWait = time.Time{}, 0
				continue
			}
			switch {
			case !check.IsZero():
				d = min(d, check.Sub(now))
			case q.quota.Trustworthy() || q.quota.Delay(w.cost, now) != 0:
			case q.probeAt.After(now):
				d = min(d, q.probeAt.Sub(now))
			default: // nobody is on the way who could find out
				q.probeWait *= 2
				q.probeAt = now.Add(q.probeWait)
				d = 0
			}
		}
		switch {
		case d < 0: // a release grants again
			q.armLocked(next)
			return
		case d > 0:
			if next >= 0 {
				d = min(d, next)
			}
			q.armLocked(d)
			return
		}
		if len(q.priorities) > 1 && w.in == q.priorities[0] {
			q.grantsInARow++
		} else {
			q.grantsInARow = 0
		}
		w.permit = q.takeLocked(w.cost, now.After(w.since), now)
		q.leaveLocked(w)
		close(w.ready)
	}
}

// armLocked has grantLocked called after d, and not at all if d is negative.
func (q *Queue) armLocked(d time.Duration) {
	if d < 0 {
		q.disarmLocked()
		return
	}
	if q.timer == nil {
		q.timer = time.AfterFunc(d, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.grantLocked(q.nowLocked(time.Now()))
		})
		return
	}
	q.timer.Reset(d)
}

func (q *Queue) disarmLocked() {
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
}

func (q *Queue) gateLocked(until, now time.Time) {
	until = mono.Earlier(until, now.Add(maxGate))
	if !until.After(q.gate) {
		q.grantLocked(now)
		return // the longer of two gates holds
	}
	q.gate = until
	if q.exhaustedBackoff > 0 {
		for _, w := range slices.Clone(q.delayed) {
			w.refused = &Refusal{Exhausted: true, Reason: "quota exhausted", RetryAfter: q.gate.Sub(now)}
			q.leaveLocked(w)
			close(w.ready)
		}
	}
	n, before := 0, quota.Cost{}
	for _, pq := range slices.Clone(q.priorities) {
		for e := pq.queue.Front(); e != nil; {
			w := e.Value.(*waiter)
			e = e.Next()
			refusal := q.tooLateLocked(q.waitLocked(n+1, before, w.cost, now), w.deadline, w.since, now)
			if q.exhaustedBackoff > 0 {
				refusal = &Refusal{Exhausted: true, Reason: "quota exhausted", RetryAfter: q.gate.Sub(now)}
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
	q.grantLocked(now)
}

// refutedLocked lifts the gate that refusals have shut.
func (q *Queue) refutedLocked(now time.Time) {
	q.probeWait = 0
	if q.assumed.Equal(q.gate) {
		q.gate = time.Time{}
	}
	if q.waiting > 0 {
		q.grantLocked(now)
	}
}

func (q *Queue) cancelLocked(p Permit, now time.Time) {
	q.quota.GiveBack(p.id, now)
	if p.probe && q.gate.Equal(q.probing) {
		q.gate = now // it found out nothing: the next may
	}
	q.grantLocked(now)
}

// Predict returns when a request that joined now could go, zero for at once. A
// zero deadline is none.
func (q *Queue) Predict(deadline time.Time, cost quota.Cost, priority int, now time.Time) (time.Time, *Refusal) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if r := q.refusalLocked(cost, priority, false, deadline, now); r != nil {
		return time.Time{}, r
	}
	if d := q.predictLocked(cost, priority, false, now); d > 0 {
		return now.Add(d), nil
	}
	return time.Time{}, nil
}

// Snapshot is the state at a time.
func (q *Queue) Snapshot(now time.Time) Snapshot {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Snapshot{Waiting: q.waiting, InFlight: q.quota.InFlight(), Exhausted: q.exhaustedBackoff > 0, Limits: q.quota.Limits(now), Refusals: q.quota.Belief()}
	if q.gate.After(now) {
		s.Reason = q.reason
		s.GatedUntil = now.Add(q.gate.Sub(now)) // on today's wall clock
	}
	// The front of a list may have joined last: the server sent it back.
	for _, pq := range q.priorities {
		for place := pq.queue.Front(); place != nil; place = place.Next() {
			s.OldestWait = max(s.OldestWait, now.Sub(place.Value.(*waiter).since))
		}
	}
	return s
}

// Gate lets no request go until the time. Of two gates the longer holds.
func (q *Queue) Gate(until, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gateLocked(until, q.nowLocked(now))
}

// Shares is what so many requests of a cost in all take of the buckets whose whole
// limit is known.
func (q *Queue) Shares(requests int, c quota.Cost) []quota.Whole {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.quota.Wholes(requests, c)
}

// SlowStart begins the slow start again, when the service was down.
func (q *Queue) SlowStart(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.quota.Restart(q.nowLocked(now))
}
