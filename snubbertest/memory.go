package snubbertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// RoundTrip answers a request in memory, as a server behind an
// [http.Transport] would: the request's body is read to its end and closed,
// each event of a stream can be read when it is sent, one a Read, and the
// request's context ends the call at any time. A body that has not the length
// its request states is an error. No goroutine is left once the response's
// body was read to its end or closed, or the context is done.
func (p *Provider) RoundTrip(req *http.Request) (*http.Response, error) {
	body, oversized, err := readRequest(req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	c := newCall(req.Method, req.URL.Path, req.URL.RawQuery, req.Header, body)
	m := &memory{
		request:  req,
		ctx:      ctx,
		cancel:   cancel,
		abandon:  func() { p.finish(c, callCancelled) },
		response: make(chan *http.Response, 1),
		chunks:   make(chan []byte, 64),
	}
	p.arrive(c, oversized)
	go p.serve(ctx, m, c)
	select {
	case <-ctx.Done():
	case res := <-m.response:
		if res != nil && ctx.Err() == nil {
			return res, nil
		}
		if res == nil {
			return nil, m.stop(m.err)
		}
	}
	return nil, m.stop(nil)
}

func readRequest(req *http.Request) (body []byte, oversized bool, err error) {
	ctx := req.Context()
	if req.Body == nil {
		req = req.WithContext(ctx)
		req.Body = http.NoBody
	}
	closeBody := sync.OnceFunc(func() { req.Body.Close() })
	defer closeBody()
	switch {
	case req.URL == nil:
		return nil, false, errors.New("nil Request.URL")
	case req.Header == nil:
		return nil, false, errors.New("nil Request.Header")
	case ctx.Err() != nil:
		return nil, false, context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, closeBody)
	body, oversized, err = readBody(req.Body)
	stop()
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	if n := req.ContentLength; err == nil && !oversized && n > 0 && n != int64(len(body)) {
		err = fmt.Errorf("Request.ContentLength=%d with body of length %d", n, len(body))
	}
	return body, oversized, err
}

// memory is the wire of a call in memory, and the body of its response.
type memory struct {
	request *http.Request
	abandon func()

	// ctx is done when the caller gave up, closed the body or read it to its
	// end; its cause is what Read returns from then on.
	ctx    context.Context
	cancel context.CancelCauseFunc

	response chan *http.Response // nil if there will be none
	chunks   chan []byte         // what a socket's buffers would hold
	err      error               // the body's end, set before chunks is closed

	headed bool
	length int64 // of the body that is still to come, negative if not known
	rest   []byte
}

func (m *memory) head(status int, h http.Header, length int64) {
	m.headed, m.length = true, length
	text := http.StatusText(status)
	if text == "" { // 529, say
		text = "status code " + strconv.Itoa(status)
	}
	res := &http.Response{
		Status:     strconv.Itoa(status) + " " + text,
		StatusCode: status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        h,
		Body:          m,
		ContentLength: length,
		Request:       m.request,
	}
	if h.Get("Date") == "" {
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	if length < 0 {
		res.TransferEncoding = []string{"chunked"}
	} else {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	if m.bodyless(status) {
		m.length = 0
	}
	m.response <- res
}

func (m *memory) bodyless(status int) bool {
	return m.request.Method == "HEAD" || status == 204 || status == 304
}

func (m *memory) send(piece []byte) {
	if m.length >= 0 {
		piece = piece[:min(int64(len(piece)), m.length)]
		m.length -= int64(len(piece))
	}
	if len(piece) == 0 {
		return
	}
	select {
	case m.chunks <- piece:
	case <-m.ctx.Done():
	}
}

func (m *memory) close() {
	if m.length > 0 {
		m.cut(io.ErrUnexpectedEOF)
		return
	}
	m.cut(io.EOF)
}

func (m *memory) cut(err error) {
	m.err = err
	close(m.chunks)
	if !m.headed {
		m.response <- nil
	}
}

func (m *memory) Read(b []byte) (int, error) {
	if m.ctx.Err() != nil {
		return 0, m.stop(nil)
	}
	if len(m.rest) == 0 {
		select {
		case chunk, ok := <-m.chunks:
			if !ok {
				return 0, m.stop(m.err)
			}
			m.rest = chunk
		case <-m.ctx.Done():
			return 0, m.stop(nil)
		}
	}
	n := copy(b, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// Close gives up what is still to come.
func (m *memory) Close() error {
	m.stop(http.ErrBodyReadAfterClose)
	return nil
}

// stop ends the call, if it still runs, and tells why it ended. The record
// must not depend on whether the other goroutine has noticed yet that its
// client is gone.
func (m *memory) stop(why error) error {
	m.abandon()
	m.cancel(why)
	return context.Cause(m.ctx)
}
