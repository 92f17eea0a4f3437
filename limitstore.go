package snubber

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/keyed"
	"github.com/seed-9e4f5248/snubber/internal/limit"
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

// callStore asks the store about a request, unless the store failed lately. It
// reports whether the store answered. Where it fails many calls at once, one of them
// tells observe, which may be nil.
func (l *Limiter) callStore(ctx context.Context, k keyed.Key, observe func(Event), f func(context.Context) error) bool {
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
	if l.resting.CompareAndSwap(resting, int64(until)) && observe != nil {
		detail := "failed" // not the error, which may hold addresses and passwords
		if limited.Err() != nil {
			detail = "timeout"
		}
		observe(Event{Kind: EventAlone, Time: now.Time(), Key: k.String(), Until: until.Time(), Detail: detail})
	}
	return false
}

// takeShared has the store agree to what p has taken. If the store does not, what p
// took is given back, and the key waits for as long as the store says. A store that
// does not answer agrees.
func (l *Limiter) takeShared(ctx context.Context, q *keyQueue, p limit.Permit, observe func(Event)) (limit.Permit, bool) {
	store, key := l.Store, q.key.String()
	corrections := q.corrections.take()
	shares := sharesOf(q.Shares(1, p.Cost()))

	var wait time.Duration
	p.Shared = l.callStore(ctx, q.key, observe, func(ctx context.Context) (err error) {
		if len(corrections) > 0 {
			if err = store.Settle(ctx, key, corrections); err != nil {
				return err
			}
		}
		wait, err = store.Take(ctx, key, shares)
		return err
	})
	if ctx.Err() == nil && (!p.Shared || wait <= 0) {
		return p, true
	}
	refused := p.Shared && wait > 0
	p.Shared = p.Shared && !refused
	q.cancel(p)
	if refused {
		now := time.Now()
		q.Gate(now.Add(wait), now)
	}
	return limit.Permit{}, false
}

// gateShared gates the key for all processes.
func (l *Limiter) gateShared(ctx context.Context, q *keyQueue, d time.Duration, observe func(Event)) {
	if store := l.Store; store != nil && d > 0 {
		l.callStore(ctx, q.key, observe, func(ctx context.Context) error { return store.Gate(ctx, q.key.String(), d) })
	}
}

// storeCorrections are differences between what the store was told and what was
// used. They go with the next request's question: the end of a body is no place to
// wait for a network.
type storeCorrections struct {
	mu     sync.Mutex
	shares []Share
}

// add notes what so many requests of a cost in all take, or with negative numbers
// give back.
func (s *storeCorrections) add(q *keyQueue, requests int, c quota.Cost) {
	shares := sharesOf(q.Shares(requests, c))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, share := range shares {
		if share.Amount == 0 {
			continue
		}
		if i := slices.IndexFunc(s.shares, func(known Share) bool { return known.Bucket == share.Bucket }); i >= 0 {
			share.Amount += s.shares[i].Amount
			s.shares[i] = share
		} else {
			s.shares = append(s.shares, share)
		}
	}
}

// take returns the corrections, and forgets them.
func (s *storeCorrections) take() []Share {
	s.mu.Lock()
	defer s.mu.Unlock()
	shares := s.shares
	s.shares = nil
	return shares
}

func sharesOf(wholes []quota.Whole) (shares []Share) {
	for _, w := range wholes {
		name := kindNames[w.Kind]
		if w.Stock {
			name += "/day"
		}
		shares = append(shares, Share{Bucket: name, Amount: w.Amount, PerSecond: w.PerSecond, Burst: w.Burst})
	}
	return shares
}
