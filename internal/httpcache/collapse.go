package httpcache

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// fetch gets the response from the server, by a flight that is under way or a new one.
func (r *roundTrip) fetch() (*http.Response, error) {
	key, mayShare := r.flightKey(), r.mayShare()
	for searchedAgain := false; ; {
		fl, isLeader := r.cache.flights.join(&r.lookup, key, mayShare, searchedAgain)
		if fl == nil { // something was stored since we searched
			searchedAgain = true
			r.now = time.Now()
			r.find()
			if r.use() == rfc9111.Fresh {
				if res, err, ok := r.hit(rfc9111.Fresh); ok {
					return res, err
				}
			}
			continue
		}
		if isLeader {
			go fl.run()
		}
		if err := r.await(fl); err != nil {
			if !fl.leaveEarly(err, isLeader) {
				r.call.SetStatus(statusMiss, "canceled")
				return r.call.Deliver(nil, err, nil)
			}
			<-fl.published
		}
		if res, err, ok := r.takeResult(fl, isLeader); ok {
			return res, err
		}
		// It is another variant: callers that want the same may share once more.
		if mayShare = mayShare && fl.result.kind == resultStreaming && !r.selects(fl); mayShare {
			again := key
			key = r.variantFlightKey(fl)
			mayShare = key != again
		}
	}
}

// mayShare reports whether the response to another's request suits this one, and the
// response to this one others.
func (l *lookup) mayShare() bool {
	return l.forwardReason != "request" && !l.rules.NoCache && !l.rules.Conditional && !l.rules.Range
}

// flightKey is the key of the flight for a request: it includes the fields by which
// responses most often vary. By what else a response varies is seen when it comes.
func (l *lookup) flightKey() cachestore.Key {
	if l.kind == kindPrompt {
		return l.key
	}
	return l.core.keys.forVariant(l.key, [16]byte{}, []string{"Accept", "Accept-Encoding", "Accept-Language"}, l.header)
}

// variantFlightKey is the key of the flight for requests that select the same variant
// of what another flight has brought.
func (l *lookup) variantFlightKey(fl *flight) cachestore.Key {
	names, _ := rfc9111.Vary(fl.result.entry.Header)
	return l.core.keys.forVariant(l.key, [16]byte{1}, names, l.header)
}

// selects reports whether the response of the flight is the one that this request
// would have got.
func (l *lookup) selects(fl *flight) bool {
	return l.kind == kindPrompt || sameVariant(fl.result.entry, l.header, fl.lookup.header) && acceptsEncoding(fl.result.entry, l.header)
}

// await waits for the flight's result. The error is the end of the caller.
func (r *roundTrip) await(fl *flight) error {
	ctx := r.req.Context()
	select {
	case <-fl.published:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	//lint:ignore SA1019 http.Client sets it for its Timeout, and callers that are older than contexts do.
	case <-r.req.Cancel:
		return cmp.Or(ctx.Err(), context.Canceled)
	}
}

// takeResult makes the caller's response of what the flight has published. ok is false
// if the caller must go on without the flight.
func (r *roundTrip) takeResult(fl *flight, isLeader bool) (res *http.Response, err error, ok bool) {
	switch result := &fl.result; result.kind {
	case resultPanicked:
		if isLeader {
			panic(fl.panicked)
		}
	case resultUnshared:
		if isLeader {
			res, err = r.takeUnshared(fl)
			return res, err, true
		}
	case resultStored:
		if isLeader || r.acceptsStored(fl) {
			if res, err, ok := r.takeStored(fl, isLeader); ok {
				return res, err, true
			}
		}
	case resultStreaming:
		if isLeader {
			res, err = r.lead(fl)
			return res, err, true
		}
		if result.entry.Status < 400 && r.selects(fl) {
			if res, err, ok := r.follow(fl); ok {
				return res, err, true
			}
		}
	}
	fl.decline()
	return nil, nil, false
}

// acceptsStored reports whether a follower may have the stored response that the
// flight has published. A stale one may be due to the leader's request alone.
func (r *roundTrip) acceptsStored(fl *flight) bool {
	return r.selects(fl) &&
		(fl.result.detail != detailStaleIfError || fl.result.entry.Meta.StaleIfError(&r.rules, time.Now(), r.core.StaleIfError))
}

// takeStored answers with the stored response that the flight has published. ok is
// false if the store does not have it any more, so that the server must be asked for
// it.
func (r *roundTrip) takeStored(fl *flight, isLeader bool) (res *http.Response, err error, ok bool) {
	status, params := fl.result.status, fl.result.params
	if isLeader {
		r.call.AddCosts(fl.exchange)
	} else {
		status, params = statusCollapsed, params+"; collapsed"
	}
	r.now = time.Now()
	res = r.response(fl.result.entry, []byte(params), fl.result.detail)
	if res == nil {
		r.forget()
		if isLeader {
			r.call.ReclaimBody(fl.exchange)
		}
		return nil, nil, false
	}
	res, err = r.deliverStored(res, status, fl.result.detail)
	return res, err, true
}

// lead makes the leader the first reader of the body that is being recorded.
func (r *roundTrip) lead(fl *flight) (*http.Response, error) {
	res := *fl.result.template
	r.read(fl.leader, &res)
	r.call.AddCosts(fl.exchange)
	detail := r.forwardReason
	if r.tellVarying {
		detail = r.varying
	}
	r.call.SetStatus(statusMiss, detail)
	res.Header = res.Header.Clone()
	addStatus(res.Header, "; fwd="+r.forwardReason+"; stored", r.varying)
	return r.call.DeliverShared(&res, fl.exchange)
}

// follow makes a follower a reader of the body that is being recorded. ok is false if
// its beginning is gone.
func (r *roundTrip) follow(fl *flight) (_ *http.Response, err error, ok bool) {
	p := fl.addReader(r.call, r.req)
	if p == nil {
		return nil, nil, false
	}
	t := fl.result.template
	res := &http.Response{
		Status: t.Status, StatusCode: t.StatusCode, Proto: t.Proto, ProtoMajor: t.ProtoMajor, ProtoMinor: t.ProtoMinor,
		ContentLength: t.ContentLength, Uncompressed: t.Uncompressed, Trailer: t.Trailer,
	}
	r.read(p, res)
	r.now = time.Now()
	r.call.SetStatus(statusCollapsed, r.forwardReason)
	res.Header = entryHeader(fl.result.entry, r.now, []byte("; fwd="+r.forwardReason+"; collapsed"), "")
	res, err = r.call.Deliver(res, nil, nil)
	return res, err, true
}

// read makes a reader the body of the caller's response. It leaves with the caller's
// context.
func (r *roundTrip) read(p *reader, res *http.Response) {
	p.announced = cachestore.AnnounceTrailer(res.Trailer)
	res.Trailer, res.Body = p.announced, p
	r.res = res
	p.watch()
}

// watchMiss notes what keeps a prompt from being a hit.
func (r *roundTrip) watchMiss() {
	c := r.core
	if r.entry != nil || c.keys.custom != nil {
		return
	}
	var key cachestore.Key
	if !r.call.WithBody(func(body []byte) { key = c.keys.withoutHeader(r.req, r.header, r.stream, body) }) {
		return
	}
	if field, first := c.varying.missed(key, r.header, c.keys.changesAnswer); field != "" {
		r.varying, r.tellVarying = "differs in each request: "+field, first
	}
}
