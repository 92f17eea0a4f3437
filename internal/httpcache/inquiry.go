package httpcache

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// question is what a flight asks about what is stored.
type question uint8

const (
	nothing question = iota
	validation
	completion // of a part
)

// validate asks the server about what is stored, where there is something: with
// the caller's own conditions, if it has any, beside ours.
func (fl *flight) validate() {
	v, h := fl.visit, fl.ex.Request().Header
	switch {
	case v.found == nil || v.kind != getting:
	case v.found.status == http.StatusPartialContent:
		span, ifRange, ok := rfc9111.Rest(v.found.header, v.found.span)
		if !ok || v.found.span.First > 0 || v.q.Range || v.q.Conditional {
			return
		}
		if near := v.cache.shelf.near(v, v.found); near != nil {
			v.found = near
			h["Range"], h["If-Range"] = []string{span}, []string{ifRange}
			fl.asked = completion
		}
	case !v.q.Conditional:
		if rfc9111.Conditions(h, v.found.header) {
			fl.asked = validation
		}
	default:
		etag, own := v.found.header["Etag"], h["If-None-Match"]
		if len(etag) > 0 && (len(own) > 0 || h["If-Modified-Since"] != nil) {
			h["If-None-Match"] = append(own[:len(own):len(own)], etag[0])
			fl.asked = validation
		}
	}
}

// answered handles the answer to a question of our own: a 304, or the rest of
// what is stored. It reports false if the result is an answer like any other.
func (fl *flight) answered(requested time.Time) bool {
	v, res := fl.visit, fl.r.Response
	switch {
	case fl.asked != nothing && res != nil && res.StatusCode < 400 && res.StatusCode != http.StatusOK && fl.r.Rerouted:
		// A fallback knows nothing of what the primary gave. Let it be asked what the
		// caller asks.
		fl.again()
	case fl.asked == validation && res != nil && res.StatusCode == http.StatusNotModified:
		return fl.confirmed(requested)
	case fl.asked == completion && res != nil && res.StatusCode != http.StatusOK:
		span, ok := rfc9111.ContentRange(res.Header)
		if ok = ok && res.StatusCode == http.StatusPartialContent && span.First == v.found.span.Last+1; ok {
			span, ok = rfc9111.Combine(v.found.header, v.found.span, res.Header, span)
		}
		if ok && span.Whole() && span.Size <= v.cache.maxEntry() {
			fl.completed(span, requested)
			return true
		}
		if res.StatusCode < 500 {
			fl.again()
		}
	}
	return false
}

// confirmed handles a 304.
func (fl *flight) confirmed(requested time.Time) bool {
	v, res := fl.visit, fl.r.Response
	now := time.Now()
	if rfc9111.Confirms(v.found.header, res.Header) && (!v.q.Conditional || res.Header["Etag"] != nil) {
		e := v.found.freshened(v.cache, res.Header, requested, now)
		fl.course.keep(v, e, func(e *cached) { v.renew(v.found, e) })
		fl.ex.Discard()
		fl.land(known, func() {
			fl.shared, fl.note = e, "revalidated"
			fl.line = "; fwd=" + v.fwd + "; fwd-status=304"
		})
		return true
	}
	if v.q.Conditional && res.Header["Etag"] != nil { // it is the caller's that is current
		v.cache.shelf.forget(v, v.found.key)
		return false
	}
	// It speaks of another answer than ours, or does not say of which.
	fl.again()
	return false
}

// again asks without the questions of our own.
func (fl *flight) again() {
	v := fl.visit
	fl.ex.Discard()
	again := fl.ex.Again(fl, v)
	h := again.Request().Header
	for _, name := range [...]string{"If-None-Match", "If-Modified-Since", "Range", "If-Range"} {
		if own := fl.own[name]; own != nil {
			h[name] = own
		} else {
			delete(h, name)
		}
	}
	fl.ex, v.req, v.found, fl.r, fl.asked = again, again.Request(), nil, Answer{}, nothing
	fl.ask()
}

// completed makes one answer of what is stored and of its rest, which is coming.
func (fl *flight) completed(span rfc9111.Span, requested time.Time) {
	v := fl.visit
	now := time.Now()
	e := v.found.freshened(v.cache, fl.r.Response.Header, requested, now)
	e.describe(span)
	e.chunks, e.size = nil, 0 // they come with the recording
	e.prepare(v.cache)
	template := *fl.r.Response
	template.StatusCode, template.Status = http.StatusOK, statusLine(http.StatusOK)
	template.Header, template.ContentLength = e.header, span.Size
	fl.land(recorded, func() {
		fl.shared, fl.template, fl.total = e, &template, v.found.size
		fl.head = new(piece)
		fl.tail = fl.head
		for _, chunk := range v.found.chunks {
			fl.tail.next = &piece{data: chunk}
			fl.tail = fl.tail.next
		}
	})
}

// settle decides what becomes of the result, and lands.
func (fl *flight) settle(requested time.Time) {
	v, r := fl.visit, &fl.r
	c, now := v.cache, time.Now()
	v.now = now
	if v.found != nil && fl.Err() == nil && failing(*r) && v.found.serves(v) && v.found.meta.StaleIfError(&v.q, now, c.StaleIfError) {
		line := "; fwd=stale"
		if r.Response != nil {
			line += "; fwd-status=" + strconv.Itoa(r.Response.StatusCode)
		}
		fl.ex.Discard()
		fl.land(known, func() { fl.shared, fl.note, fl.line, fl.why = v.found, "stale", line, "stale-if-error" })
		return
	}
	if r.Response == nil {
		fl.land(private, nil)
		return
	}
	e, why := fl.storable(requested, now)
	if why == "" && r.Response.ContentLength > c.maxEntry() {
		why = "too large"
	}
	if why != "" {
		changed := r.Response.StatusCode < 400 || r.Response.StatusCode == http.StatusNotFound || r.Response.StatusCode == http.StatusGone
		if v.found != nil && changed && !fl.r.Rerouted { // the server says that it is another thing now
			c.shelf.forget(v, v.found.key)
		}
		if r.Response.StatusCode < 400 {
			c.flights.shun(fl.key, now)
		}
		fl.table.unlink(fl)
		fl.land(private, func() { fl.why = why })
		return
	}
	if r.Response.StatusCode >= 400 { // which are not shared, so that one failure is not everybody's
		fl.table.unlink(fl)
	}
	fl.land(recorded, func() {
		fl.shared, fl.template = e, r.Response
		if t := r.Response.Trailer; t != nil { // net/http writes into it at the body's end
			announced := *r.Response
			announced.Trailer = t.Clone()
			fl.template = &announced
		}
		fl.head = new(piece)
		fl.tail = fl.head
	})
}

// failing reports whether a stored answer is better than the result.
func failing(r Answer) bool {
	if r.Err != nil {
		return !r.Canceled
	}
	switch r.Response.StatusCode {
	case 500, 502, 503, 504:
		return true
	}
	return false
}

// storable makes the entry for the answer, without its body, or says why there
// is none.
func (fl *flight) storable(requested, now time.Time) (*cached, string) {
	v, r, req := fl.visit, &fl.r, fl.ex.Request()
	switch {
	case fl.r.Rerouted:
		return nil, "fallback"
	case r.Truncated:
		return nil, "cut"
	}
	res := r.Response
	e := &cached{
		key: v.key, primary: v.key, prompt: v.kind == prompting, method: http.MethodGet, url: publicURL(req.URL),
		status: res.StatusCode, uncompressed: res.Uncompressed, negotiated: req.Header["Accept-Encoding"] != nil, requested: requested, received: now,
	}
	if e.prompt {
		e.method, e.model = http.MethodPost, v.facts.Model
		switch {
		case res.StatusCode != http.StatusOK:
			return nil, "status"
		case res.Header["Content-Encoding"] != nil:
			return nil, "content encoding"
		case !judgeable(res.Header.Get("Content-Type")):
			return nil, "content type"
		}
		e.header = v.kept(res.Header, now)
		e.prepare(v.cache)
		return e, ""
	}
	if res.StatusCode == http.StatusPartialContent {
		var ok bool
		if e.span, ok = rfc9111.ContentRange(res.Header); !ok || res.Uncompressed {
			return nil, "parts"
		}
	}
	e.header = v.kept(res.Header, now)
	e.prepare(v.cache)
	if why := e.refused(v); why != "" {
		return nil, why
	}
	if endless(res) && e.status != http.StatusPartialContent {
		return nil, "no length"
	}
	return e, ""
}

// endless reports whether nothing but the end of the connection ends an answer: one
// that was cut looks like one that is whole (RFC 9112, section 6.3). An encoding that
// net/http has undone has an end of its own.
func endless(res *http.Response) bool {
	return res.Close && res.ContentLength < 0 && len(res.TransferEncoding) == 0 && res.ProtoMajor == 1 && !res.Uncompressed
}

// judgeable reports the media types of answers of which it can be seen whether
// they are whole.
func judgeable(media string) bool {
	media = strings.ToLower(media)
	return strings.Contains(media, "json") || strings.Contains(media, "event-stream") || strings.Contains(media, "eventstream")
}
