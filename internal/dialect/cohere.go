package dialect

// Cohere: https://docs.cohere.com/reference/errors. Its errors are a message
// and nothing else; a 498 (invalid token) is like any other 4xx.
var cohere = provider{
	buckets: []bucket{
		{kind: "requests", limit: "X-Trial-Endpoint-Call-Limit", remaining: "X-Trial-Endpoint-Call-Remaining"},
	},
	words: map[string]Class{ // finish_reason of the last event of a stream
		"error_limit": TooLong,
		"error_toxic": Filtered,
	},
	phrases: []phrase{
		{text: "/ month", class: QuotaExhausted, on: onQuota},
		{text: "too many tokens: total number", class: TooLong, on: onSize},
	},
}
