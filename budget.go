package snubber

import (
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/keyed"
)

// Budget bounds the retries of all calls to one key together, so that retrying
// repairs single failures and does not multiply the load of an outage. A retry
// costs 1 and is paid back if it succeeds. An empty budget means that the
// response of the failed attempt is returned. After the rules of gRPC's retry
// throttling and AWS SDKs, but fed by successes and not by requests: fed by
// requests it would empty where the failures are worst.
//
// It is safe for concurrent use, may be shared between layers and must not be
// copied after first use.
type Budget struct {
	// Capacity is the number of retries a full budget pays for; it starts full.
	// If zero, 10; if negative, the budget is no bound.
	Capacity float64
	// Deposit is added for each call whose first attempt succeeded. If zero,
	// 0.2; if negative, none.
	Deposit float64
	// PerSecond is added with time. If zero, 0.1; if negative, none.
	PerSecond float64

	accounts keyed.Map[*account]
}

// account is one key's share. A key without one has a full budget.
type account struct {
	mu    sync.Mutex
	spent float64 // below capacity
	at    time.Time
	rate  float64
}

func (a *account) Evictable(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.settledLocked(now) <= 0
}

func (a *account) settledLocked(now time.Time) float64 {
	if d := now.Sub(a.at); d > 0 {
		a.spent = max(0, a.spent-d.Seconds()*a.rate)
		a.at = now
	}
	return a.spent
}

// withdraw pays for one retry, or reports that the budget is empty.
func (b *Budget) withdraw(k keyed.Key, now time.Time) bool {
	if b.Capacity < 0 {
		return true
	}
	a := b.accounts.Get(k, now, func(keyed.Key) *account {
		return &account{at: now, rate: orDefault(b.PerSecond, 0.1, 0)}
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.settledLocked(now)+1 > orDefault(b.Capacity, 10, 0) {
		return false
	}
	a.spent++
	return true
}

// succeeded books a success: of a first attempt a deposit, of a retry the
// refund of what that retry had cost.
func (b *Budget) succeeded(k keyed.Key, retried bool, now time.Time) {
	a, ok := b.accounts.Find(k)
	if !ok {
		return // never drawn on: full
	}
	amount := 1.0
	if !retried {
		amount = orDefault(b.Deposit, 0.2, 0)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spent = max(0, a.settledLocked(now)-amount)
}
