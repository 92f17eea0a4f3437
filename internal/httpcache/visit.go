package httpcache

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// visit is the way of one call through the cache.
type visit struct {
	cache  *Cache
	call   Caller
	req    *http.Request // the caller's, or of its flight the exchange's
	facts  Facts
	q      rfc9111.Request
	kind   visitKind
	key    cacheKey
	index  *variants // under key, where answers vary
	found  *cached   // what is stored for the request, fresh or not
	now    time.Time
	bypass string // why the request is none for the cache
	fwd    string // why it goes to the server, a value of RFC 9211
	puts   uint64 // of the shelf, when it was looked into
	reader *reader
	course *course // of an answer to a HEAD or an unsafe request
}

type visitKind uint8

const (
	passing visitKind = iota
	getting
	heading // a HEAD, which a stored GET answers, and which stores nothing
	prompting
)

// opened finds out what the request is to the cache. Functions of the user that
// are asked for the key may panic.
func (v *visit) opened() {
	done := false
	defer func() {
		if !done {
			v.call.Abandon()
		}
	}()
	if v.bypass = v.open(); v.bypass != "" {
		v.kind = passing
	}
	done = true
}

func (v *visit) open() (bypass string) {
	c, in := v.cache, v.req
	v.fwd = "bypass"
	if v.facts.NoCache {
		return "no-cache context"
	}
	asked := &v.facts
	switch in.Method {
	case "", http.MethodGet:
		v.kind = getting
	case http.MethodHead:
		v.kind = heading
	case http.MethodPost:
		v.fwd = "method"
		switch {
		case !asked.Inference:
			return "method"
		case c.PromptTTL <= 0:
			return "no PromptTTL"
		case !asked.Known:
			return "unknown format"
		}
		v.fwd = "bypass"
		v.kind = prompting
	default:
		v.fwd = "method"
		return "method"
	}
	v.q = rfc9111.ReadRequest(in.Header)
	switch {
	case v.q.NoStore:
		v.fwd = "request"
		return "request no-store"
	case v.q.Origin:
		return "precondition"
	case c.Store != nil && len(c.Secret) < minSecret:
		return "no secret"
	case in.Header["Upgrade"] != nil:
		return "upgrade"
	case v.kind != prompting && in.Body != nil && in.Body != http.NoBody:
		return "request body"
	}
	if v.kind != prompting {
		v.key = c.keyOf(in)
		return ""
	}
	switch {
	case asked.Background:
		return "background"
	case v.q.Range, v.q.Conditional, in.Header["Content-Encoding"] != nil:
		return "conditions"
	}
	return v.promptKey()
}

// look finds what is stored for the request.
func (v *visit) look() {
	c := v.cache
	v.fwd = "uri-miss"
	v.puts = c.shelf.puts.Load()
	v.found, v.index = c.shelf.get(v, v.key), nil
	if v.found != nil && v.found.variants != nil {
		v.index, v.found = v.found.variants, nil
		v.fwd = "vary-miss"
		v.found = v.index.find(v)
	}
	if v.found != nil && !v.found.legible(v.req.Header) {
		v.found, v.fwd = nil, "vary-miss"
	}
	if e := v.found; e != nil && e.status == http.StatusPartialContent && (v.kind == heading || v.q.Conditional) {
		v.found, v.fwd = nil, "partial"
	}
}

// use decides about what was found, and notes why the server must be asked.
func (v *visit) use() rfc9111.Use {
	if v.found == nil {
		return rfc9111.Validate
	}
	use := v.found.meta.Use(&v.q, v.now)
	if v.found.status == http.StatusPartialContent && (use == rfc9111.Validate || !v.found.serves(v)) {
		v.fwd = "partial"
		return rfc9111.Validate
	}
	if v.kind == prompting && v.now.Sub(v.found.received) >= v.cache.PromptTTL {
		use = rfc9111.Validate
	}
	if use == rfc9111.Validate {
		v.fwd = "stale"
		if v.found.meta.TTL(v.now) > 0 {
			v.fwd = "request"
		}
	}
	return use
}

// pass lets the call go on as if there were no cache, and looks at what it has
// changed on the server.
func (v *visit) pass() (*http.Response, error) {
	how := "bypass"
	if v.bypass == "" {
		how = "miss"
	}
	v.note(how, v.bypass)
	if v.found != nil || v.fwd == "method" && v.req.Method == http.MethodPost && !v.facts.Inference {
		v.course = &course{key: v.key}
		if v.found == nil {
			v.course.key = v.cache.keyOf(v.req)
		}
		v.cache.flights.watch(v.course)
		defer func() {
			if v.course != nil { // no body carries it on
				v.cache.flights.over(v.course)
			}
		}()
	}
	return v.call.Bypass(v)
}

// Inspect implements [Inspector].
func (v *visit) Inspect(r Answer) {
	v.passed(r)
	r.Response.Header = r.Response.Header.Clone()
	status(r.Response.Header, "; fwd="+v.fwd, v.bypass)
}

// passed draws the conclusions from an answer that is not itself stored.
func (v *visit) passed(r Answer) {
	c, in, res := v.cache, v.req, r.Response
	if v.kind == heading {
		if v.found == nil || r.Rerouted { // a fallback knows nothing of what is stored
			return
		}
		switch rfc9111.Head(res.StatusCode, v.found.header, res.Header) {
		case rfc9111.Update:
			if c.shelf.get(v, v.found.key) == nil {
				return // it was forgotten after it was found and before the course was watched
			}
			v.course.keep(v, v.found.freshened(c, res.Header, v.now, time.Now()), func(e *cached) { v.renew(v.found, e) })
		case rfc9111.Drop:
			c.shelf.forget(v, v.found.key)
		}
		return
	}
	if v.facts.Inference || !rfc9111.Invalidates(in.Method, res.StatusCode) {
		return
	}
	v.invalidate(c.keyOf(in)) // but not the answer itself
	for _, target := range rfc9111.Targets(in.URL, res.Header) {
		at := *in
		at.URL = target
		v.invalidate(c.keyOf(&at))
	}
	if in.Method == http.MethodPost && rfc9111.SameTarget(in.URL, res.Header) {
		v.keep(r)
	}
}

// invalidate forgets what is stored under a key, and what is on its way there.
// First the latter, or it might be stored between the two.
func (v *visit) invalidate(key cacheKey) {
	v.cache.flights.doubt(key, v.course)
	v.cache.shelf.forget(v, key)
}

// keep stores the answer to a POST that says of itself that it is what a GET of
// the same URL would give, and for how long (RFC 9110, section 9.3.3).
func (v *visit) keep(r Answer) {
	res, now := r.Response, time.Now()
	meta := rfc9111.Read(res.StatusCode, res.Header, v.now, now)
	if v.q = rfc9111.ReadRequest(v.req.Header); v.bypass != "method" || !meta.Explicit() || meta.Unstorable(&v.q, 0) != "" || r.Truncated || endless(res) ||
		r.Rerouted || v.cache.Store != nil && len(v.cache.Secret) < minSecret {
		return
	}
	at := new(visit)
	*at, v.course = *v, nil
	at.kind, at.key = getting, v.cache.keyOf(v.req)
	e := &cached{
		key: at.key, primary: at.key, method: http.MethodGet, url: publicURL(v.req.URL), status: res.StatusCode,
		header: at.kept(res.Header, now), uncompressed: res.Uncompressed, negotiated: v.req.Header["Accept-Encoding"] != nil,
		requested: v.now, received: now,
	}
	e.prepare(v.cache)
	res.Body = &keeping{ReadCloser: res.Body, visit: at, res: res, e: e}
}

// keeping stores a body that passes, if it ends well.
type keeping struct {
	io.ReadCloser
	visit *visit
	res   *http.Response
	e     *cached // nil when it is done, or too long
}

func (k *keeping) Read(p []byte) (int, error) {
	n, err := k.ReadCloser.Read(p)
	e := k.e
	if e == nil {
		return n, err
	}
	if e.size += int64(n); n > 0 {
		e.chunks = append(e.chunks, append([]byte(nil), p[:n]...))
	}
	if err != nil || e.size > k.visit.cache.maxEntry() {
		k.e = nil
	}
	if n := k.res.ContentLength; err == io.EOF && (n < 0 || n == e.size) {
		if t := k.res.Trailer; len(t) > 0 {
			e.trailer = t.Clone()
		}
		k.visit.course.keep(k.visit, e, k.visit.store)
	}
	if k.e == nil {
		k.over()
	}
	return n, err
}

func (k *keeping) Close() error {
	k.over()
	return k.ReadCloser.Close()
}

func (k *keeping) over() { k.visit.cache.flights.over(k.visit.course) }

// nothing is what only-if-cached gets where there is nothing.
func (v *visit) nothing() (*http.Response, error) {
	v.note("miss", "only-if-cached")
	h := make(http.Header, 2)
	h["Content-Length"] = []string{"0"}
	status(h, "; fwd="+v.fwd, "only-if-cached")
	return v.deliver(&http.Response{
		Status: "504 Gateway Timeout", StatusCode: http.StatusGatewayTimeout,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: http.NoBody,
	})
}

// hit answers with what is stored. It reports false if that has gone meanwhile.
func (v *visit) hit(use rfc9111.Use) (*http.Response, error, bool) {
	how, why := "hit", ""
	switch use {
	case rfc9111.Stale:
		how, why = "stale", "max-stale"
	case rfc9111.Refresh:
		how, why = "stale", "stale-while-revalidate"
	}
	line := make([]byte, 0, 40)
	line = append(line, "; hit; ttl="...)
	res := v.found.response(v, appendSeconds(line, v.found.meta.TTL(v.now)), why)
	if res == nil {
		v.found, v.fwd = nil, "uri-miss"
		return nil, nil, false
	}
	if use == rfc9111.Refresh { // now that nothing new can come between
		v.refresh()
	}
	res, err := v.give(res, how, why)
	return res, err, true
}

// give hands out what is stored.
func (v *visit) give(res *http.Response, how, why string) (*http.Response, error) {
	done := false
	defer func() {
		if !done { // an Observe that panics; the store is still to be read
			res.Body.Close()
		}
	}()
	v.note(how, why)
	done = true
	return v.deliver(res)
}

// deliver hands a response to the caller that no attempt of this call gave.
func (v *visit) deliver(res *http.Response) (*http.Response, error) {
	return v.call.Deliver(res, nil, nil)
}

// note puts into the report how the cache took part, and why.
func (v *visit) note(how, why string) { v.call.Status(how, why) }

// Stale is the stored answer to the request whose flight this is, if it may be
// given without the server's word, however old it is.
func (v *visit) Stale(c Caller, now time.Time) *http.Response {
	if v.found == nil {
		return nil
	}
	// And not a copy of it: where the one who asks has lost a race, the flight goes
	// on meanwhile and writes to the rest.
	at := visit{cache: v.cache, call: c, req: c.Request(), facts: c.Facts(), q: v.q, kind: v.kind, found: v.found, now: now}
	if !at.found.serves(&at) || !at.found.meta.StaleIfError(&at.q, now, 1<<62) {
		return nil
	}
	return at.found.response(&at, []byte("; fwd=stale"), "fallback")
}

// status adds the cache's line to a header, which must be the response's own.
// What the server said under the cache's name is not believed; other caches' lines
// stay, the nearest to the server first (RFC 9211, section 2).
func status(h http.Header, params, detail string) {
	line := "snubber" + params
	if detail != "" {
		line += `; detail="` + detail + `"`
	}
	var lines []string
	delete(h, "X-Cached-Request-Id")
	for _, old := range h["Cache-Status"] {
		if !strings.Contains(strings.ToLower(old), "snubber") {
			lines = append(lines, old)
		}
	}
	h["Cache-Status"] = append(lines, line)
}
