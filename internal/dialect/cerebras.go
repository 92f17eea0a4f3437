package dialect

// Cerebras: https://inference-docs.cerebras.ai/support/error. It says
// x-should-retry: false to a queue that was full for a moment.
var cerebras = provider{
	words:  map[string]Class{"queue_exceeded": Overloaded},
	insist: []string{"queue_exceeded"},
	vague:  map[string]Class{"too_many_requests_error": RateLimited},
}
