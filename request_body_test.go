package snubber_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/neterr"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A request body that breaks ends the call at the first attempt, with an error
// that names the body.
func TestRequestBodyBreaks(t *testing.T) {
	broken := errors.New("disk error")
	for _, tt := range []struct {
		name, method, url string
		length            int64
	}{
		{"inference", "POST", wiretest.ChatURL, 100},
		{"inference of unknown length", "POST", wiretest.ChatURL, -1},
		{"other", "PUT", wiretest.FilesURL, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				own := &wiretest.TrackedBody{R: strings.NewReader(wiretest.ChatBody), Err: broken}
				base := wiretest.Play(wiretest.Step{})
				_, err := snubber.New(base).RoundTrip(wiretest.WithoutGetBody(t, tt.method, tt.url, own, tt.length))
				if !errors.Is(err, broken) {
					t.Errorf("err = %v, want the body's", err)
				}
				if base.Sent() > 1 || own.Closed.Load() != 1 {
					t.Errorf("%d attempts, closed %d times", base.Sent(), own.Closed.Load())
				}
			})
		})
	}
}

// The caller's body is closed exactly once on every path.
func TestRequestBodyIsClosedOnce(t *testing.T) {
	open := func() *snubber.Breaker {
		b := &snubber.Breaker{Key: func(*http.Request) string { return "k" }}
		b.Trip("k")
		return b
	}
	for _, tt := range []struct {
		name     string
		breaker  *snubber.Breaker
		limiter  *snubber.Limiter
		steps    []wiretest.Step
		deadline time.Duration
		edit     func(*http.Request)
	}{
		{name: "success"},
		{name: "failure", steps: []wiretest.Step{{Status: 500}}},
		{name: "error", steps: []wiretest.Step{{Err: neterr.Reset}}},
		{name: "invalid", steps: []wiretest.Step{{Status: 400}}},
		{name: "base reads and closes nothing else", steps: []wiretest.Step{{Do: func(req *http.Request) (*http.Response, error) {
			req.Body.Close()
			return nil, neterr.Refused
		}}}},
		{name: "open circuit", breaker: open()},
		{name: "too large", limiter: &snubber.Limiter{TokensPerMinute: 1}},
		{name: "done context", deadline: -1},
		{name: "no URL", edit: func(req *http.Request) { req.URL = nil }},
		{name: "no header", edit: func(req *http.Request) { req.Header = nil }},
		{name: "deadline during the attempt", steps: []wiretest.Step{{Delay: time.Hour}}, deadline: time.Second},
	} {
		for _, kind := range []string{"GetBody", "read first", "recorded"} {
			t.Run(tt.name+", "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					own := &wiretest.TrackedBody{R: strings.NewReader(wiretest.ChatBody)}
					req := wiretest.WithoutGetBody(t, "POST", wiretest.ChatURL, own, int64(len(wiretest.ChatBody)))
					switch kind {
					case "GetBody":
						req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(wiretest.ChatBody)), nil }
					case "recorded":
						req.ContentLength = -1
					}
					if tt.edit != nil {
						tt.edit(req)
					}
					for _, rt := range []*snubber.Retry{nil, {}} {
						req := req
						if tt.deadline != 0 {
							ctx, cancel := context.WithTimeout(context.Background(), tt.deadline)
							defer cancel()
							req = req.WithContext(ctx)
						}
						own.Closed.Store(0)
						own.R = strings.NewReader(wiretest.ChatBody)
						tr := &snubber.Transport{Base: wiretest.Play(tt.steps...), Retry: rt, Breaker: tt.breaker, Limiter: tt.limiter}
						if res, err := tr.RoundTrip(req); err == nil {
							wiretest.ReadAll(t, res)
						}
						if n := own.Closed.Load(); n != 1 {
							t.Errorf("Retry %v: closed %d times", rt != nil, n)
						}
					}
				})
			})
		}
	}
}

// A request without a body is sent without one.
func TestRequestBodyStaysNone(t *testing.T) {
	for _, body := range []io.ReadCloser{nil, http.NoBody} {
		req := wiretest.NewRequest(t, "GET", "https://api.example.com/v1/models", "")
		req.Body = body
		res, err := snubber.New(wiretest.RawFunc(func(r *http.Request) (*http.Response, error) {
			if r.Body != body {
				t.Errorf("Body = %v, want %v", r.Body, body)
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
		})).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
	}
}

// No attempt modifies the caller's request, and all attempts send the same
// header.
func TestRequestIsNotModified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		req := wiretest.Chat(t, "X-One", "1")
		before, header := *req, req.Header.Clone()
		base := wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{Status: 500}, wiretest.Step{})
		res, err := snubber.New(base).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		if req.URL != before.URL || req.Body != before.Body || req.Host != before.Host || req.ContentLength != before.ContentLength || req.Context() != before.Context() {
			t.Error("the request was changed")
		}
		for i, tr := range append(base.Attempts(), wiretest.Attempt{Header: req.Header}) {
			if len(tr.Header) != len(header) || tr.Header.Get("X-One") != "1" {
				t.Errorf("attempt %d: header %v, want %v", i, tr.Header, header)
			}
		}
	})
}

// A caller that cancels gets its error at once while the request's body is
// being read ahead.
func TestRequestBodyCancelWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pr, pw := io.Pipe()
		defer pw.Close()
		ctx, cancel := context.WithCancel(t.Context())
		req := wiretest.NewRequest(t, "POST", wiretest.ChatURL, "").WithContext(ctx)
		req.Body, req.GetBody, req.ContentLength = pr, nil, 100
		time.AfterFunc(time.Second, cancel)
		if e := <-wiretest.Launch(&snubber.Transport{Base: wiretest.Play()}, req); !errors.Is(e.Err, context.Canceled) || e.Took != time.Second {
			t.Errorf("%+v, want context.Canceled after 1s", e)
		}
	})
}
