package snubber

import (
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
	"github.com/seed-9e4f5248/snubber/internal/watchdog"
)

// Timeout limits the phases of one attempt. The zero value never ends a healthy slow
// call: a reasoning model may take ten minutes to the header of a unary response. For
// chat, 60 s to the header, 30 s to the first event and 30 s idle are sensible.
//
// A limit that has passed ends the attempt with a [*TimeoutError], which [Retry] may
// follow with one more attempt. Once the response was returned, a Read of its body
// returns the error. A stream is never ended for its total length, unless Attempt says
// so. An upgraded connection (101) is never ended.
//
// A Timeout is safe for concurrent use.
type Timeout struct {
	// Headers is the longest time to the response's header. If zero, 10 min; if
	// negative, there is no limit.
	Headers time.Duration
	// FirstEvent is the longest time from a stream's header to its first content. Pings
	// and preambles are not content, and the time between Reads does not count. If
	// zero, 5 min; if negative, there is no limit.
	FirstEvent time.Duration
	// Idle is the longest time that one Read of the body waits for bytes. The time
	// between Reads does not count. If zero, 2 min; if negative, there is no limit.
	Idle time.Duration
	// Attempt is the longest time of the whole attempt, to the end of the body. If zero
	// or negative, there is no limit.
	Attempt time.Duration
}

// noLimits are the limits of no Timeout. Even then a body that nobody reads gives its
// permit back.
var noLimits = watchdog.Limits{
	Headers: mono.Forever, FirstEvent: mono.Forever, Idle: mono.Forever, Attempt: mono.Forever,
	Hold: 2 * time.Minute,
}

// limits returns the limits with every zero and negative value resolved.
func (t *Timeout) limits() watchdog.Limits {
	if t == nil {
		return noLimits
	}
	l := watchdog.Limits{
		Headers:    timeOrDefault(t.Headers, 10*time.Minute),
		FirstEvent: timeOrDefault(t.FirstEvent, 5*time.Minute),
		Idle:       timeOrDefault(t.Idle, 2*time.Minute),
		Attempt:    timeOrDefault(t.Attempt, mono.Forever),
		Hold:       noLimits.Hold,
	}
	if t.Idle >= 0 {
		l.Hold = l.Idle
	}
	return l
}

// probeTTL returns how long an attempt that does not end keeps its place of a half-open
// circuit.
func (t *Timeout) probeTTL() time.Duration { return min(t.limits().Headers, 30*time.Second) }
