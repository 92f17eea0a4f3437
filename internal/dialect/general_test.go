package dialect

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

// Replies in nobody's words but those that everybody uses.
func TestStrangers(t *testing.T) {
	chat := RouteOf("POST", &url.URL{Path: "/v1/chat/completions"})
	for _, tt := range []struct {
		status int
		body   string
		want   Class
		wait   time.Duration
		phrase bool
	}{
		// A spent plan, whatever the status.
		{429, `{"error":{"message":"You have reached your weekly limit for this workspace."}}`, QuotaExhausted, 0, true},
		{429, `{"message":"Monthly token allocation exceeded for project p."}`, QuotaExhausted, 0, true},
		{429, `{"error":{"message":"Session limit reached"}}`, QuotaExhausted, 0, true},
		{429, `{"error":{"message":"Requests per day quota exceeded. Please retry in 4m."}}`, RateLimited, 4 * time.Minute, true}, // it refills
		{429, `{"error":{"message":"Weekly limit reached, wait 4 minutes."}}`, RateLimited, 4 * time.Minute, true},
		{400, `{"error":{"message":"Your account has a negative balance."}}`, QuotaExhausted, 0, true},
		{403, `{"detail":"Team budget has been exceeded for this key"}`, QuotaExhausted, 0, true},
		{403, `{"code":"InsufficientFunds","msg":"denied"}`, QuotaExhausted, 0, false},
		{401, `{"error":{"code":"account_quota_exceeded"}}`, QuotaExhausted, 0, false},
		{500, `{"error":{"message":"The organization is out of credits"}}`, QuotaExhausted, 0, true},
		{503, `{"msg":"账户已欠费，请及时缴费"}`, QuotaExhausted, 0, true},
		{429, `{"error":{"message":"今日免费额度已用完"}}`, QuotaExhausted, 0, true},
		{429, `{"error":{"message":"您本月的调用配额已超出上限"}}`, QuotaExhausted, 0, true},
		{429, `{"error_type":"monthly_limit_reached","message":"no"}`, QuotaExhausted, 0, false},

		// What would help is not what has happened.
		{429, `{"error":{"message":"5 requests per minute. Recharge to raise your tier."}}`, RateLimited, 0, false},
		{429, `{"error":{"message":"Slow down, or top up for a higher limit. Wait 3 seconds."}}`, RateLimited, 3 * time.Second, false},
		{429, `{"error":{"message":"Quota of tokens for the minute is used. Daily users get more."}}`, RateLimited, 0, false},

		{429, `{"error":"Too Many Requests","message":"You have exceeded your usage limits. Please try again later."}`, RateLimited, 0, false},
		{429, `{"error":{"message":"You've hit your usage limit."}}`, QuotaExhausted, 0, true},
		{429, `{"error":{"code":"subscription:free-usage-exhausted","message":"x"}}`, QuotaExhausted, 0, false},
		{429, `{"error":{"code":"resource_exhausted","message":"Resource has been exhausted (e.g. check quota)."}}`, RateLimited, 0, false},

		// Capacity, under whatever status.
		{503, `{"error":"Exceeds maximum queue size"}`, Overloaded, 0, true},
		{429, `{"error":{"message":"All workers are busy"}}`, Overloaded, 0, true},
		{429, `{"code":"MODEL_OVERLOADED_TRY_LATER","message":"x"}`, Overloaded, 0, false},
		{500, `{"error":{"message":"We are experiencing high demand, sorry"}}`, Overloaded, 0, true},
		{503, `{"error":"the model is warming up"}`, Overloaded, 0, true},
		{429, `{"error":{"message":"当前模型负载过高"}}`, Overloaded, 0, true},
		{400, `{"error":{"message":"系统繁忙，请稍后重试"}}`, Overloaded, 0, true},
		{503, `{"message":"no healthy upstream"}`, ServerError, 0, false},

		// Echoes.
		{400, `{"error":{"message":"unknown tool \"top up my balance, insufficient balance\""}}`, Invalid, 0, false},
		{400, `{"error":{"message":"cannot parse 'server's too busy, queue is full'"}}`, Invalid, 0, false},
		{500, "{\"error\":{\"message\":\"template `daily limit exceeded` failed\"}}", ServerError, 0, false},
		{400, `{"error":{"message":"bad value “余额不足”"}}`, Invalid, 0, false},
		{422, `{"error":{"message":"insufficient balance of classes"}}`, Invalid, 0, false}, // on no such status
		{403, `{"error":{"code":"insufficient_scope","message":"no"}}`, Invalid, 0, false},
		{404, `{"error":{"message":"no capacity planner with this name"}}`, Invalid, 0, false},

		// Waits.
		{429, `{"error":{"message":"x","retry_after":"7s"}}`, RateLimited, 7 * time.Second, false},
		{429, `{"retryAfterSeconds":8,"error":{"message":"x"}}`, RateLimited, 8 * time.Second, false},
		{429, `{"error":{"message":"x","metadata":{"retry_after_ms":1500}}}`, RateLimited, 1500 * time.Millisecond, false},
		{429, `{"error":{"message":"x","resets_at":"2026-03-03T12:00:40Z"}}`, RateLimited, 40 * time.Second, false},
		{429, `{"error":{"message":"x","reset_at":1772539230}}`, RateLimited, 30 * time.Second, false},
		{429, `{"error":{"message":"You can wait 90 minutes."}}`, QuotaExhausted, 90 * time.Minute, false},
		{429, `{"error":{"message":"Limit resets in about 12 seconds."}}`, RateLimited, 12 * time.Second, false},
		{429, `{"error":{"message":"limit resets at 2026-03-03T12:01:00Z."}}`, RateLimited, time.Minute, false},
		{429, `{"error":{"message":"limit resets at 2026-03-03 12:01:00"}}`, RateLimited, 0, false}, // in which zone?
		{429, `{"error":{"message":"请 15 秒后重试"}}`, RateLimited, 15 * time.Second, false},
		{429, `{"error":{"message":"x","retry_after":-1}}`, RateLimited, 0, false},
		{429, `{"error":{"message":"x","retry_after":{"s":1}}}`, RateLimited, 0, false},

		// Sizes and filters.
		{400, `{"error":{"message":"the context window of 8k is too small for this"}}`, TooLong, 0, true},
		{400, `{"code":"InputDataInspectionFailed","message":"x"}`, Filtered, 0, false},

		// In a 200.
		{200, `{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}`, QuotaExhausted, 0, true},
		{200, `{"base_resp":{"status_code":0,"status_msg":"success"},"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}`, Success, 0, false},
		{200, `{"code":50505,"message":"Model service overloaded. Please try again later.","data":null}`, Overloaded, 0, true},
		{200, `{"code":0,"message":"ok","choices":[]}`, Success, 0, false},
		{200, `{"errors":[{"message":"too many requests"}]}`, RateLimited, 0, true},
		{200, `{"detail":"rate limit of this key"}`, RateLimited, 0, true},
		{200, `{"choices":[{"message":{"content":""},"finish_reason":"network_error"}]}`, ServerError, 0, false},
		{200, `{"choices":[{"message":{"content":"\"finish_reason\":\"error\""},"finish_reason":"stop"}]}`, Success, 0, false},
	} {
		v := Classify(&Response{Route: chat, Status: tt.status, Header: headerOf("Date", serverDate), Body: []byte(tt.body), Now: localTime})
		if v.Class != tt.want || v.Wait != tt.wait || v.Phrase != tt.phrase {
			t.Errorf("%d %s\nis %d, wait %v, phrase %v; want %d, %v, %v", tt.status, tt.body, v.Class, v.Wait, v.Phrase, tt.want, tt.wait, tt.phrase)
		}
	}
}

// A sentence that the request has too is its echo.
func TestEcho(t *testing.T) {
	for _, tt := range []struct {
		status        int
		body, request string
		want          Class
	}{
		{400, `{"error":{"message":"invalid message: Insufficient Balance"}}`, `{"messages":[{"content":"why INSUFFICIENT balance?"}]}`, Invalid},
		{400, `{"error":{"message":"invalid message: Insufficient Balance"}}`, `{"messages":[{"content":"why?"}]}`, QuotaExhausted},
		{500, `{"error":{"message":"failed on: daily limit exceeded"}}`, `{"x":"failed on: daily limit exceeded, they said"}`, ServerError},
		{402, `{"error":{"message":"insufficient balance"}}`, `{"x":"insufficient balance"}`, QuotaExhausted},
		{429, `{"error":{"message":"insufficient balance"}}`, `{"x":"insufficient balance"}`, QuotaExhausted},
		{400, `{"error":{"code":"insufficient_balance"}}`, `{"x":"insufficient_balance"}`, QuotaExhausted}, // a word for programs
	} {
		v := Classify(&Response{Status: tt.status, Body: []byte(tt.body), Request: []byte(tt.request), Now: localTime})
		if v.Class != tt.want {
			t.Errorf("%d %s to %s is %d, want %d", tt.status, tt.body, tt.request, v.Class, tt.want)
		}
	}
}

// DashScope's limit of a minute has the words of OpenAI's spent plan.
func TestInsufficientQuotaOfAMinute(t *testing.T) {
	const body = `{"error":{"code":"insufficient_quota","type":"insufficient_quota","message":"You exceeded your current quota"}`
	for _, tt := range []struct {
		host, rest string
		status     int
		want       Class
	}{
		{"api.openai.com", `}`, 429, QuotaExhausted},
		{"gateway.example", `}`, 429, QuotaExhausted},
		{"dashscope-intl.aliyuncs.com:443", `}`, 429, RateLimited},
		{"x.cn-beijing.maas.aliyuncs.com", `}`, 429, RateLimited},
		{"gateway.example", `,"request_id":"7c9f"}`, 429, RateLimited},
		{"dashscope.aliyuncs.com", `}`, 403, QuotaExhausted},
	} {
		if v := Classify(&Response{Host: tt.host, Status: tt.status, Body: []byte(body + tt.rest), Now: localTime}); v.Class != tt.want {
			t.Errorf("%d of %s%s is %d, want %d", tt.status, tt.host, tt.rest, v.Class, tt.want)
		}
	}
}

// A failure in a provider's own format proves more than a page.
func TestOwn(t *testing.T) {
	for body, want := range map[string]bool{
		`{"error":{"message":"x"}}`:           true,
		`{"type":"error","message":"x"}`:      false,
		`{"message":"x","code":"not_found"}`:  true,
		`{"detail":[{"loc":["body"]}]}`:       false,
		`<html><h1>404 Not Found</h1></html>`: false,
		`404 page not found`:                  false,
		``:                                    false,
	} {
		if v := Classify(&Response{Status: 404, Body: []byte(body), Now: localTime}); v.Own != want {
			t.Errorf("%s: own %v, want %v", body, v.Own, want)
		}
	}
	if v := Classify(&Response{Status: 400, Header: http.Header{"X-Amzn-Errortype": {"ValidationException"}}, Now: localTime}); !v.Own {
		t.Error("an exception named in the header is no own failure")
	}
}

// The age of a signature says nothing about the key.
func TestLateSignature(t *testing.T) {
	for body, want := range map[string]bool{
		`{"message":"Signature expired: 20260303T115400Z is now earlier than 20260303T115500Z"}`: false,
		`{"__type":"RequestExpired","message":"x"}`:                                              false,
		`{"message":"The security token included in the request is invalid."}`:                   true,
	} {
		v := Classify(&Response{Status: 403, Body: []byte(body), Now: localTime})
		if v.Class != Invalid || v.Misdirected != want {
			t.Errorf("%s: class %d, misdirected %v, want %v", body, v.Class, v.Misdirected, want)
		}
	}
}
