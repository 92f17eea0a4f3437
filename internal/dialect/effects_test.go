package dialect

import (
	"net/url"
	"testing"
)

func TestEffects(t *testing.T) {
	const (
		chat      = "/v1/chat/completions"
		responses = "/v1/responses"
		messages  = "/v1/messages"
		gemini    = "/v1beta/models/g:generateContent"
		converse  = "/model/m/converse"
		cohere    = "/v2/chat"
		ollama    = "/api/chat"
	)
	for _, tt := range []struct {
		path, body     string
		world, lasting string
	}{
		{chat, `{"model":"m","messages":[{"role":"user","content":"search the web, conversation, \"mcp_servers\":[1]"}],"temperature":0,"stop":["plugins"]}`, "", ""},
		{chat, `{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"web_search"}},{"type":"custom","custom":{"name":"x"}}]}`, "", ""},
		{messages, `{"model":"m","messages":[],"tools":[{"name":"computer","description":"d","input_schema":{"type":"object"}},{"type":"custom","name":"x","cache_control":{}}]}`, "", ""},
		{gemini, `{"contents":[],"tools":[{"functionDeclarations":[{"name":"f"}]},{"function_declarations":[]}]}`, "", ""},
		{converse, `{"messages":[],"toolConfig":{"tools":[{"toolSpec":{"name":"f"}},{"cachePoint":{"type":"default"}}]}}`, "", ""},
		{"/v1/chat", `{"message":"hi","chat_history":[],"tools":[{"name":"f","description":"d","parameter_definitions":{}}]}`, "", ""},
		{ollama, `{"model":"l","messages":[],"tools":[{"type":"function","function":{}}]}`, "", ""},
		{responses, `{"model":"m","input":"hi","store":false,"prompt":"text"}`, "", ""},
		{chat, `{"model":"m","messages":[],"plugins":[],"web_search_options":null,"enable_search":false,"agent_id":"","store":false}`, "", ""},

		{responses, `{"model":"m","input":"hi"}`, "store", ""},
		{responses, `{"model":"m","input":"hi","store":null}`, "store", ""},
		{responses, `{"model":"m","input":"hi","store":true}`, "store", ""},
		{responses, `{"model":"m","input":"hi","store":false,"previous_response_id":"r"}`, "previous_response_id", ""},
		{responses, `{"store":false,"input":"hi","prompt":{"id":"pmpt_1","version":"2"}}`, "prompt", ""},
		{responses, `{"store":false,"input":"hi","conversation":"c"}`, "conversation", "conversation"},
		{responses, `{"store":false,"input":"hi","background":true}`, "background", "background"},
		{responses, `{"store":false,"input":"hi","background":false}`, "", ""},
		{responses, `{"store":false,"input":"hi","tools":[{"type":"web_search"}]}`, "server tools", ""},
		{responses, `{"store":false,"input":"hi","tools":[{"type":"function"},{"type":"mcp","server_label":"s"}]}`, "server tools", "server tools"},
		{responses, `{"store":false,"input":"hi","tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}`, "server tools", "server tools"},
		{responses, `{"store":false,"input":"hi","tools":[{"type":"computer_use_preview"}]}`, "server tools", "server tools"},
		{chat, `{"model":"m","messages":[],"store":true}`, "store", ""},
		{chat, `{"model":"m","messages":[],"w\u0065b_search_options":{}}`, "web_search_options", ""},
		{chat, `{"model":"m","messages":[],"plugins":[{"id":"web"}]}`, "plugins", ""},
		{chat, `{"model":"openai/gpt-4o:online","messages":[]}`, "model", ""},
		{chat, `{"model":"sonar-pro","messages":[]}`, "model", ""},
		{chat, `{"model":"gpt-4o-search-preview","messages":[]}`, "model", ""},
		{chat, `{"model":"m","messages":[],"search_parameters":{"mode":"auto"}}`, "search_parameters", ""},
		{chat, `{"model":"m","messages":[],"data_sources":[{"type":"azure_search"}]}`, "data_sources", ""},
		{chat, `{"model":"m","messages":[],"enable_search":true}`, "enable_search", ""},
		{chat, `{"model":"m","messages":[],"extra_body":{"enable_search":true}}`, "enable_search", ""},
		{chat, `{"model":"m","messages":[],"tools":[{"type":"web_search","web_search":{"enable":true}}]}`, "server tools", ""},
		{chat, `{"model":"m","messages":[],"tools":[{"type":"function","\u0074ype":"builtin_function"}]}`, "server tools", ""},
		{"/v1/agents/completions", `{"agent_id":"a","messages":[]}`, "agent_id", ""},
		{"/v1/agents/completions", `{"messages":[]}`, "agent", ""},
		{messages, `{"model":"m","messages":[],"container":"c"}`, "container", "container"},
		{messages, `{"model":"m","messages":[],"mcp_servers":[{"url":"u"}]}`, "mcp_servers", "mcp_servers"},
		{messages, `{"model":"m","messages":[],"tools":[{"type":"web_search_20250305","name":"web_search"}]}`, "server tools", ""},
		{messages, `{"model":"m","messages":[],"tools":[{"type":"computer_20250124","name":"computer"}]}`, "server tools", "server tools"},
		{gemini, `{"contents":[],"tools":[{"google_search":{}}]}`, "server tools", ""},
		{gemini, `{"contents":[],"tools":[{"functionDeclarations":[]},{"urlContext":{}}]}`, "server tools", ""},
		{gemini, `{"contents":[],"tools":[{"codeExecution":{}}]}`, "server tools", ""},
		{gemini, `{"contents":[],"cachedContent":"cachedContents/1"}`, "cachedContent", ""},
		{converse, `{"messages":[],"toolConfig":{"tools":[{"systemTool":{"name":"nova_grounding"}}]}}`, "server tools", ""},
		{"/model/arn:aws:bedrock:us-east-1:1:prompt/P:1/converse", `{}`, "prompt", ""},
		{"/v1/chat", `{"message":"hi","connectors":[{"id":"web-search"}]}`, "connectors", "connectors"},
		{"/v1/chat", `{"message":"hi","model":"m","conversation_id":"c"}`, "conversation_id", "conversation_id"},
		{cohere, `{"messages":[],"model":"m","tools":{"type":"mcp"}}`, "", ""}, // no list of tools
		{chat, `[]`, "", ""},
		{chat, `{"tools":[`, "", ""},
	} {
		r := RouteOf("POST", &url.URL{Path: tt.path})
		got := r.Effects([]byte(tt.body))
		if got.World != tt.world || got.Lasting != tt.lasting {
			t.Errorf("%s %s: %+v, want world %q, lasting %q", tt.path, tt.body, got, tt.world, tt.lasting)
		}
		for _, p := range []Prompt{r.ReadPrompt([]byte(tt.body)), r.SkimPrompt([]byte(tt.body))} {
			if p.Lasting != (tt.lasting != "") {
				t.Errorf("%s %s: lasting %v, want %v", tt.path, tt.body, p.Lasting, !p.Lasting)
			}
		}
	}
}

// The two scans of a body agree on what it leaves behind.
func FuzzEffects(f *testing.F) {
	for _, body := range []string{`{"tools":[{"type":"mcp"}]}`, `{"toolConfig":{"tools":[{"x":1}]}}`, `{"container":"c","a":[`, `{"tools":{"a":[{"type":"mcp"}]},"mcp_servers":[0]}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := Route{Format: Anthropic, Inference: true}
		e := r.Effects(body)
		if e.Lasting != "" && e.World == "" {
			t.Fatalf("%+v", e)
		}
		if p := r.SkimPrompt(body); p.Lasting && e.Lasting == "" {
			t.Fatalf("%s: lasting, and %+v", body, e)
		}
	})
}
