package dialect

import (
	"net/url"
	"testing"
)

func TestRouteOf(t *testing.T) {
	infers := func(f Format, model, suffix string) Route {
		return Route{Format: f, Inference: true, Model: model, Suffix: suffix}
	}
	streams := func(f Format, model, suffix string) Route {
		return Route{Format: f, Inference: true, Model: model, Suffix: suffix, Stream: true}
	}
	for path, want := range map[string]Route{
		"/v1/chat/completions":                            infers(OpenAIChat, "", "chat/completions"),
		"/chat/completions":                               infers(OpenAIChat, "", "chat/completions"),
		"chat/completions":                                infers(OpenAIChat, "", "chat/completions"),
		"/v1/chat/completions/":                           infers(OpenAIChat, "", "chat/completions"),
		"/openai/v1/chat/completions":                     infers(OpenAIChat, "", "chat/completions"),
		"/api/v1/chat/completions":                        infers(OpenAIChat, "", "chat/completions"),
		"/v1beta/openai/chat/completions":                 infers(OpenAIChat, "", "chat/completions"),
		"/v1/acct/gw/openai/chat/completions":             infers(OpenAIChat, "", "chat/completions"),
		"/v1/completions":                                 infers(OpenAIChat, "", "completions"),
		"/completions":                                    infers(OpenAIChat, "", "completions"),
		"/v1/fim/completions":                             infers(OpenAIChat, "", "fim/completions"),
		"/inference/v1/completions":                       infers(OpenAIChat, "", "completions"),
		"/v1/responses":                                   infers(OpenAIResponses, "", "responses"),
		"/openai/v1/responses":                            infers(OpenAIResponses, "", "responses"),
		"/openai/responses":                               infers(OpenAIResponses, "", "responses"),
		"/v1/embeddings":                                  infers(OpenAIEmbeddings, "", "embeddings"),
		"/v1/images/generations":                          infers(Unknown, "", "images/generations"),
		"/v1/audio/speech":                                infers(Unknown, "", "audio/speech"),
		"/v1/audio/transcriptions":                        infers(Unknown, "", "audio/transcriptions"),
		"/v1/moderations":                                 infers(Unknown, "", "moderations"),
		"/v1/rerank":                                      infers(Cohere, "", "rerank"),
		"/v2/chat":                                        infers(Cohere, "", "chat"),
		"/v1/chat":                                        infers(Cohere, "", "chat"),
		"/v2/embed":                                       infers(Cohere, "", "embed"),
		"/v1/messages":                                    infers(Anthropic, "", "messages"),
		"/anthropic/v1/messages":                          infers(Anthropic, "", "messages"),
		"/api/chat":                                       infers(Ollama, "", "api/chat"),
		"/ollama/api/generate":                            infers(Ollama, "", "api/generate"),
		"/api/embed":                                      infers(Ollama, "", "api/embed"),
		"/api/embeddings":                                 infers(Ollama, "", "api/embeddings"),
		"/openai/deployments/d/embeddings":                infers(OpenAIEmbeddings, "d", "embeddings"),
		"/openai/deployments/gpt-4o/responses":            {},
		"/gw/openai/deployments/gpt-4o/chat/completions":  infers(OpenAIChat, "gpt-4o", "chat/completions"),
		"/openai/deployments/dalle/images/generations":    infers(Unknown, "dalle", "images/generations"),
		"/v1beta/models/gemini-2.5-flash:generateContent": infers(Gemini, "gemini-2.5-flash", "models/gemini-2.5-flash:generateContent"),
		"/v1beta/models/m:streamGenerateContent":          streams(Gemini, "m", "models/m:streamGenerateContent"),
		"/v1beta/tunedModels/m:generateContent":           infers(Gemini, "m", "tunedModels/m:generateContent"),
		"/v1beta/models/m:batchEmbedContents":             infers(Gemini, "m", "models/m:batchEmbedContents"),
		"/v1/projects/p/locations/l/publishers/google/models/m:generateContent":       infers(Gemini, "m", "models/m:generateContent"),
		"/v1/projects/p/locations/l/publishers/anthropic/models/c@1:streamRawPredict": streams(Anthropic, "c@1", "models/c@1:streamRawPredict"),
		"/v1/projects/p/locations/l/endpoints/e:predict":                              infers(Gemini, "e", "endpoints/e:predict"),
		"/model/anthropic.claude-v1:0/converse":                                       infers(Bedrock, "anthropic.claude-v1:0", "model/anthropic.claude-v1:0/converse"),
		"/model/m/converse-stream":                                                    streams(Bedrock, "m", "model/m/converse-stream"),
		"/model/m/invoke":                                                             infers(Bedrock, "m", "model/m/invoke"),
		"/gw/model/m/invoke-with-response-stream":                                     streams(Bedrock, "m", "model/m/invoke-with-response-stream"),
		"/model/arn:aws:bedrock:r:1:inference-profile/us.m/converse":                  infers(Bedrock, "arn:aws:bedrock:r:1:inference-profile/us.m", "model/arn:aws:bedrock:r:1:inference-profile/us.m/converse"),

		// What creates something, asks no model, or is another API.
		"": {}, "/": {}, "//": {}, "/v1": {}, "/v1/": {}, "/model/converse": {}, "/model//converse": {}, "/converse": {},
		"/v1/files": {}, "/v1/batches": {}, "/v1/fine_tuning/jobs": {}, "/v1/assistants": {}, "/v1/uploads": {},
		"/v1/threads": {}, "/v1/threads/thread_1/messages": {}, "/v1/threads/thread_1/runs": {}, "/v1/threads/runs": {},
		"/v1/responses/resp_1/cancel": {}, "/v1/chat/completions/chatcmpl_1": {}, "/v1/models": {}, "/v1/videos": {},
		"/v1/messages/batches": {}, "/v1/messages/count_tokens": {}, "/v1beta/interactions": {},
		"/api/v10/channels/123/messages": {}, "/v17.0/15550001/messages": {}, "/forms/f1/responses": {},
		"/v1beta/models/m:countTokens": {}, "/v1beta/models/m:batchGenerateContent": {}, "/v1beta/models/m:predictLongRunning": {},
		"/v1beta/models/:generateContent": {}, "/v1beta/models/m": {}, "/v1/documents/d:predict": {},
		"/model/m/async-invoke": {}, "/api/pull": {}, "/api/create": {}, "/chat": {}, "/generate": {}, "/v1/images": {},
		"/orders/generations": {}, "/users/speech": {},
	} {
		u := &url.URL{Path: path}
		if got := RouteOf("POST", u); got != want {
			t.Errorf("POST %s\n got %+v\nwant %+v", path, got, want)
		}
		for _, method := range []string{"", "GET", "PUT", "DELETE", "post"} {
			if got := RouteOf(method, u); got != (Route{}) {
				t.Errorf("%s %s is taken for %+v", method, path, got)
			}
		}
	}
	if got := RouteOf("POST", nil); got != (Route{}) {
		t.Errorf("nil URL: %+v", got)
	}
}

func TestRouteOfAllocates(t *testing.T) {
	for _, path := range []string{
		"/v1/chat/completions", "/openai/deployments/d/chat/completions", "/v1beta/models/m:streamGenerateContent",
		"/model/m/converse", "/api/chat", "/v1/files/f",
	} {
		u := &url.URL{Path: path}
		if n := testing.AllocsPerRun(100, func() { RouteOf("POST", u) }); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

func BenchmarkRouteOf(b *testing.B) {
	u := &url.URL{Path: "/openai/v1/chat/completions"}
	b.ReportAllocs()
	for b.Loop() {
		RouteOf("POST", u)
	}
}

// Only some answers are made of tokens.
func TestGenerates(t *testing.T) {
	for path, want := range map[string]bool{
		"/v1/chat/completions": true, "/v1/responses": true, "/v1/messages": true, "/api/chat": true, "/api/generate": true,
		"/v1beta/models/g:generateContent": true, "/v1beta/models/g:streamGenerateContent": true, "/v2/chat": true, "/model/m/converse": true,
		"/v1/embeddings": false, "/v1beta/models/g:embedContent": false, "/v1beta/models/g:batchEmbedContents": false,
		"/v2/embed": false, "/v2/rerank": false, "/api/embed": false, "/v1/moderations": false, "/v1/images/generations": false, "/v1/files": false,
	} {
		if r := RouteOf("POST", &url.URL{Path: path}); r.Generates() != want {
			t.Errorf("POST %s generates = %v, want %v (%+v)", path, !want, want, r)
		}
	}
}

// A path that another service could have is inference only where the body names
// a model, or is a prompt of the format.
func TestAsks(t *testing.T) {
	for _, tt := range []struct {
		path, body string
		want       bool
	}{
		{"/v1/messages", `{"model":"claude-sonnet-4","max_tokens":1,"messages":[]}`, true},
		{"/v1/messages", `{"from":"Acme","to":"447700900000","text":"hi"}`, false},
		{"/v1/messages", ``, false},
		{"/v1/chat/completions", `{"messages":[]}`, true},
		{"/v1/chat/completions", ``, true},
		{"/v1/files", `{"model":"gpt-4o"}`, false},
		{"/v1/responses", `{"model":"gpt-4o","input":"hi"}`, true},
		{"/v1/responses", `{"input":[{"role":"user","content":"hi"}]}`, true},
		{"/v1/responses", `{"input":[{"type":"message","content":"hi"}]}`, true},
		{"/v1/responses", `{"prompt":{"id":"pmpt_1"}}`, true},
		{"/v1/responses", ``, true}, // not at hand
		{"/v1/responses", `{"survey":7,"answers":["yes","no"]}`, false},
		{"/v1/responses", `{"input":[{"question":1,"answer":"yes"}]}`, false},
		{"/v1/responses", `q1=yes&q2=no`, false},
		{"/api/chat", `{"model":"l","messages":[{"role":"user","content":"hi"}]}`, true},
		{"/api/chat", `{"room":4,"message":"hello"}`, false},
		{"/api/chat", `{"messages":[{"role":"user","content":"hello"}],"id":"thread"}`, false}, // Ollama wants a model: this is an application's own route
		{"/api/generate", `{"report":"march"}`, false},
		{"/api/generate", `{"model":"l","prompt":"hi"}`, true},
		{"/v1/embed", `{"texts":["a"]}`, true},
		{"/v1/embed", `{"url":"https://example.com/video"}`, false},
		{"/v1/chat", `{"room":4,"message":"hello"}`, false},
		{"/v1/chat", `{"message":"hello","chat_history":[{"role":"USER","message":"hi"}]}`, true},
		{"/v2/chat", `{"messages":[{"role":"user","content":"hi"}]}`, true},
		{"/v1/rerank", `{"query":"q","documents":["a","b"]}`, true},
		{"/tasks/42/completions", `{"done":true}`, false},
		{"/v1/completions", `{"prompt":"hi"}`, true},
		{"/v1/completions", `{"model":"m"}`, true},
		{"/v1beta/models/g:generateContent", `{"contents":[]}`, true},
		{"/v1/audio/transcriptions", `--b`, true},
	} {
		r := RouteOf("POST", &url.URL{Path: tt.path})
		for _, p := range []Prompt{r.ReadPrompt([]byte(tt.body)), r.SkimPrompt([]byte(tt.body))} {
			if got := r.Asks(p); got != tt.want {
				t.Errorf("POST %s %s asks = %v, want %v", tt.path, tt.body, got, tt.want)
			}
		}
	}
}
