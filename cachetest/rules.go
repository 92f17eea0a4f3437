package cachetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync/atomic"
	"time"
)

func miss(t *trial) {
	t.holds(t.key("none"), nil, "before anything was written")
	t.put(t.key("one"), []byte("1"))
	t.holds(t.key("on"), nil, "under the beginning of a key that is there")
	t.holds(t.key("one1"), nil, "under more than a key that is there")
}

func verbatim(t *trial) {
	for _, size := range []int{0, 1, 100, 4096, 65_536, 1<<20 + 7} {
		key, data := t.key(fmt.Sprint(size)), blob("verbatim", size)
		t.put(key, data)
		for range 2 {
			t.holds(key, data, "after Commit")
		}
	}
	// Many small pieces, as a stream comes in.
	key, data := t.key("pieces"), blob("pieces", 10_000)
	w := t.begin(key, nil)
	for piece := range bytes.SplitAfterSeq(data, []byte("\n")) {
		t.write(w, piece)
	}
	t.commit(w)
	t.holds(key, data, "after Commit of many pieces")
}

func anyKey(t *trial) {
	long := t.key(strings.Repeat("z9-a", 32)[:128-len(t.prefix)])
	names := []string{long, long[:len(long)-1], t.key("0"), t.key("-"), t.key("--"), t.key("-a"), t.key("a-"), t.key("a"), t.key("aa"), t.key("abcdefghijklmnopqrstuvwxyz-0123456789")}
	t.key(long[len(t.prefix) : len(long)-1])
	for _, name := range names {
		t.put(name, []byte(name))
	}
	for _, name := range names {
		t.holds(name, []byte(name), fmt.Sprintf("under the key %q", name))
	}
}

func longTTL(t *trial) {
	for _, ttl := range []time.Duration{time.Minute, 24 * time.Hour, 100 * 365 * 24 * time.Hour, 1<<63 - 1} {
		key := t.key("ttl")
		w, err := t.Put(t.ctx, key, ttl)
		if err != nil {
			t.fatalf("Put with a ttl of %v: %v", ttl, err)
		}
		t.write(w, []byte(ttl.String()))
		t.commit(w)
		t.holds(key, []byte(ttl.String()), fmt.Sprintf("within a ttl of %v", ttl))
	}
}

func visibleAtCommit(t *trial) {
	key, first, second := t.key("k"), blob("first", 100_000), blob("second", 90_000)
	w := t.begin(key, first)
	t.holds(key, nil, "before Commit")
	if n := t.listed()[key]; n > 0 {
		t.fatalf("Keys yields a key whose entry is not committed")
	}
	t.commit(w)
	t.holds(key, first, "after Commit")
	w = t.begin(key, second)
	t.holds(key, first, "before Commit of the next entry")
	t.commit(w)
	t.holds(key, second, "after Commit of the next entry")
}

func abort(t *trial) {
	key, first := t.key("k"), blob("first", 1000)
	for _, when := range []string{"with no entry", "with an entry"} {
		w := t.begin(key, blob("aborted", 100_000))
		if err := w.Abort(); err != nil {
			t.fatalf("%s: Abort = %v", when, err)
		}
		if when == "with no entry" {
			t.holds(key, nil, "after Abort")
			if n := t.listed()[key]; n > 0 {
				t.fatalf("Keys yields a key whose entry was aborted")
			}
			t.put(key, first)
		}
	}
	t.holds(key, first, "after Abort of the next entry")
}

func writerEnds(t *trial) {
	key, data := t.key("committed"), []byte("whole")
	w := t.begin(key, data)
	t.commit(w)
	if err := w.Abort(); err != nil {
		t.fatalf("Abort after Commit = %v, want nil", err)
	}
	t.holds(key, data, "after Commit and Abort")
	if _, err := w.Write([]byte("more")); err == nil {
		t.fatalf("Write after Commit is no error")
	}
	t.holds(key, data, "after Commit and Write")
	if err := w.Commit(); err == nil {
		t.fatalf("a second Commit is no error")
	}
	t.holds(key, data, "after a second Commit")

	key = t.key("aborted")
	w = t.begin(key, data)
	w.Abort()
	w.Abort()
	if _, err := w.Write([]byte("more")); err == nil {
		t.fatalf("Write after Abort is no error")
	}
	if err := w.Commit(); err == nil {
		t.fatalf("Commit after Abort is no error")
	}
	t.holds(key, nil, "after Abort and Commit")
}

func replace(t *trial) {
	key := t.key("k")
	for _, size := range []int{10, 100_000, 1000, 0, 1} {
		data := blob(fmt.Sprint("entry of ", size), size)
		t.put(key, data)
		t.holds(key, data, fmt.Sprintf("after an entry of %d bytes took the place of another", size))
	}
	if n := t.listed()[key]; n != 1 {
		t.fatalf("Keys yields a key that was written again %d times", n)
	}
}

func deleted(t *trial) {
	keys := []string{t.key("a"), t.key("aa"), t.key("b")}
	for _, key := range keys {
		t.put(key, []byte(key))
	}
	for range 2 {
		if err := t.Delete(t.ctx, keys[0]); err != nil {
			t.fatalf("Delete = %v", err)
		}
		t.holds(keys[0], nil, "after Delete")
	}
	if n := t.listed()[keys[0]]; n > 0 {
		t.fatalf("Keys yields a deleted key")
	}
	for _, key := range keys[1:] {
		t.holds(key, []byte(key), "after Delete of another key")
	}
	t.put(keys[0], []byte("again"))
	t.holds(keys[0], []byte("again"), "written again after Delete")
}

func keys(t *trial) {
	want := make(map[string]bool)
	for i := range 300 {
		key := t.key(fmt.Sprint(i))
		t.put(key, []byte(key))
		want[key] = true
	}
	for key, n := range t.listed() {
		if n != 1 || !want[key] {
			t.fatalf("Keys yields %s %d times (written: %v)", key, n, want[key])
		}
		delete(want, key)
	}
	for key := range want {
		t.fatalf("Keys does not yield %s, and %d others of 300", key, len(want)-1)
	}
}

func keysLoop(t *trial) {
	for i := range 20 {
		t.put(t.key(fmt.Sprint(i)), []byte("x"))
	}
	for range t.Keys(t.ctx) { // a store that goes on panics here
		break
	}
	for key, err := range t.Keys(t.ctx) {
		if err != nil {
			t.fatalf("Keys while its keys are deleted: %v", err)
		}
		if strings.HasPrefix(key, t.prefix) {
			if err := t.Delete(t.ctx, key); err != nil {
				t.fatalf("Delete within Keys: %v", err)
			}
		}
	}
	if left := t.listed(); len(left) > 0 {
		t.fatalf("%d of 20 entries are left after each was deleted in the loop", len(left))
	}
}

func readerStays(t *trial) {
	old := blob("old", 1<<20)
	for _, what := range []string{"replaced", "replaced by a longer one", "deleted"} {
		key := t.key("k")
		t.put(key, old)
		r := t.open(key)
		head := make([]byte, 100)
		if _, err := io.ReadFull(r, head); err != nil {
			t.fatalf("reading the first bytes: %v", err)
		}
		var err error
		switch what { // a store may refuse to touch what is being read
		case "replaced":
			err = t.begin(key, blob("new", 1<<19)).Commit()
		case "replaced by a longer one":
			err = t.begin(key, blob("new", 1<<21)).Commit()
		case "deleted":
			err = t.Delete(t.ctx, key)
		}
		rest, readErr := io.ReadAll(r)
		r.Close()
		got := append(head, rest...)
		if readErr == nil && len(got) != len(old) || !bytes.HasPrefix(old, got) {
			t.fatalf("the entry that was %s (%v) while it was read is %d bytes with the end %v, want the first %d and a clean end, or an error", what, err, len(got), readErr, len(old))
		}
	}
}

func ownBytes(t *trial) {
	key, data := t.key("k"), blob("mine", 5000)
	buffer := bytes.Clone(data)
	w := t.begin(key, buffer)
	clear(buffer)
	t.commit(w)
	t.holds(key, data, "after the buffer that was written had another use")
	r := t.open(key)
	defer r.Close()
	// Bytes that are handed out without a copy come through WriteTo.
	io.Copy(scribbler{}, r)
	t.holds(key, data, "after a reader's buffer was written to")
}

// scribbler changes what it is given, as a Writer must not. Only a reader that
// hands out the store's own bytes comes to harm.
type scribbler struct{}

func (scribbler) Write(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func contextDone(t *trial) {
	done, cancel := context.WithCancel(t.ctx)
	key, data := t.key("k"), blob("there", 1000)
	t.put(key, data)
	w, err := t.Put(done, key, time.Hour)
	if err != nil {
		t.fatalf("Put = %v", err)
	}
	next := blob("next", 1000)
	t.write(w, next)
	cancel()
	if w.Commit() != nil { // to be done already is no error
		next = data
	}
	t.holds(key, next, "after a Commit while the context was done")
	if r, err := t.Get(done, key); err == nil {
		r.Close()
	} else if errors.Is(err, fs.ErrNotExist) {
		t.fatalf("Get with a context that is done says that nothing is there: %v", err)
	}
	there := false
	for k, err := range t.Keys(done) {
		there = there || k == key || err != nil
	}
	if !there {
		t.fatalf("Keys with a context that is done says that nothing is there")
	}
	if t.Delete(done, key) == nil {
		t.holds(key, nil, "after a Delete that was no error")
	}
}

func concurrentKeys(t *trial) {
	t.together(16, func(i int) {
		for round := range 20 {
			key, data := t.key(fmt.Sprint(i)), blob(fmt.Sprint("entry ", i, " ", round), 500+round)
			t.put(key, data)
			t.holds(key, data, "among other keys")
			if round%5 == 4 {
				if err := t.Delete(t.ctx, key); err != nil {
					t.fatalf("Delete = %v", err)
				}
				t.holds(key, nil, "deleted among other keys")
			}
			if round%7 == 0 {
				t.listed()
			}
		}
	})
}

func concurrentWriters(t *trial) {
	key := t.key("k")
	data := func(i int) []byte { return blob(fmt.Sprint("writer ", i), 20_000+1000*i) }
	t.put(key, data(0))
	var writing atomic.Int32
	writing.Store(4)
	t.together(8, func(i int) {
		if i < 4 {
			defer writing.Add(-1)
			for range 20 {
				t.put(key, data(i))
			}
			return
		}
		for writing.Load() > 0 {
			r := t.open(key)
			got, err := io.ReadAll(r)
			r.Close()
			if err != nil {
				continue // see reader-stays
			}
			if i := (len(got) - 20_000) / 1000; i < 0 || i > 3 || !bytes.Equal(got, data(i)) {
				t.fatalf("an entry of %d bytes was read that nobody wrote: %s", len(got), show(got))
			}
		}
	})
}
