package cachestore

import (
	"context"
	"time"
)

// Purge deletes the responses for which forget returns true, all entries if forget
// is nil, and returns the number of responses that it has deleted. The error is the
// store's. Unlike other methods it waits for the store as long as it takes.
func (s *Storage) Purge(forget func(*Entry) bool) (n int, err error) {
	if s.config.Store != nil {
		return s.purgeRemote(forget)
	}
	for key, e := range s.memory.All(time.Now()) {
		switch {
		case e.Variants != nil:
			if forget == nil {
				s.memory.Delete(key)
			}
		case forget == nil || forget(e):
			s.memory.Delete(key)
			n++
		}
	}
	return n, nil
}

func (s *Storage) purgeRemote(forget func(*Entry) bool) (n int, err error) {
	ctx := context.Background()
	for name, err := range s.config.Store.Keys(ctx) {
		if err != nil {
			return n, err
		}
		e := s.peek(ctx, name)
		response := e != nil && e.Variants == nil
		if forget != nil && !(response && forget(e)) {
			continue
		}
		if err := s.config.Store.Delete(ctx, name); err != nil {
			return n, err
		}
		if response {
			n++
		}
	}
	return n, nil
}

// peek reads an entry without its body. It returns nil if there is no entry of this
// cache.
func (s *Storage) peek(ctx context.Context, name string) *Entry {
	key, ok := parseKey(name)
	if !ok {
		return nil
	}
	r, err := s.config.Store.Get(ctx, name)
	if err != nil {
		return nil
	}
	defer r.Close()
	x := s.sealer.newReader(key, r)
	defer x.release()
	e, err := readHead(x, s.config.Policy)
	if err != nil {
		return nil
	}
	return e
}
