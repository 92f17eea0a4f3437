package wiretest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// Where the requests go, and what they send.
const (
	ChatURL      = "https://api.example.com/v1/chat/completions"
	AnthropicURL = "https://api.example.com/v1/messages"
	FilesURL     = "https://api.example.com/v1/files/f"
	PageURL      = "https://api.example.com/v1/models"

	ChatBody       = `{"model":"m","messages":[{"role":"user","content":"hello"}]}`
	StreamBody     = `{"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]}`
	BackgroundBody = `{"model":"m","background":true,"input":"hello"}` // not to be sent twice

	// StainlessHeader marks a client that retries every error.
	StainlessHeader = "X-Stainless-Lang"

	nameHeader = "X-Name"
)

// Header returns a header of pairs.
func Header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// NewRequest returns a request with a header of pairs. An empty body means none.
func NewRequest(t testing.TB, method, url, body string, header ...string) *http.Request {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, url, r)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

// Chat returns an inference request, which is safe to repeat.
func Chat(t testing.TB, header ...string) *http.Request {
	t.Helper()
	return NewRequest(t, "POST", ChatURL, ChatBody, header...)
}

// ChatStream returns an inference request for a stream.
func ChatStream(t testing.TB, header ...string) *http.Request {
	t.Helper()
	return NewRequest(t, "POST", ChatURL, StreamBody, header...)
}

// GetPage returns a request for [PageURL], which any HTTP cache may answer.
func GetPage(t testing.TB, header ...string) *http.Request {
	t.Helper()
	return NewRequest(t, "GET", PageURL, "", header...)
}

// Named returns a request that [Script.Names] lists by its name.
func Named(t testing.TB, ctx context.Context, name string) *http.Request {
	t.Helper()
	return NewRequest(t, "GET", "https://a.test/", "", nameHeader, name).WithContext(ctx)
}

// Prompt returns the body of a chat request for so many bytes of text and at
// most so many tokens of response. 0 tokens state no maximum.
func Prompt(text, most int) string {
	limit := ""
	if most > 0 {
		limit = fmt.Sprintf(`,"max_tokens":%d`, most)
	}
	return fmt.Sprintf(`{"model":"m","messages":[{"content":%q}]%s}`, strings.Repeat("a", text), limit)
}

// TrackedBody is a request body that counts its use. It may be read and closed
// concurrently.
type TrackedBody struct {
	R      io.Reader
	Err    error // in place of io.EOF
	Closed atomic.Int32
	Late   atomic.Int32 // Reads after Close
	N      atomic.Int64 // bytes read
}

func (b *TrackedBody) Read(p []byte) (int, error) {
	if b.Closed.Load() > 0 {
		b.Late.Add(1)
	}
	n, err := b.R.Read(p)
	b.N.Add(int64(n))
	if err == io.EOF && b.Err != nil {
		err = b.Err
	}
	return n, err
}

func (b *TrackedBody) Close() error {
	b.Closed.Add(1)
	return nil
}

// WithoutGetBody returns a request whose body can be read once only.
func WithoutGetBody(t testing.TB, method, url string, body *TrackedBody, length int64) *http.Request {
	t.Helper()
	req := NewRequest(t, method, url, "")
	req.Body, req.ContentLength = body, length
	return req
}

// UntouchedChat returns an inference request that fails the test if its body is
// read or closed. Another one is available from GetBody.
func UntouchedChat(t testing.TB) *http.Request {
	t.Helper()
	req := Chat(t)
	req.Body = untouchable{t}
	return req
}

type untouchable struct{ t testing.TB }

func (u untouchable) Read([]byte) (int, error) {
	u.t.Error("the request's body was read")
	return 0, io.EOF
}

func (u untouchable) Close() error {
	u.t.Error("the request's body was closed")
	return nil
}
