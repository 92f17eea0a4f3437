package bench

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"pgregory.net/rapid"
)

// TestRetriesStayInBudget: in no stretch of time are there more retries than
// the capacity, and what successes and time have added meanwhile.
func TestRetriesStayInBudget(t *testing.T) {
	type call struct {
		after time.Duration
		fails []bool // by attempt, then it succeeds
	}
	check(t, func(t *rapid.T) {
		budget := &snubber.Budget{
			Capacity:  float64(rapid.IntRange(1, 6).Draw(t, "capacity")),
			Deposit:   rapid.SampledFrom([]float64{-1, 0.1, 0.5, 1}).Draw(t, "deposit"),
			PerSecond: rapid.SampledFrom([]float64{-1, 0.01, 0.1, 1}).Draw(t, "perSecond"),
		}
		calls := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) call {
			return call{
				after: span(t, 0, 3*time.Second, "after"),
				fails: rapid.SliceOfN(rapid.Just(true), 0, 6).Draw(t, "fails"),
			}
		}), 1, 40).Draw(t, "calls")

		type entry struct {
			at     time.Time
			amount float64 // -1 for a retry
		}
		var mu sync.Mutex
		var book []entry
		sent := map[string]int{}
		tr := &snubber.Transport{
			Retry: &snubber.Retry{
				MaxAttempts: rapid.SampledFrom([]int{-1, 2, 4}).Draw(t, "attempts"),
				MinBackoff:  10 * time.Millisecond, Budget: budget,
			},
			Base: roundTripper(func(req *http.Request) (*http.Response, error) {
				id := req.Header.Get("Call")
				i, _ := strconv.Atoi(id)
				mu.Lock()
				n := sent[id]
				sent[id]++
				mu.Unlock()
				if n < len(calls[i].fails) {
					return response(req, http.StatusServiceUnavailable, http.NoBody), nil
				}
				return response(req, http.StatusOK, http.NoBody), nil
			}),
			Observe: func(e snubber.Event) {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case e.Kind == snubber.EventRetry:
					book = append(book, entry{e.Time, -1})
				case e.Kind == snubber.EventAttempt && e.Outcome.Class == snubber.Success && e.Attempt == 1:
					book = append(book, entry{e.Time, max(0, budget.Deposit)})
				case e.Kind == snubber.EventAttempt && e.Outcome.Class == snubber.Success:
					book = append(book, entry{e.Time, 1 + max(0, budget.Deposit)})
				}
			},
		}
		var wg sync.WaitGroup
		for i, c := range calls {
			time.Sleep(c.after)
			wg.Go(func() {
				req := request(context.Background(), http.MethodGet, "/v1/things", nil)
				req.Header.Set("Call", strconv.Itoa(i))
				if res, err := tr.RoundTrip(req); err == nil {
					res.Body.Close()
				}
			})
		}
		wg.Wait()

		retries, attempts := 0, 0
		for i, from := range book {
			if from.amount >= 0 {
				continue
			}
			retries++
			spent, added := 0.0, 0.0
			for _, to := range book[i:] {
				if to.amount >= 0 {
					added += to.amount
					continue
				}
				spent++
				d := to.at.Sub(from.at).Seconds()
				if limit := budget.Capacity + added + max(0, budget.PerSecond)*d; spent > limit+1e-6 {
					t.Fatalf("%v retries in %.3f s, the budget had %.3f", spent, d, limit)
				}
			}
		}
		for _, n := range sent {
			attempts += n
		}
		if attempts != len(calls)+retries {
			t.Fatalf("%d attempts of %d calls, but only %d retries were announced", attempts, len(calls), retries)
		}
	})
}

// TestDeadlineIsKept: no attempt starts after the caller's deadline, no wait
// goes beyond it, and a wait that would is not begun: the call returns at the
// instant in which its last attempt ended.
func TestDeadlineIsKept(t *testing.T) {
	type reply struct {
		status int
		wait   int // Retry-After, 0 for none
		takes  time.Duration
	}
	check(t, func(t *rapid.T) {
		replies := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) reply {
			return reply{
				status: rapid.SampledFrom([]int{0, 200, 429, 500, 503, 529}).Draw(t, "status"), // 0 is an error
				wait:   rapid.IntRange(0, 20).Draw(t, "wait"),
				takes:  span(t, 0, 5*time.Second, "takes"),
			}
		}), 1, 12).Draw(t, "replies")
		tr := &snubber.Transport{
			Retry:   &snubber.Retry{MaxAttempts: -1},
			Limiter: &snubber.Limiter{}, // gates; a ceiling could refuse an attempt after its back-off
			Timeout: &snubber.Timeout{Headers: span(t, time.Second, 4*time.Second, "headers")},
		}
		if rapid.Bool().Draw(t, "breaker") {
			tr.Breaker = &snubber.Breaker{Failures: rapid.IntRange(1, 3).Draw(t, "failures")}
		}
		ctx, cancel := context.WithTimeout(context.Background(), span(t, time.Millisecond, 40*time.Second, "deadline"))
		defer cancel()
		deadline, _ := ctx.Deadline()

		n := 0
		var ended time.Time
		tr.Base = roundTripper(func(req *http.Request) (*http.Response, error) {
			req.Body.Close()
			if now := time.Now(); now.After(deadline) {
				t.Errorf("attempt %d started %v after the deadline", n+1, now.Sub(deadline))
			}
			r := replies[min(n, len(replies)-1)]
			n++
			defer func() { ended = time.Now() }()
			select {
			case <-time.After(r.takes):
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
			if r.status == 0 {
				return nil, io.ErrUnexpectedEOF
			}
			res := response(req, r.status, http.NoBody)
			if r.wait > 0 {
				res.Header.Set("Retry-After", strconv.Itoa(r.wait))
			}
			return res, nil
		})
		res, err := tr.RoundTrip(request(ctx, http.MethodPost, "/v1/chat/completions", bytes.NewReader([]byte(`{"model":"m"}`))))
		if err == nil {
			res.Body.Close()
		}
		now := time.Now()
		if now.After(deadline) {
			t.Errorf("the call returned %v after its deadline", now.Sub(deadline))
		}
		if n == 0 || !now.Equal(ended) {
			t.Errorf("the call ended %v after its last attempt, with %v and %v", now.Sub(ended), res, err)
		}
	})
}

// TestEveryAttemptSendsTheSame: whatever an attempt read of the body, the next
// one gets the same bytes, length and header, and the caller's body is closed.
func TestEveryAttemptSendsTheSame(t *testing.T) {
	check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{1, 100, 5000, 100_000}).Draw(t, "size")
		padding := rapid.SliceOfN(rapid.Byte(), 1, size).Draw(t, "body")
		body := append([]byte(`{"model":"m","messages":"`), padding...)                          // seldom JSON
		reads := rapid.SliceOfN(rapid.SampledFrom([]int{0, 1, 1000, -1}), 1, 4).Draw(t, "reads") // -1: to the end
		step := rapid.IntRange(1, 9000).Draw(t, "step")
		path := rapid.SampledFrom([]string{"/v1/chat/completions", "/v1/things"}).Draw(t, "path")
		kind := rapid.SampledFrom([]string{"GetBody", "known length", "unknown length"}).Draw(t, "kind")

		source := &closing{Reader: stepReader{bytes.NewReader(body), step}}
		req := request(snubber.WithIdempotent(context.Background()), http.MethodPost, path, source)
		switch kind {
		case "GetBody":
			req.GetBody = func() (io.ReadCloser, error) {
				return io.NopCloser(stepReader{bytes.NewReader(body), step}), nil
			}
			req.ContentLength = int64(len(body))
		case "known length":
			req.ContentLength = int64(len(body))
		case "unknown length":
			req.ContentLength = -1
		}
		req.Header.Set("Kind", kind)
		before := req.Clone(context.Background())

		attempts := 0
		tr := snubber.New(roundTripper(func(r *http.Request) (*http.Response, error) {
			defer r.Body.Close()
			want := reads[min(attempts, len(reads)-1)]
			attempts++
			if r.ContentLength != before.ContentLength || len(r.Header) != len(before.Header) || r.Header.Get("Kind") != kind {
				t.Errorf("attempt %d: length %d, header %v", attempts, r.ContentLength, r.Header)
			}
			var got []byte
			if want < 0 {
				got, _ = io.ReadAll(r.Body)
				if len(got) != len(body) {
					t.Errorf("attempt %d: %d bytes of %d", attempts, len(got), len(body))
				}
			} else {
				got, _ = io.ReadAll(io.LimitReader(r.Body, int64(want)))
			}
			if !bytes.HasPrefix(body, got) {
				t.Errorf("attempt %d: other bytes", attempts)
			}
			return response(r, http.StatusServiceUnavailable, io.NopCloser(bytes.NewReader([]byte(`{}`)))), nil
		}))
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if !source.closed() {
			t.Errorf("the caller's body is open")
		}
		if attempts != 5 {
			t.Errorf("%d attempts, status %d", attempts, res.StatusCode)
		}
	})
}

// stepReader reads in steps of a size.
type stepReader struct {
	r    io.Reader
	step int
}

func (s stepReader) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), s.step)]) }
