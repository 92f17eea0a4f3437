package rttest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// contextRules are about who may end a call, and when.
func contextRules() []Rule {
	return []Rule{
		rule("context-outlives-return",
			"the attempt's context is alive for as long as the body is read", contextLives),
		rule("context-released",
			"a context made for an attempt ends with it: at the end of the body, at Close, or when it failed", contextReleased),
		rule("done-before",
			"a call whose context is done sends nothing and returns the context's error at once", doneBefore),
		rule("cancel-in-flight",
			"a call that is canceled returns context.Canceled at once", cancelInFlight),
		rule("cancel-while-reading",
			"a call that is canceled while its body is read ends the Read at once, with context.Canceled", cancelReading),
		rule("deadline",
			"at the caller's deadline the call returns context.DeadlineExceeded, or the response that it has", deadline),
	}
}

func contextLives(t *trial) {
	for _, p := range passed() {
		for _, status := range []int{200, 301, 400, 503} {
			ctx, _ := t.context()
			req, _ := p.request(ctx)
			w := t.wire(func(a *attempt) (*http.Response, error) {
				// The body fails once its context is done, as on a real wire.
				return a.stream(status, p.kind, func(i int) part {
					next := whole(p.pieces...)(i)
					next.wait = 100 * time.Millisecond
					return next
				}), nil
			})
			res := t.response(t.wrap(w), req)
			time.Sleep(trialSettling)
			t.finish(res)
		}
	}
}

func contextReleased(t *trial) {
	for _, o := range outcomes() {
		for _, s := range []shape{get, chat} {
			for _, toEOF := range []bool{true, false} {
				ctx, cancel := t.context()
				req, _ := s.request(ctx)
				w := t.wire(o.answer)
				if o.name == "no answer" {
					time.AfterFunc(time.Second, cancel) // and so there is nothing left to release
				}
				res, err := t.roundTrip(t.wrap(w), req)
				if err == nil && toEOF {
					t.read(res)
				} else if err == nil {
					t.close(res)
				}
				time.Sleep(trialSettling)
				for _, a := range w.seen() {
					own := a.req.Context()
					if own.Done() != ctx.Done() && own.Err() == nil {
						t.fatalf("%s gets %s, read to EOF: %t: the context of attempt %d is still alive", s.name, o.name, toEOF, a.n)
					}
				}
				if err == nil {
					t.close(res)
				}
			}
		}
	}
}

func doneBefore(t *trial) {
	errCause := errors.New("the user left")
	because, cancel := context.WithCancelCause(context.Background())
	cancel(errCause)
	canceled, stop := context.WithCancel(context.Background())
	stop()
	for _, c := range []struct {
		ctx  context.Context
		want []error // any of them
	}{
		{canceled, []error{context.Canceled}},
		{because, []error{context.Canceled, errCause}}, // http.Transport returns the cause alone
		{t.timeout(-time.Second), []error{context.DeadlineExceeded}},
	} {
		for _, s := range shapes() {
			req, _ := s.request(c.ctx)
			w := t.wire(func(a *attempt) (*http.Response, error) {
				t.errorf("%s: an attempt was made, the context being done (%v)", s.name, c.ctx.Err())
				return a.ok(), nil
			})
			res, err := t.roundTripWithin(trialSoon, t.wrap(w), req)
			if err == nil {
				t.fatalf("%s: RoundTrip = %s, want %v", s.name, res.Status, c.want[0])
			}
			if !isOneOf(err, c.want) {
				t.fatalf("%s: RoundTrip = %w, want %v", s.name, err, c.want[0])
			}
		}
	}
}

func isOneOf(err error, targets []error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func cancelInFlight(t *trial) {
	for _, s := range shapes() {
		ctx, cancel := t.context()
		req, _ := s.request(ctx)
		time.AfterFunc(3*time.Second, cancel)
		res, err := t.roundTripWithin(3*time.Second+trialSoon, t.wrap(t.wire((*attempt).hang)), req)
		if err == nil {
			t.fatalf("%s: RoundTrip = %s, want context.Canceled", s.name, res.Status)
		}
		if !errors.Is(err, context.Canceled) {
			t.fatalf("%s: RoundTrip = %w, want context.Canceled", s.name, err)
		}
	}
}

func cancelReading(t *trial) {
	for _, p := range passed() {
		ctx, cancel := t.context()
		req, _ := p.request(ctx)
		w := t.wire(func(a *attempt) (*http.Response, error) {
			return a.stream(200, p.kind, func(i int) part {
				if i == 0 {
					return part{data: p.pieces[0]}
				}
				return part{wait: 10 * time.Hour, err: errRead}
			}), nil
		})
		res := t.response(t.wrap(w), req)
		time.AfterFunc(3*time.Second, cancel)
		var err error
		t.within(3*time.Second+trialSoon, p.name+": reading a body whose call is canceled", func() { _, err = io.Copy(io.Discard, res.Body) })
		if !errors.Is(err, context.Canceled) {
			t.fatalf("%s: reading a body whose call was canceled ends with %v, want context.Canceled", p.name, err)
		}
		t.close(res)
	}
}

func deadline(t *trial) {
	const left = 5 * time.Second
	failing := func(a *attempt) (*http.Response, error) { return a.sorry(503), nil }
	for _, s := range shapes() {
		for _, answer := range []func(*attempt) (*http.Response, error){(*attempt).hang, failing,
			func(a *attempt) (*http.Response, error) {
				if a.n == 1 {
					return failing(a)
				}
				return a.hang()
			}} {
			req, _ := s.request(t.timeout(left))
			w := t.wire(answer)
			res, err := t.roundTripWithin(left+trialSoon, t.wrap(w), req)
			switch {
			case err == nil && len(w.opened()) == 0:
				t.fatalf("%s: RoundTrip = %s, want context.DeadlineExceeded", s.name, res.Status)
			case err == nil:
				t.close(res)
			case !errors.Is(err, context.DeadlineExceeded):
				t.fatalf("%s: RoundTrip = %w, want context.DeadlineExceeded", s.name, err)
			}
		}
	}
}
