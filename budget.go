package snubber

import (
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/keyed"
)

// Budget bounds the retries of all calls to one key together, so that retries repair
// single failures and do not multiply the load of an outage. A retry costs 1, and is
// paid back if it succeeds. If the budget is empty, the caller gets the response of the
// failed attempt. The zero value is a good policy.
//
// The rules are those of gRPC's retry throttling and of the AWS SDKs. Successes fill
// the budget and requests do not: during an outage requests would go on filling it.
//
// A Budget is safe for concurrent use, may be shared between layers and must not be
// copied after first use.
type Budget struct {
	// Capacity is the number of retries that a full budget pays for. It starts full. If
	// zero, 10; if negative, the budget bounds nothing.
	Capacity float64
	// Deposit is what each call whose first attempt succeeds adds. If zero, 0.2; if
	// negative, nothing.
	Deposit float64
	// PerSecond is what each second adds. If zero, 0.1; if negative, nothing.
	PerSecond float64

	accounts keyed.Map[*account]
}

// account is the budget of one key. A key without an account has a full budget.
type account struct {
	mu    sync.Mutex
	spent float64 // what is missing to the capacity
	at    time.Time
	rate  float64
}

func (a *account) Evictable(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spentLocked(now) <= 0
}

func (a *account) spentLocked(now time.Time) float64 {
	if d := now.Sub(a.at); d > 0 {
		a.spent = max(0, a.spent-d.Seconds()*a.rate)
		a.at = now
	}
	return a.spent
}

// withdraw pays for one retry. It reports false if the budget is empty.
func (b *Budget) withdraw(k keyed.Key, now time.Time) bool {
	if b.Capacity < 0 {
		return true
	}
	a := b.accounts.Get(k, now, func(keyed.Key) *account {
		return &account{at: now, rate: orDefault(b.PerSecond, 0.1, 0)}
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.spentLocked(now)+1 > orDefault(b.Capacity, 10, 0) {
		return false
	}
	a.spent++
	return true
}

// succeeded books a success: the deposit of a first attempt, or the refund of a retry.
func (b *Budget) succeeded(k keyed.Key, retried bool, now time.Time) {
	a, ok := b.accounts.Find(k)
	if !ok {
		return // it is full
	}
	amount := 1.0
	if !retried {
		amount = orDefault(b.Deposit, 0.2, 0)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spent = max(0, a.spentLocked(now)-amount)
}
