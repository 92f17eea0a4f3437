package dialect

import (
	"strings"
	"time"
)

// Gemini and Vertex AI: https://ai.google.dev/gemini-api/docs/troubleshooting,
// https://cloud.google.com/apis/design/errors. The message is no help, it says
// "You exceeded your current quota" of a minute and of a day alike.
var gemini = provider{
	words: map[string]Class{
		// AIP-194 names UNAVAILABLE as the one code that any call may be repeated after.
		"unavailable":                     Overloaded,
		"quota_exhausted":                 QuotaExhausted,
		"insufficient_g1_credits_balance": QuotaExhausted,
		"dailylimitexceeded":              QuotaExhausted,
	},
	details: geminiDetails,
	phrases: []phrase{
		{text: "exceeds the maximum number of tokens", class: TooLong, on: onSize},
	},
	vague: map[string]Class{
		"resource_exhausted":  RateLimited,
		"ratelimitexceeded":   RateLimited,
		"aborted":             Transient,
		"internal":            ServerError,
		"deadline_exceeded":   ServerError,
		"invalid_argument":    Invalid,
		"failed_precondition": Invalid,
		"unauthenticated":     Invalid,
		"permission_denied":   Invalid,
		"not_found":           Invalid,
	},
	misdirects: []string{"api_key_invalid", "unauthenticated", "permission_denied"}, // the first is a 400
}

// geminiDetails tells a quota of a day from one of a minute by QuotaFailure.
// RetryInfo comes second: with a daily quota it is there too, and wrong.
func geminiDetails(f *failure) Class {
	class := Unclassified
	for _, d := range items(f.obj["details"]) {
		if !strings.HasSuffix(text(d["@type"]), "google.rpc.QuotaFailure") {
			continue
		}
		for _, v := range items(d["violations"]) {
			id := text(v["quotaId"])
			if strings.Contains(id, "PerDay") || strings.Contains(id, "Daily") {
				return QuotaExhausted
			}
			if strings.Contains(id, "PerMinute") {
				class = RateLimited
			}
		}
	}
	if d, ok := retryInfo(f); ok && d > realWait {
		return QuotaExhausted
	}
	return class
}

func retryInfo(f *failure) (time.Duration, bool) {
	for _, d := range items(f.obj["details"]) {
		if strings.HasSuffix(text(d["@type"]), "google.rpc.RetryInfo") {
			delay := text(d["retryDelay"])
			if strings.HasPrefix(delay, "-") {
				return 0, true
			}
			if d, n := readSpan(delay); n > 0 && n == len(delay) {
				return d, true
			}
		}
	}
	return 0, false
}
