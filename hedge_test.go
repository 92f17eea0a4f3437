package snubber_test

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A slow first attempt gets another one beside it, and the first successful
// response wins.
func TestHedge(t *testing.T) {
	for _, tt := range []struct {
		name   string
		then   []time.Duration
		fails  map[int]int // the number of the request after WarmUp
		took   time.Duration
		sent   int
		ended  int
		status int
	}{
		{"in time", []time.Duration{time.Second - 1}, nil, time.Second - 1, 1, 0, 200},
		{"the hedge wins", []time.Duration{time.Minute, time.Second}, nil, 2 * time.Second, 2, 1, 200},
		{"the first wins after all", []time.Duration{3 * time.Second, time.Minute}, nil, 3 * time.Second, 2, 1, 200},
		{"the hedge fails", []time.Duration{3 * time.Second, time.Second}, map[int]int{1: 500}, 3 * time.Second, 2, 0, 200},
		{"the first fails late", []time.Duration{2 * time.Second, 5 * time.Second}, map[int]int{0: 500}, 6 * time.Second, 2, 0, 200},
		{"a refusal of the prompt is an answer", []time.Duration{3 * time.Second, time.Second}, map[int]int{1: 400}, 3 * time.Second, 2, 0, 200},
		{"both fail", []time.Duration{2 * time.Second, 2 * time.Second}, map[int]int{0: 500, 1: 503}, 3 * time.Second, 2, 0, 500},
		{"both fail, the hedge first", []time.Duration{3 * time.Second, time.Second}, map[int]int{0: 500, 1: 503}, 3 * time.Second, 2, 0, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &wiretest.Latencies{Times: wiretest.WarmTimes(tt.then...), Status: map[int]int{}}
				for n, s := range tt.fails {
					base.Status[110+n] = s
				}
				var events []snubber.Event
				var mu sync.Mutex
				tr := snubber.New(base)
				tr.Retry.MaxAttempts = 2
				tr.Retry.Hedge = true
				tr.Limiter.TokensPerMinute = 1e9
				tr.Observe = func(e snubber.Event) {
					mu.Lock()
					events = append(events, e)
					mu.Unlock()
				}
				wiretest.WarmUp(t, tr)
				events = nil
				start := time.Now()
				res, err := tr.RoundTrip(wiretest.Chat(t))
				if err != nil || res.StatusCode != tt.status {
					t.Fatal(res, err)
				}
				wiretest.ReadAll(t, res)
				if d := time.Since(start); d != tt.took {
					t.Errorf("took %v, want %v", d, tt.took)
				}
				synctest.Wait()
				if n := base.Sent - 110; n != tt.sent || base.Canceled != tt.ended {
					t.Errorf("%d sent, %d cancelled, want %d and %d", n, base.Canceled, tt.sent, tt.ended)
				}
				want := snubber.Success
				if tt.status != 200 {
					want = snubber.ServerError
				}
				if r := snubber.ReportOf(res); r.Load().Attempts != tt.sent || r.Load().Outcome.Class != want || want != snubber.Success && r.Load().Outcome.Reason != "http_500" {
					t.Errorf("report %+v", r)
				}
				hedges, lost := 0, 0
				for _, e := range events {
					switch {
					case e.Kind == snubber.EventHedge:
						hedges++
						if e.Wait != time.Second || e.Attempt != 2 {
							t.Errorf("%+v", e)
						}
					case e.Kind == snubber.EventAttempt && e.Outcome.Reason == "overtaken":
						lost++
					}
				}
				if hedges != tt.sent-1 || lost != tt.ended {
					t.Errorf("%d hedges, %d overtaken", hedges, lost)
				}
				if q := tr.Limiter.Queues()[0]; q.InFlight != 0 || q.Waiting != 0 {
					t.Errorf("%+v", q)
				}
				if c := circuitOf(t, tr.Breaker); c.State != snubber.CircuitClosed || tt.status == 200 && len(tt.fails) == 0 && c.Failures != 0 {
					t.Errorf("%+v", c)
				}
			})
		})
	}
}

// The Report describes the attempt whose response the caller gets, even if the
// other attempt's outcome comes later.
func TestHedgeReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &wiretest.Latencies{Times: wiretest.WarmTimes(1500*time.Millisecond, 2*time.Second)}
		n := 0
		tr := snubber.New(wiretest.Func(func(req *http.Request) (*http.Response, error) {
			base.Mu.Lock()
			n++
			n := n
			base.Mu.Unlock()
			req.Body, _ = req.GetBody()
			res, err := base.RoundTrip(req)
			switch n {
			case 111:
				return wiretest.Response(500, strings.NewReader(strings.Repeat("x", 1<<20))), nil // too long to be prefetched as a whole
			case 112:
				return wiretest.Response(204, http.NoBody), nil // complete with its header
			}
			return res, err
		}))
		tr.Retry.Hedge = true
		wiretest.WarmUp(t, tr)
		ctx, report := snubber.WithReport(t.Context())
		res, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx))
		if err != nil || res.StatusCode != 204 {
			t.Fatal(res, err)
		}
		wiretest.ReadAll(t, res)
		if report.Load().Outcome.Class != snubber.Success || report.Load().Attempts != 2 {
			t.Errorf("%+v", report)
		}
	})
}

// A hedge that cannot get a request body costs the first attempt nothing.
func TestHedgeWithoutBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &wiretest.Latencies{Times: wiretest.WarmTimes(3 * time.Second)}
		tr := snubber.New(base)
		tr.Retry.Hedge = true
		wiretest.WarmUp(t, tr)
		req := wiretest.Chat(t)
		again, asked := req.GetBody, 0
		req.GetBody = func() (io.ReadCloser, error) {
			base.Mu.Lock()
			defer base.Mu.Unlock()
			if asked++; base.Sent > 110 {
				return nil, errors.New("gone")
			}
			return again()
		}
		if status, err := wiretest.Fetch(tr, req); status != 200 || err != nil || base.Sent != 111 || asked < 2 {
			t.Error(status, err, base.Sent, asked)
		}
		if q := tr.Limiter.Queues()[0]; q.InFlight != 0 {
			t.Errorf("%+v", q)
		}
	})
}

// No hedge is sent where it could do harm, or without budget.
func TestHedgeNotSent(t *testing.T) {
	slow := []time.Duration{time.Minute, time.Second}
	for _, tt := range []struct {
		name string
		set  func(*snubber.Transport)
		req  func(*http.Request) *http.Request
	}{
		{"off", func(tr *snubber.Transport) { tr.Retry.Hedge = false }, nil},
		{"a queue", func(tr *snubber.Transport) { tr.Limiter.MaxConcurrent = 1 }, nil},
		{"no budget", func(tr *snubber.Transport) { tr.Retry.Budget = &snubber.Budget{Capacity: 0.5} }, nil},
		{"no attempts", func(tr *snubber.Transport) { tr.Retry.MaxAttempts = 1 }, nil},
		{"a circuit that is not closed", func(tr *snubber.Transport) {
			tr.Breaker.OpenFor = time.Second
			tr.Retry.If = func(*http.Request, snubber.Outcome) bool { return false }
			tr.Breaker.Failures = 1
			tr.Base.(*wiretest.Latencies).Status = map[int]int{109: 500}
		}, nil},
		{"an SDK's retry", nil, func(r *http.Request) *http.Request { r.Header.Set("X-Stainless-Retry-Count", "1"); return r }},
		{"not inference", nil, func(r *http.Request) *http.Request { r.URL.Path = "/v1/files"; return r }},
		{"background", nil, func(r *http.Request) *http.Request {
			return wiretest.NewRequest(t, "POST", "https://api.example.com/v1/responses", wiretest.BackgroundBody)
		}},
		{"a caller who has left", func(tr *snubber.Transport) {
			base := tr.Base
			tr.Base = wiretest.RawFunc(func(req *http.Request) (*http.Response, error) { // the base does not notice
				return base.RoundTrip(req.WithContext(context.WithoutCancel(req.Context())))
			})
		}, func(r *http.Request) *http.Request {
			ctx, cancel := context.WithCancel(r.Context())
			time.AfterFunc(time.Second/2, cancel)
			return r.WithContext(ctx)
		}},
		{"a body that exists once", nil, func(r *http.Request) *http.Request { r.GetBody, r.ContentLength = nil, -1; return r }},
		{"no time", nil, func(r *http.Request) *http.Request {
			ctx, cancel := context.WithTimeout(r.Context(), time.Second)
			context.AfterFunc(ctx, cancel)
			return r.WithContext(ctx)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &wiretest.Latencies{Times: wiretest.WarmTimes(slow...)}
				tr := snubber.New(base)
				tr.Retry.Hedge = true
				if tt.set != nil {
					tt.set(tr)
				}
				wiretest.WarmUp(t, tr)
				time.Sleep(2 * time.Second) // an open circuit becomes half-open
				req := wiretest.Chat(t)
				if tt.req != nil {
					req = tt.req(req)
				}
				wiretest.Fetch(tr, req)
				if n := base.Sent - 110; n != 1 {
					t.Errorf("%d sent, want 1", n)
				}
				if q := tr.Limiter.Queues()[0]; q.InFlight != 0 {
					t.Errorf("%+v", q)
				}
			})
		})
	}
	t.Run("not inference, but safe", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			base := &wiretest.Latencies{Times: wiretest.WarmTimes(slow...)}
			tr := snubber.New(base)
			tr.Retry.Hedge = true
			for range 111 {
				wiretest.Fetch(tr, wiretest.NewRequest(t, "GET", "https://api.example.com/v1/files", ""))
			}
			if base.Sent != 111 {
				t.Errorf("%d sent, want 111", base.Sent)
			}
		})
	})
	t.Run("too few samples", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			base := &wiretest.Latencies{Times: append(slices.Repeat([]time.Duration{time.Second}, 49), slow...)}
			tr := snubber.New(base)
			tr.Retry.Hedge = true
			for range 50 {
				wiretest.Fetch(tr, wiretest.Chat(t))
			}
			if base.Sent != 50 {
				t.Errorf("%d sent, want 50", base.Sent)
			}
		})
	})
}

// An obstacle to a hedge costs no budget. The hedge is sent when the obstacle
// is gone.
func TestHedgeSentLater(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(t *testing.T, tr *snubber.Transport, req *http.Request) // makes an obstacle that ends nine seconds later
	}{
		{"nothing", func(*testing.T, *snubber.Transport, *http.Request) {}},
		{"a place", func(t *testing.T, tr *snubber.Transport, req *http.Request) {
			ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
			context.AfterFunc(ctx, cancel)
			wiretest.Launch(tr, wiretest.Chat(t).WithContext(ctx))
		}},
		{"a circuit that opens meanwhile", func(t *testing.T, tr *snubber.Transport, req *http.Request) {
			asked := 0
			tr.Limiter.EstimateTokens = func(*http.Request, []byte) int {
				if asked++; asked == 2 { // for the hedge, which found the circuit closed
					tr.Breaker.Trip("https://api.example.com m")
					time.AfterFunc(8*time.Second, func() { tr.Breaker.Reset("https://api.example.com m") })
				}
				return 1
			}
		}},
		{"a body that cannot be had", func(t *testing.T, tr *snubber.Transport, req *http.Request) {
			again, begun := req.GetBody, time.Now()
			req.GetBody = func() (io.ReadCloser, error) {
				if d := time.Since(begun); d > 0 && d < 9*time.Second {
					return nil, errors.New("gone")
				}
				return again()
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &wiretest.Latencies{Times: wiretest.WarmTimes(time.Minute)}
				tr := snubber.New(base)
				tr.Retry.Hedge = true
				tr.Retry.Budget = &snubber.Budget{Capacity: 1, PerSecond: -1}
				tr.Limiter.MaxConcurrent, tr.Limiter.TokensPerMinute = 2, 1e9
				wiretest.WarmUp(t, tr)
				req := wiretest.Chat(t)
				tt.set(t, tr, req)
				before := base.Sent
				call := wiretest.Launch(tr, req)
				time.Sleep(20 * time.Second)
				synctest.Wait()
				if n := base.Sent - before; n != 2 {
					t.Errorf("%d sent, want 2", n)
				}
				if e := <-call; e.Status != 200 {
					t.Errorf("%+v", e)
				}
				synctest.Wait()
				if q := tr.Limiter.Queues()[0]; q.InFlight != 0 {
					t.Errorf("%+v", q)
				}
			})
		})
	}
}

// An attempt that was refused, or that anything but the caller ended, does not
// win. The call waits for the other attempt.
func TestHedgeWaitsForOtherAttempt(t *testing.T) {
	for _, err := range []error{&snubber.RejectedError{Err: snubber.ErrLimited}, context.Canceled} {
		synctest.Test(t, func(t *testing.T) {
			base := &wiretest.Latencies{Times: wiretest.WarmTimes(5 * time.Second)}
			tr := &snubber.Transport{Retry: &snubber.Retry{Hedge: true}, Base: wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
				base.Mu.Lock()
				second := base.Sent == 111
				base.Mu.Unlock()
				if second {
					req.Body.Close()
					return nil, err
				}
				return base.RoundTrip(req)
			})}
			tr.Classify = func(req *http.Request, res *http.Response, err error) snubber.Outcome {
				if err == context.Canceled {
					return snubber.Outcome{Class: snubber.Canceled}
				}
				return snubber.Classify(req, res, err)
			}
			wiretest.WarmUp(t, tr)
			start := time.Now()
			if status, got := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 || time.Since(start) != 5*time.Second {
				t.Errorf("%v: %d, %v after %v", err, status, got, time.Since(start))
			}
		})
	}
}

// A request without a body can be hedged.
func TestHedgeOfRequestWithoutBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &wiretest.Latencies{Times: wiretest.WarmTimes(time.Minute, time.Second)}
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{Hedge: true}}
		for range 111 {
			if status, err := wiretest.Fetch(tr, wiretest.NewRequest(t, "POST", wiretest.ChatURL, "")); status != 200 {
				t.Fatal(err)
			}
		}
		if n := base.Sent - 110; n != 2 {
			t.Errorf("%d sent, want 2", n)
		}
	})
}

// The latency of streams is learned from streams, and the latency of other
// responses from those. A retry is not hedged.
func TestHedgeLearnsLatency(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(t *testing.T, tr *snubber.Transport, base *wiretest.Latencies)
		sent   int
	}{
		{"of answers", func(*testing.T, *snubber.Transport, *wiretest.Latencies) {}, 2},
		{"of failures", func(_ *testing.T, tr *snubber.Transport, base *wiretest.Latencies) {
			base.Status = map[int]int{}
			for i := range 100 {
				base.Status[i] = 400
			}
		}, 1},
		{"of streams", func(t *testing.T, tr *snubber.Transport, base *wiretest.Latencies) {
			next := tr.Base
			tr.Base = wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
				req.Body, _ = wiretest.Chat(t).GetBody()
				res, err := next.RoundTrip(req)
				if base.Sent <= 110 {
					res = wiretest.Response(200, strings.NewReader(wiretest.DeltaEvent+wiretest.DoneEvent), "Content-Type", "text/event-stream")
				}
				return res, err
			})
			for range 110 {
				wiretest.Fetch(tr, wiretest.ChatStream(t))
			}
		}, 1},
		{"of a retry", func(_ *testing.T, tr *snubber.Transport, base *wiretest.Latencies) {
			base.Times = wiretest.WarmTimes(time.Second/2, time.Minute, time.Second)
			base.Status = map[int]int{110: 500}
		}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := &wiretest.Latencies{Times: wiretest.WarmTimes(time.Minute, time.Second)}
				tr := snubber.New(base)
				tr.Breaker = nil
				tr.Retry.Hedge = true
				tt.before(t, tr, base)
				if base.Sent == 0 {
					for range 110 {
						wiretest.Fetch(tr, wiretest.Chat(t))
					}
				}
				wiretest.Fetch(tr, wiretest.Chat(t))
				if n := base.Sent - 110; n != tt.sent {
					t.Errorf("%d sent, want %d", n, tt.sent)
				}
			})
		})
	}
}

// A caller that cancels ends both attempts.
func TestHedgeCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &wiretest.Latencies{Times: wiretest.WarmTimes(time.Minute)}
		tr := snubber.New(base)
		tr.Retry.Hedge = true
		wiretest.WarmUp(t, tr)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		if _, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v", err)
		}
		synctest.Wait()
		if base.Canceled != 2 {
			t.Errorf("%d ended, want both", base.Canceled)
		}
	})
}

// The 99th percentile is near the best that any delay reaches with a twentieth
// more calls. It is within twice the value that knowledge of the future would
// reach. Times are log-normal around 2 s, and one response in fifty stalls for
// half a minute.
func TestHedgePercentile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 4000
		random := rand.New(rand.NewPCG(1, 2))
		draw := func() time.Duration {
			d := 2 * math.Exp(random.NormFloat64()/2)
			if random.Float64() < 0.02 {
				d += 30
			}
			return time.Duration(d * float64(time.Second))
		}
		var mu sync.Mutex
		firsts, seconds := make([]time.Duration, calls), make([]time.Duration, calls)
		for i := range calls {
			firsts[i], seconds[i] = draw(), draw()
		}
		sent := 0
		tr := snubber.New(wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
			io.Copy(io.Discard, req.Body)
			req.Body.Close()
			mu.Lock()
			sent++
			of := req.Context().Value(numberKey{}).(*numbered)
			of.tries++
			d := firsts[of.i]
			if of.tries > 1 {
				d = seconds[of.i]
			}
			mu.Unlock()
			select {
			case <-time.After(d):
				return wiretest.Response(200, strings.NewReader("{}")), nil
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
		}))
		tr.Retry.Hedge = true
		took := make([]time.Duration, calls)
		var wg sync.WaitGroup
		for i := range calls {
			wg.Go(func() {
				start := time.Now()
				ctx := context.WithValue(t.Context(), numberKey{}, &numbered{i: i})
				if status, err := wiretest.Fetch(tr, wiretest.Chat(t).WithContext(ctx)); status != 200 || err != nil {
					t.Error(status, err)
				}
				took[i] = time.Since(start)
			})
			time.Sleep(200 * time.Millisecond)
		}
		wg.Wait()
		// The best possible result sends the second request of the slowest
		// twentieth at once, if that is faster.
		best := slices.Clone(firsts)
		order := make([]int, calls)
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int { return int(firsts[b] - firsts[a]) })
		for _, i := range order[:calls/20] {
			best[i] = min(firsts[i], seconds[i])
		}
		var blind time.Duration
		p99 := func(d []time.Duration) time.Duration {
			s := slices.Clone(d)
			slices.Sort(s)
			return s[len(s)*99/100]
		}
		// blind is the result of the best fixed delay for a twentieth more
		// calls. It cannot be improved without knowing which calls will be
		// slow. On many seeds it is 1.52 times the best possible, and Hedge
		// reaches 1.58.
		for d := time.Duration(0); d < 30*time.Second; d += 50 * time.Millisecond {
			late, times := 0, slices.Clone(firsts)
			for i, f := range firsts {
				if f > d {
					late++
					times[i] = min(f, d+seconds[i])
				}
			}
			if late <= calls/20 && (blind == 0 || p99(times) < blind) {
				blind = p99(times)
			}
		}
		t.Logf("p99 %v, without %v; %v with the best delay, %v with the future; %d calls for %d", p99(took), p99(firsts), blind, p99(best), sent, calls)
		if p99(took) > blind*5/4 || p99(took) > p99(best)*9/5 {
			t.Errorf("p99 %v, want near %v", p99(took), blind)
		}
		if sent > calls*105/100 {
			t.Errorf("%d calls for %d", sent, calls)
		}
	})
}

type numberKey struct{}

type numbered struct{ i, tries int }

// A user's layer that sends a request twice at a time works between two
// Transports.
func TestHedgeBetweenTransports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &snubber.Transport{
			Base: wiretest.RawFunc(func(*http.Request) (*http.Response, error) {
				return wiretest.Response(503, strings.NewReader("{}")), nil
			}),
			Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{},
		}
		hedge := wiretest.RawFunc(func(r *http.Request) (*http.Response, error) {
			c := make(chan *http.Response, 2)
			for range 2 {
				go func() {
					res, _ := inner.RoundTrip(r)
					c <- res
				}()
			}
			first := <-c
			go func() {
				if res := <-c; res != nil {
					res.Body.Close()
				}
			}()
			return first, nil
		})
		outer := &snubber.Transport{Base: hedge, Retry: &snubber.Retry{MaxAttempts: 50}}
		for range 5 {
			res, err := outer.RoundTrip(wiretest.NewRequest(t, "GET", "http://x.test/", ""))
			if err != nil {
				t.Fatal(err)
			}
			wiretest.ReadAll(t, res)
		}
	})
}
