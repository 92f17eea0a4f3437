package snubber

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

// circuit is one key's breaker. gobreaker's two-step breaker is its transition
// table and nothing else: it is told of an outcome in one step, under our lock,
// when the outcome is known. Its own windows count by the start of a call, so
// that calls longer than the window would never count; its half-open places
// have no expiry, so that one hung probe would reject for ever; its open time
// is a constant. All three are kept here instead.
type circuit struct {
	b    *Breaker
	key  key
	open atomic.Bool // whether anything but closed: lets the look before the queue pass without the lock

	slowest atomic.Int64 // longest wait for a response's header seen, in ns

	mu          sync.Mutex
	table       *gobreaker.TwoStepCircuitBreaker[struct{}]
	state       CircuitState // the table's, as it last reported it
	epoch       uint32       // grows with each transition; outcomes of an older one change nothing
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

// lease is the right to send one request.
type lease struct {
	c     *circuit
	epoch uint32
	probe uint32 // 0: admitted by a closed circuit
}

// shift is a transition that took place, for the observer. The zero shift is none.
type shift struct {
	from, to CircuitState
	until    time.Time
}

var errFailed = errors.New("failed")

func (b *Breaker) newCircuit(k key) *circuit {
	c := &circuit{b: b, key: k}
	c.table = c.newTable()
	return c
}

func (c *circuit) newTable() *gobreaker.TwoStepCircuitBreaker[struct{}] {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: uint32(min(c.b.probes(), math.MaxUint32)),
		// The open time is until; the table's own, which zero would make a
		// minute, only has to have passed by then.
		Timeout: 1,
		// Both are called under gobreaker's lock: calling the table from them
		// would deadlock.
		ReadyToTrip: func(gobreaker.Counts) bool { return c.tripsLocked() },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateClosed:
				c.state = CircuitClosed
			case gobreaker.StateHalfOpen:
				c.state = CircuitHalfOpen
			default:
				c.state = CircuitOpen
			}
		},
	})
}

// evictable: an open circuit is knowledge, a closed one can be made again.
func (c *circuit) evictable(time.Time) bool { return !c.open.Load() }

// look reports whether a request would be admitted, and if not, when to come
// back; at is zero where nobody can say. It takes nothing.
func (c *circuit) look(now time.Time) (at time.Time, ok bool) {
	if !c.open.Load() {
		return time.Time{}, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lookLocked(now)
}

func (c *circuit) lookLocked(now time.Time) (time.Time, bool) {
	switch {
	case c.byHand:
		return time.Time{}, false
	case !c.open.Load():
		return time.Time{}, true
	case now.Before(c.until):
		return c.until, false
	}
	c.expireLocked(now)
	if len(c.leases) < c.b.probes() {
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

func (c *circuit) expireLocked(now time.Time) {
	live := c.leases[:0]
	for _, p := range c.leases {
		if now.Before(p.expires) {
			live = append(live, p)
		}
	}
	c.leases = live
}

// admit takes a place; term is how long a probe may keep it.
func (c *circuit) admit(now time.Time, term time.Duration) (l lease, s shift, at time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok = c.lookLocked(now); !ok {
		return l, s, at, false
	}
	l = lease{c: c, epoch: c.epoch}
	if !c.open.Load() {
		return l, s, at, true
	}
	if c.state == CircuitOpen {
		// The table leaves open when its state is read. Reading it any earlier
		// than here would do so too.
		if c.table.State(); c.state == CircuitOpen {
			return lease{}, s, c.until, false
		}
		s = c.shiftedLocked(CircuitOpen, now)
		l.epoch = c.epoch
	}
	c.nextProbe++
	l.probe = c.nextProbe
	c.leases = append(c.leases, probe{id: l.probe, expires: now.Add(term)})
	return l, s, at, true
}

// header notes how long a response's header took.
func (l lease) header(took time.Duration) {
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
func (l lease) swallowed(ran time.Duration) bool {
	return l.c != nil && ran >= 10*time.Second && int64(ran/2) > l.c.slowest.Load()
}

// done reports how the admitted request ended, once.
func (l lease) done(o *Outcome, now time.Time) (s shift) {
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
	case o.Class.failure():
		c.consecutive++
		if o.NotBefore.After(c.floor) {
			c.floor = o.NotBefore
		}
		c.counts.add(now, c.b.window(), true)
		c.tellLocked(errFailed)
	case o.Class.alive():
		c.consecutive = 0
		c.counts.add(now, c.b.window(), false)
		if was != CircuitClosed {
			c.tellLocked(nil)
		}
	case was == CircuitHalfOpen && o.Class == RateLimited && o.NotBefore.After(now):
		// Alive, but probing before the server's time would be refused again.
		c.until = mono.Earlier(o.NotBefore, now.Add(c.b.maxOpenFor()))
	}
	if c.state != was {
		s = c.shiftedLocked(was, now)
	} else if was == CircuitHalfOpen {
		c.wakeLocked() // a place is free
	}
	return s
}

// tellLocked feeds one outcome to the transition table. A closed circuit's
// successes are not told: they change nothing there, and every call would pay.
func (c *circuit) tellLocked(err error) {
	if done, refused := c.table.Allow(); refused == nil {
		done(err)
	}
}

func (c *circuit) tripsLocked() bool {
	if c.consecutive >= c.b.failures() {
		return true
	}
	ok, failed := c.counts.sums(c.counts.last, c.b.window())
	n := ok + failed
	return n >= c.b.minRequests() && float64(failed) >= c.b.ratio()*float64(n)
}

// shiftedLocked settles a transition that the table has made.
func (c *circuit) shiftedLocked(from CircuitState, now time.Time) shift {
	c.epoch++
	c.leases = c.leases[:0]
	switch c.state {
	case CircuitOpen:
		c.until = now.Add(c.openTimeLocked(from, now))
		c.openings++
		c.open.Store(true)
	case CircuitClosed:
		c.resetLocked(now)
	}
	c.wakeLocked()
	s := shift{from: from, to: c.state}
	if s.to == CircuitOpen {
		s.until = c.until
	}
	return s
}

func (c *circuit) resetLocked(now time.Time) {
	c.counts, c.consecutive = window{}, 0
	c.until, c.floor, c.closedAt = time.Time{}, time.Time{}, now
	c.open.Store(false)
}

// openTimeLocked is the exponential open time, at least what the server asked
// for, at most MaxOpenFor.
func (c *circuit) openTimeLocked(from CircuitState, now time.Time) time.Duration {
	if from == CircuitClosed && !c.closedAt.IsZero() {
		c.openings = max(0, c.openings-int(min(now.Sub(c.closedAt)/time.Minute, math.MaxInt32)))
	}
	limit := c.b.maxOpenFor()
	d := c.b.openFor()
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
func (c *circuit) wait() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

func (c *circuit) wakeLocked() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil // made anew by the next waiter: a kept channel would outlive a synctest bubble
	}
}

// force opens or closes by hand. A fresh table is the only way to a chosen
// state: gobreaker has none of its own.
func (c *circuit) force(open bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.leases, c.openings = nil, 0
	c.table, c.state = c.newTable(), CircuitClosed
	c.resetLocked(now)
	c.byHand = open
	c.open.Store(open)
	c.wakeLocked()
}

func (c *circuit) snapshot(now time.Time) Circuit {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Circuit{Key: c.key.String(), ByHand: c.byHand, Consecutive: c.consecutive}
	ok, failed := c.counts.sums(now, c.b.window())
	s.Requests, s.Failures = ok+failed, failed
	switch {
	case c.byHand, c.open.Load() && now.Before(c.until):
		if s.State = CircuitOpen; !c.until.IsZero() {
			s.Until = now.Add(c.until.Sub(now)) // on today's wall clock
		}
	case c.open.Load():
		s.State = CircuitHalfOpen
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
