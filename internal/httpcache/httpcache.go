// Package httpcache is a private HTTP cache (RFC 9111) that also caches the
// answers to AI prompts and lets identical requests share one upstream exchange.
// It knows nothing of the transport around it but the two interfaces below.
package httpcache

import (
	"context"
	"io"
	"iter"
	"net/http"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// Config is what the user has set.
type Config struct {
	PromptTTL, StaleIfError time.Duration
	Store                   Store
	MaxBytes, MaxEntryBytes int64 // resolved: no zero, no negative
	Pace                    time.Duration
	Ignore                  []string
	Key                     func(req *http.Request, body []byte) string
	Identity                func(*http.Request) string
	Secret                  []byte
}

// Store is snubber.CacheStore.
type Store interface {
	Get(ctx context.Context, key string) (io.ReadCloser, error)
	Put(ctx context.Context, key string, ttl time.Duration) (Writer, error)
	Delete(ctx context.Context, key string) error
	Keys(ctx context.Context) iter.Seq2[string, error]
}

// Writer is snubber.CacheWriter.
type Writer interface {
	io.Writer
	Commit() error
	Abort() error
}

// Stored is snubber.Stored.
type Stored struct {
	Method string
	URL    string
	Model  string
	Status int
	Bytes  int64
	Since  time.Time
}

// Cache is the engine.
type Cache struct {
	Config

	once    sync.Once
	secret  []byte
	keyers  sync.Pool
	shelf   shelf
	flights flights
}

// New returns a Cache.
func New(c Config) *Cache { return &Cache{Config: c} }

func (c *Cache) maxBytes() int64 { return c.MaxBytes }
func (c *Cache) maxEntry() int64 { return c.MaxEntryBytes }

// Facts are what the transport knows of a request.
type Facts struct {
	NoCache    bool // the caller's context says so
	Inference  bool
	Known      bool // the wire format is one whose answers can be judged
	Stream     bool
	Background bool
	Model      string
	Priority   int
}

// Values is the part of a context that an exchange takes over from its caller.
type Values interface{ Value(key any) any }

// Caller is one round trip, as the cache sees it.
type Caller interface {
	// Request is the caller's own. The cache never writes to it.
	Request() *http.Request
	Facts() Facts
	// HookRequest is the request as functions of the user get it.
	HookRequest() *http.Request
	// WithBody calls use with the whole request body without consuming it, and
	// reports false if it cannot be had.
	WithBody(use func(body []byte)) bool
	// Values are the context values that an exchange may keep.
	Values() Values

	// Start makes an exchange for the same request, which takes the body over.
	Start(ctx context.Context, stale StaleSource) Exchange
	// Reclaim takes the request body back from an exchange that has ended.
	Reclaim(Exchange)
	// Bypass sends the caller's own request. inspect sees the answer before the
	// caller does.
	Bypass(inspect Inspector) (*http.Response, error)

	// Account books what an exchange has cost.
	Account(Exchange)
	// Deliver gives the caller its answer: from's own, or a stored one if from is nil.
	Deliver(res *http.Response, err error, from Exchange) (*http.Response, error)
	// DeliverShared gives the caller a reader on from's answer while that arrives.
	DeliverShared(res *http.Response, from Exchange) (*http.Response, error)
	// Settle records how the caller's part ended, err nil for a success: as from
	// did, if that is not nil.
	Settle(err error, from Exchange)
	// Abandon lets go of the request body: a function of the user has panicked.
	Abandon()

	// Status records how the cache took part.
	Status(status, detail string)
	// StoreFault reports a store that failed.
	StoreFault(op string)
}

// Inspector looks at, and may change, an answer that passes by the cache.
type Inspector interface {
	Inspect(Answer)
}

// StaleSource has a stored answer to fall back on.
type StaleSource interface {
	Stale(c Caller, now time.Time) *http.Response
}

// Exchange is one request to the layers below the cache.
type Exchange interface {
	// Request is the exchange's own: its headers may be changed before Send.
	Request() *http.Request
	Send() Answer
	// Discard lets go of the answer.
	Discard()
	// Again makes another exchange for the same request, which takes the body and
	// the account over.
	Again(ctx context.Context, stale StaleSource) Exchange
	// Waiting reports that the request is still in a queue.
	Waiting() bool
	// Complete reports that what was read of the body is a whole answer.
	Complete() bool
}

// Answer is what an exchange came to.
type Answer struct {
	Response  *http.Response
	Err       error
	Canceled  bool // Err is the caller's own end
	Rerouted  bool // another route than the primary has given it
	Truncated bool // only the beginning of its body was kept
}

// RoundTrip answers a request: from what is stored, from another exchange that is
// under way, or from the layers below.
func (c *Cache) RoundTrip(caller Caller) (*http.Response, error) {
	v := &visit{cache: c, call: caller, req: caller.Request(), facts: caller.Facts(), now: time.Now()}
	if v.opened(); v.kind == passing {
		return v.pass()
	}
	v.look()
	if use := v.use(); use != rfc9111.Validate {
		if res, err, ok := v.hit(use); ok {
			return res, err
		}
	}
	switch {
	case v.q.OnlyIfCached:
		return v.nothing()
	case v.kind == heading:
		return v.pass()
	}
	return v.fly()
}

// Purge forgets the answers for which forget returns true.
func (c *Cache) Purge(forget func(Stored) bool) (int, error) {
	c.init()
	return c.shelf.purge(c, forget)
}
