// Package mono is the monotonic clock, with times of eight bytes. It knows the clock
// and nothing else.
package mono

import (
	"math"
	"time"
)

// Time is an instant on the monotonic clock, in nanoseconds since the start of the
// program. Only differences mean anything. A [time.Time] is three times as large, and
// reading it asks the system for the wall clock too.
type Time int64

// Never is after every other Time.
const Never Time = math.MaxInt64

// Forever stands for a bound that is switched off. It can be multiplied by a few, and
// added to any time, without an overflow.
const Forever = 10 * 365 * 24 * time.Hour

var epoch = time.Now()

// Now returns the current time.
func Now() Time { return Time(time.Since(epoch)) }

// Of returns the Time of t. It is exact if t has a monotonic reading.
func Of(t time.Time) Time { return Time(t.Sub(epoch)) }

// Time returns t as a [time.Time]. Its wall clock counts from the start of the program.
// If the wall clock is set later, only the times of events show it.
func (t Time) Time() time.Time { return epoch.Add(time.Duration(t)) }

// Sub returns the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Fake reports whether t was read on another clock than that of the program's start:
// inside a testing/synctest bubble, or outside of the bubble that the program started
// in. A bubble's clock begins in the year 2000, long before the real one.
func (t Time) Fake() bool { return t < 0 || time.Duration(t) > Forever }

// Earlier returns the earlier one of two times.
func Earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
