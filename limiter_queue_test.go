package snubber_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// The queue is first in, first out, even if a later and smaller request would
// fit into the rest of the quota.
func TestLimiterQueueIsStrict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play()
		l := &snubber.Limiter{TokensPerMinute: 6000, Burst: 1000, EstimateTokens: func(r *http.Request, _ []byte) int {
			n, _ := strconv.Atoi(r.Header.Get("X-Name"))
			return n
		}}
		rt := &snubber.Transport{Base: base, Limiter: l}
		var all []<-chan wiretest.Result
		for _, cost := range []string{"900", "500", "1", "700", "2", "3"} {
			all = append(all, wiretest.Launch(rt, wiretest.Named(t, t.Context(), cost)))
		}
		for _, c := range all {
			<-c
		}
		if got, want := base.Names(), "900 500 1 700 2 3"; got != want {
			t.Errorf("sent %s, want %s", got, want)
		}
		if at := base.Attempts()[1].At.Sub(base.Attempts()[0].At); !wiretest.About(at, 4*time.Second) {
			t.Errorf("the second went after %v, want 4s: 100 were left", at)
		}
	})
}

// Higher priorities go first. While lower ones wait, one grant in twenty goes
// to the oldest of those, whatever its priority.
func TestLimiterQueuePriorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play()
		l := &snubber.Limiter{RequestsPerMinute: 60}
		rt := &snubber.Transport{Base: base, Limiter: l}
		all := []<-chan wiretest.Result{wiretest.Launch(rt, wiretest.Named(t, t.Context(), "first"))}
		enqueue := func(n, priority int, name string) {
			for i := range n {
				all = append(all, wiretest.Launch(rt, wiretest.Named(t, snubber.WithPriority(t.Context(), priority), name+strconv.Itoa(i))))
			}
		}
		enqueue(1, -5, "batch")
		enqueue(2, 0, "normal")
		enqueue(1, -5, "later")
		enqueue(62, 7, "high")
		enqueue(1, 9, "highest")
		for _, c := range all {
			if e := <-c; e.Err != nil {
				t.Error(e.Err)
			}
		}
		var want []string
		want = append(want, "first", "highest0")
		high := func(from, to int) {
			for i := from; i < to; i++ {
				want = append(want, "high"+strconv.Itoa(i))
			}
		}
		high(0, 18) // with the one already sent, 19 in a row
		want = append(want, "batch0")
		high(18, 37)
		want = append(want, "normal0")
		high(37, 56)
		want = append(want, "normal1")
		high(56, 62)
		want = append(want, "later0")
		if got := base.Names(); got != strings.Join(want, " ") {
			t.Errorf("sent %s\nwant %s", got, strings.Join(want, " "))
		}
	})
}

// A predictably too long wait is refused when it begins, with the time to come
// back. A wait that just fits is granted. A refused request takes nothing.
func TestLimiterQueueRefusesTooLongWait(t *testing.T) {
	type ask struct {
		deadline time.Duration // 0: none
		priority int
		want     time.Duration // when the request is sent
		refused  string        // text of the error; "" if the request is sent
		hint     time.Duration // the time to come back
		late     bool          // the deadline is the reason
	}
	const ns = 10 * time.Nanosecond // a timer is late by less
	for _, tt := range []struct {
		name string
		l    *snubber.Limiter
		asks []ask // each made while the ones before it wait
	}{
		{"deadline", &snubber.Limiter{}, []ask{
			{},
			{deadline: time.Second - ns, refused: "deadline", hint: time.Second, late: true},
			{deadline: time.Second + ns, want: time.Second},
			{deadline: 2*time.Second - ns, refused: "deadline", hint: 2 * time.Second, late: true},
			{deadline: 2*time.Second + ns, want: 2 * time.Second},
			{want: 3 * time.Second},
		}},
		{"deadline and priority", &snubber.Limiter{}, []ask{
			{},
			{priority: -1, want: 3 * time.Second},
			{priority: -1, want: 4 * time.Second},
			{deadline: time.Second + ns, want: time.Second}, // the requests of lower priority are behind it
			{deadline: 2*time.Second - ns, refused: "deadline", hint: 2 * time.Second, late: true},
			{priority: 1, deadline: time.Second - ns, refused: "deadline", hint: time.Second, late: true},
			{want: 2 * time.Second},
		}},
		{"MaxWait", &snubber.Limiter{MaxWait: 2 * time.Second}, []ask{
			{}, {want: time.Second},
			// The waits end a nanosecond late, and are predicted so.
			{refused: "MaxWait", hint: 2 * time.Second},
			{deadline: 1500 * time.Millisecond, refused: "deadline", hint: 2 * time.Second, late: true},
		}},
		{"MaxQueue", &snubber.Limiter{MaxQueue: 2}, []ask{
			{}, {want: time.Second}, {want: 2 * time.Second},
			{refused: "full", hint: 3 * time.Second},
		}},
		{"negative", &snubber.Limiter{MaxWait: -1, MaxQueue: -1}, []ask{
			{}, {want: time.Second}, {want: 2 * time.Second}, {want: 3 * time.Second},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play()
				l := tt.l
				l.RequestsPerMinute = 60
				if tt.name == "MaxWait" {
					l.MaxWait -= time.Microsecond
				}
				rt := &snubber.Transport{Base: base, Limiter: l}
				going := 0
				for i, a := range tt.asks {
					ctx := snubber.WithPriority(t.Context(), a.priority)
					if a.deadline > 0 {
						c, cancel := context.WithTimeout(ctx, a.deadline)
						defer cancel()
						ctx = c
					}
					before := l.Queues()
					c := wiretest.Launch(rt, wiretest.Named(t, ctx, strconv.Itoa(i)))
					if a.refused == "" {
						going++
						defer func() {
							if e := <-c; e.Err != nil || !wiretest.About(e.Took, a.want) {
								t.Errorf("ask %d went after %v (%v), want %v", i, e.Took, e.Err, a.want)
							}
						}()
						continue
					}
					select {
					case e := <-c:
						var r *snubber.RejectedError
						if !errors.As(e.Err, &r) || r.Err != snubber.ErrLimited || e.Took != 0 || !strings.Contains(e.Err.Error(), a.refused) {
							t.Fatalf("ask %d: %v after %v, want ErrLimited for %q at once", i, e.Err, e.Took, a.refused)
						}
						if late := errors.Is(e.Err, context.DeadlineExceeded); late != a.late {
							t.Errorf("ask %d: is DeadlineExceeded %v, want %v", i, late, a.late)
						}
						if !wiretest.About(r.RetryAfter, a.hint) {
							t.Errorf("ask %d: come back after %v, want %v", i, r.RetryAfter, a.hint)
						}
						if after := l.Queues(); fmt.Sprint(after) != fmt.Sprint(before) {
							t.Errorf("ask %d: a refusal changed the queue from %v to %v", i, before, after)
						}
					default:
						t.Fatalf("ask %d waits, want a refusal for %q", i, a.refused)
					}
				}
				synctest.Wait()
				if n := queueOf(t, l).Waiting; n != going-1 {
					t.Errorf("%d waiting, want %d", n, going-1)
				}
			})
		})
	}
}

// A request that gives up in the queue returns at once and takes nothing. All
// requests behind it move up.
func TestLimiterQueueCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play()
		l := &snubber.Limiter{RequestsPerMinute: 60}
		rt := &snubber.Transport{Base: base, Limiter: l}
		first := wiretest.Launch(rt, wiretest.Named(t, t.Context(), "a"))
		ctx, cancel := context.WithCancel(t.Context())
		body := &wiretest.CountedBody{Reader: strings.NewReader("x")}
		req := wiretest.Named(t, ctx, "b")
		req.Body = body
		second := wiretest.Launch(rt, req)
		third := wiretest.Launch(rt, wiretest.Named(t, t.Context(), "c"))
		time.Sleep(500 * time.Millisecond)
		cancel()
		if e := <-second; e.Err != context.Canceled || e.Took != 500*time.Millisecond {
			t.Errorf("%v after %v, want context.Canceled after 500ms", e.Err, e.Took)
		}
		if body.Closed != 1 {
			t.Errorf("the body was closed %d times, want once", body.Closed)
		}
		if e := <-third; e.Err != nil || !wiretest.About(e.Took, time.Second) {
			t.Errorf("the one behind went after %v (%v), want 1s", e.Took, e.Err)
		}
		<-first
		if got := base.Names(); got != "a c" {
			t.Errorf("sent %s, want a c", got)
		}
		idle(t, l)
	})
}

// The next request does not wait out the time of a costly request that gave up
// before it.
func TestLimiterQueueMovesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &snubber.Limiter{TokensPerMinute: 6000, Burst: 1000, EstimateTokens: func(r *http.Request, _ []byte) int {
			n, _ := strconv.Atoi(r.Header.Get("X-Name"))
			return n
		}}
		rt := &snubber.Transport{Base: wiretest.Play(), Limiter: l}
		<-wiretest.Launch(rt, wiretest.Named(t, t.Context(), "900"))
		ctx, cancel := context.WithCancel(t.Context())
		head := wiretest.Launch(rt, wiretest.Named(t, ctx, "1000"))
		next := wiretest.Launch(rt, wiretest.Named(t, t.Context(), "100"))
		time.Sleep(time.Second)
		cancel()
		<-head
		if e := <-next; e.Err != nil || e.Took != time.Second {
			t.Errorf("the next went after %v (%v), want 1s, with the head's end", e.Took, e.Err)
		}
	})
}

// A deadline that the prediction could not foresee, because places were taken,
// ends the wait when it passes and not later.
func TestLimiterQueueDeadlinePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Delay: time.Hour})
		l := &snubber.Limiter{MaxConcurrent: 1}
		rt := &snubber.Transport{Base: base, Limiter: l}
		first := wiretest.Launch(rt, wiretest.Named(t, t.Context(), "a"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if e := <-wiretest.Launch(rt, wiretest.Named(t, ctx, "b")); !errors.Is(e.Err, context.DeadlineExceeded) || e.Took != time.Minute {
			t.Errorf("%v after %v, want DeadlineExceeded after 1m", e.Err, e.Took)
		}
		if e := <-first; e.Err != nil {
			t.Error(e.Err)
		}
		idle(t, l)
	})
}

// Thousands of requests that wait and give up in the same instant leave in that
// instant, and the queue goes on.
func TestLimiterQueueOfThousands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5000 // the race detector allows 8128 goroutines
		base := wiretest.Play()
		l := &snubber.Limiter{RequestsPerMinute: 60}
		rt := &snubber.Transport{Base: base, Limiter: l}
		<-wiretest.Launch(rt, wiretest.Named(t, t.Context(), "a"))
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, n)
		for i := range n {
			ctx := snubber.WithPriority(ctx, i%3)
			go func() {
				_, err := rt.RoundTrip(wiretest.Named(t, ctx, "waiter"))
				gone <- err
			}()
		}
		synctest.Wait()
		if q := queueOf(t, l); q.Waiting != n {
			t.Fatalf("%d waiting, want %d", q.Waiting, n)
		}
		cancel()
		synctest.Wait()
		if len(gone) != n {
			t.Fatalf("%d have returned, want all %d", len(gone), n)
		}
		for range n {
			if err := <-gone; err != context.Canceled {
				t.Fatalf("%v, want context.Canceled", err)
			}
		}
		idle(t, l)
		if e := <-wiretest.Launch(rt, wiretest.Named(t, t.Context(), "b")); e.Err != nil || !wiretest.About(e.Took, time.Second) {
			t.Errorf("the next went after %v (%v), want 1s", e.Took, e.Err)
		}
	})
}

// A request larger than the token bucket is sent when the bucket is full.
// ReadyAt predicts the same.
func TestLimiterPredictsLargeRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Body: "{}"}), Limiter: &snubber.Limiter{
			TokensPerMinute: 60_000, EstimateTokens: func(*http.Request, []byte) int { return 10_000 },
		}}
		if at, err := tr.ReadyAt(wiretest.Chat(t)); err != nil || !at.IsZero() {
			t.Errorf("Ready = %v, %v, want now", at, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if e := <-wiretest.Launch(tr, wiretest.Chat(t).WithContext(ctx)); e.Err != nil || e.Took != 0 {
			t.Errorf("%+v, want an answer at once", e)
		}
		if e := <-wiretest.Launch(tr, wiretest.Chat(t).WithContext(ctx)); !errors.Is(e.Err, snubber.ErrLimited) {
			t.Errorf("%+v, want a refusal: the debt is 9 s", e)
		}
	})
}

// A slow estimate of tokens does not turn back the clock of the buckets.
func TestLimiterSlowTokenEstimate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &snubber.Limiter{RequestsPerMinute: 600, TokensPerMinute: 1e9, EstimateTokens: func(r *http.Request, _ []byte) int {
			if r.Header.Get("Slow") != "" {
				time.Sleep(200 * time.Millisecond)
			}
			return 1
		}}
		base := wiretest.Play(wiretest.Step{Body: "{}"})
		tr := &snubber.Transport{Base: base, Limiter: l}
		var wg sync.WaitGroup
		send := func(header ...string) {
			wg.Go(func() {
				if res, err := tr.RoundTrip(wiretest.Chat(t, header...)); err == nil {
					wiretest.ReadAll(t, res)
				}
			})
		}
		for range 1200 { // 40 calls a second, four times the limit
			send("Slow", "1")
			time.Sleep(25 * time.Millisecond)
			send()
			time.Sleep(25 * time.Millisecond)
		}
		if n := base.Sent(); n > 610 {
			t.Errorf("%d sent in a minute, want at most 610", n)
		}
		wg.Wait()
	})
}

// The lower priority gets one grant in twenty, even if requests of a higher
// priority could be sent without queueing.
func TestLimiterLowPriorityIsNotStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &snubber.Limiter{TokensPerMinute: 6000, Burst: 100, EstimateTokens: func(r *http.Request, _ []byte) int {
			if r.Header.Get("Big") != "" {
				return 100
			}
			return 9
		}}
		tr := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Body: "{}"}), Limiter: l}
		high := snubber.WithPriority(t.Context(), 1)
		for range 11 {
			<-wiretest.Launch(tr, wiretest.Chat(t).WithContext(high))
		}
		low := wiretest.Launch(tr, wiretest.Chat(t, "Big", "1"))
		for i := range 100 {
			time.Sleep(90 * time.Millisecond)
			wiretest.Launch(tr, wiretest.Chat(t).WithContext(high))
			synctest.Wait()
			select {
			case <-low:
				if i > 40 {
					t.Errorf("the low one went after %d others", i)
				}
				time.Sleep(time.Minute)
				return
			default:
			}
		}
		t.Error("100 grants and the low one still waits")
		<-low
	})
}

// The age of a queue is that of the request that joined first, whatever its priority.
func TestLimiterQueueOldestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &snubber.Limiter{MaxConcurrent: 1}
		rt := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Delay: time.Hour}), Limiter: l}
		ctx, cancel := context.WithCancel(t.Context())
		for _, priority := range []int{0, -1, 1} { // the first takes the place
			go rt.RoundTrip(wiretest.Named(t, snubber.WithPriority(ctx, priority), "a"))
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if q := queueOf(t, l); q.Waiting != 2 || q.OldestWait != 2*time.Second {
			t.Errorf("%d wait, the oldest for %v, want 2 and 2s", q.Waiting, q.OldestWait)
		}
		cancel()
		synctest.Wait()
		if q := queueOf(t, l); q.OldestWait != 0 {
			t.Errorf("OldestWait = %v of an empty queue, want 0", q.OldestWait)
		}
	})
}
