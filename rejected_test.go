package snubber_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/neterr"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// The text says what was refused, for which key, why and until when, and
// nothing else.
func TestRejectedErrorText(t *testing.T) {
	const key = "https://api.example.com m"
	for _, tt := range []struct {
		err  snubber.RejectedError
		want string
	}{
		{snubber.RejectedError{Err: snubber.ErrOpen, Key: key},
			"not sent: circuit open (https://api.example.com m)"},
		{snubber.RejectedError{Err: snubber.ErrOpen, Key: key, RetryAfter: 4500600 * time.Microsecond},
			"not sent: circuit open (https://api.example.com m), retry after 4.501s"},
		{snubber.RejectedError{Err: snubber.ErrLimited, Key: key, Reason: "the queue is full", RetryAfter: time.Minute},
			"not sent: rate limited (https://api.example.com m): the queue is full, retry after 1m0s"},
		{snubber.RejectedError{Err: snubber.ErrQuota, Key: key, Reason: "quota exhausted"},
			"not sent: quota exhausted (https://api.example.com m)"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("Error() = %q, want %q", got, tt.want)
		}
	}
}

// refusalCase is a way in which a layer refuses a request.
type refusalCase struct {
	name     string
	err      error
	status   int
	code     string
	after    time.Duration // upper bound of RetryAfter
	deadline time.Duration
	stack    func(base http.RoundTripper) *snubber.Transport
	base     func() *wiretest.Script
	calls    int // calls before the refused one
}

// arrange makes the calls before the refused one. It returns the client and its
// base, and the context of the refused call.
func (r refusalCase) arrange(t *testing.T, ctx context.Context) (*http.Client, *wiretest.Script, context.Context) {
	t.Helper()
	base := r.base()
	client := &http.Client{Transport: r.stack(base)}
	for range r.calls {
		res, err := client.Do(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
	}
	if r.deadline > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, r.deadline)
		t.Cleanup(cancel)
	}
	return client, base, ctx
}

var refusals = []refusalCase{
	{"opened by hand", snubber.ErrOpen, 503, "snubber_circuit_open", 0, 0, func(base http.RoundTripper) *snubber.Transport {
		b := &snubber.Breaker{}
		b.Trip("https://api.example.com m")
		return &snubber.Transport{Base: base, Breaker: b}
	}, func() *wiretest.Script { return wiretest.Play() }, 0},
	{"open", snubber.ErrOpen, 503, "snubber_circuit_open", 6 * time.Second, 0, func(base http.RoundTripper) *snubber.Transport {
		return &snubber.Transport{Base: base, Breaker: &snubber.Breaker{Failures: 1}}
	}, func() *wiretest.Script { return wiretest.Play(wiretest.Step{Status: 500}) }, 1},
	{"queue too long", snubber.ErrLimited, 429, "snubber_rate_limited", time.Minute, 0, func(base http.RoundTripper) *snubber.Transport {
		return &snubber.Transport{Base: base, Limiter: &snubber.Limiter{RequestsPerMinute: 1, MaxWait: time.Second}}
	}, func() *wiretest.Script { return wiretest.Play() }, 1},
	{"gated", snubber.ErrLimited, 429, "snubber_rate_limited", 301 * time.Second, 0, func(base http.RoundTripper) *snubber.Transport {
		return &snubber.Transport{Base: base, Limiter: &snubber.Limiter{}}
	}, func() *wiretest.Script {
		return wiretest.Play(wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "300")})
	}, 1},
	{"too large", snubber.ErrLimited, 429, "snubber_rate_limited", 0, 0, func(base http.RoundTripper) *snubber.Transport {
		return &snubber.Transport{Base: base, Limiter: &snubber.Limiter{TokensPerMinute: 100}}
	}, func() *wiretest.Script { return wiretest.Play() }, 0},
	{"quota", snubber.ErrQuota, 429, "snubber_quota_exhausted", time.Minute, 0, func(base http.RoundTripper) *snubber.Transport {
		return &snubber.Transport{Base: base, Limiter: &snubber.Limiter{}}
	}, func() *wiretest.Script {
		return wiretest.Play(wiretest.Step{Status: 429, Body: `{"error":{"code":"insufficient_quota"}}`})
	}, 1},
	{"deadline", snubber.ErrLimited, 429, "snubber_rate_limited", time.Minute, 5 * time.Second, func(base http.RoundTripper) *snubber.Transport {
		return &snubber.Transport{Base: base, Limiter: &snubber.Limiter{RequestsPerMinute: 1}}
	}, func() *wiretest.Script { return wiretest.Play() }, 1},
}

// A refusal is a typed error, which errors.Is and errors.As find through
// http.Client. It costs no time and no wire call, and nothing in it makes a
// client retry.
func TestRejectedIsError(t *testing.T) {
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, base, ctx := tt.arrange(t, context.Background())
				start := time.Now()
				res, err := client.Do(wiretest.Chat(t).WithContext(ctx))
				if err == nil {
					wiretest.ReadAll(t, res)
					t.Fatalf("got %d, want a refusal", res.StatusCode)
				}
				if time.Since(start) != 0 || base.Sent() != tt.calls {
					t.Errorf("took %v and %d wire calls, want none", time.Since(start), base.Sent()-tt.calls)
				}
				for _, target := range []error{snubber.ErrOpen, snubber.ErrLimited, snubber.ErrQuota} {
					if got := errors.Is(err, target); got != (target == tt.err) {
						t.Errorf("errors.Is(err, %q) = %v", target, got)
					}
				}
				if got := errors.Is(err, context.DeadlineExceeded); got != (tt.deadline > 0) {
					t.Errorf("errors.Is(err, context.DeadlineExceeded) = %v", got)
				}
				if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.Canceled) {
					t.Errorf("%v is someone else's error too", err)
				}
				var refusal *snubber.RejectedError
				if !errors.As(err, &refusal) {
					t.Fatalf("err = %v, want a *RejectedError", err)
				}
				if !strings.HasPrefix(refusal.Key, "https://api.example.com m") {
					t.Errorf("Key = %q", refusal.Key)
				}
				if a := refusal.RetryAfter.Round(time.Millisecond); a > tt.after || a <= 0 && tt.after > 0 {
					t.Errorf("RetryAfter = %v, want up to %v", a, tt.after)
				}
				var (
					azure interface {
						error
						NonRetriable()
					}
					aws interface {
						error
						RetryableError() bool
					}
					network interface { // net.Error without the deprecation of Temporary
						error
						Timeout() bool
						Temporary() bool
					}
				)
				if !errors.As(err, &azure) {
					t.Error("no NonRetriable in the chain")
				}
				if !errors.As(err, &aws) || aws.RetryableError() {
					t.Error("RetryableError is not false")
				}
				// errors.As on err would find url.Error, whose Timeout calls
				// this one.
				if !errors.As(error(refusal), &network) || network.Timeout() || network.Temporary() {
					t.Error("Timeout or Temporary is not false")
				}
			})
		})
	}
}

// mine is the key of a value in a caller's context.
type mine struct{}

// A client that retries every error gets a complete response for a refusal. The
// response gives the reason and tells the client to stop.
func TestRejectedIsResponseForStainless(t *testing.T) {
	for _, tt := range refusals {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, base, ctx := tt.arrange(t, context.WithValue(context.Background(), mine{}, "mine"))
				req := wiretest.Chat(t, wiretest.StainlessHeader, "go").WithContext(ctx)
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body := wiretest.ReadAll(t, res)
				if res.StatusCode != tt.status || res.Status != strconv.Itoa(tt.status)+" "+http.StatusText(tt.status) || res.Proto == "" {
					t.Errorf("Status = %q %q, want %d", res.Status, res.Proto, tt.status)
				}
				if h := res.Header; h.Get("X-Should-Retry") != "false" || h.Get("Content-Type") != "application/json" || h.Get("Content-Length") != strconv.Itoa(len(body)) {
					t.Errorf("header %v", h)
				}
				if res.ContentLength != int64(len(body)) {
					t.Errorf("ContentLength = %d of %d", res.ContentLength, len(body))
				}
				seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
				if tt.after == 0 && res.Header["Retry-After"] != nil {
					t.Errorf("Retry-After = %q, where nobody can say", res.Header["Retry-After"])
				} else if tt.after > 0 && (err != nil || seconds < 1 || time.Duration(seconds-1)*time.Second >= tt.after) {
					t.Errorf("Retry-After = %q, want seconds up to %v", res.Header["Retry-After"], tt.after)
				}
				if !strings.Contains(body, `"code":"`+tt.code+`"`) {
					t.Errorf("body %s, want code %s", body, tt.code)
				}
				if res.Request == nil || res.Request.URL != req.URL || res.Request.Context().Value(mine{}) != "mine" {
					t.Error("Request is not the caller's")
				}
				if base.Sent() != tt.calls {
					t.Errorf("%d wire calls", base.Sent()-tt.calls)
				}
			})
		})
	}
}

// The body of a refusal has the shape in which each provider's SDK looks for an
// error.
func TestRejectedShapes(t *testing.T) {
	for _, tt := range []struct {
		url  string
		want map[string]string // the values at paths in the JSON
	}{
		{wiretest.ChatURL, map[string]string{"error.code": "snubber_circuit_open", "error.type": "server_error"}},
		{"https://api.example.com/v1/responses", map[string]string{"error.code": "snubber_circuit_open"}},
		{"https://api.example.com/anything", map[string]string{"error.code": "snubber_circuit_open"}},
		{"https://api.example.com/v1/messages", map[string]string{"type": "error", "error.type": "overloaded_error", "error.details.error_code": "snubber_circuit_open"}},
		{"https://api.example.com/v1beta/models/m:generateContent", map[string]string{"error.status": "UNAVAILABLE", "error.details.0.reason": "snubber_circuit_open"}},
		{"https://api.example.com/model/m/converse", map[string]string{"__type": "ServiceUnavailableException", "reason": "snubber_circuit_open"}},
		{"https://api.example.com/v2/chat", map[string]string{"code": "snubber_circuit_open"}},
		{"https://api.example.com/api/chat", map[string]string{"code": "snubber_circuit_open"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &snubber.Breaker{Key: func(*http.Request) string { return "k" }}
			b.Trip("k")
			tr := &snubber.Transport{Base: wiretest.Play(), Breaker: b}
			res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", tt.url, `{"model":"m"}`, wiretest.StainlessHeader, "go"))
			if err != nil {
				t.Fatal(err)
			}
			var v any
			body := wiretest.ReadAll(t, res)
			if err := json.Unmarshal([]byte(body), &v); err != nil {
				t.Fatalf("%s: %v in %s", tt.url, err, body)
			}
			for path, want := range tt.want {
				if got := dig(v, path); got != want {
					t.Errorf("%s: %s = %v, want %s", tt.url, path, got, want)
				}
			}
			if !strings.Contains(body, "circuit open (k)") {
				t.Errorf("%s: %s does not say why", tt.url, body)
			}
		})
	}
}

// dig follows a path of keys and indices into decoded JSON.
func dig(v any, path string) any {
	for _, k := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[k]
		case []any:
			i, _ := strconv.Atoi(k)
			if i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

// A final failure without a response becomes a response for clients that retry
// every error, if Retry had the verdict. Other clients get an error. A call
// that its caller ended always gets an error.
func TestRejectedUnansweredForStainless(t *testing.T) {
	reset := wiretest.Step{Err: &net.OpError{Op: "read", Err: neterr.Reset}}
	hang := wiretest.Step{Delay: time.Hour}
	const files = "https://api.example.com/v1/files"
	for _, tt := range []struct {
		name   string
		url    string
		step   wiretest.Step
		header string
		retry  bool
		status int // 0: RoundTrip returns an error
		code   string
	}{
		{"dial", wiretest.ChatURL, wiretest.Step{Err: &net.OpError{Op: "dial", Err: neterr.Refused}}, wiretest.StainlessHeader, true, 502, "snubber_unreachable"},
		{"reset", wiretest.ChatURL, reset, wiretest.StainlessHeader, true, 502, "snubber_unreachable"},
		{"timed out", wiretest.ChatURL, hang, wiretest.StainlessHeader, true, 504, "snubber_timeout"},
		{"dial, unsafe", files, wiretest.Step{Err: &net.OpError{Op: "dial", Err: neterr.Refused}}, wiretest.StainlessHeader, true, 502, "snubber_unreachable"},
		{"reset, unsafe", files, reset, wiretest.StainlessHeader, true, 0, ""},
		{"reset, no Retry", wiretest.ChatURL, reset, wiretest.StainlessHeader, false, 0, ""},
		{"reset, another client", wiretest.ChatURL, reset, "X-Other", true, 0, ""},
		{"timed out, another client", wiretest.ChatURL, hang, "X-Other", true, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Base: wiretest.Play(tt.step), Timeout: &snubber.Timeout{Headers: time.Second}}
				if tt.retry {
					tr.Retry = &snubber.Retry{}
				}
				req := wiretest.NewRequest(t, "POST", tt.url, wiretest.ChatBody, tt.header, "go")
				res, err := tr.RoundTrip(req)
				if tt.status == 0 {
					var late *snubber.TimeoutError
					if res != nil || !errors.Is(err, neterr.Reset) && !errors.As(err, &late) {
						t.Errorf("RoundTrip = %v, %v, want Base's error", res, err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				body := wiretest.ReadAll(t, res)
				if res.StatusCode != tt.status || res.Header.Get("X-Should-Retry") != "false" || !strings.Contains(body, tt.code) {
					t.Errorf("%d %v %s, want %d %s", res.StatusCode, res.Header, body, tt.status, tt.code)
				}
				if res.Request == nil || res.Request.URL != req.URL {
					t.Error("Request is not the caller's")
				}
			})
		})
	}
	for _, deadline := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			want := context.DeadlineExceeded
			if !deadline {
				time.AfterFunc(time.Second/2, cancel)
				want = context.Canceled
			}
			defer cancel()
			res, err := snubber.New(wiretest.Play(hang)).RoundTrip(wiretest.Chat(t, wiretest.StainlessHeader, "go").WithContext(ctx))
			if res != nil || !errors.Is(err, want) {
				t.Errorf("RoundTrip = %v, %v, want %v", res, err, want)
			}
		})
	}
}

// Reject decides what every client gets for a refusal, and is called for
// nothing else.
func TestRejectHook(t *testing.T) {
	own := errors.New("my own")
	for _, header := range []string{"X-Other", wiretest.StainlessHeader} {
		for _, asError := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				b := &snubber.Breaker{}
				b.Trip("https://api.example.com m")
				req := wiretest.Chat(t, header, "go")
				tr := &snubber.Transport{Base: wiretest.Play(), Breaker: b, Reject: func(r *http.Request, e *snubber.RejectedError) (*http.Response, error) {
					if r.URL != req.URL || snubber.Model(r) != "m" || e.Err != snubber.ErrOpen {
						t.Errorf("Reject(%v of %q, %v)", r.URL, snubber.Model(r), e)
					}
					if asError {
						return nil, own
					}
					return &http.Response{StatusCode: 418, Body: io.NopCloser(strings.NewReader("tea"))}, nil
				}}
				res, err := tr.RoundTrip(req)
				if asError {
					if res != nil || err != own {
						t.Errorf("RoundTrip = %v, %v, want the hook's error", res, err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if body := wiretest.ReadAll(t, res); res.StatusCode != 418 || body != "tea" || res.Request == nil || snubber.ReportOf(res) == nil {
					t.Errorf("got %d %q %v, want the hook's response made ours", res.StatusCode, body, res.Request)
				}
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		tr := snubber.New(wiretest.Play(wiretest.Step{Err: io.EOF}))
		tr.Reject = func(*http.Request, *snubber.RejectedError) (*http.Response, error) {
			t.Error("Reject was asked about a failure that was sent")
			return nil, own
		}
		if _, err := tr.RoundTrip(wiretest.Chat(t)); !errors.Is(err, io.EOF) {
			t.Errorf("err = %v, want EOF", err)
		}
	})
}
