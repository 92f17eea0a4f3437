package rttest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// pass adds a header, as the simplest of wrappers do.
type pass struct{ base http.RoundTripper }

func (p pass) RoundTrip(req *http.Request) (*http.Response, error) {
	own := req.WithContext(req.Context())
	if own.Header != nil { // http.Transport refuses a nil one, so that is left to the base
		own.Header = req.Header.Clone()
		own.Header.Set("X-Passed", "1")
	}
	return p.base.RoundTrip(own)
}

func (p pass) CloseIdleConnections() { closeIdle(p.base) }

func closeIdle(rt http.RoundTripper) {
	if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// retry is a plain retrying transport, to show that the rules can be kept by
// one. Each field is a mistake that can be made in it.
type retry struct {
	base http.RoundTripper

	reuseBody     bool // sends what is left of the body
	seekBody      bool // one reader for all attempts
	ignoreGetBody bool // sends nothing if GetBody fails
	keepOpen      bool // leaves failed bodies to the garbage collector
	closeLate     bool // closes failed bodies at the end
	drainAll      bool // reads failed bodies to their end
	drainSlowly   bool // reads 64 KiB of them, however long that takes
	sleep         bool // waits without looking at the context
	patient       bool // begins waits that cannot end in time
	giveUp        bool // replaces the last response by an error
}

func (r *retry) CloseIdleConnections() { closeIdle(r.base) }

func (r *retry) RoundTrip(req *http.Request) (*http.Response, error) {
	body, again := r.replay(req)
	var late []io.Closer
	defer func() {
		for _, c := range late {
			c.Close()
		}
	}()
	for n := 1; ; n++ {
		res, err := r.attempt(req, body)
		wait := time.Duration(n) * 500 * time.Millisecond
		switch {
		case err == nil && res.StatusCode != 429 && res.StatusCode < 500:
			return res, nil
		case again == nil || req.Context().Err() != nil:
			return res, err
		case n == 4 && r.giveUp && err == nil:
			res.Body.Close()
			return nil, errors.New("giving up after 4 attempts")
		case n == 4:
			return res, err
		}
		if res != nil {
			if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
				if s > 60 && !r.patient {
					return res, nil
				}
				wait = time.Duration(s) * time.Second
			}
		}
		if end, ok := req.Context().Deadline(); ok && time.Until(end) <= wait && !r.patient {
			return res, err
		}
		if res != nil {
			switch {
			case r.keepOpen:
			case r.closeLate:
				late = append(late, res.Body)
			case r.drainAll:
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
			default:
				hold(res, r.drainSlowly)
			}
		}
		if r.sleep {
			time.Sleep(wait)
		} else {
			select {
			case <-time.After(wait):
			case <-req.Context().Done():
				if res == nil || r.patient {
					return nil, req.Context().Err()
				}
				return res, nil
			}
		}
		if body, err = again(); err != nil {
			return nil, err
		}
	}
}

// attempt sends the request once, with a context that ends with the response.
func (r *retry) attempt(req *http.Request, body io.ReadCloser) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	own := req.WithContext(ctx)
	own.Body = body
	res, err := r.base.RoundTrip(own)
	if err != nil {
		cancel()
		return nil, err
	}
	end := &ending{ReadCloser: res.Body, end: cancel}
	if conn, ok := res.Body.(io.Writer); ok {
		res.Body = struct {
			io.ReadCloser
			io.Writer
		}{end, conn}
	} else {
		res.Body = end
	}
	return res, nil
}

// replay returns the body to send first and what opens it again, which is nil
// if nothing may or can.
func (r *retry) replay(req *http.Request) (first io.ReadCloser, again func() (io.ReadCloser, error)) {
	body := req.Body
	if req.Method == "POST" && (req.URL == nil || !strings.HasSuffix(req.URL.Path, "/chat/completions")) {
		return body, nil
	}
	switch {
	case body == nil || body == http.NoBody || r.reuseBody:
		return body, func() (io.ReadCloser, error) { return body, nil }
	case r.seekBody && req.GetBody != nil:
		data, _ := io.ReadAll(body)
		body.Close()
		shared := bytes.NewReader(data)
		return io.NopCloser(shared), func() (io.ReadCloser, error) {
			shared.Seek(0, io.SeekStart)
			return io.NopCloser(shared), nil
		}
	case r.ignoreGetBody && req.GetBody != nil:
		return body, func() (io.ReadCloser, error) {
			if copied, err := req.GetBody(); err == nil {
				return copied, nil
			}
			return http.NoBody, nil
		}
	}
	return body, req.GetBody
}

// hold reads a failed body, bounded in bytes and time, and closes it.
func hold(res *http.Response, slowly bool) {
	read := make(chan struct{})
	var kept bytes.Buffer
	var end error
	go func() {
		defer close(read)
		if _, end = io.CopyN(&kept, res.Body, 64<<10); end == nil {
			end = io.ErrUnexpectedEOF // there is more
		}
	}()
	var bound <-chan time.Time
	if !slowly {
		bound = time.After(time.Second)
	}
	select {
	case <-read:
	case <-bound:
	}
	res.Body.Close()
	<-read
	res.Body = &ending{ReadCloser: io.NopCloser(io.MultiReader(&kept, failing{end})), end: func() {}}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// ending calls end when a body is over.
type ending struct {
	io.ReadCloser
	end    func()
	closed atomic.Bool
}

func (b *ending) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.end()
	}
	return n, err
}

func (b *ending) Close() error {
	b.closed.Store(true)
	defer b.end()
	return b.ReadCloser.Close()
}
