// Package diskstore stores entries of bytes as files in a directory. It knows names,
// sizes and times of files. It does not know what is in an entry.
package diskstore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Store stores entries as files in a directory. [Store.Init] makes it ready. It is
// safe for concurrent use, by any number of processes, and must not be copied.
type Store struct {
	dir      string
	maxBytes int64

	mu      sync.Mutex
	bytes   int64     // what the files took up at the last count, and what was written since
	written int64     // the part of bytes that was written since
	swept   time.Time // the time of the last count; zero: none
}

// touchAfter is how old the recorded time of last use may be. A file system has
// more to do for a write than for a read.
const touchAfter = time.Hour

// Init sets the directory and the bound on what its files take up, each counted in
// blocks of 4 KiB. The directory is made when the first entry is written. The least
// recently used entries go first, to the hour. Each further process that writes at the
// same time may add a sixteenth. Call Init before any other method.
func (s *Store) Init(dir string, maxBytes int64) { s.dir, s.maxBytes = dir, maxBytes }

// path returns the path of the file of a key.
func (s *Store) path(key string) (string, error) {
	if s.dir == "" {
		return "", errors.New("disk store without a directory: set Dir")
	}
	if !validKey(key) {
		return "", errors.New("not a cache key")
	}
	return filepath.Join(s.dir, key+entrySuffix), nil
}

// validKey reports whether a key has 1 to 128 bytes of the letters a to z, the
// digits and '-'. Any other byte means something to some file system.
func validKey(key string) bool {
	if len(key) == 0 || len(key) > 128 {
		return false
	}
	for _, c := range []byte(key) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// entryKey returns the key of the entry in the file of a name. ok is false if it is not
// the file of an entry.
func entryKey(name string) (key string, ok bool) {
	key, ok = strings.CutSuffix(name, entrySuffix)
	return key, ok && validKey(key)
}

// Get opens the entry of a key. If there is none, the error is fs.ErrNotExist. The
// reader reads from the file; the caller closes it.
func (s *Store) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	path, err := s.path(key)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := time.Now()
	f, info, err := openEntry(path)
	if err != nil {
		return nil, err
	}
	left, err := readHeader(f, info, now)
	if err != nil {
		f.Close()
		if errors.Is(err, fs.ErrNotExist) {
			removeSame(path, info)
		}
		return nil, err
	}
	if now.Sub(info.ModTime()) > touchAfter {
		os.Chtimes(path, time.Time{}, now) // where that is not allowed, the entry only seems older
	}
	return &reader{ctx: ctx, f: f, left: left}, nil
}

// Put begins an entry that expires after ttl. Its Commit replaces an older entry of the
// key.
func (s *Store) Put(ctx context.Context, key string, ttl time.Duration) (*Writer, error) {
	path, err := s.path(key)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.dir, "*"+writingSuffix)
	if err != nil {
		return nil, err
	}
	w := &Writer{ctx: ctx, s: s, f: f, path: path, until: time.Now().Add(ttl)}
	if _, err := f.Write(make([]byte, headerSize)); err != nil { // Commit fills it in: a file without it is not whole
		w.Abort()
		return nil, err
	}
	return w, nil
}

// Delete removes the entry of a key. It is no error if there is none.
func (s *Store) Delete(ctx context.Context, key string) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Keys yields the keys of the entries, in no order. It ends after an error.
func (s *Store) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := s.names()
		if err == nil {
			err = ctx.Err()
		}
		for _, name := range names {
			key, ok := entryKey(name)
			if !ok || s.check(name) != nil {
				continue
			}
			if !yield(key, nil) {
				return
			}
			if err = ctx.Err(); err != nil {
				break
			}
		}
		if err != nil {
			yield("", err)
		}
	}
}

// check returns nil for an entry that Get would find, and fs.ErrNotExist for a file
// that no Get will find.
func (s *Store) check(name string) error {
	f, info, err := openEntry(filepath.Join(s.dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = readHeader(f, info, time.Now())
	return err
}

// names lists the directory. A directory that does not exist yet is empty.
func (s *Store) names() ([]string, error) {
	f, err := os.Open(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
