package snubber_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// inPieces is a body that writes itself in two.
type inPieces struct {
	*strings.Reader
	parts []string
	err   error
}

func (p inPieces) WriteTo(w io.Writer) (n int64, err error) {
	for _, s := range p.parts {
		k, err := io.WriteString(w, s)
		if n += int64(k); err != nil {
			return n, err
		}
	}
	return n, p.err
}

// However GetBody returns a prompt, in one piece or in several, it is the same
// prompt. If its length is wrong, it is not cached. What may be no copy is not read,
// but the body itself.
func TestCachePromptBody(t *testing.T) {
	const body = wiretest.ChatBody
	whole := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
	for _, c := range []struct {
		what    string
		length  int64 // 0: the body's
		getBody func() (io.ReadCloser, error)
		want    string
	}{
		{"in one piece", 0, whole, "hit"},
		{"in pieces", 0, func() (io.ReadCloser, error) {
			return io.NopCloser(inPieces{parts: []string{body[:10], body[10:], ""}}), nil
		}, "hit"},
		{"only to be read", 0, func() (io.ReadCloser, error) {
			return io.NopCloser(struct{ io.Reader }{strings.NewReader(body)}), nil
		}, "hit"},
		{"of unknown length", -1, whole, "hit"},
		{"shorter than it is said to be", int64(len(body)) + 1, whole, "bypass"},
		{"longer, read", int64(len(body)) - 1, func() (io.ReadCloser, error) {
			return io.NopCloser(struct{ io.Reader }{strings.NewReader(body)}), nil
		}, "bypass"},
		{"longer, in pieces", int64(len(body)), func() (io.ReadCloser, error) {
			return io.NopCloser(inPieces{parts: []string{body, "x"}}), nil
		}, "hit"},
		{"that fails", 0, func() (io.ReadCloser, error) {
			return io.NopCloser(inPieces{parts: []string{body}, err: errors.New("no")}), nil
		}, "hit"},
		{"of 5 MiB", 5 << 20, func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(make([]byte, 5<<20))), nil
		}, "bypass"},
	} {
		t.Run(c.what, func(t *testing.T) {
			rt := caching(wiretest.Func(func(req *http.Request) (*http.Response, error) {
				return wiretest.Response(200, strings.NewReader(wiretest.Completion), "Content-Type", "application/json"), nil
			}))
			if _, how := served(t, rt, wiretest.NewRequest(t, "POST", wiretest.ChatURL, body, "Content-Type", "application/json")); how != "miss" {
				t.Fatalf("the first is a %s", how)
			}
			req := wiretest.NewRequest(t, "POST", wiretest.ChatURL, body, "Content-Type", "application/json")
			if req.GetBody = c.getBody; c.length != 0 {
				req.ContentLength = c.length
			}
			if _, how := served(t, rt, req); how != c.want {
				t.Errorf("%s, want %s", how, c.want)
			}
		})
	}
}

// What Cache.Key does to its bytes does not reach the wire.
func TestCacheKeyBody(t *testing.T) {
	base := wiretest.Play(wiretest.JSON(200, wiretest.Completion))
	rt := caching(base)
	rt.Cache.Key = func(_ *http.Request, b []byte) string {
		clear(b)
		return "key"
	}
	// bytes.Reader writes its own memory, where strings.Reader must write a copy.
	body := []byte(wiretest.ChatBody)
	req := wiretest.NewRequest(t, "POST", wiretest.ChatURL, "", "Content-Type", "application/json")
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	if _, how := served(t, rt, req); how != "miss" {
		t.Errorf("it is a %s", how)
	}
	if got := base.Attempts()[0].Body; got != wiretest.ChatBody {
		t.Errorf("sent %q", got)
	}
}
