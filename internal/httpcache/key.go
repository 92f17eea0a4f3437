package httpcache

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
	"github.com/seed-9e4f5248/snubber/internal/dialect"
	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// minSecret is the shortest Secret with which a Store is used. Whoever can read the
// store must not be able to guess the hashed values by trying.
const minSecret = 32

// keys makes the keys of one cache. A key is an HMAC over everything that a response
// depends on. Each part goes in after its length, so that no two lists of parts look
// the same: no crafted URL has the key of another request.
type keys struct {
	secret   []byte
	identity func(*http.Request) string // nil: the credentials
	pool     sync.Pool                  // of *keyHasher
}

// init sets the keys up. Without a secret it makes one.
func (k *keys) init(secret []byte, identity func(*http.Request) string) {
	if k.secret, k.identity = secret, identity; len(secret) == 0 {
		k.secret = make([]byte, minSecret)
		rand.Read(k.secret)
	}
	k.pool.New = func() any { return &keyHasher{mac: hmac.New(sha256.New, k.secret)} }
}

// forGet is the key of the response to a GET of req with this header, whose names
// are canonical.
func (k *keys) forGet(req *http.Request, header http.Header) cachestore.Key {
	h := k.hasher("get 1")
	h.addTarget(req)
	h.addIdentity(k.identity, req, header)
	if k.identity != nil { // then a parameter such as "key" is no credential, and may name the resource
		_, askers := dialect.SplitQuery(req.URL.RawQuery)
		h.add(askers)
	}
	return k.sum(h)
}

// forVariant is the key of the variant that a request selects by the given fields.
// primary is the key of the URL or, for a flight, whatever the variants are of.
func (k *keys) forVariant(primary cachestore.Key, epoch [16]byte, names []string, header http.Header) cachestore.Key {
	h := k.hasher("variant 1")
	h.buf = append(h.buf, primary[:]...)
	h.buf = append(h.buf, epoch[:]...)
	for _, name := range names {
		value, present := rfc9111.Selecting(header, name)
		h.add(name)
		if present {
			h.buf = append(h.buf, 1)
		} else {
			h.buf = append(h.buf, 0)
		}
		h.add(value)
	}
	return k.sum(h)
}

// keyHasher gathers the parts of a key. Hashers are pooled, because the state of an
// HMAC is half a kilobyte in five allocations.
type keyHasher struct {
	mac   hash.Hash
	buf   []byte
	names []string       // of header fields, while they are sorted
	key   cachestore.Key // where mac.Sum writes to; a local variable would be allocated
}

func (k *keys) hasher(kind string) *keyHasher {
	h := k.pool.Get().(*keyHasher)
	h.mac.Reset()
	h.buf = append(h.buf[:0], kind...)
	return h
}

func (k *keys) sum(h *keyHasher) cachestore.Key {
	h.flush()
	h.mac.Sum(h.key[:0])
	key := h.key
	if cap(h.buf) <= 16<<10 {
		k.pool.Put(h)
	}
	return key
}

func (h *keyHasher) add(s string) {
	h.buf = binary.AppendUvarint(h.buf, uint64(len(s)))
	h.buf = append(h.buf, s...)
}

func (h *keyHasher) addList(values []string) {
	h.buf = binary.AppendUvarint(h.buf, uint64(len(values)))
	for _, v := range values {
		h.add(v)
	}
}

// flush hashes what was gathered, and clears it, because it may be a credential.
func (h *keyHasher) flush() {
	h.mac.Write(h.buf)
	clear(h.buf)
	h.buf = h.buf[:0]
}

// addTarget adds the URL without the credentials in it.
func (h *keyHasher) addTarget(req *http.Request) {
	u := req.URL
	h.add(u.Scheme)
	h.add(canonicalHost(u.Scheme, u.Host))
	if host := req.Host; host != "" {
		h.add(canonicalHost(u.Scheme, host)) // one of several behind that address
	} else {
		h.add(canonicalHost(u.Scheme, u.Host))
	}
	h.add(u.Opaque)
	if u.RawPath == "" && plainPath(u.Path) {
		h.add(u.Path)
	} else if p := u.EscapedPath(); p == "" {
		h.add("/")
	} else {
		h.add(p)
	}
	query, _ := dialect.SplitQuery(u.RawQuery)
	h.add(query)
	if u.ForceQuery {
		h.buf = append(h.buf, '?')
	}
}

// plainPath reports whether a path is its own escaped form, so that escaping it,
// which allocates, is not needed.
func plainPath(p string) bool {
	for i := range len(p) {
		switch c := p[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '/', c == '-', c == '_', c == '.', c == '~':
		default:
			return false
		}
	}
	return p != ""
}

func canonicalHost(scheme, host string) string {
	host = strings.ToLower(host)
	switch scheme {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

// publicURL is a URL without credentials.
func publicURL(u *url.URL) string {
	shown := *u
	shown.User = nil
	shown.RawQuery = dialect.PublicQuery(u.RawQuery)
	shown.Fragment, shown.RawFragment = "", ""
	return shown.String()
}

// addIdentity adds on whose behalf the request is.
func (h *keyHasher) addIdentity(identity func(*http.Request) string, req *http.Request, header http.Header) {
	if identity != nil {
		h.add("identity")
		h.add(identity(req))
		return
	}
	// The whole value, also of an AWS signature, which differs in every request. The
	// access key in it is no secret: anybody who knows it would get the responses of
	// its owner.
	h.addFields(header, identifies)
	_, askers := dialect.SplitQuery(req.URL.RawQuery)
	h.add(askers)
	if u := req.URL.User; u != nil {
		h.add(u.String())
	}
}

// identifies reports whether a header field says on whose behalf a request is. If
// one is missed, two callers share responses. If one is wrongly taken, a hit is
// missed.
func identifies(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Length", "Content-Type", "User-Agent", "Range",
		"If-None-Match", "If-Modified-Since", "Traceparent", "Tracestate", "Anthropic-Version", "Anthropic-Beta", "Openai-Beta",
		"X-Stainless-Lang", "X-Stainless-Package-Version", "X-Stainless-Os", "X-Stainless-Arch", "X-Stainless-Runtime",
		"X-Stainless-Runtime-Version", "X-Stainless-Retry-Count", "X-Stainless-Timeout", "X-Stainless-Async":
		return false // listed because AskerOf takes longer
	}
	return dialect.AskerOf(name) != dialect.Nobody
}

// addFields adds the header fields whose name counts, in the order of their
// names: a map has none.
func (h *keyHasher) addFields(header http.Header, counts func(name string) bool) {
	for name := range header {
		if counts(name) {
			h.names = append(h.names, name)
		}
	}
	slices.Sort(h.names)
	h.buf = binary.AppendUvarint(h.buf, uint64(len(h.names)))
	for _, name := range h.names {
		h.add(name)
		h.addList(header[name])
	}
	clear(h.names)
	h.names = h.names[:0]
}
