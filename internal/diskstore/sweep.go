package diskstore

import (
	"cmp"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// sweepAfter is the longest time between two sweeps while anything is written.
	// Prompts and responses must not stay on the disk only because nothing takes
	// their place.
	sweepAfter = 10 * time.Minute
	// orphanAfter is how long a half-written file must be unchanged before it is
	// taken for one of a process that died.
	orphanAfter = time.Hour
	// maxOpened is how many files a sweep opens, to see whether they have expired.
	// Opening takes five times as long as counting, and a process that writes one
	// entry to a full store should not wait a second for it. An expired entry that
	// the sweep misses is not used either, and goes first when room is needed.
	maxOpened = 1000
)

// reserve makes room for the file self, which is about to be renamed. It cannot
// know what other processes write. So it counts the files again once a sixteenth
// of the bound was written, and every ten minutes at least.
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

// sweep removes the expired entries that it finds and the half-written files of
// dead processes. If the rest takes up more than room, it also removes the least
// recently used entries: a little more than room needs, or each further entry would
// count the files again. It returns how many bytes are left.
func (s *Store) sweep(room int64, self string, now time.Time) (left int64) {
	var entries []entryFile
	names, _ := s.names()
	first := 0
	if len(names) > maxOpened {
		first = rand.IntN(len(names)) // not the same files each time
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
		case entry && i < maxOpened && errors.Is(s.check(name), fs.ErrNotExist):
			removeSame(path, info)
		case entry:
			entries = append(entries, entryFile{path, info.ModTime(), size})
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
	return evict(entries, left, max(0, room-s.maxBytes/16))
}

// entryFile is the file of an entry, as a sweep found it.
type entryFile struct {
	path string
	used time.Time
	size int64
}

// evict removes the least recently used entries until no more than room of the
// bytes are left. It returns how many are.
func evict(entries []entryFile, left, room int64) int64 {
	slices.SortFunc(entries, func(a, b entryFile) int { return cmp.Compare(a.used.UnixNano(), b.used.UnixNano()) })
	for _, e := range entries {
		if left <= room {
			break
		}
		if err := os.Remove(e.path); err == nil || errors.Is(err, fs.ErrNotExist) {
			left -= e.size
		}
	}
	return left
}
