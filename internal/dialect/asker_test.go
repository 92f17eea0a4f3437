package dialect

import (
	"net/http"
	"testing"
)

func TestDepersonalize(t *testing.T) {
	gone := []string{
		"Authorization", "Proxy-Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "X-Goog-User-Project", "Cookie",
		"Openai-Organization", "Openai-Project", "X-Amz-Date", "X-Amz-Security-Token", "X-Ms-Client-Request-Id",
		"Ocp-Apim-Subscription-Key", "Helicone-Auth", "X-Portkey-Api-Key", "Cf-Aig-Authorization", "X-Auth-Token", "X-Session",
		"X-Accesstoken", "X-Authtoken", "X-Functions-Key", "X-Auth-Request-Email", "X-Auth0", "X-Authinfo", "X-Oauth2", "X-Apikey2", "Apikeyvalue",
		"X-Subscriptionkey", "X-Tenantid", "X-Username", "X-Client-Id", "X-Clientid", "App_id", "Cf-Access-Client-Id", "Cf-Access-Client-Secret",
		"Mcp-Session-Id", "Mcpsessionid", "X-Passwd", "Mysecret", "Dpop", "X-Signature-Ed25519", "X-Csrftoken", "X-Bearer", "Referer", "From",
	}
	stay := []string{
		"Content-Type", "Accept", "User-Agent", "Anthropic-Version", "Anthropic-Beta", "Openai-Beta", "X-Stainless-Lang",
		"X-Stainless-Retry-Count", "Idempotency-Key", "Traceparent", "X-Request-Id", "Keyboard", "Authority",
		"Author", "Max-Tokens", "Tokenizer", "Sec-Websocket-Key", "Sec-Websocket-Protocol", "Http-Referer", "X-Title", "X-Client-Version", "Content-Md5",
		"Accept-Encoding", "Range", "Prefer", "Baggage", "Openai-Processing", "X-Code", "Identity", "Naming",
	}
	h := http.Header{}
	for _, name := range append(gone, stay...) {
		h.Set(name, "v")
	}
	u := parseURL(t, "https://a.example.com/v1/x?key=k&alt=sse&api_key=k&access_token=k&api-version=1&sig=k&code=k&CODE=k&authtoken=k&accessToken=k&AWSAccessKeyId=k&auth%5Btoken%5D=k&client_id=k&appid=k&keyboard=1&encode=1&K%65y=k")
	Depersonalize(h, u)
	for _, name := range gone {
		if h.Get(name) != "" {
			t.Errorf("%s stayed", name)
		}
	}
	for _, name := range stay {
		if h.Get(name) == "" {
			t.Errorf("%s is gone", name)
		}
	}
	if u.RawQuery != "alt=sse&api-version=1&keyboard=1&encode=1" {
		t.Errorf("the query became %s", u.RawQuery)
	}
}
