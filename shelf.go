package snubber

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// shelf is where answers are kept: in memory or, sealed, in the user's store. The
// cache does not depend on it: a store that fails has nothing, and one that is
// slow is left alone for a while.
type shelf struct {
	memory memory[cacheKey, *cached]
	puts   atomic.Uint64 // how often something was stored
	index  sync.Mutex    // held while the index of a URL's variants is changed
	seal   seal

	aside   atomic.Int64 // until when the store is left alone, in unix nanoseconds
	pending atomic.Int32 // calls of the store under way
}

const (
	// shelfTime bounds a call of a Store, which callers wait for. A disk or a cache
	// server in reach takes a few milliseconds.
	shelfTime = 250 * time.Millisecond
	// asideFor is how long a store that exceeded its time is left alone, and
	// maxPending how many calls of it, ended or not, may be under way.
	asideFor   = time.Second
	maxPending = 256
)

var errStoreBusy = errors.New("the store is too slow")

func (s *shelf) get(v *visit, key cacheKey) *cached {
	c := v.cache
	if c.Store == nil {
		e, _ := s.memory.get(key, v.now)
		return e
	}
	var sealed []byte
	err := s.ask(v, "get", func(ctx context.Context) error {
		r, err := c.Store.Get(ctx, key.String())
		if err != nil {
			return err
		}
		defer r.Close()
		limit := c.maxEntry() + maxEntryHead
		// All of it is read before any is given: that is what makes an entry that
		// was damaged a miss, and not an answer that breaks off.
		b, err := io.ReadAll(io.LimitReader(r, limit+1))
		if err == nil && int64(len(b)) <= limit {
			sealed = b
		}
		return err
	})
	if err != nil || sealed == nil {
		return nil
	}
	e, ok := s.seal.open(c, key, sealed)
	if !ok {
		v.fault("damaged")
		s.drop(v, key)
		return nil
	}
	if !v.now.Before(e.until(c)) {
		return nil
	}
	return e
}

func (s *shelf) put(v *visit, e *cached) {
	c := v.cache
	defer s.puts.Add(1)
	until, now := e.until(c), time.Now()
	if e.size > c.maxEntry() || !now.Before(until) {
		s.drop(v, e.key) // what it would have replaced is out of date
		return
	}
	if c.Store == nil {
		if !s.memory.put(e.key, e, e.weight(), until, now) {
			s.memory.delete(e.key)
		}
		return
	}
	sealed := s.seal.close(c, e)
	s.ask(v, "put", func(ctx context.Context) error {
		w, err := c.Store.Put(ctx, e.key.String(), until.Sub(now))
		if err != nil {
			return err
		}
		defer w.Abort()
		if _, err := w.Write(sealed); err != nil {
			return err
		}
		return w.Commit()
	})
}

func (s *shelf) drop(v *visit, key cacheKey) {
	if v.cache.Store == nil {
		s.memory.delete(key)
		return
	}
	s.ask(v, "delete", func(ctx context.Context) error {
		return v.cache.Store.Delete(ctx, key.String())
	})
}

// ask calls the store, for no longer than shelfTime. A store need not mind its
// context: one that hangs is left behind, and a few of that kind end the asking.
func (s *shelf) ask(v *visit, op string, f func(context.Context) error) error {
	if time.Now().UnixNano() < s.aside.Load() || s.pending.Load() >= maxPending {
		return errStoreBusy
	}
	s.pending.Add(1)
	// The caller's end is no reason to keep half of an entry, and its deadline
	// none to think the store slow.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.call.ctx()), shelfTime)
	defer cancel()
	type outcome struct {
		err      error
		panicked any
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			o.panicked = recover()
			s.pending.Add(-1)
			done <- o
		}()
		o.err = errStoreBusy // where it ends its goroutine
		o.err = f(ctx)
	}()
	select {
	case o := <-done:
		if o.panicked != nil {
			panic(o.panicked)
		}
		if o.err != nil && !errors.Is(o.err, fs.ErrNotExist) {
			if ctx.Err() != nil {
				s.aside.Store(time.Now().Add(asideFor).UnixNano())
			}
			v.fault(op)
		}
		return o.err
	case <-ctx.Done():
		s.aside.Store(time.Now().Add(asideFor).UnixNano())
		v.fault(op + " slow")
		return errStoreBusy
	}
}

// fault tells of a store that failed. Its error may hold anything, and is not told.
func (v *visit) fault(what string) {
	if o := v.call.t.Observe; o != nil {
		o(Event{Kind: EventCache, Time: time.Now(), Key: originKey(v.call.view(), v.call.asked.model).String(), Cache: "store", Detail: what})
	}
}

func (k cacheKey) String() string { return hex.EncodeToString(k[:]) }

func (s *shelf) purge(c *Cache, forget func(Stored) bool) (n int, err error) {
	if c.Store != nil {
		return s.purgeStore(c, forget)
	}
	for key, e := range s.memory.all(time.Now()) {
		switch {
		case e.variants != nil:
			if forget == nil {
				s.memory.delete(key)
			}
		case forget == nil || forget(e.public()):
			s.memory.delete(key)
			n++
		}
	}
	return n, nil
}

func (s *shelf) purgeStore(c *Cache, forget func(Stored) bool) (n int, err error) {
	ctx := context.Background()
	for name, err := range c.Store.Keys(ctx) {
		if err != nil {
			return n, err
		}
		answer := true
		if forget != nil {
			var key cacheKey
			if b, err := hex.DecodeString(name); err != nil || copy(key[:], b) != len(key) {
				continue
			}
			r, err := c.Store.Get(ctx, name)
			if err != nil {
				continue // it has gone meanwhile
			}
			b, err := io.ReadAll(io.LimitReader(r, c.maxEntry()+maxEntryHead))
			r.Close()
			if err != nil {
				continue
			}
			e, ok := s.seal.open(c, key, b)
			if !ok || e.variants != nil || !forget(e.public()) {
				continue
			}
		}
		if err := c.Store.Delete(ctx, name); err != nil {
			return n, err
		}
		if answer {
			n++
		}
	}
	return n, nil
}

func (e *cached) public() Stored {
	return Stored{Method: e.method, URL: e.url, Model: e.model, Status: e.status, Bytes: e.size, Since: e.received}
}

// store puts an answer where requests like this one will find it: under the key
// of the URL or, where answers vary, under that of its variant.
func (v *visit) store(e *cached) {
	s := &v.cache.shelf
	v.now = time.Now()
	names, _ := rfc9111.Vary(e.header)
	if e.prompt || len(names) == 0 {
		if e.status == http.StatusPartialContent {
			e = e.joined(s.get(v, e.key), v.cache)
		}
		s.put(v, e)
		return
	}
	if v.cache.Store == nil { // several processes would need a lock of their store's; without it a variant may be forgotten
		s.index.Lock()
		defer s.index.Unlock()
	}
	var x *variants
	if p := s.get(v, e.primary); p != nil {
		x = p.variants
	}
	x, e.key = x.with(v, names, v.call.in.Header)
	if e.status == http.StatusPartialContent {
		e = e.joined(s.get(v, e.key), v.cache)
	}
	s.put(v, e)
	s.put(v, &cached{key: e.primary, primary: e.primary, method: e.method, url: e.url, received: v.now, variants: x})
}
