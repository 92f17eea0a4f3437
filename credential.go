package snubber

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"net/http"
	"strings"
	"sync"
)

// hasher turns credentials into numbers that do not reveal them.
type hasher struct {
	once sync.Once
	seed maphash.Seed
}

// credential returns the hash of the request's credential, 0 if it has none. If secret
// is nil, the hash has a seed of this hasher.
func (h *hasher) credential(req *http.Request, secret []byte) uint64 {
	s := credentialOf(req)
	if s == "" {
		return 0
	}
	if secret == nil {
		h.once.Do(func() { h.seed = maphash.MakeSeed() })
		return maphash.String(h.seed, s)
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(s))
	return binary.BigEndian.Uint64(mac.Sum(nil))
}

// credentialOf returns the secret that decides whose quota a request uses, or "".
func credentialOf(req *http.Request) string {
	for _, name := range [...]string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"} {
		if v := req.Header[name]; len(v) > 0 && v[0] != "" {
			return stableCredential(v[0])
		}
	}
	if strings.Contains(req.URL.RawQuery, "key=") {
		return req.URL.Query().Get("key")
	}
	return ""
}

// stableCredential drops the parts of an AWS signature that differ in every request.
// Only the access key names an account.
func stableCredential(s string) string {
	if strings.HasPrefix(s, "AWS4-") {
		if _, rest, ok := strings.Cut(s, "Credential="); ok {
			id, _, _ := strings.Cut(rest, "/")
			return id
		}
	}
	return s
}
