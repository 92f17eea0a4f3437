// Package breaker is the circuit of one key: closed, open or half-open. It knows no
// request and no response, only whether what it let through has failed.
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

// State is the state of a Circuit.
type State uint8

const (
	Closed   State = iota // requests pass
	HalfOpen              // a few pass, to find out
	Open                  // none passes
)

// Result is how an admitted request ended.
type Result uint8

const (
	Neutral Result = iota
	Alive
	Failed
	Limited // alive, but asked to stay away until a time
)

// Config has no zero values: the caller resolves them.
type Config struct {
	Failures, MinRequests, Probes int
	Ratio                         float64
	Window, OpenFor, MaxOpenFor   time.Duration
}

// Snapshot is the state at a time.
type Snapshot struct {
	State                           State
	Until                           time.Time
	Forced                          bool
	Requests, Failures, Consecutive int
}

// Circuit is one key's breaker. gobreaker's two-step breaker is its transition
// table and nothing else: it is told of an outcome in one step, under our lock,
// when the outcome is known. Its own windows count by the start of a call, so
// that calls longer than the window would never count; its half-open places
// have no expiry, so that one hung probe would reject for ever; its open time
// is a constant. All three are kept here instead.
type Circuit struct {
	config Config
	open   atomic.Bool // whether anything but closed: lets the look before the queue pass without the lock

	slowest atomic.Int64 // longest wait for a response's header seen, in ns

	mu          sync.Mutex
	table       *gobreaker.TwoStepCircuitBreaker[struct{}]
	state       State  // the table's, as it last reported it
	epoch       uint32 // grows with each transition; outcomes of an older one change nothing
	counts      window
	consecutive int
	openings    int       // since it was last healthy: the exponent of the open time
	until       time.Time // no request before
	closedAt    time.Time
	floor       time.Time // the latest time a failing server asked for
	byHand      bool
	leases      []probe
	nextProbe   uint32
	changed     chan struct{} // closed at the next transition; nil while nobody waits
}

// probe is a place of a half-open circuit. It is a lease: a request that hangs
// or is abandoned gives its place back when the time is over.
type probe struct {
	id      uint32
	expires time.Time
}

// Permit is the right to send one request.
type Permit struct {
	c     *Circuit
	epoch uint32
	probe uint32 // 0: admitted by a closed circuit
}

// Transition is a change of state. The zero Transition is none.
type Transition struct {
	From, To State
	Until    time.Time
}

var errFailed = errors.New("failed")

// Init makes c a closed circuit. It must not be copied after.
func (c *Circuit) Init(config Config) {
	c.config = config
	c.table = c.newTable()
}

func (c *Circuit) newTable() *gobreaker.TwoStepCircuitBreaker[struct{}] {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: uint32(min(c.config.Probes, math.MaxUint32)),
		// The open time is until; the table's own, which zero would make a
		// minute, only has to have passed by then.
		Timeout: 1,
		// Both are called under gobreaker's lock: calling the table from them
		// would deadlock.
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

// evictable: an open circuit is knowledge, a closed one can be made again.
func (c *Circuit) Evictable(time.Time) bool { return !c.open.Load() }

// look reports whether a request would be admitted, and if not, when to come
// back; at is zero where nobody can say. It takes nothing.
func (c *Circuit) Check(now time.Time) (at time.Time, ok bool) {
	if !c.open.Load() {
		return time.Time{}, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lookLocked(now)
}

func (c *Circuit) lookLocked(now time.Time) (time.Time, bool) {
	switch {
	case c.byHand:
		return time.Time{}, false
	case !c.open.Load():
		return time.Time{}, true
	case now.Before(c.until):
		return c.until, false
	}
	c.expireLocked(now)
	if len(c.leases) < c.config.Probes {
		return time.Time{}, true
	}
	at := c.leases[0].expires
	for _, p := range c.leases[1:] {
		if p.expires.Before(at) {
			at = p.expires
		}
	}
	return at, false
}

func (c *Circuit) expireLocked(now time.Time) {
	live := c.leases[:0]
	for _, p := range c.leases {
		if now.Before(p.expires) {
			live = append(live, p)
		}
	}
	c.leases = live
}

// admit takes a place; term is how long a probe may keep it.
func (c *Circuit) Acquire(now time.Time, term time.Duration) (l Permit, s Transition, at time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok = c.lookLocked(now); !ok {
		return l, s, at, false
	}
	l = Permit{c: c, epoch: c.epoch}
	if !c.open.Load() {
		return l, s, at, true
	}
	if c.state == Open {
		// The table leaves open when its state is read. Reading it any earlier
		// than here would do so too.
		if c.table.State(); c.state == Open {
			return Permit{}, s, c.until, false
		}
		s = c.shiftedLocked(Open, now)
		l.epoch = c.epoch
	}
	c.nextProbe++
	l.probe = c.nextProbe
	c.leases = append(c.leases, probe{id: l.probe, expires: now.Add(term)})
	return l, s, at, true
}

// header notes how long a response's header took.
func (l Permit) Header(took time.Duration) {
	if l.c == nil {
		return
	}
	for seen := l.c.slowest.Load(); int64(took) > seen && !l.c.slowest.CompareAndSwap(seen, int64(took)); {
		seen = l.c.slowest.Load()
	}
}

// swallowed reports whether a caller's own deadline, passed after so long
// without a response header, says that the service hangs. Callers with short
// deadlines would otherwise hide a black hole for ever.
func (l Permit) BlackHole(ran time.Duration) bool {
	return l.c != nil && ran >= 10*time.Second && int64(ran/2) > l.c.slowest.Load()
}

// done reports how the admitted request ended, once.
func (l Permit) Done(r Result, notBefore, now time.Time) (s Transition) {
	c := l.c
	if c == nil {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.epoch != c.epoch {
		return s
	}
	for i, p := range c.leases {
		if p.id == l.probe {
			c.leases = append(c.leases[:i], c.leases[i+1:]...)
			break
		}
	}
	was := c.state
	switch {
	case r == Failed:
		c.consecutive++
		if notBefore.After(c.floor) {
			c.floor = notBefore
		}
		c.counts.add(now, c.config.Window, true)
		c.tellLocked(errFailed)
	case r == Alive:
		c.consecutive = 0
		c.counts.add(now, c.config.Window, false)
		if was != Closed {
			c.tellLocked(nil)
		}
	case was == HalfOpen && r == Limited && notBefore.After(now):
		// Alive, but probing before the server's time would be refused again.
		c.until = mono.Earlier(notBefore, now.Add(c.config.MaxOpenFor))
	}
	if c.state != was {
		s = c.shiftedLocked(was, now)
	} else if was == HalfOpen {
		c.wakeLocked() // a place is free
	}
	return s
}

// tellLocked feeds one outcome to the transition table. A closed circuit's
// successes are not told: they change nothing there, and every call would pay.
func (c *Circuit) tellLocked(err error) {
	if done, refused := c.table.Allow(); refused == nil {
		done(err)
	}
}

func (c *Circuit) tripsLocked() bool {
	if c.consecutive >= c.config.Failures {
		return true
	}
	ok, failed := c.counts.sums(c.counts.last, c.config.Window)
	n := ok + failed
	return n >= c.config.MinRequests && float64(failed) >= c.config.Ratio*float64(n)
}

// shiftedLocked settles a transition that the table has made.
func (c *Circuit) shiftedLocked(from State, now time.Time) Transition {
	c.epoch++
	c.leases = c.leases[:0]
	switch c.state {
	case Open:
		c.until = now.Add(c.openTimeLocked(from, now))
		c.openings++
		c.open.Store(true)
	case Closed:
		c.resetLocked(now)
	}
	c.wakeLocked()
	s := Transition{From: from, To: c.state}
	if s.To == Open {
		s.Until = c.until
	}
	return s
}

func (c *Circuit) resetLocked(now time.Time) {
	c.counts, c.consecutive = window{}, 0
	c.until, c.floor, c.closedAt = time.Time{}, time.Time{}, now
	c.open.Store(false)
}

// openTimeLocked is the exponential open time, at least what the server asked
// for, at most MaxOpenFor.
func (c *Circuit) openTimeLocked(from State, now time.Time) time.Duration {
	if from == Closed && !c.closedAt.IsZero() {
		c.openings = max(0, c.openings-int(min(now.Sub(c.closedAt)/time.Minute, math.MaxInt32)))
	}
	limit := c.config.MaxOpenFor
	d := c.config.OpenFor
	for range min(c.openings, 64) {
		if d = 2 * d; d >= limit {
			d = limit
			break
		}
	}
	d = d*4/5 + rand.N(d*2/5+1)
	return min(max(d, c.floor.Sub(now)), limit)
}

// wait returns a channel that is closed at the next transition or when a
// probe's place becomes free.
func (c *Circuit) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

func (c *Circuit) wakeLocked() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil // made anew by the next waiter: a kept channel would outlive a synctest bubble
	}
}

// force opens or closes by hand. A fresh table is the only way to a chosen
// state: gobreaker has none of its own.
func (c *Circuit) Force(open bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.leases, c.openings = nil, 0
	c.table, c.state = c.newTable(), Closed
	c.resetLocked(now)
	c.byHand = open
	c.open.Store(open)
	c.wakeLocked()
}

func (c *Circuit) Snapshot(now time.Time) Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Snapshot{Forced: c.byHand, Consecutive: c.consecutive}
	ok, failed := c.counts.sums(now, c.config.Window)
	s.Requests, s.Failures = ok+failed, failed
	switch {
	case c.byHand, c.open.Load() && now.Before(c.until):
		if s.State = Open; !c.until.IsZero() {
			s.Until = now.Add(c.until.Sub(now)) // on today's wall clock
		}
	case c.open.Load():
		s.State = HalfOpen
	}
	return s
}

// window counts outcomes over time in ten exact buckets.
type window struct {
	buckets [10]struct {
		slot       int64
		ok, failed uint32
	}
	last time.Time // of the latest outcome
}

func (w *window) slot(now time.Time, width time.Duration) int64 {
	return int64(mono.Of(now)) / int64(max(width/time.Duration(len(w.buckets)), 1))
}

func (w *window) add(now time.Time, width time.Duration, failed bool) {
	slot := w.slot(now, width)
	b := &w.buckets[uint64(slot)%uint64(len(w.buckets))]
	if b.slot != slot {
		b.slot, b.ok, b.failed = slot, 0, 0
	}
	if failed {
		b.failed++
	} else {
		b.ok++
	}
	w.last = now
}

func (w *window) sums(now time.Time, width time.Duration) (ok, failed int) {
	slot := w.slot(now, width)
	for _, b := range w.buckets {
		if age := slot - b.slot; age >= 0 && age < int64(len(w.buckets)) {
			ok, failed = ok+int(b.ok), failed+int(b.failed)
		}
	}
	return ok, failed
}
