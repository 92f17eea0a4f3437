package snubber

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// Timeout bounds the phases of one attempt. The zero value never cuts a
// healthy slow call: a reasoning model may take ten minutes to the header of a
// unary answer. For chat, 60 s, 30 s and 30 s are sensible.
//
// Each limit that passes ends the attempt with a [*TimeoutError], which
// [Retry] may follow with one more attempt. After the answer has begun it is an
// error of the body's Read. A stream is never cut for its total length
// unless Attempt says so, and an upgraded connection (101) never.
//
// It is safe for concurrent use.
type Timeout struct {
	// Headers is the time to the response's header. If zero, 10 min; if
	// negative, any.
	Headers time.Duration
	// FirstEvent is the time from a stream's header to its first content; pings
	// and preambles are not content. If zero, 5 min; if negative, any.
	FirstEvent time.Duration
	// Idle is the time that one Read of the body may wait for bytes; it does not
	// run between Reads. If zero, 2 min; if negative, any.
	Idle time.Duration
	// Attempt is the time of the whole attempt to the end of the body. If zero
	// or negative, any.
	Attempt time.Duration
}

func (t *Timeout) headers() time.Duration    { return timeOrDefault(t.Headers, 10*time.Minute) }
func (t *Timeout) firstEvent() time.Duration { return timeOrDefault(t.FirstEvent, 5*time.Minute) }
func (t *Timeout) idle() time.Duration       { return timeOrDefault(t.Idle, 2*time.Minute) }
func (t *Timeout) attempt() time.Duration    { return timeOrDefault(t.Attempt, mono.Forever) }

// probeTerm is how long a half-open circuit's place stays taken by an attempt
// that does not end.
func (t *Timeout) probeTerm() time.Duration {
	if t == nil {
		return 30 * time.Second
	}
	return min(t.headers(), 30*time.Second)
}

// keep is how long an unread body holds its permits.
func (t *Timeout) keep() time.Duration {
	if t == nil || t.Idle < 0 {
		return 2 * time.Minute
	}
	return t.idle()
}

// watch is the one timer of an attempt. It is armed for the nearest limit in
// force; a limit that moves away is noticed when the timer fires, so that a
// Read costs no timer operation.
type watch struct {
	alarm    *alarm
	started  mono.Time
	armed    mono.Time // when the alarm rings
	header   mono.Time // moved on by the pauses between Reads
	mark     mono.Time // when the Read that runs began, or the last one ended
	ringing  bool      // the alarm is armed
	served   bool      // the header is there
	reading  bool
	first    bool // waiting for the first event
	upgraded bool // 101: no answer any more, but a connection, which may be silent
	holding  bool // a permit is held that an unread body must give back
	whole    bool // the meter saw all of the answer, and no error in it
	racing   bool // beside another attempt: the verdict is not the call's yet; here for the size of attempt
}

// begin and end frame a Read.
func (w *watch) begin(now mono.Time) {
	w.header += now - w.mark // a slow reader is not a slow server
	w.mark, w.reading = now, true
}

func (w *watch) end(now mono.Time) { w.mark, w.reading = now, false }

// nearest is the limit that passes next, never if there is none. The phase is
// empty where that means the end of holding and not of the attempt.
func (w *watch) nearest(limits *Timeout) (at mono.Time, phase TimeoutPhase, limit time.Duration) {
	at = mono.Never
	consider := func(from mono.Time, d time.Duration, p TimeoutPhase) {
		if end := from + mono.Time(d); d < mono.Forever && end < at {
			at, phase, limit = end, p, d
		}
	}
	if limits != nil && !w.upgraded {
		consider(w.started, limits.attempt(), PhaseAttempt)
		if !w.served {
			consider(w.started, limits.headers(), PhaseHeaders)
		}
		if w.reading {
			consider(w.mark, limits.idle(), PhaseIdle)
			if w.first {
				consider(w.header, limits.firstEvent(), PhaseFirstEvent)
			}
		}
	}
	if w.holding && w.served && !w.reading {
		consider(w.mark, limits.keep(), "")
	}
	return at, phase, limit
}

// alarm is a timer that calls the tick of the attempt it is set for.
type alarm struct {
	timer *time.Timer
	a     atomic.Pointer[attempt]
}

func (x *alarm) ring() {
	if a := x.a.Load(); a != nil {
		a.tick()
	}
}

// alarms keeps stopped timers for the next attempts: a timer and its function
// are a third of what a call allocates. The pool lives in a layer's value and
// holds timers of the real clock alone: a timer made in a testing/synctest
// bubble must never be touched outside, and a Transport may be a package
// variable of a program that is tested in several.
type alarms struct{ pool sync.Pool }

func (p *alarms) set(a *attempt, d time.Duration) *alarm {
	if !a.watch.started.Fake() {
		if x, ok := p.pool.Get().(*alarm); ok {
			x.a.Store(a)
			x.timer.Reset(d)
			return x
		}
	}
	x := new(alarm)
	x.a.Store(a)
	x.timer = time.AfterFunc(d, x.ring)
	return x
}

// drop gives an attempt's alarm back. One that could not be stopped is
// ringing, and is left to itself.
func (p *alarms) drop(x *alarm, a *attempt) {
	if x.timer.Stop() && !a.watch.started.Fake() {
		x.a.Store(nil)
		p.pool.Put(x)
	}
}
