package body

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// hanging is a body that brings nothing until it is closed.
type hanging struct{ closed chan struct{} }

func (h hanging) Read([]byte) (int, error) { <-h.closed; return 0, io.ErrClosedPipe }
func (h hanging) Close() error             { close(h.closed); return nil }

func TestReadAll(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name  string
		rc    io.Reader
		limit int64
		want  string
		err   error
	}{
		{"all", strings.NewReader("abc"), 10, "abc", nil},
		{"limit", strings.NewReader("abc"), 2, "ab", nil},
		{"error", io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), 10, "abc", broken},
	} {
		b, err := ReadAll(t.Context(), io.NopCloser(tt.rc), tt.limit)
		if string(b) != tt.want || !errors.Is(err, tt.err) || (err != nil) != errors.As(err, new(*Error)) {
			t.Errorf("%s: %q, %v, want %q, %v", tt.name, b, err, tt.want, tt.err)
		}
	}
	inner := &Error{broken}
	if _, err := ReadAll(t.Context(), io.NopCloser(iotest.ErrReader(inner)), 10); err != error(inner) {
		t.Errorf("an *Error comes back as %v, want it as it was", err)
	}
}

// The end of the context wakes a Read that hangs.
func TestReadAllWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		_, err := ReadAll(ctx, hanging{make(chan struct{})}, 10)
		if err != context.DeadlineExceeded || time.Since(start) != time.Minute {
			t.Errorf("ReadAll = %v after %v, want the context's error after a minute", err, time.Since(start))
		}
	})
}

// A Collector in a pool serves body after body, and copies none that is in one piece.
func TestCollectorAllocatesNothing(t *testing.T) {
	text := bytes.Repeat([]byte("x"), 100_000)
	c := Collector{Use: func([]byte) {}}
	use := c.Use
	body := bytes.NewReader(text)
	if n := testing.AllocsPerRun(100, func() {
		body.Reset(text)
		c = Collector{Length: int64(len(text)), Use: use}
		if _, err := c.Collect(body); err != nil || !c.Used() {
			t.Fatalf("Collect = %v, used %v", err, c.Used())
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
