package quota

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// bucket is one limit. The arithmetic is x/time/rate's, with one now per step:
// an older now would rewind its clock and credit the time between twice.
type bucket struct {
	kind    Kind
	tokens  *rate.Limiter
	own     float64 // what the user allows a second; +Inf: anything
	ceiling float64 // what the server states a second, less headroom; +Inf: nothing
	most    int     // burst where it is no second's worth; 0: it is
	stock   bool    // for a day: it is no pace, and may be used up at once
	stated  stated
	room    capacity
	pace    pace
	share   share
}

// headroom is what is left of a limit that a server states: pacing at exactly
// the limit, the least jitter of the way is a refusal.
const headroom = 0.98

func newBucket(kind Kind) *bucket {
	return &bucket{kind: kind, own: math.Inf(1), ceiling: math.Inf(1), tokens: rate.NewLimiter(rate.Inf, 1)}
}

func (b *bucket) configure(c Ceiling) {
	b.own, b.most = float64(c.PerMinute)/60, c.Burst
	b.tokens = rate.NewLimiter(rate.Limit(b.own), c.Burst)
}

func (b *bucket) burst() int { return b.tokens.Burst() }

func (b *bucket) level(now time.Time) float64 {
	if b.tokens.Limit() == rate.Inf {
		return math.Inf(1)
	}
	return b.tokens.TokensAt(now)
}

// needs is what the bucket must hold for a request to go: one larger than the
// bucket goes when it is full, and books the rest as debt.
func (b *bucket) needs(c Cost) int { return min(c.of(b.kind), b.tokens.Burst()) }

// lack is the time in which the bucket gains what it lacks of n.
func (b *bucket) lack(n float64, now time.Time) time.Duration {
	missing := n - b.level(now)
	if missing <= 0 {
		return 0
	}
	s := missing / float64(b.tokens.Limit()) * float64(time.Second)
	return time.Duration(min(math.Ceil(s)+1, float64(forever))) // +1 ns: a float short of a whole token
}

const forever = 10 * 365 * 24 * time.Hour

func (b *bucket) take(n int, waited bool, now time.Time) {
	b.pace.took(n, waited, now)
	if b.share.y < 0 && now.Sub(b.share.at) > 2*shareForget {
		b.share = share{}
	}
	b.adjust(now)
	b.room.took(n, now)
	b.charge(n, now)
}

// charge books n, into debt if need be; a negative n is given back. ReserveN
// allows a debt of at most one burst, so the bucket is widened while it is
// booked; what is in it stays what it is.
func (b *bucket) charge(n int, now time.Time) {
	if n < 0 {
		b.credit(-n, now)
		return
	}
	if b.tokens.Limit() == rate.Inf || n == 0 {
		return
	}
	burst := b.tokens.Burst()
	if n > burst {
		b.tokens.SetBurstAt(now, n)
		defer b.tokens.SetBurstAt(now, burst)
	}
	b.tokens.ReserveN(now, n)
}

// credit gives n back: a negative reservation, clipped at the burst. Nothing
// documents it; TestNegativeReservationCredits holds it.
func (b *bucket) credit(n int, now time.Time) {
	if n > 0 && b.tokens.Limit() != rate.Inf {
		b.tokens.ReserveN(now, -n)
	}
}

// lower takes away what the bucket holds above level.
func (b *bucket) lower(level float64, now time.Time) {
	if have := b.level(now); have > level && !math.IsInf(have, 1) {
		b.charge(int(math.Ceil(have-level)), now)
	}
}

// raise adds what the bucket lacks of level.
func (b *bucket) raise(level float64, now time.Time) {
	if have := b.level(now); have < level {
		b.credit(int(math.Ceil(level-have)), now)
	}
}

// limit is the rate in force.
func (b *bucket) limit() float64 {
	if b.share.y < 0 {
		return min(b.own, b.ceiling, b.share.rate(b.ceiling/headroom))
	}
	return min(b.own, b.ceiling, b.pace.rate())
}

// adjust brings the rate to what is known now. A bucket that gets its first
// one is full.
func (b *bucket) adjust(now time.Time) {
	r := b.limit()
	if rate.Limit(r) == b.tokens.Limit() || math.IsInf(r, 1) {
		return
	}
	burst := b.most
	if learned := b.room.burst(paced(r)); burst == 0 || learned < burst && !b.stock {
		burst = learned
	}
	if b.tokens.Limit() == rate.Inf {
		b.tokens = rate.NewLimiter(rate.Limit(r), burst) // a wider burst would add nothing to what it holds
		return
	}
	b.tokens.SetLimitAt(now, rate.Limit(r))
	b.tokens.SetBurstAt(now, burst)
}

// paced is how much may go at once at a rate: one second's worth.
func paced(r float64) int { return int(max(1, min(r, math.MaxInt32))) }

// widen lets a bucket be used up that is known to hold more than the pace
// allows; level is what is in it.
func (b *bucket) widen(level float64, now time.Time) {
	r := b.limit()
	if b.most > 0 || math.IsInf(r, 1) {
		return // the user's or a stock's
	}
	small := paced(r)
	wide := b.room.burst(small)
	if wide == small {
		return
	}
	b.room.peak = rate.NewLimiter(rate.Limit(peak*r), small)
	b.tokens.SetBurstAt(now, wide)
	b.raise(min(level, float64(wide)), now)
}

// narrow goes back to the pace, when a refusal has shown that there was less.
func (b *bucket) narrow(now time.Time) {
	wide := b.room.peak != nil
	b.room.refused()
	if wide {
		b.tokens.SetBurstAt(now, paced(float64(b.tokens.Limit())))
	}
}

// source is where the limit in force was learned.
func (b *bucket) source() Source {
	switch r := b.limit(); {
	case math.IsInf(r, 1):
		return Nowhere
	case r == b.own:
		return Configured
	case r == b.ceiling, b.share.y < 0:
		return Stated
	}
	return Refused
}
