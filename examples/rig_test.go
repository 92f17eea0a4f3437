package examples

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// patience is how long a test waits for what must happen. No verdict depends
// on its length: whatever is late by this much never comes.
const patience = 20 * time.Second

// TestMain finds goroutines that outlive every call, server and connection.
func TestMain(m *testing.M) {
	flag.Parse()
	flag.Set("test.parallel", "32") // these tests wait more than they compute
	before := runtime.NumGoroutine()
	code := m.Run()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if code == 0 && !happens(func() bool { return runtime.NumGoroutine() <= before }) {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "goroutines were left behind:\n%s\n", stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	os.Exit(code)
}

// happens reports whether cond comes true. It is for state that changes
// without telling anyone.
func happens(cond func() bool) bool {
	late := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			return cond()
		}
	}
	return true
}

// rig is one SDK above snubber above the fake provider:
//
//	SDK → above → snubber → below → socket → provider
type rig struct {
	provider *snubbertest.Provider
	url      string
	snubber  *snubber.Transport
	above    *tap // what the SDK's HTTP client does and gets
	below    *tap // what passes on the wire
	ask      asker
}

// newRig serves the provider and, when the test has ended, checks that
// nothing of its calls is left.
func newRig(t *testing.T, s sdk, p *snubbertest.Provider) *rig {
	srv := snubbertest.NewServer(p)
	t.Cleanup(srv.Close)
	return newRigAt(t, s, p, srv)
}

func newRigAt(t *testing.T, s sdk, p *snubbertest.Provider, srv *httptest.Server) *rig {
	var open connections
	r := &rig{provider: p, url: srv.URL}
	r.below = &tap{base: &http.Transport{DialContext: open.dial}}
	r.snubber = snubber.New(r.below)
	r.above = &tap{base: r.snubber}
	r.ask = s.connect(t, srv.URL, &http.Client{Transport: r.above})
	t.Cleanup(func() {
		r.idle(t)
		r.snubber.CloseIdleConnections()
		if !happens(func() bool { return open.count() == 0 }) {
			t.Errorf("%d connections are left after CloseIdleConnections", open.count())
		}
	})
	return r
}

// idle waits until no call holds or awaits a place in the limiter.
func (r *rig) idle(t *testing.T) {
	t.Helper()
	if !happens(func() bool { return r.count(func(q snubber.QueueStatus) int { return q.InFlight + q.Waiting }) == 0 }) {
		t.Errorf("the limiter still has %+v", r.snubber.Limiter.Queues())
	}
}

func (r *rig) count(what func(snubber.QueueStatus) int) (n int) {
	for _, q := range r.snubber.Limiter.Queues() {
		n += what(q)
	}
	return n
}

// wants checks how many calls the SDK made of its HTTP client, and how many
// of them reached the wire, since the test began.
func (r *rig) wants(t *testing.T, tries, wire int) {
	t.Helper()
	if got := r.above.tries(); got != tries {
		t.Errorf("the SDK called its HTTP client %d times, want %d", got, tries)
	}
	if got := r.provider.Stats().Wire; got != wire {
		t.Errorf("%d calls reached the provider, want %d", got, wire)
	}
}

// tap counts the calls that pass through it and keeps the bytes of the last
// response.
type tap struct {
	base http.RoundTripper

	mu    sync.Mutex
	calls int
	got   bytes.Buffer
	more  chan struct{} // closed when there are more bytes than there were
}

func (t *tap) RoundTrip(req *http.Request) (*http.Response, error) {
	t.mu.Lock()
	t.calls++
	t.got.Reset()
	t.mu.Unlock()
	res, err := t.base.RoundTrip(req)
	if err == nil {
		res.Body = &tapped{res.Body, t}
	}
	return res, err
}

func (t *tap) CloseIdleConnections() {
	t.base.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}

func (t *tap) tries() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.calls
}

func (t *tap) bytes() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.got.String()
}

// reached waits until n bytes of the last response have been read.
func (t *tap) reached(ctx context.Context, n int) bool {
	for {
		t.mu.Lock()
		if t.got.Len() >= n {
			t.mu.Unlock()
			return true
		}
		if t.more == nil {
			t.more = make(chan struct{})
		}
		more := t.more
		t.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return false
		}
	}
}

type tapped struct {
	io.ReadCloser
	t *tap
}

func (b *tapped) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.t.mu.Lock()
	defer b.t.mu.Unlock()
	b.t.got.Write(p[:n])
	if b.t.more != nil {
		close(b.t.more)
		b.t.more = nil
	}
	return n, err
}

// connections counts the open connections of a client.
type connections struct {
	mu sync.Mutex
	n  int
}

func (c *connections) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func (c *connections) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.add(1)
	return &counted{Conn: conn, end: sync.OnceFunc(func() { c.add(-1) })}, nil
}

type counted struct {
	net.Conn
	end func()
}

func (c *counted) Close() error {
	c.end()
	return c.Conn.Close()
}

// lockstep sends the provider's stream one event at a time, and those after the
// first word only after the client has got all before them: a client behind a
// buffer waits for ever.
type lockstep struct {
	provider *snubbertest.Provider
	client   *tap
	sent     chan string // the whole stream, when its last event was sent
}

func (l *lockstep) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	in := r.Clone(r.Context())
	in.Body, in.GetBody, in.RequestURI = io.NopCloser(bytes.NewReader(body)), nil, ""
	res, err := l.provider.RoundTrip(in)
	if err != nil {
		return
	}
	defer res.Body.Close()
	stream, err := io.ReadAll(res.Body)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	end := "\n\n"
	if bytes.Contains(stream, []byte("\r\n\r\n")) {
		end = "\r\n\r\n"
	}
	n, spoken := 0, false
	for _, event := range strings.SplitAfter(string(stream), end) {
		if spoken && !l.client.reached(r.Context(), n) {
			return
		}
		spoken = spoken || strings.Contains(event, "The")
		io.WriteString(w, event)
		http.NewResponseController(w).Flush()
		n += len(event)
	}
	l.sent <- string(stream)
}
