package httpcache

import (
	"io"
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// bypass sends the caller's own request as if there were no cache, and looks at what
// it has changed on the server.
func (r *roundTrip) bypass() (*http.Response, error) {
	status := statusBypass
	if r.bypassReason == "" {
		status = statusMiss
	}
	r.call.SetStatus(status, r.bypassReason)
	if key, ok := r.mayChange(); ok {
		r.pending = &pendingStore{key: key}
		r.core.pending.track(r.pending)
		defer func() {
			if r.pending != nil { // and no storingBody has it
				r.core.pending.untrack(r.pending)
			}
		}()
	}
	return r.call.Bypass(r)
}

// mayChange reports the requests whose response may change what is stored for them, and
// under which key: a HEAD for an entry, and a POST, whose response may be one to a GET.
func (r *roundTrip) mayChange() (cachestore.Key, bool) {
	switch {
	case r.entry != nil:
		return r.key, true
	case r.forwardReason == "method" && r.req.Method == http.MethodPost && !r.inference:
		return r.core.keys.forGet(r.req, r.header), true
	}
	return cachestore.Key{}, false
}

// Inspect implements [Inspector].
func (r *roundTrip) Inspect(received Result) {
	switch {
	case r.kind == kindHead:
		if r.entry != nil && !received.Rerouted { // another route knows nothing about the entry
			r.applyHead(received.Response)
		}
	case !r.inference && rfc9111.Invalidates(r.req.Method, received.Response.StatusCode):
		r.applyUnsafe(received)
	}
	res := received.Response
	res.Header = res.Header.Clone()
	addStatus(res.Header, "; fwd="+r.forwardReason, r.bypassReason)
}

// applyHead updates or deletes the entry after the response to a HEAD.
func (r *roundTrip) applyHead(res *http.Response) {
	switch rfc9111.Head(res.StatusCode, r.entry.Header, res.Header) {
	case rfc9111.Update:
		if r.core.storage.Get(r.access(), r.entry.Key) == nil {
			return // deleted after it was found, and before pending was tracked
		}
		e := r.entry.Updated(r.core.policy, res.Header, r.now, time.Now())
		r.storePending(r.pending, e, r.entry)
	case rfc9111.Drop:
		r.core.storage.Delete(r.access(), r.entry.Key)
	}
}

// applyUnsafe invalidates what an unsafe request has changed, except its own response.
func (r *roundTrip) applyUnsafe(received Result) {
	in, header := r.req, received.Response.Header
	r.invalidate(r.core.keys.forGet(in, r.header))
	for _, target := range rfc9111.Targets(in.URL, header) {
		at := *in
		at.URL = target
		r.invalidate(r.core.keys.forGet(&at, r.header))
	}
	if in.Method == http.MethodPost && rfc9111.SameTarget(in.URL, header) {
		r.storePostResponse(received)
	}
}

// invalidate deletes the entry of a key, and what may be stored there soon. The latter
// comes first, or it might be stored between the two.
func (r *roundTrip) invalidate(key cachestore.Key) {
	r.core.pending.invalidate(key, r.pending)
	r.cache.flights.unlinkAll(key)
	r.core.storage.Delete(r.access(), key)
}

// storePostResponse stores the response to a POST that says that a GET of the same URL
// would give it too, and for how long (RFC 9110, section 9.3.3).
func (r *roundTrip) storePostResponse(received Result) {
	c, res, now := r.core, received.Response, time.Now()
	rules := rfc9111.ReadRequest(r.header)
	meta := rfc9111.Read(res.StatusCode, res.Header, r.now, now)
	if r.bypassReason != "method" || !meta.Explicit() || meta.Unstorable(&rules, 0) != "" ||
		received.Truncated || closeDelimited(res) || received.Rerouted || c.storeUnsafe() {
		return
	}
	l := &lookup{core: c, call: r.call, req: r.req, header: r.header, rules: rules, kind: kindGet, key: r.pending.key, now: r.now}
	e := &cachestore.Entry{
		Key: l.key, Primary: l.key, Method: http.MethodGet, URL: publicURL(l.req.URL), Status: res.StatusCode,
		Header: l.storedHeader(res.Header, now), Uncompressed: res.Uncompressed, Negotiated: l.header["Accept-Encoding"] != nil,
		Requested: r.now, Received: now,
	}
	e.Prepare(c.policy)
	res.Body = &storingBody{ReadCloser: res.Body, lookup: l, pending: r.pending, res: res, entry: e}
	r.pending = nil
}

// storingBody stores a body that passes, if it ends well.
type storingBody struct {
	io.ReadCloser
	lookup  *lookup
	pending *pendingStore
	res     *http.Response
	entry   *cachestore.Entry // nil when it is stored, or too long
}

func (b *storingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	e := b.entry
	if e == nil {
		return n, err
	}
	if e.Size += int64(n); n > 0 {
		b.append(p[:n])
	}
	if err == nil && e.Size <= b.lookup.core.MaxEntryBytes {
		return n, err
	}
	b.entry = nil
	if length := b.res.ContentLength; err == io.EOF && (length < 0 || length == e.Size) {
		if t := b.res.Trailer; len(t) > 0 {
			e.Trailer = t.Clone()
		}
		b.lookup.storePending(b.pending, e, nil)
	}
	b.untrack()
	return n, err
}

func (b *storingBody) append(p []byte) {
	e := b.entry
	if i := len(e.Chunks) - 1; i >= 0 && cap(e.Chunks[i])-len(e.Chunks[i]) >= len(p) {
		e.Chunks[i] = append(e.Chunks[i], p...)
		return
	}
	n := int64(len(p))
	e.Chunks = append(e.Chunks, append(make([]byte, 0, chunkSize(n, e.Size-n)), p...))
}

func (b *storingBody) Close() error {
	b.untrack()
	return b.ReadCloser.Close()
}

func (b *storingBody) untrack() { b.lookup.core.pending.untrack(b.pending) }
