package body

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// seeker is a body as azcore makes it: GetBody returns it again, at its start.
type seeker struct{ *strings.Reader }

func (seeker) Close() error { return nil }

// wrapped is a body as an SDK may wrap it.
type wrapped struct{ io.ReadCloser }

func TestCopyOf(t *testing.T) {
	made := func(body io.Reader) *http.Request {
		req, err := http.NewRequest("POST", "http://origin.test/", body)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	edit := func(req *http.Request, edit func(*http.Request)) *http.Request {
		edit(req)
		return req
	}
	for _, tt := range []struct {
		name string
		req  *http.Request
		want bool
	}{
		{"a strings.Reader", made(strings.NewReader("abc")), true},
		{"a bytes.Reader", made(bytes.NewReader([]byte("abc"))), true},
		{"a bytes.Buffer", made(bytes.NewBufferString("abc")), true},
		{"no body", made(nil), false},
		{"no GetBody", edit(made(strings.NewReader("abc")), func(r *http.Request) { r.GetBody = nil }), false},
		{"wrapped, with copies", edit(made(strings.NewReader("abc")), func(r *http.Request) { r.Body = wrapped{r.Body} }), true},
		{"the body itself", edit(made(nil), func(r *http.Request) {
			body := seeker{strings.NewReader("abc")}
			r.Body, r.ContentLength = body, 3
			r.GetBody = func() (io.ReadCloser, error) { body.Seek(0, io.SeekStart); return body, nil }
		}), false},
		{"the body itself in io.NopCloser", edit(made(nil), func(r *http.Request) {
			body := strings.NewReader("abc")
			r.Body, r.ContentLength = io.NopCloser(body), 3
			r.GetBody = func() (io.ReadCloser, error) { body.Seek(0, io.SeekStart); return io.NopCloser(body), nil }
		}), false},
		{"the body itself, wrapped", edit(made(nil), func(r *http.Request) {
			body := strings.NewReader("abc")
			r.Body, r.ContentLength = wrapped{io.NopCloser(body)}, 3
			r.GetBody = func() (io.ReadCloser, error) { body.Seek(0, io.SeekStart); return io.NopCloser(body), nil }
		}), false},
		{"an error", edit(made(strings.NewReader("abc")), func(r *http.Request) {
			r.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
		}), false},
		{"nothing", edit(made(strings.NewReader("abc")), func(r *http.Request) {
			r.GetBody = func() (io.ReadCloser, error) { return nil, nil }
		}), false},
	} {
		rc := CopyOf(tt.req)
		if (rc != nil) != tt.want {
			t.Errorf("%s: CopyOf = %v, want a copy: %v", tt.name, rc, tt.want)
		}
		if rc != nil {
			if b, err := io.ReadAll(rc); string(b) != "abc" || err != nil {
				t.Errorf("%s: the copy is %q, %v, want abc", tt.name, b, err)
			}
		}
		if tt.req.Body != nil {
			if b, err := io.ReadAll(tt.req.Body); string(b) != "abc" || err != nil {
				t.Errorf("%s: the body is %q, %v afterwards, want abc", tt.name, b, err)
			}
		}
	}
}
