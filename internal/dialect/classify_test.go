package dialect

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestStatuses(t *testing.T) {
	for status := range 1200 {
		want := Invalid
		switch {
		case status < 100:
			want = ServerError
		case status < 400:
			want = Success
		case status == 402:
			want = QuotaExhausted
		case status == 408, status == 409, status == 425:
			want = Transient
		case status == 413:
			want = TooLong
		case status == 429:
			want = RateLimited
		case status == 529:
			want = Overloaded
		case status >= 500:
			want = ServerError
		}
		v := Classify(&Response{Status: status})
		if v.Class != want {
			t.Errorf("%d is %d, want %d", status, v.Class, want)
		}
		if v.Declined != (status == 429 || status == 529) {
			t.Errorf("%d: declined %v", status, v.Declined)
		}
		reason := "http_" + strconv.Itoa(status)
		switch {
		case want == Success:
			reason = ""
		case status < 100:
			reason = "error"
		}
		if v.Reason != reason {
			t.Errorf("%d: reason %q, want %q", status, v.Reason, reason)
		}
	}
	if v := Classify(&Response{Status: -7}); v.Class != ServerError {
		t.Errorf("-7 is %d", v.Class)
	}
}

// Retryable against terminal, by what the providers say of themselves.
func TestBodies(t *testing.T) {
	chat := RouteOf("POST", &url.URL{Path: "/v1/chat/completions"})
	bedrockRoute := RouteOf("POST", &url.URL{Path: "/model/m/invoke"})
	for _, tt := range []struct {
		name   string
		route  Route
		host   string
		status int
		header []string
		body   string
		want   Class
	}{
		{"openai slow_down", chat, "", 429, nil, `{"error":{"code":"slow_down"}}`, RateLimited},
		{"openai spend limit", chat, "", 429, nil, `{"error":{"type":"insufficient_quota","code":"project_spend_limit_exceeded"}}`, QuotaExhausted},
		{"openai lock conflict", chat, "", 409, nil, `{"error":{"code":null}}`, Transient},
		{"openai too large", chat, "", 429, nil, `{"error":{"code":"rate_limit_exceeded","message":"Request too large for gpt-4o on tokens per min"}}`, TooLong},
		{"openai context", chat, "", 400, nil, `{"error":{"code":"context_length_exceeded"}}`, TooLong},
		{"vllm context", chat, "", 400, nil, `{"object":"error","message":"This model's maximum context length is 8 tokens","code":400}`, TooLong},
		{"openai policy", chat, "", 400, nil, `{"error":{"code":"content_policy_violation"}}`, Filtered},
		{"openai overloaded by words", chat, "", 503, nil, `{"error":{"type":"server_error","message":"The server is currently overloaded"}}`, Overloaded},
		{"bare 503", chat, "", 503, nil, `{"message":"Service Unavailable"}`, ServerError},
		{"503 of a page", chat, "", 503, nil, `<html>server busy, overloaded, too busy</html>`, ServerError},
		{"503 with Retry-After", chat, "", 503, []string{"Retry-After", "1"}, ``, Overloaded},
		{"503 with Retry-After now", chat, "", 503, []string{"Retry-After", "0"}, ``, Overloaded},
		{"503 with garbage", chat, "", 503, []string{"Retry-After", "soon"}, ``, ServerError},
		{"503 with a wait in prose", chat, "", 503, nil, `{"message":"try again in 5s"}`, ServerError},
		{"502 with Retry-After", chat, "", 502, []string{"Retry-After", "1"}, ``, ServerError},
		{"azure management", chat, "", 403, nil, `{"statusCode":403,"message":"Out of call volume quota. Quota will be replenished in 01:10:22."}`, QuotaExhausted},
		{"azure code is the status", chat, "", 429, nil, `{"error":{"code":"429","message":"x"}}`, RateLimited},
		{"anthropic usage limits", chat, "", 400, nil, `{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits."}}`, QuotaExhausted},
		{"anthropic long prompt", chat, "", 400, nil, `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}`, TooLong},
		{"anthropic large", chat, "", 413, nil, `{"type":"error","error":{"type":"request_too_large"}}`, TooLong},
		{"anthropic overloaded", chat, "", 529, nil, `{"type":"error","error":{"type":"overloaded_error"}}`, Overloaded},
		{"anthropic overloaded as 500", chat, "", 500, nil, `{"type":"error","error":{"type":"overloaded_error"}}`, Overloaded},
		{"anthropic conflict", chat, "", 409, nil, `{"type":"error","error":{"type":"conflict_error"}}`, Transient},
		{"anthropic filter", chat, "", 400, nil, `{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}`, Filtered},
		{"in an array", chat, "", 429, nil, "\n[{\"error\":{\"code\":\"insufficient_quota\"}}]", QuotaExhausted},
		{"a type that says less than the status", chat, "", 429, nil, `{"error":{"type":"invalid_request_error"}}`, RateLimited},
		{"the same of a timeout", chat, "", 408, nil, `{"error":{"type":"server_error"}}`, Transient},
		{"gemini says quota of a minute", chat, "", 429, nil, `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"You exceeded your current quota"}}`, RateLimited},
		{"gemini credits", chat, "", 429, nil, `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"INSUFFICIENT_G1_CREDITS_BALANCE"}]}}`, QuotaExhausted},
		{"gemini day and minute", chat, "", 429, nil, `{"error":{"details":[{"@type":"google.rpc.QuotaFailure","violations":[{"quotaId":"XPerMinute"},{"quotaId":"XDaily"}]}]}}`, QuotaExhausted},
		{"gemini argument", chat, "", 400, nil, `{"error":{"code":400,"status":"INVALID_ARGUMENT"}}`, Invalid},
		{"mistral plan without the model", chat, "", 429, []string{"X-Ratelimit-Limit-Req-Minute", "0"}, `{"object":"error","type":"rate_limited","code":"1300"}`, QuotaExhausted},
		{"groq flex by shape", chat, "", 498, nil, `{"error":{"message":"x"}}`, Transient},
		{"groq flex by host", chat, "api.groq.com", 498, nil, ``, Transient},
		{"cohere token by shape", chat, "", 498, nil, `{"message":"invalid api token"}`, Invalid},
		{"cohere token by host", chat, "api.cohere.com", 498, nil, `{"error":{"message":"x"}}`, Invalid},
		{"groq 424", chat, "", 424, nil, `{"error":{"message":"x"}}`, Invalid},
		{"bedrock 424 by route", bedrockRoute, "", 424, nil, `{}`, Transient},
		{"bedrock 424 by header", chat, "", 424, []string{"X-Amzn-ErrorType", "ModelErrorException:http://x/"}, ``, Transient},
		{"bedrock 424 by body", chat, "", 424, nil, `{"__type":"com.amazon#ModelErrorException"}`, Transient},
		{"groq 413 without a word of size", chat, "", 413, nil, `{"error":{"code":"rate_limit_exceeded"}}`, TooLong},
		{"cohere a minute", chat, "", 429, nil, `{"message":"limited to 40 API calls / minute"}`, RateLimited},
		{"together context by host", chat, "api.together.xyz:443", 403, nil, ``, TooLong},
		{"together context by words", chat, "", 403, nil, `{"error":{"message":"input + max_new_tokens must be less than the context length"}}`, TooLong},
		{"forbidden", chat, "", 403, nil, `{"error":{"message":"no"}}`, Invalid},
		{"fireworks suspended", chat, "", 412, nil, `{"error":{"message":"Account x is suspended"}}`, QuotaExhausted},
		{"fireworks by host", chat, "api.fireworks.ai", 412, nil, ``, QuotaExhausted},
		{"precondition", chat, "", 412, nil, ``, Invalid},
		{"deepseek risk", chat, "", 400, nil, `{"error":{"message":"Content Exists Risk"}}`, Filtered},
		{"xai credits as 403", chat, "", 403, nil, `{"code":"Some resource has been exhausted","error":"Your team x has used all available credits"}`, QuotaExhausted},
		{"openrouter 402 with a wait", chat, "", 402, []string{"Retry-After", "2"}, `{"error":{"code":402,"message":"x"}}`, RateLimited},
		{"openrouter 402 without a wait", chat, "", 402, nil, `{"error":{"code":402,"message":"x"}}`, QuotaExhausted},
		{"openrouter 402, credits, with a wait", chat, "", 402, []string{"Retry-After", "2"}, `{"error":{"code":402,"message":"requires more credits"}}`, QuotaExhausted},
		{"gemini 402 with a wait", chat, "", 402, []string{"Retry-After", "2"}, `{"error":{"code":402,"status":"RESOURCE_EXHAUSTED"}}`, QuotaExhausted},
		{"any 402 with a wait", chat, "", 402, []string{"Retry-After", "2"}, `{"error":{"code":"x"}}`, QuotaExhausted},
		{"openrouter moderation", chat, "", 403, nil, `{"error":{"code":403,"message":"x","metadata":{"reasons":["y"]}}}`, Filtered},
		{"bedrock quota", chat, "", 400, []string{"X-Amzn-ErrorType", "ServiceQuotaExceededException"}, `{"message":"x"}`, QuotaExhausted},
		{"bedrock throttling as 400", chat, "", 400, nil, `{"__type":"ThrottlingException","message":"Too many requests"}`, RateLimited},
		{"bedrock validation", chat, "", 400, []string{"X-Amzn-ErrorType", "ValidationException"}, `{"message":"x"}`, Invalid},
		{"bedrock long", chat, "", 400, []string{"X-Amzn-ErrorType", "ValidationException"}, `{"message":"Input is too long for requested model."}`, TooLong},
		{"gateway's 500 for a rate limit", chat, "", 500, nil, `{"error":{"code":"rate_limit_exceeded"}}`, RateLimited},
		{"wrong key", chat, "", 401, nil, `{"error":{"code":"invalid_api_key"}}`, Invalid},
		{"a message that quotes the caller", chat, "", 422, nil, `{"error":{"message":"cannot parse 'credit balance per day, server busy'"}}`, Invalid},

		{"an answer", chat, "", 200, nil, `{"choices":[{"message":{"content":"the key \"error\": {\"code\":502}"}}]}`, Success},
		{"an answer without error", chat, "", 200, nil, `{"error":null,"output":[]}`, Success},
		{"an answer about errors", chat, "", 200, nil, `{"output":[{"args":{"error":{"code":1}}}],"error" : null}`, Success},
		{"an error", chat, "", 200, nil, ` {"id":"x","error":{"message":"x"}}`, ServerError},
		{"an error after an answer without", chat, "", 200, nil, `{"response":{"error":null},"error":{"code":429}}`, RateLimited},
		{"an error in a 201", chat, "", 201, nil, `{"error":{"code":"insufficient_quota"}}`, QuotaExhausted},
		{"an error object", chat, "", 200, nil, `{"object":"error","message":"x","code":400}`, Invalid},
		{"an error string", chat, "", 200, nil, `{"error":"x"}`, ServerError},
		{"no error", chat, "", 200, nil, `{"error":""}`, Success},
		{"another API's error", Route{}, "", 200, nil, `{"ok":false,"error":"invalid_auth"}`, Success},
		{"a redirect", chat, "", 307, nil, `{"error":{"code":502}}`, Success},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := Classify(&Response{Route: tt.route, Host: tt.host, Status: tt.status, Header: headerOf(tt.header...), Body: []byte(tt.body), Now: localTime})
			if v.Class != tt.want {
				t.Errorf("class %d, want %d (reason %q)", v.Class, tt.want, v.Reason)
			}
			declined := tt.status == 429 || v.Class == RateLimited || v.Class == Overloaded
			if v.Declined != declined {
				t.Errorf("declined %v, want %v", v.Declined, declined)
			}
		})
	}
}

// What another key or place may not share is told from what it asks for.
func TestMisdirected(t *testing.T) {
	chat := RouteOf("POST", &url.URL{Path: "/v1/chat/completions"})
	for _, tt := range []struct {
		name   string
		route  Route
		status int
		header []string
		body   string
		want   bool
	}{
		{"no key", chat, 401, nil, ``, true},
		{"a key for something else", chat, 403, nil, `{"error":{"type":"permission_error"}}`, true},
		{"no key, outside of inference", Route{}, 401, nil, ``, true},
		{"no such model", chat, 404, nil, `{"error":{"code":"model_not_found"}}`, true},
		{"no more", chat, 410, nil, ``, true},
		{"no such thing", Route{}, 404, nil, ``, false},
		{"gemini's wrong key", chat, 400, nil, `{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}`, true},
		{"xai's wrong key", chat, 400, nil, `{"code":"Client specified an invalid argument","error":"Incorrect API key provided: x."}`, true},
		{"a gateway's missing model", chat, 400, nil, `{"error":{"code":"model_not_found"}}`, true},
		{"bedrock's wrong key", chat, 400, []string{"X-Amzn-ErrorType", "UnrecognizedClientException"}, ``, true},
		{"inside a 200", chat, 200, nil, `{"error":{"code":401,"message":"x"}}`, true},
		{"another's response", chat, 400, nil, `{"error":{"type":"invalid_request_error","code":"previous_response_not_found","param":"previous_response_id"}}`, true},
		{"another's thoughts", chat, 400, nil, `{"error":{"code":"invalid_encrypted_content"}}`, true},
		{"a bad request", chat, 400, nil, `{"error":{"code":"invalid_value"}}`, false},
		{"a bad request of a word", chat, 422, nil, `{"error":{"message":"model_not_found"}}`, false},
		{"quota as 403", chat, 403, nil, `{"error":{"message":"used all available credits"}}`, false},
		{"an answer", chat, 200, nil, `{}`, false},
	} {
		v := Classify(&Response{Route: tt.route, Status: tt.status, Header: headerOf(tt.header...), Body: []byte(tt.body), Now: localTime})
		if v.Misdirected != tt.want {
			t.Errorf("%s: misdirected %v of class %d", tt.name, v.Misdirected, v.Class)
		}
	}
	if v := ClassifyEvent(chat, "", nil, []byte(`{"type":"error","error":{"type":"authentication_error"}}`), localTime); !v.Misdirected {
		t.Errorf("in a stream: %+v", v)
	}
}

func TestEvents(t *testing.T) {
	for data, want := range map[string]Class{
		`{"error":{"message":"x","type":"server_error","code":"500"}}`: ServerError,
		`{"error":{"code":"insufficient_quota"}}`:                      QuotaExhausted,
		`{"error":{"message":"x","status_code":429}}`:                  RateLimited,
		`{"error":"text"}`: ServerError,
		`{"error":{"type":"invalid_request_error","message":"x"}}`:                           Invalid,
		`{"type":"response.failed","response":{"error":{"code":"context_length_exceeded"}}}`: TooLong,
		`{"type":"response.failed","response":{"error":null}}`:                               ServerError,
		`{"type":"error","error":{"type":"api_error"}}`:                                      ServerError,
		`{"type":"error","error":{"type":"rate_limit_error"}}`:                               RateLimited,
		`{"type":"error","code":"rate_limit_exceeded","message":"x"}`:                        RateLimited,
		`{"error":{"code":503,"status":"UNAVAILABLE"}}`:                                      Overloaded,
		`{"type":"message-end","delta":{"finish_reason":"ERROR_TOXIC"}}`:                     Filtered,
		`{"event_type":"stream-end","finish_reason":"ERROR_LIMIT"}`:                          TooLong,
		`{"message":"x","__type":"modelStreamErrorException"}`:                               Transient,
		`{"message":"x","__type":"validationException"}`:                                     Invalid,
		`{"message":"Too many tokens per day, please wait","__type":"throttlingException"}`:  QuotaExhausted,
		`{"choices":[{"error":{"code":429,"message":"x"},"finish_reason":"error"}]}`:         RateLimited,
		`{"object":"error","type":"InternalServerError","code":500}`:                         ServerError,
		``: ServerError, `{`: ServerError, `null`: ServerError, `[]`: ServerError, `[DONE]`: ServerError, "\xff\x00": ServerError,
		`{"error":{"code":200}}`: ServerError, `{"error":{"code":1e999}}`: ServerError,
	} {
		v := ClassifyEvent(Route{}, "", http.Header{}, []byte(data), localTime)
		if v.Class != want {
			t.Errorf("%s\nis %d, want %d (reason %q)", data, v.Class, want, v.Reason)
		}
	}
	if v := ClassifyEvent(Route{}, "", nil, nil, time.Time{}); v.Class != ServerError || v.Reason != "error" {
		t.Errorf("nothing at all: %+v", v)
	}
}

func TestAdvice(t *testing.T) {
	for _, tt := range []struct {
		status       int
		should, body string
		want         Advice
	}{
		{500, "", ``, NoAdvice},
		{500, "true", ``, Again},
		{500, "False", ``, Stop},
		{500, "perhaps", ``, NoAdvice},
		{429, "false", `{"error":{"code":"rate_limit_exceeded"}}`, Stop},
		{529, "false", `{"error":{"type":"overloaded_error"}}`, Stop},
		{429, "false", `{"code":"queue_exceeded"}`, NoAdvice},
		{429, "true", `{"error":{"code":"insufficient_quota"}}`, NoAdvice},
		{400, "true", ``, Again},
		{200, "false", ``, NoAdvice},
	} {
		v := Classify(&Response{Status: tt.status, Header: headerOf("X-Should-Retry", tt.should), Body: []byte(tt.body)})
		if v.Advice != tt.want {
			t.Errorf("%d %s %q: %d, want %d", tt.status, tt.body, tt.should, v.Advice, tt.want)
		}
	}
}

// No part of a message, which can quote a prompt or a key, becomes a reason.
func TestReason(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":{"code":"rate_limit_exceeded","type":"tokens"}}`:  "rate_limit_exceeded",
		`{"error":{"code":null,"type":"tokens"}}`:                   "tokens",
		`{"error":{"code":"1300","type":"x"}}`:                      "x",
		`{"error":{"code":"my secret prompt","message":"sk-1234"}}`: "http_418",
		`{"error":"sk-1234"}`:                                       "http_418",
		`sk-1234`:                                                   "http_418",
		`{"error":{"code":"a/b:C\u00e9"}}`:                          "a_b_c__",
		`{"type":"https://x/problems#out-of-credit","title":"t"}`:   "out-of-credit",
		`{"type":"about:blank"}`:                                    "http_418",
		`{"error":{"code":"` + strings.Repeat("x", 100) + `"}}`:     strings.Repeat("x", 64),
		`{"error":{"code":"` + strings.Repeat("x", 1000) + `"}}`:    "http_418",
	} {
		if v := Classify(&Response{Status: 418, Body: []byte(body)}); v.Reason != want {
			t.Errorf("%.80s: %q, want %q", body, v.Reason, want)
		}
	}
}

// The tables are merged, so one provider's must not unsay another's.
func TestTables(t *testing.T) {
	meaning := map[string]Class{}
	taken := map[string]string{}
	for i, p := range providers {
		for _, table := range []map[string]Class{p.words, p.vague} {
			for w, c := range table {
				if w != strings.ToLower(w) || strings.ContainsAny(w, " \t") {
					t.Errorf("%q can never match", w)
				}
				if _, ok := meaning[w]; ok {
					t.Errorf("%q is in two tables", w)
				}
				if c <= Success || c >= Canceled {
					t.Errorf("%q means %d, which no failure does", w, c)
				}
				meaning[w] = c
			}
		}
		for _, w := range p.insist {
			if p.words[w] == Unclassified {
				t.Errorf("%q insists on nothing", w)
			}
		}
		for _, w := range p.misdirects {
			if w != strings.ToLower(w) || len(w) < 6 {
				t.Errorf("%q misdirects", w)
			}
		}
		for _, ph := range p.phrases {
			if ph.text != strings.ToLower(ph.text) || len(ph.text) < 6 {
				t.Errorf("phrase %q", ph.text)
			}
			if old, ok := taken[ph.text]; ok {
				t.Errorf("phrase %q is in two tables %s", ph.text, old)
			}
			taken[ph.text] = ph.text
		}
		if len(p.status) > 0 && p.mark == nil {
			t.Errorf("provider %d has statuses and no mark", i)
		}
		for _, b := range p.buckets {
			for _, name := range []string{b.limit, b.remaining, b.reset} {
				if name != http.CanonicalHeaderKey(name) || name != "" && !strings.ContainsRune("XRA", rune(name[0])) {
					t.Errorf("header %q is never looked at", name)
				}
			}
		}
	}
	if len(allBuckets) > 64 {
		t.Error("more buckets than bits in readQuotas")
	}
}

func plain200() *Response {
	return &Response{
		Route: Route{Format: OpenAIChat, Inference: true}, Host: "api.example.com", Status: 200,
		Header: headerOf("Date", serverDate, "Content-Type", "application/json", "X-Request-Id", "req_1", "Server", "x",
			"Cf-Ray", "x", "Alt-Svc", "x", "Strict-Transport-Security", "x", "Openai-Version", "2020-10-01", "Connection", "keep-alive"),
		Body: []byte(`{"id":"x","error":null,"choices":[{"message":{"content":"` + strings.Repeat("hello ", 300) + `"}}]}`),
		Now:  localTime,
	}
}

func TestClassifyAllocates(t *testing.T) {
	r := plain200()
	if n := testing.AllocsPerRun(100, func() { Classify(r) }); n != 0 {
		t.Errorf("%v allocations on a plain 200", n)
	}
	route, header, body := r.Route, r.Header, r.Body
	if n := testing.AllocsPerRun(100, func() {
		Classify(&Response{Route: route, Status: 200, Header: header, Body: body})
	}); n != 0 {
		t.Errorf("%v allocations for the caller's Response", n)
	}
}

func BenchmarkClassify(b *testing.B) {
	quotas := plain200()
	quotas.Header = fixture{File: "openai_chat_success.http"}.load(b).Header
	anthropic := plain200()
	anthropic.Header = fixture{File: "anthropic_messages_success.http"}.load(b).Header
	for name, r := range map[string]*Response{"plain": plain200(), "openai": quotas, "anthropic": anthropic} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Classify(r)
			}
		})
	}
}

func FuzzClassify(f *testing.F) {
	for _, fx := range loadFixtures(f) {
		r := fx.load(f)
		f.Add(r.Status, r.Header.Get("Retry-After"), r.Header.Get("X-Amzn-Errortype"), r.Body)
	}
	f.Add(429, "1e400", "#:", []byte(`[{"error":{"code":1e999,"details":[{"@type":"google.rpc.RetryInfo","retryDelay":"-9e99s"}]}}]`))
	f.Add(-1, "-1", "", []byte(strings.Repeat(`{"error":[`, 5000)))
	f.Fuzz(func(t *testing.T, status int, retryAfter, exception string, body []byte) {
		h := http.Header{"Retry-After": {retryAfter}, "X-Amzn-Errortype": {exception}, "Date": {serverDate}}
		route := Route{Format: OpenAIChat, Inference: true}
		check := func(v Verdict) {
			if v.Wait < 0 || v.Wait > maxSpan {
				t.Errorf("wait %v", v.Wait)
			}
			if len(v.Reason) > 64 || strings.Trim(v.Reason, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != "" {
				t.Errorf("reason %q", v.Reason)
			}
			if v.Class < Success || v.Class >= Canceled || v.Class == Unreachable || v.Class == TimedOut {
				t.Errorf("class %d", v.Class)
			}
			if (v.Class == Success) != (v.Reason == "") {
				t.Errorf("class %d for reason %q", v.Class, v.Reason)
			}
		}
		check(Classify(&Response{Route: route, Status: status, Header: h, Body: body, Now: localTime}))
		v := ClassifyEvent(route, "", h, body, localTime)
		check(v)
		if v.Class == Success {
			t.Error("an error event is a success")
		}
	})
}
