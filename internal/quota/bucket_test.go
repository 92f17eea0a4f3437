package quota

import (
	"math"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// The buckets rely on what x/time/rate does and does not document: a negative
// reservation credits, clipped at the burst at the next read; a reservation
// books debt without waiting; a wider burst adds no tokens and the old one,
// put back, takes away none but those above it.
func TestNegativeReservationCredits(t *testing.T) {
	now := time.Unix(1e9, 0)
	b := rate.NewLimiter(10, 100)
	left := func(want float64) {
		t.Helper()
		if got := b.TokensAt(now); math.Abs(got-want) > 1e-9 {
			t.Fatalf("%v left, want %v", got, want)
		}
	}
	left(100)
	b.ReserveN(now, 80)
	left(20)
	if !b.ReserveN(now, -30).OK() {
		t.Error("a negative reservation is refused")
	}
	left(50)
	b.ReserveN(now, -500)
	now = now.Add(time.Nanosecond)
	left(100)
	b.ReserveN(now, 100)
	b.ReserveN(now, 100)
	left(-100)
	b.ReserveN(now, -40)
	left(-60)
	now = now.Add(time.Second)
	left(-50)
	if b.ReserveN(now, 101).OK() {
		t.Error("more than the burst is reserved: widening it is not needed any more")
	}
	b.SetBurstAt(now, 1000)
	left(-50)
	b.ReserveN(now, 1000)
	b.SetBurstAt(now, 100)
	left(-1050)
	if b.Burst() != 100 || b.Limit() != 10 {
		t.Errorf("burst %d and limit %v, want 100 and 10", b.Burst(), b.Limit())
	}
	now = now.Add(time.Hour)
	left(100)
}

// A debt and a credit of any size neither overflow nor exceed the bucket.
func TestBucketChargesAndCredits(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, cost := range []int{0, 1, 10, 11, 1000, math.MaxInt32} {
		b := newBucket(Tokens)
		b.configure(Ceiling{PerMinute: 600, Burst: 10})
		holds := func(want float64, what string) {
			t.Helper()
			if got := b.level(now); math.Abs(got-want) > 1e-3 || b.burst() != 10 {
				t.Errorf("%d %s leaves %v of %d, want %v of 10", cost, what, got, b.burst(), want)
			}
		}
		b.charge(cost, now)
		holds(float64(10-cost), "charged")
		b.charge(-cost, now)
		holds(10, "given back")
		b.credit(math.MaxInt32, now)
		holds(10, "given back, and too much")
		b.lower(3.5, now)
		holds(3, "lowered to less than a whole one")
		b.lower(9, now)
		holds(3, "lowered to more than there is")
		b.raise(4.5, now)
		holds(5, "raised")
	}
}
