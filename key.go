package snubber

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// key names what a circuit, a queue or a budget is for. It is a struct and not
// a string so that finding one's state builds no string.
type key struct {
	custom       string // what a Key hook returned; the rest is then empty
	scheme, host string
	model        string
	credential   uint64 // keyed hash, 0 for none
}

func originKey(req *http.Request, model string) key {
	return key{scheme: req.URL.Scheme, host: req.URL.Host, model: model}
}

// String is the key as events, errors and snapshots show it:
// "https://api.example.com gpt-4o", with the credential's hash behind a '#'.
func (k key) String() string {
	if k.scheme == "" && k.host == "" {
		return k.custom
	}
	s := k.scheme + "://" + k.host
	if k.model != "" {
		s += " " + k.model
	}
	if k.credential != 0 {
		s += " #" + strconv.FormatUint(k.credential, 16)
	}
	return s
}

// parseKey reads a circuit's key back from its String.
func parseKey(s string) key {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return key{custom: s}
	}
	host, model, _ := strings.Cut(rest, " ")
	return key{scheme: scheme, host: host, model: model}
}

// hasher turns credentials into numbers that say nothing about them.
type hasher struct {
	once sync.Once
	seed maphash.Seed
}

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

// credentialOf finds the secret that decides whose quota a request uses.
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

// stableCredential drops the parts of an AWS signature that differ in every
// request: only the access key names an account.
func stableCredential(s string) string {
	if strings.HasPrefix(s, "AWS4-") {
		if _, rest, ok := strings.Cut(s, "Credential="); ok {
			id, _, _ := strings.Cut(rest, "/")
			return id
		}
	}
	return s
}

// maxKeys bounds each registry. Keys come from requests, and a server of many
// tenants has many.
const maxKeys = 10_000

// registry holds one state a key, made when it is first needed.
type registry[V interface{ evictable(time.Time) bool }] struct {
	// last is the entry that was asked for last. Most programs call one model
	// most of the time, and comparing a key with itself takes a fraction of the
	// time of hashing it.
	last atomic.Pointer[entry[V]]

	mu sync.RWMutex
	m  map[key]*entry[V]
	n  atomic.Int32 // len(m)
}

type entry[V any] struct {
	key   key
	value V
	used  atomic.Int64 // unix seconds
}

func (r *registry[V]) find(k key) (v V, ok bool) {
	if r.n.Load() == 0 {
		return v, false
	}
	r.mu.RLock()
	e := r.m[k]
	r.mu.RUnlock()
	if e == nil {
		return v, false
	}
	return e.value, true
}

func (r *registry[V]) get(k key, now time.Time, fresh func(key) V) V {
	e := r.last.Load()
	if e == nil || e.key != k {
		r.mu.RLock()
		if e = r.m[k]; e != nil {
			r.last.Store(e) // under the lock, or it may come after the entry's eviction
		}
		r.mu.RUnlock()
	}
	if e == nil {
		r.mu.Lock()
		if e = r.m[k]; e == nil {
			if r.m == nil {
				r.m = make(map[key]*entry[V])
			}
			for range 2 { // so that a registry that had to grow shrinks again
				if len(r.m) >= maxKeys {
					r.evictLocked(now)
				}
			}
			e = &entry[V]{key: k, value: fresh(k)}
			r.m[k] = e
			r.n.Store(int32(len(r.m)))
		}
		r.mu.Unlock()
	}
	if s := now.Unix(); e.used.Load() != s { // a store a second, not one a call, keeps the line shared
		e.used.Store(s)
	}
	return e.value
}

// evictLocked forgets the least recently used of the first evictable entries
// it meets. Map order is random, so this is a sampled LRU; the exact one would
// cost every call a write to a shared list.
func (r *registry[V]) evictLocked(now time.Time) {
	const sample = 32
	var oldest key
	found, at := 0, int64(0)
	for k, e := range r.m {
		if !e.value.evictable(now) {
			continue
		}
		if u := e.used.Load(); found == 0 || u < at {
			oldest, at = k, u
		}
		if found++; found == sample {
			break
		}
	}
	if found > 0 {
		r.last.Store(nil)
		delete(r.m, oldest)
	}
}

// all returns the states in no order.
func (r *registry[V]) all() []V {
	r.mu.RLock()
	defer r.mu.RUnlock()
	vs := make([]V, 0, len(r.m))
	for _, e := range r.m {
		vs = append(vs, e.value)
	}
	return vs
}
