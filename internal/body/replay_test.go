package body

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// source is a body that exists once, and knows whether it was closed.
type source struct {
	io.Reader
	closed int
}

func (s *source) Close() error { s.closed++; return nil }

func request(t *testing.T, rc io.ReadCloser, length int64) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://h/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Body, req.ContentLength = rc, length
	return req
}

// send reads the body of the next attempt to its end and closes it.
func send(t *testing.T, r *Replay, own io.ReadCloser) (string, error) {
	t.Helper()
	rc, err := r.Next(own)
	if err != nil {
		return "", err
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	return string(b), err
}

func TestReplay(t *testing.T) {
	ctx := t.Context()
	long := strings.Repeat("x", MaxCopy+1)
	for _, tt := range []struct {
		name              string
		text              string // "": no body
		getBody           bool
		length            int64
		readAhead, record bool
		ahead             string
		repeatable        bool // after one attempt
		shareable, lost   bool
	}{
		{name: "no body", repeatable: true, shareable: true},
		{name: "GetBody", text: "abc", getBody: true, length: 3, repeatable: true, shareable: true},
		{name: "GetBody, not read ahead", text: "abc", getBody: true, length: 3, readAhead: true, record: true, repeatable: true, shareable: true},
		{name: "once", text: "abc", length: 3},
		{name: "read ahead", text: "abc", length: 3, readAhead: true, ahead: "abc", repeatable: true, shareable: true},
		{name: "longer than it says", text: "abcd", length: 2, readAhead: true, ahead: "abc", repeatable: true, shareable: true},
		{name: "of unknown length", text: "abc", length: -1, readAhead: true},
		{name: "recorded", text: "abc", length: -1, readAhead: true, record: true, repeatable: true},
		{name: "too long to read ahead", text: long, length: MaxCopy + 1, readAhead: true, record: true, lost: true},
		{name: "too long to record", text: long, length: -1, record: true, lost: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			src := &source{Reader: strings.NewReader(tt.text)}
			req := request(t, src, tt.length)
			if tt.text == "" {
				req.Body = nil
			}
			if tt.getBody {
				req.GetBody = InMemory([]byte(tt.text))
			}
			r, again, ahead, err := NewReplay(req, tt.readAhead, tt.record)
			if err != nil || string(ahead) != tt.ahead {
				t.Fatalf("NewReplay = %q, %v, want %q", ahead, err, tt.ahead)
			}
			if (again != nil) != (tt.getBody && tt.readAhead) {
				t.Errorf("NewReplay returns a copy: %v, want %v", again != nil, tt.getBody && tt.readAhead)
			}
			if !r.Repeatable(ctx) {
				t.Error("Repeatable = false before the first attempt")
			}
			if got := r.Shareable(); got != tt.shareable {
				t.Errorf("Shareable = %v, want %v", got, tt.shareable)
			}
			want := tt.text
			if tt.ahead != "" {
				want = tt.ahead
			}
			if req.Body == nil {
				if rc, err := r.Next(nil); rc != nil || err != nil {
					t.Errorf("Next = %v, %v, want no body", rc, err)
				}
			} else if got, err := send(t, &r, req.Body); err != nil || got != want {
				t.Fatalf("the first attempt has %d bytes, %v, want %d", len(got), err, len(want))
			}
			if got := r.Repeatable(ctx); got != tt.repeatable {
				t.Errorf("Repeatable = %v after an attempt, want %v", got, tt.repeatable)
			}
			if got := r.Lost(); got != tt.lost {
				t.Errorf("Lost = %v, want %v", got, tt.lost)
			}
			if req.Body != nil {
				got, err := send(t, &r, req.Body)
				if tt.repeatable && (err != nil || got != want) {
					t.Errorf("the second attempt has %q, %v, want %q", got, err, want)
				}
				if !tt.repeatable && !errors.As(err, new(*Error)) {
					t.Errorf("the second attempt has %d bytes, %v, want an *Error", len(got), err)
				}
			}
			r.Release(req.Body)
			closed := 1
			if tt.text == "" {
				closed = 0
			}
			if src.closed != closed {
				t.Errorf("closed %d times, want %d", src.closed, closed)
			}
		})
	}
}

// Before an attempt has it, Release closes the body; another round trip that gets
// the Replay then has it from GetBody.
func TestReplayHandBack(t *testing.T) {
	src := &source{Reader: strings.NewReader("abc")}
	req := request(t, src, 3)
	req.GetBody = InMemory([]byte("abc"))
	r, _, _, _ := NewReplay(req, false, false)
	r.Release(src)
	if src.closed != 1 {
		t.Errorf("closed %d times, want once", src.closed)
	}
	back := r.HandBack()
	if got, err := send(t, &back, src); got != "abc" || err != nil {
		t.Errorf("after HandBack: %q, %v, want abc", got, err)
	}
	if back.Release(src); src.closed != 1 {
		t.Errorf("closed %d times, want once", src.closed)
	}
}

func TestReplayGiveUp(t *testing.T) {
	r, _, _, _ := NewReplay(request(t, &source{Reader: strings.NewReader("abc")}, 3), false, false)
	r.GiveUp()
	if got, err := send(t, &r, nil); got != "" || err != nil {
		t.Errorf("Next = %q, %v, want an empty body", got, err)
	}
	if r.Repeatable(t.Context()) {
		t.Error("Repeatable = true after GiveUp")
	}
}

func TestReplayErrors(t *testing.T) {
	broken := errors.New("broken")
	req := request(t, io.NopCloser(iotest.ErrReader(broken)), 3)
	if _, _, _, err := NewReplay(req, true, false); !errors.Is(err, broken) || !errors.As(err, new(*Error)) {
		t.Errorf("NewReplay = %v, want an *Error with the body's", err)
	}
	r := Replay{copies: makesCopies, GetBody: func() (io.ReadCloser, error) { return nil, broken }, state: bodyTaken}
	if _, err := r.Next(nil); !errors.Is(err, broken) || !errors.As(err, new(*Error)) {
		t.Errorf("Next = %v, want an *Error with GetBody's", err)
	}
	if r.Bytes() != nil || r.WithBytes(3, func([]byte) { t.Error("use was called") }) {
		t.Error("bytes of a body that GetBody does not return")
	}
}

// A recorded body that ends in an error ends so in every attempt.
func TestReplayRecordsTheError(t *testing.T) {
	broken := errors.New("broken")
	src := &source{Reader: io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken))}
	r, _, _, _ := NewReplay(request(t, src, -1), false, true)
	for range 3 {
		if got, err := send(t, &r, src); got != "abc" || !errors.Is(err, broken) || !errors.As(err, new(*Error)) {
			t.Errorf("%q, %v, want abc and an *Error", got, err)
		}
	}
	if !r.Lost() {
		t.Error("Lost = false, want true: the rest cannot be had any more")
	}
}

// Repeatable waits up to a second for the attempt before to close its body, and
// Release closes the source after the last reader.
func TestReplayWaitsForTheLastReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{Reader: iotest.OneByteReader(strings.NewReader("abc"))}
		r, _, _, _ := NewReplay(request(t, src, -1), false, true)
		rc, err := r.Next(src)
		if err != nil {
			t.Fatal(err)
		}
		rc.Read(make([]byte, 2))
		start := time.Now()
		if r.Repeatable(t.Context()) || time.Since(start) != maxWait {
			t.Errorf("Repeatable = true, or false after %v, want false after %v", time.Since(start), maxWait)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if start = time.Now(); r.Repeatable(ctx) || time.Since(start) != 0 {
			t.Errorf("Repeatable = true, or false after %v, want false at once for a caller that has left", time.Since(start))
		}
		if _, err := r.Next(src); !errors.As(err, new(*Error)) {
			t.Errorf("Next = %v while another attempt reads, want an *Error", err)
		}
		time.AfterFunc(300*time.Millisecond, func() { rc.Close() })
		if start = time.Now(); !r.Repeatable(t.Context()) || time.Since(start) != 300*time.Millisecond {
			t.Errorf("Repeatable = false, or true after %v, want true after 300ms", time.Since(start))
		}
		if _, err := rc.Read(nil); err != http.ErrBodyReadAfterClose {
			t.Errorf("Read after Close = %v, want %v", err, http.ErrBodyReadAfterClose)
		}
		rc, _ = r.Next(src)
		r.Release(src)
		if src.closed != 0 {
			t.Error("Release closed the body under a reader")
		}
		if b, err := io.ReadAll(rc); err != nil || string(b) != "abc" {
			t.Errorf("%q, %v, want abc", b, err)
		}
		if rc.Close(); src.closed != 1 {
			t.Errorf("closed %d times after the last reader, want once", src.closed)
		}
	})
}

// WithBytes and Bytes give the body as it is sent, in place where it is in one piece.
func TestReplayBytes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		text    string
		length  int64
		wrap    func(io.Reader) io.Reader
		ok      bool
		inPlace bool
	}{
		{"one piece", "abc", 3, nil, true, true},
		{"of unknown length", "abc", -1, nil, true, false},
		{"no WriterTo", "abcdef", 6, iotest.HalfReader, true, false},
		{"byte by byte", "abc", 3, iotest.OneByteReader, true, false},
		{"shorter than it says", "abc", 4, nil, false, false},
		{"longer than it says", "abcd", 3, nil, false, false},
		{"empty", "", 0, nil, true, false},
		{"too long", strings.Repeat("x", MaxCopy+1), MaxCopy + 1, nil, false, false},
		{"too long, of unknown length", strings.Repeat("x", MaxCopy+1), -1, nil, false, false},
		{"broken", "abc", 3, func(r io.Reader) io.Reader { return iotest.TimeoutReader(iotest.OneByteReader(r)) }, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := []byte(tt.text)
			r := Replay{copies: makesCopies, GetBody: func() (io.ReadCloser, error) {
				if tt.wrap == nil {
					return io.NopCloser(bytes.NewReader(text)), nil
				}
				return io.NopCloser(tt.wrap(bytes.NewReader(text))), nil
			}}
			var got []byte
			used := 0
			ok := r.WithBytes(tt.length, func(b []byte) { got, used = b, used+1 })
			if ok != tt.ok || ok && (string(got) != tt.text || used != 1) {
				t.Fatalf("WithBytes = %v with %d bytes in %d uses, want %v with %d in one", ok, len(got), used, tt.ok, len(tt.text))
			}
			if inPlace := len(got) > 0 && &got[0] == &text[0]; inPlace != tt.inPlace {
				t.Errorf("in place: %v, want %v", inPlace, tt.inPlace)
			}
			if b := r.Bytes(); tt.name != "broken" && string(b) != tt.text[:min(len(tt.text), MaxCopy)] {
				t.Errorf("Bytes = %d bytes, want %d", len(b), min(len(tt.text), MaxCopy))
			}
		})
	}
}
