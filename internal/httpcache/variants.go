package httpcache

import (
	"crypto/rand"
	"net/http"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// variants is what is stored under a URL whose answers vary: by which fields,
// and for each list of them which answers there are. The answers have keys of
// their own, of which the epoch is a part: with the index all of them are gone.
type variants struct {
	epoch [16]byte
	sets  []variantSet // that of the latest answer first
}

type variantSet struct {
	names []string
	known []knownVariant // the latest first; only where a language is among the names
}

// knownVariant is an answer that may do for a request that orders its languages
// differently.
type knownVariant struct {
	others cacheKey // of the other fields' values
	key    cacheKey
}

const (
	maxVariantSets   = 8
	maxKnownVariants = 16
)

// find returns the stored variant that the request selects: of several the latest
// (section 4), for the lists of the fields may themselves have changed, and back.
func (x *variants) find(v *visit) (latest *cached) {
	header := v.req.Header
	for _, s := range x.sets {
		e := v.cache.shelf.get(v, v.variantKey(x.epoch, s.names, header))
		if e != nil && e.variants == nil && (latest == nil || e.received.After(latest.received)) {
			latest = e
		}
	}
	if latest != nil {
		return latest
	}
	for _, s := range x.sets {
		if len(s.known) == 0 {
			continue
		}
		others := v.variantKey(x.epoch, withoutLanguage(s.names), header)
		for _, k := range s.known {
			if k.others != others {
				continue
			}
			if e := v.cache.shelf.get(v, k.key); e != nil && e.variants == nil && rfc9111.Prefers(header, e.header) {
				return e
			}
		}
	}
	return nil
}

// with is the index with one more answer in it, and that answer's key.
func (x *variants) with(v *visit, names []string, header http.Header) (*variants, cacheKey) {
	next := &variants{}
	if x == nil {
		rand.Read(next.epoch[:])
		x = next
	}
	next.epoch = x.epoch
	key := v.variantKey(next.epoch, names, header)
	set := variantSet{names: names}
	language := false
	for _, name := range names {
		language = language || name == "Accept-Language"
	}
	if language {
		set.known = append(set.known, knownVariant{v.variantKey(next.epoch, withoutLanguage(names), header), key})
	}
	next.sets = append(next.sets, set)
	for _, s := range x.sets {
		if !sameNames(s.names, names) {
			if len(next.sets) < maxVariantSets {
				next.sets = append(next.sets, s)
			}
			continue
		}
		for _, k := range s.known {
			if k.key != key && len(next.sets[0].known) < maxKnownVariants {
				next.sets[0].known = append(next.sets[0].known, k)
			}
		}
	}
	return next, key
}

func sameNames(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
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
