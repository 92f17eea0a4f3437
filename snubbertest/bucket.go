package snubbertest

import (
	"math"
	"math/bits"
	"time"
)

// A bucket is a token bucket told by the instant at which it will be full
// again. That makes it exact: a bucket that counts tokens has to round the
// refill at every look, and a client that paces itself to the nanosecond would
// be refused for the fake's rounding. Times are nanoseconds since the
// provider's first call. The zero bucket has no limit.
type bucket struct {
	limit  uint64 // tokens per period
	burst  uint64 // capacity
	period uint64 // nanoseconds
	full   span
}

// A span is ns + frac/limit nanoseconds. Spans saturate at forever, so that
// no limit and no request can overflow them.
type span struct{ ns, frac uint64 }

const endlessWait = 1 << 62

func newBucket(limit, burst int, period time.Duration) bucket {
	if limit <= 0 {
		return bucket{}
	}
	if burst <= 0 {
		burst = limit
	}
	return bucket{limit: uint64(limit), burst: uint64(burst), period: uint64(period)}
}

// cost is how long n tokens take to refill.
func (b *bucket) cost(n uint64) span {
	hi, lo := bits.Mul64(n, b.period)
	if hi >= b.limit {
		return span{ns: endlessWait}
	}
	ns, frac := bits.Div64(hi, lo, b.limit)
	if ns >= endlessWait {
		return span{ns: endlessWait}
	}
	return span{ns, frac}
}

// debt is how long the bucket needs to be full.
func (b *bucket) debt(now uint64) span {
	if b.full.ns < now {
		return span{}
	}
	return span{b.full.ns - now, b.full.frac}
}

func (b *bucket) add(x, y span) span {
	ns, frac := x.ns+y.ns, x.frac+y.frac
	if frac >= b.limit {
		ns, frac = ns+1, frac-b.limit
	}
	if ns >= endlessWait {
		return span{ns: endlessWait}
	}
	return span{ns, frac}
}

func (b *bucket) sub(x, y span) span {
	if !y.less(x) {
		return span{}
	}
	if x.frac < y.frac {
		return span{x.ns - y.ns - 1, x.frac + b.limit - y.frac}
	}
	return span{x.ns - y.ns, x.frac - y.frac}
}

func (x span) less(y span) bool { return x.ns < y.ns || x.ns == y.ns && x.frac < y.frac }

// ceil rounds up: a client that waits as told must not come too early.
func (x span) ceil() time.Duration {
	if x.frac > 0 {
		x.ns++
	}
	return time.Duration(x.ns)
}

// wait is how long the bucket needs until it holds n tokens, 0 if it does.
func (b *bucket) wait(now, n uint64) time.Duration {
	if b.limit == 0 {
		return 0
	}
	return b.sub(b.add(b.debt(now), b.cost(n)), b.cost(b.burst)).ceil()
}

// take removes n tokens, below zero if it must.
func (b *bucket) take(now, n uint64) {
	if b.limit > 0 {
		d := b.add(b.debt(now), b.cost(n))
		b.full = span{now + d.ns, d.frac}
	}
}

// drain removes n tokens or what there is.
func (b *bucket) drain(now, n uint64) {
	if b.limit > 0 {
		d, empty := b.add(b.debt(now), b.cost(n)), b.cost(b.burst)
		if empty.less(d) {
			d = empty
		}
		b.full = span{now + d.ns, d.frac}
	}
}

// put gives n tokens back.
func (b *bucket) put(now, n uint64) {
	if b.limit > 0 {
		d := b.sub(b.debt(now), b.cost(n))
		b.full = span{now + d.ns, d.frac}
	}
}

// A level is what the quota headers tell of a bucket.
type level struct {
	limit, remaining int           // the limit that of a true minute: a client cannot know of a short one
	reset            time.Duration // until the bucket is full
}

func (b *bucket) level(now uint64) level {
	if b.limit == 0 {
		return level{}
	}
	d := b.debt(now)
	l := level{limit: int(b.limit), reset: d.ceil()}
	if minute := uint64(time.Minute); b.period != minute {
		hi, lo := bits.Mul64(b.limit, minute)
		if l.limit = math.MaxInt; hi < b.period {
			q, _ := bits.Div64(hi, lo, b.period)
			l.limit = int(min(max(q, 1), math.MaxInt))
		}
	}
	hi, lo := bits.Mul64(d.ns, b.limit)
	lo, carry := bits.Add64(lo, d.frac, 0)
	if hi += carry; hi >= b.period {
		return l
	}
	used, rest := bits.Div64(hi, lo, b.period)
	if rest > 0 {
		used++
	}
	l.remaining = int(b.burst - min(used, b.burst))
	return l
}

// used is the limit and how much of it is gone, as messages tell them.
func (b *bucket) used(now uint64) (limit, used int) {
	limit = int(max(b.limit, b.burst))
	return limit, limit - b.level(now).remaining
}
