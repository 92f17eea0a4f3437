package cachestore

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/sieve"
)

// Config is what a [Storage] is made of.
type Config struct {
	Store         Store  // nil: entries are in memory
	Secret        []byte // for the entries of the Store
	MaxBytes      int64  // of the memory
	MaxEntryBytes int64  // of one body
	Policy        Policy
}

// Storage keeps entries, in memory or in a store. The cache does not depend on the
// store: one that fails has no entries, and one that is slow is not called for a
// while. A Storage is safe for concurrent use once Init has returned.
type Storage struct {
	config     Config
	memory     sieve.Cache[Key, *Entry]
	sealer     sealer
	calls      storeCalls
	tombstones tombstones
	puts       atomic.Uint32
}

// clockSkew is by how much the clocks of the processes that share a store may
// differ. An entry received later than that from now is older than a clock that was
// set back, and would stay fresh until that clock has caught up.
const clockSkew = time.Minute

// Init sets the storage up. It must be called once, before any other method.
func (s *Storage) Init(c Config) {
	s.config = c
	s.memory.Init(c.MaxBytes, c.MaxBytes)
	if c.Store != nil {
		s.sealer.init(c.Secret)
	}
}

// Puts counts the calls of Put, from zero again after the largest number. As long as
// it has not changed, a Get that found nothing would find nothing again.
func (s *Storage) Puts() uint32 { return s.puts.Load() }

// Get returns the entry of a key, nil if there is none or if it cannot be had.
func (s *Storage) Get(a Access, key Key) *Entry {
	if s.config.Store == nil {
		e, _ := s.memory.Get(key, a.Now)
		return e
	}
	return s.getRemote(a, key)
}

func (s *Storage) getRemote(a Access, key Key) *Entry {
	var e *Entry
	corrupt := false
	err := s.call(a, "get", func(ctx context.Context, progress func(int)) error {
		r, err := s.config.Store.Get(ctx, key.String())
		if err != nil {
			return err
		}
		defer r.Close()
		if e, err = s.read(key, r, progress); err == errCorruptEntry {
			corrupt, err = true, nil
		}
		return err
	})
	switch {
	case err != nil:
		return nil
	case corrupt:
		a.Owner.StoreFault("damaged")
		s.remove(a, key)
		return nil
	case s.tombstones.covers(key, e.Received):
		s.Delete(a, key)
		return nil
	case e.Size > s.config.MaxEntryBytes || !a.Now.Before(e.expires(s.config.Policy)) || e.Received.Sub(a.Now) > clockSkew:
		return nil
	}
	return e
}

// read reads an entry to its end before any of it is used, so that a corrupt entry
// is a miss and not a response that breaks off. The body of an entry of several
// segments is not kept: [Storage.Open] reads it again.
func (s *Storage) read(key Key, r io.Reader, progress func(int)) (*Entry, error) {
	x := s.sealer.newReader(key, r)
	defer x.release()
	e, err := readHead(x, s.config.Policy)
	if err != nil {
		return nil, err
	}
	if x.last {
		return e, e.readBody(x, progress)
	}
	if e.Size > s.config.MaxEntryBytes {
		return e, nil // getRemote rejects it
	}
	id := x.id // a copy, because a pointer into x would keep its buffer
	e.remoteID = &id
	for {
		x.plain = nil
		switch err := x.readSegment(); err {
		case nil:
			progress(len(x.plain))
		case io.EOF:
			return e, nil
		default:
			return nil, err
		}
	}
}

// reopen opens the body of a remote entry. The error is errCorruptEntry if the key
// has another entry by now. The caller releases the reader and closes its source.
func (s *Storage) reopen(ctx context.Context, e *Entry) (*entryReader, io.ReadCloser, error) {
	r, err := s.config.Store.Get(ctx, e.Key.String())
	if err != nil {
		return nil, nil, err
	}
	x := s.sealer.newReader(e.Key, r)
	if _, err = x.head(); err == nil && x.id != *e.remoteID {
		err = errCorruptEntry
	}
	if err != nil {
		x.release()
		r.Close()
		return nil, nil, err
	}
	return x, r, nil
}

// withBody calls use with the opened body of a remote entry.
func (s *Storage) withBody(ctx context.Context, e *Entry, use func(*entryReader) error) error {
	x, r, err := s.reopen(ctx, e)
	if err != nil {
		return err
	}
	defer r.Close()
	defer x.release()
	return use(x)
}

// Load returns the entry with its body in memory, nil if that cannot be had.
func (s *Storage) Load(a Access, e *Entry) *Entry {
	if e == nil || e.remoteID == nil {
		return e
	}
	loaded := *e
	loaded.remoteID = nil
	if s.call(a, "get", func(ctx context.Context, progress func(int)) error {
		return s.withBody(ctx, e, func(x *entryReader) error { return loaded.readBody(x, progress) })
	}) != nil {
		return nil
	}
	return &loaded
}

// Put stores an entry in the place of an earlier one of its key. If it cannot, the
// earlier one is deleted; and so is replaces, if not nil: the entry that the caller
// has found for the request, whose key may be another.
func (s *Storage) Put(a Access, e, replaces *Entry) {
	defer s.puts.Add(1)
	until, now := e.expires(s.config.Policy), time.Now()
	switch {
	case e.Size > s.config.MaxEntryBytes || !now.Before(until):
		s.Delete(a, e.Key) // the entry that it would have replaced is out of date
	case s.config.Store != nil:
		s.putRemote(a, e, replaces, until.Sub(now))
	case !s.memory.Put(e.Key, e, e.weight(), until, now):
		s.memory.Delete(e.Key)
	}
}

func (s *Storage) putRemote(a Access, e, replaces *Entry, ttl time.Duration) {
	var id entryID
	if s.call(a, "put", func(ctx context.Context, progress func(int)) error {
		w, err := s.config.Store.Put(ctx, e.Key.String(), ttl)
		if err != nil {
			return err
		}
		defer w.Abort()
		x := s.sealer.newWriter(e.Key, e.Size+1024, w)
		id = x.id
		if e.remoteID == nil {
			err = e.write(x, progress)
		} else {
			err = s.copyRemote(ctx, e, x, progress)
		}
		if err != nil {
			return err
		}
		if err = w.Commit(); err == nil && ctx.Err() != nil {
			s.retract(ctx, e.Key)
		}
		return err
	}) != nil {
		// Delete only the entry this request found. Deleting unconditionally would
		// empty the store after an outage.
		if replaces != nil && e.remoteID == nil {
			s.Delete(a, replaces.Key)
		}
		return
	}
	s.tombstones.remove(e.Key, e.Received)
	if e.remoteID != nil {
		e.remoteID = &id
	}
}

// copyRemote writes an entry whose body is in the store.
func (s *Storage) copyRemote(ctx context.Context, e *Entry, x *entryWriter, progress func(int)) error {
	return s.withBody(ctx, e, func(body *entryReader) error {
		if err := e.writeHead(x); err != nil {
			return err
		}
		for {
			if _, err := x.Write(body.plain); err != nil {
				return err
			}
			progress(len(body.plain))
			body.plain = nil
			if err := body.readSegment(); err == io.EOF {
				return x.finish()
			} else if err != nil {
				return err
			}
		}
	})
}

// retract deletes an entry that was committed after its call had been abandoned.
// The response may have changed since.
func (s *Storage) retract(ctx context.Context, key Key) {
	now := time.Now()
	s.tombstones.add(key, now)
	if s.config.Store.Delete(context.WithoutCancel(ctx), key.String()) == nil {
		s.tombstones.remove(key, now)
	}
}

// Delete deletes an entry that must not be used any more. If the store does not
// confirm that, a tombstone takes its place.
func (s *Storage) Delete(a Access, key Key) {
	now := time.Now()
	if err := s.remove(a, key); err != nil {
		s.tombstones.add(key, now)
	} else if s.config.Store != nil {
		s.tombstones.remove(key, now)
	}
}

// remove deletes an entry that is merely of no use.
func (s *Storage) remove(a Access, key Key) error {
	if s.config.Store == nil {
		s.memory.Delete(key)
		return nil
	}
	return s.call(a, "delete", func(ctx context.Context, _ func(int)) error {
		return s.config.Store.Delete(ctx, key.String())
	})
}

// call calls the store for as long as a request waits for it.
func (s *Storage) call(a Access, op string, f func(ctx context.Context, progress func(int)) error) error {
	if s.calls.suspended() {
		return errStoreSlow
	}
	// The end of the request is no reason to keep half of an entry, and its deadline
	// no reason to think the store slow. This deadline is later than all extensions.
	extensions := min(s.config.MaxEntryBytes/callBytes, 1000)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.Ctx), callTime*time.Duration(extensions+2))
	defer cancel()
	return s.calls.call(ctx, a.Owner, op, callTime, func(progress func(int)) error { return f(ctx, progress) })
}
