package dialect

import "time"

// Fireworks: https://docs.fireworks.ai/guides/quotas_usage/rate-limits. Its
// limits adapt to the load, and x-ratelimit-over-limit on a success only says
// that they are being exceeded.
var fireworks = provider{
	buckets: []bucket{
		{kind: "input-tokens", window: time.Minute, limit: "X-Ratelimit-Limit-Tokens-Prompt", remaining: "X-Ratelimit-Remaining-Tokens-Prompt"},
		{kind: "input-tokens", window: time.Minute, limit: "X-Ratelimit-Limit-Tokens-Cache-Adjusted-Prompt", remaining: "X-Ratelimit-Remaining-Tokens-Cache-Adjusted-Prompt"},
		{kind: "output-tokens", window: time.Minute, limit: "X-Ratelimit-Limit-Tokens-Generated", remaining: "X-Ratelimit-Remaining-Tokens-Generated"},
	},
	words: map[string]Class{"payment_required": QuotaExhausted},
	phrases: []phrase{
		{text: "suspended", class: QuotaExhausted, on: []int{412}},
	},
	// Elsewhere a 412 is a condition of the caller's that did not hold.
	mark:   func(f *failure) bool { return f.in("fireworks.ai") },
	status: map[int]Class{412: QuotaExhausted},
}
