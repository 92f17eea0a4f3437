package dialect

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func proofOf(r Route, media string, stream, background bool, body []byte, piece int) (Proof, string) {
	var m Meter
	m.Start(r, media, stream)
	for p := range slices.Chunk(body, piece) {
		m.Observe(p)
	}
	proof := m.Proof(background)
	failure := string(m.Failure())
	m.Free()
	return proof, failure
}

func TestProof(t *testing.T) {
	sse := func(datas ...string) string { return "data: " + strings.Join(datas, "\n\ndata: ") + "\n\n" }
	typed := func(name, rest string) string {
		return "event: " + name + "\ndata: {\"type\":\"" + name + "\"" + rest + "}\n\n"
	}
	const (
		role    = `{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`
		word    = `{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}`
		stop    = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
		usage   = `{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}`
		content = `{"choices":[{"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}`
	)
	for _, tt := range []struct {
		name   string
		format Format
		stream bool
		body   string
		want   Proof
	}{
		// Documents.
		{"an answer", OpenAIChat, false, content, Proven},
		{"after blank lines", OpenAIChat, false, "\n\n" + content, Proven},
		{"an answer that was cut", OpenAIChat, false, content[:len(content)-3], Unproven},
		{"tool calls", OpenAIChat, false, `{"choices":[{"message":{"content":null,"tool_calls":[{"id":"1"}]},"finish_reason":"tool_calls"}]}`, Proven},
		{"completion", OpenAIChat, false, `{"choices":[{"text":"hi","finish_reason":"length"}]}`, Proven},
		{"an unknown end", OpenAIChat, false, `{"choices":[{"message":{"content":"hi"},"finish_reason":"wall_reached"}]}`, Unproven},
		{"no content", OpenAIChat, false, `{"choices":[{"message":{"role":"assistant","content":""},"finish_reason":"stop"}]}`, Passing},
		{"refused", OpenAIChat, false, `{"choices":[{"message":{"content":null,"refusal":"no"},"finish_reason":"stop"}]}`, Passing},
		{"filtered", OpenAIChat, false, `{"choices":[{"message":{"content":"hi"},"finish_reason":"content_filter"}]}`, Passing},
		{"nothing", OpenAIChat, false, ``, Disproven},
		{"blanks", OpenAIChat, false, "\n \n", Disproven},
		{"an empty object", OpenAIChat, false, `{}`, Disproven},
		{"an empty array", OpenAIChat, false, `[]`, Disproven},
		{"no choices", OpenAIChat, false, `{"id":"x","model":"m","choices":null}`, Disproven},
		{"empty choices", OpenAIChat, false, `{"id":"x","choices":[]}`, Disproven},
		{"only who it is from", OpenAIChat, false, `{"id":"x","object":"chat.completion","created":1,"model":"m"}`, Disproven},
		{"a stranger's answer", OpenAIChat, false, `{"id":"x","reply":"hi"}`, Unproven},
		{"a text", OpenAIChat, false, `hi`, Unproven},
		{"a page", OpenAIChat, false, `<html>`, Disproven},
		{"a failed end", OpenAIChat, false, `{"choices":[{"message":{"content":"h"},"finish_reason":"network_error"}]}`, Disproven},
		{"a failed end in capitals", OpenAIChat, false, `{"choices":[{"message":{"content":"h"},"finish_reason":"ABORT"}]}`, Disproven},
		{"a code", OpenAIChat, false, `{"code":429,"message":"rate limit"}`, Disproven},
		{"a code that is none", OpenAIChat, false, `{"code":0,"choices":[{"message":{"content":"hi"}}]}`, Proven},
		{"errors", OpenAIChat, false, `{"errors":[{"message":"x"}]}`, Disproven},
		{"detail", OpenAIChat, false, `{"detail":"x"}`, Disproven},
		{"base_resp", OpenAIChat, false, `{"base_resp":{"status_code":1002,"status_msg":"x"}}`, Disproven},
		{"base_resp of a success", OpenAIChat, false, `{"base_resp":{"status_code":0,"status_msg":""},"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}`, Proven},
		{"an error in a text", OpenAIChat, false, `{"choices":[{"message":{"content":"{\"code\":429,\"error\":{\"a\":1}}"},"finish_reason":"stop"}]}`, Proven},
		{"embeddings", OpenAIEmbeddings, false, `{"data":[{"embedding":[1]}]}`, Proven},
		{"no embeddings", OpenAIEmbeddings, false, `{"data":[],"model":"m"}`, Disproven},
		{"responses", OpenAIResponses, false, `{"status":"completed","error":null,"output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}]}`, Proven},
		{"responses cut by its limit", OpenAIResponses, false, `{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[{}]}`, Proven},
		{"responses failed", OpenAIResponses, false, `{"status":"failed","error":null,"output":[]}`, Disproven},
		{"responses cancelled", OpenAIResponses, false, `{"status":"cancelled","output":[{}]}`, Disproven},
		{"responses queued", OpenAIResponses, false, `{"status":"queued","output":[]}`, Disproven},
		{"responses in progress", OpenAIResponses, false, `{"status":"in_progress","output":[{}]}`, Disproven},
		{"responses refused", OpenAIResponses, false, `{"status":"completed","output":[{"content":[{"type":"refusal","refusal":"no"}]}]}`, Passing},
		{"anthropic", Anthropic, false, `{"type":"message","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn"}`, Proven},
		{"anthropic paused", Anthropic, false, `{"type":"message","content":[{"type":"server_tool_use"}],"stop_reason":"pause_turn"}`, Passing},
		{"anthropic without content", Anthropic, false, `{"type":"message","content":[],"stop_reason":"end_turn"}`, Passing},
		{"gemini", Gemini, false, `{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}]}`, Proven},
		{"gemini blocked", Gemini, false, `{"promptFeedback":{"blockReason":"SAFETY"}}`, Passing},
		{"gemini malformed call", Gemini, false, `{"candidates":[{"content":{},"finishReason":"MALFORMED_FUNCTION_CALL"}]}`, Passing},
		{"gemini's other end", Gemini, false, `{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"OTHER"}]}`, Unproven},
		{"cohere", Cohere, false, `{"message":{"content":[{"text":"hi"}]},"finish_reason":"COMPLETE"}`, Proven},
		{"cohere failed", Cohere, false, `{"message":{"content":[]},"finish_reason":"ERROR"}`, Disproven},
		{"cohere timed out", Cohere, false, `{"message":{"content":[{"text":"hi"}]},"finish_reason":"TIMEOUT"}`, Disproven},
		{"ranks", Cohere, false, `{"results":[{"index":0,"relevance_score":0.9}]}`, Proven},
		{"converse", Bedrock, false, `{"output":{"message":{"content":[{"text":"hi"}]}},"stopReason":"end_turn"}`, Proven},
		{"ollama", Ollama, false, `{"model":"l","message":{"role":"assistant","content":"hi"},"done":true,"done_reason":"stop"}`, Proven},
		{"ollama loaded", Ollama, false, `{"model":"l","response":"","done":true,"done_reason":"load"}`, Passing},

		// Streams.
		{"a stream", OpenAIChat, true, sse(role, word, stop, usage, `[DONE]`), Proven},
		{"without its mark", OpenAIChat, true, sse(role, word, stop), Proven},
		{"ended by the usage", OpenAIChat, true, sse(role, word, usage), Proven},
		{"usage before content", OpenAIChat, true, sse(usage, role), Unproven}, // truncated
		{"without its end", OpenAIChat, true, sse(role, word), Unproven},
		{"an unknown end", OpenAIChat, true, sse(word, `{"choices":[{"delta":{},"finish_reason":"wall_reached"}]}`, `[DONE]`), Unproven},
		{"filtered", OpenAIChat, true, sse(word, `{"choices":[{"delta":{},"finish_reason":"content_filter"}]}`, `[DONE]`), Passing},
		{"no content", OpenAIChat, true, sse(role, stop, `[DONE]`), Passing},
		{"a mark alone", OpenAIChat, true, sse(`[DONE]`), Disproven},
		{"a mark after the role", OpenAIChat, true, sse(role, `[DONE]`), Disproven},
		{"a mark after a comment", OpenAIChat, true, ": hi\n\n" + sse(`[DONE]`), Disproven},
		{"a failed end", OpenAIChat, true, sse(role, word, `{"choices":[{"delta":{},"finish_reason":"insufficient_system_resource"}]}`, `[DONE]`), Disproven},
		{"a code", OpenAIChat, true, sse(`{"code":"1302","message":"x"}`), Disproven},
		{"base_resp", OpenAIChat, true, sse(`{"base_resp":{"status_code":1013}}`), Disproven},
		{"a text", OpenAIChat, true, sse(`upstream connect error`), Disproven},
		{"strings", OpenAIChat, true, sse(`"a"`, `"b"`), Unproven},
		{"a text without a frame", OpenAIChat, true, "upstream connect error", Disproven},
		{"a page", OpenAIChat, true, "<html></html>", Disproven},
		{"errors in quotes", OpenAIChat, true, sse(`{"choices":[{"delta":{"content":"\"error\": {\"code\":1}"}}]}`, stop, `[DONE]`), Proven},
		{"keep-alives", OpenAIChat, true, ": keep-alive\n\n" + sse(role) + ": keep-alive\n\n" + sse(word, stop, `[DONE]`), Proven},
		{"strangers", OpenAIChat, true, sse(`{"piece":"a"}`, `{"piece":"b"}`), Unproven},
		{"a document", OpenAIChat, true, content, Passing},
		{"a failed document", OpenAIChat, true, `{"code":1,"message":"x"}`, Disproven},
		{"half a document", OpenAIChat, true, content[:30], Unproven},
		{"anthropic", Anthropic, true, typed("message_start", `,"message":{"id":"m","content":[]}`) + typed("content_block_delta", `,"delta":{"text":"hi"}`) + typed("message_delta", `,"delta":{"stop_reason":"end_turn"}`) + typed("message_stop", ""), Proven},
		{"anthropic whose last data is cut", Anthropic, true, typed("message_start", `,"message":{"id":"m"}`) + typed("content_block_delta", `,"delta":{"text":"hi"}`) + "event: message_stop\ndata: {\"ty", Proven},
		{"anthropic with OpenAI's mark", Anthropic, true, typed("message_start", `,"message":{"id":"m"}`) + typed("content_block_delta", `,"delta":{"text":"hi"}`) + sse(`[DONE]`), Disproven},
		{"anthropic without content", Anthropic, true, typed("message_start", `,"message":{"id":"m"}`) + typed("message_stop", ""), Disproven},
		{"anthropic refused", Anthropic, true, typed("content_block_delta", `,"delta":{"text":"hi"}`) + typed("message_delta", `,"delta":{"stop_reason":"refusal"}`) + typed("message_stop", ""), Passing},
		{"responses", OpenAIResponses, true, typed("response.created", `,"response":{"status":"in_progress","output":[]}`) + typed("response.output_text.delta", `,"delta":"hi"`) + typed("response.completed", `,"response":{"status":"completed","output":[{}]}`), Proven},
		{"responses that run code", OpenAIResponses, true, typed("response.code_interpreter_call_code.done", `,"code":"print(1)"`) + typed("response.output_text.delta", `,"delta":"hi"`) + typed("response.completed", `,"response":{"output":[{}]}`), Proven},
		{"responses with OpenAI's mark", OpenAIResponses, true, typed("response.created", "") + sse(`[DONE]`), Disproven},
		{"gemini", Gemini, true, sse(`{"candidates":[{}]}`, `{"candidates":[{"content":{"parts":[{"text":"hi"}]}}]}`, `{"candidates":[{"content":{},"finishReason":"STOP"}]}`), Proven},
		{"gemini as an array", Gemini, true, `[{"candidates":[{"content":{"parts":[{"text":"hi"}]}}]},{"candidates":[{"finishReason":"STOP"}]}]`, Proven},
		{"gemini as an array that fails", Gemini, true, `[{"candidates":[{"content":{"parts":[{"text":"hi"}]}}]},{"error":{"code":503}}]`, Disproven},
		{"gemini with OpenAI's mark", Gemini, true, sse(`{"candidates":[{}]}`, `[DONE]`), Disproven},
		{"gemini and the mark behind its end", Gemini, true, sse(`{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}]}`, `[DONE]`), Proven},
		{"choices on another's path", Anthropic, true, sse(word, stop, `[DONE]`), Proven},
		{"cohere", Cohere, true, typed("message-start", "") + typed("content-delta", `,"delta":{"message":{"content":{"text":"hi"}}}`) + typed("message-end", `,"delta":{"finish_reason":"COMPLETE"}`) + sse(`[DONE]`), Proven},
		{"ollama", Ollama, true, `{"message":{"content":"hi"},"done":false}` + "\n" + `{"message":{"content":""},"done":true,"done_reason":"stop"}` + "\n", Proven},
		{"a line of text", Ollama, true, "not now\n", Disproven},
	} {
		media := "application/json"
		if tt.stream {
			media = "text/event-stream"
			if tt.format == Ollama {
				media = "application/x-ndjson"
			}
		}
		r := Route{Format: tt.format, Inference: true}
		for _, piece := range []int{1, 7, 1 << 20} {
			got, failure := proofOf(r, media, tt.stream, false, []byte(tt.body), piece)
			if got != tt.want {
				t.Errorf("%s (format %d, stream %v) in pieces of %d: proof %d, want %d", tt.name, tt.format, tt.stream, piece, got, tt.want)
			}
			if (failure != "") != (got == Disproven) && tt.body != "" {
				t.Errorf("%s: proof %d with failure %q", tt.name, got, failure)
			}
		}
	}
	// What is made later was asked for.
	for _, status := range []string{"queued", "in_progress"} {
		if got, _ := proofOf(Route{Format: OpenAIResponses}, "application/json", false, true, []byte(`{"status":"`+status+`","output":[]}`), 9); got != Passing {
			t.Errorf("%s in the background: proof %d, want %d", status, got, Passing)
		}
	}
	if got, _ := proofOf(Route{Format: OpenAIChat}, "audio/mpeg", false, false, []byte("ID3"), 9); got != Passing {
		t.Errorf("speech: proof %d, want %d", got, Passing)
	}
}

// The class of what fails without an error is that of what it names.
func TestProofClass(t *testing.T) {
	for body, want := range map[string]Class{
		`{"code":50602,"message":"TPM limit reached, rate limiting","data":null}`:                           RateLimited,
		`{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}`:                            QuotaExhausted,
		`{"detail":"model is overloaded"}`:                                                                  Overloaded,
		`{"choices":[{"message":{"content":""},"finish_reason":"insufficient_system_resource"}]}`:           Overloaded,
		`{"choices":[{"message":{"content":"` + strings.Repeat("x", 9000) + `"},"finish_reason":"error"}]}`: ServerError,
		`{}`: ServerError, `{"choices":null}`: ServerError, ``: ServerError,
	} {
		r := Route{Format: OpenAIChat, Inference: true}
		proof, failure := proofOf(r, "application/json", false, false, []byte(body), 1<<20)
		v := ClassifyEvent(r, "", nil, []byte(failure), localTime)
		if proof != Disproven || v.Class != want {
			t.Errorf("%.80s: proof %d, class %d, want %d", body, proof, v.Class, want)
		}
	}
}

// Nothing without a member of an answer is ever kept, however it is cut.
func FuzzProof(f *testing.F) {
	for _, s := range []string{
		`{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}`, "data: {\"choices\":[]}\n\ndata: [DONE]\n\n", `{"status":"queued"}`,
		`[{"candidates":[{"finishReason":"STOP"}]}]`, "event: message_stop\ndata: {", `{"a":{"content":"x"}}`, `{"base_resp":{"status_code":"1"}}`,
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\"}\n\nevent: message_stop\ndata: {}\n\n", `{"id":"x","usage":{"prompt_tokens":1}}`, "{\"done\":true}\n",
	} {
		for format := OpenAIChat; format <= Ollama; format++ {
			f.Add(uint8(format), true, []byte(s))
		}
		f.Add(uint8(OpenAIChat), false, []byte(s))
	}
	names := []string{
		"content", "choices", "text", "output", "data", "embedding", "results", "predictions", "generation", "completion", "response", "thinking",
		"message", "tool_calls", "delta", "Delta", "parts", "bytes",
	}
	f.Fuzz(func(t *testing.T, format uint8, stream bool, body []byte) {
		r := Route{Format: Format(format % uint8(Ollama+1)), Inference: true}
		media := "application/json"
		if stream {
			media = ""
		}
		whole, failure := proofOf(r, media, stream, false, body, max(len(body), 1))
		if again, other := proofOf(r, media, stream, false, body, 1); again != whole || other != failure {
			t.Fatalf("proof %d %q whole, %d %q in bytes", whole, failure, again, other)
		}
		if whole == Disproven && len(body) > 0 && failure == "" {
			t.Fatal("a failure that says nothing")
		}
		if whole != Proven || bytes.Contains(body, []byte(`\`)) {
			return
		}
		for _, name := range names {
			if bytes.Contains(body, []byte(name)) {
				return
			}
		}
		t.Fatalf("%q is proven", body)
	})
}
