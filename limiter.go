package snubber

import (
	"context"
	"errors"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/keyed"
	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// Limiter holds requests back so that a quota is not exceeded. Each key has one queue
// in front of its buckets: requests, tokens and concurrency, taken together or not at
// all.
//
// A 429 gates the whole key until the server's time. An exhausted quota closes the key:
// one request is let through after a minute, the next after two, up to fifteen, and all
// others are refused at once. Tokens are reserved from an estimate, which is corrected
// by the usage that the response reports. A place of MaxConcurrent is held to the end
// of the response's body.
//
// The zero value learns the quota: from the limits in headers, and without such from
// refusals. Until it knows a quota it starts slowly, with four requests at a time, one
// more with each success, and twice as many every two seconds. A configured limit is a
// ceiling: the limit that is learned may be lower, but never higher.
//
// A Limiter is safe for concurrent use and must not be copied after first use.
type Limiter struct {
	// RequestsPerMinute and TokensPerMinute are ceilings for each key. If zero or
	// negative, the learned limits alone apply. A request whose estimate is larger than
	// TokensPerMinute is refused, since it can never pass.
	RequestsPerMinute, TokensPerMinute int
	// Burst is the number of requests that may start at once after a pause. The token
	// bucket holds as many seconds' worth. With TokensPerMinute alone, Burst is in
	// tokens. If zero, one second's worth, at least 1. If negative, a minute's worth,
	// which is the most there ever is.
	//
	// A request larger than the bucket is sent when the bucket is full; the excess is a
	// debt that delays the requests after it.
	Burst int
	// MaxConcurrent is the number of requests at a time, to the end of their bodies. If
	// zero or negative, there is no limit.
	MaxConcurrent int
	// MaxWait is the longest predicted wait in the queue. A request that would wait
	// longer is refused at once. If zero, only the deadline of the request's context
	// counts, except that a key gated for more than 60 s refuses. If negative, the
	// request waits even then.
	MaxWait time.Duration
	// MaxQueue is the number of requests that may wait for a key. If zero, 10 000; if
	// negative, there is no limit.
	MaxQueue int
	// Key names the quota that a request uses. If nil, origin, credential (hashed) and
	// model do. Set it if several models share one limit.
	Key func(*http.Request) string
	// EstimateTokens estimates the tokens that a request will be charged. body is nil
	// if it cannot be read ahead. If EstimateTokens is nil, the estimate is a quarter
	// of the text's bytes and the likely length of the response.
	EstimateTokens func(req *http.Request, body []byte) int
	// Secret keys the hash of credentials. If nil, it is random and differs in every
	// process. With a Store it is required, the same in all processes.
	Secret []byte
	// Store shares what is known of a key's quota with other processes. If nil, each
	// process has only what it learns by itself.
	Store LimitStore

	queues   keyed.Map[*keyQueue]
	hasher   hasher
	counting atomic.Bool  // some key's tokens are limited
	resting  atomic.Int64 // the instant until which a Store that failed is not called
}

// QueueStatus is a snapshot of one key of a [Limiter].
type QueueStatus struct {
	Key              string        // origin, model and the credential's hash, or what Limiter.Key returned
	Waiting          int           // requests in the queue
	OldestWait       time.Duration // how long the one that joined first has been in it
	InFlight         int           // requests that hold a permit, to the end of their bodies
	Requests, Tokens float64       // left in the buckets now, negative for a debt; +Inf without a limit
	GatedUntil       time.Time     // no request before; zero if none is held back
	Reason           string        // why it is gated, as Outcome.Reason
	Exhausted        bool          // the gate is a quota that waiting does not restore
	Limits           []Limit       // what is known of the quota, nil if nothing
}

// Limit is one bucket of a key's quota, as a [Limiter] knows it.
type Limit struct {
	Kind      string  // "requests", "tokens", "input-tokens", "output-tokens", "concurrency"
	Daily     bool    // a stock of a day or so, which may be used up at once, instead of a rate
	PerMinute float64 // the rate that the Limiter lets through; for concurrency the number at a time
	Remaining float64 // left now, negative for a debt
	Source    string  // of PerMinute: "configured", "header", or "429" if it was learned from refusals
}

// Queues returns a snapshot of all keys, ordered by key.
func (l *Limiter) Queues() []QueueStatus {
	now := time.Now()
	qs := []QueueStatus{}
	for _, q := range l.queues.All() {
		qs = append(qs, q.snapshot(now))
	}
	return qs
}

type priorityKey struct{}

// WithPriority returns a context whose requests come before those of lower priority in
// the queue of a [Limiter]. Zero is normal. While lower ones wait, one turn in twenty
// goes to the oldest of them.
func WithPriority(ctx context.Context, priority int) context.Context {
	return context.WithValue(ctx, priorityKey{}, priority)
}

func priorityOf(ctx context.Context) int {
	p, _ := ctx.Value(priorityKey{}).(int)
	return p
}

func (l *Limiter) keyOf(req *http.Request, model string) keyed.Key {
	if l.Key != nil {
		return keyed.Key{Custom: l.Key(req)}
	}
	k := keyed.Origin(req.URL, model)
	k.Credential = l.hasher.credential(req, l.Secret)
	return k
}

// burst returns how many of perMinute may start at once, given Burst in units of
// unitPerMinute.
func (l *Limiter) burst(perMinute, unitPerMinute int) int {
	switch {
	case l.Burst < 0:
		return perMinute
	case l.Burst == 0:
		return max(1, perMinute/60)
	}
	n := float64(l.Burst) / float64(unitPerMinute) * float64(perMinute)
	return int(max(1, min(n, float64(perMinute))))
}

func (l *Limiter) maxQueue() int { return orDefault(l.MaxQueue, 10_000, math.MaxInt) }

// longestWait returns the bounds of the wait in the queue and of a gate, beyond which a
// request is refused. The usual Retry-After of a minute's quota is 60, and jitter comes
// after it.
func (l *Limiter) longestWait() (wait, gate time.Duration) {
	switch {
	case l.MaxWait < 0:
		return mono.Forever, mono.Forever
	case l.MaxWait == 0:
		return mono.Forever, time.Minute + time.Second
	}
	return l.MaxWait, mono.Forever
}

// counts reports whether the tokens of prompts are needed: a quota of tokens is
// configured, or a server has reported one.
func (l *Limiter) counts() bool {
	return l != nil && l.EstimateTokens == nil && (l.TokensPerMinute > 0 || l.counting.Load())
}

func (l *Limiter) unshareable() bool { return l != nil && l.Store != nil && len(l.Secret) == 0 }

var errNoSecret = errors.New("Limiter.Store requires Limiter.Secret, the same in all processes")
