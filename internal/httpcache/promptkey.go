package httpcache

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
	"github.com/seed-9e4f5248/snubber/internal/canon"
	"github.com/seed-9e4f5248/snubber/internal/jsonscan"
)

// promptKeys makes the keys of prompts too.
type promptKeys struct {
	keys
	ignoreFields []string                                    // of the body
	custom       func(req *http.Request, body []byte) string // in place of the body
}

// promptFields are the header fields, other than credentials, that change the
// response to a prompt.
var promptFields = [...]string{
	"Accept", "Accept-Encoding", "Accept-Language", "Anthropic-Version", "Anthropic-Beta", "Openai-Beta",
}

// forPrompt is the key of the response to a prompt with this body, or the reason
// why the cache must not store it.
func (k *promptKeys) forPrompt(call Caller, req *http.Request, stream bool, body []byte) (_ cachestore.Key, bypassReason string) {
	effect, streams := promptSideEffects(body)
	if effect != "" {
		return cachestore.Key{}, effect
	}
	h := k.hasher("prompt 1")
	h.addTarget(req)
	h.addIdentity(k.identity, req)
	if k.custom != nil {
		name := k.custom(call.HookRequest(), bytes.Clone(body)) // a copy, because it may keep or change it
		if name == "" {
			return cachestore.Key{}, "key"
		}
		h.add("key")
		h.add(name)
	} else {
		for _, name := range promptFields {
			h.addList(req.Header[name])
		}
		media, _, _ := strings.Cut(req.Header.Get("Content-Type"), ";")
		h.add(strings.ToLower(strings.TrimSpace(media)))
		h.flush()
		h.addBody(body, k.ignoreFields)
	}
	if stream || streams {
		h.add("stream")
	}
	return k.sum(h), ""
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

// promptSideEffects names a body field that makes the request depend on or change
// server state, "" if there is none. stream is whether the body asks for a
// stream.
func promptSideEffects(body []byte) (field string, stream bool) {
	s := jsonscan.NewCursor(body)
	if t := s.Next(); t.Kind != jsonscan.Object {
		return "", false
	}
	for {
		key := s.Next()
		if !key.Key {
			return field, stream
		}
		switch name := string(jsonscan.Unquote(key.Raw)); name {
		case "store", "background":
			if peek(&s).Kind == jsonscan.True {
				field = name
			}
		case "stream":
			stream = peek(&s).Kind == jsonscan.True
		case "previous_response_id", "conversation", "container", "mcp_servers":
			if peek(&s).Kind != jsonscan.Null {
				field = name
			}
		case "tools":
			if serverTools(&s) {
				field = "server tools"
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

// serverTools reads a list of tools and reports whether the server runs one of
// them: a tool that has a type, and not one of those that describe a function of
// the caller.
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
