package snubber_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/neterr"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// stressBody returns the body that the call of an id sends. Base computes it
// too, to check it.
func stressBody(id string) string {
	n, _ := strconv.Atoi(id)
	return fmt.Sprintf(`{"model":"m%d","stream":%v,"messages":[{"role":"user","content":"%s%s"}]}`, n%3, n%2 == 0, id, strings.Repeat("x", n*37%5000))
}

// storm is a base that fails in every way. It counts the open bodies and the
// requests that arrived changed.
type storm struct {
	calm    atomic.Bool
	sent    atomic.Int64
	met     [16]atomic.Int64 // by fault; the last three are no faults
	changed atomic.Int64     // requests whose bytes or header were not the caller's
	open    atomic.Int64     // response bodies that are not closed
	uploads atomic.Int64     // request bodies that are not closed

	mu   sync.Mutex
	r    *rand.Rand
	deck []int // the faults still to come, each once
}

// fault returns the next fault of a shuffled deck. Independent draws could meet
// a fault too seldom.
func (s *storm) fault() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.deck) == 0 {
		s.deck = s.r.Perm(len(s.met))
	}
	fault := s.deck[0]
	s.deck = s.deck[1:]
	return fault
}

func (s *storm) draw(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.IntN(n)
}

func (s *storm) RoundTrip(req *http.Request) (*http.Response, error) {
	s.sent.Add(1)
	fault := s.fault()
	if s.calm.Load() {
		fault = 15
	} else {
		s.met[fault].Add(1)
	}
	id := req.Header.Get("X-Id")
	if len(req.Header) != 2 || req.Header.Get("Content-Type") != "application/json" {
		s.changed.Add(1)
	}
	s.uploads.Add(1)
	upload := func(from io.Reader) {
		b, err := io.ReadAll(from)
		req.Body.Close()
		s.uploads.Add(-1)
		if err == nil && string(b) != stressBody(id) {
			s.changed.Add(1)
		}
	}
	if fault == 0 { // a response before the upload has ended; the upload goes on
		go upload(&wiretest.SlowBody{ReadCloser: req.Body, Gap: 20 * time.Millisecond})
		return s.reply(req, 503, "text/plain", "early", nil), nil
	}
	if fault == 1 {
		req.Body.Close()
		s.uploads.Add(-1)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: neterr.Refused}
	}
	upload(req.Body)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	switch fault {
	case 2:
		return s.reply(req, 500, "application/json", `{"error":{"message":"internal"}}`, nil), nil
	case 3:
		return s.reply(req, 503, "text/plain", strings.Repeat("x", 100<<10), nil), nil
	case 4:
		res := s.reply(req, 503, "application/json", `{"error":{"message":"busy"}}`, nil)
		res.Header.Set("Retry-After", strconv.Itoa(s.draw(3)))
		return res, nil
	case 5, 6:
		res := s.reply(req, 429, "application/json", wiretest.LimitedBody, nil)
		res.Header.Set("Retry-After-Ms", strconv.Itoa(s.draw(900)))
		return res, nil
	case 7:
		return nil, &net.OpError{Op: "read", Net: "tcp", Err: neterr.Reset}
	case 8: // black hole
		<-req.Context().Done()
		return nil, req.Context().Err()
	case 9: // the header and then nothing
		return s.reply(req, 200, "application/json", "", nil), nil
	case 10: // an error body that trickles
		return s.reply(req, 502, "text/plain", "bad", nil), nil
	}
	event := "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" + id + "\"}}]}\n\n"
	n, _ := strconv.Atoi(id)
	switch {
	case n%2 == 1:
		return s.reply(req, 200, "application/json", wiretest.Usage(10, 5), io.EOF), nil
	case fault == 11: // truncated
		return s.reply(req, 200, "text/event-stream", event, io.EOF), nil
	case fault == 12:
		return s.reply(req, 200, "text/event-stream", event, neterr.Reset), nil
	}
	return s.reply(req, 200, "text/event-stream", strings.Repeat(event, 5)+"data: [DONE]\n\n", io.EOF), nil
}

// reply returns a response whose body comes in pieces, some time apart. The
// body ends in end or, if that is nil, hangs until it is closed.
func (s *storm) reply(req *http.Request, status int, media, body string, end error) *http.Response {
	if status >= 400 && status != 502 {
		end = io.EOF
	}
	s.open.Add(1)
	gap := time.Duration(s.draw(300)) * time.Millisecond
	return &http.Response{
		StatusCode: status, Status: strconv.Itoa(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: wiretest.Header("Content-Type", media), ContentLength: -1,
		Body: &wiretest.WatchedBody{ReadCloser: &wiretest.SlowBody{ReadCloser: wiretest.Stuck(body, end), Gap: gap}, Closing: sync.OnceFunc(func() { s.open.Add(-1) })},
	}
}

// counted is a caller's body that counts how often it is closed.
type counted struct {
	io.Reader
	closed atomic.Int32
}

func (c *counted) Close() error { c.closed.Add(1); return nil }

// stressCall makes one call in one of many ways and returns an error if it
// breaks the contract. ok reports that a complete response was read.
func stressCall(rt http.RoundTripper, url string, id, kind int, r *rand.Rand) (ok bool, err error) {
	body := stressBody(strconv.Itoa(id))
	ctx, cancel := context.WithCancel(snubber.WithPriority(context.Background(), kind%2))
	defer cancel()
	switch r.IntN(5) {
	case 0:
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(4000))*time.Millisecond)
		defer cancel()
	case 1:
		defer time.AfterFunc(time.Duration(r.IntN(4000))*time.Millisecond, cancel).Stop()
	}
	if kind%3 == 2 { // the model is unknown, so that a retry would not be safe
		ctx = snubber.WithIdempotent(ctx)
	}
	own := &counted{Reader: strings.NewReader(body)}
	if kind == 5 { // the body is produced while it is sent
		own.Reader = &wiretest.SlowBody{ReadCloser: io.NopCloser(own.Reader), Gap: time.Millisecond}
	}
	req, err := http.NewRequestWithContext(ctx, "POST", url, own)
	if err != nil {
		return false, err
	}
	req.Header = wiretest.Header("X-Id", strconv.Itoa(id), "Content-Type", "application/json")
	switch kind % 3 {
	case 0:
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
	case 1:
		req.ContentLength = int64(len(body))
	default:
		req.ContentLength = -1
	}
	before, header := *req, req.Header.Clone()
	res, err := rt.RoundTrip(req)
	if res != nil && err != nil {
		return false, errors.New("a response and an error")
	}
	if err == nil {
		switch r.IntN(4) {
		case 0: // closed unread
		case 1:
			io.CopyN(io.Discard, res.Body, 10)
		default:
			var b []byte
			b, err = io.ReadAll(res.Body)
			ok = err == nil && res.StatusCode == 200 && len(b) > 0
			if ok && id%2 == 0 && !bytes.HasSuffix(b, []byte("data: [DONE]\n\n")) {
				return false, fmt.Errorf("a stream ended clean after %q", b)
			}
		}
		res.Body.Close()
		res.Body.Close()
	}
	if before.Body != req.Body || before.URL != req.URL || before.ContentLength != req.ContentLength || !reflect.DeepEqual(header, req.Header) {
		return false, errors.New("the caller's request was changed")
	}
	cancel()
	return ok, nil
}

// A thousand goroutines share one Transport while the service fails in every
// way at once. At the end every resource has been given back, and every attempt
// has sent the caller's bytes.
func TestTransportStress(t *testing.T) {
	for _, tt := range []struct {
		name string
		wrap func(base http.RoundTripper) *snubber.Transport
	}{
		{"New", snubber.New},
		{"without a breaker", func(base http.RoundTripper) *snubber.Transport {
			rt := snubber.New(base)
			rt.Breaker = nil
			return rt
		}},
		{"nest", func(base http.RoundTripper) *snubber.Transport {
			inner := snubber.New(base)
			inner.Limiter = nil // a learning limiter would admit a tenth of these calls
			inner.Breaker = &snubber.Breaker{Failures: 20, Ratio: 0.9}
			return snubber.New(inner)
		}},
		{"nest of two limiters", func(base http.RoundTripper) *snubber.Transport {
			inner := snubber.New(base)
			inner.Breaker = &snubber.Breaker{Failures: 20, Ratio: 0.9}
			return snubber.New(inner)
		}},
		{"routes", func(base http.RoundTripper) *snubber.Transport {
			rt := snubber.New(base)
			to := func(host string) snubber.Route {
				return snubber.Route{Transport: snubber.Reroute{URL: "https://" + host + ".example.com/v1"}}
			}
			rt.Fallback = &snubber.Fallback{Routes: []snubber.Route{to("b"), {Transport: snubber.Stale}, {Transport: &snubber.Balancer{Routes: []snubber.Route{to("c"), to("d")}}}}}
			return rt
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { stress(t, tt.wrap) })
		})
	}
}

func stress(t *testing.T, wrap func(http.RoundTripper) *snubber.Transport) {
	const goroutines, calls = 1000, 3
	base := &storm{r: rand.New(rand.NewPCG(1, 2))}
	rt := wrap(base)
	rt.Retry.Budget = &snubber.Budget{Capacity: 1000, PerSecond: 100}
	rt.Limiter = &snubber.Limiter{RequestsPerMinute: 60_000, TokensPerMinute: 10_000_000, MaxConcurrent: 200}
	rt.Timeout = &snubber.Timeout{Headers: 2 * time.Second, FirstEvent: 2 * time.Second, Idle: time.Second}
	if rt.Breaker != nil {
		rt.Breaker = &snubber.Breaker{Failures: 15, Ratio: 0.8, OpenFor: time.Second, MaxOpenFor: 2 * time.Second}
	}
	var attempts, fallbacks atomic.Int64
	rt.Observe = func(e snubber.Event) {
		switch e.Kind {
		case snubber.EventAttempt:
			attempts.Add(1)
		case snubber.EventFallback:
			fallbacks.Add(1)
		}
	}
	var succeeded atomic.Int64
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 3))
			for i := range calls {
				time.Sleep(time.Duration(r.IntN(20_000)) * time.Millisecond)
				ok, err := stressCall(rt, wiretest.ChatURL, g*calls+i, r.IntN(6), r)
				if err != nil {
					t.Errorf("call %d of goroutine %d: %v", i, g, err)
				}
				if ok {
					succeeded.Add(1)
				}
			}
		})
	}
	all.Wait()
	synctest.Wait()
	sent := base.sent.Load()
	if n := base.open.Load(); n != 0 {
		t.Errorf("%d response bodies are open", n)
	}
	// The number of requests sent depends on the storm, and a limiter that
	// learns from one refusal in eight sends few. So the sum does not show that
	// there was a storm. Instead every fault must have been met, and without a
	// second limiter often enough to have met every kind of call.
	few := int64(3)
	if inner, ok := rt.Base.(*snubber.Transport); !ok || inner.Limiter == nil {
		few = 50
	}
	for fault := range base.met {
		if n := base.met[fault].Load(); n < few {
			t.Errorf("fault %d was met %d times in %d attempts: this was no test", fault, n, sent)
		}
	}
	if n := succeeded.Load(); n < goroutines/100 || attempts.Load() == 0 {
		t.Errorf("%d of %d calls succeeded, %d attempts were seen: this was no test", n, goroutines*calls, attempts.Load())
	}
	if n := fallbacks.Load(); rt.Fallback != nil && n < 200 {
		t.Errorf("%d fallbacks: this was no test", n)
	}
	idle(t, rt.Limiter)

	base.calm.Store(true)
	time.Sleep(15 * time.Minute) // longer than any circuit, hold, probe or upload lasts
	if n := base.uploads.Load(); n != 0 {
		t.Errorf("%d request bodies are open", n)
	}
	if n := base.changed.Load(); n != 0 {
		t.Errorf("%d of %d requests arrived changed", n, sent)
	}
	for id := range 24 {
		req := wiretest.NewRequest(t, "POST", wiretest.ChatURL, stressBody(strconv.Itoa(id)), "X-Id", strconv.Itoa(id), "Content-Type", "application/json")
		if id%2 == 0 { // of unknown length, so that the model is unknown
			req.GetBody, req.ContentLength = nil, -1
		}
		if e := <-wiretest.Launch(rt, req); e.Status != 200 {
			t.Errorf("call %d after the storm: %+v", id, e)
		}
	}
	for ; rt != nil; rt, _ = rt.Base.(*snubber.Transport) {
		if rt.Limiter != nil {
			idle(t, rt.Limiter)
		}
		if rt.Breaker == nil {
			continue
		}
		for _, c := range rt.Breaker.Circuits() {
			if c.State != snubber.CircuitClosed && strings.HasPrefix(c.Key, "https://api.") { // no call reached the others since
				t.Errorf("circuit %s is %v after the storm", c.Key, c.State)
			}
		}
	}
	t.Logf("%d calls, %d attempts, %d fallbacks, %d succeeded", goroutines*calls, sent, fallbacks.Load(), succeeded.Load())
}

// The same load over real sockets, where the connection pool, the write loop
// and the resets are net/http's own. It has no 429s, because the Limiter would
// slow down for them on the real clock.
func TestTransportStressOverSockets(t *testing.T) {
	const goroutines, calls = 40, 5
	p := &snubbertest.Provider{Latency: time.Millisecond}
	p.Inject(
		snubbertest.Fault{Kind: snubbertest.BrownOut, Chance: 0.15, Seed: 1},
		snubbertest.Fault{Kind: snubbertest.Disconnect, Chance: 0.1, Seed: 2},
		snubbertest.Fault{Kind: snubbertest.Truncate, Chance: 0.1, Seed: 3, After: 2},
		snubbertest.Fault{Kind: snubbertest.Reset, Chance: 0.1, Seed: 4, After: 2},
		snubbertest.Fault{Kind: snubbertest.BlackHole, Chance: 0.02, Seed: 6},
	)
	srv := snubbertest.NewServer(p)
	defer srv.Close()
	wire := &http.Transport{MaxConnsPerHost: 20}
	defer wire.CloseIdleConnections()
	base := &wiretest.OpenBodies{Base: wire}
	rt := snubber.New(base)
	rt.Retry = &snubber.Retry{MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, Budget: &snubber.Budget{Capacity: -1}}
	rt.Breaker = &snubber.Breaker{Failures: -1, Ratio: -1}
	rt.Limiter = &snubber.Limiter{MaxConcurrent: 16}
	rt.Timeout = &snubber.Timeout{Headers: 300 * time.Millisecond, Idle: 300 * time.Millisecond}
	var succeeded atomic.Int64
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 4))
			for i := range calls {
				ok, err := stressCall(rt, srv.URL+"/v1/chat/completions", g*calls+i, r.IntN(5), r)
				if err != nil {
					t.Errorf("call %d of goroutine %d: %v", i, g, err)
				}
				if ok {
					succeeded.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := base.Open.Load(); n != 0 {
		t.Errorf("%d response bodies are open", n)
	}
	idle(t, rt.Limiter)
	arrived := 0
	for _, c := range p.Calls() {
		if len(c.Body) == 0 && c.Cancelled {
			continue // cancelled while it was sent
		}
		arrived++
		if want := stressBody(c.Header.Get("X-Id")); !c.Cancelled && string(c.Body) != want {
			t.Errorf("a request arrived as %d bytes, want %d", len(c.Body), len(want))
		}
	}
	if succeeded.Load() == 0 || arrived < goroutines*calls/2 {
		t.Errorf("%d succeeded, %d arrived: this was no test", succeeded.Load(), arrived)
	}
}
