// Package watchdog bounds the phases of one attempt with one timer. It knows when
// the attempt, its header and its last Read began, and how long each may take. It does
// not know what an attempt is, or what happens when a limit has passed.
package watchdog

import (
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// Limits are the longest times of an attempt's phases. [mono.Forever] means no limit.
type Limits struct {
	Headers    time.Duration // from the start to the response's header
	FirstEvent time.Duration // from the header to the first content, without the time between Reads
	Idle       time.Duration // of one Read of the body
	Attempt    time.Duration // from the start to the end of the body
	Hold       time.Duration // between two Reads, while Holding
}

// Phase is the part of an attempt that took too long.
type Phase string

const (
	PhaseHeaders    Phase = "headers"
	PhaseFirstEvent Phase = "first_event"
	PhaseIdle       Phase = "idle"
	PhaseAttempt    Phase = "attempt"
	PhaseHold       Phase = "hold" // the end of Holding, and not of the attempt
)

// Watch tells when the nearest limit of an attempt passes. The owner's timer is set for
// that time. If the limit moves away, the timer rings too early and is set again, so
// that a Read costs no timer operation. A Watch reads no clock and has no lock.
type Watch struct {
	Started mono.Time // of the attempt

	armed    mono.Time // when the timer rings
	header   mono.Time // when the header came, moved on by the time between Reads
	lastRead mono.Time // when the current Read began, or the last one ended

	AwaitingContent bool // the response is a stream without content yet: FirstEvent applies
	Upgraded        bool // the response is a connection, which may be silent: only Hold applies
	Holding         bool // Hold applies between Reads

	headerSeen bool
	reading    bool
	ringing    bool // the timer is set
}

// Header notes that the response's header has arrived.
func (w *Watch) Header(now mono.Time) { w.header, w.lastRead, w.headerSeen = now, now, true }

// HeaderSeen reports whether the response's header has arrived.
func (w *Watch) HeaderSeen() bool { return w.headerSeen }

// BeginRead notes that a Read begins.
func (w *Watch) BeginRead(now mono.Time) {
	w.header += now - w.lastRead // a slow reader is not a slow server
	w.lastRead, w.reading = now, true
}

// EndRead notes that a Read has ended.
func (w *Watch) EndRead(now mono.Time) { w.lastRead, w.reading = now, false }

// LastRead returns when the current Read began, or the last one ended, or the header
// arrived.
func (w *Watch) LastRead() mono.Time { return w.lastRead }

// Start returns whether to set the timer of an attempt that starts, and for how long.
// That is never longer than Hold, the limit that comes next: an early ring costs less
// than setting the timer twice.
func (w *Watch) Start(l *Limits) (d time.Duration, ok bool) {
	at, _, _ := w.nearest(l)
	if at == mono.Never {
		return 0, false
	}
	w.armed, w.ringing = min(at, w.Started+mono.Time(l.Hold)), true
	return w.armed.Sub(w.Started), true
}

// Arm returns whether to set the timer again, and for how long. It stays as it is if it
// rings before the nearest limit, or if there is none.
func (w *Watch) Arm(l *Limits, now mono.Time) (d time.Duration, ok bool) {
	at, _, _ := w.nearest(l)
	if at == mono.Never || w.ringing && at >= w.armed {
		return 0, false
	}
	w.armed, w.ringing = at, true
	return at.Sub(now), true
}

// Armed reports whether the timer is set.
func (w *Watch) Armed() bool { return w.ringing }

// Ring notes that the timer has rung. It reports whether a limit has passed, which one,
// and how long it was.
func (w *Watch) Ring(l *Limits, now mono.Time) (phase Phase, limit time.Duration, passed bool) {
	w.ringing = false
	at, phase, limit := w.nearest(l)
	return phase, limit, now >= at
}

// nearest returns the limit that passes next, and mono.Never if there is none.
func (w *Watch) nearest(l *Limits) (at mono.Time, phase Phase, limit time.Duration) {
	at = mono.Never
	consider := func(from mono.Time, d time.Duration, p Phase) {
		if end := from + mono.Time(d); d < mono.Forever && end < at {
			at, phase, limit = end, p, d
		}
	}
	if !w.Upgraded {
		consider(w.Started, l.Attempt, PhaseAttempt)
		if !w.headerSeen {
			consider(w.Started, l.Headers, PhaseHeaders)
		}
		if w.reading {
			consider(w.lastRead, l.Idle, PhaseIdle)
			if w.AwaitingContent {
				consider(w.header, l.FirstEvent, PhaseFirstEvent)
			}
		}
	}
	if w.Holding && w.headerSeen && !w.reading {
		consider(w.lastRead, l.Hold, PhaseHold)
	}
	return at, phase, limit
}
