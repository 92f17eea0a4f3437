package snubber

import (
	"math"
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/breaker"
	"github.com/seed-9e4f5248/snubber/internal/keyed"
)

// Breaker stops sending to a service that fails. Each origin and model has its own
// circuit. The key has no credential, because it is the service that fails, and the
// circuits of a thousand tenants would never gather evidence.
//
// A circuit opens when success is absent: after Failures failures in a row, or after a
// Ratio if one is set. An outcome counts when it is known, at the end of the body,
// however long the call took. RateLimited, QuotaExhausted, Transient and Canceled do
// not count: a 429 proves that the service is alive. After its open time the circuit is
// half-open, and Probes requests pass at a time. As many successes close it, and one
// failure opens it again.
//
// A circuit that has closed admits a few requests a second at first, and twice as many
// in each next half second. If the share of successes falls with more requests, the
// load is the reason. The circuit then admits about as many as are answered, until
// nobody wants more.
//
// The zero value is a good policy. A service that fails a steady share of its requests
// opens no circuit, because retries repair what can be repaired.
//
// A Breaker is safe for concurrent use and must not be copied after first use.
type Breaker struct {
	// Failures is the number of failures in a row that opens the circuit. If negative,
	// no number does. If zero, ten, and more if many requests have failed lately: the
	// row is then so long that chance would bring it once in 10^8 requests. Ten within
	// a second of a success open no circuit either, but 50 do.
	Failures int
	// Ratio is the share of failures among the outcomes in Window that opens the
	// circuit. If zero or negative, no share does.
	Ratio float64
	// MinRequests is the number of outcomes in Window below which Ratio does not apply.
	// If zero, 20; if negative, 1.
	MinRequests int
	// Window is the time over which outcomes are counted. If zero or negative, 30 s.
	Window time.Duration
	// OpenFor is the open time, less up to a tenth at random. In an outage of more than
	// twenty times OpenFor it is a twentieth of the outage, up to MaxOpenFor. The Retry-After of a
	// failing server makes it longer, but never longer than MaxOpenFor. If zero or
	// negative, 5 s and 60 s.
	OpenFor, MaxOpenFor time.Duration
	// Probes is the number of concurrent requests while the circuit is half-open, and
	// the number of successes that close it. If zero or negative, 1.
	Probes int
	// MaxWait is the longest time that the first attempt of a call waits for a circuit
	// that is open, or that has just closed and does not admit all requests yet. Calls
	// wait by priority and then by arrival, at most 1000 for each circuit. A call is
	// refused at once if the next request to the service is due after MaxWait or after
	// the call's deadline. No call waits that a route of a Fallback can take. If zero,
	// 15 s with a [Retry], and no time without one; if negative, no time.
	MaxWait time.Duration
	// Key names the circuit of a request. If nil, origin and model do.
	Key func(*http.Request) string

	circuits keyed.Map[*circuit]
}

// CircuitState is the state of one circuit.
type CircuitState uint8

const (
	CircuitClosed   CircuitState = CircuitState(breaker.Closed)   // requests pass
	CircuitHalfOpen CircuitState = CircuitState(breaker.HalfOpen) // a few requests pass, to find out
	CircuitOpen     CircuitState = CircuitState(breaker.Open)     // no request passes
)

// String returns "closed", "half-open" or "open".
func (s CircuitState) String() string { return breaker.State(s).String() }

// Circuit is a snapshot of one circuit.
type Circuit struct {
	Key         string // as Trip and Reset take it
	State       CircuitState
	Until       time.Time // when an open circuit will admit probes; zero if it is not open, or if Forced
	Forced      bool      // opened by [Breaker.Trip]
	Requests    int       // outcomes in Window that were not neutral
	Failures    int       // outcomes that failed
	Consecutive int       // failures in a row up to now
	Waiting     int       // calls that wait for it
}

// Circuits returns a snapshot of all circuits, ordered by key.
func (b *Breaker) Circuits() []Circuit {
	now := time.Now()
	cs := []Circuit{}
	for key, c := range b.circuits.All() {
		s := c.Snapshot(now)
		cs = append(cs, Circuit{
			Key: key, State: CircuitState(s.State), Until: s.Until, Forced: s.Forced,
			Requests: s.Requests, Failures: s.Failures, Consecutive: s.Consecutive, Waiting: s.Waiting,
		})
	}
	return cs
}

// Trip opens the circuit of a key, as [Circuit.Key] shows it, until [Breaker.Reset] is
// called. The circuit is made if there is none.
func (b *Breaker) Trip(key string) { b.byName(key).Force(true, time.Now()) }

// Reset closes the circuit of a key and forgets its failures. Results of requests that
// are still running do not count any more.
func (b *Breaker) Reset(key string) { b.byName(key).Force(false, time.Now()) }

func (b *Breaker) byName(name string) *circuit {
	for key, c := range b.circuits.All() {
		if key == name {
			return c
		}
	}
	k := keyed.Parse(name)
	if b.Key != nil {
		k = keyed.Key{Custom: name}
	}
	return b.circuit(k, time.Now())
}

func (b *Breaker) maxWait() time.Duration { return orDefault(b.MaxWait, 15*time.Second, 0) }

func (b *Breaker) keyOf(req *http.Request, model string) keyed.Key {
	if b.Key != nil {
		return keyed.Key{Custom: b.Key(req)}
	}
	return keyed.Origin(req.URL, model)
}

// circuit is the circuit of one key.
type circuit struct {
	key keyed.Key
	breaker.Circuit
}

func (b *Breaker) circuit(k keyed.Key, now time.Time) *circuit {
	return b.circuits.Get(k, now, b.newCircuit)
}

func (b *Breaker) newCircuit(k keyed.Key) *circuit {
	c := &circuit{key: k}
	c.Init(b.config())
	return c
}

// chanceOfRow is the probability of a row of failures that chance does not explain: so
// rare that a service with a steady share of failures is not taken for one that is
// down in weeks.
const chanceOfRow = 1e-8

// config returns the policy with every zero and negative value resolved.
func (b *Breaker) config() breaker.Config {
	// Unlike elsewhere, a negative value of the last four means zero: a circuit needs
	// an open time and a probe.
	maxOpenFor := timeOrDefault(max(b.MaxOpenFor, 0), 60*time.Second)
	chance := 0.0
	if b.Failures == 0 {
		chance = chanceOfRow
	}
	return breaker.Config{
		Chance:      chance,
		Failures:    orDefault(b.Failures, 10, math.MaxInt),
		Ratio:       orDefault(b.Ratio, math.Inf(1), math.Inf(1)),
		MinRequests: orDefault(b.MinRequests, 20, 1),
		Probes:      orDefault(b.Probes, 1, 1),
		Window:      timeOrDefault(max(b.Window, 0), 30*time.Second),
		OpenFor:     min(timeOrDefault(max(b.OpenFor, 0), 5*time.Second), maxOpenFor),
		MaxOpenFor:  maxOpenFor,
	}
}

// circuitResult says what an attempt that ended in the class proves about the service.
// A rate limit proves that the service is alive, but it is no success that would end a
// row of failures.
func (c Class) circuitResult() breaker.Result {
	switch {
	case c.failure():
		return breaker.Failed
	case c.alive():
		return breaker.Alive
	case c == RateLimited:
		return breaker.Limited
	}
	return breaker.Neutral
}
