package snubber

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/dialect"
	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// Cache answers what was answered before, and lets identical requests that come
// at the same time share one answer. It sits outside all other layers, so that a
// hit costs no token and works while the circuit is open.
//
// For GET and HEAD it is a private cache as RFC 9111 has it: the server says what
// may be kept and for how long. Each credential has, in effect, a cache of its
// own: what one was given, no other gets. Cookies are a credential.
//
// For prompts, which are inference requests of a known format, the program must
// say so with PromptTTL. The answer to the same prompt is then given again: same
// credential, URL and body, whatever the order of the body's members. Never kept
// are answers that leave something behind on the server (store, background,
// previous_response_id, conversation, tools that the server runs), and never any
// but a whole and error-free one of the call's own route, streams up to their
// terminal event. A stream and a document are answers to different requests.
//
// What is kept is given again byte for byte and, of a stream, in the pieces in
// which it came. A prompt's answer comes without what was true only then: quotas,
// waits, timings, cookies; its request id is in X-Cached-Request-Id.
//
// While an answer is on its way, equal requests get a reader each on it, at their
// own pace and from its first byte. The shared call lives until the last of them
// has left, whoever began it. Failures are not shared.
//
// Every response says in Cache-Status (RFC 9211, as "snubber") how the cache took
// part, and so does the [Report]. Requests of [WithNoCache] pass it by.
//
// It is safe for concurrent use and must not be copied after first use. The zero
// Cache is one for GET and HEAD, in memory.
type Cache struct {
	// PromptTTL is how long an answer to a prompt is kept. If zero or negative,
	// none is. It overrules the no-store that providers send with every
	// completion; the request's own Cache-Control counts.
	PromptTTL time.Duration
	// StaleIfError is for how long after its end of freshness an answer may be
	// given when the server cannot be reached or fails, beyond what the answer
	// itself allows (RFC 5861). If zero or negative, not beyond. An answer with
	// must-revalidate or no-cache is never given then.
	StaleIfError time.Duration

	// Store keeps the answers. If nil, they are in memory. With a Store, the
	// Secret must be set, or nothing is kept.
	Store CacheStore
	// MaxBytes bounds the memory for answers. If zero, 64 MiB; if negative, there
	// is no bound. A Store has a bound of its own.
	MaxBytes int64
	// MaxEntryBytes bounds one answer; a longer one passes and is not kept. If
	// zero, an eighth of MaxBytes; if negative, MaxBytes does.
	MaxEntryBytes int64

	// Ignore names top-level members of a prompt's body that do not tell one
	// prompt from another, such as those of [IgnoreTags]. It loses what the server
	// does with them: an answer billed or traced to one user is given to another.
	// If nil, the whole body counts.
	Ignore []string
	// Key names what the answer to a prompt depends on, in place of its body and
	// its headers; origin, path and credential count besides. If it returns "",
	// the request passes the cache by. If nil, all of the body counts.
	Key func(req *http.Request, body []byte) string
	// Identity names whose answers a request may share, in place of its
	// credentials: for tokens that change and mean the same user. If nil, the
	// credentials themselves, of which only a keyed hash is kept.
	Identity func(*http.Request) string
	// Secret keys the hashes under which answers are found and by which a Store's
	// entries are known to be genuine: at least 32 bytes where there is a Store.
	// If nil, it is random and differs in every process.
	Secret []byte

	once    sync.Once
	secret  []byte
	keyers  sync.Pool
	shelf   shelf
	flights flights
}

// IgnoreTags is for [Cache.Ignore]: what tells the provider who asks, and
// changes nothing about the answer.
var IgnoreTags = []string{"user", "safety_identifier", "metadata", "prompt_cache_key"}

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

// visit is the way of one call through the cache.
type visit struct {
	cache  *Cache
	call   *call
	q      rfc9111.Request
	kind   visitKind
	key    cacheKey
	index  *variants // under key, where answers vary
	found  *cached   // what is stored for the request, fresh or not
	now    time.Time
	bypass string // why the request is none for the cache
	fwd    string // why it goes to the server, a value of RFC 9211
	puts   uint64 // of the shelf, when it was looked into
	reader *reader
}

type visitKind uint8

const (
	passing visitKind = iota
	getting
	heading // a HEAD, which a stored GET answers, and which stores nothing
	prompting
)

// answer gives the call its answer: from what is stored, from another call that
// is under way, or from the layers below.
func (c *Cache) answer(call *call) (*http.Response, error) {
	v := visit{cache: c, call: call, now: time.Now()}
	if v.opened(); v.kind == passing {
		return v.pass()
	}
	v.look()
	switch use := v.use(); {
	case use == rfc9111.Fresh:
		return v.hit(v.found, "hit", "")
	case use == rfc9111.Stale:
		return v.hit(v.found, "stale", "max-stale")
	case use == rfc9111.Refresh:
		v.refresh()
		return v.hit(v.found, "stale", "stale-while-revalidate")
	case v.q.OnlyIfCached:
		return v.nothing()
	case v.kind == heading:
		return v.pass()
	}
	return v.fly()
}

// opened finds out what the request is to the cache. Functions of the user that
// are asked for the key may panic.
func (v *visit) opened() {
	done := false
	defer func() {
		if !done {
			v.call.replay.end(v.call.in.Body)
		}
	}()
	if v.bypass = v.open(); v.bypass != "" {
		v.kind = passing
	}
	done = true
}

func (v *visit) open() (bypass string) {
	c, in := v.cache, v.call.in
	v.fwd = "bypass"
	if in.Context().Value(noCacheKey{}) != nil {
		return "no-cache context"
	}
	asked := &v.call.asked
	switch in.Method {
	case "", http.MethodGet:
		v.kind = getting
	case http.MethodHead:
		v.kind = heading
	case http.MethodPost:
		v.fwd = "method"
		switch {
		case !asked.inference:
			return "method"
		case c.PromptTTL <= 0:
			return "no PromptTTL"
		case asked.format == dialect.Unknown:
			return "unknown format"
		}
		v.fwd = "bypass"
		v.kind = prompting
	default:
		v.fwd = "method"
		return "method"
	}
	v.q = rfc9111.ReadRequest(in.Header)
	switch {
	case v.q.NoStore:
		v.fwd = "request"
		return "request no-store"
	case v.q.Origin:
		return "precondition"
	case c.Store != nil && len(c.Secret) < minSecret:
		return "no secret"
	case in.Header["Upgrade"] != nil:
		return "upgrade"
	case v.kind != prompting && in.Body != nil && in.Body != http.NoBody:
		return "request body"
	}
	if v.kind != prompting {
		v.key = c.keyOf(in)
		return ""
	}
	switch {
	case asked.background:
		return "background"
	case v.q.Range, v.q.Conditional, in.Header["Content-Encoding"] != nil:
		return "conditions"
	}
	return v.promptKey()
}

// look finds what is stored for the request.
func (v *visit) look() {
	c := v.cache
	v.fwd = "uri-miss"
	v.puts = c.shelf.puts.Load()
	v.found, v.index = c.shelf.get(v, v.key), nil
	if v.found != nil && v.found.variants != nil {
		v.index, v.found = v.found.variants, nil
		v.fwd = "vary-miss"
		v.found = v.index.find(v)
	}
	if v.found != nil && !v.found.legible(v.call.in.Header) {
		v.found, v.fwd = nil, "vary-miss"
	}
	if e := v.found; e != nil && e.status == http.StatusPartialContent && (v.kind == heading || v.q.Conditional) {
		v.found, v.fwd = nil, "partial"
	}
}

// use decides about what was found, and notes why the server must be asked.
func (v *visit) use() rfc9111.Use {
	if v.found == nil {
		return rfc9111.Validate
	}
	use := v.found.meta.Use(&v.q, v.now)
	if v.found.status == http.StatusPartialContent && (use == rfc9111.Validate || !v.found.serves(v)) {
		v.fwd = "partial"
		return rfc9111.Validate
	}
	if v.kind == prompting && v.now.Sub(v.found.received) >= v.cache.PromptTTL {
		use = rfc9111.Validate
	}
	if use == rfc9111.Validate {
		v.fwd = "stale"
		if v.found.meta.TTL(v.now) > 0 {
			v.fwd = "request"
		}
	}
	return use
}

// pass lets the call go on as if there were no cache, and looks at what it has
// changed on the server.
func (v *visit) pass() (*http.Response, error) {
	how := "bypass"
	if v.bypass == "" {
		how = "miss"
	}
	v.note(how, v.bypass)
	var r result
	v.call.ask(&r)
	if r.res != nil {
		v.passed(&r)
		r.res.Header = r.res.Header.Clone()
		status(r.res.Header, "; fwd="+v.fwd, v.bypass)
	}
	return v.call.deliver(&r)
}

// passed draws the conclusions from an answer that is not itself stored.
func (v *visit) passed(r *result) {
	c, in, res := v.cache, v.call.in, r.res
	if v.kind == heading {
		if v.found == nil {
			return
		}
		switch rfc9111.Head(res.StatusCode, v.found.header, res.Header) {
		case rfc9111.Update:
			c.shelf.put(v, v.found.freshened(c, res.Header, v.now, time.Now()))
		case rfc9111.Drop:
			c.shelf.drop(v, v.found.key)
		}
		return
	}
	if v.call.asked.inference || !rfc9111.Invalidates(in.Method, res.StatusCode) {
		return
	}
	v.invalidate(c.keyOf(in))
	for _, target := range rfc9111.Targets(in.URL, res.Header) {
		at := *in
		at.URL, at.Host = target, ""
		v.invalidate(c.keyOf(&at))
	}
	if in.Method == http.MethodPost && rfc9111.SameTarget(in.URL, res.Header) {
		v.keep(r)
	}
}

// invalidate forgets what is stored under a key, and sees that what is under way
// to it, which the server may have said before the change, is not stored after.
func (v *visit) invalidate(key cacheKey) {
	v.cache.shelf.drop(v, key)
	t := &v.cache.flights
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, fl := range t.m {
		if fl.visit.key == key {
			fl.doubtful.Store(true)
			delete(t.m, k)
		}
	}
}

// keep stores the answer to a POST that says of itself that it is what a GET of
// the same URL would give, and for how long (RFC 9110, section 9.3.3).
func (v *visit) keep(r *result) {
	res, now := r.res, time.Now()
	meta := rfc9111.Read(res.StatusCode, res.Header, v.now, now)
	if v.q = rfc9111.ReadRequest(v.call.in.Header); v.bypass != "method" || !meta.Explicit() || meta.Unstorable(&v.q, 0) != "" || r.cut ||
		r.a == nil || r.a.how == rerouted || v.cache.Store != nil && len(v.cache.Secret) < minSecret {
		return
	}
	at := new(visit)
	*at = *v
	at.kind, at.key = getting, v.cache.keyOf(v.call.in)
	e := &cached{
		key: at.key, primary: at.key, method: http.MethodGet, url: publicURL(v.call.in.URL), status: res.StatusCode,
		header: at.kept(res.Header, now), uncompressed: res.Uncompressed, requested: v.now, received: now,
	}
	e.prepare(v.cache)
	res.Body = &keeping{ReadCloser: res.Body, visit: at, length: res.ContentLength, e: e}
}

// keeping stores a body that passes, if it ends well.
type keeping struct {
	io.ReadCloser
	visit  *visit
	length int64
	e      *cached // nil when it is done, or too long
}

func (k *keeping) Read(p []byte) (int, error) {
	n, err := k.ReadCloser.Read(p)
	e := k.e
	if e == nil {
		return n, err
	}
	if e.size += int64(n); n > 0 {
		e.chunks = append(e.chunks, append([]byte(nil), p[:n]...))
	}
	if err != nil || e.size > k.visit.cache.maxEntry() {
		k.e = nil
	}
	if err == io.EOF && (k.length < 0 || k.length == e.size) {
		k.visit.store(e)
	}
	return n, err
}

// nothing is what only-if-cached gets where there is nothing.
func (v *visit) nothing() (*http.Response, error) {
	v.note("miss", "only-if-cached")
	h := make(http.Header, 2)
	h["Content-Length"] = []string{"0"}
	status(h, "; fwd="+v.fwd, "only-if-cached")
	return v.deliver(&http.Response{
		Status: "504 Gateway Timeout", StatusCode: http.StatusGatewayTimeout,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: http.NoBody,
	})
}

// hit answers with what is stored.
func (v *visit) hit(e *cached, how, why string) (*http.Response, error) {
	v.note(how, why)
	ttl := e.meta.TTL(v.now)
	line := make([]byte, 0, 40)
	line = append(line, "; hit; ttl="...)
	return v.deliver(e.response(v, appendSeconds(line, ttl), why))
}

// deliver hands a response to the caller that no attempt of this call gave.
func (v *visit) deliver(res *http.Response) (*http.Response, error) {
	v.call.settle(&Outcome{Class: Success})
	return v.call.deliver(&result{res: res, o: Outcome{Class: Success}})
}

// note puts into the report how the cache took part, and why.
func (v *visit) note(how, why string) {
	root := v.call.root()
	root.mu.Lock()
	d := root.detours()
	d.cache, d.why = how, why
	root.mu.Unlock()
	if o := v.call.t.Observe; o != nil {
		o(Event{Kind: EventCache, Time: time.Now(), Key: originKey(v.call.view(), v.call.asked.model).String(), Cache: how, Detail: why})
	}
}

// stale is the stored answer to the request whose flight the call is, if it may
// be given without the server's word, however old it is.
func (c *call) stale(now time.Time) (*http.Response, bool) {
	d := c.detour.Load()
	if d == nil || d.visit == nil || d.visit.found == nil {
		return nil, false
	}
	v := *d.visit
	v.now, v.call = now, c
	if !v.found.serves(&v) || !v.found.meta.StaleIfError(&v.q, now, 1<<62) {
		return nil, false
	}
	return v.found.response(&v, []byte("; fwd=stale"), "fallback"), true
}

// Purge forgets the answers for which forget returns true, whoever's they are,
// and returns how many. Answers are told by the method, the URL without the
// value of a key parameter, and for prompts the model; nil means all. What is
// on its way to the cache at the time may still be kept. The error is the Store's.
func (c *Cache) Purge(forget func(Stored) bool) (int, error) {
	c.init()
	return c.shelf.purge(c, forget)
}

// Stored is what [Cache.Purge] is told of an answer.
type Stored struct {
	Method string // GET or POST
	URL    string // as it was asked for, without credentials
	Model  string // of a prompt
	Status int
	Bytes  int64     // of the body
	Since  time.Time // when it was received, or last confirmed
}

// status adds the cache's line to a header, which must be the response's own.
// What the server said under the cache's name is not believed; other caches' lines
// stay, the nearest to the server first (RFC 9211, section 2).
func status(h http.Header, params, detail string) {
	line := "snubber" + params
	if detail != "" {
		line += `; detail="` + detail + `"`
	}
	var lines []string
	delete(h, "X-Cached-Request-Id")
	for _, old := range h["Cache-Status"] {
		if !strings.Contains(strings.ToLower(old), "snubber") {
			lines = append(lines, old)
		}
	}
	h["Cache-Status"] = append(lines, line)
}
