package main

import (
	"math"
	"time"
)

// A provider is what a quota is at the other end of the wire: rules, and no
// state. Its steps are pure functions, so the same calls at the same instants
// meet the same answers, whoever makes them. Instants are times since the start.
//
// A rejected call takes at most what is in the bucket: no provider documents a
// debt, and with one a client that stops would be locked out for as long as it
// had been too fast.
type provider struct {
	requests, tokens bucket
	steps            []step        // of the request bucket, in order of time
	concurrent       int           // calls at a time; 0: any
	charged          float64       // of its cost that a rejected call consumes (kappa)
	refund           bool          // what was reserved and not used comes back when the call ends
	later            bool          // the answer is charged when it ends, and nothing is reserved for it
	closed           time.Duration // nobody is let in before
	spent            bool          // the account has no money: nobody is let in
	odd              odd           // calls that are refused at random, whatever the load
	streams          bool          // answers are streams
	says             dialect
	hint             hint
}

// bucket fills evenly, or with a window to the brim at each full one. The zero
// bucket limits nothing.
type bucket struct {
	perSecond, burst float64
	window           time.Duration
}

func perMinute(n float64) bucket { return bucket{perSecond: n / 60, burst: math.Max(1, n/60)} }

// step is another request bucket from a time on.
type step struct {
	at time.Duration
	to bucket
}

// state is what a provider knows at one instant.
type state struct {
	at               time.Duration
	requests, tokens float64
	running          int
}

// kind is the bucket that a call was too much for.
type kind string

const (
	none        kind = ""
	requests    kind = "requests"
	tokens      kind = "tokens"
	concurrency kind = "concurrency"
	gate        kind = "gate"
	chance      kind = "chance"
	credit      kind = "credit"
)

func (p *provider) fresh() state {
	return state{requests: p.requests.burst, tokens: p.tokens.burst}
}

// requestsAt is the request bucket in force, and until when.
func (p *provider) requestsAt(at time.Duration) (b bucket, until time.Duration) {
	b, until = p.requests, math.MaxInt64
	for _, s := range p.steps {
		if s.at > at {
			return b, s.at
		}
		b = s.to
	}
	return b, until
}

// gain is what the bucket gains from one instant to another.
func (b bucket) gain(from, to time.Duration) float64 {
	if b.window > 0 {
		return b.burst * float64(to/b.window-from/b.window)
	}
	return b.perSecond * (to - from).Seconds()
}

// lacks is the time in which the bucket gains n.
func (b bucket) lacks(n float64, at time.Duration) time.Duration {
	if b.window > 0 {
		full := time.Duration(math.Ceil(n / b.burst))
		return (at/b.window+full)*b.window - at
	}
	return seconds(n / b.perSecond)
}

// granted is how many requests the bucket allows from one instant to another,
// without what was in it before.
func (p *provider) granted(from, to time.Duration) float64 {
	sum := 0.0
	for from < to {
		b, until := p.requestsAt(from)
		until = min(until, to)
		sum += b.gain(from, until)
		from = until
	}
	return sum
}

// advance fills the buckets.
func (p *provider) advance(s state, at time.Duration) state {
	for s.at < at {
		b, until := p.requestsAt(s.at)
		until = min(until, at)
		s.requests = min(s.requests+b.gain(s.at, until), b.burst)
		s.tokens = min(s.tokens+p.tokens.gain(s.at, until), p.tokens.burst)
		s.at = until
	}
	b, _ := p.requestsAt(at)
	s.requests = min(s.requests, b.burst)
	return s
}

// slack covers what sums of floats lose.
const slack = 1e-6

// until is when a call could be let in if no other came before: none where it
// could now, and -1 where only the end of another call can tell.
func (p *provider) until(s state, at time.Duration, cost float64) (time.Duration, kind) {
	s = p.advance(s, at)
	if p.spent {
		return -1, credit
	}
	if at < p.closed {
		return p.closed - at, gate
	}
	if p.concurrent > 0 && s.running >= p.concurrent {
		return -1, concurrency
	}
	wait, why := time.Duration(0), none
	if b, until := p.requestsAt(at); b.perSecond > 0 && s.requests+slack < 1 {
		missing := 1 - s.requests
		for from := at; ; {
			need := b.lacks(missing, from)
			if from+need <= until {
				wait, why = from+need-at, requests
				break
			}
			missing -= b.gain(from, until)
			from = until
			b, until = p.requestsAt(from)
		}
	}
	if b := p.tokens; b.perSecond > 0 && s.tokens+slack < cost {
		if d := b.lacks(cost-s.tokens, at); d > wait {
			wait, why = d, tokens
		}
	}
	return wait, why
}

// arrive is the step of a call that reaches the provider. dice is its chance,
// in [0, 1).
func (p *provider) arrive(s state, at time.Duration, cost, dice float64) (state, verdict) {
	s = p.advance(s, at)
	wait, why := p.until(s, at, cost)
	if why == none && dice < p.odd.at(at) {
		why = chance
	}
	switch why {
	case none:
		s.requests--
		s.tokens -= cost
		s.running++
	case chance: // a replica that refuses asks nobody what is left
	default:
		s.requests -= min(p.charged, max(s.requests, 0))
		s.tokens -= min(p.charged*cost, max(s.tokens, 0))
		if w, k := p.until(s, at, cost); k != none { // told after it was charged
			wait = w
		}
	}
	b, _ := p.requestsAt(at)
	v := verdict{over: why, wait: max(wait, 0)}
	v.requests = level{b.perSecond * 60, s.requests, b}
	v.tokens = level{p.tokens.perSecond * 60, s.tokens, p.tokens}
	return s, v
}

// depart is the step of a call that has ended.
func (p *provider) depart(s state, at time.Duration, cost, used float64) state {
	s = p.advance(s, at)
	s.running--
	if p.refund || p.later {
		s.tokens = min(s.tokens+cost-used, p.tokens.burst) // a debt, if the answer was not reserved for
	}
	return s
}

// verdict is what a provider thinks of a call.
type verdict struct {
	over             kind // none: it is let in
	wait             time.Duration
	requests, tokens level
}

// level is what a header can say about a bucket.
type level struct {
	limit, left float64 // limit a minute
	bucket      bucket
}

// full is the time until the bucket is full again.
func (l level) full() time.Duration {
	return seconds((l.bucket.burst - l.left) / l.bucket.perSecond)
}

func seconds(s float64) time.Duration { return time.Duration(math.Ceil(s * float64(time.Second))) }
