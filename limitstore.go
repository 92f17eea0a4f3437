package snubber

import (
	"context"
	"errors"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
	"github.com/seed-9e4f5248/snubber/internal/quota"
)

// LimitStore lets the Limiters of several processes share a key's quota: the
// buckets whose limit is known, configured or announced by the server, and the
// gate that a 429 shuts. What a Limiter learns from refusals alone stays its own:
// that is a share of the quota and not the quota.
//
// A Limiter queues its calls by itself and asks the store for the one whose turn
// it is. It asks with a time limit of its own; a store that fails or is too slow
// costs no call: the Limiter tells of it with an [EventAlone], goes on alone, and
// asks again a few seconds later.
//
// Keys hold no credential, only its keyed hash; the processes must share
// [Limiter.Secret] to have the same ones. Times are durations, so that the clocks
// of the processes need not agree: the store's own counts.
//
// Implementations must be safe for concurrent use. Package limittest checks one.
type LimitStore interface {
	// Take takes all the shares from their buckets and returns zero, or takes
	// none and returns how long to wait before it is worth asking again: the rest
	// of the key's gate, or the time in which the buckets fill. A bucket that was
	// never heard of is full.
	//
	// A share larger than its bucket's Burst is granted when the bucket is full;
	// the rest is a debt that has to fill first.
	Take(ctx context.Context, key string, shares []Share) (wait time.Duration, err error)
	// Settle corrects what was taken: a positive amount is taken as well, into
	// debt if need be, a negative one is given back, up to the Burst.
	Settle(ctx context.Context, key string, shares []Share) error
	// Gate grants nothing of the key for d from now. Of two gates the one that
	// ends later holds.
	Gate(ctx context.Context, key string, d time.Duration) error
}

// Share is an amount of one bucket of a key.
type Share struct {
	// Bucket names the bucket: "requests", "tokens".
	Bucket string
	// Amount is how much of it.
	Amount int
	// PerSecond is the rate at which the bucket fills, and Burst what it holds.
	// The processes may know different ones for a while, until each has heard of
	// a change: the latest that was told counts.
	PerSecond float64
	Burst     int
}

const (
	limitStoreTime = 100 * time.Millisecond // that a store may take
	limitStoreRest = 5 * time.Second        // that one which failed is left alone
)

var errNoSecret = errors.New("snubber: a Limiter with a Store needs a Secret, the same in all processes: without it each has keys of its own")

func (l *Limiter) unshareable() bool { return l != nil && l.Store != nil && len(l.Secret) == 0 }

// consult asks the Limiter's store about the call, unless it failed lately. It
// reports whether the store answered. Of those whom it fails at once, one tells.
func (c *call) consult(f func(context.Context) error) bool {
	l, ctx := c.t.Limiter, c.ctx()
	began, resting := mono.Now(), l.resting.Load()
	if until := mono.Time(resting); until != 0 && began < until && until-began <= mono.Time(limitStoreRest) {
		return false
	}
	limited, cancel := context.WithTimeout(ctx, limitStoreTime)
	defer cancel()
	if err := f(limited); err == nil {
		l.resting.Store(0)
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	now := mono.Now()
	until := now + mono.Time(limitStoreRest)
	if l.resting.CompareAndSwap(resting, int64(until)) && c.t.Observe != nil {
		why := "failed" // and not its error: nobody knows what addresses and passwords that holds
		if limited.Err() != nil {
			why = "timeout"
		}
		c.t.Observe(Event{Kind: EventAlone, Time: now.Time(), Key: c.line.key.String(), Until: until.Time(), Detail: why})
	}
	return false
}

// share has the store agree to what p has taken. If it does not, what p took is
// given back, and the key waits for as long as the store says. A store that does
// not answer agrees.
func (c *call) share(p permit) (permit, bool) {
	ctx, store, q := c.ctx(), c.t.Limiter.Store, p.line
	q.mu.Lock()
	key, owed := q.key.String(), q.owed
	q.owed = nil
	shares := sharesOf(q.quota, 1, q.quota.Cost(p.id))
	q.mu.Unlock()

	var wait time.Duration
	asked := false
	defer func() {
		if !asked { // the store panicked
			p.refund()
		}
	}()
	p.shared = c.consult(func(ctx context.Context) (err error) {
		if len(owed) > 0 {
			if err = store.Settle(ctx, key, owed); err != nil {
				return err
			}
		}
		wait, err = store.Take(ctx, key, shares)
		return err
	})
	asked = true
	if ctx.Err() == nil && (!p.shared || wait <= 0) {
		return p, true
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.nowLocked(time.Now())
	if p.shared && wait <= 0 {
		q.oweLocked(-1, quota.Cost{}.Minus(q.quota.Cost(p.id)))
	}
	q.giveBackLocked(p, now)
	if p.shared && wait > 0 {
		q.gateLocked(now.Add(wait), now)
	}
	return permit{}, false
}

// gateAll shuts the key's gate for all processes.
func (c *call) gateAll(d time.Duration) {
	if store := c.t.Limiter.Store; store != nil && d > 0 {
		c.consult(func(ctx context.Context) error { return store.Gate(ctx, c.line.key.String(), d) })
	}
}

// oweLocked notes a correction of what the store was told. It goes with the next
// request's question: the end of a body is no place to wait for a network.
func (q *line) oweLocked(requests int, c quota.Cost) {
	for _, s := range sharesOf(q.quota, requests, c) {
		if s.Amount == 0 {
			continue
		}
		known := false
		for i := range q.owed {
			if o := &q.owed[i]; o.Bucket == s.Bucket {
				s.Amount += o.Amount
				*o, known = s, true
			}
		}
		if !known {
			q.owed = append(q.owed, s)
		}
	}
}

// sharesOf is what a request takes of the buckets whose limit is known as a
// whole.
func sharesOf(k *quota.Control, requests int, c quota.Cost) (shares []Share) {
	for _, w := range k.Wholes(requests, c) {
		name := kindNames[w.Kind]
		if w.Stock {
			name += "/day"
		}
		shares = append(shares, Share{Bucket: name, Amount: w.Amount, PerSecond: w.PerSecond, Burst: w.Burst})
	}
	return shares
}
