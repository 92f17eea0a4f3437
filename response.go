package snubber

import (
	"io"
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/body"
	"github.com/seed-9e4f5248/snubber/internal/dialect"
	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// responseBody is a response's body on its way to the caller. Bytes, errors and the
// boundaries of Reads are the server's own.
type responseBody struct {
	rc    io.ReadCloser
	meter *meter // nil if the body is not looked into
	err   error  // what every further Read returns
}

// meter observes the body, and may hold the Reads of its start.
type meter struct {
	dialect.Meter
	reads *body.Reads // the Reads that the caller has not had yet; nil for none
}

// startMeter makes a meter for the body of res, if it is the response to an inference
// request. A body in an encoding that the caller has negotiated gets none, nor does an
// upgrade.
func (b *responseBody) startMeter(x *exchange, res *http.Response) {
	if !x.info.inference || res.StatusCode < 200 || res.StatusCode >= 300 || len(res.Header["Content-Encoding"]) > 0 {
		return
	}
	var media string
	if v := res.Header["Content-Type"]; len(v) > 0 {
		media = v[0]
	}
	b.meter = new(meter)
	b.meter.Start(x.info.route(), media, x.info.stream)
}

func (b *responseBody) reads() *body.Reads {
	if b.meter == nil {
		return nil
	}
	return b.meter.reads
}

// truncated reports whether the end of the response is missing: after err, or with a
// nil err for a stream of which nothing more is read.
func (b *responseBody) truncated(err error) bool {
	m := b.meter
	if m == nil || m.Phase() == dialect.Failed {
		return false
	}
	return err == nil && m.Streaming() && m.Phase() < dialect.Finished || err == io.EOF && !m.End()
}

// incremental reports whether the caller uses the response before all of it has
// arrived. A caller who gets no more must then be told. Half a document tells its
// parser by itself.
func (a *attempt) incremental() bool { return a.exchange.info.stream || a.body.meter.Streaming() }

func (b *responseBody) usage() (dialect.Usage, bool) {
	if b.meter == nil {
		return dialect.Usage{}, false
	}
	return b.meter.Usage()
}

// attemptBody is an attempt as the body of its response.
type attemptBody struct{ a *attempt }

// upgradedBody has the Writer of a 101 response's body too.
type upgradedBody struct {
	attemptBody
	io.Writer
}

// wrapBody makes the attempt the body of res. It reports false if the attempt has ended
// meanwhile.
func (a *attempt) wrapBody(res *http.Response, o Outcome) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended != attemptRunning {
		return false
	}
	if o.Class != Success || o.Quotas != nil || o.Reason != "" {
		a.outcome = new(Outcome)
		*a.outcome = o
	}
	a.body.rc = res.Body
	if reads := a.body.reads(); reads != nil {
		reads.StopFilling()
	}
	res.Body = attemptBody{a}
	if res.StatusCode == http.StatusSwitchingProtocols {
		a.watch.Upgraded = true
		if w, ok := a.body.rc.(io.Writer); ok {
			res.Body = upgradedBody{attemptBody{a}, w}
		}
	}
	a.rearmLocked(a.watch.LastRead())
	return true
}

// Read reads from the server, or first what was read ahead. At the end of the body it
// gives the final verdict and ends the attempt.
func (b attemptBody) Read(p []byte) (int, error) {
	a := b.a
	a.mu.Lock()
	if a.body.err != nil {
		defer a.mu.Unlock()
		return a.body.tail(p)
	}
	n, now, err := a.readLocked(p)
	o, final, err := a.classifyReadLocked(err)
	n, ended, err := a.endReadLocked(p, n, o, err)
	a.mu.Unlock()

	if final {
		a.finishAt(o, now)
	}
	if ended {
		a.end(attemptFinished)
	}
	return n, err
}

// readLocked returns the next Read of the body, and the time after it. It unlocks a.mu
// while it reads from the server.
func (a *attempt) readLocked(p []byte) (n int, now mono.Time, err error) {
	now = mono.Now()
	a.watch.BeginRead(now)
	if reads := a.body.reads(); reads != nil { // the meter has observed them
		var all bool
		if n, err, all = reads.Next(p); all {
			a.body.meter.reads = nil
			reads.Free()
		}
		a.watch.EndRead(now)
		return n, now, err
	}
	a.rearmLocked(now)
	a.mu.Unlock()

	n, err = a.body.rc.Read(p)

	if err != nil && err != io.EOF {
		err = a.translate(err)
	}
	now = mono.Now()
	a.mu.Lock()
	a.watch.EndRead(now)
	if !a.watch.Armed() { // the timer has rung during the Read
		a.rearmLocked(now)
	}
	if ended := a.body.err; ended != nil && err == io.EOF {
		err = ended // it was aborted or closed meanwhile: this is no clean end
	}
	if m := a.body.meter; m != nil {
		m.Observe(p[:n])
		a.watch.AwaitingContent = a.watch.AwaitingContent && m.Phase() == dialect.Preamble
	}
	return n, now, err
}

// classifyReadLocked gives the verdict after a Read that returned err, and returns the
// error for the caller. final is false if the body goes on.
func (a *attempt) classifyReadLocked(err error) (o Outcome, final bool, _ error) {
	m := a.body.meter
	final = true
	switch {
	case err != nil && err != io.EOF:
		o = classifyError(a.exchange.req, err)
	case err != nil && a.body.truncated(err):
		o = Outcome{Class: Unreachable, Reason: "truncated"}
		if a.incremental() {
			err = errTruncated
		}
	case err != nil, m != nil && m.reads == nil && m.Phase() >= dialect.Terminal:
		o = a.verdictLocked()
	default:
		final = false
	}
	// A stream in which only its EOF shows the end does not count as complete.
	complete := o.Class == Success && m != nil && (m.Phase() == dialect.Terminal || !m.Streaming() && m.End())
	a.flags.set(attemptComplete, complete)
	return o, final, err
}

// endReadLocked ends the body if err is not nil, and returns what the Read returns. ended
// says that the body has ended, now or while the Read was running.
func (a *attempt) endReadLocked(p []byte, n int, o Outcome, err error) (_ int, ended bool, _ error) {
	ended = a.body.err != nil
	switch {
	case ended && (n == 0 || a.body.reads() != nil): // bytes read since do not belong behind the error event
		n, err = a.body.tail(p)
	case !ended && err != nil:
		ended = true
		if a.body.fail(a.exchange, o, err); n == 0 || a.body.reads() != nil {
			var more int
			more, err = a.body.tail(p[n:])
			n += more
		}
	}
	return n, ended, err
}

// fail ends the body in err. An error event in the response's own format may come
// before err.
func (b *responseBody) fail(x *exchange, o Outcome, err error) {
	b.err = err
	if b.meter == nil {
		return
	}
	b.meter.reads = nil
	if event := b.errorEvent(x, o, err); event != nil {
		b.meter.reads = body.OneRead(event, err)
	}
}

// errorEvent returns the error event of a stream that ends in err, or nil if it gets
// none.
func (b *responseBody) errorEvent(x *exchange, o Outcome, err error) []byte {
	mode := x.t.StreamErrors
	if err == io.EOF || !o.Class.failure() || mode == StreamErrorsNever || mode == StreamErrorsAuto && !x.info.format.LosesErrors() {
		return nil
	}
	status, code := http.StatusBadGateway, "snubber_unreachable"
	if o.Class == TimedOut {
		status, code = http.StatusGatewayTimeout, "snubber_timeout"
	}
	return b.meter.BreakOff(x.info.format, status, code, "the stream broke off ("+o.Reason+")")
}

// tail is the Read of a body that has ended.
func (b *responseBody) tail(p []byte) (n int, err error) {
	reads := b.reads()
	if reads == nil {
		return 0, b.err
	}
	n, err, all := reads.Next(p)
	if all {
		b.meter.reads = nil
	}
	return n, err
}

// Close ends the attempt. The provisional verdict stands: a caller that has read enough
// says nothing against the service. It is Canceled if a stream had not brought any
// content yet, or if the caller's context has ended.
func (b attemptBody) Close() error {
	a := b.a
	a.mu.Lock()
	if a.finished && a.ended > attemptAborting { // read to its end
		a.mu.Unlock()
		return a.body.rc.Close()
	}
	o := a.verdictLocked()
	ctx := a.exchange.ctx()
	left := ctx.Err() != nil
	if left {
		o = Outcome{Class: Canceled, Reason: cancelReason(ctx)}
	} else if a.watch.AwaitingContent {
		o = Outcome{Class: Canceled, Reason: "closed"}
	}
	if a.body.err == nil {
		a.body.err = http.ErrBodyReadAfterClose
	}
	if m := a.body.meter; m != nil {
		m.reads = nil
	}
	a.mu.Unlock()
	a.finish(o)
	if left {
		a.end(attemptAbandoned) // before a nested Transport is closed: it looks at the context
	}
	err := a.body.rc.Close()
	a.end(attemptFinished)
	return err
}

// verdictLocked returns the provisional verdict, or the worse one of an error inside
// the body.
func (a *attempt) verdictLocked() Outcome {
	o := Outcome{Class: Success}
	if a.outcome != nil {
		o = *a.outcome
	}
	if m := a.body.meter; m != nil && m.Phase() == dialect.Failed && o.Class == Success {
		now := time.Now()
		o = outcomeOf(dialect.ClassifyEvent(a.exchange.info.route(), a.req.URL.Host, nil, m.Failure(), now), now)
	}
	return o
}

// complete reports whether the response is known to be complete and free of errors. For
// a stream, that is from its terminal event on.
func (a *attempt) complete() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flags.has(attemptComplete)
}

// The start of a response to an inference request is read before the caller gets the
// response. Until the response has shown what it is, an error in it, an empty stream or
// a truncated one is a failure like a 503. It can be retried, or sent to a fallback, and
// the caller notices nothing. From the first content on, the response is the caller's.
// If content and a failure came in one Read, the failure decides, because the caller has
// not seen the content.
//
// RoundTrip's own goroutine reads it, with the timers of a Read. That needs no other
// goroutine and no other lock. A timer or the caller's context ends the Read by closing
// the body, so a Base's body must unblock its Read then. A Read that hangs cannot be
// handed to another goroutine: to be safe from it, every Read would need one from its
// start.

// lookAhead makes the attempt the reader of res and reads the start of its body, if
// that can tell more than the header. An error has ended the attempt, and there is no
// response.
func (a *attempt) lookAhead(res *http.Response) error {
	a.mu.Lock()
	if a.ended != attemptRunning {
		a.mu.Unlock()
		return a.Err()
	}
	a.body.startMeter(a.exchange, res)
	m := a.body.meter
	a.watch.AwaitingContent = m != nil && m.Streaming()
	if m == nil || m.Opaque() {
		a.mu.Unlock()
		return nil
	}
	reads := body.NewReads()
	m.reads, a.body.rc = reads, res.Body
	for !m.Open() {
		p := reads.Space()
		if len(p) == 0 {
			break // by its size it is content
		}
		began := mono.Now()
		a.watch.BeginRead(began)
		a.rearmLocked(began)
		a.mu.Unlock()

		n, err := res.Body.Read(p)

		a.mu.Lock()
		a.watch.EndRead(mono.Now())
		if a.ended != attemptRunning {
			err = a.errLocked()
			a.mu.Unlock()
			return err
		}
		m.Observe(p[:n])
		a.watch.AwaitingContent = a.watch.AwaitingContent && m.Phase() == dialect.Preamble
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

// classifyLookahead gives the verdict on a response from the start of its body, and
// returns that start. last says that the verdict is final: the rest of the body holds
// nothing.
func (a *attempt) classifyLookahead(res *http.Response, now time.Time) (o Outcome, start []byte, last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	reads, m := a.body.reads(), a.body.meter
	if reads == nil {
		return classifyResponse(a.exchange.info.route(), a.exchange.req, res, nil, now), nil, false
	}
	err := reads.Err()
	start, last = reads.Bytes(), err != nil || m.Phase() >= dialect.Terminal && m.Streaming()
	switch {
	case m.Phase() == dialect.Failed:
		o = outcomeOf(dialect.ClassifyEvent(a.exchange.info.route(), a.req.URL.Host, res.Header, m.Failure(), now), now)
	case err == io.EOF && !m.End():
		o = Outcome{Class: Unreachable, Reason: "truncated"}
	case err != nil && err != io.EOF && m.Phase() != dialect.Terminal: // it came in one Read with content
		o = classifyError(a.exchange.req, err)
	default:
		o = classifyResponse(a.exchange.info.route(), a.exchange.req, res, nil, now)
	}
	return o, start, last
}

// bufferLookahead closes a body whose start was read, and leaves res with that start in
// memory.
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
