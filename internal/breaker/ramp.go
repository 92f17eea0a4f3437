package breaker

import (
	"math"
	"time"
)

// ramp bounds the requests of a circuit that has just closed. A service that comes up
// meets no crowd, and one that only collapses under too many requests gets as many as
// it answers.
//
// The rate doubles from round to round as long as it is used up and the share of
// successes stays what it was at the lower rates: a service that fails half of its
// requests whatever the load is soon at no bound. Where the share falls the load is the
// reason. The rate then is what was answered, and feels its way up from there.
//
// SRE's client-side throttling, which sends twice what is accepted, would not do: it
// sheds at any share of failures above a half, and leaves a service that collapses
// half of the way down.
type ramp struct {
	rate   float64 // requests a second; 0: no bound
	tokens float64
	at     time.Time // of tokens
	found  bool      // the rate is about what the service can carry
	bad    float64   // the rate that was too high last; 0: none was

	round        uint32 // the requests that are counted now
	began        time.Time
	sent         int
	ok, failed   int
	neutral      int
	used         bool // somebody wanted more
	unused       int  // rounds in a row that nobody did
	base, baseOK float64
}

// The ramp's values are the best of those tried in the simulator.
const (
	rampStart   = 8.0 // requests a second
	rampLeast   = 1.0
	roundFor    = 500 * time.Millisecond
	roundWait   = 2 * time.Second // for the results of a round
	roundEnough = 8               // results, from which on a round says something
	rampGrowth  = 1.05            // of a rate that was found
	rampRefuted = 1.1             // of a rate that was too high, and is not any more
	rampBack    = 0.95            // of what was answered
	doubt       = 2.5             // standard deviations that are no chance
	baseMost    = 400.0
)

func (r *ramp) on() bool { return r.rate > 0 }

func (r *ramp) start(now time.Time) {
	*r = ramp{rate: rampStart, tokens: 1, at: now, round: r.round, bad: r.bad}
	r.next(now)
}

// stop lifts the bound.
func (r *ramp) stop() { *r = ramp{round: r.round} }

// tooHigh ends the ramp: under it the service went down.
func (r *ramp) tooHigh() { *r = ramp{round: r.round, bad: r.rate} }

func (r *ramp) next(now time.Time) {
	r.round = max(1, r.round+1)
	r.began, r.used = now, false
	r.sent, r.ok, r.failed, r.neutral = 0, 0, 0, 0
}

// fill adds what time has brought.
func (r *ramp) fill(now time.Time) {
	if d := now.Sub(r.at); d > 0 {
		r.tokens = min(r.tokens+d.Seconds()*r.rate, max(1, r.rate/10))
		r.at = now
	}
}

// lack is the time until the next request may go, 0 for now.
func (r *ramp) lack(now time.Time) time.Duration {
	r.fill(now)
	if r.tokens+1e-6 >= 1 {
		return 0
	}
	r.used = true
	return time.Duration(math.Ceil((1 - r.tokens) / r.rate * float64(time.Second)))
}

// ahead is about the time until a request goes that has so many before it.
func (r *ramp) ahead(n int) time.Duration {
	rounds := float64(n) / r.rate // seconds
	if !r.found {
		rounds = math.Log2(1 + rounds)
	}
	return time.Duration(rounds * float64(time.Second))
}

// take counts a request that goes, and returns the round that it belongs to.
func (r *ramp) take(now time.Time) uint32 {
	r.fill(now)
	r.tokens--
	if now.Sub(r.began) >= roundFor {
		return 0 // until the round is judged
	}
	r.sent++
	return r.round
}

// end counts a result of a request of a round.
func (r *ramp) end(round uint32, result Result) {
	switch {
	case round != r.round:
	case result == Alive:
		r.ok++
	case result == Failed:
		r.failed++
	default:
		r.neutral++
	}
}

// judge ends the round if it can be judged, and reports whether the rate has changed.
func (r *ramp) judge(now time.Time) bool {
	since := now.Sub(r.began)
	early := since < roundFor && r.failed >= roundEnough && r.base >= roundEnough && worse(r.baseOK, r.base, float64(r.sent-r.failed), float64(r.sent))
	unknown := r.sent - r.ok - r.failed - r.neutral
	if !early && (since < roundFor || 10*unknown > r.sent && since < roundFor+roundWait) {
		return false
	}
	ok := float64(r.ok + unknown) // a failure comes early, an answer may take its time
	n := ok + float64(r.failed)
	if n >= roundEnough && r.base >= roundEnough && worse(r.baseOK, r.base, ok, n) {
		carried := ok / min(since, roundFor).Seconds() / (r.baseOK / r.base)
		r.bad = r.rate
		r.rate = max(rampLeast, r.rate/2, min(r.rate, carried)*rampBack)
		r.found, r.unused = true, 0
		r.next(now)
		return true
	}
	r.base, r.baseOK = r.base+n, r.baseOK+ok
	if r.base > baseMost {
		r.base, r.baseOK = r.base/2, r.baseOK/2
	}
	switch {
	case r.used:
		r.unused = 0
		r.grow()
	default:
		if r.unused++; r.unused >= 2 && !r.found || r.unused >= 20 {
			r.stop()
			return true
		}
	}
	r.next(now)
	return true
}

// grow raises the rate: twofold up to half of a rate that was too high, from there in
// small steps, and beyond it, where that rate is refuted, twofold again.
func (r *ramp) grow() {
	if r.rate > rampRefuted*r.bad {
		r.found, r.bad = false, 0
	}
	switch {
	case r.found:
		r.rate *= rampGrowth
	case r.bad > 0 && 2*r.rate >= r.bad/2:
		r.rate, r.found = max(r.rate, r.bad/2), true
	default:
		r.rate *= 2
	}
}

// worse reports whether ok2 successes of n2 are a smaller share than ok1 of n1, by more
// than chance and by more than a twentieth.
func worse(ok1, n1, ok2, n2 float64) bool {
	d := ok1/n1 - ok2/n2
	p := (ok1 + ok2) / (n1 + n2)
	return d > 0.05 && d > doubt*math.Sqrt(p*(1-p)*(1/n1+1/n2))
}
