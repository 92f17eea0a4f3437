package cachestore

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// Policy is what the owner of the cache has decided about lifetimes. Zero and
// negative durations grant nothing.
type Policy struct {
	PromptTTL    time.Duration // how long the response to a prompt is fresh
	StaleIfError time.Duration // how long a stale response may replace a failure
}

// Entry is a stored response, or the index of a response's variants. It does not
// change once it is stored: all hits share its bytes.
type Entry struct {
	Key     Key
	Primary Key // of the index that lists the entry; Key if there is no index
	Prompt  bool
	Method  string
	URL     string // without credentials
	Model   string // of a prompt

	Status              int
	Header, Trailer     http.Header
	Chunks              [][]byte // as they were read, so that a stream is replayed in the same chunks
	Size                int64    // of the body
	Part                rfc9111.Span
	Uncompressed        bool // net/http has undone the Content-Encoding
	Negotiated          bool // the request said which encodings it accepts
	Requested, Received time.Time
	Meta                rfc9111.Response // set by Prepare

	Variants *Variants // not nil: the entry is an index

	fields   []field  // of Header
	remoteID *entryID // of the store's entry that has the body, if Chunks has not
}

// Variants is the index of the responses to one URL: by which request fields they
// vary and, for each list of fields, which of them are known. Responses have keys
// of their own, which the Epoch is a part of: without the index none of them can be
// found.
type Variants struct {
	Epoch [16]byte
	Sets  []VariantSet // that of the latest response first
}

// VariantSet is one list of fields that responses vary by.
type VariantSet struct {
	Names []string
	Known []KnownVariant // latest first; only if a language is among the names
}

// KnownVariant is a response that may suit a request that orders its languages in
// another way.
type KnownVariant struct {
	Others Key // made of the other fields' values
	Key    Key
}

// field is one of a header. Ranging over a list of fields takes half the time
// that ranging over a map takes, and a hit does little else.
type field struct {
	name   string
	values []string
}

// Prepare reads the Header and the times of a response into what a hit needs. It
// must be called whenever one of them has changed.
func (e *Entry) Prepare(p Policy) {
	e.fields = make([]field, 0, len(e.Header))
	for name, values := range e.Header {
		e.fields = append(e.fields, field{name, values})
	}
	if e.Prompt {
		// One set of rules for both kinds: a prompt's TTL counts as what the response
		// says of itself.
		ttl := strconv.FormatInt(int64(math.Ceil(p.PromptTTL.Seconds())), 10)
		e.Meta = rfc9111.Read(e.Status, http.Header{"Cache-Control": {"max-age=" + ttl}}, e.Received, e.Received)
		return
	}
	e.Meta = rfc9111.Read(e.Status, e.Header, e.Requested, e.Received)
}

// Updated is the response with the fields of a 304, or of a response to a HEAD, in
// place of its own.
func (e *Entry) Updated(p Policy, fresh http.Header, requested, received time.Time) *Entry {
	updated := *e
	updated.Header = rfc9111.Freshen(e.Header, fresh, received)
	updated.Requested, updated.Received = requested, received
	updated.Prepare(p)
	return &updated
}

// Partial reports whether the entry holds a part of a representation.
func (e *Entry) Partial() bool { return e.Status == http.StatusPartialContent }

// ByteRange is which bytes of its representation the entry has.
func (e *Entry) ByteRange() rfc9111.Span {
	if e.Partial() {
		return e.Part
	}
	return rfc9111.Complete(e.Size)
}

// SetContentRange makes the response that of a range. The range of everything
// makes it a 200. It writes to the Header, which must not be shared.
func (e *Entry) SetContentRange(s rfc9111.Span) {
	if !s.Whole() {
		e.Status, e.Part = http.StatusPartialContent, s
		s.Describe(e.Header)
		return
	}
	e.Status, e.Part = http.StatusOK, rfc9111.Span{}
	delete(e.Header, "Content-Range")
	e.Header["Content-Length"] = []string{strconv.FormatInt(s.Size, 10)}
}

// Remote reports whether the body is in the user's store and not in Chunks.
func (e *Entry) Remote() bool { return e.remoteID != nil }

// CopyHeader is Header.Clone of a prepared entry, with room for more fields of one
// value each. room has their values, to be sliced off. Together they are two
// allocations, as many as Clone makes.
func (e *Entry) CopyHeader(more int) (h http.Header, room []string) {
	n := more
	for i := range e.fields {
		n += len(e.fields[i].values)
	}
	room = make([]string, n)
	h = make(http.Header, len(e.fields)+more)
	for i := range e.fields {
		f := &e.fields[i]
		n := copy(room, f.values)
		h[f.name], room = room[:n:n], room[n:]
	}
	return h, room
}

// staleRetention is how long an expired response is kept for revalidation or
// stale use.
const staleRetention = 24 * time.Hour

// indexRetention is how long an index is kept. It costs little, and without it its
// variants are lost.
const indexRetention = 365 * 24 * time.Hour

// expires is when the entry may be forgotten.
func (e *Entry) expires(p Policy) time.Time {
	if e.Variants != nil {
		return e.Received.Add(indexRetention)
	}
	until := e.Meta.Until(p.StaleIfError)
	if e.Prompt {
		return until
	}
	return until.Add(staleRetention)
}

// weight is the number of bytes that the entry takes in memory.
func (e *Entry) weight() int64 {
	n := int64(500+len(e.URL)+len(e.Model)) + 24*int64(len(e.Chunks)) + 40*int64(len(e.fields))
	for _, chunk := range e.Chunks {
		n += int64(cap(chunk)+15) &^ 15 // what the allocator makes of it, nearly
	}
	for _, h := range [...]http.Header{e.Header, e.Trailer} {
		for name, values := range h {
			n += int64(len(name)) + 64
			for _, v := range values {
				n += int64(len(v)) + 16
			}
		}
	}
	if e.Variants != nil {
		for _, s := range e.Variants.Sets {
			for _, name := range s.Names {
				n += int64(len(name)) + 16
			}
			n += 64 * int64(1+len(s.Known))
		}
	}
	return n
}

// AnnounceTrailer is the Trailer of a response whose body has not ended: the names
// of t without values, nil if t is nil.
func AnnounceTrailer(t http.Header) http.Header {
	if t == nil {
		return nil
	}
	announced := make(http.Header, len(t))
	for name := range t {
		announced[name] = nil
	}
	return announced
}

// FillTrailer copies a trailer into the announced one, when the body has ended. It
// does nothing if none was announced.
func FillTrailer(announced, t http.Header) {
	if announced == nil {
		return
	}
	for name, values := range t {
		announced[name] = append([]string(nil), values...)
	}
}
