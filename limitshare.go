package snubber

import (
	"context"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/keyed"
	"github.com/seed-9e4f5248/snubber/internal/limit"
	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// callStore calls f, which asks the store about a request, unless the store has failed
// lately. It reports whether the store answered. When many calls fail at once, only one
// reports the event to observe, which may be nil.
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
		observe(Event{Kind: EventLimitStoreFailed, Time: now.Time(), Key: k.String(), Until: until.Time(), Detail: detail})
	}
	return false
}

// takeShared asks the store for what p has taken. If the store refuses, p's cost is
// given back, and the key waits for as long as the store says. A store that does not
// answer counts as one that agrees.
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

// gateShared gates the key in all processes.
func (l *Limiter) gateShared(ctx context.Context, q *keyQueue, d time.Duration, observe func(Event)) {
	if store := l.Store; store != nil && d > 0 {
		l.callStore(ctx, q.key, observe, func(ctx context.Context) error { return store.Gate(ctx, q.key.String(), d) })
	}
}
