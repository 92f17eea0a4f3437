package cachestore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// mapStore is a store in memory. before is called before each operation, if not nil.
type mapStore struct {
	before func(ctx context.Context, op string) error

	mu sync.Mutex
	m  map[string][]byte
}

func (s *mapStore) ask(ctx context.Context, op string) error {
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(ctx, op)
}

func (s *mapStore) setBefore(f func(ctx context.Context, op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

func (s *mapStore) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if err := s.ask(ctx, "get"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.m[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (s *mapStore) Put(ctx context.Context, key string, _ time.Duration) (Writer, error) {
	if err := s.ask(ctx, "put"); err != nil {
		return nil, err
	}
	return &mapWriter{ctx: ctx, s: s, key: key}, nil
}

func (s *mapStore) Delete(ctx context.Context, key string) error {
	if err := s.ask(ctx, "delete"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, key)
	return nil
}

func (s *mapStore) Keys(context.Context) iter.Seq2[string, error] {
	s.mu.Lock()
	keys := slices.Collect(maps.Keys(s.m))
	s.mu.Unlock()
	return func(yield func(string, error) bool) {
		for _, key := range keys {
			if !yield(key, nil) {
				return
			}
		}
	}
}

func (s *mapStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.m)
}

type mapWriter struct {
	bytes.Buffer
	ctx context.Context
	s   *mapStore
	key string
}

func (w *mapWriter) Commit() error {
	if err := w.s.ask(w.ctx, "commit"); err != nil {
		return err
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.s.m == nil {
		w.s.m = make(map[string][]byte)
	}
	w.s.m[w.key] = bytes.Clone(w.Bytes())
	return nil
}

func (w *mapWriter) Abort() error { return nil }

// faults is an owner that notes what it is told.
type faults struct {
	mu     sync.Mutex
	ops    []string
	bodies []error
}

func (f *faults) StoreFault(op string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops = append(f.ops, op)
}

func (f *faults) BodyFailed(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bodies = append(f.bodies, err)
}

// newStorage makes a storage over store, nil for one in memory.
func newStorage(store Store) *Storage {
	s := new(Storage)
	s.Init(Config{Store: store, Secret: make([]byte, 32), MaxBytes: 1 << 20, MaxEntryBytes: 1 << 19})
	return s
}

// entry is a response of size bytes that is fresh for a minute.
func entry(key Key, size int) *Entry {
	e := large(size)
	now := time.Now()
	e.Key, e.Primary, e.Requested, e.Received = key, key, now, now
	e.Header = http.Header{"Cache-Control": {"max-age=60"}, "A": {"1", "2"}}
	e.Prepare(Policy{})
	return e
}

// body is the body of an entry, wherever it is.
func body(t *testing.T, s *Storage, a Access, e *Entry) []byte {
	t.Helper()
	if !e.Remote() {
		return bytes.Join(e.Chunks, nil)
	}
	r := s.Open(a, e, 0, e.Size, nil)
	if r == nil {
		t.Fatal("Open = nil")
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("Read: %v", err)
	}
	return b
}

// An entry is found as it was stored, in memory or in a store, until it is deleted.
func TestStorage(t *testing.T) {
	for name, store := range map[string]Store{"memory": nil, "store": &mapStore{}} {
		for _, size := range []int{0, 100, 3 * segmentSize} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, owner := newStorage(store), new(faults)
					a := func() Access { return Access{Ctx: t.Context(), Now: time.Now(), Owner: owner} }
					e := entry(Key{1}, size)
					want := bytes.Join(e.Chunks, nil)
					if got := s.Get(a(), e.Key); got != nil {
						t.Errorf("Get = %+v before Put", got)
					}
					puts := s.Puts()
					s.Put(a(), e, nil)
					if s.Puts() == puts {
						t.Error("Puts has not changed")
					}
					got := s.Get(a(), e.Key)
					if got == nil || !bytes.Equal(body(t, s, a(), got), want) || got.Remote() != (store != nil && size > segmentSize) {
						t.Fatalf("Get = %+v", got)
					}
					if loaded := s.Load(a(), got); loaded == nil || loaded.Remote() || !bytes.Equal(bytes.Join(loaded.Chunks, nil), want) {
						t.Errorf("Load = %+v", loaded)
					}
					// A remote body is copied when its entry is stored again.
					again := got.Updated(Policy{}, http.Header{"B": {"3"}}, time.Now(), time.Now())
					s.Put(a(), again, nil)
					if !bytes.Equal(body(t, s, a(), again), want) {
						t.Error("the updated entry itself has another body")
					}
					if got := s.Get(a(), e.Key); got == nil || got.Header.Get("B") != "3" || !bytes.Equal(body(t, s, a(), got), want) {
						t.Errorf("Get = %+v after an update", got)
					}
					s.Delete(a(), e.Key)
					if got := s.Get(a(), e.Key); got != nil {
						t.Errorf("Get = %+v after Delete", got)
					}
					if len(owner.ops) > 0 || len(owner.bodies) > 0 {
						t.Errorf("faults %v, %v", owner.ops, owner.bodies)
					}
				})
			})
		}
	}
}

// An entry that is too large, has expired or was received in the future is not found,
// and the entry that it would have replaced is deleted.
func TestStorageRejects(t *testing.T) {
	for name, spoil := range map[string]func(*Entry){
		"too large": func(e *Entry) { *e = *entry(e.Key, 1<<19+1) },
		"expired": func(e *Entry) {
			e.Received = e.Received.Add(-48 * time.Hour)
			e.Requested = e.Received
			e.Prepare(Policy{})
		},
	} {
		for kind, store := range map[string]Store{"memory": nil, "store": &mapStore{}} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newStorage(store)
					a := Access{Ctx: t.Context(), Now: time.Now(), Owner: new(faults)}
					s.Put(a, entry(Key{1}, 10), nil)
					e := entry(Key{1}, 20)
					spoil(e)
					s.Put(a, e, nil)
					if got := s.Get(a, Key{1}); got != nil {
						t.Errorf("Get = %+v", got)
					}
				})
			})
		}
	}
}

// What a store that fails, damages or is slow costs: a miss, a report, and a pause.
func TestStorageFaults(t *testing.T) {
	failed := errors.New("failed")
	for _, tt := range []struct {
		name    string
		before  func(ctx context.Context, op string) error
		damage  bool
		faults  []string
		backoff bool // the store is not called for a while
	}{
		{name: "fails", before: func(context.Context, string) error { return failed }, faults: []string{"get"}},
		{name: "is slow", before: func(context.Context, string) error { time.Sleep(time.Second); return nil }, faults: []string{"get slow"}, backoff: true},
		{name: "hangs", before: func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }, faults: []string{"get slow"}, backoff: true},
		{name: "damages", damage: true, faults: []string{"damaged"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, owner := &mapStore{}, new(faults)
				s := newStorage(store)
				a := func() Access { return Access{Ctx: t.Context(), Now: time.Now(), Owner: owner} }
				s.Put(a(), entry(Key{1}, 10), nil)
				if tt.damage {
					store.m[Key{1}.String()][30] ^= 1
				}
				store.setBefore(tt.before)
				if got := s.Get(a(), Key{1}); got != nil {
					t.Errorf("Get = %+v", got)
				}
				if !slices.Equal(owner.ops, tt.faults) {
					t.Errorf("faults %q, want %q", owner.ops, tt.faults)
				}
				if tt.damage && store.count() != 0 {
					t.Error("the damaged entry is still there")
				}
				store.setBefore(func(context.Context, string) error { return failed })
				s.Get(a(), Key{1})
				if called := len(owner.ops) > len(tt.faults); called == tt.backoff {
					t.Errorf("then the store is called: %v, want %v", called, !tt.backoff)
				}
				time.Sleep(time.Minute) // for the abandoned call
			})
		})
	}
}

// If an entry cannot be stored, the one that it replaces is deleted, even if its key is
// another; but not if it is the same body that was to be written again.
func TestStoragePutFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &mapStore{}
		s := newStorage(store)
		a := Access{Ctx: t.Context(), Now: time.Now(), Owner: new(faults)}
		old := entry(Key{1}, 3*segmentSize)
		s.Put(a, old, nil)
		remote := s.Get(a, Key{1})
		store.before = func(_ context.Context, op string) error {
			if op == "put" {
				return errors.New("full")
			}
			return nil
		}
		s.Put(a, remote.Updated(Policy{}, http.Header{}, time.Now(), time.Now()), remote)
		if s.Get(a, Key{1}) == nil {
			t.Error("an entry that was to be written again is deleted")
		}
		s.Put(a, entry(Key{2}, 10), remote)
		if s.Get(a, Key{1}) != nil {
			t.Error("the entry that was to be replaced is still there")
		}
	})
}

// An entry that is committed after its call was abandoned is deleted again.
func TestStorageCommitTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &mapStore{before: func(_ context.Context, op string) error {
			if op == "commit" {
				time.Sleep(10 * time.Second)
			}
			return nil
		}}
		s := newStorage(store)
		a := Access{Ctx: t.Context(), Now: time.Now(), Owner: new(faults)}
		s.Put(a, entry(Key{1}, 10), nil)
		if time.Since(a.Now) > time.Second {
			t.Errorf("Put takes %v", time.Since(a.Now))
		}
		time.Sleep(time.Minute)
		if store.count() != 0 {
			t.Error("the entry is in the store")
		}
	})
}

func TestStoragePurge(t *testing.T) {
	for name, store := range map[string]Store{"memory": nil, "store": &mapStore{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStorage(store)
				a := Access{Ctx: t.Context(), Now: time.Now(), Owner: new(faults)}
				for i := range 4 {
					s.Put(a, entry(Key{byte(i)}, 10*i), nil)
				}
				s.Put(a, &Entry{Key: Key{9}, Received: time.Now(), Variants: &Variants{}}, nil)
				if n, err := s.Purge(func(e *Entry) bool { return e.Size > 10 }); n != 2 || err != nil {
					t.Errorf("Purge = %d, %v, want 2", n, err)
				}
				if s.Get(a, Key{1}) == nil || s.Get(a, Key{2}) != nil || s.Get(a, Key{9}) == nil {
					t.Error("Purge deletes others")
				}
				if n, err := s.Purge(nil); n != 2 || err != nil || s.Get(a, Key{9}) != nil {
					t.Errorf("Purge = %d, %v, want 2 and the index deleted", n, err)
				}
			})
		})
	}
}

// A part of a body is read by itself, the end of the request ends the reading, and a
// store that fails meanwhile is an error after right bytes.
func TestSegmentedBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, owner := &mapStore{}, new(faults)
		s := newStorage(store)
		ctx, cancel := context.WithCancel(t.Context())
		a := Access{Ctx: ctx, Now: time.Now(), Owner: owner}
		e := entry(Key{1}, 5*segmentSize)
		e.Trailer = http.Header{"T": {"end"}}
		want := bytes.Join(e.Chunks, nil)
		s.Put(a, e, nil)
		remote := s.Get(a, Key{1})

		announced := AnnounceTrailer(remote.Trailer)
		b := s.Open(a, remote, 70_000, 1000, announced)
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, want[70_000:71_000]) || announced.Get("T") != "end" {
			t.Errorf("%d bytes, %v, trailer %v", len(got), err, announced)
		}
		b.Close()

		b = s.Open(a, remote, 0, remote.Size, nil)
		store.m[Key{1}.String()][4*segmentSize] ^= 1
		if got, err := io.ReadAll(b); err != ErrRead || !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix(want, got) {
			t.Errorf("%d bytes, %v, want ErrRead", len(got), err)
		}
		b.Close()
		if !slices.Equal(owner.bodies, []error{ErrRead}) || !slices.Equal(owner.ops, []string{"get", "damaged"}) {
			t.Errorf("the owner is told %v and %v", owner.bodies, owner.ops)
		}
		store.m[Key{1}.String()][4*segmentSize] ^= 1

		b = s.Open(a, remote, 0, remote.Size, nil)
		b.Read(make([]byte, 10))
		cancel()
		if _, err := io.ReadAll(b); err != context.Canceled {
			t.Errorf("after the end of the request: %v", err)
		}
		if b := s.Open(Access{Ctx: t.Context(), Now: time.Now(), Owner: owner}, remote, 0, 10, nil); b != nil {
			b.Close()
			if _, err := b.Read(make([]byte, 1)); err != http.ErrBodyReadAfterClose {
				t.Errorf("after Close: %v", err)
			}
		}
	})
}
