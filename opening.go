package snubber

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/dialect"
	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// opening is the beginning of an answer to an inference request, read before
// anybody gets the response. Until the answer has shown what it is, an error in
// it, an empty stream or one that breaks off is a failure like a 503: it can be
// repeated, or asked of a fallback, and nobody notices. From the first content on
// it is the caller's, who gets the bytes in the pieces in which they came: some
// SDKs parse Read by Read. Where content and a failure came in one Read, the
// failure decides: nobody has seen the content.
//
// It is read by the goroutine of RoundTrip, with the timers of a Read. That needs
// no goroutine and no lock of its own, and what ends a Read that waits (a timer,
// the caller) ends this one: by Close, which a Base's body has to heed. To be safe
// from one that does not, each Read would have to be another goroutine's from its
// start, for it cannot be handed over once it hangs.
type opening struct {
	reading bool // by RoundTrip: nobody else has the body yet
	buf     []byte
	ends    []uint16 // where each Read ended, in buf
	at      int      // the Reads that were handed on,
	off     int      // and the bytes
	err     error    // of the last Read
}

const (
	openingSize  = 8 << 10 // of the buffer, until more is needed; a preamble has one or two
	openingRead  = 4 << 10 // the least that is free for a Read
	openingReads = 1 << 12
)

// openings keeps buffers for the next answers. It may be shared by all
// Transports: a buffer is plain memory and nothing in it waits.
var openings = sync.Pool{New: func() any { return &opening{buf: make([]byte, 0, openingSize)} }}

func newOpening() *opening {
	o := openings.Get().(*opening)
	o.reading = true
	return o
}

// free gives o back, unless an answer of unusual size has made it large.
func (o *opening) free() {
	if cap(o.buf) > openingSize || cap(o.ends) > openingReads/8 {
		return
	}
	*o = opening{buf: o.buf[:0], ends: o.ends[:0]}
	openings.Put(o)
}

// room is where the next Read goes; empty if no more may be held.
func (o *opening) room() []byte {
	left := maxHeld - 1 - len(o.buf) // so that an end fits its 16 bits
	if left <= 0 || len(o.ends) >= openingReads {
		return nil
	}
	if cap(o.buf)-len(o.buf) < openingRead {
		o.buf = slices.Grow(o.buf, openingRead)
	}
	room := o.buf[len(o.buf):cap(o.buf)]
	return room[:min(len(room), left)]
}

// add takes in what a Read has put into room.
func (o *opening) add(n int, err error) {
	o.buf = o.buf[:len(o.buf)+n]
	o.ends = append(o.ends, uint16(len(o.buf)))
	o.err = err
}

// next is the next Read as it was, or what of it fits into p. all says that
// nothing is left.
func (o *opening) next(p []byte) (n int, err error, all bool) {
	if len(p) == 0 && o.off < len(o.buf) {
		return 0, nil, false
	}
	end := int(o.ends[o.at])
	n = copy(p, o.buf[o.off:end])
	if o.off += n; o.off < end {
		return n, nil, false
	}
	if o.at++; o.at < len(o.ends) {
		return n, nil, false
	}
	return n, o.err, true
}

// openAnswer makes the attempt the reader of res and reads its opening, where it
// has one. The error says what has ended the attempt: there is no response.
func (a *attempt) openAnswer(res *http.Response) error {
	a.mu.Lock()
	if a.ended != attemptRunning {
		a.mu.Unlock()
		return a.Err()
	}
	a.body.open(a.exchange, res)
	m := a.body.meter
	a.watch.first = m != nil && m.Streaming()
	if m == nil || m.Opaque() {
		a.mu.Unlock()
		return nil
	}
	o := newOpening()
	m.opening, a.body.rc = o, res.Body
	for !m.Open() {
		p := o.room()
		if p == nil {
			break // it is content by its size
		}
		began := mono.Now()
		a.watch.begin(began)
		a.rearmLocked(began)
		a.mu.Unlock()

		n, err := res.Body.Read(p)

		a.mu.Lock()
		a.watch.end(mono.Now())
		if a.ended != attemptRunning {
			err = a.errLocked()
			a.mu.Unlock()
			return err
		}
		m.Observe(p[:n])
		a.watch.first = a.watch.first && m.Phase() == dialect.Preamble
		o.add(n, err)
		if err == io.EOF {
			break
		}
		if err != nil && !m.Open() {
			a.mu.Unlock()
			return err
		}
	}
	a.mu.Unlock()
	return nil
}

// opened is the verdict on an answer by its opening, and what of that is held.
// over says that it is the last one: there is nothing in the rest.
func (a *attempt) opened(res *http.Response, now time.Time) (o Outcome, held []byte, over bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	op, m := a.body.opening(), a.body.meter
	if op == nil {
		return classifyResponse(a.exchange.info.route(), a.exchange.in, res, nil, now), nil, false
	}
	held, over = op.buf, op.err != nil || m.Phase() >= dialect.Terminal && m.Streaming()
	switch {
	case m.Phase() == dialect.Failed:
		o = outcomeOf(dialect.ClassifyEvent(a.exchange.info.route(), a.req.URL.Host, res.Header, m.Failure(), now), now)
	case op.err == io.EOF && !m.End():
		o = Outcome{Class: Unreachable, Reason: "truncated"}
	case op.err != nil && op.err != io.EOF && m.Phase() != dialect.Terminal: // in one Read with content, as the half of a chunk comes
		o = classifyError(a.exchange.in, op.err)
	default:
		o = classifyResponse(a.exchange.info.route(), a.exchange.in, res, nil, now)
	}
	return o, held, over
}

// keepOpening closes a body of which an opening was read and leaves res with
// that in memory.
func (a *attempt) keepOpening(res *http.Response, verdict Outcome) {
	a.mu.Lock()
	o := a.body.opening()
	if o == nil {
		a.mu.Unlock()
		return
	}
	a.body.meter.opening = nil
	end := o.err
	switch {
	case a.body.truncated(end) && a.piecewise():
		end = errTruncated
	case end == nil:
		end = io.EOF
		shorten(res, len(o.buf))
	}
	o.buf = append(o.buf, a.body.lastWords(a.exchange, verdict, end)...)
	a.mu.Unlock()
	a.body.rc.Close()
	res.Body = &stored{rest: o.buf, err: end}
}

// shorten corrects the length of a response of which the first n bytes are kept.
func shorten(res *http.Response, n int) {
	res.ContentLength = int64(n)
	if res.Header.Get("Content-Length") != "" {
		res.Header = res.Header.Clone()
		res.Header.Set("Content-Length", strconv.Itoa(n))
	}
}
