package dialect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestReadPrompt(t *testing.T) {
	openai := Route{Format: OpenAIChat, Inference: true, Suffix: "chat/completions"}
	ollama := Route{Format: Ollama, Inference: true, Suffix: "api/chat"}
	media := strings.Repeat("iVBORw0KGgo", 1000)
	for _, tt := range []struct {
		name  string
		route Route
		body  string
		want  Prompt
	}{
		{"empty", openai, ``, Prompt{}},
		{"no object", openai, `[1]`, Prompt{}},
		{"html", openai, `<html>`, Prompt{}},
		{"chat", openai, `{"model":"gpt-4o","messages":[{"role":"user","content":"12345678"}],"stream":true,"max_tokens":100}`,
			Prompt{Model: "gpt-4o", Stream: true, Input: 3, MaxOutput: 100}},
		{"blanks", openai, " {\n\t\"model\" : \"m\" ,\r\n \"messages\" : [ { \"content\" : \"1234\" } ] , \"stream\" : true }",
			Prompt{Model: "m", Stream: true, Input: 1}},
		{"names of a deeper level", openai, `{"metadata":{"model":"no","max_tokens":7,"stream":true},"model":"m"}`, Prompt{Model: "m"}},
		{"escaped name and model", openai, `{"mod\u0065l":"a\"\u00e9"}`, Prompt{Model: "a\"é"}},
		{"the last of two models", openai, `{"model":"a","model":"b"}`, Prompt{Model: "b"}},
		{"model of the path", Route{Format: OpenAIChat, Model: "dep"}, `{"model":"m"}`, Prompt{Model: "dep"}},
		{"model that is none", openai, `{"model":{"model":"x"},"max_tokens":5}`, Prompt{MaxOutput: 5}},
		{"endless model", openai, `{"model":"` + strings.Repeat("m", 300) + `","max_tokens":5}`, Prompt{MaxOutput: 5}},
		{"path stream", Route{Format: Gemini, Stream: true, Model: "g"}, `{"stream":false}`, Prompt{Model: "g", Stream: true}},
		{"stream that is none", openai, `{"stream":"true"}`, Prompt{}},
		{"stream null", ollama, `{"stream":null}`, Prompt{Stream: true}},
		{"ollama", ollama, `{"model":"l","messages":[]}`, Prompt{Model: "l", Stream: true}},
		{"ollama unary", ollama, `{"model":"l","stream":false}`, Prompt{Model: "l"}},
		{"ollama embed", Route{Format: Ollama, Suffix: "api/embed"}, `{"model":"l","input":["1234"]}`, Prompt{Model: "l", Input: 1}},
		{"background", Route{Format: OpenAIResponses}, `{"model":"m","input":"12345","background":true}`, Prompt{Model: "m", Input: 2, Lasting: true}},

		{"max_completion_tokens", openai, `{"max_completion_tokens":7}`, Prompt{MaxOutput: 7}},
		{"max_output_tokens", openai, `{"max_output_tokens":7}`, Prompt{MaxOutput: 7}},
		{"the larger of two", openai, `{"max_completion_tokens":9,"max_tokens":7}`, Prompt{MaxOutput: 9}},
		{"generationConfig", openai, `{"generationConfig":{"stop":{"maxOutputTokens":1},"maxOutputTokens":7,"candidateCount":2}}`, Prompt{MaxOutput: 14}},
		{"inferenceConfig", openai, `{"inferenceConfig":{"maxTokens":7}}`, Prompt{MaxOutput: 7}},
		{"num_predict", ollama, `{"options":{"num_predict":7}}`, Prompt{Stream: true, MaxOutput: 7}},
		{"num_predict without limit", ollama, `{"options":{"num_predict":-1}}`, Prompt{Stream: true}},
		{"options that are none", ollama, `{"options":[{"num_predict":7}],"stream":false}`, Prompt{}},
		{"n", openai, `{"n":3,"max_tokens":10}`, Prompt{MaxOutput: 30}},
		{"best_of after", openai, `{"max_tokens":10,"n":2,"best_of":5}`, Prompt{MaxOutput: 50}},
		{"n of none", openai, `{"max_tokens":10,"n":0}`, Prompt{MaxOutput: 10}},
		{"hostile numbers", openai, `{"max_tokens":1e300,"n":1e300}`, Prompt{MaxOutput: 1 << 30}},
		{"negative", openai, `{"max_tokens":-5,"n":-1}`, Prompt{}},
		{"numbers that are none", openai, `{"max_tokens":"5","n":[7]}`, Prompt{}},

		{"every text", openai, `{"system":"1234","instructions":"1234","input":["1234"],"prompt":"1234","contents":[{"parts":[{"text":"1234"}]}],"texts":["1234"],"documents":[{"d":"1234"}],"query":"1234"}`, Prompt{Input: 8}},
		{"escapes", openai, `{"prompt":"\n\n\u00e9"}`, Prompt{Input: 1}},
		{"few escapes", openai, `{"prompt":"a line of twenty-two b\n"}`, Prompt{Input: 6}},
		{"many escapes", openai, `{"prompt":"a\nb\nc\nd\n"}`, Prompt{Input: 2}},
		{"escaped Russian", openai, `{"prompt":"` + strings.Repeat(`\u0434\u0430 `, 40) + `"}`, Prompt{Input: 50}},
		{"escaped Chinese", openai, `{"prompt":"\u4e2d\u6587\u4e2d\u6587"}`, Prompt{Input: 3}},
		{"names in messages", openai, `{"messages":[{"a name that is long":"1234"}]}`, Prompt{Input: 1}},
		{"names in tools", openai, `{"tools":[{"name":"1234"}]}`, Prompt{Input: 2}},
		{"token ids", openai, `{"input":[1,22,333]}`, Prompt{Input: 3}},
		{"text beyond a null", openai, `{"system":null,"prompt":"1234"}`, Prompt{Input: 1}},

		{"data URL", openai, `{"messages":[{"content":[{"type":"1234","image_url":{"url":"data:image/png;base64,` + media + `"}}]}]}`, Prompt{Input: 1001}},
		{"data URL in Responses", openai, `{"input":[{"image_url":"data:image\/png;base64,` + media + `"}]}`, Prompt{Input: 1000}},
		{"text about a data URL", openai, `{"prompt":"data: ` + strings.Repeat("1234", 100) + `"}`, Prompt{Input: 102}},
		{"Gemini", openai, `{"contents":[{"parts":[{"inlineData":{"data":"` + media + `"}},{"text":"1234"}]}]}`, Prompt{Input: 1001}},
		{"Bedrock", openai, `{"messages":[{"content":[{"image":{"source":{"bytes":"` + media + `"}}}]}]}`, Prompt{Input: 1000}},
		{"Ollama images", ollama, `{"prompt":"1234","images":["` + media + `","` + media + `"]}`, Prompt{Stream: true, Input: 2001}},
		{"images in a message", ollama, `{"messages":[{"images":["` + media + `"],"content":"1234"}]}`, Prompt{Stream: true, Input: 1001}},
		{"prose under data", openai, `{"messages":[{"data":"` + strings.Repeat("abc ", 100) + `"}]}`, Prompt{Input: 100}},
		{"short data", openai, `{"messages":[{"data":"abcd"}]}`, Prompt{Input: 1}},
		{"base64 as text", openai, `{"prompt":"` + strings.Repeat("abcd", 100) + `"}`, Prompt{Input: 100}},

		{"cut", openai, `{"model":"m","max_tokens":5,"messages":[{"content":"12345678"},{"content":"12`, Prompt{Model: "m", Input: 2, MaxOutput: 5}},
		{"unbalanced", openai, `{"messages":]}}}`, Prompt{}},
		{"deep", openai, `{"messages":` + strings.Repeat("[", 1<<20), Prompt{}},
	} {
		got := tt.route.ReadPrompt([]byte(tt.body))
		got.Other = false // TestAsks has its own bodies
		if got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func FuzzPrompt(f *testing.F) {
	for _, body := range []string{ // short ones: the fuzzer spends its time on making long ones shorter
		`{"model":"gpt","messages":[{"role":"user","content":"a\n\u00e9"}],"stream":true,"max_tokens":5,"n":2}`,
		`{"model":"a","model":null,"x":{"model":"b"}}`, `{"model":"\ud800"}`, `{"model":"m"`, `{"messages":[{"content":"\"`,
		`{"n":1e9,"max_tokens":1e9}`, `{"options":{"num_predict":-1},"tools":[{"a":1}],"images":["x"]}`, `{"stream":false,"mod\u0065l":"x"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		p := Route{Format: OpenAIChat}.ReadPrompt(body)
		if !bytes.Equal(body, before) {
			t.Fatal("the body has changed")
		}
		if p.Input < 0 || p.Input > len(body)*4 || p.MaxOutput < 0 || p.MaxOutput > 1<<30 {
			t.Fatalf("%+v", p)
		}
		var doc map[string]any
		if !utf8.Valid(body) || json.Unmarshal(body, &doc) != nil {
			return
		}
		// The last string wins here, the last value of any type there.
		model, ok := doc["model"].(string)
		if ok && len(model) < maxModel/6 && p.Model != model {
			t.Fatalf("model %q, want %q", p.Model, model)
		}
		p.Input, p.MaxOutput = 0, 0
		if q := (Route{Format: OpenAIChat}).SkimPrompt(body); q != p {
			t.Fatalf("skimmed %+v, want %+v", q, p)
		}
		if stream, ok := doc["stream"].(bool); ok && p.Stream != stream {
			t.Fatalf("stream %v, want %v", p.Stream, stream)
		}
	})
}

// promptBodies are what real calls look like, of 2 KiB each.
func promptBodies() map[string][]byte {
	const kb = 2048
	long := strings.Repeat("a prompt of plain prose without any line ends ", kb/46)
	oneString := `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"` + long + `"}]}`
	var chat strings.Builder
	chat.WriteString(`{"model":"gpt-4o-mini","stream":true,"messages":[`)
	for chat.Len() < kb-120 {
		chat.WriteString(`{"role":"user","content":"What does this print?\n\n` + "```go" + `\nfmt.Println(\"hello, world\")\n` + "```" + `\nIt is a line of some more words."},`)
	}
	chat.WriteString(`{"role":"user","content":"Thanks."}],"max_tokens":256}`)
	var tools strings.Builder
	tools.WriteString(`{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Weather in Paris?"}],"tools":[`)
	for i := 0; tools.Len() < kb-300; i++ {
		fmt.Fprintf(&tools, `{"type":"function","function":{"name":"get_weather_%d","description":"The weather at a place.","parameters":{"type":"object","properties":{"location":{"type":"string","description":"City and country"},"unit":{"type":"string","enum":["celsius","fahrenheit"]}},"required":["location"],"additionalProperties":false}}},`, i)
	}
	tools.WriteString(`{"type":"function","function":{"name":"last"}}],"tool_choice":"auto"}`)
	return map[string][]byte{"string": []byte(oneString), "chat": []byte(chat.String()), "tools": []byte(tools.String())}
}

func TestReadPromptAllocates(t *testing.T) {
	for name, body := range promptBodies() {
		if !json.Valid(body) {
			t.Fatalf("%s is no JSON", name)
		}
		if n := testing.AllocsPerRun(100, func() { Route{Format: OpenAIChat}.ReadPrompt(body) }); n > 1 { // the model
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkReadPrompt(b *testing.B) {
	for name, body := range promptBodies() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				Route{Format: OpenAIChat}.ReadPrompt(body)
			}
		})
	}
}

// Skimming finds the same model, wherever it stands, and never one that is not
// the document's own.
func TestSkimPrompt(t *testing.T) {
	long := strings.Repeat("x", 1<<10)
	for _, tt := range []struct {
		name, path, body string
		model            string
		stream           bool
	}{
		{"before the texts", "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`, "m", false},
		{"behind them", "/v1/chat/completions", `{"messages":[{"role":"user","content":"hi"}],"model":"m"}`, "m", false},
		{"stream before", "/v1/chat/completions", `{"stream":true,"model":"m","messages":[]}`, "m", true},
		{"stream behind", "/v1/chat/completions", `{"messages":[],"model":"m","stream":true}`, "m", true},
		{"tools behind it", "/v1/chat/completions", `{"messages":[],"model":"m","tools":[{"function":{"parameters":{"properties":{"a":{}}}}}] } `, "m", false},
		{"far behind it", "/v1/chat/completions", `{"messages":[],"model":"m","tools":["` + long + `"]}`, "m", false},
		{"a tool's parameter", "/v1/chat/completions", `{"messages":[],"model":"m","tools":[{"properties":{"model":"no"}}]}`, "m", false},
		{"a tool's parameter and none", "/v1/chat/completions", `{"messages":[],"tools":[{"properties":{"model":"no"}}]}`, "", false},
		{"in a string", "/v1/chat/completions", `{"model":"m2","messages":[{"content":"{\"model\":\"no\"}"}]}`, "m2", false},
		{"in a string behind", "/v1/chat/completions", `{"messages":[{"content":"hi"}],"model":"m","user":"\"model\":\"no\"}"}`, "m", false},
		{"a value", "/v1/chat/completions", `{"messages":[{"role":"model"}],"model":"m","user":"model"}`, "m", false},
		{"escaped", "/v1/chat/completions", `{"messages":[],"model":"a\u002fb"}`, "a/b", false},
		{"of another kind", "/v1/chat/completions", `{"messages":[],"model":{"id":"no"}}`, "", false},
		{"none", "/v1/chat/completions", `{"messages":[]}`, "", false},
		{"in the path", "/v1beta/models/g:generateContent", `{"contents":[{"role":"model"}]}`, "g", false},
		{"Anthropic", "/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"hi"}],"model":"c","stream":true}`, "c", true},
		{"Ollama streams", "/api/chat", `{"model":"l","messages":[]}`, "l", true},
	} {
		r := RouteOf("POST", &url.URL{Path: tt.path})
		if p := r.SkimPrompt([]byte(tt.body)); p.Model != tt.model || p.Stream != tt.stream {
			t.Errorf("%s: model %q, stream %v; want %q, %v", tt.name, p.Model, p.Stream, tt.model, tt.stream)
		}
	}
}
