package rttest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"
)

// transportRules are about the transport as a whole, over many calls.
func transportRules() []Rule {
	return []Rule{
		rule("close-idle-connections",
			"CloseIdleConnections is there, for http.Client to find, and reaches the base", closeIdle),
		rule("concurrent-use",
			"many goroutines can use the transport, each gets its own answer", concurrent),
		rule("base-panic",
			"a panic of the base is not swallowed, and whatever the call held is given back", basePanic),
		rule("no-goroutine-left",
			"when a call has ended, so have its goroutines", noGoroutineLeft),
	}
}

func closeIdle(t *trial) {
	w := t.wire(func(a *attempt) (*http.Response, error) { return a.ok(), nil })
	rt := t.wrap(w)
	closer, ok := rt.(interface{ CloseIdleConnections() })
	if !ok {
		t.fatalf("%T has no method CloseIdleConnections", rt)
	}
	t.within(trialSoon, "CloseIdleConnections", closer.CloseIdleConnections)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idle == 0 {
		t.fatalf("CloseIdleConnections of %T does not reach the base", rt)
	}
}

func concurrent(t *trial) {
	const callers, calls = 16, 3
	w := t.wire(func(a *attempt) (*http.Response, error) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-a.req.Context().Done():
			return nil, context.Cause(a.req.Context())
		}
		if a.n%8 == 0 {
			return a.reply(503, "text/plain", a.req.Header.Get("X-Id")), nil
		}
		return a.reply(200, "text/plain", string(a.sent)), nil
	})
	rt := t.wrap(w)
	kinds := []shape{get, chat, chatOnce, chatPiped, post, postPiped, put, putPiped}
	t.within(trialPatience, "calls of many goroutines", func() {
		var all sync.WaitGroup
		defer all.Wait()
		for c := range callers {
			all.Add(1)
			go func() {
				defer all.Done()
				for i := range calls {
					s := kinds[(c+i)%len(kinds)]
					id := fmt.Sprintf("%d-%d", c, i)
					if s.text != "" {
						s.text = fmt.Sprintf(`{"model":"m-1","messages":[{"role":"user","content":"%s"}],"max_tokens":16}`, id)
					}
					ctx, _ := t.context()
					req, up := s.request(ctx)
					req.Header.Set("X-Id", id)
					res, err, fault := exchange(rt, req)
					if fault == nil {
						fault = err
					}
					if fault != nil {
						t.errorf("%s, one of %d callers: %w", s.name, callers, fault)
						return
					}
					want := s.text
					if res.StatusCode == 503 {
						want = id
					}
					if got, err := io.ReadAll(res.Body); err != nil || string(got) != want {
						t.errorf("%s, one of %d callers: %s with %q (%v), want %q", s.name, callers, res.Status, got, err, want)
					}
					res.Body.Close()
					time.Sleep(trialSettling)
					if n, _ := up.unclosed(); n > 0 {
						t.errorf("%s, one of %d callers: a request body was not closed", s.name, callers)
					}
				}
			}()
		}
	})
	for i, body := range w.opened() {
		if !body.isClosed() {
			t.fatalf("the body of attempt %d was not closed", i+1)
		}
	}
}

func basePanic(t *trial) {
	boom := errors.New("boom")
	for _, s := range []shape{get, chat, chatPiped} {
		var healthy bool
		w := t.wire(func(a *attempt) (*http.Response, error) {
			if healthy {
				return a.ok(), nil
			}
			panic(boom)
		})
		rt := t.wrap(w)
		// More than the four permits that a careful limiter begins with, and
		// fewer than the failures that open a circuit.
		for i := range 6 {
			before := len(w.seen())
			req, _ := s.request(t.timeout(time.Minute))
			_, _, fault := t.exchangeWithin(trialPatience, rt, req)
			var p *panicError
			switch {
			case errors.As(fault, &p) && p.value == boom:
			case fault != nil:
				t.fatalf("%s, call %d over a base that panics: %w", s.name, i+1, fault)
			case len(w.seen()) > before:
				t.fatalf("%s: the panic of the base was swallowed", s.name)
			}
		}
		healthy = true
		// A circuit may have opened, which is no reason to stay so.
		var err, fault error
		for range 20 {
			req, _ := s.request(t.timeout(time.Minute))
			var res *http.Response
			res, err, fault = t.exchangeWithin(time.Minute+trialSoon, rt, req)
			if fault != nil {
				t.fatalf("%s, after the base had panicked: %w", s.name, fault)
			}
			if err == nil {
				t.finish(res)
				break
			}
			time.Sleep(time.Minute)
		}
		if err != nil {
			t.fatalf("%s: twenty minutes after the base had panicked, RoundTrip = %w", s.name, err)
		}
	}
}

// noGoroutineLeft does not wait for the bubble to find a leak, because a
// bubble that is left with one takes the test binary down.
func noGoroutineLeft(t *trial) {
	id := fmt.Sprintf("%p", t)
	ctx, _ := t.context() // alive until after the count, as a server's is
	pprof.Do(ctx, pprof.Labels("rttest", id), func(ctx context.Context) {
		for _, o := range outcomes() {
			for _, s := range []shape{get, chat, putPiped} {
				ctx, cancel := context.WithCancel(ctx)
				req, _ := s.request(ctx)
				if o.name == "no answer" {
					time.AfterFunc(time.Second, cancel)
				}
				res, err := t.roundTrip(t.wrap(t.wire(o.answer)), req)
				if err == nil && s.text == "" {
					t.read(res)
				}
				if err == nil {
					t.close(res)
				}
				t.atEnd(cancel)
			}
		}
	})
	time.Sleep(time.Hour) // a refresh in the background may go on for a while
	if n := labeled(id); n > 0 {
		t.fatalf("an hour after the last call has ended, %d goroutines that began in a call are left", n)
	}
}

// labeled counts the goroutines with the label rttest=id: a goroutine has the
// labels of the one that started it.
func labeled(id string) (n int) {
	var profile bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&profile, 1)
	count := 0 // of the stack that the line belongs to
	for lines := bufio.NewScanner(&profile); lines.Scan(); {
		line := lines.Text()
		if head, _, ok := strings.Cut(line, " @ "); ok {
			count, _ = strconv.Atoi(head)
		}
		if strings.HasPrefix(line, "# labels:") && strings.Contains(line, id) {
			n += count
		}
	}
	return n
}
