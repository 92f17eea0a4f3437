package httpcache

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// transport is the least that a cache can be put into: requests go to a function, and
// paths that begin with /chat are prompts.
type transport struct {
	*Cache
	t    *testing.T
	base func(*http.Request) (*http.Response, error)

	mu        sync.Mutex
	exchanges []*testExchange
	queued    bool   // what Exchange.Waiting returns
	onStatus  func() // called by SetStatus
}

func newTransport(t *testing.T, config Config, base func(*http.Request) (*http.Response, error)) *transport {
	if config.MaxBytes == 0 {
		config.MaxBytes, config.MaxEntryBytes = 64<<20, 8<<20
	}
	return &transport{Cache: New(config), t: t, base: base}
}

// do makes a round trip. The caller knows how it went.
func (tr *transport) do(req *http.Request) (*http.Response, *testCaller, error) {
	c := &testCaller{tr: tr, req: req}
	res, err := tr.RoundTrip(c)
	return res, c, err
}

// get makes a GET and reads the response.
func (tr *transport) get(header ...string) (body string, c *testCaller) {
	tr.t.Helper()
	res, c, err := tr.do(request(tr.t.Context(), "GET", "/a", header...))
	if err != nil {
		tr.t.Error(err)
		return "", c
	}
	return read(tr.t, res), c
}

// sent is the number of exchanges and bypasses.
func (tr *transport) sent() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.exchanges)
}

func (tr *transport) exchange(i int) *testExchange {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.exchanges[i]
}

// idle fails the test if a flight or a pending store is left behind.
func (tr *transport) idle() {
	tr.t.Helper()
	synctest.Wait()
	tr.flights.mu.Lock()
	defer tr.flights.mu.Unlock()
	tr.core.pending.mu.Lock()
	defer tr.core.pending.mu.Unlock()
	if n, m := len(tr.flights.flights), len(tr.core.pending.all); n+m > 0 {
		tr.t.Errorf("%d flights and %d pending stores are left", n, m)
	}
}

// unlocked fails the test if the calling goroutine holds a lock of the cache: what the
// transport is asked to do may take other locks, or call functions of the user.
func (tr *transport) unlocked(x *testExchange, doing string) {
	if tr.t.Failed() {
		return
	}
	if !released(&tr.flights.mu) {
		tr.t.Errorf("%s under the lock of the flights", doing)
	}
	if fl, ok := x.req.Context().(*flight); ok && !released(&fl.mu) {
		tr.t.Errorf("%s under the lock of a flight", doing)
	}
}

// released reports whether mu is released soon. Another goroutine may hold it for a
// moment, and be preempted meanwhile: a bubble has no clock to measure that with.
func released(mu *sync.Mutex) bool {
	for range 5_000_000 {
		if mu.TryLock() {
			mu.Unlock()
			return true
		}
		runtime.Gosched()
	}
	return false
}

// testCaller implements [Caller].
type testCaller struct {
	tr  *transport
	req *http.Request

	mu             sync.Mutex
	status, detail string
	faults         []string
	costs          int
	released       bool
	outcomes       []error
}

func (c *testCaller) Request() *http.Request     { return c.req }
func (c *testCaller) HookRequest() *http.Request { return c.req }
func (c *testCaller) Values() Values             { return c.req.Context() }
func (c *testCaller) ReclaimBody(Exchange)       {}
func (c *testCaller) ReleaseBody()               { c.released = true }
func (c *testCaller) AddCosts(Exchange)          { c.costs++ }

type priorityKey struct{}

func (c *testCaller) Facts() Facts {
	prompt := strings.HasPrefix(c.req.URL.Path, "/chat")
	priority, _ := c.req.Context().Value(priorityKey{}).(int)
	return Facts{Inference: prompt, Known: prompt, Model: "m", Priority: priority}
}

func (c *testCaller) WithBody(use func([]byte)) bool {
	if c.req.GetBody == nil {
		return false
	}
	rc, _ := c.req.GetBody()
	b, _ := io.ReadAll(rc)
	use(b)
	return true
}

func (c *testCaller) Start(ctx context.Context, _ StaleSource) Exchange {
	return c.tr.newExchange(ctx, c.req)
}

func (c *testCaller) Bypass(inspect Inspector) (*http.Response, error) {
	r := c.tr.newExchange(c.req.Context(), c.req).Send()
	if r.Response != nil {
		inspect.Inspect(r)
	}
	return r.Response, r.Err
}

func (c *testCaller) Deliver(res *http.Response, err error, from Exchange) (*http.Response, error) {
	return res, err
}

func (c *testCaller) DeliverShared(res *http.Response, from Exchange) (*http.Response, error) {
	return res, nil
}

func (c *testCaller) RecordOutcome(err error, from Exchange) {
	for i := range c.tr.sent() {
		c.tr.unlocked(c.tr.exchange(i), "an outcome is recorded")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcomes = append(c.outcomes, err)
}

// recorded are the outcomes so far.
func (c *testCaller) recorded() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.outcomes)
}

func (c *testCaller) SetStatus(status, detail string) {
	c.status, c.detail = status, detail
	if f := c.tr.onStatus; f != nil {
		f()
	}
}

func (c *testCaller) StoreFault(op string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, op)
}

// testExchange implements [Exchange].
type testExchange struct {
	tr       *transport
	req      *http.Request
	res      *http.Response
	complete bool
	closed   bool
}

func (tr *transport) newExchange(ctx context.Context, req *http.Request) *testExchange {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	x := &testExchange{tr: tr, req: req.Clone(ctx)}
	tr.exchanges = append(tr.exchanges, x)
	return x
}

func (x *testExchange) Request() *http.Request { return x.req }

func (x *testExchange) Send() Result {
	res, err := x.tr.base(x.req)
	if err != nil {
		return Result{Err: err, Canceled: x.req.Context().Err() != nil}
	}
	x.res = res
	res.Body = &exchangeBody{res.Body, x}
	return Result{Response: res}
}

func (x *testExchange) Discard() {
	x.tr.unlocked(x, "a response is discarded")
	if x.res != nil {
		x.res.Body.Close()
	}
}

func (x *testExchange) Again(ctx context.Context, _ StaleSource) Exchange {
	return x.tr.newExchange(ctx, x.req)
}

func (x *testExchange) Waiting() bool { return x.tr.queued }

func (x *testExchange) Complete() bool {
	x.tr.mu.Lock()
	defer x.tr.mu.Unlock()
	return x.complete
}

// wasClosed reports whether the body was closed.
func (x *testExchange) wasClosed() bool {
	x.tr.mu.Lock()
	defer x.tr.mu.Unlock()
	return x.closed
}

type exchangeBody struct {
	io.ReadCloser
	x *testExchange
}

func (b *exchangeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.x.tr.mu.Lock()
	defer b.x.tr.mu.Unlock()
	b.x.complete = b.x.complete || err == io.EOF
	return n, err
}

func (b *exchangeBody) Close() error {
	b.x.tr.unlocked(b.x, "a body is closed")
	b.x.tr.mu.Lock()
	b.x.closed = true
	b.x.tr.mu.Unlock()
	return b.ReadCloser.Close()
}

// request makes a request to a path; header is in pairs.
func request(ctx context.Context, method, path string, header ...string) *http.Request {
	var body io.Reader
	if method == "POST" {
		body = strings.NewReader(`{"model":"m"}`)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://origin.test"+path, body)
	if err != nil {
		panic(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

// response makes a response of unknown length; header is in pairs.
func response(status int, body io.Reader, header ...string) *http.Response {
	rc, ok := body.(io.ReadCloser)
	if !ok {
		rc = io.NopCloser(body)
	}
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, Body: rc, ContentLength: -1}
}

// play answers with the responses in order, and with the last one for ever. A nil
// response is an error.
func play(steps ...func() *http.Response) func(*http.Request) (*http.Response, error) {
	var mu sync.Mutex
	n := 0
	return func(*http.Request) (*http.Response, error) {
		mu.Lock()
		step := steps[min(n, len(steps)-1)]
		n++
		mu.Unlock()
		if res := step(); res != nil {
			return res, nil
		}
		return nil, io.ErrUnexpectedEOF
	}
}

// page is a response that is fresh for a minute.
func page(body string, header ...string) func() *http.Response {
	return func() *http.Response {
		return response(200, strings.NewReader(body), append([]string{"Cache-Control", "max-age=60"}, header...)...)
	}
}

// read reads a body to its end and closes it.
func read(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("body: %v", err)
	}
	res.Body.Close()
	return string(b)
}

// slowBody returns size bytes a second, n times.
type slowBody struct {
	ctx     context.Context
	n, size int
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.n == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(time.Second):
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
	b.n--
	return copy(p, strings.Repeat("x", b.size)), nil
}

func (b *slowBody) Close() error { return nil }

// slow answers with a body of n bytes, one a second.
func slow(n int) func(*http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) {
		return response(200, &slowBody{req.Context(), n, 1}, "Cache-Control", "max-age=60"), nil
	}
}
