package httpcache

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
	"github.com/seed-9e4f5248/snubber/internal/canon"
	"github.com/seed-9e4f5248/snubber/internal/dialect"
)

// promptKeys makes the keys of prompts too.
type promptKeys struct {
	keys
	ignoreFields  []string // of the body
	ignoreHeaders []string
	custom        func(req *http.Request, body []byte) string // in place of the body
}

// forPrompt is the key of the response to a prompt with this body, or the reason
// why the cache must not store it.
func (k *promptKeys) forPrompt(call Caller, req *http.Request, header http.Header, stream bool, body []byte) (_ cachestore.Key, bypassReason string) {
	if world := dialect.RouteOf(req.Method, req.URL).Effects(body).World; world != "" {
		return cachestore.Key{}, world
	}
	h := k.hasher("prompt 1")
	h.addTarget(req)
	h.addIdentity(k.identity, req, header)
	if k.custom != nil {
		name := k.custom(call.HookRequest(), bytes.Clone(body)) // a copy, because it may keep or change it
		if name == "" {
			return cachestore.Key{}, "key"
		}
		h.add("key")
		h.add(name)
	} else {
		h.addFields(header, k.changesAnswer)
		h.add(mediaType(header))
		h.flush()
		h.addBody(body, k.ignoreFields)
	}
	if stream {
		h.add("stream")
	}
	return k.sum(h), ""
}

// withoutHeader is the key of all prompts that differ in their header fields alone.
func (k *promptKeys) withoutHeader(req *http.Request, header http.Header, stream bool, body []byte) cachestore.Key {
	h := k.hasher("prompts 1")
	h.addTarget(req)
	h.addIdentity(k.identity, req, header)
	h.flush()
	h.addBody(body, k.ignoreFields)
	if stream {
		h.add("stream")
	}
	return k.sum(h)
}

// changesAnswer reports whether the response to a prompt may depend on a header
// field that does not tell who asks. All do but those that are known not to: a
// guardrail, a target or a deployment can be named in any.
func (k *promptKeys) changesAnswer(name string) bool {
	switch name {
	case "Content-Type", "Content-Length", "User-Agent", "Authorization": // listed because the tables take longer
		return false
	case "Accept", "Accept-Encoding", "Accept-Language":
		return !k.ignoresHeader(name)
	}
	return !dialect.Incidental(name) && dialect.AskerOf(name) == dialect.Nobody && !k.ignoresHeader(name)
}

func (k *promptKeys) ignoresHeader(name string) bool {
	return slices.ContainsFunc(k.ignoreHeaders, func(ignored string) bool { return strings.EqualFold(name, ignored) })
}

// mediaType is the type of a request's body without its parameters.
func mediaType(h http.Header) string {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// addBody adds the body of a prompt in canonical form. A body that is not JSON, or
// that parsers read in different ways, counts as its bytes, and is different from
// all documents.
func (h *keyHasher) addBody(body []byte, ignoreFields []string) {
	h.add("json")
	h.addList(ignoreFields)
	h.flush()
	if !canon.Write(h.mac, body, ignoreFields...) {
		h.add("raw")
		h.flush()
		h.mac.Write(body)
	}
}
