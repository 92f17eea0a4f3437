package httpcache

import (
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// lookup is one request and what is stored for it. A round trip has one, and each
// flight has one of its own, whose req is the exchange's. It belongs to the
// goroutine of its owner.
type lookup struct {
	core   *core
	call   Caller
	req    *http.Request
	header http.Header     // of req with canonical names, to be read only
	rules  rfc9111.Request // what the request asks of a cache

	kind              requestKind
	inference, stream bool
	puts              uint32 // the storage's, when it was searched

	key           cachestore.Key
	entry         *cachestore.Entry // stored for the request, fresh or not; nil: none
	now           time.Time
	forwardReason string // why the request goes to the server, a value of RFC 9211
}

type requestKind uint8

const (
	kindBypass requestKind = iota
	kindGet
	kindHead // which a stored response to a GET answers, and which stores nothing
	kindPrompt
)

// setRequest makes req the lookup's. A map of headers can be filled without Set,
// and a server reads the names in any case.
func (l *lookup) setRequest(req *http.Request) { l.req, l.header = req, rfc9111.Canonical(req.Header) }

// access is for the storage.
func (l *lookup) access() cachestore.Access {
	return cachestore.Access{Ctx: l.req.Context(), Now: l.now, Owner: l}
}

// StoreFault implements [cachestore.Owner].
func (l *lookup) StoreFault(op string) { l.call.StoreFault(op) }

// BodyFailed implements [cachestore.Owner].
func (l *lookup) BodyFailed(err error) { l.call.RecordOutcome(err, nil) }

// classify finds out what kind of request it is, and makes its key. It returns why the
// cache takes no part, "" if it does. It calls functions of the user.
func (l *lookup) classify() (bypassReason string) {
	in, facts := l.req, l.call.Facts()
	l.inference, l.stream = facts.Inference, facts.Stream
	l.forwardReason = "bypass"
	if facts.NoCache {
		return "no-cache context"
	}
	switch in.Method {
	case "", http.MethodGet:
		l.kind = kindGet
	case http.MethodHead:
		l.kind = kindHead
	case http.MethodPost:
		l.forwardReason = "method"
		switch {
		case !facts.Inference:
			return "method"
		case l.core.PromptTTL <= 0:
			return "no PromptTTL"
		case !facts.Known:
			return "unknown format"
		}
		l.forwardReason = "bypass"
		l.kind = kindPrompt
	default:
		l.forwardReason = "method"
		return "method"
	}
	l.rules = rfc9111.ReadRequest(l.header)
	switch {
	case l.rules.NoStore:
		l.forwardReason = "request"
		return "request no-store"
	case l.rules.Origin:
		return "precondition"
	case l.core.storeUnsafe():
		return "no secret"
	case l.header["Upgrade"] != nil:
		return "upgrade"
	case l.kind != kindPrompt && in.Body != nil && in.Body != http.NoBody:
		return "request body"
	}
	if l.kind != kindPrompt {
		l.key = l.core.keys.forGet(in, l.header)
		return ""
	}
	if l.rules.Range || l.rules.Conditional || l.header["Content-Encoding"] != nil {
		return "conditions"
	}
	return l.makePromptKey()
}

// makePromptKey is apart from classify because its closure moves a variable to the heap.
func (l *lookup) makePromptKey() (bypassReason string) {
	if !l.call.WithBody(func(body []byte) {
		l.key, bypassReason = l.core.keys.forPrompt(l.call, l.req, l.header, l.stream, body)
	}) {
		return "body not at hand"
	}
	return bypassReason
}

// find searches the storage for the request's entry.
func (l *lookup) find() {
	c := l.core
	l.forwardReason = "uri-miss"
	l.puts = c.storage.Puts()
	l.entry = c.storage.Get(l.access(), l.key)
	if l.entry != nil && l.entry.Variants != nil {
		l.forwardReason = "vary-miss"
		l.entry = c.findVariant(l.access(), l.entry.Variants, l.key, l.header)
	}
	if l.entry != nil && !acceptsEncoding(l.entry, l.header) {
		l.entry, l.forwardReason = nil, "vary-miss"
	}
	if l.entry != nil && l.entry.Partial() && (l.kind == kindHead || l.rules.Conditional) {
		l.entry, l.forwardReason = nil, "partial"
	}
}

// forget drops the entry, because the storage does not have its body any more.
func (l *lookup) forget() { l.entry, l.forwardReason = nil, "uri-miss" }

// use decides what may be done with the entry, and notes why the server must be
// asked.
func (l *lookup) use() rfc9111.Use {
	if l.entry == nil {
		return rfc9111.Validate
	}
	use := l.entry.Meta.Use(&l.rules, l.now)
	if l.entry.Partial() && (use == rfc9111.Validate || !l.covers(l.entry)) {
		l.forwardReason = "partial"
		return rfc9111.Validate
	}
	if l.kind == kindPrompt && l.now.Sub(l.entry.Received) >= l.core.PromptTTL {
		use = rfc9111.Validate
	}
	if use == rfc9111.Validate {
		l.forwardReason = "stale"
		if l.entry.Meta.TTL(l.now) > 0 {
			l.forwardReason = "request"
		}
	}
	return use
}

// covers reports whether the entry has every byte that the request asks for.
func (l *lookup) covers(e *cachestore.Entry) bool {
	if !e.Partial() {
		return true
	}
	_, reach := rfc9111.Part(l.header, e.Header, e.Part, e.Received)
	return reach != rfc9111.Beyond
}

// mayServeStale reports whether the entry may be used because the server has failed,
// up to grace after its freshness.
func (l *lookup) mayServeStale(now time.Time, grace time.Duration) bool {
	return l.entry != nil && l.covers(l.entry) && l.entry.Meta.StaleIfError(&l.rules, now, grace)
}
