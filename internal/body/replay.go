// Package body has the bodies that a transport cannot simply pass on: a request
// body that several attempts need, the start of a response body that was read
// before the caller gets it, and bodies in memory. It knows readers, their errors and
// their lengths. It does not know what is in a body, or why an attempt needs it.
package body

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"unsafe"
)

// MaxCopy bounds the copy of a request body that has no GetBody.
const MaxCopy = 4 << 20

// Error is the error of a request body that could not be read or sent again. It is no
// error of the network or of the server.
type Error struct{ Err error }

func (e *Error) Error() string { return "request body: " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

var errNotReplayable = errors.New("cannot be sent again: longer than 4 MiB or still being sent")

// Replay hands a request's body to each of its attempts. The zero Replay is of a
// request without a body. One goroutine uses it at a time.
type Replay struct {
	// GetBody returns the whole body once more. It is nil if nothing can.
	GetBody func() (io.ReadCloser, error)

	recorder *recorder // a body without GetBody is read through it
	state    replayState
	copies   copying
}

type replayState uint8

const (
	noBody          replayState = iota // the request has none
	bodyNotSent                        // no attempt has had the caller's own body
	bodyTaken                          // an attempt has had it
	bodyBuffered                       // it was read and closed; GetBody has all of it
	bodyUnavailable                    // no attempt can have it
)

// copying is whether GetBody makes copies of the body.
type copying uint8

const (
	notAsked copying = iota
	makesCopies
	makesNone // it may return the body itself, at its start
)

// NewReplay prepares the body of req. If readAhead is set it returns a copy of the
// body, which the caller closes; where none can be had, a body of a known length up
// to MaxCopy is read now, and returned. If record is set, any other body without
// GetBody is copied while it is sent. The error is an *Error or the context's, and
// leaves the body open.
func NewReplay(req *http.Request, readAhead, record bool) (r Replay, again io.ReadCloser, ahead []byte, err error) {
	if req.Body == nil || req.Body == http.NoBody {
		return r, nil, nil, nil
	}
	if req.GetBody != nil {
		r = Replay{GetBody: req.GetBody, state: bodyNotSent}
		if readAhead {
			again = r.copyBeside(inMemory(req.Body))
		}
		if !readAhead || again != nil {
			return r, again, nil, nil
		}
	}
	switch {
	case readAhead && req.ContentLength > 0 && req.ContentLength <= MaxCopy:
		b, err := ReadAll(req.Context(), req.Body, req.ContentLength+1)
		if err != nil {
			return r, nil, nil, err
		}
		req.Body.Close()
		return Replay{GetBody: InMemory(b), state: bodyBuffered, copies: makesCopies}, nil, b, nil
	case req.GetBody != nil:
		return r, nil, nil, nil
	}
	r.state = bodyNotSent
	if record {
		r.recorder = &recorder{src: req.Body}
	}
	return r, nil, nil, nil
}

// copy returns a copy of the body, nil if there is none.
func (r *Replay) copy() io.ReadCloser { return r.copyBeside(nil) }

// copyBeside is copy, where the caller's body is the reader of memory own. Without own
// two copies are made and told from each other. The Replay does not keep own: with a
// word more, a call would be of the next size class.
func (r *Replay) copyBeside(own unsafe.Pointer) io.ReadCloser {
	switch {
	case r.GetBody == nil || r.copies == makesNone:
		return nil
	case r.copies == makesCopies:
		again, _ := r.GetBody()
		return again
	}
	again := copyBy(r.GetBody, own)
	if r.copies = makesNone; again != nil {
		r.copies = makesCopies
	}
	return again
}

// Peek is the Replay of a body that is not to be sent, but may be looked at. It makes
// no copy before it is asked for one.
func Peek(req *http.Request) Replay {
	if req.Body == nil || req.Body == http.NoBody {
		return Replay{}
	}
	return Replay{GetBody: req.GetBody}
}

// InMemory returns the GetBody of a request whose body is b.
func InMemory(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

// Next returns the body for the next attempt, which must close it. own is the caller's
// body. The error is an *Error.
func (r *Replay) Next(own io.ReadCloser) (io.ReadCloser, error) {
	switch {
	case r.state == noBody:
		return own, nil // nil or http.NoBody
	case r.state == bodyUnavailable:
		return http.NoBody, nil
	case r.recorder != nil:
		r.state = bodyTaken
		return r.recorder.newReader()
	case r.state == bodyNotSent:
		r.state = bodyTaken
		return own, nil
	case r.GetBody == nil:
		return nil, &Error{errNotReplayable}
	}
	b, err := r.GetBody()
	if err != nil {
		return nil, &Error{err}
	}
	return b, nil
}

// Repeatable reports whether another attempt could have the body now. It may wait up to
// a second for the last attempt to close its own.
func (r *Replay) Repeatable(ctx context.Context) bool {
	switch r.state {
	case noBody, bodyNotSent:
		return true
	case bodyUnavailable:
		return false
	}
	return r.GetBody != nil || r.recorder != nil && r.recorder.wait(ctx)
}

// Shareable reports whether two attempts could have the body at the same time.
func (r *Replay) Shareable() bool {
	if r.state == noBody || r.copies == makesCopies {
		return true
	}
	again := r.copy()
	if again != nil {
		again.Close()
	}
	return again != nil
}

// Lost reports whether no further attempt can ever have the body.
func (r *Replay) Lost() bool { return r.GetBody == nil && r.recorder != nil && r.recorder.lost() }

// GiveUp makes Next return an empty body, for a route that needs none: the body cannot
// be sent again.
func (r *Replay) GiveUp() { r.state = bodyUnavailable }

// HandBack returns the Replay for another round trip. The round trip that used r must
// have released it.
func (r *Replay) HandBack() Replay {
	back := *r
	if back.state == bodyNotSent {
		back.state = bodyBuffered // Release has closed it
	}
	return back
}

// Release closes the body, unless an attempt has it and closes it.
func (r *Replay) Release(own io.ReadCloser) {
	if r.recorder != nil {
		r.recorder.release()
	} else if r.state == bodyNotSent {
		own.Close()
	}
}

// Bytes returns a copy of the body's first MaxCopy bytes. It returns nil if the body
// cannot be read before it is sent.
func (r *Replay) Bytes() []byte {
	rc := r.copy()
	if rc == nil {
		return nil
	}
	defer rc.Close()
	b, _ := io.ReadAll(io.LimitReader(rc, MaxCopy))
	return b
}

// WithBytes calls use with all of a body of at most MaxCopy bytes, if it can be read
// before it is sent. The bytes are the caller's own memory if GetBody returns them in
// one piece, so use must neither change nor retain them. WithBytes reports false if the
// body cannot be read, or if length is positive and not the body's length. It may
// report that after use was called.
func (r *Replay) WithBytes(length int64, use func([]byte)) bool {
	if length > MaxCopy {
		return false
	}
	rc := r.copy()
	if rc == nil {
		return false
	}
	defer rc.Close()
	c := Collector{Length: length, Use: use}
	rest, err := c.Collect(rc)
	switch {
	case err != nil:
		return false
	case c.used:
		return true
	case length > 0 && int64(len(rest)) != length:
		return false
	}
	use(rest)
	return true
}
