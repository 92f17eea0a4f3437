package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"pgregory.net/rapid"
)

// caller is one request to a limited server.
type caller struct {
	at       time.Duration // since the start
	giveUp   time.Duration // after at; 0: never
	deadline bool          // giveUp is known beforehand
	unsent   bool          // it passes, but no connection is made
	priority int
	tokens   int
	holds    time.Duration // of the server
}

// admission is a caller's request at the server.
type admission struct {
	caller int
	at     time.Duration
}

func drawCallers(t *rapid.T, tokens int) []caller {
	n := rapid.SampledFrom([]int{2, 10, 30, 60}).Draw(t, "callers")
	cs := make([]caller, n)
	var at time.Duration
	for i := range cs {
		at += span(t, 0, 500*time.Millisecond, "after")
		cs[i] = caller{at: at, holds: span(t, 0, 2*time.Second, "holds"), priority: rapid.IntRange(-1, 1).Draw(t, "priority")}
		if rapid.IntRange(0, 3).Draw(t, "patience") == 0 {
			cs[i].giveUp = span(t, time.Millisecond, 5*time.Second, "giveUp")
		}
		if tokens > 0 {
			cs[i].tokens = rapid.IntRange(0, tokens).Draw(t, "tokens")
		}
	}
	return cs
}

// run is what became of some callers.
type run struct {
	admitted []admission           // who reached the server, in order
	crowd    int                   // how many were there at once
	failed   map[int]time.Duration // who did not, and when they were told
}

// pass sends all callers through the limiter.
func pass(l *snubber.Limiter, callers []caller) run {
	r := run{failed: map[int]time.Duration{}}
	l.EstimateTokens = func(req *http.Request, _ []byte) int {
		n, _ := strconv.Atoi(req.Header.Get("Tokens"))
		return n
	}
	var mu sync.Mutex
	inside := 0
	start := time.Now()
	tr := &snubber.Transport{Limiter: l, Base: roundTripper(func(req *http.Request) (*http.Response, error) {
		i, _ := strconv.Atoi(req.Header.Get("Caller"))
		if callers[i].unsent {
			return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
		}
		mu.Lock()
		r.admitted = append(r.admitted, admission{i, time.Since(start)})
		inside++
		r.crowd = max(r.crowd, inside)
		mu.Unlock()
		time.Sleep(callers[i].holds)
		mu.Lock()
		inside--
		mu.Unlock()
		return response(req, http.StatusOK, http.NoBody), nil
	})}
	var wg sync.WaitGroup
	for i, c := range callers {
		time.Sleep(c.at - time.Since(start))
		ctx, cancel := context.WithCancel(snubber.WithPriority(context.Background(), c.priority))
		if c.deadline {
			ctx, cancel = context.WithTimeout(ctx, c.giveUp)
		} else if c.giveUp > 0 {
			time.AfterFunc(c.giveUp, cancel)
		}
		req := request(ctx, http.MethodGet, "/v1/things", nil)
		req.Header.Set("Caller", fmt.Sprint(i))
		req.Header.Set("Tokens", fmt.Sprint(c.tokens))
		wg.Go(func() {
			defer cancel()
			if _, err := tr.RoundTrip(req); err != nil {
				mu.Lock()
				defer mu.Unlock()
				r.failed[i] = time.Since(start)
			}
		})
		synctest.Wait() // it is in the queue before the next one comes
	}
	wg.Wait()
	return r
}

// TestQuotaIsKept: in no stretch of time pass more requests or tokens than the
// rate allows on top of one burst, and never are more inside than Concurrent,
// whoever gives up meanwhile.
func TestQuotaIsKept(t *testing.T) {
	check(t, func(t *rapid.T) {
		l := &snubber.Limiter{
			RequestsPerMinute: rapid.SampledFrom([]int{7, 60, 100, 600, 6000}).Draw(t, "rpm"),
			TokensPerMinute:   rapid.SampledFrom([]int{0, 60, 6000, 100000}).Draw(t, "tpm"),
			Burst:             rapid.IntRange(0, 20).Draw(t, "burst"),
			MaxConcurrent:     rapid.IntRange(0, 5).Draw(t, "concurrent"),
		}
		callers := drawCallers(t, l.TokensPerMinute)
		r := pass(l, callers)

		if l.MaxConcurrent > 0 && r.crowd > l.MaxConcurrent {
			t.Fatalf("%d at once, of %d", r.crowd, l.MaxConcurrent)
		}
		requests, tokens := float64(l.RequestsPerMinute)/60, float64(l.TokensPerMinute)/60
		burst, seconds := max(1, float64(l.RequestsPerMinute/60)), 1.0
		if l.Burst > 0 {
			burst, seconds = float64(l.Burst), float64(l.Burst)/requests
		}
		pool := max(1, min(seconds*tokens, float64(l.TokensPerMinute)))
		const rounding = 1e-3
		for i, from := range r.admitted {
			spent := 0.0
			for j, to := range r.admitted[i:] {
				d := (to.at - from.at).Seconds()
				if n := float64(j + 1); n > requests*d+burst+rounding {
					t.Fatalf("%v requests in %.3f s, the quota is %.3f/s and %v", n, d, requests, burst)
				}
				// One larger than the pool passes alone and leaves a debt.
				cost := float64(callers[to.caller].tokens)
				spent += cost
				if tokens > 0 && spent > tokens*d+max(pool, cost)+rounding {
					t.Fatalf("%v tokens in %.3f s, the quota is %.3f/s and %v", spent, d, tokens, pool)
				}
			}
		}
	})
}

// TestQueueIsFair: nobody overtakes a request of the same priority.
func TestQueueIsFair(t *testing.T) {
	check(t, func(t *rapid.T) {
		l := &snubber.Limiter{
			RequestsPerMinute: rapid.SampledFrom([]int{60, 100, 600}).Draw(t, "rpm"),
			TokensPerMinute:   rapid.SampledFrom([]int{0, 6000}).Draw(t, "tpm"),
			MaxConcurrent:     rapid.IntRange(0, 3).Draw(t, "concurrent"),
		}
		callers := drawCallers(t, l.TokensPerMinute)
		when := map[int]time.Duration{}
		for _, a := range pass(l, callers).admitted {
			when[a.caller] = a.at
		}
		for i := range callers {
			for j := range i {
				early, ok1 := when[j]
				late, ok2 := when[i]
				if ok1 && ok2 && callers[i].priority == callers[j].priority && late < early {
					t.Fatalf("caller %d passed at %v, caller %d before it only at %v", i, late, j, early)
				}
			}
		}
		for i, c := range callers {
			if _, ok := when[i]; !ok && c.giveUp == 0 {
				t.Fatalf("caller %d never passed", i)
			}
		}
	})
}

// TestGivingUpCostsNothing: those who stay pass at the same time as if those
// who gave up while they waited, or could not be sent, had never come.
func TestGivingUpCostsNothing(t *testing.T) {
	check(t, func(t *rapid.T) {
		rpm := rapid.SampledFrom([]int{30, 60, 100, 600}).Draw(t, "rpm")
		burst := rapid.IntRange(1, 5).Draw(t, "burst")
		concurrent := rapid.IntRange(0, 3).Draw(t, "concurrent")
		fresh := func() *snubber.Limiter {
			return &snubber.Limiter{RequestsPerMinute: rpm, Burst: burst, MaxConcurrent: concurrent}
		}
		callers := drawCallers(t, 0)
		for i := range callers {
			callers[i].priority = 0
			callers[i].unsent = rapid.IntRange(0, 3).Draw(t, "luck") == 0
		}
		l := fresh()
		with := pass(l, callers).admitted
		time.Sleep(time.Hour)
		for _, q := range l.Queues() {
			if q.InFlight != 0 || q.Waiting != 0 || q.Requests < float64(burst) {
				t.Fatalf("in the end %d hold a place, %d wait and %v of %d requests are left", q.InFlight, q.Waiting, q.Requests, burst)
			}
		}

		passed := map[int]bool{}
		for _, a := range with {
			passed[a.caller] = true
		}
		var stayed []caller
		var number []int
		for i, c := range callers {
			if passed[i] {
				c.giveUp = 0
				stayed, number = append(stayed, c), append(number, i)
			}
		}
		without := pass(fresh(), stayed).admitted
		if len(with) != len(without) {
			t.Fatalf("%d passed, without the others %d", len(with), len(without))
		}
		when := map[int]time.Duration{}
		for _, a := range without {
			when[number[a.caller]] = a.at
		}
		for _, a := range with {
			if d := (a.at - when[a.caller]).Abs(); d > 10*time.Microsecond {
				t.Fatalf("caller %d passed at %v, without the others at %v", a.caller, a.at, when[a.caller])
			}
		}
	})
}

// TestNobodyWaitsInVain: whoever has a deadline that the queue cannot keep is
// told at once, and all others pass in time.
func TestNobodyWaitsInVain(t *testing.T) {
	check(t, func(t *rapid.T) {
		// Of one bucket the prediction is exact. Where one is full while the other
		// makes the queue wait it is only the least.
		l := &snubber.Limiter{
			RequestsPerMinute: rapid.SampledFrom([]int{30, 60, 100, 600}).Draw(t, "rpm"),
			Burst:             rapid.IntRange(0, 5).Draw(t, "burst"),
		}
		callers := drawCallers(t, 0)
		for i := range callers {
			c := &callers[i]
			c.priority, c.holds, c.deadline = 0, 0, c.giveUp > 0
		}
		r := pass(l, callers)
		for i, at := range r.failed {
			if at != callers[i].at {
				t.Fatalf("caller %d of %v failed at %v", i, callers[i].at, at)
			}
			if callers[i].giveUp == 0 {
				t.Fatalf("caller %d had all the time, and failed", i)
			}
		}
		if len(r.admitted)+len(r.failed) != len(callers) {
			t.Fatalf("of %d, %d passed and %d failed", len(callers), len(r.admitted), len(r.failed))
		}
	})
}
