package snubber

import (
	"time"

	"github.com/seed-9e4f5248/snubber/internal/quota"
)

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
	Cause            string        // what refusals are taken for: "quota" if they follow the rate, "noise" if they do not, "" while undecided
	Noise            float64       // the share of all calls that is refused whatever the rate
	CauseSince       time.Time     // when Cause was decided
	CauseCalls       int           // from how many calls
}

// Limit is one bucket of a key's quota, as a [Limiter] knows it.
type Limit struct {
	Kind      string  // "requests", "tokens", "input-tokens", "output-tokens", "concurrency"
	Daily     bool    // a stock of a day or so, which may be used up at once, instead of a rate
	PerMinute float64 // the rate that the Limiter lets through; for concurrency the number at a time
	Remaining float64 // left now, negative for a debt
	Source    string  // of PerMinute: "configured", "header", or "429" if it was learned from refusals
}

var (
	kindNames = [...]string{
		quota.Requests: "requests", quota.Tokens: "tokens", quota.Input: "input-tokens", quota.Output: "output-tokens", quota.Concurrency: "concurrency",
	}
	quotaKinds = map[string]quota.Kind{
		"requests": quota.Requests, "tokens": quota.Tokens, "input-tokens": quota.Input, "output-tokens": quota.Output, "concurrency": quota.Concurrency,
	}
)

// limitOf returns a limit of the engine as a [Limit].
func limitOf(l quota.Limit) Limit {
	return Limit{Kind: kindNames[l.Kind], Daily: l.Stock, PerMinute: perMinute(l.Kind, l.PerSecond), Remaining: l.Left, Source: l.Source.String()}
}

// perMinute returns a rate by the minute. For concurrency it is the number of requests
// at a time.
func perMinute(k quota.Kind, perSecond float64) float64 {
	if k == quota.Concurrency {
		return perSecond
	}
	return perSecond * 60
}
