package httpcache

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// pump reads the body, at the pace of the network while it is recorded, and when
// it is too long for that, at the pace of the slowest reader.
func (fl *flight) pump() {
	body, prompt := fl.r.Response.Body, fl.visit.kind == prompting
	size := int64(32 << 10)
	if n := fl.r.Response.ContentLength; n >= 0 {
		size = min(size, max(n, 1))
	}
	buf := make([]byte, size)
	var committed int64 = -1
	for {
		n, err := body.Read(buf)
		var next *piece
		if n > 0 {
			next = &piece{data: append([]byte(nil), buf[:n]...)}
		}
		fl.mu.Lock()
		total := fl.total + int64(n)
		if err == io.EOF && fl.asked == completion && !fl.fits(total) {
			err = io.ErrUnexpectedEOF // the length that was promised to the caller is not the server's
		}
		recording := fl.head != nil
		fl.mu.Unlock()
		if recording && total > fl.visit.cache.maxEntry() {
			fl.table.unlink(fl)
			fl.mu.Lock()
			fl.head, recording = nil, false
			fl.mu.Unlock()
		}
		// A stream is whole at its terminal event, after which some SDKs close it.
		// It is stored before they can see that event and ask again.
		whole := prompt && fl.ex.Complete() || !prompt && err == io.EOF && fl.fits(total)
		if recording && whole && total != committed {
			committed = total
			if fl.visit.cache.Store != nil && next != nil {
				// A store may take its time, for which no byte waits. Who asks again
				// meanwhile gets all of it from the flight.
				fl.push(next, nil, true)
				next = nil
			}
			fl.commit(next)
		}
		if !fl.push(next, err, committed == total) {
			body.Close() // the readers' Close is theirs alone
			return
		}
	}
}

// fits reports whether so many bytes are what the header promised.
func (fl *flight) fits(total int64) bool {
	if n := fl.shared.span.Len(); fl.shared.status == http.StatusPartialContent && n != total {
		return false
	}
	n := fl.template.ContentLength
	return n < 0 || n == total
}

// push hands a piece to the readers, and the end of the body. It reports false
// at the end.
func (fl *flight) push(next *piece, err error, complete bool) bool {
	window := max(fl.visit.cache.maxEntry(), minWindow)
	if err != nil {
		fl.table.unlink(fl)
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if next != nil {
		fl.tail.next = next
		fl.tail = next
		fl.total += int64(len(next.data))
	}
	fl.complete = fl.complete || complete
	if err != nil {
		if fl.complete && fl.closed {
			err = io.EOF // it was closed after its terminal event
		}
		fl.fin, fl.trailer = err, fl.r.Response.Trailer
		fl.stir(&fl.moved)
		return false
	}
	fl.stir(&fl.moved)
	if fl.head == nil && fl.behind(window) {
		fl.waitForAll(window)
	}
	return true
}

// stallTime is how long a reader may keep the others of its flight waiting without
// reading anything itself.
const stallTime = 30 * time.Second

var ErrStalled = errors.New("nothing was read of this answer for " + stallTime.String() + ", while others waited to read on in it")

// waitForAll waits, under mu, until no reader is further behind than the window.
// Who keeps others waiting and does not read is cut off: it may have forgotten the
// body, and has no deadline that would end that. Alone it holds up only itself, as
// without a cache.
func (fl *flight) waitForAll(window int64) {
	mark := func() {
		for _, p := range fl.readers {
			p.marked = p.pos
		}
	}
	mark()
	timer := time.NewTimer(stallTime)
	defer timer.Stop()
	for fl.err == nil && fl.behind(window) {
		drained := fl.wait(&fl.drained)
		fl.mu.Unlock()
		select {
		case <-drained:
			fl.mu.Lock()
		case <-fl.done:
			fl.mu.Lock()
		case <-timer.C:
			for _, p := range fl.stalled(window) {
				p.leave(ErrStalled, false)
			}
			fl.mu.Lock()
			mark()
			timer.Reset(stallTime)
		}
	}
}

// behind reports whether a reader is further behind than the window.
func (fl *flight) behind(window int64) bool {
	for _, p := range fl.readers {
		if fl.total-p.pos > window {
			return true
		}
	}
	return false
}

// stalled are the readers that have kept others waiting since they were marked.
func (fl *flight) stalled(window int64) (all []*reader) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	wanted := false
	for _, p := range fl.readers {
		wanted = wanted || p.pos == fl.total
		if fl.total-p.pos > window && p.pos == p.marked && p.call != nil {
			all = append(all, p)
		}
	}
	if !wanted {
		return nil
	}
	return all
}

// wait returns what is closed at the next stir. Both under mu.
func (fl *flight) wait(c *chan struct{}) <-chan struct{} {
	if *c == nil {
		*c = make(chan struct{})
	}
	return *c
}

func (fl *flight) stir(c *chan struct{}) {
	if *c != nil {
		close(*c)
		*c = nil
	}
}

// commit stores the answer, with the piece that the readers have not got yet.
func (fl *flight) commit(last *piece) {
	e := new(cached)
	*e = *fl.shared
	fl.mu.Lock()
	for p := fl.head.next; p != nil; p = p.next {
		e.chunks = append(e.chunks, p.data)
	}
	e.size = fl.total
	fl.mu.Unlock()
	if last != nil {
		e.chunks = append(e.chunks, last.data)
		e.size += int64(len(last.data))
	}
	if t := fl.r.Response.Trailer; len(t) > 0 {
		e.trailer = t.Clone()
	}
	fl.course.keep(fl.visit, e, fl.visit.store)
}

// reader is a caller on a flight's body.
type reader struct {
	flight *flight
	call   Caller
	req    *http.Request
	leads  bool

	// Under the flight's mu.
	at     *piece // what was read last
	off    int    // in at
	pos    int64
	marked int64 // pos, when the others began to wait
	err    error
	gone   bool
	unhook func() bool
	into   http.Header
}

// announce is the response's Trailer, to be filled at the body's end.
func (p *reader) announce(t http.Header) http.Header {
	if t != nil {
		p.into = make(http.Header, len(t))
		for name := range t {
			p.into[name] = nil
		}
	}
	return p.into
}

func (p *reader) Read(b []byte) (int, error) {
	fl := p.flight
	fl.mu.Lock()
	for {
		if p.err != nil {
			fl.mu.Unlock()
			return 0, p.err
		}
		if p.off == len(p.at.data) && p.at.next != nil {
			p.at, p.off = p.at.next, 0
		}
		if rest := p.at.data[p.off:]; len(rest) > 0 || len(b) == 0 {
			n := copy(b, rest)
			p.off += n
			p.pos += int64(n)
			fl.stir(&fl.drained)
			fl.mu.Unlock()
			return n, nil
		}
		if fl.fin != nil {
			break
		}
		moved := fl.wait(&fl.moved)
		fl.mu.Unlock()
		select {
		case <-moved: // a reader that leaves stirs it too
		case <-p.req.Cancel:
			p.leave(cmp.Or(p.req.Context().Err(), context.Canceled), false)
		}
		fl.mu.Lock()
	}
	err, panicked := fl.fin, fl.panicked
	if err == io.EOF {
		for name, values := range fl.trailer {
			if p.into != nil {
				p.into[name] = append([]string(nil), values...)
			}
		}
	}
	fl.mu.Unlock()
	p.leave(err, false)
	if p.leads && panicked != nil {
		panic(panicked)
	}
	return 0, err
}

// Close lets the caller go. The last one ends the flight.
func (p *reader) Close() error {
	p.leave(http.ErrBodyReadAfterClose, true)
	return nil
}

// leave ends the reading, once, with what every further Read returns.
func (p *reader) leave(err error, closing bool) {
	fl := p.flight
	left := p.req.Context().Err() // it may have ended for a reason that we have not been told
	fl.table.lock()
	fl.mu.Lock()
	if p.gone {
		p.settleLocked(err, left, closing) // the caller, before whoever told it that it is gone
		fl.mu.Unlock()
		fl.table.unlock()
		return
	}
	p.gone = true
	p.at, p.off = new(piece), 0 // not to keep what is still to come, if the body itself is kept
	for i, q := range fl.readers {
		if q == p {
			fl.readers = append(fl.readers[:i], fl.readers[i+1:]...)
			break
		}
	}
	fl.waiting--
	last := fl.waiting == 0 && !fl.detached
	if last && !fl.complete {
		fl.table.unlinkLocked(fl)
	}
	if last {
		fl.closed = true
	}
	unhook := p.unhook
	fl.stir(&fl.drained)
	fl.mu.Unlock()
	fl.table.unlock()
	if unhook != nil {
		unhook()
	}
	if last {
		if closing {
			fl.r.Response.Body.Close() // a verdict of its own, that the end of a context has not
		}
		fl.end(cmp.Or(left, context.Canceled))
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	p.settleLocked(err, left, closing)
}

// settleLocked gives the verdict and then the error: who has that may read the
// Report. The verdict on the flight is that on the leader's call, if it has not
// left before; a follower has one of its own, without what the call has used.
func (p *reader) settleLocked(err, left error, closing bool) {
	if p.err == nil {
		switch failed := err != io.EOF && !closing; {
		case err == ErrStalled, failed && (!p.leads || left != nil):
			p.call.Settle(err, nil)
		case p.leads:
			p.call.Settle(nil, p.flight.ex)
		default:
			p.call.Settle(nil, nil)
		}
	}
	if p.err == nil || closing {
		p.err = err
	}
	p.flight.stir(&p.flight.moved)
}
