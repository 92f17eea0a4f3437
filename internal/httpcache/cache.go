package httpcache

import (
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
)

// Cache is the engine. It is safe for concurrent use.
type Cache struct {
	core    core
	flights flightGroup
}

// New makes a Cache. It does not change the config.
func New(config Config) *Cache {
	c := new(Cache)
	c.core.init(config)
	return c
}

// StoredResponse is what [Cache.Purge] tells of a stored response.
type StoredResponse struct {
	Method     string
	URL        string // without credentials
	Model      string // of a prompt
	Status     int
	Bytes      int64     // of the body
	ReceivedAt time.Time // when it was received, or last validated
}

// Purge deletes the responses for which forget returns true, all if forget is nil, and
// returns their number. The error is the store's.
func (c *Cache) Purge(forget func(StoredResponse) bool) (int, error) {
	if forget == nil {
		return c.core.storage.Purge(nil)
	}
	return c.core.storage.Purge(func(e *cachestore.Entry) bool {
		return forget(StoredResponse{Method: e.Method, URL: e.URL, Model: e.Model, Status: e.Status, Bytes: e.Size, ReceivedAt: e.Received})
	})
}

// roundTrip is the way of one caller through the cache.
type roundTrip struct {
	lookup
	cache        *Cache
	bypassReason string        // why the cache takes no part; "": it does
	varying      string        // what keeps a prompt from being a hit, for Cache-Status
	tellVarying  bool          // in the event too
	pending      *pendingStore // of a bypass whose response may be stored

	// What release gives back if a function of the user panics.
	res      *http.Response // that the caller is about to get, from the cache or a shared body
	unshared *flight        // whose response is the caller's
	finished bool
}

// release is deferred by RoundTrip: it gives back what the caller would have got, had
// no function of the user panicked.
func (r *roundTrip) release() {
	if r.finished {
		return
	}
	r.call.ReleaseBody() // unless an exchange has it
	switch {
	case r.res != nil:
		r.res.Body.Close()
	case r.unshared != nil:
		r.unshared.exchange.Discard()
	}
}
