package snubber

import (
	"io"
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/body"
	"github.com/seed-9e4f5248/snubber/internal/dialect"
	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// The start of a response to an inference request is read before the caller gets
// the response. Until the response has shown what it is, an error in it, an empty
// stream or a truncated one is a failure like a 503: it can be retried, or sent to a
// fallback, and the caller notices nothing. From the first content on, the response
// is the caller's. Where content and a failure came in one Read, the failure
// decides: the caller has not seen the content.
//
// RoundTrip's own goroutine reads it, with the timers of a Read. That needs no
// goroutine and no lock of its own. What ends a Read that waits (a timer, the
// caller) ends this one too: by Close, which a Base's body has to heed. To be safe
// from a body that does not, each Read would have to run in another goroutine from
// its start, for a Read cannot be handed over once it hangs.

// lookAhead makes the attempt the reader of res and reads the start of its body, if
// that can tell more than the header. The error is what has ended the attempt: there
// is no response.
func (a *attempt) lookAhead(res *http.Response) error {
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
	reads := body.NewReads()
	m.reads, a.body.rc = reads, res.Body
	for !m.Open() {
		p := reads.Buffer()
		if len(p) == 0 {
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
		reads.Append(n, err)
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

// classifyLookahead gives the verdict on a response by the start of its body, and
// that start. last says that the verdict is final: there is nothing in the rest.
func (a *attempt) classifyLookahead(res *http.Response, now time.Time) (o Outcome, start []byte, last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	reads, m := a.body.reads(), a.body.meter
	if reads == nil {
		return classifyResponse(a.exchange.info.route(), a.exchange.in, res, nil, now), nil, false
	}
	err := reads.Err()
	start, last = reads.Bytes(), err != nil || m.Phase() >= dialect.Terminal && m.Streaming()
	switch {
	case m.Phase() == dialect.Failed:
		o = outcomeOf(dialect.ClassifyEvent(a.exchange.info.route(), a.req.URL.Host, res.Header, m.Failure(), now), now)
	case err == io.EOF && !m.End():
		o = Outcome{Class: Unreachable, Reason: "truncated"}
	case err != nil && err != io.EOF && m.Phase() != dialect.Terminal: // in one Read with content, as the half of a chunk comes
		o = classifyError(a.exchange.in, err)
	default:
		o = classifyResponse(a.exchange.info.route(), a.exchange.in, res, nil, now)
	}
	return o, start, last
}

// bufferLookahead closes a body whose start was read and leaves res with that start
// in memory.
func (a *attempt) bufferLookahead(res *http.Response, verdict Outcome) {
	a.mu.Lock()
	reads := a.body.reads()
	if reads == nil {
		a.mu.Unlock()
		return
	}
	a.body.meter.reads = nil
	start, end := reads.Bytes(), reads.Err()
	if a.body.truncated(end) && a.incremental() {
		end = errTruncated
	}
	if end != nil {
		start = append(start, a.body.errorEvent(a.exchange, verdict, end)...)
	}
	a.mu.Unlock()
	a.body.rc.Close()
	body.SetMemory(res, start, end)
}
