package snubber

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// DiskStore keeps a [Cache]'s entries as files in a directory, for development
// and for CI runs, where the same requests come again in the next process:
//
//	cache := &snubber.Cache{
//		Store:     &snubber.DiskStore{Dir: ".snubber"},
//		Secret:    secret, // the same in every run
//		PromptTTL: 24 * time.Hour,
//	}
//
// Any number of processes may use a directory at once. An entry is written to a
// file of its own and renamed when it is whole, so that a process that dies
// leaves the older entry or none. Nothing is synced: after a power failure an
// entry may be cut or empty, which shows in its length or to the cache. On
// Windows an entry that is being read can be neither replaced nor deleted; both
// are then an error.
//
// Files hold what the cache hands over, answers to prompts too, for their owner
// alone to read (mode 0600). The directory may hold other files, which are left alone.
//
// It is safe for concurrent use and must not be copied after first use.
type DiskStore struct {
	// Dir is the directory. It is made when the first entry is written.
	Dir string
	// MaxBytes bounds what the files take up, each counted in blocks of 4 KiB;
	// the least recently used go first, to the hour. If zero, 256 MiB; if
	// negative, there is no bound. Each further process that writes at the same
	// time may add a sixteenth.
	MaxBytes int64

	mu     sync.Mutex
	bytes  int64     // what the files took up when they were last counted, and what was written since
	recent int64     // of which was written since
	swept  time.Time // when they were last counted; zero: not yet
}

const (
	diskSuffix  = ".snubber-entry"   // whatever has another name in the directory is not ours
	diskWriting = ".snubber-writing" // an entry that is being written
	diskMagic   = "snubber1"
	diskHeader  = len(diskMagic) + 8 + 8 // then the time of expiry and the length, big endian
	diskBlock   = 4096

	// diskTouch is how old the time of last use may be: a file system has more to
	// do for a write than for a read.
	diskTouch = time.Hour
	// diskOrphan is how long nothing was written to a file before it is taken for
	// one that a process left behind when it died.
	diskOrphan = time.Hour
	// diskSweep is after how long the expired are looked for, however little is
	// written. What is in answers should not stay because nothing takes its place.
	diskSweep = 10 * time.Minute
)

func (d *DiskStore) maxBytes() int64 {
	switch {
	case d.MaxBytes < 0:
		return math.MaxInt64
	case d.MaxBytes == 0:
		return 256 << 20
	}
	return d.MaxBytes
}

// path is the file of a key. A key with anything in it that means something to
// some file system is refused, although the cache makes none.
func (d *DiskStore) path(key string) (string, error) {
	if d.Dir == "" {
		return "", errors.New("DiskStore without a Dir")
	}
	if !validKey(key) {
		return "", errors.New("not a cache key")
	}
	return filepath.Join(d.Dir, key+diskSuffix), nil
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

// Get implements [CacheStore]. The reader reads from the file.
func (d *DiskStore) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	path, err := d.path(key)
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
			d.remove(path, info)
		}
		return nil, err
	}
	if now.Sub(info.ModTime()) > diskTouch {
		os.Chtimes(path, time.Time{}, now) // where that is not allowed, the entry is merely taken for an older one
	}
	return &diskReader{ctx: ctx, f: f, left: left}, nil
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
	var h [diskHeader]byte
	if _, err := io.ReadFull(f, h[:]); err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return 0, err
	}
	magic, rest := h[:len(diskMagic)], h[len(diskMagic):]
	until := time.UnixMilli(int64(binary.BigEndian.Uint64(rest)))
	length = int64(binary.BigEndian.Uint64(rest[8:]))
	if string(magic) != diskMagic || !now.Before(until) || length != info.Size()-int64(diskHeader) {
		return 0, fs.ErrNotExist
	}
	return length, nil
}

// diskReader reads an entry from its file, which stays the same one whatever
// becomes of its name.
type diskReader struct {
	ctx  context.Context
	f    *os.File
	left int64
}

func (r *diskReader) Read(p []byte) (int, error) {
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

func (r *diskReader) Close() error { return r.f.Close() }

// Put implements [CacheStore].
func (d *DiskStore) Put(ctx context.Context, key string, ttl time.Duration) (CacheWriter, error) {
	path, err := d.path(key)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(d.Dir, "*"+diskWriting)
	if err != nil {
		return nil, err
	}
	w := &diskWriter{ctx: ctx, d: d, f: f, path: path, until: time.Now().Add(ttl)}
	if _, err := f.Write(make([]byte, diskHeader)); err != nil { // filled in by Commit: what has none is not whole
		w.Abort()
		return nil, err
	}
	return w, nil
}

type diskWriter struct {
	ctx   context.Context
	d     *DiskStore
	f     *os.File // nil: it has ended
	path  string
	until time.Time
	n     int64
	err   error // the first, after which there is nothing to commit
}

func (w *diskWriter) Write(p []byte) (n int, err error) {
	switch {
	case w.f == nil:
		return 0, fs.ErrClosed
	case w.err != nil:
		return 0, w.err
	case w.ctx.Err() != nil:
		w.err = w.ctx.Err()
	case diskSize(w.n+int64(len(p))) > w.d.maxBytes():
		w.err = errors.New("entry larger than the store")
	default:
		n, w.err = w.f.Write(p)
		w.n += int64(n)
	}
	return n, w.err
}

func (w *diskWriter) Commit() error {
	if w.f == nil {
		return fs.ErrClosed
	}
	if w.err != nil {
		w.Abort()
		return w.err
	}
	h := binary.BigEndian.AppendUint64([]byte(diskMagic), uint64(w.until.UnixMilli()))
	h = binary.BigEndian.AppendUint64(h, uint64(w.n))
	_, err := w.f.WriteAt(h, 0)
	name := w.f.Name()
	if e := w.f.Close(); err == nil {
		err = e
	}
	w.f = nil
	if err == nil {
		w.d.reserve(diskSize(w.n), filepath.Base(name))
		err = os.Rename(name, w.path)
	}
	if err != nil {
		os.Remove(name)
	}
	return err
}

func (w *diskWriter) Abort() error {
	if w.f == nil {
		return nil
	}
	w.f.Close()
	err := os.Remove(w.f.Name())
	w.f = nil
	return err
}

// Delete implements [CacheStore].
func (d *DiskStore) Delete(ctx context.Context, key string) error {
	path, err := d.path(key)
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

// Keys implements [CacheStore].
func (d *DiskStore) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := d.names()
		if err == nil {
			err = ctx.Err()
		}
		for _, name := range names {
			key, ok := entryKey(name)
			if !ok || d.look(name) != nil {
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
func (d *DiskStore) look(name string) error {
	f, info, err := openEntry(filepath.Join(d.Dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = readHeader(f, info, time.Now())
	return err
}

func entryKey(name string) (key string, ok bool) {
	key, ok = strings.CutSuffix(name, diskSuffix)
	return key, ok && validKey(key)
}

// names lists the directory. One that does not exist yet is empty.
func (d *DiskStore) names() ([]string, error) {
	f, err := os.Open(d.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// diskSize is what an entry of n bytes takes up.
func diskSize(n int64) int64 {
	return (n + int64(diskHeader) + diskBlock - 1) &^ (diskBlock - 1)
}

// remove removes the file at path if it is the one that info tells of. It may
// have been replaced by a good one since.
func (d *DiskStore) remove(path string, info fs.FileInfo) {
	if now, err := os.Lstat(path); err == nil && os.SameFile(now, info) {
		os.Remove(path)
	}
}

// diskLooks is how many files a sweep opens, to see whether they have expired.
// That takes five times as long as to count them, and a process that writes one
// entry to a full store should not have to wait a second for it. What has expired
// and is not found so is not used either, and goes first when room is needed.
const diskLooks = 1000

// reserve makes room for the file that is about to be renamed. What the others
// write is not known, so the files are counted again and again: once a sixteenth
// of the bound was written, and at least every ten minutes.
func (d *DiskStore) reserve(size int64, self string) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.swept.IsZero() || now.Sub(d.swept) >= diskSweep || d.recent > d.maxBytes()/16-size || d.bytes > d.maxBytes()-size {
		d.bytes, d.recent, d.swept = d.sweep(d.maxBytes()-size, self, now), 0, now
	}
	d.bytes += size
	d.recent += size
}

// sweep removes what it finds expired or left half-written, then the least
// recently used entries if the rest takes up more than room: a little more than
// has to go, or each further entry would count the files again. It returns what
// is left.
func (d *DiskStore) sweep(room int64, self string, now time.Time) (left int64) {
	type file struct {
		path string
		info fs.FileInfo
		size int64
	}
	var files []file
	names, _ := d.names()
	first := 0
	if len(names) > diskLooks {
		first = rand.IntN(len(names))
	}
	for i := range names {
		name := names[(first+i)%len(names)]
		path := filepath.Join(d.Dir, name)
		_, entry := entryKey(name)
		if name == self || !entry && !strings.HasSuffix(name, diskWriting) {
			continue
		}
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		size := diskSize(info.Size() - int64(diskHeader))
		switch {
		case entry && i < diskLooks && errors.Is(d.look(name), fs.ErrNotExist):
			d.remove(path, info)
		case entry:
			files = append(files, file{path, info, size})
			left += size
		case now.Sub(info.ModTime()) > diskOrphan:
			os.Remove(path)
		default:
			left += size
		}
	}
	if left <= room {
		return left
	}
	room = max(0, room-d.maxBytes()/16)
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
