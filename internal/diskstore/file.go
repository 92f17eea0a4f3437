package diskstore

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	entrySuffix   = ".snubber-entry"   // files with other names in the directory are not ours
	writingSuffix = ".snubber-writing" // an entry that is being written
	fileMagic     = "snubber1"
	headerSize    = len(fileMagic) + 8 + 8 // then the time of expiry and the length, big endian
	blockSize     = 4096
)

// fileSize returns the bytes that an entry of n bytes takes up.
func fileSize(n int64) int64 {
	return (n + int64(headerSize) + blockSize - 1) &^ (blockSize - 1)
}

// openEntry opens a file if it is a regular one. Opening a pipe of that name would
// wait for a process that writes to it.
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

// readHeader returns the length of the entry in f. If the file holds no whole
// entry, or an expired one, the error is fs.ErrNotExist.
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

// removeSame removes the file at path if it is still the one of info. A good file
// may have replaced it since.
func removeSame(path string, info fs.FileInfo) {
	if now, err := os.Lstat(path); err == nil && os.SameFile(now, info) {
		os.Remove(path)
	}
}

// reader reads an entry from its open file. That file stays the same when its name is
// given to another entry.
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
	if err == io.EOF { // the file has been truncated
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (r *reader) Close() error { return r.f.Close() }

// Writer takes the bytes of one entry, for one goroutine at a time.
type Writer struct {
	ctx   context.Context
	s     *Store
	f     *os.File // nil after Commit and Abort
	path  string
	until time.Time
	n     int64
	err   error // the first error, after which there is nothing to commit
}

// Write appends p to the entry. After an error, every further Write and the Commit
// fail with that error.
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

// Commit makes the entry visible, whole. After an error it is not visible.
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

// Abort drops the entry. After Commit it does nothing.
func (w *Writer) Abort() error {
	if w.f == nil {
		return nil
	}
	w.f.Close()
	err := os.Remove(w.f.Name())
	w.f = nil
	return err
}
