// Package diskstore keeps entries of bytes as files in a directory. It knows names,
// sizes and times of files. It does not know what is in an entry.
package diskstore

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Store keeps entries as files in a directory. [Store.Init] makes it ready. It is
// safe for concurrent use, by any number of processes, and must not be copied.
type Store struct {
	dir      string
	maxBytes int64

	mu      sync.Mutex
	bytes   int64     // what the files took up when they were last counted, and what was written since
	written int64     // the part of bytes that was written since
	swept   time.Time // when they were last counted; zero: not yet
}

// Init sets the directory, which is made when the first entry is written, and the
// bound on what its files take up, each counted in blocks of 4 KiB. The least
// recently used entries go first, to the hour. Each further process that writes at
// the same time may add a sixteenth. Call Init before any other method.
func (s *Store) Init(dir string, maxBytes int64) { s.dir, s.maxBytes = dir, maxBytes }

const (
	entrySuffix   = ".snubber-entry"   // whatever has another name in the directory is not ours
	writingSuffix = ".snubber-writing" // an entry that is being written
	fileMagic     = "snubber1"
	headerSize    = len(fileMagic) + 8 + 8 // then the time of expiry and the length, big endian
	blockSize     = 4096

	// touchAfter is how old the time of last use may be: a file system has more to
	// do for a write than for a read.
	touchAfter = time.Hour
	// orphanAfter is how long nothing was written to a file before it is taken for
	// one that a process left behind when it died.
	orphanAfter = time.Hour
	// sweepAfter is after how long the expired are looked for, however little is
	// written. What is in answers should not stay because nothing takes its place.
	sweepAfter = 10 * time.Minute
)

// path is the file of a key. A key with anything in it that means something to
// some file system is refused, although the cache makes none.
func (s *Store) path(key string) (string, error) {
	if s.dir == "" {
		return "", errors.New("disk store without a directory: set Dir")
	}
	if !validKey(key) {
		return "", errors.New("not a cache key")
	}
	return filepath.Join(s.dir, key+entrySuffix), nil
}

// validKey is the rule for keys in CacheStore's documentation.
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

// Get opens an entry. The reader reads from the file.
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
			s.remove(path, info)
		}
		return nil, err
	}
	if now.Sub(info.ModTime()) > touchAfter {
		os.Chtimes(path, time.Time{}, now) // where that is not allowed, the entry is merely taken for an older one
	}
	return &reader{ctx: ctx, f: f, left: left}, nil
}

// openEntry opens a file if it is one: to open a pipe of that name would wait for
// somebody to write to it.
func openEntry(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// readHeader returns the length of the entry in f. If it has expired, was cut or
// is something else, the error is fs.ErrNotExist.
func readHeader(f *os.File, info fs.FileInfo, now time.Time) (length int64, err error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(f, h[:]); err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return 0, err
	}
	magic, rest := h[:len(fileMagic)], h[len(fileMagic):]
	until := time.UnixMilli(int64(binary.BigEndian.Uint64(rest)))
	length = int64(binary.BigEndian.Uint64(rest[8:]))
	if string(magic) != fileMagic || !now.Before(until) || length != info.Size()-int64(headerSize) {
		return 0, fs.ErrNotExist
	}
	return length, nil
}

// reader reads an entry from its file, which stays the same one whatever
// becomes of its name.
type reader struct {
	ctx  context.Context
	f    *os.File
	left int64
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.f.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err == io.EOF { // somebody has cut it
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (r *reader) Close() error { return r.f.Close() }

// Put begins an entry.
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
	if _, err := f.Write(make([]byte, headerSize)); err != nil { // filled in by Commit: what has none is not whole
		w.Abort()
		return nil, err
	}
	return w, nil
}

type Writer struct {
	ctx   context.Context
	s     *Store
	f     *os.File // nil: it has ended
	path  string
	until time.Time
	n     int64
	err   error // the first, after which there is nothing to commit
}

func (w *Writer) Write(p []byte) (n int, err error) {
	switch {
	case w.f == nil:
		return 0, fs.ErrClosed
	case w.err != nil:
		return 0, w.err
	case w.ctx.Err() != nil:
		w.err = w.ctx.Err()
	case fileSize(w.n+int64(len(p))) > w.s.maxBytes:
		w.err = errors.New("entry larger than the store")
	default:
		n, w.err = w.f.Write(p)
		w.n += int64(n)
	}
	return n, w.err
}

func (w *Writer) Commit() error {
	if w.f == nil {
		return fs.ErrClosed
	}
	if w.err != nil {
		w.Abort()
		return w.err
	}
	h := binary.BigEndian.AppendUint64([]byte(fileMagic), uint64(w.until.UnixMilli()))
	h = binary.BigEndian.AppendUint64(h, uint64(w.n))
	_, err := w.f.WriteAt(h, 0)
	name := w.f.Name()
	if e := w.f.Close(); err == nil {
		err = e
	}
	w.f = nil
	if err == nil {
		w.s.reserve(fileSize(w.n), filepath.Base(name))
		err = os.Rename(name, w.path)
	}
	if err != nil {
		os.Remove(name)
	}
	return err
}

func (w *Writer) Abort() error {
	if w.f == nil {
		return nil
	}
	w.f.Close()
	err := os.Remove(w.f.Name())
	w.f = nil
	return err
}

// Delete removes an entry.
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

// Keys yields the keys of the entries.
func (s *Store) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := s.names()
		if err == nil {
			err = ctx.Err()
		}
		for _, name := range names {
			key, ok := entryKey(name)
			if !ok || s.look(name) != nil {
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

// look returns nil for an entry that Get would find, and fs.ErrNotExist for one
// that nobody will.
func (s *Store) look(name string) error {
	f, info, err := openEntry(filepath.Join(s.dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = readHeader(f, info, time.Now())
	return err
}

func entryKey(name string) (key string, ok bool) {
	key, ok = strings.CutSuffix(name, entrySuffix)
	return key, ok && validKey(key)
}

// names lists the directory. One that does not exist yet is empty.
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

// fileSize is what an entry of n bytes takes up.
func fileSize(n int64) int64 {
	return (n + int64(headerSize) + blockSize - 1) &^ (blockSize - 1)
}

// remove removes the file at path if it is the one that info tells of. It may
// have been replaced by a good one since.
func (s *Store) remove(path string, info fs.FileInfo) {
	if now, err := os.Lstat(path); err == nil && os.SameFile(now, info) {
		os.Remove(path)
	}
}

// maxOpened is how many files a sweep opens, to see whether they have expired.
// That takes five times as long as to count them, and a process that writes one
// entry to a full store should not have to wait a second for it. What has expired
// and is not found so is not used either, and goes first when room is needed.
const maxOpened = 1000

// reserve makes room for the file that is about to be renamed. What the others
// write is not known, so the files are counted again and again: once a sixteenth
// of the bound was written, and at least every ten minutes.
func (s *Store) reserve(size int64, self string) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.swept.IsZero() || now.Sub(s.swept) >= sweepAfter || s.written > s.maxBytes/16-size || s.bytes > s.maxBytes-size {
		s.bytes, s.written, s.swept = s.sweep(s.maxBytes-size, self, now), 0, now
	}
	s.bytes += size
	s.written += size
}

// sweep removes what it finds expired or left half-written, then the least
// recently used entries if the rest takes up more than room: a little more than
// has to go, or each further entry would count the files again. It returns what
// is left.
func (s *Store) sweep(room int64, self string, now time.Time) (left int64) {
	type file struct {
		path string
		info fs.FileInfo
		size int64
	}
	var files []file
	names, _ := s.names()
	first := 0
	if len(names) > maxOpened {
		first = rand.IntN(len(names))
	}
	for i := range names {
		name := names[(first+i)%len(names)]
		path := filepath.Join(s.dir, name)
		_, entry := entryKey(name)
		if name == self || !entry && !strings.HasSuffix(name, writingSuffix) {
			continue
		}
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		size := fileSize(info.Size() - int64(headerSize))
		switch {
		case entry && i < maxOpened && errors.Is(s.look(name), fs.ErrNotExist):
			s.remove(path, info)
		case entry:
			files = append(files, file{path, info, size})
			left += size
		case now.Sub(info.ModTime()) > orphanAfter:
			os.Remove(path)
		default:
			left += size
		}
	}
	if left <= room {
		return left
	}
	room = max(0, room-s.maxBytes/16)
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.info.ModTime().UnixNano(), b.info.ModTime().UnixNano()) })
	for _, f := range files {
		if left <= room {
			break
		}
		if err := os.Remove(f.path); err == nil || errors.Is(err, fs.ErrNotExist) {
			left -= f.size
		}
	}
	return left
}
