package rttest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber/rttest"
)

// TestRulesCanFail shows every rule a transport that breaks it.
func TestRulesCanFail(t *testing.T) {
	shown := map[string]bool{}
	rules := map[string]rttest.Rule{}
	for _, r := range rttest.Rules() {
		rules[r.Name] = r
	}
	for _, b := range broken {
		r, ok := rules[b.rule]
		if !ok {
			t.Errorf("there is no rule %s", b.rule)
			continue
		}
		shown[b.rule] = true
		t.Run(b.rule, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				err := r.Check(b.wrap)
				if err == nil || !strings.Contains(err.Error(), b.says) {
					t.Errorf("Check = %v, want an error that says %q", err, b.says)
				}
				time.Sleep(time.Hour)
			})
		})
	}
	for name := range rules {
		if !shown[name] {
			t.Errorf("nothing here breaks %s", name)
		}
	}
}

// does is a transport in a line. It has no CloseIdleConnections.
type does func(*http.Request) (*http.Response, error)

func (f does) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// before breaks what is sent, on a copy of the request.
func before(f func(*http.Request)) func(http.RoundTripper) http.RoundTripper {
	return func(base http.RoundTripper) http.RoundTripper {
		return does(func(req *http.Request) (*http.Response, error) {
			own := req.WithContext(req.Context())
			f(own)
			return base.RoundTrip(own)
		})
	}
}

// after breaks what is returned.
func after(f func(*http.Response, error) (*http.Response, error)) func(http.RoundTripper) http.RoundTripper {
	return func(base http.RoundTripper) http.RoundTripper {
		return does(func(req *http.Request) (*http.Response, error) { return f(base.RoundTrip(req)) })
	}
}

// around breaks the bodies of responses.
func around(f func(io.ReadCloser) io.ReadCloser) func(http.RoundTripper) http.RoundTripper {
	return after(func(res *http.Response, err error) (*http.Response, error) {
		if err == nil {
			res.Body = f(res.Body)
		}
		return res, err
	})
}

// retrying is the retrying transport with a mistake in it.
func retrying(r retry) func(http.RoundTripper) http.RoundTripper {
	return func(base http.RoundTripper) http.RoundTripper {
		broken := r
		broken.base = base
		return &broken
	}
}

// body is an io.ReadCloser of two halves.
type body struct {
	io.Reader
	close func() error
}

func (b body) Close() error { return b.close() }

type reads func([]byte) (int, error)

func (f reads) Read(p []byte) (int, error) { return f(p) }

// replaced is body with another reader in front.
func replaced(f func(io.Reader) io.Reader) func(io.ReadCloser) io.ReadCloser {
	return func(b io.ReadCloser) io.ReadCloser { return body{f(b), b.Close} }
}
