// Package mono is a time on the monotonic clock that fits into eight bytes. It
// knows the clock and nothing else.
package mono

import (
	"math"
	"time"
)

// Time is an instant on the monotonic clock, in nanoseconds since the start of
// the program. Only differences mean anything. A [time.Time] is three times as
// large, and reading one asks the system for the wall clock too.
type Time int64

// Never is after every other Time.
const Never Time = math.MaxInt64

// Forever stands for a bound that is switched off. It is far enough from
// overflow to be multiplied by a few and to be added to any time.
const Forever = 10 * 365 * 24 * time.Hour

var epoch = time.Now()

// Now is the current time.
func Now() Time { return Time(time.Since(epoch)) }

// Of is the Time of t, which must have a monotonic reading to be exact.
func Of(t time.Time) Time { return Time(t.Sub(epoch)) }

// Time is t as a [time.Time]. Its wall clock counts from the start of the
// program, so a wall clock that is set later shows in the times of events only.
func (t Time) Time() time.Time { return epoch.Add(time.Duration(t)) }

// Sub is the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Fake reports whether t was read on another clock than the program's start: in
// a testing/synctest bubble, or outside of the bubble that the program started
// in. A bubble's clock begins in the year 2000, long before the real one.
func (t Time) Fake() bool { return t < 0 || time.Duration(t) > Forever }

// Earlier is the earlier one of two times.
func Earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
