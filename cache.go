package snubber

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/httpcache"
)

// Cache answers what was answered before, and lets identical requests that come
// at the same time share one answer. It sits outside all other layers, so that a
// hit costs no token and works while the circuit is open.
//
// For GET and HEAD it is a private cache as RFC 9111 has it: the server says what
// may be kept and for how long. What only the end of its connection ends is not kept:
// it may have been cut. Each credential has, in effect, a cache of its own: what one
// was given, no other gets. Cookies are a credential.
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
// has left, whoever began it. Failures are not shared. Of an answer longer than
// MaxEntryBytes the fastest can be that much ahead of the slowest; who keeps others
// waiting by reading nothing for 30 s is cut off with an error.
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
	// itself allows (RFC 5861). If zero or negative, not beyond: RFC 9111 would let a
	// cache do so that cannot reach the server (section 4.2.4), but a program that
	// did not ask for it would take the answer for a new one. An answer with
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

	// ReplayDelay is the time between the pieces of a stream that is given again, for a
	// program that shows text as it is written. If zero or negative, all are there
	// at once.
	ReplayDelay time.Duration

	// IgnoreFields names top-level members of a prompt's body that do not tell one
	// prompt from another, such as those of [CallerFields]. It loses what the server
	// does with them: an answer billed or traced to one user is given to another.
	// If nil, the whole body counts.
	IgnoreFields []string
	// Key names what the answer to a prompt depends on, in place of its body and
	// its headers; origin, path and credential count besides. If it returns "",
	// the request passes the cache by. If nil, all of the body counts.
	Key func(req *http.Request, body []byte) string
	// Identity names whose answers a request may share, in place of its
	// credentials: for tokens that change and mean the same user, and signatures,
	// such as those of AWS, which would never be met again. If nil, the credentials
	// themselves, of which only a keyed hash is kept.
	Identity func(*http.Request) string
	// Secret keys the hashes under which answers are found and by which a Store's
	// entries are known to be genuine: at least 32 bytes where there is a Store.
	// If nil, it is random and differs in every process.
	Secret []byte

	once   sync.Once
	engine *httpcache.Cache
}

// CallerFields is for [Cache.IgnoreFields]: what tells the provider who asks, and
// changes nothing about the answer.
var CallerFields = []string{"user", "safety_identifier", "metadata", "prompt_cache_key"}

type noCacheKey struct{}

// WithNoCache makes the requests of the context pass every [Cache] by.
func WithNoCache(ctx context.Context) context.Context {
	return context.WithValue(ctx, noCacheKey{}, true)
}

func (c *Cache) maxBytes() int64 { return orDefault(c.MaxBytes, 64<<20, 1<<62) }

func (c *Cache) maxEntry() int64 {
	all := c.maxBytes()
	return min(orDefault(c.MaxEntryBytes, all/8, all), all)
}

// cache is the engine, made of the fields at first use.
func (c *Cache) cache() *httpcache.Cache {
	c.once.Do(func() {
		config := httpcache.Config{
			PromptTTL: c.PromptTTL, StaleIfError: c.StaleIfError, MaxBytes: c.maxBytes(), MaxEntryBytes: c.maxEntry(),
			ReplayDelay: c.ReplayDelay, IgnoreFields: c.IgnoreFields, Key: c.Key, Identity: c.Identity, Secret: c.Secret,
		}
		if c.Store != nil {
			config.Store = cacheStore{c.Store}
		}
		c.engine = httpcache.New(config)
	})
	return c.engine
}

// Purge forgets the answers for which forget returns true, whoever's they are,
// and returns how many. Answers are told by the method, the URL without the
// value of a key parameter, and for prompts the model; nil means all. What is
// on its way to the cache at the time may still be kept. The error is the Store's.
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

// StoredResponse is what [Cache.Purge] is told of an answer.
type StoredResponse struct {
	Method     string // GET or POST
	URL        string // as it was asked for, without credentials
	Model      string // of a prompt
	Status     int
	Bytes      int64     // of the body
	ReceivedAt time.Time // when it was received, or last confirmed
}
