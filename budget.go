package snubber

import (
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/keyed"
)

// Budget bounds the retries of all calls to one key together, so that retries repair
// single failures and do not multiply the load of an outage. A retry costs 1, and is
// paid back if it succeeds. If the budget is empty, the caller gets the response of the
// failed attempt.
//
// The zero value is a good policy. It pays for two retries of each call as long as one
// attempt in five succeeds. An SDK does as much by itself, so that no call is lost that
// the SDK would have saved. If nothing succeeds, it pays for 50 retries, and then for
// six a minute.
//
// The rules are those of gRPC's retry throttling and of the AWS SDKs. Successes fill
// the budget and requests do not: during an outage requests would go on filling it.
//
// A Budget is safe for concurrent use, may be shared between layers and must not be
// copied after first use.
type Budget struct {
	// Capacity is the number of retries that a full budget pays for. It starts full. If
	// zero, 50; if negative, the budget bounds nothing.
	Capacity float64
	// Deposit is what each success adds, of a first attempt or of a retry. If zero, 5;
	// if negative, nothing.
	Deposit float64
	// PerSecond is what each second adds. If zero, 0.1; if negative, nothing.
	PerSecond float64

	accounts keyed.Map[*account]
}

// account is the budget of one key. A key without an account has a full budget.
type account struct {
	mu      sync.Mutex
	spent   float64 // what is missing to the capacity
	at      time.Time
	rate    float64
	failing float64 // the share of attempts that failed lately
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

// withdraw pays for one retry. It reports false if the budget is empty, or if extra is
// set and many attempts fail.
func (b *Budget) withdraw(k keyed.Key, extra bool, now time.Time) bool {
	if b.Capacity < 0 {
		return true
	}
	a := b.accounts.Get(k, now, func(keyed.Key) *account {
		return &account{at: now, rate: orDefault(b.PerSecond, 0.1, 0)}
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failing += (1 - a.failing) / failingMemory
	if extra && a.failing > failingShare || a.spentLocked(now)+1 > orDefault(b.Capacity, 50, 0) {
		return false
	}
	a.spent++
	return true
}

// The share of failed attempts above which many fail, and how many attempts it is
// about. At 30 % of failures five attempts lose one call in 400; at 40 % they would
// send more than the three of an SDK do.
const (
	failingShare  = 0.36
	failingMemory = 256
)

// succeeded books a success, of a retry with the refund of what that retry had cost.
func (b *Budget) succeeded(k keyed.Key, retried bool, now time.Time) {
	amount := orDefault(b.Deposit, 5, 0)
	if retried {
		amount++
	}
	if a := b.deposit(k, amount, now); a != nil {
		a.failing -= a.failing / failingMemory
		a.mu.Unlock()
	}
}

// refund pays back a retry that was not sent after all.
func (b *Budget) refund(k keyed.Key, now time.Time) {
	if a := b.deposit(k, 1, now); a != nil {
		a.mu.Unlock()
	}
}

// deposit returns the locked account, or nil: one that was never drawn on is full.
func (b *Budget) deposit(k keyed.Key, amount float64, now time.Time) *account {
	a, ok := b.accounts.Find(k)
	if !ok {
		return nil
	}
	a.mu.Lock()
	a.spent = max(0, a.spentLocked(now)-amount)
	return a
}
