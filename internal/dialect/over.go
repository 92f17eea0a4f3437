package dialect

import "strings"

// overPhrases say in messages of 429s what there was too much of, the more
// specific first: OpenAI's "on tokens per min (TPM)", Anthropic's "50,000 input
// tokens per minute", and what speaks of concurrency anywhere.
var overPhrases = []struct{ text, kind string }{
	{"concurren", "concurrency"},
	{"parallel requests", "concurrency"},
	{"input tokens", "input-tokens"},
	{"output tokens", "output-tokens"},
	{"tokens per", "tokens"},
	{"requests per", "requests"},
}

// overOf is the kind of the quota that a limited call was too much for, by the
// message in lower case, the machine words and the empty buckets.
func overOf(text string, words []string, quotas []Quota) string {
	for _, p := range overPhrases {
		if strings.Contains(text, p.text) {
			return p.kind
		}
	}
	for _, w := range words {
		if w == "tokens" || w == "requests" { // OpenAI's type
			return w
		}
	}
	kind := ""
	for _, q := range quotas {
		if q.Remaining == 0 && kind != q.Kind {
			if kind != "" {
				return "" // two are empty
			}
			kind = q.Kind
		}
	}
	return kind
}
