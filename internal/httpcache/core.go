package httpcache

import (
	"net/http"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
)

// Config is what the user has set. Where snubber.Cache has a default, it is already
// applied.
type Config struct {
	PromptTTL, StaleIfError time.Duration
	Store                   cachestore.Store
	MaxBytes, MaxEntryBytes int64 // positive
	ReplayDelay             time.Duration
	IgnoreFields            []string
	IgnoreHeaders           []string
	Key                     func(req *http.Request, body []byte) string
	Identity                func(*http.Request) string
	Secret                  []byte
}

// core is a cache without its flights: what the lookup of one request needs.
type core struct {
	Config
	policy  cachestore.Policy
	keys    promptKeys
	storage cachestore.Storage
	pending pendingStores
	varying varyingFieldWatch
	indexMu sync.Mutex // held while an index of variants is read, changed and written
}

func (c *core) init(config Config) {
	c.Config = config
	c.policy = cachestore.Policy{PromptTTL: c.PromptTTL, StaleIfError: c.StaleIfError}
	c.keys.init(c.Secret, c.Identity)
	c.keys.ignoreFields, c.keys.ignoreHeaders, c.keys.custom = c.IgnoreFields, c.IgnoreHeaders, c.Key
	c.storage.Init(cachestore.Config{
		Store: c.Store, Secret: c.keys.secret, MaxBytes: c.MaxBytes, MaxEntryBytes: c.MaxEntryBytes, Policy: c.policy,
	})
}

// storeUnsafe reports whether there is a Store whose entries could be forged or
// guessed, because the Secret is too short.
func (c *core) storeUnsafe() bool { return c.Store != nil && len(c.Secret) < minSecret }
