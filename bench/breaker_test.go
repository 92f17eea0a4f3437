package bench

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"pgregory.net/rapid"
)

// reference is the breaker as its documentation has it, in the fewest lines.
// The random part of an open time is the only thing that it has to be told.
type reference struct {
	snubber.Breaker
	state       snubber.CircuitState
	epoch       int
	consecutive int
	seen        map[int64][2]int // outcomes and failures, by tenth of the window
	until       time.Time
	down        time.Time // since when
	floor       time.Time
	leases      map[int]time.Time
	byHand      bool
}

func (r *reference) tenth(now time.Time) int64 { return now.UnixNano() / int64(r.Window/10) }

// admits reports whether call id may go, and in which epoch.
func (r *reference) admits(id int, now time.Time) bool {
	if r.byHand || now.Before(r.until) {
		return false
	}
	if r.state == snubber.CircuitClosed {
		return true
	}
	if r.state == snubber.CircuitOpen {
		r.become(snubber.CircuitHalfOpen, now)
	}
	for i, expires := range r.leases {
		if !now.Before(expires) {
			delete(r.leases, i)
		}
	}
	if len(r.leases) >= r.Probes {
		return false
	}
	r.leases[id] = now.Add(30 * time.Second)
	return true
}

// ended books the outcome of a call. opened says that the circuit opened.
func (r *reference) ended(id, epoch int, status int, wait time.Duration, now time.Time) (opened bool) {
	if epoch != r.epoch {
		return false // it belongs to a state that is over
	}
	delete(r.leases, id)
	failed := status == 0 || status >= 500
	if !failed && status >= 400 {
		if r.state == snubber.CircuitHalfOpen && wait > 0 { // a limit proves it alive, but asks for time
			r.until = now.Add(min(wait, r.MaxOpenFor))
		}
		return false
	}
	n := r.seen[r.tenth(now)]
	n[0]++
	if failed {
		n[1]++
	}
	r.seen[r.tenth(now)] = n
	if !failed {
		r.consecutive++ // of probes, while half-open
		if r.state == snubber.CircuitClosed {
			r.consecutive = 0
		} else if r.consecutive >= r.Probes {
			r.become(snubber.CircuitClosed, now)
		}
		return false
	}
	if at := now.Add(wait); wait > 0 && at.After(r.floor) {
		r.floor = at
	}
	r.consecutive++
	all, bad := 0, 0
	for tenth, n := range r.seen {
		if r.tenth(now)-tenth < 10 {
			all, bad = all+n[0], bad+n[1]
		}
	}
	trips := r.consecutive >= r.Failures || all >= r.MinRequests && float64(bad) >= r.Ratio*float64(all)
	if r.state == snubber.CircuitClosed && !trips {
		return false
	}
	if r.state == snubber.CircuitClosed {
		r.down = now
	}
	r.become(snubber.CircuitOpen, now)
	return true
}

func (r *reference) become(s snubber.CircuitState, now time.Time) {
	r.state, r.leases, r.consecutive = s, map[int]time.Time{}, 0
	r.epoch++
	if s == snubber.CircuitClosed {
		r.seen, r.floor, r.until = map[int64][2]int{}, time.Time{}, time.Time{}
	}
}

// openTime bounds how long the circuit stays open.
func (r *reference) openTime(now time.Time) (low, high time.Duration) {
	d := min(max(r.OpenFor, now.Sub(r.down)/20), r.MaxOpenFor)
	floor := r.floor.Sub(now)
	return min(max(d*9/10, floor), r.MaxOpenFor), min(max(d, floor), r.MaxOpenFor)
}

// TestBreakerIsItsModel drives a circuit and the reference through the same
// calls, which overlap and end as chance has it, and compares every decision.
func TestBreakerIsItsModel(t *testing.T) {
	check(t, func(t *rapid.T) {
		b := &snubber.Breaker{
			Failures: rapid.SampledFrom([]int{1, 3, 6, 1000}).Draw(t, "failures"), Ratio: 0.5,
			MinRequests: rapid.IntRange(2, 10).Draw(t, "minRequests"),
			Window:      10 * time.Second, OpenFor: time.Second, MaxOpenFor: 20 * time.Second,
			Probes: rapid.IntRange(1, 3).Draw(t, "probes"),
		}
		ref := &reference{Breaker: snubber.Breaker{
			Failures: b.Failures, Ratio: b.Ratio, MinRequests: b.MinRequests, Window: b.Window,
			OpenFor: b.OpenFor, MaxOpenFor: b.MaxOpenFor, Probes: b.Probes,
		}, seen: map[int64][2]int{}}

		type running struct {
			id, epoch int
			end       chan func(*http.Request) (*http.Response, error)
			done      chan error
		}
		var calls []running
		arrived := make(chan struct{}, 1)
		tr := &snubber.Transport{Breaker: b, Base: roundTripper(func(req *http.Request) (*http.Response, error) {
			arrived <- struct{}{}
			end := req.Context().Value(running{}).(chan func(*http.Request) (*http.Response, error))
			return (<-end)(req)
		})}
		key := ""
		circuit := func() snubber.Circuit {
			if cs := b.Circuits(); len(cs) == 1 {
				key = cs[0].Key
				return cs[0]
			}
			return snubber.Circuit{}
		}
		finish := func(i, status int, wait time.Duration) {
			c := calls[i]
			calls = append(calls[:i], calls[i+1:]...)
			c.end <- func(req *http.Request) (*http.Response, error) {
				if status == 0 {
					return nil, errors.New("connection refused")
				}
				res := response(req, status, http.NoBody)
				if wait > 0 {
					res.Header.Set("Retry-After", strconv.Itoa(int(wait/time.Second)))
				}
				return res, nil
			}
			<-c.done
			now := time.Now()
			if ref.ended(c.id, c.epoch, status, wait, now) {
				low, high := ref.openTime(now)
				ref.until = circuit().Until
				if d := ref.until.Sub(now); d < low || d > high {
					t.Fatalf("open for %v, and not for %v to %v", d, low, high)
				}
			}
		}
		defer func() {
			for len(calls) > 0 {
				finish(0, 200, 0)
			}
		}()

		for id := range rapid.SampledFrom([]int{10, 50, 200}).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"call", "call", "call", "end", "end", "end", "wait", "hand"}).Draw(t, "step") {
			case "call":
				c := running{id: id, end: make(chan func(*http.Request) (*http.Response, error)), done: make(chan error, 1)}
				req := request(context.WithValue(context.Background(), running{}, c.end), http.MethodGet, "/v1/things", nil)
				go func() {
					res, err := tr.RoundTrip(req)
					if err == nil {
						res.Body.Close()
					}
					c.done <- err
				}()
				synctest.Wait()
				want, got := ref.admits(id, time.Now()), false
				select {
				case <-arrived:
					got = true
					c.epoch = ref.epoch
					calls = append(calls, c)
				case err := <-c.done:
					if !errors.Is(err, snubber.ErrOpen) {
						t.Fatal(err)
					}
				}
				if got != want {
					t.Fatalf("step %d: admitted %v, and not %v, in state %v", id, got, want, ref.state)
				}
			case "end":
				if len(calls) > 0 {
					i := rapid.IntRange(0, len(calls)-1).Draw(t, "call")
					status := rapid.SampledFrom([]int{200, 200, 200, 0, 500, 503, 429}).Draw(t, "status")
					wait := time.Duration(0)
					if status == 503 || status == 429 {
						wait = time.Duration(rapid.IntRange(0, 40).Draw(t, "retry-after")) * time.Second
					}
					finish(i, status, wait)
				}
			case "wait":
				time.Sleep(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second, 2 * time.Minute}).Draw(t, "time"))
				edge := ref.until // where an error of one instant shows
				for _, expires := range ref.leases {
					if expires.After(time.Now()) && (!edge.After(time.Now()) || expires.Before(edge)) {
						edge = expires
					}
				}
				if edge.After(time.Now()) {
					time.Sleep(time.Until(edge) - time.Duration(rapid.IntRange(0, 1).Draw(t, "before")))
				}
			case "hand":
				if circuit(); key == "" || rapid.IntRange(0, 4).Draw(t, "hand") > 0 {
					continue
				}
				ref.byHand = rapid.Bool().Draw(t, "open")
				ref.become(snubber.CircuitClosed, time.Now())
				if ref.byHand {
					b.Trip(key)
				} else {
					b.Reset(key)
				}
			}
			want := ref.state
			if want == snubber.CircuitOpen && !time.Now().Before(ref.until) {
				want = snubber.CircuitHalfOpen // it would let probes through
			} else if ref.byHand || time.Now().Before(ref.until) {
				want = snubber.CircuitOpen
			}
			if c := circuit(); c.State != want {
				t.Fatalf("step %d: %v, and not %v", id, c.State, want)
			}
		}
	})
}

// TestHalfOpenEnds: while someone knocks, a half-open circuit lets a probe
// through at least once in a lease, whatever became of those before it.
func TestHalfOpenEnds(t *testing.T) {
	check(t, func(t *rapid.T) {
		headers := span(t, 5*time.Second, 60*time.Second, "headers")
		lease := min(headers, 30*time.Second)
		tr := &snubber.Transport{
			Breaker: &snubber.Breaker{Failures: 1, OpenFor: time.Second, Probes: rapid.IntRange(1, 3).Draw(t, "probes")},
			Timeout: &snubber.Timeout{Headers: headers},
		}
		if rapid.Bool().Draw(t, "no timeout") {
			tr.Timeout, lease = nil, 30*time.Second
		}
		fates := rapid.SliceOfN(rapid.SampledFrom([]string{"hangs", "hangs", "unread", "canceled", "limited", "broken header"}), 1, 30).Draw(t, "fates")

		n := 0
		var last time.Time
		over, stop := context.WithCancel(context.Background())
		tr.Base = roundTripper(func(req *http.Request) (*http.Response, error) {
			last = time.Now()
			n++
			if n == 1 {
				return nil, errors.New("connection refused") // opens the circuit
			}
			switch fates[n%len(fates)] {
			case "unread":
				body, w := io.Pipe()
				context.AfterFunc(over, func() { w.Close() })
				return response(req, http.StatusOK, body), nil
			case "limited":
				return response(req, http.StatusTooManyRequests, http.NoBody), nil
			case "broken header":
				return nil, context.Canceled
			}
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		for range 300 {
			ctx, cancel := context.WithCancel(over)
			context.AfterFunc(over, cancel)
			if fates[(n+1)%len(fates)] == "canceled" { // if it gets there it will be the next
				time.AfterFunc(3*time.Second, cancel)
			}
			go tr.RoundTrip(request(ctx, http.MethodGet, "/v1/things", nil))
			time.Sleep(time.Second)
			synctest.Wait()
			cs := tr.Breaker.Circuits()
			if len(cs) != 1 || cs[0].State != snubber.CircuitHalfOpen {
				last = time.Now()
			} else if d := time.Since(last); d > lease+2*time.Second {
				t.Errorf("half-open, and nobody let through for %v, the lease is %v", d, lease)
				break
			}
		}
		stop()
	})
}
