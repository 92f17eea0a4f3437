package rttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// trialPatience is how long a call may take where a rule names no other bound.
	// It has room for every backoff a sane policy makes.
	trialPatience = time.Hour

	// trialSoon is what "at once" means: no virtual time passes in a call that does
	// not wait for anything, so this is generous.
	trialSoon = 100 * time.Millisecond

	// trialSettling is the time given to whatever a transport may finish after it
	// returned, such as closing the request's body (http.RoundTripper allows
	// that to happen later).
	trialSettling = time.Second
)

// A trial is one run of a rule. As with testing.T, fatalf ends it and belongs
// to its own goroutine, while errorf may come from anywhere: a transport can
// call the wire from a goroutine of its own.
type trial struct {
	wrap func(http.RoundTripper) http.RoundTripper
	free chan struct{} // closed at the end: whatever the wires hold back lets go

	mu   sync.Mutex
	err  error    // the first one
	ends []func() // run in reverse order by release
}

type fatal struct{ err error }

// panicError is a panic that came out of the transport.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

func rule(name, doc string, f func(*trial)) Rule {
	return Rule{Name: name, Doc: doc, Check: func(wrap func(http.RoundTripper) http.RoundTripper) (err error) {
		t := &trial{wrap: wrap, free: make(chan struct{})}
		defer func() {
			if r := recover(); r != nil {
				if f, ok := r.(fatal); ok {
					t.errorf("%w", f.err)
				} else {
					t.errorf("%w", &panicError{r, debug.Stack()})
				}
			}
			t.release()
			t.mu.Lock()
			defer t.mu.Unlock()
			err = t.err
		}()
		f(t)
		return
	}}
}

func (t *trial) errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = fmt.Errorf(format, args...)
	}
}

func (t *trial) fatalf(format string, args ...any) {
	panic(fatal{fmt.Errorf(format, args...)})
}

// atEnd is the trial's defer.
func (t *trial) atEnd(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ends = append(t.ends, f)
}

// release frees everything that the trial holds, so that even a transport that
// broke the rule leaves no goroutine behind because of us.
func (t *trial) release() {
	t.mu.Lock()
	ends := t.ends
	t.ends = nil
	select {
	case <-t.free:
	default:
		close(t.free)
	}
	t.mu.Unlock()
	for i := len(ends) - 1; i >= 0; i-- {
		func() {
			defer func() { _ = recover() }() // the verdict is there already
			ends[i]()
		}()
	}
}

// context is a caller's context. It ends with the trial at the latest.
func (t *trial) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	t.atEnd(cancel)
	return ctx, cancel
}

func (t *trial) timeout(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.atEnd(cancel)
	return ctx
}

// run calls f and returns the panic that came out of it, or an error if it
// took longer than d. In that case everything is released first, and f has
// practically for ever to come back.
func (t *trial) run(d time.Duration, f func()) error {
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }()
		defer func() {
			if r := recover(); r != nil {
				err = &panicError{r, debug.Stack()}
			}
		}()
		f()
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
	}
	t.release()
	select {
	case <-done:
	case <-time.After(50 * 365 * 24 * time.Hour):
	}
	return fmt.Errorf("not done after %v", d)
}

// within is run for what has to succeed.
func (t *trial) within(d time.Duration, what string, f func()) {
	if err := t.run(d, f); err != nil {
		t.fatalf("%s: %w", what, err)
	}
}

// exchange makes one call and holds it to what every rule needs to go on:
// fault tells of a panic, of both or neither of response and error, and of a
// response without a body.
func exchange(rt http.RoundTripper, req *http.Request) (res *http.Response, err, fault error) {
	defer func() {
		if r := recover(); r != nil {
			fault = &panicError{r, debug.Stack()}
		}
	}()
	res, err = rt.RoundTrip(req)
	switch {
	case res == nil && err == nil:
		fault = errors.New("RoundTrip returned neither a response nor an error")
	case res != nil && err != nil:
		fault = fmt.Errorf("RoundTrip returned both a response (%s) and an error (%v)", res.Status, err)
	case res != nil && res.Body == nil:
		fault = fmt.Errorf("RoundTrip returned a response (%s) with a nil Body", res.Status)
	}
	return res, err, fault
}

func (t *trial) exchangeWithin(d time.Duration, rt http.RoundTripper, req *http.Request) (res *http.Response, err, fault error) {
	late := t.run(d, func() { res, err, fault = exchange(rt, req) })
	if late != nil {
		return nil, nil, fmt.Errorf("RoundTrip: %w", late)
	}
	if res != nil && res.Body != nil {
		t.atEnd(func() { res.Body.Close() })
	}
	return res, err, fault
}

// roundTripWithin makes one call, which has to return within d.
func (t *trial) roundTripWithin(d time.Duration, rt http.RoundTripper, req *http.Request) (*http.Response, error) {
	res, err, fault := t.exchangeWithin(d, rt, req)
	if fault != nil {
		t.fatalf("%w", fault)
	}
	return res, err
}

func (t *trial) roundTrip(rt http.RoundTripper, req *http.Request) (*http.Response, error) {
	return t.roundTripWithin(trialPatience, rt, req)
}

// response is roundTrip for calls that have to get a response.
func (t *trial) response(rt http.RoundTripper, req *http.Request) *http.Response {
	res, err := t.roundTrip(rt, req)
	if err != nil {
		t.fatalf("RoundTrip = %w, want a response", err)
	}
	return res
}

// finish reads a response to its end and closes it, as a good caller does, and
// returns the bytes. After it, nothing of the call may be left.
func (t *trial) finish(res *http.Response) []byte {
	data, err := t.read(res)
	if err != nil {
		t.fatalf("reading the body of a %s: %w", res.Status, err)
	}
	t.close(res)
	time.Sleep(trialSettling)
	return data
}

func (t *trial) close(res *http.Response) {
	t.within(trialPatience, "closing the body", func() { res.Body.Close() })
}

// read is io.ReadAll with patience.
func (t *trial) read(res *http.Response) (data []byte, err error) {
	t.within(trialPatience, "reading the body", func() { data, err = io.ReadAll(res.Body) })
	return data, err
}
