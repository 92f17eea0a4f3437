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

// Limiter holds requests back so that a quota is never exceeded, and spreads
// the ones that have to wait instead of letting each guess on its own. Each
// key has one strict queue in front of its buckets: requests, tokens and
// concurrency, taken together or not at all.
//
// A response that says 429 gates the whole key until the server's time. An
// exhausted quota latches it: one request finds out after a minute, then two,
// up to fifteen, and all others are refused at once. Tokens are reserved from
// an estimate and settled from the usage that the answer reports; a place of
// MaxConcurrent is held to the end of the response's body.
//
// The zero value learns the quota: from the limits in headers, and where there
// are none from refusals. Until it knows anything it starts slowly, with four
// requests at a time, more with each success and twice as many every two
// seconds. What you configure is a ceiling: what is learned may be less, but
// never more.
//
// It is safe for concurrent use and must not be copied after first use.
type Limiter struct {
	// RequestsPerMinute and TokensPerMinute are ceilings for each key. If zero or
	// negative, what is learned. A request whose estimate is larger than TokensPerMinute is
	// refused, since it can never pass.
	RequestsPerMinute, TokensPerMinute int
	// Burst is the number of requests that may start at once after a pause; the
	// token bucket holds as many seconds' worth. With TokensPerMinute alone it
	// is in tokens. If zero, one second's worth, at least 1; if negative, a
	// minute's worth, which is all there ever is. A token
	// bucket lets a request larger than itself pass alone when it is full, and
	// those behind it wait for the rest.
	Burst int
	// MaxConcurrent is the number of requests at a time, to the end of their
	// bodies. If zero or negative, any.
	MaxConcurrent int
	// MaxWait is the longest predicted wait in the queue; a request beyond it is
	// refused at once. If zero, its context's deadline alone decides, except that
	// a key gated for more than 60 s refuses; if negative, even then it waits.
	MaxWait time.Duration
	// MaxQueue is the number of requests waiting for a key. If zero, 10 000; if
	// negative, any.
	MaxQueue int
	// Key names whose quota a request uses. If nil, origin, credential (hashed)
	// and model; set it where several models share one limit.
	Key func(*http.Request) string
	// EstimateTokens estimates what a request will be charged, from its body; the body
	// is nil where it cannot be read ahead. If nil, a quarter of the text's bytes
	// and the answer's likely length.
	EstimateTokens func(req *http.Request, body []byte) int
	// Secret keys the hash of credentials. If nil, it is random and differs in
	// every process.
	// With a Store it must be set, and the same in all processes.
	Secret []byte
	// Store shares what is known of a key's quota with other processes. If nil,
	// each has what it learns by itself.
	Store LimitStore

	queues   keyed.Map[*keyQueue]
	hasher   hasher
	counting atomic.Bool  // some key's tokens are limited
	resting  atomic.Int64 // the instant until which a Store that failed is left alone
}

// QueueStatus is a snapshot of one key of a [Limiter].
type QueueStatus struct {
	Key              string    // origin, model and the credential's hash, or what Limiter.Key returned
	Waiting          int       // requests in the queue
	InFlight         int       // requests that hold a permit, to the end of their bodies
	Requests, Tokens float64   // left in the buckets now, negative for a debt; +Inf without a limit
	GatedUntil       time.Time // no request before; zero if none is held back
	Reason           string    // why it is gated, as Outcome.Reason
	Exhausted        bool      // the gate is a quota that waiting does not restore
	Limits           []Limit   // what is known of the quota, nil if nothing
}

// Limit is one bucket of a key's quota, as a [Limiter] knows it.
type Limit struct {
	Kind      string  // "requests", "tokens", "input-tokens", "output-tokens", "concurrency"
	Daily     bool    // a stock of a day or so, that may be used up at once, and not a pace
	PerMinute float64 // what the Limiter lets through; of concurrency, how many at a time
	Remaining float64 // what it holds now, negative for a debt
	Source    string  // where PerMinute is from: "configured", "header", or "429" if it was learned from refusals
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

// WithPriority gives the requests made with the context a place before those
// of lower priority in a [Limiter]'s queue. Zero is normal. While lower ones
// wait, one place in twenty goes to the oldest of them.
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

// burst is how many of perMinute may start at once, given Burst in units of
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

// longestWait is MaxWait, and the gate beyond which a request is refused. The
// usual Retry-After of a minute's quota is 60, and jitter comes after it.
func (l *Limiter) longestWait() (wait, gate time.Duration) {
	switch {
	case l.MaxWait < 0:
		return mono.Forever, mono.Forever
	case l.MaxWait == 0:
		return mono.Forever, time.Minute + time.Second
	}
	return l.MaxWait, mono.Forever
}

// counts reports whether the tokens of prompts are needed: where a quota of
// tokens is configured, or a server has told of one.
func (l *Limiter) counts() bool {
	return l != nil && l.EstimateTokens == nil && (l.TokensPerMinute > 0 || l.counting.Load())
}

func (l *Limiter) unshareable() bool { return l != nil && l.Store != nil && len(l.Secret) == 0 }

var errNoSecret = errors.New("snubber: a Limiter with a Store needs a Secret, the same in all processes: without it each has keys of its own")
