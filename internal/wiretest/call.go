package wiretest

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Fetch makes the round trip and reads the body to its end.
func Fetch(rt http.RoundTripper, req *http.Request) (status int, err error) {
	res, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// ReadAll reads and closes a response's body.
func ReadAll(t testing.TB, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		t.Errorf("body: %v", err)
	}
	return string(b)
}

// ReadOnce reads once from a body that has bytes.
func ReadOnce(t testing.TB, body io.Reader) string {
	t.Helper()
	p := make([]byte, 4096)
	n, err := body.Read(p)
	if err != nil {
		t.Fatalf("Read = %d, %v, want bytes", n, err)
	}
	return string(p[:n])
}

// Result is how a call of [Launch] ended, and how long it took.
type Result struct {
	Took   time.Duration
	Status int
	Body   string
	Err    error
}

// Launch makes a call in a goroutine of its own and returns when only time can
// change anything. So calls that are launched in turn arrive in that order.
func Launch(rt http.RoundTripper, req *http.Request) <-chan Result {
	c := make(chan Result, 1)
	start := time.Now()
	go func() {
		res, err := rt.RoundTrip(req)
		r := Result{Err: err}
		if err == nil {
			b, rerr := io.ReadAll(res.Body)
			res.Body.Close()
			r.Status, r.Body, r.Err = res.StatusCode, string(b), rerr
		}
		r.Took = time.Since(start)
		c <- r
	}()
	synctest.Wait()
	return c
}

// FetchAll makes n calls at the same time and reads their bodies. It returns
// how often each body came, and the errors.
func FetchAll(t testing.TB, rt http.RoundTripper, n int, req func(int) *http.Request) (bodies map[string]int, errs []error) {
	t.Helper()
	bodies = make(map[string]int)
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range n {
		r := req(i)
		all.Go(func() {
			res, err := rt.RoundTrip(r)
			var b []byte
			if err == nil {
				b, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			bodies[string(b)]++
		})
	}
	all.Wait()
	return bodies, errs
}

// Sleep sleeps for d, and returns the context's error if that ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// About reports whether a time is the expected one. A timer may be late by the
// nanoseconds that make a fraction of a token whole.
func About(got, want time.Duration) bool { return got >= want && got <= want+time.Microsecond }

// LateContext is a context whose end only Done and Err show: its AfterFunc never
// calls the function.
type LateContext struct {
	context.Context
	Ended chan struct{}
}

// Done returns Ended.
func (c *LateContext) Done() <-chan struct{} { return c.Ended }

// AfterFunc never calls the function.
func (c *LateContext) AfterFunc(func()) func() bool { return func() bool { return true } }

// Err returns [context.Canceled] when Ended is closed.
func (c *LateContext) Err() error {
	select {
	case <-c.Ended:
		return context.Canceled
	default:
		return nil
	}
}
