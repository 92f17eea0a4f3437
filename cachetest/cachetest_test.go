package cachetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/cachetest"
)

// store is a plain store in a map, to show that the rules can be kept. Each
// field is a mistake that can be made in it.
type store struct {
	missIsNil    bool // no error for a miss
	missIsOther  bool // an error of its own for a miss
	both         bool // an error and a reader
	prefixes     bool // finds a key by its beginning
	text         bool // takes bytes for lines of text
	last         bool // keeps the last piece of an entry only
	limit        int  // of bytes, beyond which they are dropped
	later        bool // makes an entry visible at the second look
	fold         bool // keys without their dashes
	cut          int  // of bytes of a key that count
	wrap         bool // adds a ttl to the time without a look at the sum
	eager        bool // makes an entry visible as it is written
	early        bool // lists a key before its entry is committed
	emptied      bool // deletes the older entry when the next one is begun
	abortCommits bool
	abortDeletes bool
	undo         bool // Abort after Commit deletes
	abortFails   bool // Abort after Commit is an error
	goOn         bool // a writer goes on after its end
	overwrite    bool // writes over the older entry's bytes in place
	append       bool // lists a key once for each entry that it had
	strict       bool // Delete of none is an error
	wide         bool // Delete deletes the keys that begin with the key, too
	keep         bool // Delete keeps the key in the list
	forgets      bool // lists no more than a page
	locked       bool // holds the lock while it lists
	deaf         bool // does not stop when the loop is left
	live         bool // a reader reads what is under the key now
	borrow       bool // keeps what it is given
	lend         bool // hands out what it has
	hush         bool // says that nothing is there when the context is done
	half         bool // commits what there is when the context is done
	torn         bool // makes a new entry visible in two steps
	sharded      bool // loses what was put while another was

	mu            sync.Mutex
	m             map[string][]byte
	listed        []string
	shy           map[string]bool
	busy          int // writers that have not ended
	begun         int
	partial, seen bool // the entry is half of one, and was looked at
}

func (s *store) name(key string) string {
	if s.fold {
		key = strings.ReplaceAll(key, "-", "")
	}
	if s.cut > 0 && len(key) > s.cut {
		key = key[:s.cut]
	}
	return key
}

func (s *store) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hush && ctx.Err() != nil {
		return nil, fs.ErrNotExist
	}
	key = s.name(key)
	s.seen = s.seen || s.partial
	data, ok := s.m[key]
	if s.later && s.shy[key] {
		delete(s.shy, key)
		ok = false
	}
	if s.prefixes && !ok {
		for k, v := range s.m {
			if strings.HasPrefix(k, key) {
				data, ok = v, true
			}
		}
	}
	switch {
	case ok:
	case s.missIsNil:
		return io.NopCloser(strings.NewReader("")), nil
	case s.missIsOther:
		return nil, errors.New("no such key")
	case s.both:
		return io.NopCloser(strings.NewReader("")), fs.ErrNotExist
	default:
		return nil, fmt.Errorf("%s: %w", key, fs.ErrNotExist)
	}
	if s.live {
		return io.NopCloser(&liveReader{s: s, key: key}), nil
	}
	if s.lend {
		return io.NopCloser(bytes.NewBuffer(data)), nil
	}
	return io.NopCloser(bytes.NewReader(bytes.Clone(data))), nil
}

type liveReader struct {
	s   *store
	key string
	i   int
}

func (r *liveReader) Read(p []byte) (int, error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	data := r.s.m[r.key]
	if r.i >= len(data) {
		return 0, io.EOF
	}
	n := copy(p, data[r.i:])
	r.i += n
	return n, nil
}

func (s *store) Put(ctx context.Context, key string, ttl time.Duration) (snubber.CacheWriter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key = s.name(key)
	if s.m == nil {
		s.m, s.shy = map[string][]byte{}, map[string]bool{}
	}
	s.busy++
	s.begun++
	for s.sharded && s.begun < 2 {
		s.mu.Unlock()
		runtime.Gosched()
		s.mu.Lock()
	}
	if s.emptied {
		delete(s.m, key)
	}
	if s.early {
		s.listed = append(s.listed, key)
	}
	w := &writer{s: s, ctx: ctx, key: key}
	if s.wrap && int64(ttl)+time.Now().UnixNano() < 0 {
		w.lost = true
	}
	return w, nil
}

type writer struct {
	s        *store
	ctx      context.Context
	key      string
	data     []byte
	lost     bool
	ended    bool
	borrowed [][]byte
}

func (w *writer) Write(p []byte) (int, error) {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.ended && !s.goOn {
		return 0, fs.ErrClosed
	}
	n := len(p)
	if s.text {
		p = bytes.ReplaceAll(p, []byte("\r\n"), []byte("\n"))
	}
	if s.last {
		w.data = nil
	}
	if s.borrow {
		w.borrowed = append(w.borrowed, p)
		return n, nil
	}
	w.data = append(w.data, p...)
	if s.limit > 0 && len(w.data) > s.limit {
		w.data = w.data[:s.limit]
	}
	if s.eager {
		s.m[w.key] = bytes.Clone(w.data)
	}
	return n, nil
}

func (w *writer) Commit() error {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.ended && !s.goOn {
		return fs.ErrClosed
	}
	w.ended = true
	busy := s.busy
	s.busy--
	if s.sharded && busy > 1 || w.lost {
		return nil
	}
	if s.borrow {
		w.data = bytes.Join(w.borrowed, nil)
	}
	data := w.data
	if err := w.ctx.Err(); err != nil {
		if !s.half {
			return err
		}
		data = data[:len(data)/2]
	}
	if s.overwrite {
		data = append(data[:len(data):len(data)], s.m[w.key][min(len(data), len(s.m[w.key])):]...)
	}
	if s.torn {
		// The first entry has no readers. The next is half there until one has seen it.
		for first := s.m[w.key] == nil; !first && !s.seen; {
			s.m[w.key], s.partial = data[:len(data)/2], true
			s.mu.Unlock()
			runtime.Gosched()
			s.mu.Lock()
		}
		s.partial = false
	}
	s.m[w.key] = data
	s.shy[w.key] = true
	if s.append || s.keep {
		s.listed = append(s.listed, w.key)
	}
	return nil
}

func (w *writer) Abort() error {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !w.ended {
		s.busy--
		if s.abortCommits {
			s.m[w.key] = w.data
		}
		if s.abortDeletes || s.eager {
			delete(s.m, w.key)
		}
	} else if s.abortFails {
		return fs.ErrClosed
	} else if s.undo {
		delete(s.m, w.key)
	}
	w.ended = true
	return nil
}

func (s *store) Delete(ctx context.Context, key string) error {
	if !s.deaf { // else the rules that follow could not clean up
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	key = s.name(key)
	if _, ok := s.m[key]; !ok && s.strict {
		return fs.ErrNotExist
	}
	delete(s.m, key)
	if s.wide {
		maps.DeleteFunc(s.m, func(k string, _ []byte) bool { return strings.HasPrefix(k, key) })
	}
	return nil
}

func (s *store) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if ctx.Err() != nil {
			if !s.hush {
				yield("", ctx.Err())
			}
			return
		}
		s.mu.Lock()
		var all []string
		for key := range s.m {
			all = append(all, key)
		}
		if s.append || s.keep {
			all = s.listed
		} else {
			all = append(all, s.listed...)
		}
		if s.locked {
			if len(all) > 0 { // a real one would wait for itself for ever
				defer func() { panic("Delete within Keys: all goroutines are asleep") }()
			}
		}
		s.mu.Unlock()
		for i, key := range all {
			if s.forgets && i == 100 {
				return
			}
			if !yield(key, nil) && !s.deaf {
				return
			}
		}
	}
}

func TestRulesCanBeKept(t *testing.T) {
	cachetest.Run(t, func(*testing.T) snubber.CacheStore { return &store{} })
	shared := &store{}
	cachetest.Run(t, func(*testing.T) snubber.CacheStore { return shared })
	if len(shared.m) > 0 {
		t.Errorf("the rules left %d entries behind", len(shared.m))
	}
}

func TestRulesCanFail(t *testing.T) {
	rules := map[string]cachetest.Rule{}
	for _, r := range cachetest.Rules() {
		if rules[r.Name].Check != nil {
			t.Errorf("two rules have the name %s", r.Name)
		}
		rules[r.Name] = r
	}
	shown := map[string]bool{}
	for _, b := range []struct {
		rule string
		says string // part of the error, to show that it is the right one
		s    *store
	}{
		{"miss", "there is an entry, want none", &store{missIsNil: true}},
		{"miss", "want an fs.ErrNotExist", &store{missIsOther: true}},
		{"miss", "both a reader and", &store{both: true}},
		{"miss", "under the beginning of a key", &store{prefixes: true}},
		{"verbatim", `the entry is "verbatim\n\x00`, &store{text: true}},
		{"verbatim", "the entry is", &store{last: true}},
		{"verbatim", "(1000 bytes)", &store{limit: 1000}},
		{"verbatim", "after Commit Get = ", &store{later: true}},
		{"any-key", "the entry is", &store{fold: true}},
		{"any-key", "the entry is", &store{cut: 127}},
		{"long-ttl", "within a ttl of 2562047h47m16.854775807s the entry is", &store{wrap: true}},
		{"visible-at-commit", "before Commit there is an entry", &store{eager: true}},
		{"visible-at-commit", "Keys yields a key", &store{early: true}},
		{"visible-at-commit", "before Commit of the next entry Get =", &store{emptied: true}},
		{"abort", "after Abort there is an entry", &store{abortCommits: true}},
		{"abort", "after Abort of the next entry Get =", &store{abortDeletes: true}},
		{"writer-ends", "after Commit and Abort Get =", &store{undo: true}},
		{"writer-ends", "Abort after Commit = ", &store{abortFails: true}},
		{"writer-ends", "Write after Commit is no error", &store{goOn: true}},
		{"replace", "took the place of another", &store{overwrite: true}},
		{"replace", "written again 5 times", &store{append: true}},
		{"delete", "Delete = file does not exist", &store{strict: true}},
		{"delete", "after Delete of another key Get =", &store{wide: true}},
		{"delete", "Keys yields a deleted key", &store{keep: true}},
		{"keys", "does not yield", &store{forgets: true}},
		{"keys", "2 times", &store{early: true}},
		{"keys-loop", "asleep", &store{locked: true}},
		{"keys-loop", "panic: ", &store{deaf: true}},
		{"reader-stays", "while it was read is", &store{live: true}},
		{"own-bytes", "another use", &store{borrow: true}},
		{"own-bytes", "a reader's buffer", &store{lend: true}},
		{"context-done", "Get with a context that is done says", &store{hush: true}},
		{"context-done", "after a Commit while the context was done", &store{half: true}},
		{"concurrent-keys", "among other keys", &store{sharded: true}},
		{"concurrent-writers", "that nobody wrote", &store{torn: true}},
	} {
		r, ok := rules[b.rule]
		if !ok {
			t.Errorf("there is no rule %s", b.rule)
			continue
		}
		shown[b.rule] = true
		if err := r.Check(b.s); err == nil || !strings.Contains(err.Error(), b.says) {
			t.Errorf("%s: Check = %v, want an error that says %q", b.rule, err, b.says)
		}
	}
	for name := range rules {
		if !shown[name] {
			t.Errorf("nothing here breaks %s", name)
		}
	}
}
