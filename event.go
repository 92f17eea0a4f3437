package snubber

import "time"

// EventKind says what an [Event] is about.
type EventKind uint8

const (
	// EventAttempt is the end of one attempt. Outcome is its final verdict, and Took
	// its time to the end of the body. Detail says why it was made: "first", "retry",
	// "requeue", "hedge" or "fallback". Route is where it was sent, 0 for this
	// Transport's own route. Attempts through a Reroute that uses this Transport's
	// layers have Route 0 and the route's Key.
	EventAttempt EventKind = iota + 1
	// EventRetry is the beginning of a wait before another attempt. Outcome is the
	// failure, and Wait the length of the wait.
	EventRetry
	// EventQueued is the end of a wait in a Limiter's queue. Wait is its length.
	EventQueued
	// EventGated is a key that a server asked to hold back. Until is when its requests
	// go on, and Outcome the verdict that stopped them.
	EventGated
	// EventCircuit is a transition of a circuit, From one state To another. Until is
	// the end of its open time.
	EventCircuit
	// EventFallback is a route that is tried after another one: of the Fallback, or of
	// a [Balancer] below. Route is its number, from 1, and Outcome that of the route
	// before.
	EventFallback
	// EventRefused is a call that was not sent, by this Transport or one below. Key
	// names the circuit or queue that refused, and Outcome.Reason says why.
	EventRefused
	// EventCache is the part that the cache took in a call: Cache and Detail are those
	// of the [Report]. It is also a failure of the [CacheStore]: Cache is then
	// CacheStoreFailed, and Detail the operation.
	EventCache
	// EventHedge is a request sent beside a slow one. Attempt is its number, and Wait
	// how long the first one had taken.
	EventHedge
	// EventLimit is a limit that was learned or has changed. Limit is the new one, and
	// Previous its PerMinute before, zero if there was none.
	EventLimit
	// EventLimitStoreFailed is a [LimitStore] that failed or timed out: Detail is
	// "failed" or "timeout". Key names the queue whose request the store was asked
	// about. The Limiter works without the store until Until.
	EventLimitStoreFailed
)

var eventNames = [...]string{"unknown", "attempt", "retry", "queued", "gated", "circuit", "fallback", "refused", "cache", "hedge", "limit", "limit-store-failed"}

// String returns the kind in lower case with hyphens, fit for a metric's label.
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return eventNames[0]
}

// Event is something that a [Transport] did, for its Observe function. It holds no
// credential, prompt or completion. Fields that its Kind does not name are zero. More
// kinds and fields may come.
type Event struct {
	Kind     EventKind     // what it is about, and which of the fields below are set
	Time     time.Time     // when it happened
	Key      string        // that of the circuit or the queue; origin and model if there is neither
	Attempt  int           // the number of the attempt in its call, from 1
	Outcome  Outcome       // the verdict that it is about
	Wait     time.Duration // how long something has waited or will wait
	Took     time.Duration // how long an attempt ran
	From, To CircuitState  // the states of a circuit
	Until    time.Time     // the end of a gate or of an open time; zero if nobody can say
	Route    int           // of the Fallback or the Balancer, from 1
	Cache    CacheStatus   // how the cache took part
	Detail   string        // why
	Limit    Limit         // one of a key's limits
	Previous float64       // the PerMinute that Limit replaces
}
