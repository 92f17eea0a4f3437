package httpcache

import (
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
)

// A header field that has another value in each request makes every prompt a miss.
// After so many misses of prompts that are equal otherwise, the field is named.
const (
	varyingMisses  = 20
	varyingPrompts = 64 // that are watched at a time
	varyingFields  = 32 // of one of them
)

// varyingFieldWatch finds the header fields that differ in each of otherwise equal
// prompts. It keeps hashes of their values only.
type varyingFieldWatch struct {
	seed    maphash.Seed
	mu      sync.Mutex
	prompts map[cachestore.Key]*watchedPrompt
	told    map[string]bool // fields that an event has named
}

type watchedPrompt struct {
	misses int
	fields map[string][]uint64 // hashes of the values, each once
	field  string              // that has differed
}

// missed counts a miss of a prompt, whose key is that of all but its header fields.
// It returns the field that keeps it from being a hit, "" if there is none, and
// whether that is said for the first time.
func (w *varyingFieldWatch) missed(key cachestore.Key, header http.Header, counts func(name string) bool) (field string, first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.prompts[key]
	if p == nil {
		if w.prompts == nil {
			w.seed, w.prompts, w.told = maphash.MakeSeed(), make(map[cachestore.Key]*watchedPrompt), make(map[string]bool)
		}
		for other := range w.prompts {
			if len(w.prompts) < varyingPrompts {
				break
			}
			delete(w.prompts, other)
		}
		p = &watchedPrompt{fields: make(map[string][]uint64)}
		w.prompts[key] = p
	}
	if p.misses < varyingMisses {
		p.add(w.seed, header, counts)
	}
	if p.field == "" {
		return "", false
	}
	first = !w.told[p.field] && len(w.told) < varyingPrompts
	if first {
		w.told[p.field] = true
	}
	return p.field, first
}

func (p *watchedPrompt) add(seed maphash.Seed, header http.Header, counts func(name string) bool) {
	p.misses++
	for name, values := range header {
		if !counts(name) || len(p.fields) == varyingFields && p.fields[name] == nil {
			continue
		}
		sum := maphash.Comparable(seed, strings.Join(values, "\n"))
		if !slices.Contains(p.fields[name], sum) {
			p.fields[name] = append(p.fields[name], sum)
		}
	}
	if p.misses < varyingMisses {
		return
	}
	var names []string
	for name, sums := range p.fields {
		if len(sums) == varyingMisses && !strings.ContainsAny(name, `"\`) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	p.field, p.fields = strings.Join(names, ", "), nil
}
