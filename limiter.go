package snubber

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/body"
	"github.com/seed-9e4f5248/snubber/internal/keyed"
	"github.com/seed-9e4f5248/snubber/internal/limit"
	"github.com/seed-9e4f5248/snubber/internal/mono"
	"github.com/seed-9e4f5248/snubber/internal/quota"
)

// Limiter holds requests back so that a quota is not exceeded. Each key has one queue
// in front of its buckets: requests, tokens and concurrency, taken together or not at
// all.
//
// A 429 gates the whole key until the server's time, if other calls confirm that the
// key is the reason: noise of a shared service holds back the refused call alone. An exhausted quota closes the key:
// one request is let through after a minute, the next after two, up to fifteen, and all
// others are refused at once. Tokens are reserved from an estimate, which is corrected
// by the usage that the response reports. A place of MaxConcurrent is held to the end
// of the response's body.
//
// The zero value learns the quota: from the limits in headers, and without such from
// refusals. Until it knows a quota it starts slowly, with Start requests at a time, one
// more with each success, and twice as many every 0.3 s. A configured limit is a
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
	// Start is the number of requests at a time of a key of which nothing is known.
	// It grows with each success, and doubles in less than half a second while
	// requests wait. If zero or negative, 5. After a pause a key begins with as many
	// as went well before. Where the server states a limit with room in it, any number
	// may go.
	Start int
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

// Queues returns a snapshot of all keys, ordered by key.
func (l *Limiter) Queues() []QueueStatus {
	now := time.Now()
	qs := []QueueStatus{}
	for _, q := range l.queues.All() {
		qs = append(qs, q.snapshot(now))
	}
	return qs
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

func (l *Limiter) queue(k keyed.Key, now time.Time) *keyQueue {
	return l.queues.Get(k, now, l.newQueue)
}

func (l *Limiter) newQueue(k keyed.Key) *keyQueue {
	c := limit.Config{MaxTokens: max(0, l.TokensPerMinute), MaxQueue: l.maxQueue(), Learn: l.EstimateTokens == nil}
	c.MaxWait, c.MaxGate = l.longestWait()
	c.Concurrent, c.Start = l.MaxConcurrent, l.Start
	if n := l.RequestsPerMinute; n > 0 {
		c.Requests = quota.Ceiling{PerMinute: n, Burst: l.burst(n, n)}
	}
	if n := l.TokensPerMinute; n > 0 {
		unit := n
		if l.RequestsPerMinute > 0 {
			unit = l.RequestsPerMinute
		}
		c.Tokens = quota.Ceiling{PerMinute: n, Burst: l.burst(n, unit)}
	}
	q := &keyQueue{key: k}
	q.Init(c)
	return q
}

// cost returns the tokens that a request is expected to be charged.
func (l *Limiter) cost(q *keyQueue, req *http.Request, info requestInfo, r *body.Replay) (c quota.Cost) {
	switch {
	case l.TokensPerMinute <= 0 && !l.counting.Load():
	case l.EstimateTokens != nil:
		c.Input = min(max(0, l.EstimateTokens(req, r.Bytes())), math.MaxInt32)
	case info.inference:
		c = q.Reserve(int(info.input), int(info.output))
	}
	return c
}

// report tells the queue what a response said about the quota. It returns the limits
// that changed, and whether the whole key waits until the time.
func (l *Limiter) report(p limit.Permit, o *Outcome, until, now time.Time) (changes []limit.Change, gates bool) {
	if o.Class != RateLimited && o.Class != Success && len(o.Quotas) == 0 {
		return nil, false
	}
	r := limit.Report{Limited: o.Class == RateLimited, Over: quota.Requests, Stated: !o.NotBefore.IsZero(), Answered: o.Class == Success, Reason: o.Reason}
	// The limit that a message names is believed for concurrency only. Tokens are held
	// back where a header tells how many there are. By refusals alone the rate of
	// requests follows a quota of tokens better than a rate of tokens does, whose
	// estimates and bills differ (bench/effectiveness, tokens-hint).
	r.Sized = strings.Contains(o.Exceeded, "tokens") && until.Sub(now) <= time.Minute
	if o.Exceeded == "concurrency" {
		r.Over = quota.Concurrency
	}
	var buffer [4]quota.Reading
	readings := buffer[:0]
	for _, reading := range o.Quotas {
		if kind, ok := quotaKinds[reading.Kind]; ok {
			if reading.Remaining == 0 && kind < quota.Concurrency {
				r.Over, r.Empty = kind, true
			}
			if kind == quota.Requests && reading.Remaining > 1 {
				r.Plenty = true
			}
			readings = append(readings, quota.Reading{Kind: kind, Window: reading.Window, Limit: reading.Limit, Remaining: reading.Remaining, Reset: reading.Reset})
		}
	}
	changes, counting, gates := p.Report(readings, r, until, now)
	if counting {
		l.counting.Store(true)
	}
	return changes, gates
}
