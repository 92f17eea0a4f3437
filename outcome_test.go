package snubber_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/neterr"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// Every class has a name of its own. An unknown class does not panic.
func TestClassString(t *testing.T) {
	seen := map[string]bool{}
	for c := snubber.Unclassified; c <= snubber.Rejected; c++ {
		s := c.String()
		if s == "" || seen[s] {
			t.Errorf("class %d is %q", c, s)
		}
		seen[s] = true
	}
	for c, want := range map[snubber.Class]string{
		snubber.Unclassified: "unclassified", snubber.Success: "success", snubber.RateLimited: "rate-limited",
		snubber.TimedOut: "timed-out", snubber.Rejected: "rejected",
	} {
		if got := c.String(); got != want {
			t.Errorf("class %d is %q, want %q", c, got, want)
		}
	}
	if s := snubber.Class(200).String(); s == "" || seen[s] && s != "unclassified" {
		t.Errorf("class 200 is %q", s)
	}
}

// The type of an error decides its class, however deeply it is wrapped. The
// error's text never does.
func TestClassifyError(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", neterr.Refused)}
	read := func(err error) error { return &net.OpError{Op: "read", Net: "tcp", Err: err} }
	for _, tt := range []struct {
		name   string
		err    error
		class  snubber.Class
		unsent bool
		advice snubber.Advice
	}{
		{"dial refused", dial, snubber.Unreachable, true, 0},
		{"dial timeout", &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, snubber.Unreachable, true, 0},
		{"no route", &net.OpError{Op: "dial", Err: neterr.Unreachable}, snubber.Unreachable, true, 0},
		{"wrapped dial", &url.Error{Op: "Post", URL: "https://x", Err: fmt.Errorf("proxy: %w", dial)}, snubber.Unreachable, true, 0},
		{"DNS", &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}, snubber.Unreachable, true, 0},
		{"DNS alone", &net.DNSError{Err: "server misbehaving", IsTemporary: true}, snubber.Unreachable, true, 0},
		{"unknown authority", x509.UnknownAuthorityError{}, snubber.Unreachable, true, snubber.AdviceStop},
		{"verification", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, snubber.Unreachable, true, snubber.AdviceStop},
		{"another host's certificate", x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}, snubber.Unreachable, true, snubber.AdviceStop},
		{"expired certificate", x509.CertificateInvalidError{Reason: x509.Expired}, snubber.Unreachable, true, snubber.AdviceStop},
		{"reset", read(os.NewSyscallError("read", neterr.Reset)), snubber.Unreachable, false, 0},
		{"broken pipe", &net.OpError{Op: "write", Err: neterr.Broken}, snubber.Unreachable, false, 0},
		{"EOF", io.EOF, snubber.Unreachable, false, 0},
		{"unexpected EOF", io.ErrUnexpectedEOF, snubber.Unreachable, false, 0},
		{"closed connection", read(net.ErrClosed), snubber.Unreachable, false, 0},
		{"read timeout", read(os.ErrDeadlineExceeded), snubber.Unreachable, false, 0},
		{"refused stream", wiretest.HTTP2Error{Code: 7}, snubber.Unreachable, true, 0},
		{"wrapped refused stream", fmt.Errorf("http2: %w", wiretest.HTTP2Error{Code: 7}), snubber.Unreachable, true, 0},
		{"reset stream", wiretest.HTTP2Error{Code: 2}, snubber.Unreachable, false, 0},
		{"somebody's text", errors.New("dial tcp: connection refused: REFUSED_STREAM"), snubber.Unreachable, false, 0},
		{"somebody's deadline", context.DeadlineExceeded, snubber.Unreachable, false, 0},
		{"nothing at all", nil, snubber.Unreachable, false, 0},
		{"refusal", &snubber.RejectedError{Err: snubber.ErrOpen}, snubber.Rejected, true, 0},
		{"wrapped refusal", fmt.Errorf("middle: %w", &snubber.RejectedError{Err: snubber.ErrLimited}), snubber.Rejected, true, 0},
		{"timer", &snubber.TimeoutError{Phase: snubber.PhaseIdle}, snubber.TimedOut, false, 0},
		{"wrapped timer", fmt.Errorf("middle: %w", &snubber.TimeoutError{Phase: snubber.PhaseHeaders}), snubber.TimedOut, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := snubber.Classify(wiretest.Chat(t), nil, tt.err)
			if o.Class != tt.class || o.Unsent != tt.unsent || o.Advice != tt.advice {
				t.Errorf("Classify = %v unsent %v advice %v, want %v %v %v", o.Class, o.Unsent, o.Advice, tt.class, tt.unsent, tt.advice)
			}
			if o.Declined || o.Reason == "" || strings.ContainsAny(o.Reason, " :") {
				t.Errorf("Outcome %+v, want a reason that is a label", o)
			}
		})
	}
}

// An error under a done context is Canceled, whatever its text, unless the
// package itself knows better.
func TestClassifyErrorOfDoneContext(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	late, stop := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer stop()
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		err    error
		class  snubber.Class
		reason string
	}{
		{"cancel", canceled, context.Canceled, snubber.Canceled, "canceled"},
		{"cancel in other words", canceled, &net.OpError{Op: "dial", Err: errors.New("operation was canceled")}, snubber.Canceled, "canceled"},
		{"deadline", late, context.DeadlineExceeded, snubber.Canceled, "deadline"},
		{"deadline in other words", late, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, snubber.Canceled, "deadline"},
		{"our timer", canceled, &snubber.TimeoutError{Phase: snubber.PhaseHeaders}, snubber.TimedOut, "timeout_headers"},
		{"our refusal", late, &snubber.RejectedError{Err: snubber.ErrQuota}, snubber.Rejected, "snubber_quota_exhausted"},
	} {
		if o := snubber.Classify(wiretest.Chat(t).WithContext(tt.ctx), nil, tt.err); o.Class != tt.class || o.Reason != tt.reason {
			t.Errorf("%s: Classify = %v %q, want %v %q", tt.name, o.Class, o.Reason, tt.class, tt.reason)
		}
	}
}

// A refusal of an inner Transport keeps its time.
func TestClassifyRefusalNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := snubber.Classify(wiretest.Chat(t), nil, &snubber.RejectedError{Err: snubber.ErrOpen, RetryAfter: 7 * time.Second})
		if want := time.Now().Add(7 * time.Second); !o.NotBefore.Equal(want) {
			t.Errorf("NotBefore = %v, want %v", o.NotBefore, want)
		}
	})
}

// The errors that net/http returns for connections that fail have the right
// class.
func TestClassifyRealErrors(t *testing.T) {
	ask := func(url string) snubber.Outcome {
		tr := &http.Transport{}
		defer tr.CloseIdleConnections()
		req := wiretest.NewRequest(t, "GET", url, "")
		res, err := tr.RoundTrip(req)
		if err == nil {
			res.Body.Close()
			t.Fatalf("%s answered", url)
		}
		return snubber.Classify(req, nil, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	if o := ask("http://" + nobody); o.Class != snubber.Unreachable || !o.Unsent || o.Reason != "dial" {
		t.Errorf("nobody listens: %+v, want an unsent dial", o)
	}
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	if o := ask(secure.URL); o.Class != snubber.Unreachable || !o.Unsent || o.Advice != snubber.AdviceStop {
		t.Errorf("unknown certificate: %+v, want an unsent certificate", o)
	}
	hangUp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			c.Close()
		}
	}))
	defer hangUp.Close()
	if o := ask(hangUp.URL); o.Class != snubber.Unreachable || o.Unsent {
		t.Errorf("closed without an answer: %+v, want sent", o)
	}
}

// Classify reads at most 64 KiB of an error body ahead, and leaves the body as
// if it had not been read. It reads nothing of a successful response.
func TestClassifyLeavesBody(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		class  snubber.Class
	}{
		{"empty", 500, "", snubber.ServerError},
		{"short", 429, `{"error":{"code":"insufficient_quota"}}`, snubber.QuotaExhausted},
		{"64 KiB", 500, strings.Repeat("x", 64<<10), snubber.ServerError},
		{"more", 500, strings.Repeat("x", 200<<10), snubber.ServerError},
		{"answer", 200, strings.Repeat("x", 200<<10), snubber.Success},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := &wiretest.TrackedBody{R: strings.NewReader(tt.body)}
				res := &http.Response{StatusCode: tt.status, Header: http.Header{}, Body: src, ContentLength: int64(len(tt.body))}
				if o := snubber.Classify(wiretest.Chat(t), res, nil); o.Class != tt.class {
					t.Errorf("Classify = %v, want %v", o.Class, tt.class)
				}
				n := src.N.Load()
				if n > 64<<10 || tt.status < 400 && n != 0 {
					t.Errorf("%d bytes were read ahead", n)
				}
				if src.Closed.Load() != 0 {
					t.Error("the body was closed")
				}
				// A second call gives the same class.
				if o := snubber.Classify(wiretest.Chat(t), res, nil); o.Class != tt.class {
					t.Errorf("the second Classify = %v, want %v", o.Class, tt.class)
				}
				if got := wiretest.ReadAll(t, res); got != tt.body {
					t.Errorf("%d bytes of the body are left, want %d", len(got), len(tt.body))
				}
				if src.Closed.Load() == 0 || src.Late.Load() != 0 {
					t.Errorf("closed %d times, read %d times after that", src.Closed.Load(), src.Late.Load())
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		res := &http.Response{StatusCode: 503, Header: http.Header{}, Body: wiretest.Trickle(30, 100*time.Millisecond)}
		start := time.Now()
		snubber.Classify(wiretest.Chat(t), res, nil)
		if d := time.Since(start); d != time.Second {
			t.Errorf("a trickling body took %v, want a second", d)
		}
		if got := wiretest.ReadAll(t, res); got != strings.Repeat("x", 30) {
			t.Errorf("%d bytes are left, want 30", len(got))
		}
	})
	for _, body := range []io.ReadCloser{nil, http.NoBody} {
		res := &http.Response{StatusCode: 500, Header: http.Header{}, Body: body}
		if o := snubber.Classify(wiretest.Chat(t), res, nil); o.Class != snubber.ServerError || res.Body != body {
			t.Errorf("body %v: %v, Body %v", body, o.Class, res.Body)
		}
	}
}

// A hook sees the part of the body that has been prefetched. The caller's body
// is whole, whatever the hook does with it.
func TestClassifyHookBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("x", 100<<10)
		base := wiretest.Play(wiretest.Step{Status: 500, Body: "short"}, wiretest.Step{Status: 400, Body: long})
		var seen []string
		var errs []error
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Classify: func(req *http.Request, res *http.Response, err error) snubber.Outcome {
			if res != nil {
				b, _ := io.ReadAll(res.Body)
				res.Body.Close()
				seen = append(seen, string(b))
			}
			errs = append(errs, err)
			return snubber.Outcome{Class: snubber.ServerError}
		}}
		tr.Retry.MaxAttempts = 2
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		if got := wiretest.ReadAll(t, res); got != long {
			t.Errorf("the caller got %d bytes, want %d", len(got), len(long))
		}
		if len(seen) != 2 || seen[0] != "short" || seen[1] != long[:64<<10] {
			t.Errorf("the hook saw %d bodies", len(seen))
		}
		if len(errs) != 2 || errs[0] != nil || errs[1] != nil {
			t.Errorf("the hook saw errors %v", errs)
		}
	})
	// The hook decides: here it repeats a 200.
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{}, wiretest.Step{Err: io.EOF}, wiretest.JSON(200, wiretest.Usage(11, 7)))
		var classes []snubber.Class
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{}, Classify: func(req *http.Request, res *http.Response, err error) snubber.Outcome {
			o := snubber.Classify(req, res, err)
			if len(classes) == 0 {
				o.Class = snubber.Overloaded
			}
			classes = append(classes, o.Class)
			return o
		}}
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		if len(classes) != 3 || classes[1] != snubber.Unreachable || classes[2] != snubber.Success || base.Sent() != 3 {
			t.Errorf("classes %v after %d attempts", classes, base.Sent())
		}
		if ts := base.Attempts(); ts[0].Closed.IsZero() || ts[0].Closed.After(ts[1].At) {
			t.Error("the first answer's body was left open")
		}
	})
}
