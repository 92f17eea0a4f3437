package snubber

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// LimitStore lets the Limiters of several processes share a key's quota: the
// buckets whose limit is known, configured or announced by the server, and the
// gate that a 429 shuts. What a Limiter learns from refusals alone stays its own:
// that is a share of the quota and not the quota.
//
// A Limiter queues its calls by itself and asks the store for the one whose turn
// it is. It asks with a time limit of its own; a store that fails or is too slow
// costs no call, the Limiter goes on alone and asks again a few seconds later.
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

// MemoryLimits is a [LimitStore] in this process's memory, for Limiters that
// shall share a quota and for tests. The zero value is empty and ready. It keeps
// at most 10 000 keys; one whose buckets are full and whose gate is open holds
// nothing and is forgotten first.
//
// It is safe for concurrent use and must not be copied after first use.
type MemoryLimits struct {
	mu   sync.Mutex
	keys map[string]*sharedKey
}

type sharedKey struct {
	buckets map[string]*rate.Limiter
	gate    time.Time
	last    time.Time
}

var errShare = errors.New("a share needs a positive PerSecond and Burst")

// Take implements [LimitStore].
func (m *MemoryLimits) Take(ctx context.Context, key string, shares []Share) (wait time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, now, err := m.openLocked(ctx, key, shares)
	if err != nil {
		return 0, err
	}
	wait = max(0, k.gate.Sub(now))
	for _, s := range shares {
		b := k.buckets[s.Bucket]
		if lack := float64(min(s.Amount, s.Burst)) - b.TokensAt(now); lack > 0 {
			d := math.Ceil(lack/s.PerSecond*float64(time.Second)) + 1 // a float may be short of a whole token
			wait = max(wait, time.Duration(min(d, float64(forever))))
		}
	}
	if wait > 0 {
		return wait, nil
	}
	for _, s := range shares {
		k.book(s, now)
	}
	return 0, nil
}

// Settle implements [LimitStore].
func (m *MemoryLimits) Settle(ctx context.Context, key string, shares []Share) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, now, err := m.openLocked(ctx, key, shares)
	if err != nil {
		return err
	}
	for _, s := range shares {
		k.book(s, now)
	}
	return nil
}

// Gate implements [LimitStore].
func (m *MemoryLimits) Gate(ctx context.Context, key string, d time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, now, err := m.openLocked(ctx, key, nil)
	if err != nil {
		return err
	}
	if until := now.Add(d); until.After(k.gate) {
		k.gate = until
	}
	return nil
}

// openLocked finds the key, its buckets set to the rates of the shares.
func (m *MemoryLimits) openLocked(ctx context.Context, key string, shares []Share) (*sharedKey, time.Time, error) {
	now := time.Now()
	if err := ctx.Err(); err != nil {
		return nil, now, err
	}
	for _, s := range shares {
		if !(s.PerSecond > 0) || s.Burst <= 0 {
			return nil, now, errShare
		}
	}
	k := m.keys[key]
	if k == nil {
		if m.keys == nil {
			m.keys = make(map[string]*sharedKey)
		}
		for range 2 { // so that it shrinks again after it had to grow
			if len(m.keys) >= maxKeys {
				m.forgetLocked(now)
			}
		}
		k = &sharedKey{buckets: make(map[string]*rate.Limiter)}
		m.keys[key] = k
	}
	if now.Before(k.last) {
		now = k.last // an older now would credit the time between twice
	}
	k.last = now
	for _, s := range shares {
		b := k.buckets[s.Bucket]
		if b == nil {
			k.buckets[s.Bucket] = rate.NewLimiter(rate.Limit(s.PerSecond), s.Burst)
			continue
		}
		if b.Limit() != rate.Limit(s.PerSecond) {
			b.SetLimitAt(now, rate.Limit(s.PerSecond))
		}
		if b.Burst() != s.Burst {
			b.SetBurstAt(now, s.Burst)
		}
	}
	return k, now, nil
}

// book takes a share, into debt if need be. ReserveN allows a debt of at most one
// burst, so the bucket is widened while it is booked; what is in it stays what it
// is. A negative reservation credits, clipped at the burst.
func (k *sharedKey) book(s Share, now time.Time) {
	b := k.buckets[s.Bucket]
	if s.Amount > s.Burst {
		b.SetBurstAt(now, s.Amount)
		defer b.SetBurstAt(now, s.Burst)
	}
	b.ReserveN(now, s.Amount)
}

// forgetLocked drops a key that holds nothing, of the first that it meets.
func (m *MemoryLimits) forgetLocked(now time.Time) {
	const sample = 32
	n := 0
	for name, k := range m.keys {
		idle := !now.Before(k.gate)
		for _, b := range k.buckets {
			idle = idle && b.TokensAt(now) >= float64(b.Burst())
		}
		if idle {
			delete(m.keys, name)
			return
		}
		if n++; n == sample {
			return
		}
	}
}
