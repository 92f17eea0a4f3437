package main

import (
	"math/rand/v2"
	"time"
)

// A service is what stands at the other end of the wire and fails. Instants are
// times since the start.
type service interface {
	// arrive is the step of a request that comes in at an instant. dice is the
	// request's own luck.
	arrive(at time.Duration, dice *rand.Rand) answer
	// ready is for the oracle alone: how long to wait before a request that comes in
	// will be answered well.
	ready(at time.Duration) time.Duration
	// failing reports whether requests that come in at an instant fail because of
	// what the scenario is about.
	failing(at time.Duration) bool
}

// answer is what a request comes to, and when.
type answer struct {
	after      time.Duration
	status     int           // 0: the connection is reset
	hangs      bool          // and nothing ever comes
	retryAfter time.Duration // 0: the server says nothing
}

// usual is how long a good answer takes, and refusing how long a failure does.
const (
	usual    = 300 * time.Millisecond
	refusing = 20 * time.Millisecond
)

func good(dice *rand.Rand) answer {
	return answer{after: usual*3/4 + time.Duration(dice.Int64N(int64(usual/2))), status: 200}
}

func bad(status int, dice *rand.Rand) answer {
	return answer{after: refusing*3/4 + time.Duration(dice.Int64N(int64(refusing/2))), status: status}
}

// span is a time from an instant to another.
type span struct{ from, to time.Duration }

func (s span) has(at time.Duration) bool { return s.from <= at && at < s.to }

func (s span) long() time.Duration { return s.to - s.from }

// outage is a service that answers nobody from time to time.
type outage struct {
	downs  []span // in order
	status int    // of the failures; 0: reset
	hangs  bool   // a black hole
	hint   time.Duration
}

func (o *outage) arrive(at time.Duration, dice *rand.Rand) answer {
	if !o.failing(at) {
		return good(dice)
	}
	a := bad(o.status, dice)
	a.hangs, a.retryAfter = o.hangs, o.hint
	return a
}

func (o *outage) ready(at time.Duration) time.Duration {
	for _, d := range o.downs {
		if d.has(at) {
			return d.to - at
		}
	}
	return 0
}

func (o *outage) failing(at time.Duration) bool { return o.ready(at) > 0 }

// brownout is a service that fails a share of its requests for a time: each by
// chance, or all that come to one of its sick replicas, which is the same to a
// client that cannot choose, but for the time: the sick ones answer sooner.
type brownout struct {
	span
	share  float64
	sick   bool // replicas: they refuse at once, else a failure takes as long as an answer
	status int
}

func (b *brownout) arrive(at time.Duration, dice *rand.Rand) answer {
	if !b.has(at) || dice.Float64() >= b.share {
		return good(dice)
	}
	if b.sick {
		return bad(b.status, dice)
	}
	a := good(dice)
	a.status = b.status
	return a
}

func (b *brownout) ready(time.Duration) time.Duration { return 0 }
func (b *brownout) failing(at time.Duration) bool     { return b.has(at) }

// collapse is a service that does less the more is asked of it: it can do so much
// work in a second, and each request that it refuses costs a part of a request's.
// With load l above its capacity c it answers (c - cost·l) / (1 - cost), which is
// nothing from c/cost on.
type collapse struct {
	capacity, cost float64 // requests a second; of a request's work
	status         int
	work           float64 // in hand, at last
	last           time.Duration
}

// inHand is how much work the service can have in hand, in seconds.
const inHand = 0.2

func (c *collapse) advance(at time.Duration) {
	c.work = min(c.work+c.capacity*(at-c.last).Seconds(), c.capacity*inHand)
	c.last = at
}

func (c *collapse) arrive(at time.Duration, dice *rand.Rand) answer {
	c.advance(at)
	if c.work >= 1 {
		c.work--
		return good(dice)
	}
	c.work -= c.cost
	c.work = max(c.work, -c.capacity*inHand)
	return bad(c.status, dice)
}

func (c *collapse) ready(at time.Duration) time.Duration {
	c.advance(at)
	return time.Duration(max(0, (1-c.work)/c.capacity) * float64(time.Second))
}

func (c *collapse) failing(time.Duration) bool { return true }

// queue is a service with workers and a queue in front of them. It works on what
// nobody waits for any more, as most do. While it is slow each piece of work takes so
// many times as long: with a queue that is never emptied, retries keep it so.
type queue struct {
	work   time.Duration // of one request
	free   []time.Duration
	bound  time.Duration // a request that would wait longer is refused; 0: none is
	slow   span
	factor float64
}

func newQueue(workers int, work, bound time.Duration, slow span, factor float64) *queue {
	return &queue{work: work, free: make([]time.Duration, workers), bound: bound, slow: slow, factor: factor}
}

func (q *queue) next() (first int) {
	for i, f := range q.free {
		if f < q.free[first] {
			first = i
		}
	}
	return first
}

func (q *queue) arrive(at time.Duration, dice *rand.Rand) answer {
	i := q.next()
	start := max(at, q.free[i])
	if q.bound > 0 && start-at > q.bound {
		return bad(503, dice)
	}
	work := time.Duration(float64(q.work) * dice.ExpFloat64())
	if q.slow.has(start) {
		work = time.Duration(q.factor * float64(work))
	}
	q.free[i] = start + work
	return answer{after: q.free[i] - at, status: 200}
}

// ready: the oracle sends nothing that would wait for more than a second.
func (q *queue) ready(at time.Duration) time.Duration {
	return max(0, q.free[q.next()]-at-time.Second)
}

func (q *queue) failing(at time.Duration) bool { return q.slow.has(at) }
