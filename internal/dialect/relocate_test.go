package dialect

import (
	"encoding/json"
	"net/url"
	"reflect"
	"testing"
)

func parseURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// A base URL is what an SDK takes: what the SDK appends to it is appended, and
// nothing twice.
func TestRelocate(t *testing.T) {
	const (
		openai = "https://api.openai.com/v1/chat/completions"
		claude = "https://api.anthropic.com/v1/messages"
		gemini = "https://generativelanguage.googleapis.com/v1beta/models/g:streamGenerateContent?alt=sse"
		vertex = "https://us-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google/models/g:generateContent"
		cohere = "https://api.cohere.com/v2/chat"
		ollama = "http://localhost:11434/api/chat"
		azure  = "https://a.openai.azure.com/openai/deployments/d/chat/completions?api-version=1"
		bed    = "https://bedrock-runtime.us-east-1.amazonaws.com/model/arn%3Aaws%3Abedrock%2Fx/converse"
	)
	for _, tt := range []struct{ from, base, model, want string }{
		{openai, "https://b.example.com/v1", "", "https://b.example.com/v1/chat/completions"},
		{openai, "https://b.example.com/v1/", "", "https://b.example.com/v1/chat/completions"},
		{openai, "https://b.example.com", "", "https://b.example.com/chat/completions"},
		{openai, "https://openrouter.ai/api/v1", "m", "https://openrouter.ai/api/v1/chat/completions"},
		{openai + "?x=1&y=2", "https://b.example.com/v1?y=3", "", "https://b.example.com/v1/chat/completions?y=3&x=1"},
		{openai, "https://u:p@b.example.com/v1", "", "https://u:p@b.example.com/v1/chat/completions"},
		{openai, "", "m", openai},
		{"https://a.example.com/v1/files?limit=2", "https://b.example.com/openai/v1", "m", "https://b.example.com/v1/files?limit=2"},
		{"https://a.example.com/v1/completions", "https://b.example.com/v1", "", "https://b.example.com/v1/completions"},
		{"https://a.example.com/v1/responses", "https://b.example.com/v1", "", "https://b.example.com/v1/responses"},
		{"https://a.example.com/v1/audio/speech", "https://b.example.com/v1", "", "https://b.example.com/v1/audio/speech"},

		{claude, "https://b.example.com", "", "https://b.example.com/v1/messages"},
		{claude, "https://b.example.com/anthropic", "", "https://b.example.com/anthropic/v1/messages"},
		{claude, "https://b.example.com/v1", "", "https://b.example.com/v1/messages"},
		{"https://a.example.com/anthropic/messages", "https://b.example.com", "", "https://b.example.com/v1/messages"},

		{gemini, "https://b.example.com", "", "https://b.example.com/v1beta/models/g:streamGenerateContent?alt=sse"},
		{gemini, "https://b.example.com/v1", "h", "https://b.example.com/v1/models/h:streamGenerateContent?alt=sse"},
		{gemini, "", "h", "https://generativelanguage.googleapis.com/v1beta/models/h:streamGenerateContent?alt=sse"},
		{gemini, "https://x.example.com/v1/projects/p/locations/l/publishers/google", "", "https://x.example.com/v1/projects/p/locations/l/publishers/google/models/g:streamGenerateContent?alt=sse"},
		{vertex, "https://generativelanguage.googleapis.com", "h", "https://generativelanguage.googleapis.com/v1beta/models/h:generateContent"},

		{cohere, "https://b.example.com", "", "https://b.example.com/v2/chat"},
		{"https://api.cohere.com/v1/chat", "https://b.example.com", "", "https://b.example.com/v1/chat"},
		{ollama, "http://other:11434", "m", "http://other:11434/api/chat"},

		{azure, "", "e", "https://a.openai.azure.com/openai/deployments/e/chat/completions?api-version=1"},
		{azure, "https://b.openai.azure.com/openai/deployments/e?api-version=2", "", "https://b.openai.azure.com/openai/deployments/e/chat/completions?api-version=2"},
		{azure, "https://b.openai.azure.com/openai", "", "https://b.openai.azure.com/openai/deployments/d/chat/completions?api-version=1"},
		{azure, "https://api.openai.com/v1", "", "https://api.openai.com/v1/chat/completions?api-version=1"},
		{openai, "https://b.openai.azure.com/openai?api-version=2", "e", "https://b.openai.azure.com/openai/deployments/e/chat/completions?api-version=2"},

		{bed, "", "m", "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse"},
		{bed, "", "a/b", "https://bedrock-runtime.us-east-1.amazonaws.com/model/a%2Fb/converse"},
		{bed, "https://bedrock-runtime.eu-west-1.amazonaws.com", "", "https://bedrock-runtime.eu-west-1.amazonaws.com/model/arn:aws:bedrock%2Fx/converse"},
	} {
		u := parseURL(t, tt.from)
		var base *url.URL
		if tt.base != "" {
			base = parseURL(t, tt.base)
		}
		before := *u
		got := RouteOf("POST", u).Relocate(u, base, tt.model)
		if got.String() != tt.want {
			t.Errorf("%s at %q for %q:\n got %s\nwant %s", tt.from, tt.base, tt.model, got, tt.want)
		}
		if !reflect.DeepEqual(*u, before) {
			t.Errorf("the request's own URL became %s", u)
		}
		// What is asked there is of the same format, and for the model.
		from, to := RouteOf("POST", u), RouteOf("POST", got)
		if to.Format != from.Format || to.Inference != from.Inference || to.Stream != from.Stream {
			t.Errorf("%s is another kind of request than %s", got, u)
		}
		if to.Model != "" && tt.model != "" && to.Model != tt.model {
			t.Errorf("%s asks for %q, want %q", got, to.Model, tt.model)
		}
	}
}

func TestSetModel(t *testing.T) {
	for _, tt := range []struct {
		body, model string
		insert      bool
		want        string // "" for a body that cannot be changed
	}{
		{`{"model":"a","messages":[]}`, "b", true, `{"model":"b","messages":[]}`},
		{"{ \"model\" :\t\"a\" , \"n\": 1.50e0}\n", "b", true, "{ \"model\" :\t\"b\" , \"n\": 1.50e0}\n"},
		{`{"messages":[{"model":"x"},"{\"model\":\"y\"}"],"model":"a"}`, "b", true, `{"messages":[{"model":"x"},"{\"model\":\"y\"}"],"model":"b"}`},
		{`{"model":"a","x":"\u00e9","model":"a2"}`, "b", true, `{"model":"b","x":"\u00e9","model":"b"}`},
		{`{"mod\u0065l":"a"}`, "b", true, `{"mod\u0065l":"b"}`},
		{`{"model":null}`, "b", true, `{"model":"b"}`},
		{`{"model":{"a":[1,{}]},"z":0}`, "b", true, `{"model":"b","z":0}`},
		{`{"model":""}`, `q"\<`, true, `{"model":"q\"\\\u003c"}`},
		{`{"x":1}`, "b", true, `{"model":"b","x":1}`},
		{` { } `, "b", true, ` {"model":"b" } `},
		{`{"x":1}`, "b", false, `{"x":1}`},
		{`{"model":"models/a"}`, "b", false, `{"model":"models/b"}`},
		{`{"model":"models/a"}`, "tunedModels/b", false, `{"model":"tunedModels/b"}`},
		{`[{"model":"a"}]`, "b", true, ""},
		{`{"model":"a"`, "b", true, ""},
		{`{"model":"a`, "b", true, ""},
		{``, "b", true, ""},
		{`--boundary`, "b", true, ""},
		{"\x1f\x8b\x08", "b", true, ""},
	} {
		in := []byte(tt.body)
		got, ok := SetModel(in, tt.model, tt.insert)
		if ok != (tt.want != "") || ok && string(got) != tt.want {
			t.Errorf("%s for %s:\n got %s, %v\nwant %s", tt.body, tt.model, got, ok, tt.want)
		}
		if string(in) != tt.body {
			t.Errorf("the body itself became %s", in)
		}
	}
}

// On every JSON object the result says what the object said, with the model.
func FuzzSetModel(f *testing.F) {
	for _, s := range []string{`{"model":"a","x":[1]}`, `{"x":{"model":1},"model":2}`, `{}`, `{"a":"\"model\":"}`, `{"a" : {} , "model":[[]]  }`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := SetModel(body, "b", true)
		var before, after map[string]json.RawMessage
		if json.Unmarshal(body, &before) != nil || before == nil {
			return
		}
		if !ok {
			t.Fatalf("refused %s", body)
		}
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%s became %s: %v", body, got, err)
		}
		was := before["model"]
		if s := string(after["model"]); s != `"b"` && !(s == `"models/b"` && len(was) > 7) {
			t.Fatalf("%s became %s", body, got)
		}
		delete(before, "model")
		delete(after, "model")
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("%s became %s", body, got)
		}
	})
}
