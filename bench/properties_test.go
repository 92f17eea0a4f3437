package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"pgregory.net/rapid"
)

// check holds a property against random inputs, each in a bubble of its own:
// an hour of waiting takes no time, and a goroutine that stays behind fails
// the test. All draws must be made by the property's own goroutine.
func check(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) { rapid.SyncTest(t, property) })
}

// span draws a duration in whole milliseconds, so that coincidences are common.
func span(t *rapid.T, low, high time.Duration, label string) time.Duration {
	return time.Duration(rapid.Int64Range(low.Milliseconds(), high.Milliseconds()).Draw(t, label)) * time.Millisecond
}

func request(ctx context.Context, method, path string, body io.Reader) *http.Request {
	req, err := http.NewRequestWithContext(ctx, method, "https://api.example.com"+path, body)
	if err != nil {
		panic(err)
	}
	return req
}

func response(req *http.Request, status int, body io.ReadCloser) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: body, ContentLength: -1, Request: req}
}

// fate is what happens to one call of TestEverythingIsGivenBack, at the server
// and at the caller.
type fate struct {
	after    time.Duration // the call before it
	server   []string      // one for each attempt, the last for all others
	caller   string
	cancel   time.Duration // 0: never
	deadline bool          // cancel is known beforehand
	takes    time.Duration // to the header, and again between chunks
}

func drawFate(t *rapid.T) fate {
	servers := []string{"answer", "answer", "error", "panic", "unavailable", "limited", "hang", "broken", "stall", "truncated"}
	f := fate{
		after:  span(t, 0, time.Second, "after"),
		server: rapid.SliceOfN(rapid.SampledFrom(servers), 1, 4).Draw(t, "server"),
		caller: rapid.SampledFrom([]string{"reads", "reads", "closes", "leaves", "reads and leaves"}).Draw(t, "caller"),
		takes:  span(t, 0, 3*time.Second, "takes"),
	}
	if rapid.Bool().Draw(t, "cancels") {
		f.deadline = rapid.Bool().Draw(t, "deadline")
		f.cancel = span(t, 1*time.Millisecond, 20*time.Second, "cancel")
	}
	return f
}

// TestEverythingIsGivenBack: whatever happens to a call, its permit comes back,
// the body of its request and of every response is closed, the context of every
// attempt has ended, and nobody waits on.
func TestEverythingIsGivenBack(t *testing.T) {
	check(t, func(t *rapid.T) {
		fates := rapid.SliceOfN(rapid.Custom(drawFate), 1, 15).Draw(t, "fates")
		places := rapid.IntRange(1, 4).Draw(t, "places")
		limiter := &snubber.Limiter{RequestsPerMinute: 600, Burst: 5, MaxConcurrent: places}
		base := &fateful{fates: fates, attempts: map[int][]context.Context{}, bodies: map[int][]*closing{}}
		tr := &snubber.Transport{
			Base:    base,
			Retry:   &snubber.Retry{},
			Breaker: &snubber.Breaker{Failures: -1, Ratio: -1},
			Limiter: limiter,
			Timeout: &snubber.Timeout{Headers: 10 * time.Second, FirstEvent: 8 * time.Second, Idle: 5 * time.Second},
		}
		sent := make([]*closing, len(fates))
		var wg sync.WaitGroup
		for i, f := range fates {
			time.Sleep(f.after)
			sent[i] = &closing{Reader: strings.NewReader(`{"model":"m","stream":true}`)}
			wg.Go(func() { f.call(tr, i, sent[i]) })
		}
		wg.Wait()
		synctest.Wait()

		for i, f := range fates {
			if !sent[i].closed() {
				t.Errorf("call %d: the body of the request is open", i)
			}
			// Who leaves an answer lying keeps its connection, and only that one.
			allowed := 0
			if strings.Contains(f.caller, "leaves") {
				allowed = 1
			}
			open, live := 0, 0
			for _, b := range base.bodies[i] {
				if !b.closed() {
					open++
				}
			}
			for _, ctx := range base.attempts[i] {
				if ctx.Err() == nil {
					live++
				}
			}
			if open > allowed || live > allowed {
				t.Errorf("call %d: of %d attempts %d bodies are open and %d contexts live", i, len(base.attempts[i]), open, live)
			}
		}

		time.Sleep(time.Hour) // even those of answers that nobody reads
		for _, q := range limiter.Queues() {
			if q.InFlight != 0 || q.Waiting != 0 {
				t.Errorf("%d permits are lost, %d calls wait", q.InFlight, q.Waiting)
			}
		}
	})
}

func (f fate) call(rt http.RoundTripper, i int, body io.ReadCloser) {
	defer func() { recover() }() // "panic"
	ctx := context.Background()
	if f.cancel > 0 {
		var cancel context.CancelFunc
		if f.deadline {
			ctx, cancel = context.WithTimeout(ctx, f.cancel)
		} else {
			ctx, cancel = context.WithCancel(ctx)
			time.AfterFunc(f.cancel, cancel)
		}
		defer cancel()
	}
	req := request(ctx, http.MethodPost, "/v1/chat/completions", body)
	req.Header.Set("Call", fmt.Sprint(i))
	res, err := rt.RoundTrip(req)
	if err != nil {
		return
	}
	if f.caller == "reads" || f.caller == "reads and leaves" {
		io.Copy(io.Discard, res.Body)
	}
	if f.caller == "reads" || f.caller == "closes" {
		res.Body.Close()
	}
}

// fateful is the server of the fates.
type fateful struct {
	fates []fate

	mu       sync.Mutex
	attempts map[int][]context.Context
	bodies   map[int][]*closing
}

func (s *fateful) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Body.Close()
	var call int
	fmt.Sscan(req.Header.Get("Call"), &call)
	f := s.fates[call]
	s.mu.Lock()
	what := f.server[min(len(s.attempts[call]), len(f.server)-1)]
	s.attempts[call] = append(s.attempts[call], req.Context())
	s.mu.Unlock()

	wait := f.takes
	if what == "hang" {
		wait = time.Hour
	}
	select {
	case <-time.After(wait):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	status, data := http.StatusOK, slices.Values(streamed())
	body := &closing{done: make(chan struct{})}
	switch what {
	case "error":
		return nil, errors.New("connection reset")
	case "panic":
		panic("a RoundTripper with a bug")
	case "unavailable":
		status, data = http.StatusServiceUnavailable, slices.Values([]string{`{"error":{}}`})
	case "limited":
		status, data = http.StatusTooManyRequests, slices.Values([]string{`{"error":{"code":"rate_limit_exceeded"}}`})
	case "truncated":
		data = slices.Values(streamed()[:5])
	}
	rest := slices.Collect(data)
	pace := f.takes
	body.Reader = readerFunc(func(p []byte) (int, error) {
		switch {
		case len(rest) == 0:
			return 0, io.EOF
		case len(rest) == 10 && what == "broken":
			return 0, errors.New("connection reset")
		case len(rest) == 10 && what == "stall":
			pace = time.Hour
		}
		select { // a real body wakes for both
		case <-time.After(pace):
		case <-body.done:
			return 0, http.ErrBodyReadAfterClose
		case <-req.Context().Done():
			return 0, req.Context().Err()
		}
		n := copy(p, rest[0])
		rest = rest[1:]
		return n, nil
	})
	s.mu.Lock()
	s.bodies[call] = append(s.bodies[call], body)
	s.mu.Unlock()
	res := response(req, status, body)
	res.Header.Set("Content-Type", "text/event-stream")
	if status == http.StatusTooManyRequests {
		res.Header.Set("Retry-After", "1")
	}
	return res, nil
}

// closing is a body that knows whether it was closed.
type closing struct {
	io.Reader
	done chan struct{} // closed with it; may be nil
	once sync.Once
	mu   sync.Mutex
	shut bool
}

func (c *closing) Close() error {
	c.once.Do(func() {
		c.mu.Lock()
		c.shut = true
		c.mu.Unlock()
		if c.done != nil {
			close(c.done)
		}
	})
	return nil
}

func (c *closing) closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shut
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
