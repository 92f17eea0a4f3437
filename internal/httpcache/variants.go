package httpcache

import (
	"crypto/rand"
	"net/http"
	"slices"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

const (
	maxVariantSets   = 8
	maxKnownVariants = 16
)

// findVariant returns the variant of the response under primary that a request with
// this header selects: the latest of several (RFC 9111, section 4), because the list
// of fields that it varies by may have changed, and changed back.
func (c *core) findVariant(a cachestore.Access, x *cachestore.Variants, primary cachestore.Key, header http.Header) (latest *cachestore.Entry) {
	for _, s := range x.Sets {
		e := c.storage.Get(a, c.keys.forVariant(primary, x.Epoch, s.Names, header))
		if e != nil && e.Variants == nil && (latest == nil || e.Received.After(latest.Received)) {
			latest = e
		}
	}
	if latest != nil {
		return latest
	}
	for _, s := range x.Sets {
		if len(s.Known) == 0 {
			continue
		}
		others := c.keys.forVariant(primary, x.Epoch, withoutLanguage(s.Names), header)
		for _, k := range s.Known {
			if k.Others != others {
				continue
			}
			if e := c.storage.Get(a, k.Key); e != nil && e.Variants == nil && rfc9111.Prefers(header, e.Header) {
				return e
			}
		}
	}
	return nil
}

// addVariant returns an index with one more variant, and the key of that variant. x
// is nil if there is no index yet.
func (c *core) addVariant(x *cachestore.Variants, primary cachestore.Key, names []string, header http.Header) (*cachestore.Variants, cachestore.Key) {
	next := &cachestore.Variants{}
	if x == nil {
		rand.Read(next.Epoch[:])
		x = next
	}
	next.Epoch = x.Epoch
	key := c.keys.forVariant(primary, next.Epoch, names, header)
	set := cachestore.VariantSet{Names: names}
	if slices.Contains(names, "Accept-Language") {
		others := c.keys.forVariant(primary, next.Epoch, withoutLanguage(names), header)
		set.Known = append(set.Known, cachestore.KnownVariant{Others: others, Key: key})
	}
	next.Sets = append(next.Sets, set)
	for _, s := range x.Sets {
		if !slices.Equal(s.Names, names) {
			if len(next.Sets) < maxVariantSets {
				next.Sets = append(next.Sets, s)
			}
			continue
		}
		for _, k := range s.Known {
			if k.Key != key && len(next.Sets[0].Known) < maxKnownVariants {
				next.Sets[0].Known = append(next.Sets[0].Known, k)
			}
		}
	}
	return next, key
}

func withoutLanguage(names []string) []string {
	var rest []string
	for _, name := range names {
		if name != "Accept-Language" {
			rest = append(rest, name)
		}
	}
	return rest
}

// sameVariant reports whether two requests select the same variant of the response
// of which e is the header.
func sameVariant(e *cachestore.Entry, a, b http.Header) bool {
	names, _ := rfc9111.Vary(e.Header)
	for _, name := range names {
		valueA, inA := rfc9111.Selecting(a, name)
		valueB, inB := rfc9111.Selecting(b, name)
		if valueA != valueB || inA != inB {
			return false
		}
	}
	return true
}

// acceptsEncoding reports whether a request with this header can read the encoding
// of a stored response. For a request that names no encoding net/http decodes the
// response, but it does not see a stored one.
func acceptsEncoding(e *cachestore.Entry, header http.Header) bool {
	return !e.Negotiated || e.Header["Content-Encoding"] == nil || header["Accept-Encoding"] != nil
}
