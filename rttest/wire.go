package rttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

var (
	errWire = errors.New("the wire broke") // what an unreachable server looks like
	errRead = errors.New("the connection was reset")
)

// A wire stands for the network. Towards the transport under test it behaves
// as http.Transport does: it closes the request's body, refuses malformed
// requests and done contexts, and its bodies end with the attempt's context.
type wire struct {
	t *trial

	// answer is what the server does. The request's body has been read by then.
	answer func(*attempt) (*http.Response, error)

	// early leaves reading and closing the request's body to answer.
	early bool

	mu       sync.Mutex
	attempts []*attempt
	idle     int
}

// An attempt is one request that reached the wire.
type attempt struct {
	wire *wire
	req  *http.Request
	n    int // from 1

	// Guarded by wire.mu.
	sent    []byte  // what of the body was read
	sentErr error   // how reading it ended, nil for io.EOF
	refused bool    // its context was done: nothing was sent
	body    *stream // of the response
}

func (t *trial) wire(answer func(*attempt) (*http.Response, error)) *wire {
	return &wire{t: t, answer: answer}
}

func (w *wire) CloseIdleConnections() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle++
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	closeBody := func() {
		if req.Body != nil {
			req.Body.Close()
		}
	}
	switch {
	case req.URL == nil:
		closeBody()
		return nil, errors.New("http: nil Request.URL")
	case req.Header == nil:
		closeBody()
		return nil, errors.New("http: nil Request.Header")
	case req.URL.Host == "":
		closeBody()
		return nil, errors.New("http: no Host in request URL")
	}
	a := &attempt{wire: w, req: req}
	w.mu.Lock()
	w.attempts = append(w.attempts, a)
	a.n = len(w.attempts)
	w.mu.Unlock()
	if req.Context().Err() != nil {
		w.mu.Lock()
		a.refused = true
		w.mu.Unlock()
		closeBody()
		return nil, context.Cause(req.Context())
	}
	if !w.early {
		err := a.receive(-1)
		closeBody()
		if err != nil {
			return nil, err
		}
	}
	return w.answer(a)
}

// seen is what has arrived so far. Reading the fields of an attempt after that
// is safe for calls that have returned.
func (w *wire) seen() []*attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*attempt(nil), w.attempts...)
}

// opened is the response bodies handed out so far.
func (w *wire) opened() []*stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*stream
	for _, a := range w.attempts {
		if a.body != nil {
			all = append(all, a.body)
		}
	}
	return all
}

// receive reads n bytes of the request's body, all if n is negative.
func (a *attempt) receive(n int64) error {
	if a.req.Body == nil {
		return nil
	}
	var r io.Reader = a.req.Body
	if n >= 0 {
		r = io.LimitReader(r, n)
	}
	data, err := io.ReadAll(r)
	a.wire.mu.Lock()
	defer a.wire.mu.Unlock()
	a.sent = append(a.sent, data...)
	if err != nil {
		a.sentErr = err
	}
	return err
}

// hang is a server that never answers.
func (a *attempt) hang() (*http.Response, error) {
	select {
	case <-a.req.Context().Done():
		return nil, context.Cause(a.req.Context())
	case <-a.wire.t.free:
		return nil, errWire
	}
}

// reply is a whole answer of known length.
func (a *attempt) reply(status int, contentType, text string) *http.Response {
	res := a.stream(status, contentType, whole([]byte(text)))
	res.ContentLength = int64(len(text))
	res.Header.Set("Content-Length", fmt.Sprint(len(text)))
	return res
}

// ok is the success that belongs to the request.
func (a *attempt) ok() *http.Response {
	return a.reply(http.StatusOK, "application/json", uploadCompletion)
}

// sorry is the error that belongs to a status.
func (a *attempt) sorry(status int) *http.Response {
	return a.reply(status, "application/json", fmt.Sprintf(`{"error":{"message":"attempt %d gets %d"}}`, a.n, status))
}

// stream is an answer of unknown length.
func (a *attempt) stream(status int, contentType string, next func(i int) part) *http.Response {
	body := &stream{
		ctx:     a.req.Context(),
		free:    a.wire.t.free,
		next:    next,
		reading: make(chan struct{}, 1),
		closed:  make(chan struct{}),
	}
	a.wire.mu.Lock()
	a.body = body
	a.wire.mu.Unlock()
	return &http.Response{
		Status:        fmt.Sprintf("%d %s", status, http.StatusText(status)),
		StatusCode:    status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        http.Header{"Content-Type": {contentType}},
		Body:          body,
		ContentLength: -1,
		Request:       a.req,
	}
}

// A part is what one Read of a response body finds.
type part struct {
	data []byte
	wait time.Duration   // before it is there
	gate <-chan struct{} // before it is there, if not nil; a nil one does not block
	err  error           // instead of data: how the body ends
}

// whole is a body of the given pieces, one a Read.
func whole(pieces ...[]byte) func(int) part { return broken(io.EOF, pieces...) }

// broken is a body that ends with err after the given pieces.
func broken(err error, pieces ...[]byte) func(int) part {
	return func(i int) part {
		if i < len(pieces) {
			return part{data: pieces[i]}
		}
		return part{err: err}
	}
}

// A stream is the body of a response. Read may run while Close is called, as
// with the bodies of http.Transport.
type stream struct {
	ctx   context.Context // the attempt's
	free  <-chan struct{}
	next  func(i int) part
	atEOF func()

	// reading is held by Read. It is no mutex, because waiting for one would
	// stop the clock of a bubble.
	reading chan struct{}
	i       int
	rest    []byte
	end     error

	mu     sync.Mutex
	taken  int64 // bytes read
	closes int
	closed chan struct{}
}

func (s *stream) Read(p []byte) (int, error) {
	select {
	case <-s.closed:
		return 0, http.ErrBodyReadAfterClose
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	}
	if s.isClosed() {
		return 0, http.ErrBodyReadAfterClose
	}
	if s.end != nil {
		return 0, s.end
	}
	if s.ctx.Err() != nil {
		s.end = context.Cause(s.ctx)
		return 0, s.end
	}
	if len(s.rest) == 0 {
		if err := s.fetch(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	s.mu.Lock()
	s.taken += int64(n)
	s.mu.Unlock()
	return n, nil
}

// fetch waits for the next part.
func (s *stream) fetch() error {
	next := s.next(s.i)
	s.i++
	var wait <-chan time.Time
	if next.wait > 0 {
		timer := time.NewTimer(next.wait)
		defer timer.Stop()
		wait = timer.C
	}
	for wait != nil || next.gate != nil {
		select {
		case <-wait:
			wait = nil
		case <-next.gate:
			next.gate = nil
		case <-s.ctx.Done():
			s.end = context.Cause(s.ctx)
			return s.end
		case <-s.closed:
			return http.ErrBodyReadAfterClose
		case <-s.free:
			s.end = errRead
			return s.end
		}
	}
	if next.err != nil {
		s.end = next.err
		if s.end == io.EOF && s.atEOF != nil {
			s.atEOF()
		}
		return s.end
	}
	s.rest = next.data
	return nil
}

func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closes == 0 {
		close(s.closed)
	}
	s.closes++
	return nil
}

func (s *stream) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closes > 0
}

func (s *stream) read() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// upgraded is the body of a 101: the connection itself.
type upgraded struct {
	*stream
	mu      sync.Mutex
	written bytes.Buffer
}

func (u *upgraded) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.written.Write(p)
}
