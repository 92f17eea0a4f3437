package limittest_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/limittest"
)

func TestMemory(t *testing.T) {
	for _, r := range limittest.Rules() {
		t.Run(r.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := r.Check(new(snubber.MemoryLimits), "k"); err != nil {
					t.Errorf("%s: %v", r.Doc, err)
				}
			})
		})
	}
}

// broken is a store with a mistake in it.
type broken struct {
	snubber.MemoryLimits
	take   func(b *broken, ctx context.Context, key string, shares []snubber.BucketCharge) (time.Duration, error)
	settle func(b *broken, ctx context.Context, key string, shares []snubber.BucketCharge) error
	gate   func(b *broken, ctx context.Context, key string, d time.Duration) error

	mu    sync.Mutex
	gates map[string]time.Time
	rates map[string]float64
}

func (b *broken) Take(ctx context.Context, key string, shares []snubber.BucketCharge) (time.Duration, error) {
	if b.take != nil {
		return b.take(b, ctx, key, shares)
	}
	return b.MemoryLimits.Take(ctx, key, shares)
}

func (b *broken) Settle(ctx context.Context, key string, shares []snubber.BucketCharge) error {
	if b.settle != nil {
		return b.settle(b, ctx, key, shares)
	}
	return b.MemoryLimits.Settle(ctx, key, shares)
}

func (b *broken) Gate(ctx context.Context, key string, d time.Duration) error {
	if b.gate != nil {
		return b.gate(b, ctx, key, d)
	}
	return b.MemoryLimits.Gate(ctx, key, d)
}

// changed takes shares that f has changed.
func changed(f func(*snubber.BucketCharge)) func(*broken, context.Context, string, []snubber.BucketCharge) (time.Duration, error) {
	return func(b *broken, ctx context.Context, key string, shares []snubber.BucketCharge) (time.Duration, error) {
		own := append([]snubber.BucketCharge(nil), shares...)
		for i := range own {
			f(&own[i])
		}
		return b.MemoryLimits.Take(ctx, key, own)
	}
}

var stores = map[string]*broken{
	"full-at-first": {take: func(b *broken, ctx context.Context, key string, shares []snubber.BucketCharge) (time.Duration, error) {
		return b.MemoryLimits.Take(ctx, key, append(shares, shares...)) // each twice
	}},
	"fills": {take: changed(func(s *snubber.BucketCharge) { s.Burst *= 5 })},
	"all-or-none": {take: func(b *broken, ctx context.Context, key string, shares []snubber.BucketCharge) (wait time.Duration, err error) {
		for _, s := range shares { // one after the other
			w, err := b.MemoryLimits.Take(ctx, key, []snubber.BucketCharge{s})
			if wait = max(wait, w); err != nil {
				return 0, err
			}
		}
		return wait, nil
	}},
	"wait-suffices": {take: func(b *broken, ctx context.Context, key string, shares []snubber.BucketCharge) (time.Duration, error) {
		wait, err := b.MemoryLimits.Take(ctx, key, shares)
		return (wait + 1) / 2, err
	}},
	"keys-apart": {take: func(b *broken, ctx context.Context, key string, shares []snubber.BucketCharge) (time.Duration, error) {
		return b.MemoryLimits.Take(ctx, "", shares)
	}},
	"buckets-apart": {take: changed(func(s *snubber.BucketCharge) { s.Bucket = "" })},
	"large-goes-when-full": {take: func(b *broken, ctx context.Context, key string, shares []snubber.BucketCharge) (time.Duration, error) {
		for _, s := range shares {
			if s.Amount > s.Burst {
				return time.Hour, nil
			}
		}
		return b.MemoryLimits.Take(ctx, key, shares)
	}},
	"settle-charges": {settle: func(b *broken, ctx context.Context, key string, shares []snubber.BucketCharge) error {
		if shares[0].Amount > 0 {
			_, err := b.MemoryLimits.Take(ctx, key, shares) // none if they do not fit
			return err
		}
		return b.MemoryLimits.Settle(ctx, key, shares)
	}},
	"settle-gives-back": {settle: func(b *broken, ctx context.Context, key string, shares []snubber.BucketCharge) error {
		if shares[0].Amount < 0 {
			return nil
		}
		return b.MemoryLimits.Settle(ctx, key, shares)
	}},
	"latest-rate": {take: func(b *broken, ctx context.Context, key string, shares []snubber.BucketCharge) (time.Duration, error) {
		own := append([]snubber.BucketCharge(nil), shares...)
		b.mu.Lock()
		for i, s := range own {
			if b.rates[key+s.Bucket] == 0 {
				if b.rates == nil {
					b.rates = map[string]float64{}
				}
				b.rates[key+s.Bucket] = s.PerSecond // the first
			}
			own[i].PerSecond = b.rates[key+s.Bucket]
		}
		b.mu.Unlock()
		return b.MemoryLimits.Take(ctx, key, own)
	}},
	"gate": {gate: func(*broken, context.Context, string, time.Duration) error { return nil }},
	"longer-gate": {
		gate: func(b *broken, _ context.Context, key string, d time.Duration) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.gates = map[string]time.Time{key: time.Now().Add(d)} // the latest
			return nil
		},
		take: func(b *broken, _ context.Context, key string, _ []snubber.BucketCharge) (time.Duration, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return max(0, time.Until(b.gates[key])), nil
		},
	},
	"concurrent": {take: func(b *broken, ctx context.Context, key string, shares []snubber.BucketCharge) (time.Duration, error) {
		none := append([]snubber.BucketCharge(nil), shares...)
		for i := range none {
			none[i].Amount = 1
		}
		wait, err := b.MemoryLimits.Take(ctx, key, none)
		if wait > 0 || err != nil {
			return wait, err
		}
		for i := range none {
			none[i].Amount = -1
		}
		if err := b.MemoryLimits.Settle(ctx, key, none); err != nil {
			return 0, err
		}
		time.Sleep(time.Millisecond) // looks, then takes
		return 0, b.MemoryLimits.Settle(ctx, key, shares)
	}},
	"context": {take: func(b *broken, _ context.Context, key string, shares []snubber.BucketCharge) (time.Duration, error) {
		return b.MemoryLimits.Take(context.Background(), key, shares)
	}},
}

// TestRulesCanFail shows every rule a store that breaks it.
func TestRulesCanFail(t *testing.T) {
	for _, r := range limittest.Rules() {
		t.Run(r.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := stores[r.Name]
				if b == nil {
					t.Fatal("nothing here breaks it")
				}
				if err := r.Check(b, "k"); err == nil || strings.TrimSpace(err.Error()) == "" {
					t.Errorf("Check = %v, want an error", err)
				}
			})
		})
	}
}
