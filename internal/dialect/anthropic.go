package dialect

import "time"

// Anthropic: https://docs.claude.com/en/api/errors and .../api/rate-limits. The
// anthropic-priority-* headers are left out: over a priority tier's capacity
// requests go on at the standard tier, so it is no limit.
var anthropic = provider{
	buckets: []bucket{
		{kind: "requests", window: time.Minute, limit: "Anthropic-Ratelimit-Requests-Limit", remaining: "Anthropic-Ratelimit-Requests-Remaining", reset: "Anthropic-Ratelimit-Requests-Reset"},
		{kind: "tokens", window: time.Minute, limit: "Anthropic-Ratelimit-Tokens-Limit", remaining: "Anthropic-Ratelimit-Tokens-Remaining", reset: "Anthropic-Ratelimit-Tokens-Reset"},
		{kind: "input-tokens", window: time.Minute, limit: "Anthropic-Ratelimit-Input-Tokens-Limit", remaining: "Anthropic-Ratelimit-Input-Tokens-Remaining", reset: "Anthropic-Ratelimit-Input-Tokens-Reset"},
		{kind: "output-tokens", window: time.Minute, limit: "Anthropic-Ratelimit-Output-Tokens-Limit", remaining: "Anthropic-Ratelimit-Output-Tokens-Remaining", reset: "Anthropic-Ratelimit-Output-Tokens-Reset"},
	},
	words: map[string]Class{
		"overloaded_error":             Overloaded,
		"billing_error":                QuotaExhausted,
		"enforced_spend_limit_reached": QuotaExhausted,
		"request_too_large":            TooLong,
	},
	vague: map[string]Class{
		"rate_limit_error":     RateLimited,
		"conflict_error":       Transient,
		"api_error":            ServerError,
		"timeout_error":        ServerError,
		"authentication_error": Invalid,
		"permission_error":     Invalid,
		"not_found_error":      Invalid,
	},
	misdirects: []string{"authentication_error", "permission_error"},
	phrases: []phrase{
		{text: "credit balance", class: QuotaExhausted, on: onQuota},
		{text: "specified api usage limits", class: QuotaExhausted, on: onQuota},
		{text: "prompt is too long", class: TooLong, on: onSize},
		{text: "exceed context limit", class: TooLong, on: onSize},
		{text: "content filtering policy", class: Filtered, on: onFilter},
	},
}
