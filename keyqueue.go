package snubber

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/dialect"
	"github.com/seed-9e4f5248/snubber/internal/keyed"
	"github.com/seed-9e4f5248/snubber/internal/limit"
	"github.com/seed-9e4f5248/snubber/internal/quota"
)

// keyQueue is the queue of one key of a [Limiter]. Its methods translate between
// requests, outcomes and errors, and the types of package limit.
type keyQueue struct {
	key keyed.Key
	limit.Queue
	corrections storeCorrections
}

// acquire waits until notBefore and until a request of the cost may be sent. The error is a *RejectedError
// or the context's.
func (q *keyQueue) acquire(ctx context.Context, cost quota.Cost, front bool, notBefore, now time.Time) (limit.Permit, time.Duration, error) {
	p, waited, err := q.Acquire(ctx, cost, priorityOf(ctx), front, notBefore, now)
	if r, ok := err.(*limit.Refusal); ok {
		err = q.rejected(r)
	}
	return p, waited, err
}

// predict returns when a request that joined the queue now would be sent.
func (q *keyQueue) predict(ctx context.Context, cost quota.Cost, now time.Time) (time.Time, *RejectedError) {
	deadline, _ := ctx.Deadline()
	at, r := q.Predict(deadline, cost, priorityOf(ctx), now)
	if r != nil {
		return time.Time{}, q.rejected(r)
	}
	return at, nil
}

func (q *keyQueue) rejected(r *limit.Refusal) *RejectedError {
	e := &RejectedError{Err: ErrLimited, Key: q.key.String(), Reason: r.Reason, RetryAfter: r.RetryAfter, late: r.Deadline}
	if r.Exhausted {
		e.Err = ErrQuota
	}
	return e
}

// settle replaces the reserved cost by the cost that the outcome tells, if it tells
// one. held says that the request's place is still taken.
func (q *keyQueue) settle(p limit.Permit, o *Outcome, info requestInfo, held bool, now time.Time) {
	if !p.Held() {
		return
	}
	s := limit.Settlement{Succeeded: o.Class == Success, Held: held, Counted: int(info.input)}
	switch {
	case o.Usage != (Usage{}):
		s.Billed = true
		s.Used.Input, s.Used.Output = dialect.Counted(info.format, dialect.Usage(o.Usage))
	case o.Declined, o.Class == Invalid:
		s.Void = true // no model has seen it
	}
	if correction := p.Settle(s, now); p.Shared {
		q.corrections.add(q, 0, correction)
	}
}

// cancel gives back what a request has taken that was never sent.
func (q *keyQueue) cancel(p limit.Permit) {
	if p.Shared {
		q.corrections.add(q, -1, quota.Cost{}.Minus(p.Cost()))
	}
	p.Cancel()
}

func (q *keyQueue) snapshot(now time.Time) QueueStatus {
	s := q.Snapshot(now)
	out := QueueStatus{
		Key: q.key.String(), Waiting: s.Waiting, OldestWait: s.OldestWait, InFlight: s.InFlight, Requests: math.Inf(1), Tokens: math.Inf(1),
		GatedUntil: s.GatedUntil, Reason: s.Reason, Exhausted: s.Exhausted,
		Cause: s.Refusals.Cause.String(), Noise: s.Refusals.Share, CauseSince: s.Refusals.Since, CauseCalls: s.Refusals.Calls,
	}
	for _, known := range s.Limits {
		l := limitOf(known)
		out.Limits = append(out.Limits, l)
		switch known.Kind {
		case quota.Requests:
			out.Requests = min(out.Requests, l.Remaining)
		case quota.Concurrency: // places, which InFlight tells of
		default:
			out.Tokens = min(out.Tokens, l.Remaining)
		}
	}
	return out
}

// storeCorrections are the differences between what the store was told and what was
// used. The next request of the key sends them, because nobody should wait for a
// network at the end of a body.
type storeCorrections struct {
	mu     sync.Mutex
	shares []BucketCharge
}

// add notes what so many requests of a total cost take. With negative numbers they give
// it back.
func (s *storeCorrections) add(q *keyQueue, requests int, c quota.Cost) {
	shares := sharesOf(q.Shares(requests, c))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, share := range shares {
		if share.Amount == 0 {
			continue
		}
		if i := slices.IndexFunc(s.shares, func(known BucketCharge) bool { return known.Bucket == share.Bucket }); i >= 0 {
			share.Amount += s.shares[i].Amount
			s.shares[i] = share
		} else {
			s.shares = append(s.shares, share)
		}
	}
}

// take returns the corrections and forgets them.
func (s *storeCorrections) take() []BucketCharge {
	s.mu.Lock()
	defer s.mu.Unlock()
	shares := s.shares
	s.shares = nil
	return shares
}

func sharesOf(wholes []quota.Whole) (shares []BucketCharge) {
	for _, w := range wholes {
		name := kindNames[w.Kind]
		if w.Stock {
			name += "/day"
		}
		shares = append(shares, BucketCharge{Bucket: name, Amount: w.Amount, PerSecond: w.PerSecond, Burst: w.Burst})
	}
	return shares
}

type priorityKey struct{}

// WithPriority returns a context whose requests come before those of lower priority in
// the queue of a [Limiter]. Zero is normal. While lower ones wait, one turn in twenty
// goes to the oldest of them.
func WithPriority(ctx context.Context, priority int) context.Context {
	return context.WithValue(ctx, priorityKey{}, priority)
}

func priorityOf(ctx context.Context) int {
	p, _ := ctx.Value(priorityKey{}).(int)
	return p
}
