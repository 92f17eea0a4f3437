package diskstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// open returns a store on a directory, of 256 MiB where maxBytes is 0.
func open(dir string, maxBytes int64) *Store {
	if maxBytes == 0 {
		maxBytes = 256 << 20
	}
	s := new(Store)
	s.Init(dir, maxBytes)
	return s
}

// put writes an entry in one piece and returns the first error.
func put(s *Store, key string, data []byte, ttl time.Duration) error {
	w, err := s.Put(context.Background(), key, ttl)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Commit()
}

func get(s *Store, key string) ([]byte, error) {
	r, err := s.Get(context.Background(), key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func keysOf(t *testing.T, s *Store) []string {
	t.Helper()
	var keys []string
	for key, err := range s.Keys(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// files are the names and sizes of what is in a directory.
func files(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]int64{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			m[e.Name()] = info.Size()
		}
	}
	return m
}

func TestStoreExpiry(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(dir, 0)
		for key, ttl := range map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour} {
			if err := put(s, key, []byte(key), ttl); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute - time.Millisecond)
		if got, err := get(s, "minute"); string(got) != "minute" {
			t.Errorf("a millisecond before it expires: %q, %v", got, err)
		}
		time.Sleep(time.Millisecond)
		if _, err := get(s, "minute"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get when it expires = %v, want fs.ErrNotExist", err)
		}
		if n := len(files(t, dir)); n != 2 {
			t.Errorf("%d files after an expired one was asked for, want 2", n)
		}
		time.Sleep(time.Hour)
		if keys := keysOf(t, s); !slices.Equal(keys, []string{"day"}) {
			t.Errorf("Keys = %v, want the one that has not expired", keys)
		}
		// Nobody asks for it, but another entry is written.
		if err := put(s, "other", nil, time.Hour); err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(files(t, dir))); len(got) != 2 || !strings.HasPrefix(got[0], "day.") {
			t.Errorf("files %v, want those of day and other", got)
		}
	})
}

// A sweep opens only so many files, but not the same ones each time.
func TestStoreExpiryOfMany(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(dir, 0)
		for i := range 1800 {
			ttl := time.Minute
			if i%3 > 0 {
				ttl = 1000 * time.Hour
			}
			if err := put(s, fmt.Sprint("k", i), nil, ttl); err != nil {
				t.Fatal(err)
			}
		}
		for n := 1; len(files(t, dir)) > 1201; n++ {
			if n == 100 {
				t.Fatalf("%d of 600 expired files are left after %d sweeps", len(files(t, dir))-1201, n)
			}
			time.Sleep(11 * time.Minute)
			put(s, "last", nil, 1000*time.Hour)
		}
	})
}

// The files of one process stay below the bound whatever comes, and the most
// recently used are those that stay.
func TestStoreBytes(t *testing.T) {
	dir := t.TempDir()
	s := open(dir, 1<<19)
	old := time.Now().Add(-10 * time.Hour)
	least := int64(1 << 19)
	for i := range 500 {
		key := fmt.Sprint("k", i)
		if err := put(s, key, make([]byte, i%7*1000), time.Hour); err != nil {
			t.Fatal(err)
		}
		// As if it had been used long ago, the first ones longest.
		os.Chtimes(filepath.Join(dir, key+".snubber-entry"), time.Time{}, old.Add(time.Duration(i)*time.Second))
		if _, err := get(s, "k3"); err != nil {
			if i >= 3 {
				t.Fatalf("what is asked for all the time is gone after %d others: %v", i-3, err)
			}
		}
		var sum int64
		for _, size := range files(t, dir) {
			sum += (size + 4095) &^ 4095
		}
		if sum > 1<<19 {
			t.Fatalf("%d bytes in files after %d entries, want at most %d", sum, i+1, 1<<19)
		}
		if i >= 300 {
			least = min(least, sum)
		}
		if i == 499 && sum < 3<<17 {
			t.Errorf("%d bytes in files in the end, which is far below %d", sum, 1<<19)
		}
	}
	if _, err := get(s, "k499"); err != nil {
		t.Errorf("the newest is gone: %v", err)
	}
	if least > 1<<19-1<<15+8192 {
		t.Errorf("never less than %d bytes in files: with room for one entry only, each further entry counts all files", least)
	}

	// What is larger than the store is refused before it is written, and nothing
	// has to go for it.
	before := keysOf(t, s)
	w, err := s.Put(context.Background(), "large", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err = w.Write(make([]byte, 100_000)); err != nil {
			break
		}
	}
	if err == nil || w.Commit() == nil {
		t.Error("10 MB fit into 512 KiB")
	}
	if after := keysOf(t, s); !slices.Equal(before, after) {
		t.Errorf("%d keys after an entry that did not fit, %d before", len(after), len(before))
	}
	for name := range files(t, dir) {
		if strings.HasSuffix(name, "writing") {
			t.Errorf("%s is left of it", name)
		}
	}
}

// Two halves make a whole: what is being written counts once, however the directory
// is called.
func TestStoreFillsUp(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{t.TempDir(), "a", "./b", "c/", "c/../d", "."} {
		s := open(dir, 1<<20)
		for _, key := range []string{"a", "b"} {
			if err := put(s, key, make([]byte, 500_000), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if keys := keysOf(t, s); len(keys) != 2 {
			t.Errorf("%q: Keys = %v, want a and b, which fit", dir, keys)
		}
	}
}

// Of what others write meanwhile each adds no more than a sixteenth, whatever the
// size of the entries: a process that writes a large one counts before.
func TestStoreBytesOfSeveral(t *testing.T) {
	dir := t.TempDir()
	var all [4]*Store
	for i := range all { // each of another process
		all[i] = open(dir, 1<<20)
	}
	for round, size := range []int{1000, 900_000, 10_000, 1000, 500_000, 60_000, 1 << 19, 10} {
		for i, s := range all {
			if err := put(s, fmt.Sprintf("k%d-%d", i, round), make([]byte, size), time.Hour); err != nil {
				t.Fatal(err)
			}
			var sum int64
			for _, size := range files(t, dir) {
				sum += (size + 4095) &^ 4095
			}
			if most := int64(1<<20 + 3<<16); sum > most {
				t.Errorf("%d bytes in files after the entry of %d bytes of process %d, want at most %d", sum, size, i, most)
			}
		}
	}
}

// A file that is not exactly what was committed is not there.
func TestStoreDamage(t *testing.T) {
	for name, damage := range map[string]func(path string, data []byte) error{
		"cut":             func(path string, data []byte) error { return os.Truncate(path, int64(len(data)-1)) },
		"cut to a header": func(path string, data []byte) error { return os.Truncate(path, 24) },
		"cut in it":       func(path string, data []byte) error { return os.Truncate(path, 10) },
		"empty":           func(path string, data []byte) error { return os.Truncate(path, 0) },
		"longer":          func(path string, data []byte) error { return os.WriteFile(path, append(data, 'x'), 0o600) },
		"zeros":           func(path string, data []byte) error { return os.WriteFile(path, make([]byte, len(data)), 0o600) },
		"another version": func(path string, data []byte) error { data[7]++; return os.WriteFile(path, data, 0o600) },
		"something else": func(path string, data []byte) error {
			return os.WriteFile(path, bytes.Repeat([]byte("?"), 1000), 0o600)
		},
		"all ones": func(path string, data []byte) error {
			return os.WriteFile(path, append(data[:8:8], bytes.Repeat([]byte{0xff}, 100)...), 0o600)
		},
		"a directory":      func(path string, data []byte) error { os.Remove(path); return os.Mkdir(path, 0o700) },
		"a link elsewhere": func(path string, data []byte) error { os.Remove(path); return os.Symlink("/etc/hosts", path) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(dir, 0)
			if err := put(s, "k", []byte("some text"), time.Hour); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, slices.Collect(maps.Keys(files(t, dir)))[0])
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(path, data); err != nil {
				t.Skip(err)
			}
			if got, err := get(s, "k"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Get = %q, %v, want fs.ErrNotExist", got, err)
			}
			if keys := keysOf(t, s); len(keys) > 0 {
				t.Errorf("Keys = %v, want none", keys)
			}
			err = put(s, "k", []byte("again"), time.Hour)
			if n := len(files(t, dir)); n != 1 {
				t.Errorf("%d files, want 1", n)
			}
			if name == "a directory" { // which is not ours to remove
				if err == nil {
					t.Error("a directory was replaced")
				}
			} else if err != nil {
				t.Error(err)
			} else if got, err := get(s, "k"); string(got) != "again" {
				t.Errorf("written again: %q, %v", got, err)
			}
		})
	}
}

// A file that is truncated while it is read has no clean end.
func TestStoreCutWhileRead(t *testing.T) {
	dir := t.TempDir()
	s := open(dir, 0)
	if err := put(s, "k", make([]byte, 100_000), time.Hour); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(context.Background(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	io.ReadFull(r, make([]byte, 10))
	for name := range files(t, dir) {
		os.Truncate(filepath.Join(dir, name), 50_000)
	}
	if n, err := io.Copy(io.Discard, r); err != io.ErrUnexpectedEOF {
		t.Errorf("%d bytes and then %v, want io.ErrUnexpectedEOF", n, err)
	}
}

func TestStoreLeavesOtherFiles(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(dir, 100_000)
		others := []string{"README", ".gitignore", "k1", "x.snubber", "UPPER.snubber-entry", ".snubber-entry", "a b.snubber-entry"}
		for _, name := range others {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			os.Chtimes(filepath.Join(dir, name), time.Time{}, time.Now().Add(-1000*time.Hour))
		}
		os.Mkdir(filepath.Join(dir, "sub.snubber-writing"), 0o700)
		for i := range 200 {
			if err := put(s, fmt.Sprint("k", i), make([]byte, 1000), time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(100 * time.Hour)
		put(s, "last", nil, time.Minute)
		if keys := keysOf(t, s); !slices.Equal(keys, []string{"last"}) {
			t.Errorf("Keys = %v, want [last]", keys)
		}
		left := files(t, dir)
		for _, name := range others {
			if left[name] != 4 {
				t.Errorf("%s was touched", name)
			}
		}
		if len(left) != len(others)+2 {
			t.Errorf("%d files, want %d", len(left), len(others)+2)
		}
	})
}

func TestStoreKeysMakeNoPaths(t *testing.T) {
	dir := t.TempDir()
	inside := filepath.Join(dir, "in")
	s := open(inside, 0)
	if err := put(s, "ok", nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", ".", "..", "../out", "a/b", `a\b`, "/etc/passwd", "a.b", "A", "ä", "a b", "a\x00", "c:", "nul\n", strings.Repeat("a", 129)} {
		if err := put(s, key, []byte("x"), time.Hour); err == nil {
			t.Errorf("Put of %q is no error", key)
		}
		if _, err := get(s, key); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get of %q = %v, want an error that says what is wrong", key, err)
		}
		if err := s.Delete(context.Background(), key); err == nil {
			t.Errorf("Delete of %q is no error", key)
		}
	}
	if n, m := len(files(t, dir)), len(files(t, inside)); n != 1 || m != 1 {
		t.Errorf("%d files outside and %d inside, want 1 and 1", n, m)
	}
}

// Where nothing can be written or read, the cache gets an error and goes on
// without the store. Only the directory's absence is no error to a reader.
func TestStoreWithoutDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Store{"no directory": open("", 0), "a file": open(file, 0), "below a file": open(filepath.Join(file, "dir"), 0)} {
		if err := put(s, "k", nil, time.Hour); err == nil {
			t.Errorf("%s: Put is no error", name)
		}
		if _, err := get(s, "k"); err == nil {
			t.Errorf("%s: Get is no error", name)
		} else if s.dir == "" && errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: Get says that nothing is there, not what is wrong: %v", name, err)
		}
	}
	s := open(filepath.Join(t.TempDir(), "not", "yet"), 0)
	if _, err := get(s, "k"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get = %v, want fs.ErrNotExist", err)
	}
	if err := s.Delete(context.Background(), "k"); err != nil {
		t.Errorf("Delete = %v", err)
	}
	if keys := keysOf(t, s); len(keys) > 0 {
		t.Errorf("Keys = %v", keys)
	}
	for range 2 {
		if err := put(s, "k", []byte("x"), time.Hour); err != nil {
			t.Errorf("Put = %v", err)
		}
		if runtime.GOOS != "windows" {
			info, err := os.Stat(s.dir)
			if err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the directory is %v, %v; want it for its owner alone", info.Mode(), err)
			}
			for name := range files(t, s.dir) {
				if info, err := os.Stat(filepath.Join(s.dir, name)); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s is %v, %v; want it for its owner alone", name, info.Mode(), err)
				}
			}
		}
		os.RemoveAll(s.dir) // a user cleans up under a running program
	}
}

// A process that dies leaves what it had not committed. Nobody sees it, and it
// goes when it is too old to belong to a running process.
func TestStoreOrphans(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := open(dir, 0)
		w, err := s.Put(context.Background(), "k", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(make([]byte, 10_000))
		for name := range files(t, dir) { // the file's times are not those of the bubble
			os.Chtimes(filepath.Join(dir, name), time.Time{}, time.Now())
		}
		if _, err := get(s, "k"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get = %v, want fs.ErrNotExist", err)
		}
		next := open(dir, 0)
		put(next, "a", nil, 24*time.Hour)
		if n := len(files(t, dir)); n != 2 {
			t.Errorf("%d files, want that of the new entry and the other's", n)
		}
		time.Sleep(time.Hour + time.Second)
		put(next, "b", nil, 24*time.Hour)
		if n := len(files(t, dir)); n != 2 {
			t.Errorf("%d files, want those of the two entries", n)
		}
		// It was not dead after all.
		if err := w.Commit(); err == nil {
			t.Error("Commit of a file that is gone is no error")
		}
		if keys := keysOf(t, next); !slices.Equal(keys, []string{"a", "b"}) {
			t.Errorf("Keys = %v, want [a b]", keys)
		}
	})
}
