package dialect

import (
	"strings"
	"time"
)

// Azure OpenAI, the API Management gateway before it, and GitHub Models:
// https://learn.microsoft.com/azure/ai-foundry/openai/how-to/quota.
var azure = provider{
	buckets: []bucket{
		// The old spelling, sent with a 429 in the place of Retry-After.
		{kind: "requests", window: time.Minute, reset: "X-Rate-Limit-Reset-Requests", spent: true},
		{kind: "tokens", window: time.Minute, reset: "X-Rate-Limit-Reset-Tokens", spent: true},
	},
	refine: githubModels,
	words: map[string]Class{
		"content_filter":               Filtered,
		"responsibleaipolicyviolation": Filtered,
	},
	vague: map[string]Class{
		"ratelimitreached": RateLimited,
		"toomanyrequests":  RateLimited,
	},
	phrases: []phrase{
		{text: "content management policy", class: Filtered, on: onFilter},
		{text: "out of call volume quota", class: QuotaExhausted, on: onQuota},
		{text: "quota will be replenished in", class: QuotaExhausted, on: onQuota},
	},
}

// githubModels reads what GitHub Models says beside the common headers: which
// of its limits they are about, and when that one renews.
func githubModels(r *reply, _ *failure, quotas []Quota) {
	kind := r.get("X-Ratelimit-Type")
	if kind == "" {
		return
	}
	window := seconds(float64(r.count("X-Ratelimit-Renewalperiod-Requests")))
	switch {
	case strings.HasSuffix(kind, "ByMinute"):
		window = time.Minute
	case strings.HasSuffix(kind, "ByDay"):
		window = day
	}
	for i := range quotas {
		q := &quotas[i]
		if window > 0 {
			q.Window = window
		}
		if q.Reset < 0 {
			q.Reset = r.reset("X-Ratelimit-Timeremaining")
		}
	}
}
