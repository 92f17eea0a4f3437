package snubber

import (
	"context"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/body"
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

func (l *Limiter) queue(k keyed.Key, now time.Time) *keyQueue {
	return l.queues.Get(k, now, l.newQueue)
}

func (l *Limiter) newQueue(k keyed.Key) *keyQueue {
	c := limit.Config{MaxTokens: max(0, l.TokensPerMinute), MaxQueue: l.maxQueue(), Learn: l.EstimateTokens == nil}
	c.MaxWait, c.MaxGate = l.longestWait()
	c.Concurrent = l.MaxConcurrent
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
	q := &keyQueue{key: k}
	q.Init(c)
	return q
}

// cost returns the tokens that a request is expected to be charged.
func (l *Limiter) cost(q *keyQueue, req *http.Request, info requestInfo, r *body.Replay) (c quota.Cost) {
	switch {
	case l.TokensPerMinute <= 0 && !l.counting.Load():
	case l.EstimateTokens != nil:
		c.Input = min(max(0, l.EstimateTokens(req, r.Bytes())), math.MaxInt32)
	case info.inference:
		c = q.Reserve(int(info.input), int(info.output))
	}
	return c
}

// acquire waits until a request of the cost may be sent. The error is a *RejectedError
// or the context's.
func (q *keyQueue) acquire(ctx context.Context, cost quota.Cost, front bool, now time.Time) (limit.Permit, time.Duration, error) {
	p, waited, err := q.Acquire(ctx, cost, priorityOf(ctx), front, now)
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

// report tells the queue what a response said about the quota, and returns the limits
// that changed.
func (l *Limiter) report(p limit.Permit, o *Outcome, until, now time.Time) []limit.Change {
	if o.Class != RateLimited && len(o.Quotas) == 0 {
		return nil
	}
	var buffer [4]quota.Reading
	r := limit.Report{Readings: buffer[:0], Limited: o.Class == RateLimited, Over: quota.Requests, Stated: !o.NotBefore.IsZero(), Reason: o.Reason}
	// The limit that a message names is believed for concurrency only. Tokens are held
	// back where a header tells how many there are. By refusals alone the rate of
	// requests follows a quota of tokens better than a rate of tokens does, whose
	// estimates and bills differ (bench/effectiveness, tokens-hint).
	if o.Exceeded == "concurrency" {
		r.Over = quota.Concurrency
	}
	for _, reading := range o.Quotas {
		if kind, ok := quotaKinds[reading.Kind]; ok {
			if reading.Remaining == 0 && kind < quota.Concurrency {
				r.Over = kind
			}
			r.Readings = append(r.Readings, quota.Reading{Kind: kind, Window: reading.Window, Limit: reading.Limit, Remaining: reading.Remaining, Reset: reading.Reset})
		}
	}
	changes, counting := p.Report(r, until, now)
	if counting {
		l.counting.Store(true)
	}
	return changes
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

var (
	kindNames = [...]string{
		quota.Requests: "requests", quota.Tokens: "tokens", quota.Input: "input-tokens", quota.Output: "output-tokens", quota.Concurrency: "concurrency",
	}
	quotaKinds = map[string]quota.Kind{
		"requests": quota.Requests, "tokens": quota.Tokens, "input-tokens": quota.Input, "output-tokens": quota.Output, "concurrency": quota.Concurrency,
	}
)

// limitOf returns a limit of the engine as a [Limit].
func limitOf(l quota.Limit) Limit {
	return Limit{Kind: kindNames[l.Kind], Daily: l.Stock, PerMinute: perMinute(l.Kind, l.PerSecond), Remaining: l.Left, Source: l.Source.String()}
}

// perMinute returns a rate by the minute. For concurrency it is the number of requests
// at a time.
func perMinute(k quota.Kind, perSecond float64) float64 {
	if k == quota.Concurrency {
		return perSecond
	}
	return perSecond * 60
}

func (q *keyQueue) snapshot(now time.Time) QueueStatus {
	s := q.Snapshot(now)
	out := QueueStatus{
		Key: q.key.String(), Waiting: s.Waiting, OldestWait: s.OldestWait, InFlight: s.InFlight, Requests: math.Inf(1), Tokens: math.Inf(1),
		GatedUntil: s.GatedUntil, Reason: s.Reason, Exhausted: s.Exhausted,
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
