package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// storedHeader is the header of a response as it is stored.
func (l *lookup) storedHeader(h http.Header, received time.Time) http.Header {
	stored := rfc9111.Keep(h, received)
	if lines := stored["Cache-Status"]; lines != nil {
		if stored["Cache-Status"] = othersStatus(lines); stored["Cache-Status"] == nil {
			delete(stored, "Cache-Status")
		}
	}
	delete(stored, cachedRequestID)
	if l.kind != kindPrompt {
		return stored
	}
	for name := range stored {
		switch {
		case transientHeader(name):
			delete(stored, name)
		case name == "X-Request-Id" || name == "Request-Id":
			stored[cachedRequestID] = stored[name]
			delete(stored, name)
		}
	}
	return stored
}

// transientHeader reports the fields of a completion that are true only of the
// moment in which it was made.
func transientHeader(name string) bool {
	switch name {
	case "Set-Cookie", "Age", "Retry-After", "Retry-After-Ms", "Openai-Processing-Ms", "X-Envoy-Upstream-Service-Time", "Server-Timing",
		"Cf-Ray", "X-Should-Retry", "Alt-Svc", "Expires", "Cache-Control", "Pragma":
		return true
	}
	lower := strings.ToLower(name)
	return strings.Contains(lower, "ratelimit") || strings.Contains(lower, "rate-limit")
}

// unstorable says why the entry must not be stored, "" if it may.
func (l *lookup) unstorable(e *cachestore.Entry) string {
	if e.Partial() {
		return e.Meta.UnstorablePart(&l.rules, l.core.StaleIfError)
	}
	return e.Meta.Unstorable(&l.rules, l.core.StaleIfError)
}

// store puts an entry where requests like this one find it: under the key of the
// URL or, if responses vary, of the variant.
func (l *lookup) store(e *cachestore.Entry) {
	s := &l.core.storage
	l.now = time.Now()
	if !e.Prompt && l.unstorable(e) != "" { // by the fields of the part that has completed it
		s.Delete(l.access(), e.Key)
		return
	}
	names, _ := rfc9111.Vary(e.Header)
	if e.Prompt || len(names) == 0 {
		if e.Partial() {
			e = l.combine(s.Get(l.access(), e.Key), e)
		}
		s.Put(l.access(), e, l.entry)
		return
	}
	if l.core.Store == nil { // among processes it would take a lock in the store; without it a variant may be lost
		l.core.indexMu.Lock()
		defer l.core.indexMu.Unlock()
	}
	var x *cachestore.Variants
	if index := s.Get(l.access(), e.Primary); index != nil {
		x = index.Variants
	}
	x, e.Key = l.core.addVariant(x, l.key, names, l.header)
	if e.Partial() {
		e = l.combine(s.Get(l.access(), e.Key), e)
	}
	s.Put(l.access(), e, l.entry)
	s.Put(l.access(), &cachestore.Entry{Key: e.Primary, Primary: e.Primary, Method: e.Method, URL: e.URL, Received: l.now, Variants: x}, l.entry)
}

// replace puts an updated entry in the place of the old one. Its new fields may say
// that other requests select it, or that it must not be stored.
func (l *lookup) replace(old, e *cachestore.Entry) {
	s := &l.core.storage
	before, _ := rfc9111.Vary(old.Header)
	after, _ := rfc9111.Vary(e.Header)
	storable := l.unstorable(e) == ""
	if storable && slices.Equal(before, after) {
		s.Put(l.access(), e, l.entry)
		return
	}
	if loaded := s.Load(l.access(), e); loaded != nil { // before its body is deleted
		*e = *loaded
	}
	s.Delete(l.access(), old.Key)
	if storable && !e.Remote() {
		e.Key = e.Primary
		l.store(e)
	}
}

// storePending stores an entry, or replaces old with it if old is not nil, unless an
// unsafe request has changed the resource since the server was asked. If the change
// comes while the entry is being stored, storePending sees it, or the change sees the
// entry.
func (l *lookup) storePending(p *pendingStore, e, old *cachestore.Entry) {
	if p.invalidated.Load() {
		return
	}
	if old != nil {
		l.replace(old, e)
	} else {
		l.store(e)
	}
	if p.invalidated.Load() {
		l.core.storage.Delete(l.access(), e.Key)
		if e.Primary != e.Key { // the index, which may have been written after the change
			l.core.storage.Delete(l.access(), e.Primary)
		}
	}
}

// combine makes one response of two parts of it (RFC 9111, section 3.4). It returns
// part as it is if that is not possible.
func (l *lookup) combine(old, part *cachestore.Entry) *cachestore.Entry {
	c := l.core
	if part.Part.Whole() { // some servers answer "bytes=0-" with a 206
		whole := *part
		whole.Header = part.Header.Clone()
		whole.SetContentRange(part.Part)
		whole.Prepare(c.policy)
		return &whole
	}
	if old == nil || old.Variants != nil || old.Status != http.StatusOK && !old.Partial() || old.Uncompressed {
		return part
	}
	have := old.ByteRange()
	combined, ok := rfc9111.Combine(old.Header, have, part.Header, part.Part)
	if !ok || combined.Len() > c.MaxEntryBytes {
		return part
	}
	if old = c.storage.Load(l.access(), old); old == nil {
		return part
	}
	body := make([]byte, combined.Len())
	for _, part := range [...]struct {
		first  int64
		chunks [][]byte
	}{{have.First, old.Chunks}, {part.Part.First, part.Chunks}} {
		to := body[part.first-combined.First:]
		for _, chunk := range part.chunks {
			to = to[copy(to, chunk):]
		}
	}
	e := old.Updated(c.policy, part.Header, part.Requested, part.Received)
	e.Chunks, e.Size = [][]byte{body}, combined.Len()
	e.SetContentRange(combined)
	e.Prepare(c.policy)
	return e
}
