package dialect

import "net/http"

// OpenRouter: https://openrouter.ai/docs/api-reference/errors. Its code is the
// status as a number, also within a 200.
var openrouter = provider{
	words: map[string]Class{
		"openrouter_in_flight_budget": RateLimited,
	},
	details: func(f *failure) Class {
		meta, _ := f.obj["metadata"].(map[string]any)
		if f.status == 403 && (meta["reasons"] != nil || meta["flagged_input"] != nil) {
			return Filtered // moderation
		}
		return Unclassified
	},
	phrases: []phrase{
		{text: "requires more credits", class: QuotaExhausted, on: onQuota},
		{text: "per-day", class: QuotaExhausted, on: []int{429}, daily: true},
		{text: "no available model provider", class: Overloaded, on: onOverload},
	},
	// The one 402 that passes: requests in flight hold all of the budget.
	mark: func(f *failure) bool {
		_, waits := f.moment(f.header.Get("Retry-After"))
		return waits && (f.in("openrouter.ai") || f.number == 402 && text(f.obj["status"]) == "")
	},
	status: map[int]Class{402: RateLimited},
}

// repeatedHeader is the header of the quota that OpenRouter repeats inside the
// error, where a gateway or a stream has lost the real one.
func repeatedHeader(f *failure) http.Header {
	meta, _ := f.obj["metadata"].(map[string]any)
	inner, _ := meta["headers"].(map[string]any)
	if len(inner) == 0 {
		return nil
	}
	h := http.Header{}
	for name, v := range inner {
		if s := text(v); s != "" {
			h.Set(name, s)
		}
	}
	return h
}
