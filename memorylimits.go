package snubber

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// MemoryLimits is a [LimitStore] in the memory of this process, for Limiters that share
// a quota and for tests. The zero value is empty and ready. It holds 10 000 keys, and
// more only while those are in use: a key whose buckets are full and whose gate is open
// is forgotten.
//
// A MemoryLimits is safe for concurrent use and must not be copied after first use.
type MemoryLimits struct {
	mu   sync.Mutex
	keys map[string]*sharedKey
}

type sharedKey struct {
	buckets map[string]*rate.Limiter
	gate    time.Time
	last    time.Time
}

var errShare = errors.New("bucket charge needs a positive PerSecond and Burst")

// Take implements [LimitStore].
func (m *MemoryLimits) Take(ctx context.Context, key string, shares []BucketCharge) (wait time.Duration, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, now, err := m.keyLocked(ctx, key, shares)
	if err != nil {
		return 0, err
	}
	wait = max(0, k.gate.Sub(now))
	for _, s := range shares {
		b := k.buckets[s.Bucket]
		if lack := float64(min(s.Amount, s.Burst)) - b.TokensAt(now); lack > 0 {
			d := math.Ceil(lack/s.PerSecond*float64(time.Second)) + 1 // rounding may leave it short of a whole token
			wait = max(wait, time.Duration(min(d, float64(mono.Forever))))
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
func (m *MemoryLimits) Settle(ctx context.Context, key string, shares []BucketCharge) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, now, err := m.keyLocked(ctx, key, shares)
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
	k, now, err := m.keyLocked(ctx, key, nil)
	if err != nil {
		return err
	}
	if until := now.Add(d); until.After(k.gate) {
		k.gate = until
	}
	return nil
}

// keyLocked returns the key with its buckets set to the rates of the shares, and the
// time.
func (m *MemoryLimits) keyLocked(ctx context.Context, key string, shares []BucketCharge) (*sharedKey, time.Time, error) {
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
			if len(m.keys) >= maxSharedKeys {
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
// burst, so the bucket is widened while it is booked; what is in it stays. A negative
// amount is credited, up to the burst.
func (k *sharedKey) book(s BucketCharge, now time.Time) {
	b := k.buckets[s.Bucket]
	if s.Amount > s.Burst {
		b.SetBurstAt(now, s.Amount)
		defer b.SetBurstAt(now, s.Burst)
	}
	b.ReserveN(now, s.Amount)
}

// maxSharedKeys bounds a MemoryLimits, since keys come from requests.
const maxSharedKeys = 10_000

// forgetLocked drops the first key that it finds to hold nothing. It looks at 32 keys.
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
