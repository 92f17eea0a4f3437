package dialect

import "testing"

func TestIncidental(t *testing.T) {
	for name, want := range map[string]bool{
		"Traceparent": true, "x-b3-traceid": true, "X-Datadog-Parent-Id": true, "X-REQUEST-ID": true, "Idempotency-Key": true,
		"User-Agent": true, "X-Stainless-Package-Version": true, "Amz-Sdk-Request": true, "X-Goog-Api-Client": true, "X-Fern-Sdk-Version": true,
		"Content-Length": true, "Cache-Control": true, "X-Amz-Date": true, "Sec-Fetch-Mode": true,

		"X-Amzn-Bedrock-Guardrailidentifier": false, "X-Amzn-Bedrock-Guardrailversion": false, "X-Target-Url": false, "X-Portkey-Config": false,
		"Azureml-Model-Deployment": false, "X-Model-Version": false, "Anthropic-Beta": false, "Openai-Beta": false, "Accept-Language": false,
		"Helicone-Target-Url": false, "X-Vercel-Ai-Model": false, "Extra-Parameters": false, "": false,
	} {
		if got := Incidental(name); got != want {
			t.Errorf("Incidental(%q) = %v, want %v", name, got, want)
		}
	}
	if n := testing.AllocsPerRun(10, func() { Incidental("X-Model-Version") }); n != 0 {
		t.Errorf("Incidental allocates %v times, want 0", n)
	}
}
