package limit

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
	"github.com/seed-9e4f5248/snubber/internal/quota"
)

// newQueue is a Queue with buckets of a second's worth.
func newQueue(requests, tokens, concurrent int) *Queue {
	c := Config{MaxTokens: tokens, MaxQueue: 10_000, MaxWait: mono.Forever, MaxGate: time.Minute + time.Second, Learn: true}
	c.Concurrent = concurrent
	c.Requests = quota.Ceiling{PerMinute: requests, Burst: max(1, requests/60)}
	c.Tokens = quota.Ceiling{PerMinute: tokens, Burst: max(1, tokens/60)}
	q := new(Queue)
	q.Init(c)
	return q
}

// A waiter that is granted in the instant in which it gives up keeps the grant
// if it saw that first, and else gives all of it back.
func TestQueueGrantMeetsCancel(t *testing.T) {
	for _, canceledFirst := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			q := newQueue(60, 6000, 1)
			first, _, err := q.Acquire(t.Context(), quota.Cost{Input: 100}, 0, false, time.Time{}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			first.Settle(Settlement{}, time.Now())
			time.Sleep(time.Minute) // the buckets are full again, only the place is taken
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() {
				p, _, err := q.Acquire(ctx, quota.Cost{Input: 100}, 0, false, time.Time{}, time.Now())
				if err == nil {
					p.Settle(Settlement{Held: true}, time.Now())
				}
				done <- err
			}()
			synctest.Wait()
			q.mu.Lock() // the waiter wakes, but gets no further than the lock
			if canceledFirst {
				cancel()
			}
			q.quota.Free(time.Now())
			q.grantLocked(time.Now())
			cancel()
			q.mu.Unlock()
			err = <-done
			want := 0.0
			if canceledFirst {
				want = 1
			}
			if canceledFirst != errors.Is(err, context.Canceled) {
				t.Errorf("canceled first %v: %v", canceledFirst, err)
			}
			s := q.Snapshot(time.Now())
			if s.InFlight != 0 || s.Waiting != 0 || q.quota.Pending() != 0 || q.timer != nil {
				t.Errorf("%+v with %d pending after %v, want nothing left", s, q.quota.Pending(), err)
			}
			if requests, tokens := s.Limits[0].Left, s.Limits[1].Left; math.Abs(requests-want) > 1e-6 || math.Abs(tokens-100*want) > 1e-3 {
				t.Errorf("%v requests and %v tokens left after %v, want %v of each share", requests, tokens, err, want)
			}
		})
	}
}

// The queue's bound of zero is ten thousand, and a refusal there says when the
// queue will have gone.
func TestQueueBoundsItsLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(60, 0, 0)
		now := time.Now()
		q.mu.Lock()
		q.takeLocked(quota.Cost{}, false, now)
		var all []*waiter
		for i := range 10_000 {
			all = append(all, q.joinLocked(quota.Cost{}, i%7, i%11 == 0, time.Time{}, now))
		}
		q.mu.Unlock()
		_, _, err := q.Acquire(t.Context(), quota.Cost{}, 0, false, time.Time{}, now)
		var r *Refusal
		if !errors.As(err, &r) || r.Exhausted || r.RetryAfter < time.Second {
			t.Errorf("the 10001st waiter: %v, want a Refusal that says when", err)
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, w := range all {
			q.leaveLocked(w)
		}
		if q.waiting != 0 || len(q.priorities) != 0 || q.headLocked() != nil {
			t.Errorf("%d waiting on %d priorities after all have left", q.waiting, len(q.priorities))
		}
	})
}

// The queue has one timer, for its head, and none while nobody waits: a kept
// one would outlive a bubble and its users' tests.
func TestQueueHasOneTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(60, 0, 0)
		for range 3 {
			go func() {
				p, _, err := q.Acquire(t.Context(), quota.Cost{}, 0, false, time.Time{}, time.Now())
				if err != nil {
					t.Error(err)
				}
				p.Settle(Settlement{Held: true}, time.Now())
			}()
		}
		synctest.Wait()
		q.mu.Lock()
		if q.timer == nil || q.waiting != 2 {
			t.Errorf("timer %v with %d waiting, want one with 2", q.timer, q.waiting)
		}
		q.mu.Unlock()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.timer != nil || q.waiting != 0 || q.quota.InFlight() != 0 {
			t.Errorf("timer %v, %d waiting, %d in flight at the end, want none", q.timer, q.waiting, q.quota.InFlight())
		}
	})
}

// Only a key that holds nothing may be forgotten.
func TestQueueIsEvictable(t *testing.T) {
	now := time.Unix(1e9, 0)
	for _, tt := range []struct {
		name string
		hold func(*Queue)
		want bool
	}{
		{"fresh", func(*Queue) {}, true},
		{"in flight", func(q *Queue) { q.takeLocked(quota.Cost{Input: 1}, false, now) }, false},
		{"bucket not full", func(q *Queue) {
			q.takeLocked(quota.Cost{}, false, now).Settle(Settlement{Held: true}, now)
		}, false},
		{"in debt", func(q *Queue) {
			q.takeLocked(quota.Cost{Input: 1000}, false, now.Add(-time.Second)).Settle(Settlement{Held: true}, now)
		}, false},
		{"waiter", func(q *Queue) { q.joinLocked(quota.Cost{Input: 1}, 0, false, time.Time{}, now) }, false},
		{"gated", func(q *Queue) { q.gate = now.Add(1) }, false},
		{"gate has passed", func(q *Queue) { q.gate = now }, true},
		{"exhausted", func(q *Queue) { q.exhaustedBackoff, q.gate = time.Minute, now.Add(-maxGate) }, false},
		{"exhausted, and nobody asked since", func(q *Queue) { q.exhaustedBackoff, q.gate = time.Minute, now.Add(-maxGate-1) }, true},
	} {
		q := newQueue(60, 6000, 0)
		tt.hold(q)
		if got := q.Evictable(now); got != tt.want {
			t.Errorf("%s: Evictable = %v, want %v", tt.name, got, tt.want)
		}
	}
}
