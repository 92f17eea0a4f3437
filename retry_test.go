package snubber_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// unbounded is a Retry without the bounds that would end a long sequence.
func unbounded() *snubber.Retry {
	return &snubber.Retry{MaxAttempts: -1, Budget: &snubber.Budget{Capacity: -1}}
}

// waits are the times between the attempts of one call.
func waits(ts []try) []time.Duration {
	var ds []time.Duration
	for i := 1; i < len(ts); i++ {
		ds = append(ds, ts[i].at.Sub(ts[i-1].at))
	}
	return ds
}

// fails is n times the same failure and then an answer.
func fails(n int, st step) []step {
	steps := make([]step, n, n+1)
	for i := range steps {
		steps[i] = st
	}
	return append(steps, step{})
}

// Each step of the backoff is half fixed and half random, doubles, and is
// capped, twice as long where a server said that it is overloaded.
func TestBackoffSteps(t *testing.T) {
	const ms = time.Millisecond
	sequence := func(b, limit time.Duration, n int) (bs []time.Duration) {
		for range n {
			bs = append(bs, min(b, limit))
			b *= 2
		}
		return bs
	}
	zeros := make([]time.Duration, 4)
	for _, tt := range []struct {
		name     string
		min, max time.Duration
		failure  step
		want     []time.Duration // the upper ends
	}{
		{"defaults", 0, 0, step{status: 500}, sequence(500*ms, 8*time.Second, 7)},
		{"overloaded", 0, 0, step{status: 529}, sequence(time.Second, 8*time.Second, 7)},
		{"rate limited without a hint", 0, 0, step{status: 429}, sequence(time.Second, 8*time.Second, 7)},
		{"dial error", 0, 0, step{err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, sequence(500*ms, 8*time.Second, 7)},
		{"own", 40 * ms, 200 * ms, step{status: 500}, sequence(40*ms, 200*ms, 5)},
		{"no ceiling", time.Second, -1, step{status: 500}, sequence(time.Second, time.Hour, 8)},
		{"no wait of our own", -1, 0, step{status: 500}, zeros},
		{"nothing but the server", -1, -1, step{status: 529}, zeros},
		{"ceiling below the first", time.Minute, time.Second, step{status: 500}, sequence(time.Second, time.Second, 3)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const runs = 200
				low := make([]time.Duration, len(tt.want))
				high := make([]time.Duration, len(tt.want))
				for run := range runs {
					base := play(fails(len(tt.want), tt.failure)...)
					rt := unbounded()
					rt.MinBackoff, rt.MaxBackoff = tt.min, tt.max
					res, err := (&snubber.Transport{Base: base, Retry: rt}).RoundTrip(chat(t))
					if err != nil {
						t.Fatal(err)
					}
					slurp(t, res)
					got := waits(base.all())
					if len(got) != len(tt.want) {
						t.Fatalf("%d waits, want %d", len(got), len(tt.want))
					}
					for i, d := range got {
						if b := tt.want[i]; d < b/2-1 || d > b+1 {
							t.Fatalf("wait %d = %v, want %v to %v", i, d, b/2, b)
						}
						if run == 0 {
							low[i] = d
						}
						low[i], high[i] = min(low[i], d), max(high[i], d)
					}
				}
				for i, b := range tt.want {
					// Two hundred draws miss an outer tenth of their range less
					// than once in a billion.
					if b > 0 && (low[i] > b/2+b/20 || high[i] < b-b/20) {
						t.Errorf("wait %d went from %v to %v, want all of %v to %v", i, low[i], high[i], b/2, b)
					}
				}
			})
		})
	}
}

// A server's wait is a floor with the jitter behind it, and a shorter one than
// our own step changes nothing.
func TestRetryAfterIsAFloor(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name     string
		status   int
		header   http.Header
		from, to time.Duration
	}{
		{"seconds", 503, hdr("Retry-After", "7"), 7 * time.Second, 7700 * ms},
		{"a second of jitter at most", 503, hdr("Retry-After", "30"), 30 * time.Second, 31 * time.Second},
		{"as long as MaxWait", 503, hdr("Retry-After", "60"), 60 * time.Second, 61 * time.Second},
		{"milliseconds", 429, hdr("Retry-After-Ms", "4500"), 4500 * ms, 4950 * ms},
		{"milliseconds before seconds", 429, hdr("Retry-After-Ms", "4500", "Retry-After", "9"), 4500 * ms, 4950 * ms},
		{"Azure", 429, hdr("X-Ms-Retry-After-Ms", "2000"), 2000 * ms, 2200 * ms},
		{"date against Date", 503, hdr("Retry-After", "Wed, 21 Oct 2015 07:28:05 GMT", "Date", "Wed, 21 Oct 2015 07:28:00 GMT"), 5 * time.Second, 5500 * ms},
		{"shorter than our own", 503, hdr("Retry-After-Ms", "1"), 500 * ms, 1000 * ms},
		{"zero", 500, hdr("Retry-After", "0"), 250 * ms, 500 * ms},
		{"negative", 500, hdr("Retry-After", "-5"), 250 * ms, 500 * ms},
		{"garbage", 500, hdr("Retry-After", "soon"), 250 * ms, 500 * ms},
		{"not a number", 500, hdr("Retry-After", "NaN"), 250 * ms, 500 * ms},
		{"Gemini", 429, nil, 3 * time.Second, 3300 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				failure := step{status: tt.status, header: tt.header}
				if tt.name == "Gemini" {
					failure.body = `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"3s"}]}}`
				}
				low, high := time.Hour, time.Duration(0)
				for range 100 {
					base := play(failure, step{})
					res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(chat(t))
					if err != nil {
						t.Fatal(err)
					}
					slurp(t, res)
					d := waits(base.all())[0]
					low, high = min(low, d), max(high, d)
				}
				if low < tt.from-1 || high > tt.to+1 {
					t.Errorf("waited %v to %v, want %v to %v", low, high, tt.from, tt.to)
				}
				if low == high {
					t.Errorf("always waited %v: no jitter", low)
				}
			})
		})
	}
}

// A wait that does not fit MaxWait or the deadline is not begun, and the
// response is there at once, as it came.
func TestUnfitWaitReturnsTheResponse(t *testing.T) {
	for _, tt := range []struct {
		name     string
		after    string
		maxWait  time.Duration
		deadline time.Duration
		attempts int
	}{
		{"beyond MaxWait", "61", 0, 0, 1},
		{"beyond a MaxWait of one's own", "6", 5 * time.Second, 0, 1},
		{"within MaxWait", "5", 5 * time.Second, 0, 2},
		{"no MaxWait", "900", -1, 0, 2},
		{"beyond the deadline", "7", 0, 7 * time.Second, 1},
		{"within the deadline", "7", 0, 8 * time.Second, 2},
		{"no MaxWait but a deadline", "900", -1, 5 * time.Minute, 1},
		{"own step beyond the deadline", "", 0, 250 * time.Millisecond, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				header := http.Header{}
				if tt.after != "" {
					header.Set("Retry-After", tt.after)
				}
				base := play(step{status: 503, header: header, body: "first"}, step{})
				tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{MaxWait: tt.maxWait}}
				ctx := context.Background()
				if tt.deadline > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				start := time.Now()
				res, err := tr.RoundTrip(chat(t).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				body := slurp(t, res)
				if n := base.sent(); n != tt.attempts {
					t.Fatalf("%d attempts, want %d", n, tt.attempts)
				}
				if tt.attempts == 1 && (res.StatusCode != 503 || body != "first" || time.Since(start) != 0) {
					t.Errorf("%d %q after %v, want the 503 at once", res.StatusCode, body, time.Since(start))
				}
			})
		})
	}
}

// When attempts run out the last response comes back as it was, and the
// earlier bodies were closed before any wait began.
func TestLastResponseIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("x", 200<<10)
		base := play(
			step{status: 500, body: "one"},
			step{status: 502, body: long},
			step{status: 503, body: "three"},
			step{status: 504, body: long, header: hdr("X-Request-Id", "r4", "Content-Type", "text/plain")})
		start := time.Now()
		res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(chat(t))
		if err != nil {
			t.Fatal(err)
		}
		ts := base.all()
		if len(ts) != 4 {
			t.Fatalf("%d attempts, want 4", len(ts))
		}
		for i, tr := range ts[:3] {
			if !tr.closed.Equal(tr.at) {
				t.Errorf("body %d closed at %v, want %v", i, tr.closed.Sub(start), tr.at.Sub(start))
			}
		}
		if !ts[3].closed.IsZero() {
			t.Error("the last body was closed before its reader did")
		}
		if res.StatusCode != 504 || res.Header.Get("X-Request-Id") != "r4" || res.ContentLength != int64(len(long)) {
			t.Errorf("got %d %v length %d", res.StatusCode, res.Header, res.ContentLength)
		}
		if len(res.Header) != 2 {
			t.Errorf("header %v, want as it came", res.Header)
		}
		if body := slurp(t, res); body != long {
			t.Errorf("%d bytes of the body, want %d", len(body), len(long))
		}
		if ts := base.all(); ts[3].closed.IsZero() {
			t.Error("the last body was never closed")
		}
	})
}

// MaxAttempts counts the first attempt.
func TestMaxAttempts(t *testing.T) {
	for n, want := range map[int]int{0: 4, 1: 1, 2: 2, 7: 7} {
		synctest.Test(t, func(t *testing.T) {
			base := play(step{status: 500})
			res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{MaxAttempts: n}}).RoundTrip(chat(t))
			if err != nil {
				t.Fatal(err)
			}
			slurp(t, res)
			if got := base.sent(); got != want {
				t.Errorf("MaxAttempts %d: %d attempts, want %d", n, got, want)
			}
		})
	}
}

// A negative MaxAttempts goes on until the deadline, and never past it.
func TestUnboundedAttemptsEndWithTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{status: 500})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		start := time.Now()
		res, err := (&snubber.Transport{Base: base, Retry: unbounded()}).RoundTrip(chat(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		slurp(t, res)
		// 8 s is the longest step, so the rest is shorter than that.
		if took := time.Since(start); took >= time.Minute || took < 52*time.Second {
			t.Errorf("returned after %v, want within the last 8 s of a minute", took)
		}
		if res.StatusCode != 500 {
			t.Errorf("got %d, want the last response", res.StatusCode)
		}
	})
}

// x-should-retry from a server wins over the status, but no word of a server
// makes a hopeless request hopeful.
func TestShouldRetryIsObeyed(t *testing.T) {
	yes, no := hdr("X-Should-Retry", "true"), hdr("X-Should-Retry", "false")
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
		{"false on 500", chatURL, 500, no, "", 1},
		{"false on 429", chatURL, 429, no, "", 1},
		{"false on 529", chatURL, 529, no, "", 1},
		{"false on 503 with Retry-After", chatURL, 503, hdr("X-Should-Retry", "false", "Retry-After", "1"), "", 1},
		{"true on 400", chatURL, 400, yes, "", 2},
		{"true on 404", chatURL, 404, yes, "", 2},
		{"true on an unsafe 500", "https://api.example.com/v1/files", 500, yes, "", 2},
		{"true on an exhausted quota", chatURL, 429, yes, quota, 1},
		{"true on a long prompt", chatURL, 400, yes, long, 1},
		{"true on a filtered one", chatURL, 400, yes, filter, 1},
		{"true on 200", chatURL, 200, yes, "", 1},
		{"anything else", chatURL, 500, hdr("X-Should-Retry", "maybe"), "", 2},
		{"anything else on 400", chatURL, 400, hdr("X-Should-Retry", "maybe"), "", 1},
		{"Cerebras says false of a full queue and is wrong", chatURL, 429, no, `{"code":"queue_exceeded","type":"too_many_requests_error","message":"busy"}`, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := play(step{status: tt.status, header: tt.header, body: tt.body}, step{})
				res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(newReq(t, "POST", tt.url, chatBody))
				if err != nil {
					t.Fatal(err)
				}
				slurp(t, res)
				if n := base.sent(); n != tt.want {
					t.Errorf("%d attempts, want %d", n, tt.want)
				}
			})
		})
	}
}

// A Stainless client's final failure says not to try again, where Retry had
// the verdict, and nobody else's response is touched.
func TestFinalFailureIsStamped(t *testing.T) {
	stainless := []string{"X-Stainless-Lang", "go"}
	const files = "https://api.example.com/v1/files"
	down := step{status: 500}
	for _, tt := range []struct {
		name   string
		url    string
		header []string
		step   step
		retry  *snubber.Retry
		want   string
	}{
		{"attempts ran out", chatURL, stainless, down, &snubber.Retry{}, "false"},
		{"any of their headers", chatURL, []string{"X-Stainless-Retry-Count", "0"}, down, &snubber.Retry{}, "false"},
		{"an SDK's retry", chatURL, []string{"X-Stainless-Retry-Count", "1"}, down, &snubber.Retry{}, "false"},
		{"the wait is too long", chatURL, stainless, step{status: 429, header: hdr("Retry-After", "90")}, &snubber.Retry{}, "false"},
		{"over the server's own word", chatURL, stainless, step{status: 500, header: hdr("X-Should-Retry", "true")}, &snubber.Retry{}, "false"},
		{"quota exhausted", chatURL, stainless, step{status: 429, body: `{"error":{"code":"insufficient_quota"}}`}, &snubber.Retry{}, "false"},
		{"unsafe but certainly not done", files, stainless, step{status: 429}, &snubber.Retry{}, "false"},
		{"If declined", chatURL, stainless, down, &snubber.Retry{If: func(*http.Request, snubber.Outcome) bool { return false }}, "false"},
		{"declined only because it is unsafe", files, stainless, down, &snubber.Retry{}, ""},
		{"no Retry", chatURL, stainless, down, nil, ""},
		{"another client", chatURL, nil, down, &snubber.Retry{}, ""},
		{"success", chatURL, stainless, step{}, &snubber.Retry{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var own http.Header
				base := play(step{do: func(req *http.Request) (*http.Response, error) {
					io.Copy(io.Discard, req.Body)
					req.Body.Close()
					st := tt.step
					if st.status == 0 {
						st.status = 200
					}
					own = hdr("X-Request-Id", "r")
					for k, v := range st.header {
						own[k] = v
					}
					return &http.Response{StatusCode: st.status, Header: own, Body: io.NopCloser(strings.NewReader(st.body)), Request: req}, nil
				}})
				before := tt.step.header.Get("X-Should-Retry")
				res, err := (&snubber.Transport{Base: base, Retry: tt.retry}).RoundTrip(newReq(t, "POST", tt.url, chatBody, tt.header...))
				if err != nil {
					t.Fatal(err)
				}
				slurp(t, res)
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
func TestSDKsOwnRetryGetsOneAttempt(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        int
	}{
		{"X-Stainless-Retry-Count", "0", 4},
		{"X-Stainless-Retry-Count", "1", 1},
		{"X-Stainless-Retry-Count", "12", 1},
		{"X-Stainless-Retry-Count", "many", 4},
		{"Amz-Sdk-Request", "attempt=1; max=3", 4},
		{"Amz-Sdk-Request", "attempt=1", 4},
		{"Amz-Sdk-Request", "attempt=2; max=3", 1},
		{"Amz-Sdk-Request", "ttl=20200101T000000Z; attempt=3; max=3", 1},
		{"Amz-Sdk-Request", "attempt=10; max=12", 1},
		{"Amz-Sdk-Request", "", 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			base := play(step{status: 500})
			res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(chat(t, tt.name, tt.value))
			if err != nil {
				t.Fatal(err)
			}
			slurp(t, res)
			if n := base.sent(); n != tt.want {
				t.Errorf("%s: %s: %d attempts, want %d", tt.name, tt.value, n, tt.want)
			}
		})
	}
}

// http2Error is like net/http's own HTTP/2 stream error: its As fills a struct
// of the same shape.
type http2Error struct{ code uint32 }

func (e http2Error) Error() string { return "stream error" }

func (e http2Error) As(target any) bool {
	v := reflect.ValueOf(target).Elem()
	if v.Kind() != reflect.Struct || v.NumField() != 3 || v.Type().Field(1).Name != "Code" {
		return false
	}
	v.Field(1).SetUint(uint64(e.code))
	return true
}

// What is not safe to repeat is repeated only where it certainly was not done.
func TestRepeatsOnlyWhatMayBeRepeated(t *testing.T) {
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
		{"chat", "POST", root + "/v1/chat/completions", chatBody, nil, false, true},
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
		step   step
		always bool // repeated whatever the request
		never  bool
	}{
		{name: "500", step: step{status: 500}},
		{name: "502", step: step{status: 502}},
		{name: "504", step: step{status: 504}},
		{name: "bare 503", step: step{status: 503}},
		{name: "503 with Retry-After", step: step{status: 503, header: hdr("Retry-After", "1")}, always: true},
		{name: "503 with a body that declines", step: step{status: 503, body: `{"error":{"code":503,"status":"UNAVAILABLE","message":"The model is overloaded. Please try again later."}}`}, always: true},
		{name: "529", step: step{status: 529, body: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`}, always: true},
		{name: "429", step: step{status: 429}, always: true},
		{name: "408", step: step{status: 408}},
		{name: "409", step: step{status: 409}},
		{name: "425", step: step{status: 425}},
		{name: "dial", step: step{err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}}, always: true},
		{name: "DNS", step: step{err: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host"}}}, always: true},
		{name: "refused stream", step: step{err: http2Error{7}}, always: true},
		{name: "reset stream", step: step{err: http2Error{8}}},
		{name: "connection reset", step: step{err: &net.OpError{Op: "read", Err: syscall.ECONNRESET}}},
		{name: "EOF", step: step{err: io.EOF}},
		{name: "timed out", step: step{delay: time.Hour}},
		{name: "400", step: step{status: 400}, never: true},
		{name: "401", step: step{status: 401}, never: true},
		{name: "404", step: step{status: 404}, never: true},
		{name: "402", step: step{status: 402}, never: true},
		{name: "413", step: step{status: 413}, never: true},
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
						base := play(f.step, step{})
						tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Timeout: &snubber.Timeout{Headers: time.Second}}
						req := newReq(t, rq.method, rq.url, rq.body, rq.header...)
						req.Method = rq.method
						if rq.idempotent {
							req = req.WithContext(snubber.WithIdempotent(req.Context()))
						}
						if res, err := tr.RoundTrip(req); err == nil {
							slurp(t, res)
						} else if want == 2 {
							t.Errorf("RoundTrip: %v", err)
						}
						if n := base.sent(); n != want {
							t.Errorf("%d attempts, want %d", n, want)
						}
						if len(rq.header) == 0 && base.all()[0].header.Get("Idempotency-Key") != "" {
							t.Error("an Idempotency-Key was added")
						}
					})
				})
			}
		})
	}
}

// An attempt that our own timer ended is followed by one more at most.
func TestTimedOutIsRepeatedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{delay: time.Hour})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Timeout: &snubber.Timeout{Headers: time.Second}}
		start := time.Now()
		_, err := tr.RoundTrip(chat(t))
		var late *snubber.TimeoutError
		if !errors.As(err, &late) || late.Phase != snubber.PhaseHeaders {
			t.Errorf("err = %v, want a TimeoutError of the headers", err)
		}
		if n := base.sent(); n != 2 {
			t.Errorf("%d attempts, want 2", n)
		}
		if d := time.Since(start); d < 2250*time.Millisecond || d > 2500*time.Millisecond {
			t.Errorf("took %v, want two seconds and one step", d)
		}
	})
	// Not in a row either.
	synctest.Test(t, func(t *testing.T) {
		base := play(step{delay: time.Hour}, step{status: 500}, step{delay: time.Hour}, step{})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Timeout: &snubber.Timeout{Headers: time.Second}}
		_, err := tr.RoundTrip(chat(t))
		if n := base.sent(); n != 3 || err == nil {
			t.Errorf("%d attempts, err %v, want 3 and the timeout", n, err)
		}
	})
}

// If decides alone what is worth repeating, within attempts and waits.
func TestRetryIf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var models []string
		rt := &snubber.Retry{If: func(req *http.Request, o snubber.Outcome) bool {
			models = append(models, snubber.Model(req))
			return o.Class == snubber.Invalid
		}}
		base := play(step{status: 404}, step{status: 500, body: "last"})
		res, err := (&snubber.Transport{Base: base, Retry: rt}).RoundTrip(chat(t))
		if err != nil {
			t.Fatal(err)
		}
		if body := slurp(t, res); body != "last" || base.sent() != 2 {
			t.Errorf("%q after %d attempts, want the second response", body, base.sent())
		}
		if len(models) != 2 || models[0] != "m" || models[1] != "m" {
			t.Errorf("Model in If = %q, want m twice", models)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		base := play(step{status: 404})
		always := &snubber.Retry{If: func(*http.Request, snubber.Outcome) bool { return true }}
		res, err := (&snubber.Transport{Base: base, Retry: always}).RoundTrip(chat(t))
		if err != nil {
			t.Fatal(err)
		}
		slurp(t, res)
		if n := base.sent(); n != 4 {
			t.Errorf("%d attempts, want 4: If does not lift MaxAttempts", n)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a success is not a failure, whatever If says
		base := play(step{})
		always := &snubber.Retry{If: func(*http.Request, snubber.Outcome) bool { return true }}
		res, err := (&snubber.Transport{Base: base, Retry: always}).RoundTrip(chat(t))
		if err != nil {
			t.Fatal(err)
		}
		slurp(t, res)
		if n := base.sent(); n != 1 {
			t.Errorf("%d attempts of a success, want 1", n)
		}
	})
}

// Cancelling in the middle of a backoff returns at once, with the caller's own
// error and not the response.
func TestCancelDuringBackoff(t *testing.T) {
	for _, sdk := range []string{"X-Other", "X-Stainless-Lang"} {
		synctest.Test(t, func(t *testing.T) {
			base := play(step{status: 503, header: hdr("Retry-After", "30")}, step{})
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(12*time.Second, cancel)
			start := time.Now()
			res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(chat(t, sdk, "go").WithContext(ctx))
			if res != nil || !errors.Is(err, context.Canceled) {
				t.Errorf("RoundTrip = %v, %v, want context.Canceled", res, err)
			}
			if d := time.Since(start); d != 12*time.Second {
				t.Errorf("returned after %v, want 12s", d)
			}
			if n := base.sent(); n != 1 {
				t.Errorf("%d attempts, want 1", n)
			}
			if ts := base.all(); ts[0].closed.IsZero() {
				t.Error("the failed response's body is open")
			}
		})
	}
}

// A call whose context is done starts no attempt.
func TestDoneContextStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		req := chat(t).WithContext(ctx)
		closed := 0
		req.Body = &watched{req.Body, func() { closed++ }}
		_, err := snubber.New(base).RoundTrip(req)
		if !errors.Is(err, context.Canceled) || base.sent() != 0 || closed != 1 {
			t.Errorf("err %v, %d attempts, body closed %d times, want context.Canceled, 0, 1", err, base.sent(), closed)
		}
	})
	// The context ends while a hook of the user looks at the failure.
	synctest.Test(t, func(t *testing.T) {
		base := play(step{status: 500}, step{})
		ctx, cancel := context.WithCancel(context.Background())
		rt := &snubber.Retry{MinBackoff: -1, If: func(*http.Request, snubber.Outcome) bool { cancel(); return true }}
		_, err := (&snubber.Transport{Base: base, Retry: rt}).RoundTrip(chat(t).WithContext(ctx))
		if !errors.Is(err, context.Canceled) || base.sent() != 1 {
			t.Errorf("err %v, %d attempts, want context.Canceled and 1", err, base.sent())
		}
	})
}

// Whatever refuses the next attempt hands back the response of the last one.
func TestHeldResponseIsHandedBack(t *testing.T) {
	const long = 200 << 10
	for _, tt := range []struct {
		name     string
		tr       *snubber.Transport
		deadline time.Duration
		status   int
		attempts int
	}{
		{"the circuit opened and the deadline is near", &snubber.Transport{Retry: &snubber.Retry{}, Breaker: &snubber.Breaker{Failures: 1}}, 3 * time.Second, 500, 1},
		{"the circuit opened for longer than MaxWait", &snubber.Transport{Retry: &snubber.Retry{MaxWait: time.Second}, Breaker: &snubber.Breaker{Failures: 1}}, 0, 500, 1},
		{"the queue refuses", &snubber.Transport{Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{RequestsPerMinute: 1, MaxWait: time.Second}}, 0, 500, 1},
		{"the queue does not fit the deadline", &snubber.Transport{Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{RequestsPerMinute: 1}}, 10 * time.Second, 500, 1},
		{"the gate is longer than MaxWait", &snubber.Transport{Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{}}, 0, 429, 1},
		{"the budget is empty", &snubber.Transport{Retry: &snubber.Retry{Budget: &snubber.Budget{Capacity: 0.5}}}, 0, 500, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := "{" + strings.Repeat(" ", long) + "}"
				header := hdr("X-Request-Id", "r1", "Content-Length", "204802")
				if tt.status == 429 {
					header.Set("Retry-After", "300")
				}
				base := play(step{status: tt.status, body: body, header: header}, step{})
				tt.tr.Base = base
				ctx := context.Background()
				if tt.deadline > 0 {
					var cancel func()
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				res, err := tt.tr.RoundTrip(chat(t).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				if res.StatusCode != tt.status || res.Header.Get("X-Request-Id") != "r1" {
					t.Errorf("got %d %v, want the first response", res.StatusCode, res.Header)
				}
				got := slurp(t, res)
				if !strings.HasPrefix(body, got) || len(got) < 64<<10 {
					t.Errorf("%d bytes that are not the body's beginning", len(got))
				}
				if res.ContentLength != int64(len(got)) {
					t.Errorf("ContentLength = %d, body has %d", res.ContentLength, len(got))
				}
				if n := base.sent(); n != tt.attempts {
					t.Errorf("%d attempts, want %d", n, tt.attempts)
				}
				if err := ctx.Err(); err != nil {
					t.Errorf("it waited for the deadline: %v", err)
				}
			})
		})
	}
}

// trickle is a body that gives n bytes, one every gap, until it is closed.
type trickle struct {
	n      int
	gap    time.Duration
	closed chan struct{}
}

func newTrickle(n int, gap time.Duration) *trickle {
	return &trickle{n: n, gap: gap, closed: make(chan struct{})}
}

func (b *trickle) Read(p []byte) (int, error) {
	if b.n == 0 {
		return 0, io.EOF
	}
	select {
	case <-b.closed:
		return 0, net.ErrClosed
	case <-time.After(b.gap):
	}
	b.n--
	p[0] = 'x'
	return 1, nil
}

func (b *trickle) Close() error {
	close(b.closed)
	return nil
}

// endless is a body that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// An error body delays the next attempt by a second at most and is read to
// 64 KiB at most, whatever the server does with it.
func TestHostileErrorBodies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stream func() io.ReadCloser
		within time.Duration
	}{
		{"endless", func() io.ReadCloser { return io.NopCloser(endless{}) }, 0},
		{"trickling", func() io.ReadCloser { return newTrickle(-1, 100*time.Millisecond) }, time.Second},
		{"hanging", func() io.ReadCloser { return newTrickle(1, 24*time.Hour) }, time.Second},
		{"slow but short", func() io.ReadCloser { return newTrickle(3, 100*time.Millisecond) }, 300 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := play(step{status: 503, stream: tt.stream()}, step{status: 200, body: "ok"})
				rt := &snubber.Retry{MinBackoff: -1}
				res, err := (&snubber.Transport{Base: base, Retry: rt}).RoundTrip(chat(t))
				if err != nil {
					t.Fatal(err)
				}
				if body := slurp(t, res); body != "ok" {
					t.Errorf("body %q", body)
				}
				ts := base.all()
				if d := ts[1].at.Sub(ts[0].at); d != tt.within {
					t.Errorf("the next attempt came after %v, want %v", d, tt.within)
				}
				if ts[0].closed.IsZero() || ts[0].closed.After(ts[1].at) {
					t.Errorf("closed at %v, want before %v", ts[0].closed, ts[1].at)
				}
			})
		})
	}
	// Handed on, it is whole, at the server's own pace.
	synctest.Test(t, func(t *testing.T) {
		base := play(step{status: 400, stream: newTrickle(50, 100*time.Millisecond)})
		start := time.Now()
		res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(chat(t))
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("the response came after %v, want 1s", d)
		}
		if body := slurp(t, res); body != strings.Repeat("x", 50) {
			t.Errorf("body %q, want 50 bytes", body)
		}
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("the body ended after %v, want 5s", d)
		}
	})
	// A body cut short by its Content-Length gives its error to the reader, too.
	synctest.Test(t, func(t *testing.T) {
		base := play(step{status: 400, stream: io.NopCloser(io.MultiReader(strings.NewReader("half"), brokenReader{io.ErrUnexpectedEOF}))})
		res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(chat(t))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if string(b) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("body %q, %v, want half and the error", b, err)
		}
	})
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// With Retry alone a 429 is an attempt like any other failure.
func TestRateLimitedIsAnAttemptWithoutLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{status: 429, header: hdr("Retry-After", "1")})
		ctx, report := snubber.WithReport(context.Background())
		res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(chat(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		slurp(t, res)
		if n := base.sent(); n != 4 || report.Readmitted != 0 {
			t.Errorf("%d attempts, %d readmitted, want 4 and 0", n, report.Readmitted)
		}
	})
}

// With Limiter a 429 is a deferred admission: it costs no attempt and no
// budget, eight times, and not before the server's time.
func TestRateLimitedIsReadmitted(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits int // 429s before the answer
		retry  *snubber.Retry
		want   int
		status int
	}{
		{"eight cost nothing", 8, &snubber.Retry{MaxAttempts: 1, Budget: &snubber.Budget{Capacity: 0.5, PerSecond: -1}}, 9, 200},
		{"the ninth does", 9, &snubber.Retry{MaxAttempts: 1}, 9, 429},
		{"and attempts come on top", math.MaxInt16, &snubber.Retry{}, 12, 429},
		{"and pay", math.MaxInt16, &snubber.Retry{Budget: &snubber.Budget{Capacity: 0.5, PerSecond: -1}}, 9, 429},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := play(fails(tt.limits, step{status: 429, header: hdr("Retry-After", "2")})...)
				ctx, report := snubber.WithReport(context.Background())
				tr := &snubber.Transport{Base: base, Retry: tt.retry, Limiter: &snubber.Limiter{}}
				res, err := tr.RoundTrip(chat(t).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				slurp(t, res)
				if res.StatusCode != tt.status || base.sent() != tt.want {
					t.Fatalf("%d after %d attempts, want %d after %d", res.StatusCode, base.sent(), tt.status, tt.want)
				}
				if report.Readmitted != 8 || report.Attempts != tt.want {
					t.Errorf("report %+v, want 8 readmitted of %d", *report, tt.want)
				}
				for i, d := range waits(base.all()) {
					if d < 2*time.Second || d > 2200*time.Millisecond && i < 8 {
						t.Errorf("wait %d = %v, want 2s to 2.2s", i, d)
					}
				}
			})
		})
	}
}

// A Limiter without Retry gates the key and returns the 429.
func TestLimiterAloneReturnsTheResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{status: 429, header: hdr("Retry-After", "10"), body: "slow down"}, step{})
		tr := &snubber.Transport{Base: base, Limiter: &snubber.Limiter{}}
		start := time.Now()
		res, err := tr.RoundTrip(chat(t))
		if err != nil {
			t.Fatal(err)
		}
		if body := slurp(t, res); res.StatusCode != 429 || body != "slow down" || time.Since(start) != 0 {
			t.Errorf("%d %q after %v, want the 429 at once", res.StatusCode, body, time.Since(start))
		}
		if res, err = tr.RoundTrip(chat(t)); err != nil {
			t.Fatal(err)
		}
		slurp(t, res)
		if d := time.Since(start); d < 10*time.Second || d > 11*time.Second {
			t.Errorf("the next request went after %v, want 10s to 11s", d)
		}
	})
}

// A call that had an attempt waits for an open circuit, which costs neither
// attempt nor budget.
func TestOpenCircuitDefersACallUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{status: 500}, step{status: 500}, step{})
		ctx, report := snubber.WithReport(context.Background())
		tr := &snubber.Transport{
			Base: base, Breaker: &snubber.Breaker{Failures: 1},
			Retry: &snubber.Retry{MaxAttempts: 2, Budget: &snubber.Budget{Capacity: 0.5, PerSecond: -1}},
		}
		res, err := tr.RoundTrip(chat(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		slurp(t, res)
		if res.StatusCode != 200 || base.sent() != 3 || report.Readmitted != 2 {
			t.Fatalf("%d after %d attempts, %+v, want 200 after 3, two of them readmitted", res.StatusCode, base.sent(), *report)
		}
		ds := waits(base.all()) // the open times, which vary by a fifth
		if ds[0] < 4*time.Second || ds[0] > 6*time.Second || ds[1] < 8*time.Second || ds[1] > 12*time.Second {
			t.Errorf("waited %v, want 5s and 10s within a fifth", ds)
		}
		if report.Waited != ds[0]+ds[1] {
			t.Errorf("Waited = %v, want %v", report.Waited, ds[0]+ds[1])
		}
	})
}
