package snubber

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/seed-9e4f5248/snubber/internal/dialect"
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

// credentialOf returns what tells whose quota a request uses, or "". It holds secrets.
func credentialOf(req *http.Request) string {
	owner, claims := dialect.QuotaOwner(req.Header, req.URL)
	if !claims {
		return owner
	}
	// What a token says of its bearer is not verified here: anybody could write one with
	// the same claims, and have a share in the queue and its gates. So the token counts,
	// too.
	parts := []string{owner}
	for name, values := range req.Header {
		for _, v := range values {
			if strings.Contains(v, "eyJ") && dialect.AskerOf(name) == dialect.Owner {
				parts = append(parts, v)
			}
		}
	}
	slices.Sort(parts[1:]) // a map has no order
	return strings.Join(parts, "\x00")
}
