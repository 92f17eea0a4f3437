package body

import (
	"io"
	"net/http"
	"strconv"
	"sync"
)

// Memory is a body in memory. It is safe for concurrent use.
type Memory struct {
	mu   sync.Mutex
	rest []byte
	err  error
}

// NewMemory returns a body of b, which ends in err.
func NewMemory(b []byte, err error) *Memory { return &Memory{rest: b, err: err} }

// Read implements [io.Reader].
func (m *Memory) Read(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.rest) == 0 && len(p) > 0 {
		return 0, m.err
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// Close drops the bytes.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rest, m.err = nil, http.ErrBodyReadAfterClose
	return nil
}

// SetMemory gives res the start of its body, in memory, in place of the body. err is
// what ended the body. If it is nil, the body was longer: it now ends here, and the
// length of res is corrected.
func SetMemory(res *http.Response, start []byte, err error) {
	if err == nil {
		err = io.EOF
		res.ContentLength = int64(len(start))
		if res.Header.Get("Content-Length") != "" {
			res.Header = res.Header.Clone()
			res.Header.Set("Content-Length", strconv.Itoa(len(start)))
		}
	}
	res.Body = NewMemory(start, err)
}
