package main

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// call is one thing that a caller wants, however many times it takes to ask.
// What it is follows from the seed and its number alone, so that every
// contender has the same work.
type call struct {
	id, client, priority int
	input, output, max   int           // tokens
	service              time.Duration // from being let in to the answer
	begun                time.Duration

	attempts int           // that reached the provider
	admitted time.Duration // when it let it in; 0: not yet
	ended    time.Duration
	ok       bool
	cut      bool // ended by the end of the scenario and not by whoever made it
}

// reserved is what the provider charges when the call arrives, and used what it
// has charged in the end.
func (p *provider) reserved(c *call) float64 {
	if p.later {
		return float64(c.input)
	}
	return float64(c.input + c.max)
}

func (p *provider) used(c *call) float64 {
	if p.later || p.refund {
		return float64(c.input + c.output)
	}
	return p.reserved(c)
}

type callKey struct{}

// world is the provider as its clients see it, an [http.RoundTripper], with a
// book of all that happened. It belongs to one synctest bubble.
type world struct {
	p    *provider
	seed uint64
	load load

	mu       sync.Mutex // never held while waiting: that would stop the bubble's clock
	start    time.Time
	now      state
	calls    []*call
	admitted []entry // when which client was let in
	rejected []entry
	freed    chan struct{} // closed and replaced when a call ends
	turn     turn          // the oracle's
	limiters []*snubber.Limiter
}

type entry struct {
	at     time.Duration
	client int
}

func newWorld(s *scenario, seed uint64) *world {
	return &world{p: &s.provider, seed: seed, load: s.load, start: time.Now(), now: s.provider.fresh(), freed: make(chan struct{})}
}

// random is the source of one attempt, so that no call's luck depends on who
// came first.
func (w *world) random(id, attempt int) *rand.Rand {
	return rand.New(rand.NewPCG(w.seed, uint64(id)<<20|uint64(attempt)))
}

// begin enters the next call of a client into the book.
func (w *world) begin(client, priority int) *call {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.load.work(len(w.calls), w.random(len(w.calls), 0))
	c.client, c.priority, c.begun = client, priority, time.Since(w.start)
	w.calls = append(w.calls, c)
	return c
}

// until is for the oracle alone.
func (w *world) until(c *call) (time.Duration, chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, why := w.p.until(w.now, time.Since(w.start), w.p.reserved(c))
	if why == none {
		return 0, nil
	}
	return d, w.freed
}

// arrive lets a call in, or not.
func (w *world) arrive(c *call) verdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := time.Since(w.start)
	c.attempts++
	var v verdict
	w.now, v = w.p.arrive(w.now, at, w.p.reserved(c), w.random(c.id, c.attempts).Float64())
	if v.over != none {
		w.rejected = append(w.rejected, entry{at, c.client})
		return v
	}
	c.admitted = at
	w.admitted = append(w.admitted, entry{at, c.client})
	return v
}

func (w *world) depart(c *call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.p.depart(w.now, time.Since(w.start), w.p.reserved(c), w.p.used(c))
	close(w.freed)
	w.freed = make(chan struct{})
}

// RoundTrip implements [http.RoundTripper].
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	c := req.Context().Value(callKey{}).(*call)
	v, written := w.arrive(c), time.Now() // the gateway looks at the quota when a call comes in
	if err := w.serve(req.Context(), c, v); err != nil {
		return nil, err
	}
	return w.p.respond(req, c, v, written), nil
}

// serve takes the time that an answer takes.
func (w *world) serve(ctx context.Context, c *call, v verdict) error {
	if v.over != none {
		return sleep(ctx, 20*time.Millisecond+time.Duration(w.random(c.id, c.attempts).Int64N(int64(40*time.Millisecond))))
	}
	defer w.depart(c)
	return sleep(ctx, c.service)
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

// load is who wants what, and when.
type load struct {
	streams []stream
	work    func(id int, r *rand.Rand) *call
}

// stream is a source of calls: workers that each make one after the other, or
// calls that come by chance whether or not those before them are done.
type stream struct {
	client   int // streams of one client share one contender
	workers  int
	arrivals float64       // a second, in the place of workers
	calls    int           // in all; 0: until it ends
	from, to time.Duration // to 0: until all is over
	priority int
}

// batch is how many calls there are in all, 0 where they do not end by number.
func (l load) batch() (n int) {
	for _, st := range l.streams {
		if st.calls == 0 {
			return 0
		}
		n += st.calls
	}
	return n
}

// clients is how many there are, numbered from zero.
func (l load) clients() (n int) {
	for _, st := range l.streams {
		n = max(n, st.client+1)
	}
	return n
}

// endless reports whether the load ends by the clock.
func (l load) endless() bool { return l.batch() == 0 }

// chat is a call with a short prompt whose answer takes about a second.
func chat(id int, r *rand.Rand) *call {
	return &call{id: id, input: 20 + r.IntN(20), max: 100, output: 20 + r.IntN(60), service: logNormal(r, 800*time.Millisecond, 0.4)}
}

func logNormal(r *rand.Rand, median time.Duration, sigma float64) time.Duration {
	return time.Duration(float64(median) * math.Exp(sigma*r.NormFloat64()))
}

// simulate plays a scenario for one contender. It must run in a bubble.
func simulate(s *scenario, who *contender, seed uint64, trace bool) *run {
	w := newWorld(s, seed)
	ctx, cancel := context.WithCancel(context.Background())
	over := time.AfterFunc(s.horizon, cancel)
	if trace {
		go w.trace(ctx.Done())
	}
	asks := map[int]ask{}
	var all sync.WaitGroup
	for n, st := range s.load.streams {
		do, ok := asks[st.client]
		if !ok {
			do = who.make(w, s)
			asks[st.client] = do
		}
		one := func(ctx context.Context, c *call) {
			ctx = context.WithValue(ctx, callKey{}, c)
			err := do(ctx, c)
			w.mu.Lock()
			defer w.mu.Unlock()
			c.ended, c.ok, c.cut = time.Since(w.start), err == nil, err != nil && ctx.Err() != nil
		}
		stream, stop := context.WithCancel(ctx)
		defer stop()
		if st.to > 0 {
			time.AfterFunc(st.to, stop)
		}
		left := st.calls
		next := func() *call {
			w.mu.Lock()
			if st.calls > 0 {
				if left == 0 {
					w.mu.Unlock()
					return nil
				}
				left--
			}
			w.mu.Unlock()
			return w.begin(st.client, st.priority)
		}
		// Nobody wakes in the same nanosecond as another: which of two would be
		// first is for the scheduler to say, and no two runs were alike.
		offset := st.from + time.Duration(n+1)*10_007
		if st.workers == 0 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(w.seed, uint64(n)))
				sleep(stream, offset)
				for {
					if sleep(stream, time.Duration(r.ExpFloat64()/st.arrivals*float64(time.Second))+1) != nil {
						return
					}
					c := next()
					if c == nil {
						return
					}
					all.Go(func() { one(stream, c) })
				}
			})
			continue
		}
		for i := range st.workers {
			all.Go(func() {
				if sleep(stream, offset+time.Duration(i)*1_009) != nil {
					return
				}
				for stream.Err() == nil {
					c := next()
					if c == nil {
						return
					}
					one(stream, c)
					if !c.ok && c.ended == c.begun {
						sleep(stream, 10*time.Millisecond) // or who is refused on the spot would stop the clock
					}
				}
			})
		}
	}
	all.Wait()
	over.Stop()
	cancel()
	return w.measure(s)
}

// measure closes the book. What a batch had not done when its time was up was
// never done; of streams that only end, the calls in progress do not count.
func (w *world) measure(s *scenario) *run {
	r := &run{scenario: s, wire: len(w.admitted) + len(w.rejected), admitted: w.admitted, rejected: w.rejected, calls: w.calls}
	if n := s.load.batch(); n > 0 {
		r.never = n - len(w.calls)
	}
	for _, c := range w.calls {
		switch {
		case c.ok:
			r.ok++
			r.makespan = max(r.makespan, c.ended)
			r.waits = append(r.waits, c.admitted-c.begun)
		case c.cut && !s.load.endless():
			r.never++
		case c.cut:
		default:
			r.failed++
		}
	}
	slices.Sort(r.waits)
	return r
}
