package httpcache

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
)

// stallTime is how long a reader may keep the other readers of its flight waiting
// without reading anything itself.
const stallTime = 30 * time.Second

// ErrSlowReader is the error of a reader that has exceeded stallTime.
var ErrSlowReader = errors.New("shared response: reader idle for " + stallTime.String() + " while others were waiting")

// chunk is a part of the body: of a stream what one Read of the server's returned.
type chunk struct {
	data     []byte // what a flight has recorded may grow, under its mu
	next     *chunk
	recorded bool // by this flight: the memory behind data is its own
}

// reader is the body of one caller of a flight.
type reader struct {
	flight     *flight
	call       Caller
	req        *http.Request
	announced  http.Header // the response's Trailer
	concluding sync.Once
	isLeader   bool

	// Guarded by the flight's mu.
	left         bool
	at           *chunk // the chunk that was read last
	offset       int    // in at
	position     int64
	marked       int64 // position, when the others began to wait
	err          error // what every further Read returns
	stopWatching func() bool
}

// addReader adds a follower. It returns nil if the response was too long to be kept,
// and its beginning is gone.
func (fl *flight) addReader(call Caller, req *http.Request) *reader {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.head == nil {
		return nil
	}
	p := &reader{flight: fl, call: call, req: req, at: fl.head}
	fl.readers = append(fl.readers, p)
	return p
}

// watch lets the reader leave with its caller's context.
func (p *reader) watch() {
	ctx := p.req.Context()
	if ctx.Done() == nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { p.leave(ctx.Err(), false) })
	p.flight.mu.Lock()
	p.stopWatching = stop
	p.flight.mu.Unlock()
}

// Read implements [io.Reader].
func (p *reader) Read(b []byte) (int, error) {
	fl := p.flight
	fl.mu.Lock()
	for {
		if err := p.err; err != nil {
			fl.mu.Unlock()
			return 0, err
		}
		if n, ok := p.readLocked(b); ok {
			fl.spaceReady.Wake()
			fl.mu.Unlock()
			return n, nil
		}
		if fl.bodyErr != nil && !p.left { // a reader that leaves has skipped chunks: this is not its end
			break
		}
		ready := fl.dataReady.Wait()
		fl.mu.Unlock()
		select {
		case <-ready: // leave wakes it too
		//lint:ignore SA1019 http.Client sets it for its Timeout, and callers that are older than contexts do.
		case <-p.req.Cancel:
			p.leave(cmp.Or(p.req.Context().Err(), context.Canceled), false)
		}
		fl.mu.Lock()
	}
	err, panicked := fl.bodyErr, fl.panicked
	if err == io.EOF {
		cachestore.FillTrailer(p.announced, fl.received.Response.Trailer)
	}
	fl.mu.Unlock()
	p.leave(err, false)
	if p.isLeader && panicked != nil {
		panic(panicked)
	}
	return 0, err
}

// readLocked reads what is there. ok is false if nothing is.
func (p *reader) readLocked(b []byte) (n int, ok bool) {
	if p.offset == len(p.at.data) && p.at.next != nil {
		p.at, p.offset = p.at.next, 0
	}
	rest := p.at.data[p.offset:]
	if len(rest) == 0 && len(b) > 0 {
		return 0, false
	}
	n = copy(b, rest)
	p.offset += n
	p.position += int64(n)
	return n, true
}

// Close implements [io.Closer]. The Close of the last reader ends the flight.
func (p *reader) Close() error {
	p.leave(http.ErrBodyReadAfterClose, true)
	return nil
}

// leave ends the reading with err, once.
func (p *reader) leave(err error, closing bool) {
	fl := p.flight
	ended := p.req.Context().Err() // maybe before our function for its end was called
	fl.group.mu.Lock()
	fl.mu.Lock()
	last, stop := false, p.stopWatching
	if p.left {
		stop = nil
	} else {
		last = p.removeLocked()
	}
	fl.mu.Unlock()
	fl.group.mu.Unlock()
	if stop != nil {
		stop()
	}
	if last {
		if closing {
			fl.received.Response.Body.Close() // gives the exchange an outcome, unlike the end of its context
		}
		fl.end(cmp.Or(ended, context.Canceled))
	}
	p.conclude(err, ended, closing)
}

// removeLocked takes the reader out of its flight, and reports whether it was the last
// caller. It needs the lock of the group too, so that nobody joins a flight that ends.
func (p *reader) removeLocked() (last bool) {
	fl := p.flight
	p.left = true
	p.at, p.offset = new(chunk), 0 // the body may be kept, but not what is still to come
	fl.readers = slices.DeleteFunc(fl.readers, func(q *reader) bool { return q == p })
	fl.callers--
	fl.spaceReady.Wake()
	if last = fl.callers == 0 && !fl.detached; !last {
		return false
	}
	fl.bodyClosed = true
	if !fl.complete {
		fl.group.unlinkLocked(fl)
	}
	return true
}

// conclude records the caller's outcome, and only then lets Read return the error: a
// caller that has seen the error may read the Report. If two goroutines conclude at
// once, the second one waits for the outcome of the first. No lock is held while the
// outcome is recorded.
func (p *reader) conclude(err, ended error, closing bool) {
	fl := p.flight
	p.concluding.Do(func() {
		defer func() { // also if a function of the user panics: a Read may wait for it
			fl.mu.Lock()
			p.err = err
			fl.dataReady.Wake()
			fl.mu.Unlock()
		}()
		p.recordOutcome(err, ended, closing)
	})
	fl.mu.Lock()
	if closing {
		p.err = err
	}
	fl.dataReady.Wake()
	fl.mu.Unlock()
}

// recordOutcome records how the reading ended. The leader's outcome is that of the
// exchange, unless the leader has left before. A follower has its own outcome, without
// what the exchange has used.
func (p *reader) recordOutcome(err, ended error, closing bool) {
	switch failed := err != io.EOF && !closing; {
	case err == ErrSlowReader, failed && (!p.isLeader || ended != nil):
		p.call.RecordOutcome(err, nil)
	case p.isLeader:
		p.call.RecordOutcome(nil, p.flight.exchange)
	default:
		p.call.RecordOutcome(nil, nil)
	}
}
