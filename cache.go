package snubber

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/httpcache"
)

// Cache answers a request with a stored response, and lets identical requests that
// are made at the same time share one response. It is the outermost layer, so a hit
// costs no token and works while the circuit is open.
//
// For GET and HEAD it is a private cache as in RFC 9111: the server decides which
// responses may be stored, and for how long. A response delimited only by the closing
// of the connection is not stored, because a truncated one would look complete. Entries
// are never shared between credentials. Cookies count as a credential.
//
// Prompts are inference requests of a known format. Their responses are stored only if
// PromptTTL is set. The same prompt is the same credential, URL, header and body,
// whatever the order of the body's members. A stream and a document are responses to
// different requests. The cache does not store responses to prompts that depend on the
// world or on what the server has: a search of the web, tools that the server runs, a
// conversation, an agent, a prompt by its id. A call of OpenAI's Responses is stored by
// the server, and not here, unless it says "store": false. Cache-Status has the reason.
// It stores only complete, error-free responses from the primary route: a stream up to
// its terminal event.
//
// A stored response is returned byte for byte, and a stream in the chunks in which it
// came. The response to a prompt comes without the header fields that were true only
// once: quotas, waits, timings and cookies. Its request id is in X-Cached-Request-Id.
//
// While a response is in flight, identical requests share it: each gets its own reader,
// from the first byte, at its own speed. The upstream request is cancelled when the last
// caller has left. Failures are not shared. If a response is longer than MaxEntryBytes,
// its fastest reader can be that many bytes ahead of the slowest. A reader that blocks
// the others and reads nothing for 30 s gets an error.
//
// Every response says in Cache-Status (RFC 9211, as "snubber") how the cache took part,
// and so does the [Report]. Requests with a context of [WithNoCache] bypass the cache.
//
// A Cache is safe for concurrent use and must not be copied after first use. The zero
// Cache stores responses to GET and HEAD, in memory.
type Cache struct {
	// PromptTTL is how long the response to a prompt is fresh. If zero or negative,
	// none is stored. It overrules the no-store that providers send with every
	// completion, but not the Cache-Control of the request.
	PromptTTL time.Duration
	// StaleIfError is how long after its freshness a response may still be used if
	// the server cannot be reached or fails, in addition to what the response allows
	// (RFC 5861). If zero or negative, no longer than that: RFC 9111 permits it to a
	// cache that cannot reach the server (section 4.2.4), but a program that did not
	// ask for it would take the response for a new one. A response with
	// must-revalidate or no-cache is never used then.
	StaleIfError time.Duration

	// Store has the entries. If nil, they are in memory. A Store needs a Secret:
	// without one nothing is stored.
	Store CacheStore
	// MaxBytes bounds the memory for entries. If zero, it is 64 MiB; if negative,
	// there is no bound. A Store has its own.
	MaxBytes int64
	// MaxEntryBytes bounds one body. A longer response is not stored. If zero, it
	// is an eighth of MaxBytes; if negative, MaxBytes.
	MaxEntryBytes int64

	// ReplayDelay is the time between two chunks of a stored stream, for a program that
	// shows text as it is written. If zero or negative, there is no delay.
	ReplayDelay time.Duration

	// IgnoreFields names top-level members of a prompt's body that do not tell one prompt
	// from another, such as those of [CallerFields]. Their effect on the server is
	// lost: a response that was billed or traced to one user is returned to another.
	// If nil, the whole body counts.
	IgnoreFields []string
	// IgnoreHeaders names header fields, in any case, that do not tell one prompt from
	// another. All fields tell prompts apart, because a guardrail or a deployment can
	// be named in any, but those that say who asks, those of traces and of an SDK's
	// version, and those of the connection. A field that differs in each of 20
	// otherwise equal prompts is named in Cache-Status and in one event: it belongs
	// here, if the response does not depend on it.
	IgnoreHeaders []string
	// Key names what the response to a prompt depends on, in place of its body and
	// its header. Origin, path and credential count as well. If it returns "", the
	// request bypasses the cache. If nil, the whole body counts.
	Key func(req *http.Request, body []byte) string
	// Identity names the user whose responses a request may share, in place of its
	// credentials. It is for tokens that change and mean the same user, and for
	// signatures, such as those of AWS, which differ in every request. If nil, the
	// credentials count. Only a keyed hash of either is kept.
	Identity func(*http.Request) string
	// Secret keys the hashes by which entries are found, and the encryption of the
	// entries of a Store, which needs at least 32 bytes. If nil, it is random and
	// different in every process.
	Secret []byte

	once   sync.Once
	engine *httpcache.Cache
}

// CallerFields lists body fields that identify the end user and do not change the
// response. Use it as [Cache.IgnoreFields].
var CallerFields = []string{"user", "safety_identifier", "metadata", "prompt_cache_key"}

type noCacheKey struct{}

// WithNoCache returns a context whose requests bypass every [Cache].
func WithNoCache(ctx context.Context) context.Context {
	return context.WithValue(ctx, noCacheKey{}, true)
}

func (c *Cache) maxBytes() int64 { return orDefault(c.MaxBytes, 64<<20, 1<<62) }

func (c *Cache) maxEntry() int64 {
	all := c.maxBytes()
	return min(orDefault(c.MaxEntryBytes, all/8, all), all)
}

// cache returns the engine, which is made of the fields at first use.
func (c *Cache) cache() *httpcache.Cache {
	c.once.Do(func() {
		config := httpcache.Config{
			PromptTTL: c.PromptTTL, StaleIfError: c.StaleIfError, MaxBytes: c.maxBytes(), MaxEntryBytes: c.maxEntry(),
			ReplayDelay: c.ReplayDelay, IgnoreFields: c.IgnoreFields, IgnoreHeaders: c.IgnoreHeaders, Key: c.Key, Identity: c.Identity, Secret: c.Secret,
		}
		if c.Store != nil {
			config.Store = cacheStore{c.Store}
		}
		c.engine = httpcache.New(config)
	})
	return c.engine
}

// Purge deletes the responses for which forget returns true, of all credentials, and
// returns their number. A nil forget deletes everything. Responses that are in flight
// at the time may still be stored. The error is the Store's.
func (c *Cache) Purge(forget func(StoredResponse) bool) (int, error) {
	if forget == nil {
		return c.cache().Purge(nil)
	}
	return c.cache().Purge(func(s httpcache.StoredResponse) bool { return forget(StoredResponse(s)) })
}

// CacheStatus says how a [Cache] took part in a call. Its text is fit for a metric's
// label.
type CacheStatus string

const (
	CacheHit         CacheStatus = "hit"         // answered by a fresh stored response
	CacheStale       CacheStatus = "stale"       // a hit that is no longer fresh
	CacheRevalidated CacheStatus = "revalidated" // a hit that the server confirmed
	CacheMiss        CacheStatus = "miss"        // answered by the layers below
	CacheCollapsed   CacheStatus = "collapsed"   // answered by the call that another one had begun
	CacheBypass      CacheStatus = "bypass"      // the request was none for the cache
	// CacheStoreFailed is the status of an [EventCache] alone: a [CacheStore] failed,
	// and Detail says at what.
	CacheStoreFailed CacheStatus = "store"
)

// StoredResponse describes a response to the function of [Cache.Purge].
type StoredResponse struct {
	Method     string // GET or POST
	URL        string // of the request, without credentials
	Model      string // of a prompt
	Status     int
	Bytes      int64     // of the body
	ReceivedAt time.Time // when it was received, or last validated
}
