package dialect

import "time"

// Mistral: https://docs.mistral.ai/deployment/ai-studio/tier. Its windows are
// minutes of the clock, without a reset header.
var mistral = provider{
	buckets: []bucket{
		{kind: "requests", window: time.Minute, limit: "X-Ratelimit-Limit-Req-Minute", remaining: "X-Ratelimit-Remaining-Req-Minute"},
		{kind: "tokens", window: time.Minute, limit: "X-Ratelimit-Limit-Tokens-Minute", remaining: "X-Ratelimit-Remaining-Tokens-Minute"},
		{kind: "tokens", window: time.Minute, limit: "Ratelimitbysize-Limit", remaining: "Ratelimitbysize-Remaining", reset: "Ratelimitbysize-Reset"},
	},
	// A limit of zero is a model that the plan does not have.
	details: func(f *failure) Class {
		if f.status == 429 && f.count("X-Ratelimit-Limit-Req-Minute") == 0 {
			return QuotaExhausted
		}
		return Unclassified
	},
	phrases: []phrase{
		// Envoy in front of it: turned away by the proxy's own circuit breaker.
		{text: "reset reason: overflow", class: Overloaded, on: onOverload},
	},
	words: map[string]Class{"service_tier_capacity_exceeded": RateLimited}, // the plan's capacity, not the server's
	vague: map[string]Class{"rate_limited": RateLimited},
}
