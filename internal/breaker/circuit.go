// Package breaker is the circuit breaker of one key: closed, open or half-open.
// It knows how the requests that it admitted ended and how long they took. It
// does not know what a request is, which key it is for, or what failed.
package breaker

import (
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// State is the state of a [Circuit].
type State uint8

const (
	Closed   State = iota // requests pass
	HalfOpen              // a few requests pass, to find out
	Open                  // no request passes
)

// String returns "closed", "half-open" or "open".
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case HalfOpen:
		return "half-open"
	}
	return "open"
}

// Result is what the end of an admitted request says about the service.
type Result uint8

const (
	Neutral Result = iota // nothing: the circuit counts neither a success nor a failure
	Alive                 // the service works
	Failed                // the service does not work
	Limited               // neutral, and a half-open circuit admits no probe before the server's time
)

// Config is the policy of a [Circuit]. All of its values count as they are: zero does
// not stand for a default.
type Config struct {
	Failures    int           // so many failures in a row open the circuit
	Chance      float64       // and only if the share of failures lately makes the row less likely than this, and it is no burst; 0: in any case
	Ratio       float64       // so large a share of the results in Window opens it
	MinRequests int           // Ratio applies from so many results on
	Probes      int           // requests at a time while half-open, and successes that close the circuit
	Window      time.Duration // the time over which results are counted
	OpenFor     time.Duration // the first open times, which grow with the time that the service is down
	MaxOpenFor  time.Duration // the longest open time
}

// Circuit is the circuit breaker of one key. [Circuit.Init] makes it ready. It is
// safe for concurrent use and must not be copied.
//
// gobreaker's two-step breaker is its transition table and nothing else: it
// gets a result in one step, under our lock, when the result is known. Its own
// windows count by the start of a request, so requests longer than the window
// would never count. Its half-open places do not expire, so one hung probe would
// reject for ever. Its open time is a constant. All three are kept here instead.
type Circuit struct {
	config Config
	// restricted is whether the circuit is not closed, or ramps up. It lets Check and
	// Evictable answer without the lock.
	restricted atomic.Bool
	// slowest is the longest time that a response's header took so far, in ns.
	slowest atomic.Int64

	mu            sync.Mutex
	gobreaker     *gobreaker.TwoStepCircuitBreaker[struct{}]
	state         State  // gobreaker's, as it last reported it
	epoch         uint32 // grows with each transition; results of an older epoch change nothing
	counts        window
	consecutive   int
	history       history
	downSince     time.Time // when the circuit was last closed
	until         time.Time // no request passes before
	serverRetryAt time.Time // the latest time that a failing server asked for
	forced        bool      // opened by Force
	probes        []probe
	lastProbe     uint32
	ramp          ramp
	waiting       []*waiter // the next one first
	seq           uint64    // of the latest waiter
	offered       time.Time // until when a place is kept for a waiter that was called
}

// probe is a taken place of a half-open circuit. The place is free again when
// the request ends or at expires, whichever is first: a request that hangs must
// not keep it for ever.
type probe struct {
	id      uint32
	expires time.Time
}

// Permit is the right to send one request. The methods of the zero Permit do nothing.
type Permit struct {
	c     *Circuit
	epoch uint32
	// number is that of the probe, of a half-open circuit, or else of the ramp's round,
	// if there is one.
	number uint32
}

// Transition is a change of state. If From equals To, nothing has changed.
type Transition struct {
	From, To State
	Until    time.Time // if the circuit opened: when it will admit probes
}

// Snapshot is the state of a circuit at one time.
type Snapshot struct {
	State       State
	Until       time.Time // if the circuit is open: when it will admit probes; zero if Forced
	Forced      bool      // opened by [Circuit.Force]
	Requests    int       // results in the window, without the neutral ones
	Failures    int       // those that failed
	Consecutive int       // failures in a row up to now
	Waiting     int       // requests that wait
}

var errFailed = errors.New("failed")

// Init makes c a closed circuit. Call it once, before any other method.
func (c *Circuit) Init(config Config) {
	c.config = config
	c.gobreaker = c.newGobreaker()
}

func (c *Circuit) newGobreaker() *gobreaker.TwoStepCircuitBreaker[struct{}] {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: uint32(min(c.config.Probes, math.MaxInt32)),
		// The open time is until. gobreaker's own only has to have passed by
		// then; zero would make it a minute.
		Timeout: 1,
		// gobreaker calls both under its lock: calling it from them would
		// deadlock.
		ReadyToTrip: func(gobreaker.Counts) bool { return c.tripsLocked() },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateClosed:
				c.state = Closed
			case gobreaker.StateHalfOpen:
				c.state = HalfOpen
			default:
				c.state = Open
			}
		},
	})
}

// Evictable reports whether c may be forgotten. A closed circuit can be made
// again; an open one is knowledge.
func (c *Circuit) Evictable(time.Time) bool { return !c.restricted.Load() }

// Check reports whether [Circuit.Acquire] would admit a request now that comes after
// those that wait. If not, retryAt is about when it may be admitted, zero if nobody can
// say. patient says that the request can wait: the others are not held back while the
// ramp has no reason but caution. Check takes nothing.
func (c *Circuit) Check(now time.Time, patient bool) (retryAt time.Time, ok bool) {
	if !c.restricted.Load() {
		return time.Time{}, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.waiting); n > 0 && patient && !c.openLocked() {
		c.ramp.used = true
		return c.expectLocked(n, now), false
	}
	return c.checkLocked(now, patient)
}

func (c *Circuit) checkLocked(now time.Time, patient bool) (time.Time, bool) {
	switch {
	case c.forced:
		return time.Time{}, false
	case c.state == Closed:
		if !c.ramp.on() {
			return time.Time{}, true
		}
		c.judgeLocked(now)
		if !c.ramp.on() {
			return time.Time{}, true
		}
		d := c.ramp.lack(now)
		return now.Add(d), d == 0 || !patient && !c.ramp.found
	case now.Before(c.until):
		return c.until, false
	}
	c.expireLocked(now)
	if len(c.probes) < c.config.Probes {
		return time.Time{}, true
	}
	at := c.probes[0].expires
	for _, p := range c.probes[1:] {
		if p.expires.Before(at) {
			at = p.expires
		}
	}
	return at, false
}

// judgeLocked ends a round of the ramp that can be judged.
func (c *Circuit) judgeLocked(now time.Time) {
	if c.ramp.judge(now) {
		c.restricted.Store(c.ramp.on())
		c.wakeAllLocked() // their times have changed
	}
}

func (c *Circuit) expireLocked(now time.Time) {
	live := c.probes[:0]
	for _, p := range c.probes {
		if now.Before(p.expires) {
			live = append(live, p)
		}
	}
	c.probes = live
}

// Acquire admits a request, or reports when it may be admitted, as
// [Circuit.Check] does. While the circuit is half-open, the request takes one of
// the places of probes until its [Permit.Done], for ttl at most. t is the
// transition that the request has caused.
func (c *Circuit) Acquire(now time.Time, ttl time.Duration, patient bool) (p Permit, t Transition, retryAt time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if retryAt, ok = c.checkLocked(now, patient); !ok {
		return p, t, retryAt, false
	}
	p = Permit{c: c, epoch: c.epoch}
	c.offered = time.Time{}
	if c.state == Closed {
		if c.ramp.on() {
			p.number = c.ramp.take(now)
			c.wakeHeadLocked()
		}
		return p, t, retryAt, true
	}
	if c.state == Open {
		// gobreaker leaves the open state when its state is read. Reading it any
		// earlier than here would do so too.
		if c.gobreaker.State(); c.state == Open {
			return Permit{}, t, c.until, false
		}
		t = c.transitionLocked(Open, now)
		p.epoch = c.epoch
	}
	c.lastProbe++
	p.number = c.lastProbe
	c.probes = append(c.probes, probe{id: p.number, expires: now.Add(ttl)})
	c.wakeHeadLocked()
	return p, t, retryAt, true
}

// Header notes how long the response's header took.
func (p Permit) Header(took time.Duration) {
	if p.c == nil {
		return
	}
	for seen := p.c.slowest.Load(); int64(took) > seen && !p.c.slowest.CompareAndSwap(seen, int64(took)); {
		seen = p.c.slowest.Load()
	}
}

// BlackHole reports whether a caller's own deadline, passed after so long
// without a response's header, means that the service hangs: 10 s at least, or 1 s for
// a probe, and twice as long as any header took so far. Callers with short deadlines
// would otherwise hide a hanging service for ever, and one after the other be a probe.
func (p Permit) BlackHole(ran time.Duration) bool {
	if p.c == nil || int64(ran/2) <= p.c.slowest.Load() || ran < time.Second {
		return false
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return ran >= 10*time.Second || p.epoch == p.c.epoch && p.c.state == HalfOpen
}

// Done reports how the admitted request ended. It is called once. notBefore is the
// server's own time for the next request, zero if it gave none.
func (p Permit) Done(r Result, notBefore, now time.Time) (t Transition) {
	c := p.c
	if c == nil {
		return t
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.epoch != c.epoch {
		return t
	}
	if c.ramp.on() {
		c.ramp.end(p.number, r)
		c.judgeLocked(now)
	}
	for i := range c.probes {
		if c.probes[i].id == p.number {
			c.probes = append(c.probes[:i], c.probes[i+1:]...)
			break
		}
	}
	from := c.state
	switch {
	case r == Failed:
		c.consecutive++
		if notBefore.After(c.serverRetryAt) {
			c.serverRetryAt = notBefore
		}
		c.counts.add(now, c.config.Window, true)
		c.recordLocked(errFailed)
	case r == Alive:
		if from == Closed {
			c.history.add(now, c.consecutive)
		}
		c.consecutive = 0
		c.counts.add(now, c.config.Window, false)
		if from != Closed {
			c.recordLocked(nil)
		}
	case r == Limited && from == HalfOpen && notBefore.After(now):
		// The server would refuse another probe before its time.
		c.until = mono.Earlier(notBefore, now.Add(c.config.MaxOpenFor))
	}
	if c.state != from {
		t = c.transitionLocked(from, now)
	} else if from == HalfOpen {
		c.wakeHeadLocked() // a place is free
	}
	return t
}

// recordLocked gives one result to gobreaker. The successes of a closed circuit are
// left out: they would change nothing, and every request would pay for them.
func (c *Circuit) recordLocked(err error) {
	if done, refused := c.gobreaker.Allow(); refused == nil {
		done(err)
	}
}

func (c *Circuit) tripsLocked() bool {
	if c.consecutive >= c.config.Failures && (c.config.Chance == 0 || !c.history.explains(c.consecutive, c.config.Failures, c.config.Chance, c.counts.last)) {
		return true
	}
	ok, failed := c.counts.sums(c.counts.last, c.config.Window)
	n := ok + failed
	return n >= c.config.MinRequests && float64(failed) >= c.config.Ratio*float64(n)
}

// transitionLocked completes the transition that gobreaker has made.
func (c *Circuit) transitionLocked(from State, now time.Time) Transition {
	c.epoch++
	c.probes = c.probes[:0]
	switch c.state {
	case Open:
		if from == Closed {
			c.downSince = now
		}
		c.until = now.Add(c.openTimeLocked(now))
		if c.ramp.on() {
			c.ramp.tooHigh()
		}
		c.restricted.Store(true)
	case Closed:
		c.resetLocked()
		c.history.last = now
		c.ramp.start(now)
		c.restricted.Store(true)
	}
	c.offered = time.Time{}
	c.wakeAllLocked()
	t := Transition{From: from, To: c.state}
	if t.To == Open {
		t.Until = c.until
	}
	return t
}

func (c *Circuit) resetLocked() {
	c.counts, c.consecutive = window{}, 0
	c.until, c.serverRetryAt = time.Time{}, time.Time{}
	c.ramp.stop()
	c.restricted.Store(false)
}

// lagShare is the part of an outage's time after which the next request finds out
// whether it is over.
const lagShare = 20

// openTimeLocked is OpenFor, or a twentieth of the time that the service has been down,
// less a random tenth, at least what the server asked for and at most MaxOpenFor. So
// an outage is noticed to be over within a tenth of its time, and one of hours costs
// few requests.
func (c *Circuit) openTimeLocked(now time.Time) time.Duration {
	d := min(max(c.config.OpenFor, now.Sub(c.downSince)/lagShare), c.config.MaxOpenFor)
	d = d - rand.N(d/10+1)
	return min(max(d, c.serverRetryAt.Sub(now)), c.config.MaxOpenFor)
}

// Force opens the circuit until it is forced closed, or closes it and forgets what it
// has counted. Results of requests that were admitted before do not count any more.
func (c *Circuit) Force(open bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.probes, c.history = nil, history{}
	c.gobreaker, c.state = c.newGobreaker(), Closed // gobreaker has no other way to a chosen state
	c.resetLocked()
	c.forced = open
	c.restricted.Store(open)
	c.wakeAllLocked()
}

// Snapshot returns the state now. A circuit whose open time has passed is half-open,
// even if no request has been admitted since.
func (c *Circuit) Snapshot(now time.Time) Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Snapshot{Forced: c.forced, Consecutive: c.consecutive, Waiting: len(c.waiting)}
	ok, failed := c.counts.sums(now, c.config.Window)
	s.Requests, s.Failures = ok+failed, failed
	switch {
	case c.forced, c.state != Closed && now.Before(c.until):
		if s.State = Open; !c.until.IsZero() {
			s.Until = now.Add(c.until.Sub(now)) // on today's wall clock
		}
	case c.state != Closed:
		s.State = HalfOpen
	}
	return s
}
