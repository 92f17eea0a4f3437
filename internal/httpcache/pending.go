package httpcache

import (
	"sync"
	"sync/atomic"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
)

// pendingStore is a response that may be stored, from when the server is asked until
// it is stored or is known not to be.
type pendingStore struct {
	key         cachestore.Key // of the resource
	invalidated atomic.Bool    // an unsafe request has changed the resource since
}

// pendingStores are all of a cache. Its mutex is a leaf: nothing is called under it.
type pendingStores struct {
	mu  sync.Mutex
	all map[*pendingStore]struct{}
}

func (s *pendingStores) track(p *pendingStore) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[*pendingStore]struct{})
	}
	s.all[p] = struct{}{}
}

func (s *pendingStores) untrack(p *pendingStore) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, p)
}

// invalidate marks every response in flight for key as outdated: the server may have
// produced it before the change. own, the response to the changing request itself,
// is exempt.
func (s *pendingStores) invalidate(key cachestore.Key, own *pendingStore) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.all {
		if p.key == key && p != own {
			p.invalidated.Store(true)
		}
	}
}
