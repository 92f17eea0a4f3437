package snubber_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// step is what a script does with one attempt.
type step struct {
	status int // 0: 200
	header http.Header
	body   string
	stream io.ReadCloser                               // in place of body, of unknown length
	err    error                                       // in place of a response
	delay  time.Duration                               // before either, cut short by the attempt's context
	do     func(*http.Request) (*http.Response, error) // in place of all that
}

// try is the record of one attempt.
type try struct {
	at     time.Time
	header http.Header
	body   string
	closed time.Time // when the response's body was closed first, zero while it is open
}

// script is a base that plays its steps in order, the last one for ever.
type script struct {
	steps []step

	mu    sync.Mutex
	tries []*try
}

func play(steps ...step) *script { return &script{steps: steps} }

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	t := &try{at: time.Now(), header: req.Header.Clone()}
	st := step{}
	if n := len(s.steps); n > 0 {
		st = s.steps[min(len(s.tries), n-1)]
	}
	s.tries = append(s.tries, t)
	s.mu.Unlock()
	if st.do != nil {
		return st.do(req)
	}
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		t.body = string(b)
		s.mu.Unlock()
	}
	if st.delay > 0 {
		timer := time.NewTimer(st.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
	}
	if st.err != nil {
		return nil, st.err
	}
	res := &http.Response{
		StatusCode: st.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: st.header.Clone(), ContentLength: int64(len(st.body)), Request: req,
	}
	if res.StatusCode == 0 {
		res.StatusCode = http.StatusOK
	}
	res.Status = http.StatusText(res.StatusCode)
	if res.Header == nil {
		res.Header = http.Header{}
	}
	var body io.ReadCloser = io.NopCloser(strings.NewReader(st.body))
	if st.stream != nil {
		body, res.ContentLength = st.stream, -1
	}
	res.Body = &watched{body, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if t.closed.IsZero() {
			t.closed = time.Now()
		}
	}}
	return res, nil
}

// watched is a body that tells when it is closed.
type watched struct {
	io.ReadCloser
	closing func()
}

func (w *watched) Close() error {
	w.closing()
	return w.ReadCloser.Close()
}

// all is a copy of the record.
func (s *script) all() []try {
	s.mu.Lock()
	defer s.mu.Unlock()
	ts := make([]try, len(s.tries))
	for i, t := range s.tries {
		ts[i] = *t
	}
	return ts
}

// sent is the number of attempts.
func (s *script) sent() int { return len(s.all()) }

const (
	chatURL  = "https://api.example.com/v1/chat/completions"
	chatBody = `{"model":"m","messages":[{"role":"user","content":"hello"}]}`
)

// newReq makes a request; an empty body is none. header is in pairs.
func newReq(t testing.TB, method, url, body string, header ...string) *http.Request {
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

// chat is an inference request, which is safe to repeat.
func chat(t testing.TB, header ...string) *http.Request {
	t.Helper()
	return newReq(t, "POST", chatURL, chatBody, header...)
}

// hdr makes a header from pairs.
func hdr(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// slurp reads and closes a response's body.
func slurp(t testing.TB, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		t.Errorf("body: %v", err)
	}
	return string(b)
}
