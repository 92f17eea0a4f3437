package breaker

import (
	"math"
	"time"
)

// history is the share of results that failed lately: the larger of two moving
// averages, one that follows a change within some thirty results and one that is
// exact. A row of failures does not count before a success ends it: it may be the
// beginning of an outage, and would make itself look usual.
type history struct {
	fast, slow float64
	last       time.Time // of a success
}

// How many results an average is about, how long a result counts for at most, and
// the largest share that a row of failures is compared with: a service that answers
// one request in a hundred is as good as down.
const (
	fastResults = 32
	slowResults = 256
	halfLife    = 5 * time.Minute
	maxShare    = 0.9
	rowLasts    = time.Second
)

// add counts a success after a row of failures, of which there may be none.
func (h *history) add(now time.Time, failures int) {
	if idle := now.Sub(h.last); idle > time.Second && h.fast+h.slow > 0 {
		f := math.Exp2(-idle.Seconds() / halfLife.Seconds())
		h.fast, h.slow = f*h.fast, f*h.slow
	}
	h.last = now
	if failures == 0 && h.slow < 1e-6 {
		h.fast, h.slow = 0, 0 // the usual case, without a float too small to be fast
		return
	}
	h.fast = follow(h.fast, fastResults, failures)
	h.slow = follow(h.slow, slowResults, failures)
}

// follow is an average over n results after so many failures and one success.
func follow(average, n float64, failures int) float64 {
	keep := 1 - 1/n
	if failures > 0 {
		average = 1 - (1-average)*math.Pow(keep, float64(failures))
	}
	return average * keep
}

// share is the share of results that failed lately.
func (h *history) share() float64 { return min(max(h.fast, h.slow), maxShare) }

// explains reports whether a row of failures may come by chance, in a service that
// works: the share of failures makes it more likely than chance, or it has lasted less
// than a second and its least number, least, comes in no time where requests are many.
func (h *history) explains(failures, least int, chance float64, now time.Time) bool {
	if now.Sub(h.last) < rowLasts && failures/5 < least {
		return true
	}
	return math.Pow(h.share(), float64(failures)) > chance
}
