package httpcache

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
	"github.com/seed-9e4f5248/snubber/internal/sieve"
)

// shelf is where answers are kept: in memory or, sealed, in the user's store. The
// cache does not depend on it: a store that fails has nothing, and one that is
// slow is left alone for a while.
type shelf struct {
	memory sieve.Cache[cacheKey, *cached]
	puts   atomic.Uint64 // how often something was stored
	index  sync.Mutex    // held while the index of a URL's variants is changed
	seal   seal

	aside   atomic.Int64 // until when the store is left alone, in unix nanoseconds
	pending atomic.Int32 // calls of the store under way
	owed    owed
}

const (
	// shelfTime bounds a call of a Store, which callers wait for. A disk or a cache
	// server in reach takes a few milliseconds.
	shelfTime = 250 * time.Millisecond
	// asideFor is how long a store that exceeded its time is left alone, and
	// maxPending how many calls of it, ended or not, may be under way.
	asideFor   = time.Second
	maxPending = 256
	// clockSkew is by how much the clocks of those who share a store may differ. What
	// was received later than that from now was so before a clock was set back, and
	// would stay fresh until it has caught up.
	clockSkew = time.Minute
	// portion is for how many bytes of an entry that time is granted.
	portion = 16 << 20
)

var errStoreBusy = errors.New("the store is too slow")

func (s *shelf) get(v *visit, key cacheKey) *cached {
	c := v.cache
	if c.Store == nil {
		e, _ := s.memory.Get(key, v.now)
		return e
	}
	var e *cached
	damaged := false
	err := s.ask(v, "get", func(ctx context.Context, more func(int)) error {
		r, err := c.Store.Get(ctx, key.String())
		if err != nil {
			return err
		}
		defer r.Close()
		if e, err = s.open(c, key, r, more); err == errEntry {
			damaged, err = true, nil
		}
		return err
	})
	switch {
	case err != nil:
		return nil
	case damaged:
		v.fault("damaged")
		s.drop(v, key)
		return nil
	case s.owed.covers(key, e.received):
		s.forget(v, key)
		return nil
	case e.size > c.maxEntry() || !v.now.Before(e.until(c)) || e.received.Sub(v.now) > clockSkew:
		return nil
	}
	return e
}

// open reads an entry. All of it is read before any is given: that is what makes
// one that was damaged a miss, and not an answer that breaks off. The body of one
// that is larger than a segment is not kept, but read again by who gives it.
func (s *shelf) open(c *Cache, key cacheKey, r io.Reader, more func(int)) (*cached, error) {
	u := s.seal.unseal(c, key, r)
	defer u.free()
	e, err := u.answer(c)
	if err != nil {
		return nil, err
	}
	if u.last {
		return e, e.readBody(u, more)
	}
	if e.size > c.maxEntry() {
		return e, nil // which get has no use for
	}
	id := u.id // and not a part of u, which would keep its buffer for as long as the answer is read
	e.far = &id
	for {
		u.plain = nil
		switch err := u.next(); err {
		case nil:
			more(len(u.plain))
		case io.EOF:
			return e, nil
		default:
			return nil, err
		}
	}
}

// reopen opens an entry once more, to read its body. The error is errEntry if it
// is another one now.
func (s *shelf) reopen(ctx context.Context, c *Cache, e *cached) (*unsealing, io.ReadCloser, error) {
	r, err := c.Store.Get(ctx, e.key.String())
	if err != nil {
		return nil, nil, err
	}
	u := s.seal.unseal(c, e.key, r)
	if _, err = u.head(); err == nil && u.id != *e.far {
		err = errEntry
	}
	if err != nil {
		u.free()
		r.Close()
		return nil, nil, err
	}
	return u, r, nil
}

// near is the answer with its body in memory, nil if that cannot be had.
func (s *shelf) near(v *visit, e *cached) *cached {
	if e == nil || e.far == nil {
		return e
	}
	near := *e
	near.far = nil
	if s.ask(v, "get", func(ctx context.Context, more func(int)) error {
		u, r, err := s.reopen(ctx, v.cache, e)
		if err != nil {
			return err
		}
		defer r.Close()
		defer u.free()
		return near.readBody(u, more)
	}) != nil {
		return nil
	}
	return &near
}

// put stores an answer, or drops what was there before if it cannot.
func (s *shelf) put(v *visit, e *cached) {
	c := v.cache
	defer s.puts.Add(1)
	until, now := e.until(c), time.Now()
	if e.size > c.maxEntry() || !now.Before(until) {
		s.forget(v, e.key) // what it would have replaced is out of date
		return
	}
	if c.Store == nil {
		if !s.memory.Put(e.key, e, e.weight(), until, now) {
			s.memory.Delete(e.key)
		}
		return
	}
	var id entryID
	if s.ask(v, "put", func(ctx context.Context, more func(int)) error {
		w, err := c.Store.Put(ctx, e.key.String(), until.Sub(now))
		if err != nil {
			return err
		}
		defer w.Abort()
		x := s.seal.begin(c, e.key, e.size+1024, w)
		id = x.id
		if e.far == nil {
			err = e.write(x, more)
		} else {
			err = s.copy(ctx, c, e, x, more)
		}
		if err != nil {
			return err
		}
		if err = w.Commit(); err == nil && ctx.Err() != nil {
			// Nobody has waited for it, and what it says may have been changed since.
			now := time.Now()
			s.owed.add(e.key, now)
			if c.Store.Delete(context.WithoutCancel(ctx), e.key.String()) == nil {
				s.owed.done(e.key, now)
			}
		}
		return err
	}) != nil {
		// Known to be there is only what was found; to forget whatever may be would
		// empty the store when it has been out of order for a while.
		if v.found != nil && e.far == nil {
			s.forget(v, v.found.key)
		}
		return
	}
	s.owed.done(e.key, e.received)
	if e.far != nil {
		e.far = &id
	}
}

// copy writes an answer with the body that is in the store.
func (s *shelf) copy(ctx context.Context, c *Cache, e *cached, x *sealing, more func(int)) error {
	u, r, err := s.reopen(ctx, c, e)
	if err != nil {
		return err
	}
	defer r.Close()
	defer u.free()
	if err := e.writeHead(x); err != nil {
		return err
	}
	for {
		if _, err := x.Write(u.plain); err != nil {
			return err
		}
		more(len(u.plain))
		u.plain = nil
		if err := u.next(); err == io.EOF {
			return x.end()
		} else if err != nil {
			return err
		}
	}
}

// forget deletes an entry that must not be given any more, even if the store does
// not do it now.
func (s *shelf) forget(v *visit, key cacheKey) {
	now := time.Now()
	if err := s.drop(v, key); err != nil {
		s.owed.add(key, now)
	} else if v.cache.Store != nil {
		s.owed.done(key, now)
	}
}

// drop deletes an entry that is of no use.
func (s *shelf) drop(v *visit, key cacheKey) error {
	if v.cache.Store == nil {
		s.memory.Delete(key)
		return nil
	}
	return s.ask(v, "delete", func(ctx context.Context, _ func(int)) error {
		return v.cache.Store.Delete(ctx, key.String())
	})
}

// owed are the entries that the store was told to delete and has not: it failed,
// was slow, or was not even asked. What was received before is none any more, in
// this process.
type owed struct {
	mu    sync.Mutex
	since map[cacheKey]int64 // unix nanoseconds: a store's entries know no monotonic clock
	all   int64              // the same for every key, where there were too many
}

// maxOwed is how many are told apart.
const maxOwed = 4096

func (o *owed) add(key cacheKey, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since == nil {
		o.since = make(map[cacheKey]int64)
	}
	if _, ok := o.since[key]; !ok && len(o.since) >= maxOwed {
		clear(o.since)
		o.all = at.UnixNano()
	}
	o.since[key] = at.UnixNano()
}

// done is told of what is no longer there: all that was received before.
func (o *owed) done(key cacheKey, before time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if since, ok := o.since[key]; ok && since <= before.UnixNano() {
		delete(o.since, key)
	}
}

func (o *owed) covers(key cacheKey, received time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	since, ok := o.since[key]
	return ok && received.UnixNano() <= since || received.UnixNano() <= o.all
}

// ask calls the store, for no longer than shelfTime or, where much is read or
// written, as long for each portion that f tells more of. A store need not mind
// its context: one that hangs is left behind, and a few of that kind end the asking.
func (s *shelf) ask(v *visit, op string, f func(ctx context.Context, more func(int)) error) error {
	if s.busy() {
		return errStoreBusy
	}
	// The caller's end is no reason to keep half of an entry, and its deadline
	// none to think the store slow. This one is later than all that is granted.
	portions := min(v.cache.maxEntry()/portion, 1000)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.req.Context()), shelfTime*time.Duration(portions+2))
	defer cancel()
	return s.wait(ctx, v, op, shelfTime, func(more func(int)) error { return f(ctx, more) })
}

// busy reports whether the store is to be left alone.
func (s *shelf) busy() bool {
	return time.Now().UnixNano() < s.aside.Load() || s.pending.Load() >= maxPending
}

// wait waits for f, which calls the store, until the limit, which more puts off,
// or the end of ctx. What f uses may then still be in use.
func (s *shelf) wait(ctx context.Context, v *visit, op string, limit time.Duration, f func(more func(int)) error) error {
	s.pending.Add(1)
	type outcome struct {
		err      error
		panicked any
	}
	done := make(chan outcome, 1)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	go func() {
		var o outcome
		defer func() {
			o.panicked = recover()
			s.pending.Add(-1)
			done <- o
		}()
		o.err = errStoreBusy // where it ends its goroutine
		n := 0
		o.err = f(func(more int) {
			if n += more; n >= portion {
				n = 0
				timer.Reset(limit)
			}
		})
	}()
	select {
	case o := <-done:
		if o.panicked != nil {
			panic(o.panicked)
		}
		if o.err != nil && !errors.Is(o.err, fs.ErrNotExist) && ctx.Err() == nil {
			v.fault(op)
		}
		return o.err
	case <-timer.C:
		s.aside.Store(time.Now().Add(asideFor).UnixNano())
		v.fault(op + " slow")
		return errStoreBusy
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fault tells of a store that failed. Its error may hold anything, and is not told.
func (v *visit) fault(what string) { v.call.StoreFault(what) }

func (k cacheKey) String() string { return hex.EncodeToString(k[:]) }

func (s *shelf) purge(c *Cache, forget func(Stored) bool) (n int, err error) {
	if c.Store != nil {
		return s.purgeStore(c, forget)
	}
	for key, e := range s.memory.All(time.Now()) {
		switch {
		case e.variants != nil:
			if forget == nil {
				s.memory.Delete(key)
			}
		case forget == nil || forget(e.public()):
			s.memory.Delete(key)
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
		e := s.peek(ctx, c, name)
		answer := e != nil && e.variants == nil
		if forget != nil && !(answer && forget(e.public())) {
			continue
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

// peek reads an entry but for its body. It is nil if there is none, or none of
// this cache's.
func (s *shelf) peek(ctx context.Context, c *Cache, name string) *cached {
	var key cacheKey
	if b, err := hex.DecodeString(name); err != nil || copy(key[:], b) != len(key) {
		return nil
	}
	r, err := c.Store.Get(ctx, name)
	if err != nil {
		return nil
	}
	defer r.Close()
	u := s.seal.unseal(c, key, r)
	defer u.free()
	e, err := u.answer(c)
	if err != nil {
		return nil
	}
	return e
}

func (e *cached) public() Stored {
	return Stored{Method: e.method, URL: e.url, Model: e.model, Status: e.status, Bytes: e.size, Since: e.received}
}

// renew puts an answer with new fields in the place of the one that had the old.
// They may say that it is selected by others than before, or is not to be stored
// any more: it is the same answer, but not where it was.
func (v *visit) renew(old, e *cached) {
	s := &v.cache.shelf
	before, _ := rfc9111.Vary(old.header)
	after, _ := rfc9111.Vary(e.header)
	refused := e.refused(v) != ""
	if !refused && slices.Equal(before, after) {
		s.put(v, e)
		return
	}
	if near := s.near(v, e); near != nil { // before its body is gone
		*e = *near
	}
	s.forget(v, old.key)
	if !refused && e.far == nil {
		e.key = e.primary
		v.store(e)
	}
}

// store puts an answer where requests like this one will find it: under the key
// of the URL or, where answers vary, under that of its variant.
func (v *visit) store(e *cached) {
	s := &v.cache.shelf
	v.now = time.Now()
	if !e.prompt && e.refused(v) != "" { // with the fields of a part that has completed it
		s.forget(v, e.key)
		return
	}
	names, _ := rfc9111.Vary(e.header)
	if e.prompt || len(names) == 0 {
		if e.status == http.StatusPartialContent {
			e = e.joined(s.get(v, e.key), v)
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
	x, e.key = x.with(v, names, v.req.Header)
	if e.status == http.StatusPartialContent {
		e = e.joined(s.get(v, e.key), v)
	}
	s.put(v, e)
	s.put(v, &cached{key: e.primary, primary: e.primary, method: e.method, url: e.url, received: v.now, variants: x})
}
