package dialect

import (
	"net/http"

	"github.com/seed-9e4f5248/snubber/internal/jsonscan"
)

// The counts that APIs bill by, as far as they differ in meaning. Their tags in
// eventPaths follow those of the other facts.
const (
	countPrompt    = iota // input, what the cache gave included
	countFresh            // input, what the cache gave excluded
	countToolUse          // input besides the prompt
	countCached           // what the cache gave
	countCacheRead        // the same, beside countFresh
	countCacheWrite
	countOutput
	countThoughts // output besides countOutput
	countBilledIn // what Cohere charges, less than what it processes
	countBilledOut
	numCounts
)

// usageFields are the members of a usage object. The APIs' names differ wherever
// their meanings do, so that one table reads all of them, also behind a gateway
// that answers in another shape than the path promised. input_tokens is the
// exception: Anthropic's excludes the cached input that OpenAI's includes. But
// they name the cached parts differently, and only Anthropic's are added.
var usageFields = map[string]uint8{
	// OpenAI chat and its many copies, embeddings; DeepSeek's own cache count.
	"prompt_tokens":                       countPrompt,
	"completion_tokens":                   countOutput,
	"prompt_tokens_details.cached_tokens": countCached,
	"prompt_cache_hit_tokens":             countCached,
	// OpenAI Responses.
	"input_tokens":                       countFresh,
	"output_tokens":                      countOutput,
	"input_tokens_details.cached_tokens": countCached,
	// Anthropic.
	"cache_read_input_tokens":     countCacheRead,
	"cache_creation_input_tokens": countCacheWrite,
	// Gemini.
	"promptTokenCount":        countPrompt,
	"toolUsePromptTokenCount": countToolUse,
	"cachedContentTokenCount": countCached,
	"candidatesTokenCount":    countOutput,
	"thoughtsTokenCount":      countThoughts,
	// Bedrock.
	"inputTokens":           countFresh,
	"outputTokens":          countOutput,
	"cacheReadInputTokens":  countCacheRead,
	"cacheWriteInputTokens": countCacheWrite,
	// Cohere.
	"tokens.input_tokens":        countFresh,
	"tokens.output_tokens":       countOutput,
	"billed_units.input_tokens":  countBilledIn,
	"billed_units.output_tokens": countBilledOut,
}

// usagePlaces are where a usage object stands in an answer or an event.
var usagePlaces = []string{
	"usage",          // nearly everyone
	"usageMetadata",  // Gemini
	"meta",           // Cohere v1, embed, rerank
	"x_groq.usage",   // Groq's streams
	"response.usage", // OpenAI Responses events
	"response.meta",  // Cohere v1 stream-end
	"message.usage",  // Anthropic message_start
	"delta.usage",    // Cohere v2 message-end
}

// looseCounts stand outside of any usage object.
var looseCounts = map[string]uint8{
	"prompt_eval_count":      countPrompt, // Ollama
	"eval_count":             countOutput,
	"prompt_token_count":     countPrompt, // Llama at Bedrock
	"generation_token_count": countOutput,
	// In the last chunk of every InvokeModelWithResponseStream.
	"amazon-bedrock-invocationMetrics.inputTokenCount":           countFresh,
	"amazon-bedrock-invocationMetrics.outputTokenCount":          countOutput,
	"amazon-bedrock-invocationMetrics.cacheReadInputTokenCount":  countCacheRead,
	"amazon-bedrock-invocationMetrics.cacheWriteInputTokenCount": countCacheWrite,
}

// addCounts adds the places of the counts to a table of paths.
func addCounts(paths map[string]uint8) {
	for _, place := range usagePlaces {
		for field, count := range usageFields {
			paths[place+"."+field] = factCounts + count
		}
	}
	for path, count := range looseCounts {
		paths[path] = factCounts + count
	}
}

// tally is what an answer has said of its usage so far.
type tally struct {
	n    [numCounts]int
	seen uint16 // a bit for each count that was stated
}

// set takes a count. Streams repeat them cumulatively, so the last one wins;
// except a 0, with which some servers fill in what they said before.
func (t *tally) set(count uint8, text []byte) {
	n, ok := jsonscan.Count(text)
	if !ok {
		return
	}
	t.seen |= 1 << count
	if n > 0 {
		t.n[count] = n
	}
}

func (t *tally) usage() (Usage, bool) {
	has := func(count int) bool { return t.seen&(1<<count) != 0 }
	u := Usage{
		CacheRead:  max(t.n[countCached], t.n[countCacheRead]),
		CacheWrite: t.n[countCacheWrite],
		Output:     sumCounts(t.n[countOutput], t.n[countThoughts]),
	}
	switch {
	case has(countPrompt):
		u.Input = sumCounts(t.n[countPrompt], t.n[countToolUse])
	case has(countFresh):
		u.Input = sumCounts(t.n[countFresh], t.n[countCacheRead], t.n[countCacheWrite])
	default:
		u.Input = t.n[countBilledIn]
	}
	if !has(countOutput) && has(countBilledOut) {
		u.Output = t.n[countBilledOut]
	}
	u.CacheRead = min(u.CacheRead, u.Input)
	u.CacheWrite = min(u.CacheWrite, u.Input-u.CacheRead)
	return u, t.seen != 0
}

// sumCounts adds counts, each at most [jsonscan.MaxCount], and so is their sum.
func sumCounts(counts ...int) int {
	sum := 0
	for _, n := range counts {
		sum += min(n, jsonscan.MaxCount-sum)
	}
	return sum
}

// UsageOfHeader reads the usage that Bedrock's InvokeModel states in the header
// of a unary response, whatever the model's body looks like. It reports false
// where there is none.
func UsageOfHeader(h http.Header) (Usage, bool) {
	var t tally
	for name, count := range bedrockCounts {
		if v := h[name]; len(v) > 0 {
			t.set(count, []byte(v[0]))
		}
	}
	return t.usage()
}

var bedrockCounts = map[string]uint8{
	"X-Amzn-Bedrock-Input-Token-Count":             countFresh,
	"X-Amzn-Bedrock-Output-Token-Count":            countOutput,
	"X-Amzn-Bedrock-Cache-Read-Input-Token-Count":  countCacheRead,
	"X-Amzn-Bedrock-Cache-Write-Input-Token-Count": countCacheWrite,
}

// Counted is what a usage counts against a quota of tokens. Anthropic does not
// count what was read from a prompt cache; most others do.
func Counted(f Format, u Usage) (input, output int) {
	if f == Anthropic {
		return max(u.Input-u.CacheRead, 0), u.Output
	}
	return u.Input, u.Output
}
