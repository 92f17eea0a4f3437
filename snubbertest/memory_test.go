package snubbertest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber/snubbertest"
)

func TestContextEndsCall(t *testing.T) {
	cause := errors.New("enough")
	for _, tt := range []struct {
		name string
		p    func() *snubbertest.Provider
		f    snubbertest.Fault
		body string
	}{
		{"before the header", func() *snubbertest.Provider { return &snubbertest.Provider{Latency: time.Hour} }, snubbertest.Fault{}, hello[chatPath]},
		{"in a black hole", func() *snubbertest.Provider { return &snubbertest.Provider{} }, snubbertest.Fault{Kind: snubbertest.BlackHole}, hello[chatPath]},
		{"in a stream", func() *snubbertest.Provider { return &snubbertest.Provider{EventGap: time.Hour} }, snubbertest.Fault{}, streamed(hello[chatPath])},
		{"in a stall", func() *snubbertest.Provider { return &snubbertest.Provider{} }, snubbertest.Fault{Kind: snubbertest.Stall, After: 2}, streamed(hello[chatPath])},
		{"in half an answer", func() *snubbertest.Provider { return &snubbertest.Provider{} }, snubbertest.Fault{Kind: snubbertest.Stall}, hello[chatPath]},
		{"in a stream nobody reads", func() *snubbertest.Provider { return &snubbertest.Provider{Text: strings.Repeat("word", 1000)} }, snubbertest.Fault{}, streamed(hello[chatPath])},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, closes := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					p := tt.p()
					if tt.f.Kind != 0 {
						p.Inject(tt.f)
					}
					ctx, cancel := context.WithCancelCause(t.Context())
					time.AfterFunc(time.Minute, func() { cancel(cause) })
					start := time.Now()
					res, err := p.RoundTrip(newRequest(ctx, "http://fake", chatPath, tt.body))
					if err == nil {
						if closes {
							res.Body.Close()
							if _, err := res.Body.Read(make([]byte, 1)); err != http.ErrBodyReadAfterClose {
								t.Errorf("Read after Close: %v", err)
							}
							if p.Stats().Cancelled != 1 || p.Stats().InFlight != 0 {
								t.Errorf("closed, but %+v", p.Stats())
							}
							return
						}
						if strings.Contains(tt.name, "nobody reads") {
							time.Sleep(2 * time.Minute)
						}
						_, err = io.Copy(io.Discard, res.Body)
					}
					if err != cause || time.Since(start) < time.Minute || time.Since(start) > 2*time.Minute {
						t.Errorf("ended with %v after %v", err, time.Since(start))
					}
					// The bubble fails if a goroutine is left.
					if s := p.Stats(); s.Cancelled != 1 || s.InFlight != 0 {
						t.Errorf("%+v", s)
					}
				})
			}
		})
	}
}

// body is a request body that tells whether it was closed.
type body struct {
	io.Reader
	closed int
}

func (b *body) Close() error { b.closed++; return nil }

func TestRequestBody(t *testing.T) {
	p := &snubbertest.Provider{}
	boom := errors.New("boom")
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		edit func(*http.Request, *body)
		want string
	}{
		{"whole", func(*http.Request, *body) {}, ""},
		{"unknown length", func(r *http.Request, b *body) { r.ContentLength = -1 }, ""},
		{"already drained", func(r *http.Request, b *body) { b.Reader = strings.NewReader("") }, "ContentLength"},
		{"too long", func(r *http.Request, b *body) { r.ContentLength-- }, "ContentLength"},
		{"fails", func(r *http.Request, b *body) { b.Reader = io.MultiReader(strings.NewReader("{"), errReader{boom}) }, "boom"},
		{"no URL", func(r *http.Request, b *body) { r.URL = nil }, "URL"},
		{"no header", func(r *http.Request, b *body) { r.Header = nil }, "Header"},
		{"context done", func(r *http.Request, b *body) { *r = *r.WithContext(done) }, "canceled"},
		{"outage", func(r *http.Request, b *body) {
			p.Inject(snubbertest.Fault{Kind: snubbertest.Outage, Times: 1})
		}, "refused"},
	} {
		b := &body{Reader: strings.NewReader(hello[chatPath])}
		req := newRequest(t.Context(), "http://fake", chatPath, hello[chatPath])
		req.Body = b
		tt.edit(req, b)
		res, err := p.RoundTrip(req)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || res != nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, %v", tt.name, res, err)
		}
		if b.closed != 1 {
			t.Errorf("%s: body closed %d times", tt.name, b.closed)
		}
	}
}

// A request body that never ends is cut off with the context.
func TestEndlessRequestBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &snubbertest.Provider{}
		r, _ := io.Pipe()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "POST", "http://fake"+chatPath, r)
		if _, err := p.RoundTrip(req); err != context.DeadlineExceeded {
			t.Errorf("RoundTrip: %v", err)
		}
	})
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
