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
// A circuit opens after Failures failures in a row, or when a Ratio of at least
// MinRequests outcomes in Window have failed. An outcome counts when it is known, at
// the end of the body, however long the call took. RateLimited, QuotaExhausted,
// Transient and Canceled do not count: a 429 proves that the service is alive. After
// its open time the circuit is half-open, and Probes requests pass at a time. As many
// successes close it, and one failure opens it again.
//
// The zero value is a good policy. Its thresholds look high. But a breaker that opens
// at five failures in a row takes down a service that fails 30 % of its calls, which
// retries repair.
//
// A Breaker is safe for concurrent use and must not be copied after first use.
type Breaker struct {
	// Failures is the number of failures in a row that opens the circuit. If zero, 10;
	// if negative, no number does.
	Failures int
	// Ratio is the share of failures among the outcomes in Window that opens the
	// circuit. If zero, 0.5; if negative, no share does.
	Ratio float64
	// MinRequests is the number of outcomes in Window below which Ratio does not apply.
	// If zero, 20; if negative, 1.
	MinRequests int
	// Window is the time over which outcomes are counted. If zero or negative, 30 s.
	Window time.Duration
	// OpenFor is the first open time. It doubles with each further opening up to
	// MaxOpenFor, loses one doubling for each healthy minute, and varies by a fifth.
	// The Retry-After of a failing server makes it longer, but never longer than
	// MaxOpenFor. If zero or negative, 5 s and 60 s.
	OpenFor, MaxOpenFor time.Duration
	// Probes is the number of concurrent requests while the circuit is half-open, and
	// the number of successes that close it. If zero or negative, 2.
	Probes int
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
}

// Circuits returns a snapshot of all circuits, ordered by key.
func (b *Breaker) Circuits() []Circuit {
	now := time.Now()
	cs := []Circuit{}
	for key, c := range b.circuits.All() {
		s := c.Snapshot(now)
		cs = append(cs, Circuit{
			Key: key, State: CircuitState(s.State), Until: s.Until, Forced: s.Forced,
			Requests: s.Requests, Failures: s.Failures, Consecutive: s.Consecutive,
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

// config returns the policy with every zero and negative value resolved.
func (b *Breaker) config() breaker.Config {
	// Unlike elsewhere, a negative value of the last four means zero: a circuit needs
	// an open time and a probe.
	maxOpenFor := timeOrDefault(max(b.MaxOpenFor, 0), 60*time.Second)
	return breaker.Config{
		Failures:    orDefault(b.Failures, 10, math.MaxInt),
		Ratio:       orDefault(b.Ratio, 0.5, math.Inf(1)),
		MinRequests: orDefault(b.MinRequests, 20, 1),
		Probes:      orDefault(b.Probes, 2, 2),
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
