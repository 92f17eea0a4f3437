package dialect

// Together AI: https://docs.together.ai/docs/error-codes and .../docs/rate-limits.
// OpenRouter, and many APIs that are no AI, send the X-Ratelimit headers too,
// so that the window is unknown.
var together = provider{
	buckets: []bucket{
		{kind: "requests", limit: "X-Ratelimit-Limit", remaining: "X-Ratelimit-Remaining", reset: "X-Ratelimit-Reset"},
		{kind: "tokens", limit: "X-Tokenlimit-Limit", remaining: "X-Tokenlimit-Remaining", reset: "X-Tokenlimit-Reset"},
	},
	words: map[string]Class{"credit_limit": QuotaExhausted},
	phrases: []phrase{
		{text: "less than the context length", class: TooLong, on: onSize},
		{text: "the server is overloaded", class: Overloaded, on: onOverload},
	},
	vague: map[string]Class{
		"dynamic_request_limited": RateLimited,
		"dynamic_token_limited":   RateLimited,
	},
	// A 403 is a prompt that does not fit; a wrong key is a 401. Behind a gateway
	// the id beside the error is all there is to know Together by; where that
	// is wrong, one final class is taken for another.
	mark: func(f *failure) bool {
		return f.in("together.xyz") || f.in("together.ai") || f.object && f.hasID
	},
	status: map[int]Class{403: TooLong},
}
