package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// call is one thing that a caller wants, however many times it takes to ask.
type call struct {
	id    int
	begun time.Duration
	model int // which service it goes to

	attempts int // that reached a service
	ended    time.Duration
	ok       bool
}

type callKey struct{}

// world is the services as their clients see them, an [http.RoundTripper], with a
// book of all that happened. It belongs to one synctest bubble.
type world struct {
	s        *scenario
	seed     uint64
	start    time.Time
	lucky    bool      // the oracle's attempts do not fail by chance
	services []service // by model
	recovers time.Duration

	mu    sync.Mutex // never held while waiting: that would stop the bubble's clock
	calls []*call
	wire  []wire
}

// wire is one request that reached a service.
type wire struct {
	at    time.Duration
	model int
	ok    bool
}

func newWorld(s *scenario, seed uint64) *world {
	w := &world{s: s, seed: seed, start: time.Now(), recovers: s.recovers}
	if s.varies > 0 {
		w.recovers += time.Duration(w.random(1<<30, 0).Int64N(int64(2*s.varies))) - s.varies
	}
	for i := range max(1, s.models) {
		w.services = append(w.services, s.service(i, w.recovers))
	}
	return w
}

// random is the source of one attempt, so that no call's luck depends on who came
// first.
func (w *world) random(id, attempt int) *rand.Rand {
	return rand.New(rand.NewPCG(w.seed, uint64(id)<<20|uint64(attempt)))
}

func (w *world) now() time.Duration { return time.Since(w.start) }

func (w *world) arrive(c *call) answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.attempts++
	at := w.now()
	a := w.services[c.model].arrive(at, w.random(c.id, c.attempts))
	for n := c.attempts; w.lucky && a.status != 200; { // which replica is healthy, the oracle knows
		n++
		a = w.services[c.model].arrive(at, w.random(c.id, n))
	}
	w.wire = append(w.wire, wire{at, c.model, a.status == 200 && !a.hangs})
	return a
}

var errReset = fmt.Errorf("read: %w", syscall.ECONNRESET)

// RoundTrip implements [http.RoundTripper].
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	return w.send(req, func() {})
}

// send is RoundTrip. It calls arrived when the request has reached the service.
func (w *world) send(req *http.Request, arrived func()) (*http.Response, error) {
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		arrived()
		return nil, err
	}
	a := w.arrive(ctx.Value(callKey{}).(*call))
	arrived()
	if a.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err := sleep(ctx, a.after); err != nil {
		return nil, err
	}
	if a.status == 0 {
		return nil, errReset
	}
	return respond(req, a), nil
}

func respond(req *http.Request, a answer) *http.Response {
	body := `{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Yes."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}`
	h := http.Header{"Content-Type": {"application/json"}}
	if a.status != 200 {
		body = `{"error":{"message":"The server is overloaded or not ready yet.","type":"server_error","param":null,"code":null}}`
		if a.retryAfter != 0 {
			h.Set("Retry-After", strconv.Itoa(int(math.Ceil(a.retryAfter.Seconds()))))
		}
	}
	return &http.Response{
		StatusCode: a.status, Status: fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Request: req, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errStatus = errors.New("not an answer")

// ask makes the call over a client, and returns nil for an answer.
func ask(ctx context.Context, client *http.Client, c *call) error {
	body := fmt.Sprintf(`{"model":"gpt-4o-%d","messages":[{"role":"user","content":"Is it so?"}]}`, c.model)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.openai.com/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer sk-simulated")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return errStatus
	}
	return nil
}

// simulate plays a scenario for one contender. It must run in a bubble. Calls come
// evenly, each at a random instant of its own part of the time, whether or not those
// before them are done.
func simulate(s *scenario, who *contender, seed uint64) *run {
	w := newWorld(s, seed)
	ctx, cancel := context.WithCancel(context.Background())
	over := time.AfterFunc(s.lasts+s.patience(), cancel)
	client := &http.Client{Transport: who.make(w)}
	var all sync.WaitGroup
	gap := time.Duration(float64(time.Second) / s.rate)
	for i := range int(s.lasts / gap) {
		r := w.random(i, 0)
		c := &call{id: i, begun: time.Duration(i)*gap + time.Duration(r.Int64N(int64(gap))), model: i % max(1, s.models)}
		w.calls = append(w.calls, c)
		all.Go(func() {
			if sleep(ctx, c.begun) != nil {
				return
			}
			ctx, stop := context.WithValue(ctx, callKey{}, c), context.CancelFunc(func() {})
			if d := s.deadlineOf(w.random(i, 1<<19)); d > 0 {
				ctx, stop = context.WithTimeout(ctx, d)
			}
			defer stop()
			err := ask(ctx, client, c)
			w.mu.Lock()
			defer w.mu.Unlock()
			c.ended, c.ok = w.now(), err == nil && w.now()-c.begun <= s.patience()
		})
	}
	all.Wait()
	over.Stop()
	cancel()
	return w.measure()
}

// run is what became of a scenario in the hands of one contender.
type run struct {
	s        *scenario
	recovers time.Duration
	calls    []*call
	wire     []wire
	down     func(at time.Duration, model int) bool
}

func (w *world) measure() *run {
	fresh := newWorld(w.s, w.seed) // a service's state is not what decides when it fails
	return &run{s: w.s, recovers: w.recovers, calls: w.calls, wire: w.wire, down: func(at time.Duration, model int) bool { return fresh.services[model].failing(at) }}
}

func share(n, of int) float64 { return float64(n) / math.Max(1, float64(of)) }

// answered is the share of the calls that were answered in time.
func (r *run) answered() float64 { return 1 - share(r.lost(), len(r.calls)) }

func (r *run) lost() (n int) {
	for _, c := range r.calls {
		if !c.ok {
			n++
		}
	}
	return n
}

// lostAfter counts the lost calls that came after the last failure's end.
func (r *run) lostAfter() (n int) {
	for _, c := range r.calls {
		if !c.ok && c.begun >= r.recovers {
			n++
		}
	}
	return n
}

// came counts the calls that came while their service failed.
func (r *run) came() (n int) {
	for _, c := range r.calls {
		if r.down(c.begun, c.model) {
			n++
		}
	}
	return n
}

// into counts the requests into the failure.
func (r *run) into() (n int) {
	for _, w := range r.wire {
		if r.down(w.at, w.model) {
			n++
		}
	}
	return n
}

// amplification is the number of requests for each call, of those that came while the
// service failed.
func (r *run) amplification() float64 { return share(r.into(), r.came()) }

// lag is the time from the recovery to the first answer after it.
func (r *run) lag() time.Duration {
	first := time.Duration(math.MaxInt64)
	for _, w := range r.wire {
		if w.ok && w.at >= r.recovers {
			first = min(first, w.at-r.recovers)
		}
	}
	return first
}

// took is a quantile of the time that the calls took, answered or refused.
func (r *run) took(q float64, ok bool) time.Duration {
	var ds []time.Duration
	for _, c := range r.calls {
		if c.ok == ok && c.ended > 0 {
			ds = append(ds, c.ended-c.begun)
		}
	}
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[int(math.Ceil(q*float64(len(ds))))-1]
}

// goodput is the calls answered a second in the span, by when their answer came.
func (r *run) goodput(s span) float64 {
	n := 0
	for _, c := range r.calls {
		if c.ok && s.has(c.ended) {
			n++
		}
	}
	return float64(n) / s.long().Seconds()
}

// recovered is when the last five seconds in which fewer than 95 of 100 calls that
// had come were answered ended, after the end of the failure; its second value is
// false if that never was.
func (r *run) recovered() (time.Duration, bool) {
	const bin = 5 * time.Second
	came, answered := map[time.Duration]int{}, map[time.Duration]int{}
	for _, c := range r.calls {
		came[c.begun/bin]++
		if c.ok && c.ended-c.begun < bin {
			answered[c.begun/bin]++
		}
	}
	last := r.recovers
	for b, n := range came {
		if float64(answered[b]) < 0.95*float64(n) {
			last = max(last, (b+1)*bin)
		}
	}
	return last - r.recovers, last+bin < r.s.lasts
}
