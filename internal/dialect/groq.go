package dialect

import "strings"

// Groq: https://console.groq.com/docs/rate-limits and .../docs/errors. It sends
// OpenAI's headers, but its request bucket is for a day.
var groq = provider{
	refine: func(r *reply, f *failure, quotas []Quota) {
		if !isGroq(r, f) {
			return
		}
		for i := range quotas {
			if quotas[i].Kind == "requests" {
				quotas[i].Window = day
			}
		}
	},
	phrases: []phrase{
		{text: "per day", class: QuotaExhausted, on: []int{429}, daily: true},
		{text: "over capacity", class: Overloaded, on: onOverload},
	},
	// 498 is flex capacity here and an invalid token at Cohere, which has no
	// error object.
	mark:   func(f *failure) bool { return isGroq(f.reply, f) || f.object && !f.in("cohere.com") },
	status: map[int]Class{498: Transient},
}

func isGroq(r *reply, f *failure) bool {
	return r.in("groq.com") || r.header.Get("X-Groq-Region") != "" ||
		f != nil && strings.Contains(f.text, "console.groq.com")
}
