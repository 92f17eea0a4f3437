package quota

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// capacity is how much a server's bucket holds, as far as its headers tell. In
// a bucket that fills evenly what is left and what is still to come until the
// reset add up to the same whatever was used. In a window of the clock they do
// not: there the reset comes when it comes, and the sum falls with every use.
type capacity struct {
	holds  float64 // 0: not known
	denied bool    // a refusal has shown that it was no bucket of that kind

	n           int     // readings that agree
	low, high   float64 // their sums
	least, most int64   // left in them
	seems       float64 // what it held when it seemed to fill evenly; 0: it never did

	peak *rate.Limiter // how fast it may be emptied; nil while the pace is all there is
}

const (
	// A header counts in whole units, and a reset in whole seconds is as much
	// too long as a bucket gains in one. What is left must have changed by several
	// times that before an even sum says anything.
	evidence = 4
	// agreeing is the number of readings that must say the same.
	agreeing = 4
	// peak is how many times faster than it fills a bucket is emptied. All at once
	// would be as much as the server allows, but if it counts by the second as
	// well, which headers of a minute do not say, a burst would be turned away
	// before the first refusal is back.
	peak = 8
)

// read takes in one reading and reports whether it has shown the capacity.
func (c *capacity) read(r Reading) bool {
	if c.holds > 0 || r.Limit <= 0 || r.Remaining < 0 || r.Reset < 0 || r.Window <= 0 {
		return false
	}
	gain := float64(r.Limit) / r.Window.Seconds()
	sum := float64(r.Remaining) + gain*r.Reset.Seconds()
	grain := 1 + gain*time.Millisecond.Seconds()
	if r.Reset%time.Second == 0 || r.Reset%time.Millisecond != 0 { // a moment in whole seconds, less our now
		grain = 1 + gain
	}
	low, high := min(c.low, sum), max(c.high, sum)
	if c.n == 0 || high-low > grain {
		c.n, c.low, c.high, c.least, c.most = 1, sum, sum, r.Remaining, r.Remaining
		return false
	}
	c.n, c.low, c.high = c.n+1, low, high
	c.least, c.most = min(c.least, r.Remaining), max(c.most, r.Remaining)
	if c.n >= 4*agreeing && c.most > c.least && (c.seems == 0 || c.low < c.seems) {
		c.seems = c.low // resets are rounded up, and so are the sums
	}
	if c.n < agreeing || float64(c.most-c.least) < evidence*grain {
		return false
	}
	// No server that is in its senses grants more at once than the limit it names.
	c.holds = min(c.low, float64(r.Limit))
	return true
}

// even is what a bucket holds that seems to fill evenly, 0 if none does. What is
// left need not have changed much for that, as it does not where others leave
// nothing; to use the bucket up takes more. It stays: in a bucket that nobody
// draws on any more nothing changes, and that is no doubt.
func (c *capacity) even() float64 {
	if c.holds > 0 {
		return c.holds
	}
	return c.seems
}

// refused takes back what was learned: who kept to it has been turned away.
func (c *capacity) refused() {
	*c = capacity{denied: c.holds > 0 || c.denied, holds: c.holds, seems: c.seems}
}

// burst is what may go at once, where a pace allows so much.
func (c *capacity) burst(paced int) int {
	// Little more than the pace allows is not worth the risk of being wrong.
	if n := int(min(headroom*c.holds, math.MaxInt32)); n > 2*paced && !c.denied {
		return n
	}
	return paced
}

// lack is the time until n may go, of a bucket that holds enough.
func (c *capacity) lack(n float64, now time.Time) time.Duration {
	if c.peak == nil {
		return 0
	}
	missing := min(n, float64(c.peak.Burst())) - c.peak.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(math.Ceil(missing/float64(c.peak.Limit())*float64(time.Second))) + 1
}

// took counts what goes.
func (c *capacity) took(n int, now time.Time) {
	if c.peak != nil {
		c.peak.ReserveN(now, min(n, c.peak.Burst()))
	}
}
