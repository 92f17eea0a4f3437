package dialect

import (
	"net/http"
	"testing"
	"time"
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

func TestAskerOf(t *testing.T) {
	for name, want := range map[string]Asker{
		"Authorization": Owner, "x-api-key": Owner, "X-Goog-Api-Key": Owner, "Ocp-Apim-Subscription-Key": Owner, "X-AUTH-TOKEN": Owner,
		"OpenAI-Organization": Owner, "Openai-Project": Owner, "x-goog-user-project": Owner, "Anthropic-Workspace-Id": Owner,
		"Impersonate-User": Owner, "Impersonate-Extra-Reason": Owner, "Impersonate-Group": Owner, "X-Remote-Group": Owner, "x-remote-extra-scopes": Owner,
		"X-Ms-Client-Principal-Id": Owner, "Cf-Access-Client-Id": Owner, "Client-Id": Owner, "X-App-Id": Owner, "From": Owner,
		"X-Amz-Account-Id": Owner, "X-Amz-Expected-Bucket-Owner": Owner, "X-Goog-Iam-Authority-Selector": Owner, "Mcp-Session-Id": Identity,
		"X-Tenant-Of-The-Customer-Whose-Contract-Is-The-One-That-Pays-For-All-Of-This": Owner,

		"X-Ms-Client-Principal": Identity, "X-Amz-Security-Token": Identity, "Dpop": Identity, "X-Signature": Identity, "X-Hub-Signature-256": Identity,
		"X-Auth-Date": Identity, "X-Auth-Timestamp": Identity, "X-Token-Digest": Identity, "X-Csrf-Token": Identity, "Cookie": Identity,

		"X-Goog-Api-Client": Nobody, "X-Goog-Request-Params": Nobody, "Idempotency-Key": Nobody, "X-Amz-User-Agent": Nobody, "X-Amz-Date": Nobody,
		"X-Amz-Content-Sha256": Nobody, "Date": Nobody, "Digest": Nobody, "Traceparent": Nobody, "X-Request-Id": Nobody, "Accept": Nobody,
		"X-Stainless-Retry-Count": Nobody, "Formula": Nobody, "Grouping": Nobody, "": Nobody,

		"page_token": Nobody, "pageToken": Nobody, "NextToken": Nobody, "continuation-token": Nobody, "sort_key": Nobody, "upload_token": Owner,
	} {
		if got := AskerOf(name); got != want {
			t.Errorf("AskerOf(%q) = %d, want %d", name, got, want)
		}
	}
	if n := testing.AllocsPerRun(10, func() { AskerOf("X-Stainless-Package-Version"); AskerOf("Ocp-Apim-Subscription-Key") }); n != 0 {
		t.Errorf("AskerOf allocates %v times, want 0", n)
	}
}

// One query filter serves what is shown and what goes to another origin.
func TestPublicQuery(t *testing.T) {
	for query, want := range map[string]string{
		"api_key=s&q=1":                        "q=1",
		"q=1&apikey=s&APIKEY=s":                "q=1",
		"access%5Ftoken=s&q=%20":               "q=%20",
		"%74oken=s&q=1":                        "q=1",
		"TOKEN=s":                              "",
		"sig=s&X-Amz-Signature=s&x-amz-date=d": "",
		"X-Goog-Signature=s&x=1":               "x=1",
		"code=s&Auth=s&pass%77ord=s&x":         "x",
		"x=1;token=s&y=2":                      "y=2",
		"pageToken=p&nextToken=n&tokens=3":     "pageToken=p&nextToken=n&tokens=3",
		"alt=sse&alt=sse":                      "alt=sse&alt=sse",
		"":                                     "",
	} {
		if got := PublicQuery(query); got != want {
			t.Errorf("PublicQuery(%q) = %q, want %q", query, got, want)
		}
	}
}

func TestSigned(t *testing.T) {
	const aws = "AWS4-HMAC-SHA256 Credential=A/20260303/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=0"
	for _, tt := range []struct {
		header http.Header
		query  string
		want   bool
	}{
		{http.Header{"Authorization": {aws}}, "", true},
		{http.Header{"authorization": {aws}}, "", true},
		{http.Header{"AUTHORIZATION": {"AWS4-ECDSA-P256-SHA256 Credential=A"}}, "", true},
		{http.Header{"Authorization": {"Bearer k"}}, "x=1", false},
		{nil, "x=1&X-Amz-Signature=0", true},
		{nil, "x-amz-signature=0", true},
		{nil, "X%2DAmz%2DSignature=0", true},
		{nil, "X-Goog-Signature=0", true},
		{nil, "q=X-Amz-Signature%3D0", false},
	} {
		if got := Signed(tt.header, parseURL(t, "https://a.example.com/?"+tt.query)); got != tt.want {
			t.Errorf("Signed(%v, %q) = %v, want %v", tt.header, tt.query, got, tt.want)
		}
	}
}

func TestSignatureExpires(t *testing.T) {
	at := time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		header http.Header
		query  string
		want   time.Time
	}{
		{http.Header{"Authorization": {"AWS4-HMAC-SHA256 x"}, "X-Amz-Date": {"20260303T120000Z"}}, "", at.Add(5 * time.Minute)},
		{http.Header{"authorization": {"AWS4-HMAC-SHA256 x"}, "x-amz-date": {"20260303T120000Z"}}, "", at.Add(5 * time.Minute)},
		{nil, "X-Amz-Date=20260303T120000Z&X-Amz-Expires=900&X-Amz-Signature=0", at.Add(15 * time.Minute)},
		{http.Header{"X-Amz-Date": {"20260303T120000Z"}}, "", time.Time{}}, // nothing is signed
		{http.Header{"Authorization": {"AWS4-HMAC-SHA256 x"}, "X-Amz-Date": {"today"}}, "", time.Time{}},
		{nil, "X-Amz-Date=20260303T120000Z&X-Amz-Signature=0", time.Time{}},
	} {
		got, ok := SignatureExpires(tt.header, parseURL(t, "https://a.example.com/?"+tt.query))
		if ok != !tt.want.IsZero() || ok && !got.Equal(tt.want) {
			t.Errorf("SignatureExpires(%v, %q) = %v, %v, want %v", tt.header, tt.query, got, ok, tt.want)
		}
	}
}
