package snubber

import "time"

// EventKind says what an [Event] is about.
type EventKind uint8

const (
	// EventAttempt is the end of one attempt: Outcome is its final verdict, Took
	// its time to the end of the body, Route where it was sent, 0 for this
	// Transport's own. A route with this Transport's layers has attempts with its
	// own Key in place of that.
	EventAttempt EventKind = iota + 1
	// EventRetry is a wait before another attempt: Outcome is the failure, Wait
	// the time.
	EventRetry
	// EventQueued is a wait in a limiter's queue that ended: Wait is its length.
	EventQueued
	// EventGated is a key that a server asked to hold back: Until is when it goes
	// on, Outcome why.
	EventGated
	// EventCircuit is a transition of a circuit From To; Until is the end of its
	// open time.
	EventCircuit
	// EventFallback is a route of the Fallback that is tried, or one more of a
	// [Balancer] below: Route is which, from 1, Outcome what the one before came to.
	EventFallback
	// EventRefused is a call that was not sent, by this Transport or one below:
	// Key is what refused it, Outcome.Reason says why.
	EventRefused
	// EventCache is how the cache took part in a call: Cache and Detail are those
	// of the [Report].
	EventCache
	// EventHedge is a request sent beside a slow one: Attempt is its number, Wait
	// how long the first had taken.
	EventHedge
	// EventLimit is a limit that was learned or has changed: Limit is what holds
	// now, Previous its PerMinute before, zero if there was none.
	EventLimit
	// EventLimitStoreFailed is a [LimitStore] that failed, or was too slow: Key is the queue's
	// that asked it, Detail "failed" or "timeout". Until then the Limiter goes on
	// by itself, and then asks again.
	EventLimitStoreFailed
)

var eventNames = [...]string{"unknown", "attempt", "retry", "queued", "gated", "circuit", "fallback", "refused", "cache", "hedge", "limit", "limit-store-failed"}

// String is the kind in lower case, fit for a metric's label.
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return eventNames[0]
}

// Event is something that a [Transport] did, for its Observe function. It
// holds no credential, prompt or answer. Fields that its Kind does not name
// are zero, and more kinds and fields may come.
type Event struct {
	Kind     EventKind     // what it is about, and which of the fields below are set
	Time     time.Time     // when it happened
	Key      string        // the circuit's or the queue's; origin and model where there is neither
	Attempt  int           // which of the call's, from 1
	Outcome  Outcome       // the verdict that it is about
	Wait     time.Duration // how long something waited, or will
	Took     time.Duration // how long an attempt ran
	From, To CircuitState  // a circuit's
	Until    time.Time     // the end of a gate or of an open time; zero if nobody knows
	Route    int           // of the Fallback or the Balancer, from 1
	Cache    CacheStatus   // how a cache took part
	Detail   string        // why
	Limit    Limit         // one of a key's limits
	Previous float64       // a minute
}
