package httpcache

import (
	"context"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// cached is a stored answer, or the index of the variants of one. It does not
// change once it is stored: hits share its bytes.
type cached struct {
	key     cacheKey
	primary cacheKey // of the index that leads here; key where there is none
	prompt  bool
	method  string
	url     string // as it may be shown
	model   string

	status              int
	header, trailer     http.Header
	fields              []field  // of header, as a hit copies them
	chunks              [][]byte // as they were read, so that a stream is given in the same pieces
	size                int64
	span                rfc9111.Span // of a 206
	uncompressed        bool         // by net/http
	negotiated          bool         // its encoding, by a request that says what it can read
	far                 *entryID     // in whose entry the body is, in place of chunks; nil: it is there
	requested, received time.Time
	meta                rfc9111.Response

	variants *variants
}

// prepare reads the header anew.
func (e *cached) prepare(c *Cache) {
	e.fields = make([]field, 0, len(e.header))
	for name, values := range e.header {
		e.fields = append(e.fields, field{name, values})
	}
	if e.prompt {
		// One rule book for both kinds: the TTL is what the answer says of itself.
		ttl := strconv.FormatInt(int64(math.Ceil(c.PromptTTL.Seconds())), 10)
		e.meta = rfc9111.Read(e.status, http.Header{"Cache-Control": {"max-age=" + ttl}}, e.received, e.received)
		return
	}
	e.meta = rfc9111.Read(e.status, e.header, e.requested, e.received)
}

// keepFor is for how long after it can no longer be given a stored answer is
// worth its room: to be confirmed by the server, or for who accepts it stale.
const keepFor = 24 * time.Hour

func (e *cached) until(c *Cache) time.Time {
	if e.variants != nil {
		return e.received.Add(365 * 24 * time.Hour)
	}
	until := e.meta.Until(c.StaleIfError)
	if e.prompt {
		return until
	}
	return until.Add(keepFor)
}

// weight is the bytes in memory.
func (e *cached) weight() int64 {
	n := int64(500+len(e.url)+len(e.model)) + 24*int64(len(e.chunks)) + 40*int64(len(e.fields))
	for _, chunk := range e.chunks {
		n += int64(cap(chunk))
	}
	for _, h := range [...]http.Header{e.header, e.trailer} {
		for name, values := range h {
			n += int64(len(name)) + 64
			for _, v := range values {
				n += int64(len(v)) + 16
			}
		}
	}
	if e.variants != nil {
		for _, s := range e.variants.sets {
			for _, name := range s.names {
				n += int64(len(name)) + 16
			}
			n += 64 * int64(1+len(s.known))
		}
	}
	return n
}

// legible reports whether the request can read the answer's encoding: one that
// names none gets it decoded by net/http, which a stored answer does not pass.
func (e *cached) legible(req http.Header) bool {
	return !e.negotiated || e.header["Content-Encoding"] == nil || req["Accept-Encoding"] != nil
}

// freshened is the answer with the fields of a 304 or of a HEAD in place of its own.
func (e *cached) freshened(c *Cache, fresh http.Header, requested, received time.Time) *cached {
	f := *e
	f.header = rfc9111.Freshen(e.header, fresh, received)
	f.requested, f.received = requested, received
	f.prepare(c)
	return &f
}

// refused says why the answer must not be stored, or "" if it may.
func (e *cached) refused(v *visit) string {
	if e.status == http.StatusPartialContent {
		return e.meta.UnstorablePart(&v.q, v.cache.StaleIfError)
	}
	return e.meta.Unstorable(&v.q, v.cache.StaleIfError)
}

// response is the answer given again, to what the request asks of it: all, a
// part, or whether it has changed. It is nil if the store does not have the body
// any more.
func (e *cached) response(v *visit, line []byte, why string) *http.Response {
	req := v.req
	h := e.replay(v.now, line, why)
	// One allocation for both, for the response holds its body anyway.
	again := &struct {
		res  http.Response
		body playback
	}{}
	res := &again.res
	*res = http.Response{
		StatusCode: e.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, ContentLength: e.size, Uncompressed: e.uncompressed,
	}
	first, n := int64(0), e.size
	if !e.prompt && (v.q.Conditional || v.q.Range) {
		switch {
		case v.q.Conditional && rfc9111.NotModified(req.Header, e.status, e.header, e.received):
			res.StatusCode, res.ContentLength, n = http.StatusNotModified, 0, 0
			rfc9111.Strip(h)
		case v.q.Range && v.kind == getting && (e.status == http.StatusOK || e.status == http.StatusPartialContent) && !e.uncompressed:
			have := e.have()
			span, reach := rfc9111.Part(req.Header, e.header, have, e.received)
			switch reach {
			case rfc9111.Some:
				res.StatusCode, res.ContentLength = http.StatusPartialContent, span.Len()
				first, n = span.First-have.First, span.Len()
				span.Describe(h)
			case rfc9111.None:
				res.StatusCode, res.ContentLength, n = http.StatusRequestedRangeNotSatisfiable, 0, 0
				h["Content-Range"] = []string{"bytes */" + strconv.FormatInt(have.Size, 10)}
				h["Content-Length"] = []string{"0"}
			}
		}
	}
	res.Status = statusLine(res.StatusCode)
	if req.Method == http.MethodHead || n == 0 {
		if req.Method == http.MethodHead && h["Content-Length"] == nil {
			res.ContentLength = -1
		}
		res.Body = http.NoBody
		return res
	}
	var trailer http.Header
	if e.trailer != nil && n == e.size {
		trailer = e.trailer
		res.Trailer = make(http.Header, len(trailer))
		for name := range trailer {
			res.Trailer[name] = nil
		}
	}
	var body inPieces
	if e.far != nil {
		b := v.cache.shelf.lend(v, e, first, n)
		if b == nil {
			return nil
		}
		b.trailer, b.into = trailer, res.Trailer
		body = b
	} else {
		b := &again.body
		b.chunks, b.rest, b.trailer, b.into = e.chunks, n, trailer, res.Trailer
		b.skip(first)
		body = b
	}
	res.Body = body
	if pace := v.cache.Pace; pace > 0 && e.prompt && v.facts.Stream {
		res.Body = &paced{inPieces: body, ctx: req.Context(), pace: pace, gone: make(chan struct{})}
	}
	return res
}

// inPieces is a stored body, given in the pieces in which it came.
type inPieces interface {
	io.ReadCloser
	atPiece() bool // the next Read is the first of a piece
}

// serves reports whether the answer has all that the request asks for. Only of a
// part that must be asked.
func (e *cached) serves(v *visit) bool {
	if e.status != http.StatusPartialContent {
		return true
	}
	_, reach := rfc9111.Part(v.req.Header, e.header, e.span, e.received)
	return reach != rfc9111.Beyond
}

// have is what of its representation the answer has.
func (e *cached) have() rfc9111.Span {
	if e.status == http.StatusPartialContent {
		return e.span
	}
	return rfc9111.Complete(e.size)
}

// joined is one answer made of two parts of the same, or e alone where they are
// not (section 3.4).
func (e *cached) joined(old *cached, v *visit) *cached {
	c := v.cache
	if e.status != http.StatusPartialContent {
		return e
	}
	if e.span.Whole() { // there are servers that answer "bytes=0-" so
		j := *e
		j.header = e.header.Clone()
		j.describe(e.span)
		j.prepare(c)
		return &j
	}
	if old == nil || old.variants != nil {
		return e
	}
	have := old.have()
	if old.status != http.StatusOK && old.status != http.StatusPartialContent || old.uncompressed {
		return e
	}
	span, ok := rfc9111.Combine(old.header, have, e.header, e.span)
	if !ok || span.Len() > c.maxEntry() {
		return e
	}
	if old = c.shelf.near(v, old); old == nil {
		return e
	}
	body := make([]byte, span.Len())
	for _, part := range [...]struct {
		at     int64
		chunks [][]byte
	}{{have.First, old.chunks}, {e.span.First, e.chunks}} {
		to := body[part.at-span.First:]
		for _, chunk := range part.chunks {
			to = to[copy(to, chunk):]
		}
	}
	j := old.freshened(c, e.header, e.requested, e.received)
	j.chunks, j.size = [][]byte{body}, span.Len()
	j.describe(span)
	j.prepare(c)
	return j
}

// describe says in the answer, whose header must be its own, which part it is. A
// part that is all there is is no part.
func (e *cached) describe(span rfc9111.Span) {
	if !span.Whole() {
		e.status, e.span = http.StatusPartialContent, span
		span.Describe(e.header)
		return
	}
	e.status, e.span = http.StatusOK, rfc9111.Span{}
	delete(e.header, "Content-Range")
	e.header["Content-Length"] = []string{strconv.FormatInt(span.Size, 10)}
}

func statusLine(code int) string {
	if code == http.StatusOK {
		return "200 OK"
	}
	return strconv.Itoa(code) + " " + http.StatusText(code)
}

// field is one of a header. To go through a list of them takes half the time
// that it takes to go through a map, and a hit does little else.
type field struct {
	name   string
	values []string
}

// replay is a copy of the header for one response, with its Age and the cache's
// line. It is Header.Clone with room for two more, in as many allocations.
func (e *cached) replay(now time.Time, line []byte, why string) http.Header {
	n := 2
	for i := range e.fields {
		n += len(e.fields[i].values)
	}
	all := make([]string, n)
	h := make(http.Header, len(e.fields)+2)
	for i := range e.fields {
		f := &e.fields[i]
		n := copy(all, f.values)
		h[f.name], all = all[:n:n], all[n:]
	}
	var buf [64]byte
	text := strconv.AppendInt(buf[:0], int64(max(e.meta.Age(now), 0)/time.Second), 10)
	age := len(text)
	text = append(append(text, "snubber"...), line...)
	both := string(text)
	all[0] = both[:age]
	h["Age"], all = all[:1:1], all[1:]
	if why == "" && h["Cache-Status"] == nil {
		all[0] = both[age:]
		h["Cache-Status"] = all[:1:1]
	} else {
		id := h["X-Cached-Request-Id"] // our own, for once
		if status(h, string(line), why); id != nil {
			h["X-Cached-Request-Id"] = id
		}
	}
	return h
}

func appendSeconds(line []byte, d time.Duration) []byte {
	seconds := math.Floor(d.Seconds())
	if d > 0 {
		seconds = math.Ceil(d.Seconds()) // so that it and Age add up to the lifetime
	}
	return strconv.AppendInt(line, int64(seconds), 10)
}

// kept is the header of an answer as it is stored.
func (v *visit) kept(h http.Header, received time.Time) http.Header {
	kept := rfc9111.Keep(h, received)
	if lines := kept["Cache-Status"]; lines != nil {
		delete(kept, "Cache-Status")
		for _, line := range lines {
			if !strings.Contains(strings.ToLower(line), "snubber") {
				kept["Cache-Status"] = append(kept["Cache-Status"], line)
			}
		}
	}
	delete(kept, "X-Cached-Request-Id")
	if v.kind != prompting {
		return kept
	}
	for name := range kept {
		switch {
		case momentary(name):
			delete(kept, name)
		case name == "X-Request-Id" || name == "Request-Id":
			kept["X-Cached-Request-Id"] = kept[name]
			delete(kept, name)
		}
	}
	return kept
}

// momentary reports the fields of a completion that were true when it was made
// and are not when it is given again.
func momentary(name string) bool {
	switch name {
	case "Set-Cookie", "Age", "Retry-After", "Retry-After-Ms", "Openai-Processing-Ms", "X-Envoy-Upstream-Service-Time", "Server-Timing",
		"Cf-Ray", "X-Should-Retry", "Alt-Svc", "Expires", "Cache-Control", "Pragma":
		return true
	}
	lower := strings.ToLower(name)
	return strings.Contains(lower, "ratelimit") || strings.Contains(lower, "rate-limit")
}

// playback reads a stored body.
type playback struct {
	mu            sync.Mutex
	chunks        [][]byte
	off           int   // in the first
	rest          int64 // bytes still to give
	trailer, into http.Header
	err           error
}

func (b *playback) skip(n int64) {
	for n > 0 && len(b.chunks) > 0 {
		if l := int64(len(b.chunks[0])); n >= l {
			n -= l
			b.chunks = b.chunks[1:]
			continue
		}
		b.off, n = int(n), 0
	}
}

func (b *playback) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil:
		return 0, b.err
	case len(p) == 0:
		return 0, nil
	case b.rest == 0:
		for name, values := range b.trailer {
			b.into[name] = append([]string(nil), values...)
		}
		b.err = io.EOF
		return 0, io.EOF
	}
	chunk := b.chunks[0][b.off:]
	n := copy(p[:min(int64(len(p)), b.rest)], chunk)
	if b.rest -= int64(n); n == len(chunk) {
		b.chunks, b.off = b.chunks[1:], 0
	} else {
		b.off += n
	}
	return n, nil
}

func (b *playback) atPiece() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err == nil && b.rest > 0 && b.off == 0
}

func (b *playback) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.chunks, b.err = nil, http.ErrBodyReadAfterClose
	return nil
}

// paced makes a pause between two pieces, which ends with the caller's context or
// at Close.
type paced struct {
	inPieces
	ctx   context.Context
	pace  time.Duration
	begun bool
	once  sync.Once
	gone  chan struct{}
}

func (b *paced) Read(p []byte) (int, error) {
	if b.begun && b.atPiece() {
		timer := time.NewTimer(b.pace)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-b.gone:
			return 0, http.ErrBodyReadAfterClose
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	n, err := b.inPieces.Read(p)
	b.begun = b.begun || n > 0
	return n, err
}

func (b *paced) Close() error {
	b.once.Do(func() { close(b.gone) })
	return b.inPieces.Close()
}
