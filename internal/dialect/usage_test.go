package dialect

import (
	"net/http"
	"testing"

	"github.com/seed-9e4f5248/snubber/internal/jsonscan"
)

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       Usage
	}{
		{"chat", `{"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}`, Usage{Input: 9, Output: 3, CacheRead: 4}},
		{"deepseek", `{"usage":{"prompt_tokens":9,"completion_tokens":3,"prompt_cache_hit_tokens":5,"prompt_cache_miss_tokens":4}}`, Usage{Input: 9, Output: 3, CacheRead: 5}},
		{"groq", `{"x_groq":{"usage":{"prompt_tokens":9,"completion_tokens":3}}}`, Usage{Input: 9, Output: 3}},
		{"responses", `{"usage":{"input_tokens":9,"output_tokens":3,"input_tokens_details":{"cached_tokens":4},"output_tokens_details":{"reasoning_tokens":2}}}`, Usage{Input: 9, Output: 3, CacheRead: 4}},
		{"embeddings", `{"usage":{"prompt_tokens":9,"total_tokens":9}}`, Usage{Input: 9}},
		{"anthropic", `{"usage":{"input_tokens":9,"output_tokens":3,"cache_creation_input_tokens":10,"cache_read_input_tokens":20}}`, Usage{Input: 39, Output: 3, CacheRead: 20, CacheWrite: 10}},
		{"a gateway's chat to Anthropic", `{"usage":{"prompt_tokens":39,"completion_tokens":3,"cache_read_input_tokens":20,"cache_creation_input_tokens":10}}`, Usage{Input: 39, Output: 3, CacheRead: 20, CacheWrite: 10}},
		{"gemini", `{"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":3,"thoughtsTokenCount":50,"cachedContentTokenCount":4,"toolUsePromptTokenCount":6,"totalTokenCount":68}}`, Usage{Input: 15, Output: 53, CacheRead: 4}},
		{"gemini array", `[{"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":1}},{"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":3}}]`, Usage{Input: 9, Output: 3}},
		{"cohere", `{"usage":{"billed_units":{"input_tokens":5,"output_tokens":2},"tokens":{"input_tokens":71,"output_tokens":3}}}`, Usage{Input: 71, Output: 3}},
		{"cohere billed", `{"meta":{"billed_units":{"input_tokens":5,"output_tokens":2}}}`, Usage{Input: 5, Output: 2}},
		{"bedrock", `{"usage":{"inputTokens":9,"outputTokens":3,"totalTokens":42,"cacheReadInputTokens":20,"cacheWriteInputTokens":10}}`, Usage{Input: 39, Output: 3, CacheRead: 20, CacheWrite: 10}},
		{"llama at bedrock", `{"generation":"x","prompt_token_count":9,"generation_token_count":3}`, Usage{Input: 9, Output: 3}},
		{"ollama", `{"prompt_eval_count":9,"prompt_eval_duration":90,"eval_count":3}`, Usage{Input: 9, Output: 3}},
		{"a zero that fills in", `[{"usage":{"input_tokens":9,"output_tokens":1}},{"usage":{"input_tokens":0,"output_tokens":3}}]`, Usage{Input: 9, Output: 3}},
		{"nothing used", `{"usage":{"prompt_tokens":0}}`, Usage{}},
		{"hostile", `{"usage":{"prompt_tokens":-7,"completion_tokens":1e300,"cache_read_input_tokens":99999999999999999999}}`, Usage{Output: jsonscan.MaxCount}},
		{"hostile sum", `{"usage":{"input_tokens":1e300,"cache_read_input_tokens":1e300,"cache_creation_input_tokens":1e300,"output_tokens":"7"}}`, Usage{Input: jsonscan.MaxCount, CacheRead: jsonscan.MaxCount}},
	} {
		got := observe(Route{Format: OpenAIChat}, "application/json", false, []byte(tt.body), 5)
		if !got.has || got.usage != tt.want {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got.usage, got.has, tt.want)
		}
	}
	for _, body := range []string{`{}`, `{"usage":null}`, `{"usage":{}}`, `{"usage":{"prompt_tokens":null}}`, `{"choices":[{"usage":{"prompt_tokens":1}}]}`} {
		if got := observe(Route{Format: OpenAIChat}, "application/json", false, []byte(body), 5); got.has {
			t.Errorf("%s: %+v", body, got.usage)
		}
	}
}

func TestUsageOfHeader(t *testing.T) {
	h := http.Header{}
	if u, ok := UsageOfHeader(h); ok {
		t.Errorf("%+v of nothing", u)
	}
	h.Set("X-Amzn-Bedrock-Input-Token-Count", "9")
	h.Set("X-Amzn-Bedrock-Output-Token-Count", "3")
	h.Set("X-Amzn-Bedrock-Cache-Read-Input-Token-Count", "20")
	h.Set("X-Amzn-Bedrock-Cache-Write-Input-Token-Count", "junk")
	if u, ok := UsageOfHeader(h); !ok || u != (Usage{Input: 29, Output: 3, CacheRead: 20}) {
		t.Errorf("%+v, %v", u, ok)
	}
}
