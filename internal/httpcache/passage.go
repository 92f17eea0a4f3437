package httpcache

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// fly gets the answer from the server, or from a flight that is under way.
func (v *visit) fly() (*http.Response, error) {
	key, joins := v.flightKey(), v.joins()
	var fl *flight
	var leads, orderly bool
	looked := false // a second time
	defer func() {
		if !orderly { // a function of the user panicked: the place on board is not kept
			v.desert(fl, leads)
		}
	}()
	for {
		fl, leads = v.cache.flights.join(v, key, joins, looked)
		if fl == nil { // something was stored since we looked
			looked = true
			v.now = time.Now()
			v.look()
			if v.use() == rfc9111.Fresh {
				if res, err, ok := v.hit(rfc9111.Fresh); ok {
					orderly = true
					return res, err
				}
			}
			continue
		}
		if leads {
			go fl.run()
		}
		ctx := v.req.Context()
		var left error
		select {
		case <-fl.landed:
		case <-ctx.Done():
			left = ctx.Err()
		case <-v.req.Cancel:
			left = cmp.Or(ctx.Err(), context.Canceled)
		}
		if left != nil {
			if !fl.abandon(left, leads) {
				orderly = true
				v.note("miss", "canceled")
				return v.call.Deliver(nil, left, nil)
			}
			<-fl.landed // the flight has ended with its last caller, and has the verdict
		}
		if res, err, ok := v.arrive(fl, leads); ok {
			orderly = true
			return res, err
		}
		// Another variant: those who want the same may wait for each other once more.
		if joins = joins && fl.how == recorded && !v.selects(fl) && key != v.refined(fl); joins {
			key = v.refined(fl)
		}
	}
}

// desert gives up a place on board in the middle of things.
func (v *visit) desert(fl *flight, leads bool) {
	switch {
	case fl == nil:
	case v.reader != nil:
		v.reader.Close()
	case leads && fl.how == private:
		fl.ex.Discard()
	}
}

// joins reports whether the answer to another's request will do, and ours for it.
func (v *visit) joins() bool {
	return v.fwd != "request" && !v.q.NoCache && !v.q.Conditional && !v.q.Range
}

// flightKey is what requests agree on that wait for each other: beside the key
// the fields by which answers most often vary. What else an answer varies by is
// seen when it comes.
func (v *visit) flightKey() cacheKey {
	if v.kind == prompting {
		return v.key
	}
	return v.variantKey([16]byte{}, []string{"Accept", "Accept-Encoding", "Accept-Language"}, v.req.Header)
}

// refined is the key of a flight for those who select the same variant of what
// another flight has brought.
func (v *visit) refined(fl *flight) cacheKey {
	names, _ := rfc9111.Vary(fl.shared.header)
	return v.variantKey([16]byte{1}, names, v.req.Header)
}

// arrive makes the caller's response of what the flight has come to; false if it
// must go on alone.
func (v *visit) arrive(fl *flight, leads bool) (*http.Response, error, bool) {
	switch fl.how {
	case crashed:
		if leads {
			panic(fl.panicked)
		}
	case private:
		if leads {
			res, err := v.own(fl)
			return res, err, true
		}
	case known:
		if !leads && (!v.selects(fl) || fl.why == "stale-if-error" && !fl.shared.meta.StaleIfError(&v.q, time.Now(), v.cache.StaleIfError)) {
			break // it is another variant, or the leader's request alone puts up with a stale one
		}
		if leads {
			v.call.Account(fl.ex)
		}
		note, line := fl.note, fl.line
		if !leads {
			note, line = "collapsed", line+"; collapsed"
		}
		v.now = time.Now()
		again := fl.shared.response(v, []byte(line), fl.why)
		if again == nil { // the store does not have it any more: let the server be asked for it
			v.found, v.fwd = nil, "uri-miss"
			if leads {
				v.call.Reclaim(fl.ex)
			}
			break
		}
		res, err := v.give(again, note, fl.why)
		return res, err, true
	case recorded:
		if leads {
			v.reader = fl.lead
			fl.mu.Lock()
			v.reader.call, v.reader.req = v.call, v.req
			fl.mu.Unlock()
		}
		if leads || fl.shared.status < 400 && v.selects(fl) {
			if res, err, ok := v.along(fl, leads); ok {
				return res, err, true
			}
		}
	}
	fl.leave()
	return nil, nil, false
}

// selects reports whether the answer that the flight has brought is the one that
// this request would have got.
func (v *visit) selects(fl *flight) bool {
	if v.kind == prompting {
		return true
	}
	names, _ := rfc9111.Vary(fl.shared.header)
	for _, name := range names {
		a, hasA := rfc9111.Selecting(v.req.Header, name)
		b, hasB := rfc9111.Selecting(fl.ex.Request().Header, name)
		if a != b || hasA != hasB {
			return false
		}
	}
	return fl.shared.legible(v.req.Header)
}

// own gives the leader the result that is nobody else's.
func (v *visit) own(fl *flight) (*http.Response, error) {
	v.call.Account(fl.ex)
	v.note("miss", fl.why)
	res := fl.r.Response
	if res == nil {
		fl.leave()
		return v.call.Deliver(nil, fl.r.Err, fl.ex)
	}
	res.Header = res.Header.Clone()
	status(res.Header, "; fwd="+v.fwd+"; fwd-status="+strconv.Itoa(res.StatusCode), fl.why)
	res.Body = fl.handOver(v, res.Body)
	return v.call.Deliver(res, nil, fl.ex)
}

// along makes the caller a reader of the body that is recorded.
func (v *visit) along(fl *flight, leads bool) (*http.Response, error, bool) {
	p := v.reader
	if !leads {
		p = &reader{flight: fl, call: v.call, req: v.req}
		fl.mu.Lock()
		if p.at = fl.head; p.at == nil { // it was too long to be kept, and is half gone
			fl.mu.Unlock()
			return nil, nil, false
		}
		fl.readers = append(fl.readers, p)
		fl.mu.Unlock()
		v.reader = p
	}
	if ctx := v.req.Context(); ctx.Done() != nil {
		unhook := context.AfterFunc(ctx, func() { p.leave(ctx.Err(), false) })
		fl.mu.Lock()
		p.unhook = unhook
		fl.mu.Unlock()
	}
	v.now = time.Now()
	if leads {
		v.call.Account(fl.ex)
		v.note("miss", v.fwd)
		res := *fl.template
		res.Header = res.Header.Clone()
		status(res.Header, "; fwd="+v.fwd+"; stored", "")
		res.Trailer = p.announce(res.Trailer)
		res.Body = p
		given, err := v.call.DeliverShared(&res, fl.ex)
		return given, err, true
	}
	v.note("collapsed", v.fwd)
	t := fl.template
	res := &http.Response{
		Status: t.Status, StatusCode: t.StatusCode, Proto: t.Proto, ProtoMajor: t.ProtoMajor, ProtoMinor: t.ProtoMinor,
		Header: fl.shared.replay(v.now, []byte("; fwd="+v.fwd+"; collapsed"), ""), ContentLength: t.ContentLength, Uncompressed: t.Uncompressed,
		Trailer: p.announce(t.Trailer), Body: p,
	}
	res, err := v.deliver(res)
	return res, err, true
}

// refresh asks the server for a new answer while the caller has the old one.
func (v *visit) refresh() {
	t := &v.cache.flights
	key := v.flightKey()
	part := v.found.status == http.StatusPartialContent
	if part {
		key = v.variantKey([16]byte{2}, []string{"If-Range", "Range"}, v.req.Header) // under which nobody joins it
	}
	t.mu.Lock()
	if until := t.shy[key]; t.m[key] != nil || v.now.Before(until) {
		t.mu.Unlock()
		return
	}
	if t.m == nil {
		t.m = make(map[cacheKey]*flight)
	}
	fl := t.begin(v, key, t)
	fl.waiting, fl.detached, fl.endless, fl.deadline = 0, true, false, v.now.Add(refreshTime)
	if !part {
		// It is for what is stored, and whoever joins it, not for what of that this
		// caller wants.
		fl.visit.q.Range, fl.visit.q.Conditional = false, false
		for _, name := range [...]string{"Range", "If-Range", "If-None-Match", "If-Modified-Since"} {
			delete(fl.ex.Request().Header, name)
		}
	}
	t.m[key] = fl
	t.mu.Unlock()
	go func() {
		timer := time.AfterFunc(refreshTime, func() { fl.end(context.DeadlineExceeded) })
		defer timer.Stop()
		fl.run()
	}()
}

// handed is a body that is the leader's alone.
type handed struct {
	io.ReadCloser
	flight *flight
	call   Caller
	once   sync.Once
	unhook func() bool
}

// handOver gives the leader the body itself, and ties the flight to its context.
func (fl *flight) handOver(v *visit, body io.ReadCloser) io.ReadCloser {
	if body == http.NoBody {
		return body
	}
	h := &handed{ReadCloser: body, flight: fl, call: v.call}
	if ctx := v.req.Context(); ctx.Done() != nil {
		h.unhook = context.AfterFunc(ctx, func() { fl.end(ctx.Err()) })
	}
	return h
}

func (h *handed) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	if err != nil {
		h.ended()
	}
	return n, err
}

func (h *handed) Close() error {
	err := h.ReadCloser.Close()
	h.ended()
	return err
}

func (h *handed) ended() {
	h.once.Do(func() {
		if h.unhook != nil {
			h.unhook()
		}
		h.call.Settle(nil, h.flight.ex)
	})
}

// leave lets a caller go that has landed and does not read along.
func (fl *flight) leave() {
	fl.mu.Lock()
	fl.waiting--
	last := fl.waiting == 0 && !fl.detached && fl.how != private
	fl.mu.Unlock()
	if last {
		fl.end(context.Canceled)
	}
}
