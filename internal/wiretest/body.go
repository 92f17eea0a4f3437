package wiretest

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Chunk is a part of a [Body].
type Chunk struct {
	At   time.Duration // when it arrives, from the body's beginning on; negative: never
	Text string
	Err  error // ends the body together with Text
}

// Body is a body in memory that arrives in chunks. A Read returns bytes of one
// chunk. It knows no context: only Close wakes a Read that waits.
type Body struct {
	chunks []Chunk
	start  time.Time
	gone   chan struct{} // closed by Close; nil in the zero Body

	mu     sync.Mutex
	closed int
}

// NewBody returns a body that begins now.
func NewBody(chunks ...Chunk) *Body {
	return &Body{chunks: slices.Clone(chunks), start: time.Now(), gone: make(chan struct{})}
}

func (b *Body) Read(p []byte) (int, error) {
	select {
	case <-b.gone:
		return 0, io.ErrClosedPipe
	default:
	}
	if len(b.chunks) == 0 {
		return 0, io.EOF
	}
	c := &b.chunks[0]
	var there <-chan time.Time
	if c.At >= 0 {
		timer := time.NewTimer(time.Until(b.start.Add(c.At)))
		defer timer.Stop()
		there = timer.C
	}
	select {
	case <-there:
	case <-b.gone:
		return 0, io.ErrClosedPipe
	}
	if c.Err != nil {
		return copy(p, c.Text), c.Err
	}
	n := copy(p, c.Text)
	if c.Text = c.Text[n:]; c.Text == "" {
		b.chunks = b.chunks[1:]
	}
	return n, nil
}

// Close ends a Read that waits.
func (b *Body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed++; b.closed == 1 && b.gone != nil {
		close(b.gone)
	}
	return nil
}

// Closes returns how often the body has been closed.
func (b *Body) Closes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closed
}

// WithContext returns a body that ends with the context of its request, as the
// body of a connection does.
func (b *Body) WithContext(ctx context.Context) io.ReadCloser {
	c := &contextBody{Body: b, ctx: ctx}
	c.stop = context.AfterFunc(ctx, func() { b.Close() })
	return c
}

type contextBody struct {
	*Body
	ctx  context.Context
	stop func() bool
}

func (b *contextBody) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if err != nil && err != io.EOF && b.ctx.Err() != nil {
		err = b.ctx.Err()
	}
	return n, err
}

func (b *contextBody) Close() error {
	b.stop()
	return b.Body.Close()
}

// WatchedBody is a body that calls Closing before it is closed.
type WatchedBody struct {
	io.ReadCloser
	Closing func()
}

// Close calls Closing and closes the body.
func (w *WatchedBody) Close() error {
	w.Closing()
	return w.ReadCloser.Close()
}

// CountedBody is a body that counts how often it is closed.
type CountedBody struct {
	io.Reader
	Closed int
}

// Close counts the call.
func (b *CountedBody) Close() error {
	b.Closed++
	return nil
}

// SlowBody is a body that sleeps before every Read, which returns at most 64
// bytes.
type SlowBody struct {
	io.ReadCloser
	Gap time.Duration
}

func (b *SlowBody) Read(p []byte) (int, error) {
	time.Sleep(b.Gap)
	return b.ReadCloser.Read(p[:min(len(p), 64)])
}

// Endless is a body without an end.
type Endless struct{}

func (Endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// ChoppedBody is a body that arrives in pieces of Size bytes and ends in Err.
type ChoppedBody struct {
	Rest []byte
	Size int
	Err  error
}

func (b *ChoppedBody) Read(p []byte) (int, error) {
	if len(b.Rest) == 0 {
		return 0, b.Err
	}
	n := copy(p[:min(len(p), b.Size)], b.Rest)
	b.Rest = b.Rest[n:]
	return n, nil
}

// Close does nothing.
func (*ChoppedBody) Close() error { return nil }

// Trickle returns a body of n bytes that arrive one by one, each after the gap.
// A negative n never ends. Close ends a Read that waits.
func Trickle(n int, gap time.Duration) io.ReadCloser {
	return &trickle{n: n, gap: gap, closed: make(chan struct{})}
}

type trickle struct {
	n      int
	gap    time.Duration
	closed chan struct{}
}

func (b *trickle) Read(p []byte) (int, error) {
	if b.n == 0 {
		return 0, io.EOF
	}
	select {
	case <-b.closed:
		return 0, net.ErrClosed
	case <-time.After(b.gap):
	}
	b.n--
	p[0] = 'x'
	return 1, nil
}

func (b *trickle) Close() error {
	close(b.closed)
	return nil
}

// Stuck returns a body of the text that then returns err, or hangs until it is
// closed if err is nil. It may be made outside of the bubble in which it is
// read.
func Stuck(text string, err error) io.ReadCloser {
	return &stuck{text: strings.NewReader(text), err: err}
}

type stuck struct {
	text *strings.Reader
	err  error
	mu   sync.Mutex
	end  chan struct{} // made by the first Read or Close, inside its bubble
	shut bool
}

func (b *stuck) wait() chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end == nil {
		b.end = make(chan struct{})
	}
	return b.end
}

func (b *stuck) Read(p []byte) (int, error) {
	if n, err := b.text.Read(p); err == nil {
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	<-b.wait()
	return 0, io.ErrClosedPipe
}

func (b *stuck) Close() error {
	end := b.wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.shut {
		b.shut = true
		close(end)
	}
	return nil
}

// Noise returns a text that does not repeat itself, the same for each size.
func Noise(size int) string {
	b := make([]byte, size)
	rng := rand.New(rand.NewPCG(uint64(size), 1))
	for i := range b {
		b[i] = 'a' + byte(rng.IntN(26))
	}
	return string(b)
}
