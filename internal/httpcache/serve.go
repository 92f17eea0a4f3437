package httpcache

import (
	"net/http"
	"strconv"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// response makes a stored response to what the request asks for: everything, a
// range, or whether it has changed. params and detail are for Cache-Status. It
// returns nil if the store does not have the body any more.
func (l *lookup) response(e *cachestore.Entry, params []byte, detail string) *http.Response {
	// One allocation for both, because the response holds its body anyway.
	served := &struct {
		res  http.Response
		body entryBody
	}{}
	res := &served.res
	setResponse(res, e.Status, entryHeader(e, l.now, params, detail))
	res.ContentLength, res.Uncompressed = e.Size, e.Uncompressed
	first, n := l.applyConditions(e, res)
	if l.req.Method == http.MethodHead {
		if res.Header["Content-Length"] == nil {
			res.ContentLength = -1
		}
		return res
	}
	if n == 0 {
		return res
	}
	if n == e.Size {
		res.Trailer = cachestore.AnnounceTrailer(e.Trailer)
	}
	var body chunkReader
	if e.Remote() {
		b := l.core.storage.Open(l.access(), e, first, n, res.Trailer)
		if b == nil {
			return nil
		}
		body = b
	} else {
		served.body.open(e, first, n, res.Trailer)
		body = &served.body
	}
	res.Body = body
	if delay := l.core.ReplayDelay; delay > 0 && e.Prompt && l.stream {
		res.Body = newPacedBody(l.req.Context(), body, delay)
	}
	return res
}

// applyConditions makes res the answer to the request's conditions and range, and
// returns which bytes of the entry it has.
func (l *lookup) applyConditions(e *cachestore.Entry, res *http.Response) (first, n int64) {
	n = e.Size
	if e.Prompt {
		return 0, n
	}
	header := l.header
	if l.rules.Conditional && rfc9111.NotModified(header, e.Status, e.Header, e.Received) {
		setStatusCode(res, http.StatusNotModified)
		res.ContentLength = 0
		rfc9111.Strip(res.Header)
		return 0, 0
	}
	if !l.rules.Range || l.kind != kindGet || e.Status != http.StatusOK && !e.Partial() || e.Uncompressed {
		return 0, n
	}
	have := e.ByteRange()
	switch part, reach := rfc9111.Part(header, e.Header, have, e.Received); reach {
	case rfc9111.Some:
		setStatusCode(res, http.StatusPartialContent)
		first, n = part.First-have.First, part.Len()
		res.ContentLength = n
		part.Describe(res.Header)
	case rfc9111.None:
		setStatusCode(res, http.StatusRequestedRangeNotSatisfiable)
		n, res.ContentLength = 0, 0
		res.Header["Content-Range"] = []string{"bytes */" + strconv.FormatInt(have.Size, 10)}
		res.Header["Content-Length"] = []string{"0"}
	}
	return first, n
}

// anyAge is a grace that no response exceeds.
const anyAge time.Duration = 1 << 62

// Stale implements [StaleSource] with the entry of the lookup.
func (l *lookup) Stale(c Caller, now time.Time) *http.Response {
	if l.entry == nil {
		return nil
	}
	// Not a copy of l: if the request of c has lost a race, the flight goes on and
	// changes the other fields.
	stale := &lookup{core: l.core, call: c, rules: l.rules, kind: l.kind, stream: c.Facts().Stream, entry: l.entry, now: now}
	stale.setRequest(c.Request())
	if !stale.mayServeStale(now, anyAge) {
		return nil
	}
	return stale.response(stale.entry, []byte("; fwd=stale"), "fallback")
}
