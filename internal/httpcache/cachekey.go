package httpcache

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-9e4f5248/snubber/internal/canon"
	"github.com/seed-9e4f5248/snubber/internal/dialect"
	"github.com/seed-9e4f5248/snubber/internal/jsonscan"
	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// minSecret is the shortest Secret with which a Store is used: who can read the
// store must not be able to try out what the hashes in it are of.
const minSecret = 32

// cacheKey is an HMAC over everything that an answer depends on. Each part goes
// in with its length, so that no two lists of parts run together: a crafted URL
// is never another request's key.
type cacheKey [sha256.Size]byte

// init makes what the fields imply, once.
func (c *Cache) init() {
	c.once.Do(func() {
		if c.secret = c.Secret; len(c.secret) == 0 {
			c.secret = make([]byte, minSecret)
			rand.Read(c.secret)
		}
		c.keyers.New = func() any { return &keyer{mac: hmac.New(sha256.New, c.secret)} }
		c.shelf.memory.Init(c.maxBytes(), c.maxBytes())
	})
}

// keyer gathers the parts of a key. Cache has a pool of them: an HMAC's state is
// half a kilobyte in five allocations.
type keyer struct {
	mac hash.Hash
	buf []byte
	key cacheKey // what Sum writes to would be allocated anew for each
}

func (c *Cache) keyer(kind string) *keyer {
	c.init()
	k := c.keyers.Get().(*keyer)
	k.mac.Reset()
	k.buf = append(k.buf[:0], kind...)
	return k
}

func (k *keyer) part(s string) {
	k.buf = binary.AppendUvarint(k.buf, uint64(len(s)))
	k.buf = append(k.buf, s...)
}

func (k *keyer) parts(values []string) {
	k.buf = binary.AppendUvarint(k.buf, uint64(len(values)))
	for _, v := range values {
		k.part(v)
	}
}

// flush hashes what was gathered. The buffer held credentials.
func (k *keyer) flush() {
	k.mac.Write(k.buf)
	clear(k.buf)
	k.buf = k.buf[:0]
}

func (k *keyer) sum(c *Cache) cacheKey {
	k.flush()
	k.mac.Sum(k.key[:0])
	key := k.key
	if cap(k.buf) <= 16<<10 {
		c.keyers.Put(k)
	}
	return key
}

// keyOf is the key of what is stored for a GET.
func (c *Cache) keyOf(req *http.Request) cacheKey {
	k := c.keyer("get 1")
	k.target(req)
	k.identity(c, req)
	if c.Identity != nil { // elsewhere than at a prompt's path, "key" may be what is asked for
		_, key := splitKey(req.URL.RawQuery)
		k.part(key)
	}
	return k.sum(c)
}

// target adds the URL, without what in it is a credential.
func (k *keyer) target(req *http.Request) {
	u := req.URL
	k.part(u.Scheme)
	k.part(canonicalHost(u.Scheme, u.Host))
	if host := req.Host; host != "" {
		k.part(canonicalHost(u.Scheme, host)) // which one of those behind that address is meant
	} else {
		k.part(canonicalHost(u.Scheme, u.Host))
	}
	k.part(u.Opaque)
	if u.RawPath == "" && plainPath(u.Path) {
		k.part(u.Path)
	} else if p := u.EscapedPath(); p == "" {
		k.part("/")
	} else {
		k.part(p)
	}
	query, _ := splitKey(u.RawQuery)
	k.part(query)
	if u.ForceQuery {
		k.buf = append(k.buf, '?')
	}
}

// plainPath reports whether a path is its own escaped form, which is not worth
// an allocation then.
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

// splitKey takes the key parameters, in which some APIs want the credential, out
// of a query.
func splitKey(query string) (rest, key string) {
	if !strings.Contains(query, "key=") {
		return query, ""
	}
	var kept, keys []string
	for part := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(part, "="); name == "key" {
			keys = append(keys, part)
		} else {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "&"), strings.Join(keys, "&")
}

// credentialFields are those that tell on whose behalf a request is.
var credentialFields = [...]string{
	"Authorization", "Proxy-Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Cookie",
	"Openai-Organization", "Openai-Project", "Anthropic-Workspace-Id", "X-Goog-User-Project",
}

// identity adds whose request it is.
func (k *keyer) identity(c *Cache, req *http.Request) {
	if c.Identity != nil {
		k.part("identity")
		k.part(c.Identity(req))
		return
	}
	for _, name := range credentialFields {
		// All of it, of an AWS signature too, which differs in every request. The
		// access key in it is no secret: by that alone whoever knows it would be given
		// what its owner was.
		k.parts(req.Header[name])
	}
	others := otherCredentials(req.Header)
	k.parts(others)
	for _, name := range others {
		k.parts(req.Header[name])
	}
	_, key := splitKey(req.URL.RawQuery)
	k.part(key)
	if u := req.URL.User; u != nil {
		k.part(u.String())
	}
}

// otherCredentials are the header fields whose names sound like one, sorted, where
// there are any. Two callers that are taken for one share their answers; one that
// is taken for two misses a hit.
func otherCredentials(h http.Header) (names []string) {
	for name := range h {
		switch name {
		case "Authorization", "Proxy-Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Cookie",
			"Openai-Organization", "Openai-Project", "Anthropic-Workspace-Id", "X-Goog-User-Project":
			continue // credentialFields
		case "Idempotency-Key", "X-Idempotency-Key": // they name the call
			continue
		case "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Length", "Content-Type", "User-Agent", "Range",
			"If-None-Match", "If-Modified-Since", "Traceparent", "Tracestate", "Anthropic-Version", "Anthropic-Beta", "Openai-Beta",
			"X-Stainless-Lang", "X-Stainless-Package-Version", "X-Stainless-Os", "X-Stainless-Arch", "X-Stainless-Runtime",
			"X-Stainless-Runtime-Version", "X-Stainless-Retry-Count", "X-Stainless-Timeout", "X-Stainless-Async":
			continue // none, and here only because to look at the words takes a hit longer
		}
		if !dialect.Identifies(name) {
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// promptFields are the headers, other than credentials, that change an answer.
var promptFields = [...]string{
	"Accept", "Accept-Encoding", "Accept-Language", "Anthropic-Version", "Anthropic-Beta", "Openai-Beta",
}

// promptKey makes the key of a prompt, or says why the cache is not for it.
func (v *visit) promptKey() (bypass string) {
	if !v.call.WithBody(func(body []byte) { bypass = v.promptKeyOf(body) }) {
		return "body not at hand"
	}
	return bypass
}

func (v *visit) promptKeyOf(body []byte) (bypass string) {
	c, in := v.cache, v.req
	why, stream := leaves(body)
	if why != "" {
		return why
	}
	k := c.keyer("prompt 1")
	k.target(in)
	k.identity(c, in)
	if c.Key != nil {
		name := c.Key(v.call.HookRequest(), bytes.Clone(body)) // it may keep or change its own
		if name == "" {
			return "key"
		}
		k.part("key")
		k.part(name)
	} else {
		for _, name := range promptFields {
			k.parts(in.Header[name])
		}
		media, _, _ := strings.Cut(in.Header.Get("Content-Type"), ";")
		k.part(strings.ToLower(strings.TrimSpace(media)))
		k.flush()
		k.body(body, c.Ignore)
	}
	if stream || v.facts.Stream {
		k.part("stream")
	}
	v.key = k.sum(c)
	return ""
}

// leaves says what a prompt leaves behind on the server, or builds upon: such an
// answer is more than its bytes. "" if nothing. And it says whether the prompt
// asks for a stream.
func leaves(body []byte) (why string, stream bool) {
	s := jsonscan.NewCursor(body)
	if t := s.Next(); t.Kind != jsonscan.Object {
		return "", false
	}
	for {
		key := s.Next()
		if !key.Key {
			return why, stream
		}
		switch name := string(jsonscan.Unquote(key.Raw)); name {
		case "store", "background":
			if t := peek(&s); t.Kind == jsonscan.True {
				why = name
			}
		case "stream":
			stream = peek(&s).Kind == jsonscan.True
		case "previous_response_id", "conversation", "container", "mcp_servers":
			if t := peek(&s); t.Kind != jsonscan.Null {
				why = name
			}
		case "tools":
			if serverTools(&s) {
				why = "server tools"
			}
			continue
		}
		s.Skip()
	}
}

func peek(s *jsonscan.Cursor) jsonscan.Token {
	at := *s
	return at.Next()
}

// serverTools reads past a list of tools and reports whether one of them is run
// by the server: it has a type, and not one of those that describe a function of
// the caller's.
func serverTools(s *jsonscan.Cursor) (found bool) {
	depth := s.Depth
	if t := s.Next(); t.Kind != jsonscan.Array {
		if t.Kind == jsonscan.Object {
			for s.Depth > depth && t.Kind != jsonscan.None {
				t = s.Next()
			}
		}
		return false
	}
	for {
		t := s.Next()
		if t.Kind != jsonscan.Object || t.End {
			if t.Kind == jsonscan.None || t.End && s.Depth <= depth {
				return found
			}
			continue
		}
		for {
			key := s.Next()
			if !key.Key {
				break
			}
			if string(jsonscan.Unquote(key.Raw)) == "type" {
				switch t := peek(s); string(t.Raw) {
				case "function", "custom":
				default:
					found = true
				}
			}
			s.Skip()
		}
	}
}

// variantKey is the key of the variant that a request selects by the fields
// that answers vary by.
func (v *visit) variantKey(epoch [16]byte, names []string, header http.Header) cacheKey {
	k := v.cache.keyer("variant 1")
	k.buf = append(k.buf, v.key[:]...)
	k.buf = append(k.buf, epoch[:]...)
	for _, name := range names {
		value, present := rfc9111.Selecting(header, name)
		k.part(name)
		if present {
			k.buf = append(k.buf, 1)
		} else {
			k.buf = append(k.buf, 0)
		}
		k.part(value)
	}
	return k.sum(v.cache)
}

// publicURL is a URL as it may be shown.
func publicURL(u *url.URL) string {
	shown := *u
	shown.User = nil
	shown.RawQuery, _ = splitKey(u.RawQuery)
	shown.Fragment, shown.RawFragment = "", ""
	return shown.String()
}

// body adds a prompt's body, in one spelling where it has one. What makes no
// JSON document, or one that readers take for different things, counts as the
// bytes that it is, apart from all documents.
func (k *keyer) body(body []byte, ignore []string) {
	k.part("json")
	k.parts(ignore)
	k.flush()
	if !canon.Write(k.mac, body, ignore...) {
		k.part("raw")
		k.flush()
		k.mac.Write(body)
	}
}
