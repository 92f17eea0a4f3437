package body

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// trickle is a body of one byte a wait.
type trickle struct {
	wait   time.Duration
	left   int
	closed int
}

func (r *trickle) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(r.wait)
	r.left--
	return copy(p, "x"), nil
}

func (r *trickle) Close() error { r.closed++; return nil }

func TestPrefetch(t *testing.T) {
	for _, n := range []int{0, 1, 4 << 10, maxAhead - 1, maxAhead, maxAhead + 1, 200 << 10} {
		text := strings.Repeat("x", n)
		b := Prefetch(io.NopCloser(strings.NewReader(text)))
		if got, want := len(b.Bytes()), min(n, maxAhead); got != want {
			t.Errorf("of %d bytes %d were read ahead, want %d", n, got, want)
		}
		if got, want := b.Complete(), n < maxAhead; got != want {
			t.Errorf("of %d bytes: Complete = %v, want %v", n, got, want)
		}
		if err := iotest.TestReader(b, []byte(text)); err != nil {
			t.Errorf("of %d bytes: %v", n, err)
		}
	}
}

// A slow body delays for a second, and loses nothing.
func TestPrefetchOfASlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &trickle{wait: 300 * time.Millisecond, left: 10}
		start := time.Now()
		b := Prefetch(src)
		if d := time.Since(start); d != maxWait || len(b.Bytes()) != 3 || b.Complete() {
			t.Errorf("%d bytes after %v, complete %v, want 3 after %v", len(b.Bytes()), d, b.Complete(), maxWait)
		}
		got, err := io.ReadAll(b)
		if d := time.Since(start); err != nil || len(got) != 10 || d != 3*time.Second {
			t.Errorf("%d bytes, %v after %v, want 10 after 3s", len(got), err, d)
		}
		if b.Close(); src.closed != 1 {
			t.Errorf("closed %d times, want once", src.closed)
		}
	})
}

// A Read that hangs for ever ends with Close.
func TestPrefetchOfAHangingBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Prefetch(hanging{make(chan struct{})})
		time.AfterFunc(time.Hour, func() { b.Close() })
		if _, err := b.Read(make([]byte, 1)); err != io.ErrClosedPipe {
			t.Errorf("Read = %v, want the body's error", err)
		}
	})
}

type panicking struct{ wait time.Duration }

func (p panicking) Read([]byte) (int, error) { time.Sleep(p.wait); panic("boom") }
func (panicking) Close() error               { return nil }

// A panic of the body comes up where it is read, not in a goroutine of its own.
func TestPrefetchPanics(t *testing.T) {
	panics := func(f func()) (v any) {
		defer func() { v = recover() }()
		f()
		return nil
	}
	synctest.Test(t, func(t *testing.T) {
		if v := panics(func() { Prefetch(panicking{}) }); v != "boom" {
			t.Errorf("Prefetch panics with %v, want boom", v)
		}
		b := Prefetch(panicking{2 * maxWait})
		if v := panics(func() { b.Read(make([]byte, 1)) }); v != "boom" {
			t.Errorf("Read panics with %v, want boom", v)
		}
	})
}

// Buffer leaves the start in memory and lets go of the rest.
func TestPrefetchedBuffer(t *testing.T) {
	broken := errors.New("broken")
	long := strings.Repeat("x", maxAhead+10)
	for _, tt := range []struct {
		name   string
		body   io.Reader
		header string // Content-Length
		want   string
		err    error
		length string
	}{
		{"all", strings.NewReader("abc"), "3", "abc", nil, "3"},
		{"a part", strings.NewReader(long), "65546", long[:maxAhead], nil, "65536"},
		{"a part of unknown length", strings.NewReader(long), "", long[:maxAhead], nil, ""},
		{"broken", io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), "9", "abc", broken, "9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := &source{Reader: tt.body}
			header := http.Header{"X": {"y"}}
			res := &http.Response{Header: header, ContentLength: -1}
			if tt.header != "" {
				header.Set("Content-Length", tt.header)
			}
			b := Prefetch(src)
			res.Body = b
			b.Buffer(res)
			if src.closed != 1 {
				t.Errorf("closed %d times, want once", src.closed)
			}
			got, err := io.ReadAll(res.Body)
			if string(got) != tt.want || err != tt.err {
				t.Errorf("%d bytes, %v, want %d, %v", len(got), err, len(tt.want), tt.err)
			}
			if got := res.Header.Get("Content-Length"); got != tt.length || header.Get("Content-Length") != tt.header {
				t.Errorf("Content-Length %q, want %q; the server's own is %q", got, tt.length, header.Get("Content-Length"))
			}
		})
	}
}

func TestMemory(t *testing.T) {
	text := []byte("some text")
	if err := iotest.TestReader(NewMemory(text, io.EOF), text); err != nil {
		t.Error(err)
	}
	broken := errors.New("broken")
	m := NewMemory(bytes.Clone(text), broken)
	if b, err := io.ReadAll(m); string(b) != "some text" || err != broken {
		t.Errorf("%q, %v, want the text and its error", b, err)
	}
	m = NewMemory(text, io.EOF)
	m.Close()
	if n, err := m.Read(make([]byte, 1)); n != 0 || err != http.ErrBodyReadAfterClose {
		t.Errorf("Read after Close = %d, %v, want %v", n, err, http.ErrBodyReadAfterClose)
	}
}
