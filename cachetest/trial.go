package cachetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// trial is one check of one rule on one store.
type trial struct {
	snubber.CacheStore
	ctx    context.Context
	prefix string // of its keys, which nobody else has

	mu   sync.Mutex
	used map[string]bool
}

// failed is what fatalf panics with, so that a rule reads as straight as a test.
type failed struct{ error }

func (t *trial) fatalf(format string, args ...any) { panic(failed{fmt.Errorf(format, args...)}) }

func rule(name, doc string, check func(*trial)) Rule {
	return Rule{name, doc, func(s snubber.CacheStore) (err error) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		t := &trial{CacheStore: s, ctx: ctx, prefix: strings.ToLower(rand.Text()) + "-", used: map[string]bool{}}
		defer func() {
			for key := range t.used {
				s.Delete(ctx, key)
			}
		}()
		return t.try(func() { check(t) })
	}}
}

// try runs f and returns what it failed with, or panicked with.
func (t *trial) try(f func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failed:
			err = r.error
		default:
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	f()
	return nil
}

// together runs f n times at once and fails as the first of them that fails.
func (t *trial) together(n int, f func(i int)) {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = t.try(func() { f(i) }) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			panic(failed{err})
		}
	}
}

// key is a key of this trial.
func (t *trial) key(name string) string {
	key := t.prefix + name
	t.mu.Lock()
	t.used[key] = true
	t.mu.Unlock()
	return key
}

// begin begins an entry and writes it, in two pieces.
func (t *trial) begin(key string, data []byte) snubber.CacheWriter {
	w, err := t.Put(t.ctx, key, time.Hour)
	if err != nil || w == nil {
		t.fatalf("Put = %v, %v, want a writer", w, err)
	}
	t.write(w, data[:len(data)/3])
	t.write(w, data[len(data)/3:])
	return w
}

func (t *trial) write(w snubber.CacheWriter, data []byte) {
	if n, err := w.Write(data); n != len(data) || err != nil {
		t.fatalf("Write of %d bytes = %d, %v", len(data), n, err)
	}
}

func (t *trial) commit(w snubber.CacheWriter) {
	if err := w.Commit(); err != nil {
		t.fatalf("Commit = %v", err)
	}
}

func (t *trial) put(key string, data []byte) { t.commit(t.begin(key, data)) }

func (t *trial) open(key string) io.ReadCloser {
	r, err := t.Get(t.ctx, key)
	if err != nil || r == nil {
		t.fatalf("Get of an entry that is there = %v, %v", r, err)
	}
	return r
}

// holds fails unless the entry under the key is data, or nil for none.
func (t *trial) holds(key string, data []byte, when string) {
	r, err := t.Get(t.ctx, key)
	if data == nil {
		switch {
		case err == nil:
			r.Close()
			t.fatalf("%s there is an entry, want none", when)
		case !errors.Is(err, fs.ErrNotExist):
			t.fatalf("%s Get = %v, want an fs.ErrNotExist", when, err)
		case r != nil:
			t.fatalf("%s Get = both a reader and %v", when, err)
		}
		return
	}
	if err != nil {
		t.fatalf("%s Get = %v, want an entry of %d bytes", when, err, len(data))
	}
	got, err := io.ReadAll(r)
	if err != nil {
		t.fatalf("%s reading the entry: %v", when, err)
	}
	if !bytes.Equal(got, data) {
		t.fatalf("%s the entry is %s, want %s", when, show(got), show(data))
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.fatalf("%s Read at the end = %d, %v, want io.EOF again", when, n, err)
	}
	if err := r.Close(); err != nil {
		t.fatalf("%s closing the reader: %v", when, err)
	}
}

func show(data []byte) string {
	if len(data) > 40 {
		return fmt.Sprintf("%q... (%d bytes)", data[:40], len(data))
	}
	return fmt.Sprintf("%q", data)
}

// listed counts how often Keys yields each of the trial's keys.
func (t *trial) listed() map[string]int {
	n := make(map[string]int)
	for key, err := range t.Keys(t.ctx) {
		if err != nil {
			t.fatalf("Keys: %v", err)
		}
		if strings.HasPrefix(key, t.prefix) {
			n[key]++
		}
	}
	return n
}

// blob is data that tells its name at every place.
func blob(name string, size int) []byte {
	return bytes.Repeat([]byte(name+"\r\n\x00\xff"), size/(len(name)+4)+1)[:size]
}
