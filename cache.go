package snubber

import (
	"bytes"
	"container/list"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/dialect"
)

// Cache answers an inference request that was answered before from memory: the
// same credential, URL and body, whatever the order of the body's members. It
// sits outside all other layers, so that a hit costs no token and works while
// the circuit is open. Only whole and error-free answers of the call's own
// route are kept, streams up to their terminal event, and they are given again
// byte for byte, without the quota headers that were true then.
//
// The zero value keeps nothing: whether the same prompt may get the same answer
// is for the program to say, with PromptTTL. A request with Cache-Control
// no-store or no-cache, or [WithNoCache], is passed on.
//
// It is safe for concurrent use and must not be copied after first use.
type Cache struct {
	// PromptTTL is how long an answer is kept. If zero or negative, none is.
	PromptTTL time.Duration
	// MaxBytes bounds the memory for answers; the least recently used go first.
	// If zero, 64 MiB; if negative, there is no bound.
	MaxBytes int64
	// MaxEntryBytes bounds one answer. If zero, an eighth of MaxBytes; if
	// negative, MaxBytes does.
	MaxEntryBytes int64
	// Secret keys the hash of credential and prompt under which an answer is
	// found. If nil, it is random and differs in every process.
	Secret []byte

	once   sync.Once
	random [32]byte

	mu     sync.Mutex
	m      map[cacheKey]*list.Element
	recent list.List // of *cached, the most recently used first
	bytes  int64
}

type cacheKey [sha256.Size]byte

// cacheStatus is what [Report.Cache] says.
type cacheStatus string

const (
	cacheHit  cacheStatus = "hit"
	cacheMiss cacheStatus = "miss"
)

type cached struct {
	key    cacheKey
	status int
	header http.Header
	body   []byte
	at     time.Time
}

type noCacheKey struct{}

// WithNoCache makes the requests of the context pass every [Cache] by.
func WithNoCache(ctx context.Context) context.Context {
	return context.WithValue(ctx, noCacheKey{}, true)
}

func (c *Cache) maxBytes() int64 {
	switch {
	case c.MaxBytes < 0:
		return 1 << 62
	case c.MaxBytes == 0:
		return 64 << 20
	}
	return c.MaxBytes
}

func (c *Cache) maxEntry() int64 {
	switch {
	case c.MaxEntryBytes < 0:
		return c.maxBytes()
	case c.MaxEntryBytes == 0:
		return c.maxBytes() / 8
	}
	return min(c.MaxEntryBytes, c.maxBytes())
}

// keyOf returns the key of a request that may be answered from the cache. body
// reads the request's, nil where it can be read only once.
func (c *Cache) keyOf(req *http.Request, asked asked, r *replay) (k cacheKey, ok bool) {
	if c.PromptTTL <= 0 || asked.format == dialect.Unknown || asked.background || req.Context().Value(noCacheKey{}) != nil {
		return k, false
	}
	directives := strings.ToLower(strings.Join(req.Header["Cache-Control"], ","))
	if strings.Contains(directives, "no-store") || strings.Contains(directives, "no-cache") {
		return k, false
	}
	body, ok := canonical(r.bytes())
	if !ok {
		return k, false
	}
	mac := hmac.New(sha256.New, c.secret())
	part := func(s string) { // with its length, so that no two requests run together
		mac.Write(strconv.AppendInt(nil, int64(len(s)), 10))
		io.WriteString(mac, ":"+s)
	}
	part(req.Method)
	part(req.Host)
	part(req.URL.String())
	part(credentialOf(req))
	for _, name := range [...]string{"Accept", "Accept-Encoding", "Anthropic-Version", "Anthropic-Beta", "Openai-Organization", "Openai-Project", "Openai-Beta"} {
		part(strings.Join(req.Header[name], ","))
	}
	part(string(body))
	mac.Sum(k[:0])
	return k, true
}

func (c *Cache) secret() []byte {
	if c.Secret != nil {
		return c.Secret
	}
	c.once.Do(func() { rand.Read(c.random[:]) })
	return c.random[:]
}

// canonical is a JSON text in one spelling: members sorted, no white space,
// numbers as they were written.
func canonical(body []byte) ([]byte, bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil || d.More() {
		return nil, false
	}
	b, err := json.Marshal(v)
	return b, err == nil
}

// find returns the answer to k if it is fresh.
func (c *Cache) find(k cacheKey, now time.Time) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.m[k]
	if e == nil {
		return nil
	}
	a := e.Value.(*cached)
	if now.Sub(a.at) >= c.PromptTTL {
		c.dropLocked(e)
		return nil
	}
	c.recent.MoveToFront(e)
	return a
}

func (c *Cache) put(a *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = make(map[cacheKey]*list.Element)
	}
	if e := c.m[a.key]; e != nil {
		c.dropLocked(e)
	}
	c.m[a.key] = c.recent.PushFront(a)
	c.bytes += a.size()
	for c.bytes > c.maxBytes() {
		c.dropLocked(c.recent.Back())
	}
}

func (c *Cache) dropLocked(e *list.Element) {
	a := c.recent.Remove(e).(*cached)
	delete(c.m, a.key)
	c.bytes -= a.size()
}

func (a *cached) size() int64 {
	n := int64(len(a.body)) + 512 // the entry itself
	for name, values := range a.header {
		for _, v := range values {
			n += int64(len(name) + len(v))
		}
	}
	return n
}

// response is the answer again.
func (a *cached) response(now time.Time) *http.Response {
	h := a.header.Clone()
	h.Set("Age", strconv.Itoa(int(now.Sub(a.at).Seconds())))
	h.Set("Cache-Status", "snubber; hit")
	return &http.Response{
		Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, ContentLength: int64(len(a.body)), Body: &stored{rest: a.body, err: io.EOF},
	}
}

// copying is the copy of an answer that passes, until it is whole or too long.
type copying struct {
	cache *Cache
	cached
	overflow bool
}

func (c *Cache) copying(k cacheKey, res *http.Response, now time.Time) *copying {
	h := res.Header.Clone()
	for name := range h {
		switch {
		case strings.HasPrefix(name, "X-Ratelimit-"), strings.HasPrefix(name, "Anthropic-Ratelimit-"), strings.HasPrefix(name, "Ratelimit"):
			delete(h, name) // true only then
		case name == "Set-Cookie", name == "Connection", name == "Keep-Alive", name == "Transfer-Encoding", name == "Cache-Status", name == "Age":
			delete(h, name)
		}
	}
	return &copying{cache: c, cached: cached{key: k, status: res.StatusCode, header: h, at: now}}
}

func (w *copying) write(p []byte) {
	if w.overflow = w.overflow || int64(len(w.body)+len(p)) > w.cache.maxEntry(); w.overflow {
		w.body = nil
		return
	}
	w.body = append(w.body, p...)
}

// done keeps the copy if the answer is whole: a document that has ended, or a
// stream with its terminal event, after which some SDKs close it. A stream that
// could only be taken for complete is not kept.
func (w *copying) done(o Outcome, m *meter, err error) {
	if w.overflow || o.Class != Success || m == nil {
		return
	}
	if m.Phase() == dialect.Terminal || !m.Streaming() && err == io.EOF && m.End() {
		w.cache.put(&w.cached)
	}
}
