package snubber

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/dialect"
)

// maxRecorded bounds the copy of a request body that has no GetBody.
const maxRecorded = 4 << 20

// replay hands the caller's request body to each attempt.
type replay struct {
	again func() (io.ReadCloser, error) // nil where nothing can give it again
	rec   *recorder                     // what a body without again is read through
	state bodyState
}

type bodyState uint8

const (
	noBody  bodyState = iota
	unsent            // no attempt has had the caller's own body yet
	sent              // it has
	rewound           // it was read ahead and closed; again has all of it
	gone              // nobody can have it, and who is asked now needs none
)

var errSpent = errors.New("it was longer than 4 MiB, or still being sent, and cannot be sent again")

// body returns the body for the next attempt; own is the caller's.
func (r *replay) body(own io.ReadCloser) (io.ReadCloser, error) {
	switch {
	case r.state == noBody:
		return own, nil // nil or http.NoBody
	case r.state == gone:
		return http.NoBody, nil
	case r.rec != nil:
		r.state = sent
		return r.rec.view()
	case r.state == unsent:
		r.state = sent
		return own, nil
	case r.again == nil:
		return nil, &bodyError{errSpent}
	}
	b, err := r.again()
	if err != nil {
		return nil, &bodyError{err}
	}
	return b, nil
}

// ready reports whether another attempt could have the body now.
func (r *replay) ready(ctx context.Context) bool {
	switch r.state {
	case noBody, unsent:
		return true
	case gone:
		return false
	}
	return r.again != nil || r.rec != nil && r.rec.ready(ctx)
}

// returned is the body for another call, after the one that had it has ended.
func (r *replay) returned() replay {
	back := *r
	if back.state == unsent {
		back.state = rewound // end has closed it
	}
	return back
}

// end closes what no attempt will close.
func (r *replay) end(own io.ReadCloser) {
	if r.rec != nil {
		r.rec.end()
	} else if r.state == unsent {
		own.Close()
	}
}

// bytes is the body, as far as it can be had before it is sent; nil else.
func (r *replay) bytes() []byte {
	if r == nil || r.again == nil {
		return nil
	}
	body, err := r.again()
	if err != nil {
		return nil
	}
	defer body.Close()
	b, _ := io.ReadAll(io.LimitReader(body, maxRecorded))
	return b
}

// whole calls use with all of a body of at most 4 MiB, where it can be had before
// it is sent. It is the caller's own memory, if GetBody gives it in one piece, and
// is not for use to change or keep. It reports false if the body cannot be had, or
// is not as long as was said, which may turn out after use.
func (r *replay) whole(length int64, use func(body []byte)) bool {
	if r.again == nil {
		return false
	}
	body, err := r.again()
	if err != nil {
		return false
	}
	defer body.Close()
	g := gatherer{length: length, use: use}
	if w, ok := body.(io.WriterTo); ok {
		_, err = w.WriteTo(&g)
	} else {
		g.buf, err = io.ReadAll(io.LimitReader(body, maxRecorded+1))
	}
	if err != nil || len(g.buf) > maxRecorded {
		return false
	}
	if !g.done {
		if length > 0 && int64(len(g.buf)) != length {
			return false
		}
		use(g.buf)
	}
	return true
}

// gatherer is a collector for whole.
type gatherer struct {
	length int64
	use    func([]byte)
	done   bool
	buf    []byte
}

func (g *gatherer) Write(p []byte) (int, error) {
	switch {
	case g.done && len(p) > 0 || len(g.buf)+len(p) > maxRecorded:
		return 0, io.ErrShortWrite
	case g.buf == nil && len(p) > 0 && int64(len(p)) == g.length:
		g.use(p)
		g.done = true
	default:
		g.buf = append(g.buf, p...)
	}
	return len(p), nil
}

// lost reports whether no other attempt can ever have the body.
func (r *replay) lost() bool { return r.again == nil && r.rec != nil && r.rec.lost() }

// newReplay prepares the body of req, and reads it if the route needs to know
// what it asks for: through GetBody, which costs no copy, or else by reading
// an inference body of known and modest length first. Any other body without
// GetBody is recorded while it is sent, if record says that it may be needed
// again.
func newReplay(req *http.Request, route dialect.Route, record, count bool) (r replay, p dialect.Prompt, err error) {
	if req.Body == nil || req.Body == http.NoBody {
		return r, p, nil
	}
	r.state, r.again = unsent, req.GetBody
	switch {
	case req.GetBody != nil:
		if route.Inference {
			p = readPrompt(req, route, count)
		}
	case route.Inference && req.ContentLength > 0 && req.ContentLength <= maxRecorded:
		ctx := req.Context()
		stop := context.AfterFunc(ctx, func() { req.Body.Close() }) // wakes a Read that hangs
		body, err := io.ReadAll(io.LimitReader(req.Body, req.ContentLength+1))
		stop()
		if ctx.Err() != nil {
			return replay{}, p, ctx.Err() // and RoundTrip closes it
		}
		if err != nil {
			return replay{}, p, &bodyError{err}
		}
		req.Body.Close()
		r.again, r.state = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }, rewound
		p = promptOf(route, body, count)
	case record:
		r.rec = &recorder{src: req.Body}
	}
	return r, p, nil
}

// readPrompt reads a body that GetBody gives, in place where it can be had in
// one piece. An error of GetBody is left for the attempt that needs the body.
func readPrompt(req *http.Request, route dialect.Route, count bool) dialect.Prompt {
	body, err := req.GetBody()
	if err != nil {
		return dialect.Prompt{}
	}
	defer body.Close()
	c := collectors.Get().(*collector)
	c.route, c.length, c.count = route, req.ContentLength, count
	if w, ok := body.(io.WriterTo); ok {
		w.WriteTo(c)
	} else {
		io.Copy(c, io.LimitReader(body, maxRecorded))
	}
	p := c.prompt
	if !c.done {
		p = promptOf(route, c.buf, count)
	}
	*c = collector{} // the pool keeps no prompt
	collectors.Put(c)
	return p
}

var collectors = sync.Pool{New: func() any { return new(collector) }}

func promptOf(route dialect.Route, body []byte, count bool) dialect.Prompt {
	if count {
		return route.ReadPrompt(body)
	}
	return route.SkimPrompt(body)
}

// collector reads the prompt from what is written to it. bytes.Reader and its
// kin write all they have at once, and then nothing is copied.
type collector struct {
	route  dialect.Route
	length int64
	count  bool // the tokens too
	done   bool
	prompt dialect.Prompt
	buf    []byte
}

func (c *collector) Write(p []byte) (int, error) {
	if c.buf == nil && int64(len(p)) == c.length {
		c.prompt, c.done = promptOf(c.route, p, c.count), true
		return len(p), nil
	}
	if len(c.buf)+len(p) > maxRecorded {
		return 0, io.ErrShortWrite
	}
	c.buf = append(c.buf, p...)
	return len(p), nil
}

// recorder keeps what the first attempt reads from a body that exists once.
// Each attempt has a view of its own, so that a transport that still reads an
// old one never shares a position with the new.
type recorder struct {
	src io.ReadCloser

	mu       sync.Mutex
	buf      []byte
	err      error // what ended src, io.EOF when all of it was read
	overflow bool
	reading  bool          // a view is inside src.Read
	open     int           // views not yet closed
	ended    bool          // no more views
	moved    chan struct{} // closed when a view was read or closed; nil while nobody waits
}

type view struct {
	r      *recorder
	off    int
	closed bool
}

// ready reports whether another view could begin. It waits a moment for the
// last one to be let go: a transport that got its response early closes the
// request's body after it, in a goroutine of its own.
func (r *recorder) ready(ctx context.Context) bool {
	patience := time.NewTimer(holdTime)
	defer patience.Stop()
	for {
		r.mu.Lock()
		ok := r.readyLocked()
		if ok || r.overflow {
			r.mu.Unlock()
			return ok
		}
		if r.moved == nil {
			r.moved = make(chan struct{})
		}
		moved := r.moved
		r.mu.Unlock()
		select {
		case <-moved:
		case <-patience.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (r *recorder) movedLocked() {
	if r.moved != nil {
		close(r.moved)
		r.moved = nil
	}
}

func (r *recorder) lost() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.overflow || r.err != nil && r.err != io.EOF
}

func (r *recorder) readyLocked() bool {
	return !r.overflow && !r.reading && (r.err != nil || r.open == 0)
}

// view is the body for one more attempt.
func (r *recorder) view() (io.ReadCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.readyLocked() {
		return nil, &bodyError{errSpent}
	}
	r.open++
	return &view{r: r}, nil
}

// end closes src as soon as no view is open: closing it under a transport that
// still sends would be a race of ours.
func (r *recorder) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.closeLocked()
}

func (r *recorder) closeLocked() {
	if r.ended && r.open == 0 {
		r.src.Close()
	}
}

func (v *view) Read(p []byte) (int, error) {
	r := v.r
	r.mu.Lock()
	switch {
	case v.closed:
		r.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	case v.off < len(r.buf):
		n := copy(p, r.buf[v.off:])
		v.off += n
		r.mu.Unlock()
		return n, nil
	case r.err != nil:
		defer r.mu.Unlock()
		return 0, r.err
	}
	r.reading = true
	r.mu.Unlock()

	n, err := r.src.Read(p)
	if err != nil && err != io.EOF {
		err = &bodyError{err} // ours to tell from the network's, and the same in every attempt
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.movedLocked()
	r.reading = false
	r.err = err
	if r.overflow = r.overflow || r.ended || len(r.buf)+n > maxRecorded; r.overflow {
		r.buf = nil
		v.off = 0
	} else {
		r.buf = append(r.buf, p[:n]...)
		v.off += n
	}
	return n, err
}

func (v *view) Close() error {
	r := v.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if !v.closed {
		v.closed = true
		r.open--
		r.closeLocked()
		r.movedLocked()
	}
	return nil
}
