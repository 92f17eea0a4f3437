package snubber

import (
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
	"github.com/seed-9e4f5248/snubber/internal/watchdog"
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

// noLimits is no Timeout. An unread body does not hold its permits for ever.
var noLimits = watchdog.Limits{
	Headers: mono.Forever, FirstEvent: mono.Forever, Idle: mono.Forever, Attempt: mono.Forever,
	Hold: 2 * time.Minute,
}

// limits is what the fields mean.
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

// probeTTL is how long a half-open circuit's place stays taken by an attempt that
// does not end.
func (t *Timeout) probeTTL() time.Duration { return min(t.limits().Headers, 30*time.Second) }
