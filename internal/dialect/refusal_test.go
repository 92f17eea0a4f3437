package dialect

import (
	"encoding/json"
	"testing"
)

// A refusal is read by SDKs as what it stands for, and so by ourselves, should
// it come from another instance: a limit never looks like spent money.
func TestRefusal(t *testing.T) {
	const message = "circuit \"open\" </script> for \u2028 m"
	for f := Unknown; f <= Ollama; f++ {
		for status, want := range map[int]Class{429: RateLimited, 502: ServerError, 504: ServerError} {
			body := Refusal(f, status, "snubber_open", message)
			var top map[string]any
			if err := json.Unmarshal(body, &top); err != nil {
				t.Fatalf("format %d: %v", f, err)
			}
			v := Classify(&Response{Status: status, Body: body})
			if f == Bedrock && status == 504 {
				want = Transient // ModelTimeoutException
			}
			if v.Class != want {
				t.Errorf("format %d, %d: class %d, want %d", f, status, v.Class, want)
			}
			found := false
			for _, at := range [][]string{{"message"}, {"error"}, {"error", "message"}} {
				v := any(top)
				for _, key := range at {
					m, _ := v.(map[string]any)
					v = m[key]
				}
				found = found || v == message
			}
			if !found {
				t.Errorf("format %d: no message in %s", f, body)
			}
		}
	}
	for f, want := range map[Format]string{
		OpenAIChat: `{"error":{"code":"snubber_open","message":"m","param":null,"type":"server_error"}}`,
		Unknown:    `{"error":{"code":"snubber_open","message":"m","param":null,"type":"server_error"}}`,
		Anthropic:  `{"error":{"details":{"error_code":"snubber_open"},"message":"m","type":"overloaded_error"},"type":"error"}`,
		Gemini:     `{"error":{"code":503,"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"snubber","reason":"snubber_open"}],"message":"m","status":"UNAVAILABLE"}}`,
		Cohere:     `{"code":"snubber_open","message":"m"}`,
		Bedrock:    `{"__type":"ServiceUnavailableException","message":"m","reason":"snubber_open"}`,
		Ollama:     `{"code":"snubber_open","error":"m"}`,
	} {
		if got := string(Refusal(f, 503, "snubber_open", "m")); got != want {
			t.Errorf("format %d\n got %s\nwant %s", f, got, want)
		}
	}
}
