package dialect

import (
	"strings"
	"time"
)

// OpenAI and the many that copy its errors:
// https://platform.openai.com/docs/guides/error-codes and .../guides/rate-limits.
// xAI sends the same headers, vLLM and llama.cpp the same words.
var openai = provider{
	buckets: []bucket{
		{kind: "requests", window: time.Minute, limit: "X-Ratelimit-Limit-Requests", remaining: "X-Ratelimit-Remaining-Requests", reset: "X-Ratelimit-Reset-Requests"},
		{kind: "tokens", window: time.Minute, limit: "X-Ratelimit-Limit-Tokens", remaining: "X-Ratelimit-Remaining-Tokens", reset: "X-Ratelimit-Reset-Tokens"},
		{kind: "tokens", window: time.Minute, limit: "X-Ratelimit-Limit-Project-Tokens", remaining: "X-Ratelimit-Remaining-Project-Tokens", reset: "X-Ratelimit-Reset-Project-Tokens"},
	},
	refine: openaiDays,
	words: map[string]Class{
		"insufficient_quota":                QuotaExhausted,
		"credit_balance_exhausted":          QuotaExhausted,
		"organization_spend_limit_exceeded": QuotaExhausted,
		"project_spend_limit_exceeded":      QuotaExhausted,
		"organization_usage_limit_exceeded": QuotaExhausted,
		"billing_hard_limit_reached":        QuotaExhausted,
		"slow_down":                         RateLimited,
		"server_is_overloaded":              Overloaded,
		"context_length_exceeded":           TooLong,
		"string_above_max_length":           TooLong,
		"exceed_context_size_error":         TooLong, // llama.cpp
		"tokens_limit_reached":              TooLong, // GitHub Models
		"content_policy_violation":          Filtered,
		"moderation_blocked":                Filtered,
		"invalid_api_key":                   Invalid,
	},
	vague: map[string]Class{
		"rate_limit_exceeded":   RateLimited,
		"rate_limit_reached":    RateLimited, // DeepSeek
		"too_many_requests":     RateLimited,
		"server_error":          ServerError,
		"internal_server_error": ServerError,
		"internalservererror":   ServerError, // vLLM
		"invalid_request_error": Invalid,
		"invalid_prompt":        Invalid,
		"badrequesterror":       Invalid, // vLLM
		"model_not_found":       Invalid,
	},
	// The rest are ids that only the place knows which has given them out.
	misdirects: []string{
		"invalid_api_key", "model_not_found",
		"previous_response_not_found", "conversation_not_found", "container_not_found", "file_not_found", "invalid_encrypted_content",
	},
	phrases: []phrase{
		{text: "request too large", class: TooLong, on: onSize},
		{text: "reduce your message size", class: TooLong, on: onSize},
		{text: "maximum context length", class: TooLong, on: onSize},
		{text: "the server is currently overloaded", class: Overloaded, on: onOverload},
	},
}

// openaiDays finds out whether the request bucket is for a minute or for a day,
// which the header does not say and which differs by account: a bucket that
// refills evenly takes window × used / limit to be full. Only resets written
// with a unit are times until full; Azure's bare seconds are something else.
func openaiDays(r *reply, _ *failure, quotas []Quota) {
	reset := r.get("X-Ratelimit-Reset-Requests")
	if strings.Trim(reset, "0123456789.- ") == "" {
		return
	}
	for i := range quotas {
		q := &quotas[i]
		if q.Kind != "requests" || q.Window != time.Minute || q.Remaining < 0 || q.Remaining >= q.Limit {
			continue
		}
		full := q.Reset.Seconds() * float64(q.Limit) / float64(q.Limit-q.Remaining)
		if full > 0.5*day.Seconds() && full < 2*day.Seconds() {
			q.Window = day
		}
	}
}
