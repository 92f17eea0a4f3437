package snubber_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/neterr"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A server's x-should-retry wins over the status, but does not make a hopeless
// request retryable.
func TestRetryObeysShouldRetry(t *testing.T) {
	yes, no := wiretest.Header("X-Should-Retry", "true"), wiretest.Header("X-Should-Retry", "false")
	const quota = `{"error":{"code":"insufficient_quota","type":"insufficient_quota","message":"You exceeded your current quota"}}`
	const long = `{"error":{"code":"context_length_exceeded","type":"invalid_request_error","message":"too long"}}`
	const filter = `{"error":{"code":"content_filter","type":"invalid_request_error","message":"filtered"}}`
	for _, tt := range []struct {
		name   string
		url    string
		status int
		header http.Header
		body   string
		want   int
	}{
		{"false on 500", wiretest.ChatURL, 500, no, "", 1},
		{"false on 429", wiretest.ChatURL, 429, no, "", 1},
		{"false on 529", wiretest.ChatURL, 529, no, "", 1},
		{"false on 503 with Retry-After", wiretest.ChatURL, 503, wiretest.Header("X-Should-Retry", "false", "Retry-After", "1"), "", 1},
		{"true on 400", wiretest.ChatURL, 400, yes, "", 2},
		{"true on 404", wiretest.ChatURL, 404, yes, "", 2},
		{"true on an unsafe 500", "https://api.example.com/v1/files", 500, yes, "", 2},
		{"true on an exhausted quota", wiretest.ChatURL, 429, yes, quota, 1},
		{"true on a long prompt", wiretest.ChatURL, 400, yes, long, 1},
		{"true on a filtered one", wiretest.ChatURL, 400, yes, filter, 1},
		{"true on 200", wiretest.ChatURL, 200, yes, "", 1},
		{"anything else", wiretest.ChatURL, 500, wiretest.Header("X-Should-Retry", "maybe"), "", 2},
		{"anything else on 400", wiretest.ChatURL, 400, wiretest.Header("X-Should-Retry", "maybe"), "", 1},
		{"Cerebras says false of a full queue and is wrong", wiretest.ChatURL, 429, no, `{"code":"queue_exceeded","type":"too_many_requests_error","message":"busy"}`, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(wiretest.Step{Status: tt.status, Header: tt.header, Body: tt.body}, wiretest.Step{})
				res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(wiretest.NewRequest(t, "POST", tt.url, wiretest.ChatBody))
				if err != nil {
					t.Fatal(err)
				}
				wiretest.ReadAll(t, res)
				if n := base.Sent(); n != tt.want {
					t.Errorf("%d attempts, want %d", n, tt.want)
				}
			})
		})
	}
}

// The final failure of a Stainless client tells it not to retry, if Retry had
// the verdict. Other clients get the response unchanged.
func TestRetryMarksFinalFailureForSDK(t *testing.T) {
	stainless := []string{"X-Stainless-Lang", "go"}
	const files = "https://api.example.com/v1/files"
	down := wiretest.Step{Status: 500}
	for _, tt := range []struct {
		name   string
		url    string
		header []string
		step   wiretest.Step
		retry  *snubber.Retry
		want   string
	}{
		{"attempts ran out", wiretest.ChatURL, stainless, down, &snubber.Retry{}, "false"},
		{"any of their headers", wiretest.ChatURL, []string{"X-Stainless-Retry-Count", "0"}, down, &snubber.Retry{}, "false"},
		{"an SDK's retry", wiretest.ChatURL, []string{"X-Stainless-Retry-Count", "1"}, down, &snubber.Retry{}, "false"},
		{"the wait is too long", wiretest.ChatURL, stainless, wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "90")}, &snubber.Retry{}, "false"},
		{"over the server's own word", wiretest.ChatURL, stainless, wiretest.Step{Status: 500, Header: wiretest.Header("X-Should-Retry", "true")}, &snubber.Retry{}, "false"},
		{"quota exhausted", wiretest.ChatURL, stainless, wiretest.Step{Status: 429, Body: `{"error":{"code":"insufficient_quota"}}`}, &snubber.Retry{}, "false"},
		{"unsafe but certainly not done", files, stainless, wiretest.Step{Status: 429}, &snubber.Retry{}, "false"},
		{"If declined", wiretest.ChatURL, stainless, down, &snubber.Retry{If: func(*http.Request, snubber.Outcome) bool { return false }}, "false"},
		{"declined only because it is unsafe", files, stainless, down, &snubber.Retry{}, ""},
		{"no Retry", wiretest.ChatURL, stainless, down, nil, ""},
		{"another client", wiretest.ChatURL, nil, down, &snubber.Retry{}, ""},
		{"success", wiretest.ChatURL, stainless, wiretest.Step{}, &snubber.Retry{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var own http.Header
				base := wiretest.Play(wiretest.Step{Do: func(req *http.Request) (*http.Response, error) {
					io.Copy(io.Discard, req.Body)
					req.Body.Close()
					st := tt.step
					if st.Status == 0 {
						st.Status = 200
					}
					own = wiretest.Header("X-Request-Id", "r")
					for k, v := range st.Header {
						own[k] = v
					}
					return &http.Response{StatusCode: st.Status, Header: own, Body: io.NopCloser(strings.NewReader(st.Body)), Request: req}, nil
				}})
				before := tt.step.Header.Get("X-Should-Retry")
				res, err := (&snubber.Transport{Base: base, Retry: tt.retry}).RoundTrip(wiretest.NewRequest(t, "POST", tt.url, wiretest.ChatBody, tt.header...))
				if err != nil {
					t.Fatal(err)
				}
				wiretest.ReadAll(t, res)
				if got := res.Header.Get("X-Should-Retry"); got != tt.want {
					t.Errorf("X-Should-Retry = %q, want %q", got, tt.want)
				}
				if res.Header.Get("X-Request-Id") != "r" {
					t.Errorf("header %v lost the server's", res.Header)
				}
				if got := own.Get("X-Should-Retry"); got != before {
					t.Errorf("Base's own header was written to: %q", got)
				}
			})
		})
	}
}

// A request that is itself an SDK's retry gets one attempt.
func TestRetrySDKRetryGetsOneAttempt(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        int
	}{
		{"X-Stainless-Retry-Count", "0", 5},
		{"X-Stainless-Retry-Count", "1", 1},
		{"X-Stainless-Retry-Count", "12", 1},
		{"X-Stainless-Retry-Count", "many", 5},
		{"Amz-Sdk-Request", "attempt=1; max=3", 5},
		{"Amz-Sdk-Request", "attempt=1", 5},
		{"Amz-Sdk-Request", "attempt=2; max=3", 1},
		{"Amz-Sdk-Request", "ttl=20200101T000000Z; attempt=3; max=3", 1},
		{"Amz-Sdk-Request", "attempt=10; max=12", 1},
		{"Amz-Sdk-Request", "", 5},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Status: 500})
			res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(wiretest.Chat(t, tt.name, tt.value))
			if err != nil {
				t.Fatal(err)
			}
			wiretest.ReadAll(t, res)
			if n := base.Sent(); n != tt.want {
				t.Errorf("%s: %s: %d attempts, want %d", tt.name, tt.value, n, tt.want)
			}
		})
	}
}

// A request that is not safe to repeat is repeated only if the server certainly
// did not process it.
func TestRetryRepeatsOnlySafeRequests(t *testing.T) {
	const (
		root   = "https://api.example.com"
		stored = `{"model":"m","input":"hi","background":true}`
	)
	requests := []struct {
		name, method, url, body string
		header                  []string
		idempotent, safe        bool
	}{
		{"GET", "GET", root + "/v1/models", "", nil, false, true},
		{"no method", "", root + "/v1/models", "", nil, false, true},
		{"HEAD", "HEAD", root + "/x", "", nil, false, true},
		{"PUT", "PUT", root + "/x", "b", nil, false, true},
		{"DELETE", "DELETE", root + "/x", "", nil, false, true},
		{"OPTIONS", "OPTIONS", root + "/x", "", nil, false, true},
		{"TRACE", "TRACE", root + "/x", "", nil, false, true},
		{"PATCH", "PATCH", root + "/x", "b", nil, false, false},
		{"POST", "POST", root + "/x", "b", nil, false, false},
		{"unknown method", "PROPOSE", root + "/x", "b", nil, false, false},
		{"Idempotency-Key", "POST", root + "/x", "b", []string{"Idempotency-Key", "k"}, false, true},
		{"WithIdempotent", "POST", root + "/x", "b", nil, true, true},
		{"chat", "POST", root + "/v1/chat/completions", wiretest.ChatBody, nil, false, true},
		{"chat at Azure", "POST", root + "/openai/deployments/d/chat/completions", `{}`, nil, false, true},
		{"responses", "POST", root + "/v1/responses", `{"model":"m","input":"hi"}`, nil, false, true},
		{"responses in background", "POST", root + "/v1/responses", stored, nil, false, false},
		{"embeddings", "POST", root + "/v1/embeddings", `{"model":"m","input":"hi"}`, nil, false, true},
		{"messages", "POST", root + "/v1/messages", `{"model":"m","messages":[]}`, nil, false, true},
		{"messages to somebody", "POST", root + "/v1/threads/t/messages", `{"model":"m"}`, nil, false, false},
		{"Gemini", "POST", root + "/v1beta/models/g:generateContent", `{"contents":[]}`, nil, false, true},
		{"Gemini batch", "POST", root + "/v1beta/models/g:batchGenerateContent", `{}`, nil, false, false},
		{"Bedrock", "POST", root + "/model/m/converse", `{}`, nil, false, true},
		{"Ollama", "POST", "http://localhost:11434/api/chat", `{"model":"m","messages":[],"stream":false}`, nil, false, true},
		{"files", "POST", root + "/v1/files", `{"model":"m"}`, nil, false, false},
		{"batches", "POST", root + "/v1/batches", `{"model":"m"}`, nil, false, false},
		{"fine-tuning", "POST", root + "/v1/fine_tuning/jobs", `{"model":"m"}`, nil, false, false},
		{"assistants", "POST", root + "/v1/assistants", `{"model":"m"}`, nil, false, false},
	}
	failures := []struct {
		name   string
		step   wiretest.Step
		always bool // retried whatever the request
		never  bool
	}{
		{name: "500", step: wiretest.Step{Status: 500}},
		{name: "502", step: wiretest.Step{Status: 502}},
		{name: "504", step: wiretest.Step{Status: 504}},
		{name: "bare 503", step: wiretest.Step{Status: 503}},
		{name: "503 with Retry-After", step: wiretest.Step{Status: 503, Header: wiretest.Header("Retry-After", "1")}, always: true},
		{name: "503 with a body that declines", step: wiretest.Step{Status: 503, Body: `{"error":{"code":503,"status":"UNAVAILABLE","message":"The model is overloaded. Please try again later."}}`}, always: true},
		{name: "529", step: wiretest.Step{Status: 529, Body: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`}, always: true},
		{name: "429", step: wiretest.Step{Status: 429}, always: true},
		{name: "408", step: wiretest.Step{Status: 408}},
		{name: "409", step: wiretest.Step{Status: 409}},
		{name: "425", step: wiretest.Step{Status: 425}},
		{name: "dial", step: wiretest.Step{Err: &net.OpError{Op: "dial", Net: "tcp", Err: neterr.Refused}}, always: true},
		{name: "DNS", step: wiretest.Step{Err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host"}}}, always: true},
		{name: "refused stream", step: wiretest.Step{Err: wiretest.HTTP2Error{Code: 7}}, always: true},
		{name: "reset stream", step: wiretest.Step{Err: wiretest.HTTP2Error{Code: 8}}},
		{name: "connection reset", step: wiretest.Step{Err: &net.OpError{Op: "read", Err: neterr.Reset}}},
		{name: "EOF", step: wiretest.Step{Err: io.EOF}},
		{name: "timed out", step: wiretest.Step{Delay: time.Hour}},
		{name: "400", step: wiretest.Step{Status: 400}, never: true},
		{name: "401", step: wiretest.Step{Status: 401}, never: true},
		{name: "404", step: wiretest.Step{Status: 404}, never: true},
		{name: "402", step: wiretest.Step{Status: 402}, never: true},
		{name: "413", step: wiretest.Step{Status: 413}, never: true},
	}
	for _, rq := range requests {
		t.Run(rq.name, func(t *testing.T) {
			for _, f := range failures {
				t.Run(f.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						want := 1
						if !f.never && (f.always || rq.safe) {
							want = 2
						}
						base := wiretest.Play(f.step, wiretest.Step{})
						tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Timeout: &snubber.Timeout{Headers: time.Second}}
						req := wiretest.NewRequest(t, rq.method, rq.url, rq.body, rq.header...)
						req.Method = rq.method
						if rq.idempotent {
							req = req.WithContext(snubber.WithIdempotent(req.Context()))
						}
						if res, err := tr.RoundTrip(req); err == nil {
							wiretest.ReadAll(t, res)
						} else if want == 2 {
							t.Errorf("RoundTrip: %v", err)
						}
						if n := base.Sent(); n != want {
							t.Errorf("%d attempts, want %d", n, want)
						}
						if len(rq.header) == 0 && base.Attempts()[0].Header.Get("Idempotency-Key") != "" {
							t.Error("an Idempotency-Key was added")
						}
					})
				})
			}
		})
	}
}

// An SDK's retry does not go back to the queue either: it has exactly one
// attempt.
func TestRetrySDKRetryIsNotRequeued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "1")}, wiretest.Step{})
		start := time.Now()
		res, err := snubber.New(base).RoundTrip(wiretest.Chat(t, "X-Stainless-Retry-Count", "1"))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		if res.StatusCode != 429 || res.Header.Get("X-Should-Retry") != "false" || base.Sent() != 1 || time.Since(start) != 0 {
			t.Errorf("%d %v after %d attempts and %v, want the 429 at once, stamped", res.StatusCode, res.Header, base.Sent(), time.Since(start))
		}
	})
}
