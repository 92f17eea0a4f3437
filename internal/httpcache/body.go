package httpcache

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
)

// chunkReader is a stored body. Each Read returns bytes of one chunk, so that a
// stream comes in the chunks in which it came from the server.
type chunkReader interface {
	io.ReadCloser
	AtChunkStart() bool // the next Read returns the beginning of a chunk
}

const (
	maxChunk = 32 << 10
	// chunkOverhead is what a chunk costs besides its bytes.
	chunkOverhead = 64
)

// chunkSize is the size of a chunk that begins with n bytes of a body that is no
// stream, after so many bytes before it: twice as many pieces take two chunks more.
func chunkSize(n, before int64) int64 { return max(n, min(before, maxChunk)) }

// entryBody reads a body that is in memory.
type entryBody struct {
	mu                 sync.Mutex
	chunks             [][]byte
	offset             int   // in the first chunk
	rest               int64 // bytes still to return
	announced, trailer http.Header
	err                error
}

// open sets the body to n bytes of an entry, from first on. If announced is not nil,
// it gets the entry's trailer at the end.
func (b *entryBody) open(e *cachestore.Entry, first, n int64, announced http.Header) {
	b.chunks, b.rest, b.announced, b.trailer = e.Chunks, n, announced, e.Trailer
	for first > 0 && len(b.chunks) > 0 {
		if size := int64(len(b.chunks[0])); first >= size {
			first -= size
			b.chunks = b.chunks[1:]
			continue
		}
		b.offset, first = int(first), 0
	}
}

func (b *entryBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil:
		return 0, b.err
	case len(p) == 0:
		return 0, nil
	case b.rest == 0:
		cachestore.FillTrailer(b.announced, b.trailer)
		b.err = io.EOF
		return 0, io.EOF
	}
	chunk := b.chunks[0][b.offset:]
	n := copy(p[:min(int64(len(p)), b.rest)], chunk)
	if b.rest -= int64(n); n == len(chunk) {
		b.chunks, b.offset = b.chunks[1:], 0
	} else {
		b.offset += n
	}
	return n, nil
}

func (b *entryBody) AtChunkStart() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err == nil && b.rest > 0 && b.offset == 0
}

func (b *entryBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.chunks, b.err = nil, http.ErrBodyReadAfterClose
	return nil
}

// pacedBody waits between two chunks. The caller's context or Close ends the wait.
type pacedBody struct {
	chunkReader
	ctx    context.Context
	delay  time.Duration
	begun  bool
	once   sync.Once
	closed chan struct{}
}

func newPacedBody(ctx context.Context, body chunkReader, delay time.Duration) *pacedBody {
	return &pacedBody{chunkReader: body, ctx: ctx, delay: delay, closed: make(chan struct{})}
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if b.begun && b.AtChunkStart() {
		timer := time.NewTimer(b.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-b.closed:
			return 0, http.ErrBodyReadAfterClose
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	n, err := b.chunkReader.Read(p)
	b.begun = b.begun || n > 0
	return n, err
}

func (b *pacedBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.chunkReader.Close()
}
