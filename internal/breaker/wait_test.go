package breaker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// opened is a circuit that has just opened, in a bubble.
func opened(t *testing.T) *Circuit {
	c := new(Circuit)
	c.Init(withDefaults(Config{Probes: 1}))
	for range 10 {
		p, _, _, ok := c.Acquire(time.Now(), ttl, true)
		if !ok {
			t.Fatal("refused")
		}
		p.Done(Failed, time.Time{}, time.Now())
	}
	return c
}

// queue is the requests that wait for a circuit, and those that went on, in order.
type queue struct {
	t    *testing.T
	c    *Circuit
	mu   sync.Mutex
	all  sync.WaitGroup
	went []int
	told []int // that it takes too long
}

// seen returns copies of went and told.
func (q *queue) seen() (went, told []int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.went), slices.Clone(q.told)
}

// wait lets a request wait, which ends with the result after a time.
func (q *queue) wait(ctx context.Context, id, priority int, longest, takes time.Duration, result Result) {
	q.all.Go(func() {
		p := Place{Priority: priority}
		giveUp := time.Now().Add(longest)
		for {
			kept, _, ok, err := q.c.Wait(ctx, p, giveUp, time.Now())
			p = kept
			if err != nil || !ok {
				q.mu.Lock()
				q.told = append(q.told, id)
				q.mu.Unlock()
				return
			}
			permit, _, _, ok := q.c.Acquire(time.Now(), ttl, true)
			if !ok {
				continue
			}
			q.mu.Lock()
			q.went = append(q.went, id)
			q.mu.Unlock()
			time.Sleep(takes)
			permit.Done(result, time.Time{}, time.Now())
			return
		}
	})
	synctest.Wait()
	time.Sleep(time.Millisecond)
}

// Waiters go one at a time, by priority and then by arrival: the first one as the
// probe, the next when it has succeeded.
func TestWaitOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{t: t, c: opened(t)}
		for i, priority := range []int{0, 0, 5, -1, 5, 0} {
			q.wait(t.Context(), i, priority, time.Hour, 100*time.Millisecond, Alive)
		}
		if n := q.c.Snapshot(time.Now()).Waiting; n != 6 {
			t.Errorf("%d waiting, want 6", n)
		}
		at, _ := q.c.Check(time.Now(), true)
		time.Sleep(time.Until(at) + 50*time.Millisecond)
		if went, _ := q.seen(); len(went) != 1 {
			n := len(went)
			t.Errorf("%d requests while the probe runs, want it alone", n)
		}
		q.all.Wait()
		if want := []int{2, 4, 0, 1, 5, 3}; !slices.Equal(q.went, want) {
			t.Errorf("order = %v, want %v", q.went, want)
		}
	})
}

// A probe that fails is one request. The others go on waiting, and the next one is the
// next probe.
func TestWaitFailedProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{t: t, c: opened(t)}
		start := time.Now()
		q.wait(t.Context(), 0, 0, time.Hour, time.Millisecond, Failed)
		q.wait(t.Context(), 1, 0, time.Hour, time.Millisecond, Neutral)
		q.wait(t.Context(), 2, 0, time.Hour, time.Millisecond, Alive)
		q.wait(t.Context(), 3, 0, time.Hour, time.Millisecond, Alive)
		q.all.Wait()
		if !slices.Equal(q.went, []int{0, 1, 2, 3}) {
			t.Errorf("order = %v", q.went)
		}
		if took := time.Since(start); took < 8*time.Second || took > 11*time.Second {
			t.Errorf("took %v, want two open times", took)
		}
	})
}

// Who cannot be served in its time is told at once, and who is not served then.
func TestWaitGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{t: t, c: opened(t)}
		start := time.Now()
		q.wait(t.Context(), 0, 0, time.Second, 0, Alive)
		if _, told := q.seen(); len(told) != 1 || time.Since(start) > time.Millisecond {
			t.Errorf("told %v after %v, want at once", told, time.Since(start))
		}
		q.wait(t.Context(), 1, 0, time.Hour, 10*time.Second, Alive) // the probe, which hangs
		q.wait(t.Context(), 2, 0, 7*time.Second, 0, Alive)
		time.Sleep(time.Until(start.Add(8 * time.Second)))
		if _, told := q.seen(); !slices.Equal(told, []int{0, 2}) {
			t.Errorf("told = %v, want the third too when its time was over", told)
		}
		q.all.Wait()
	})
}

// When a failed probe moves the next beyond a waiter's time, it is told then.
func TestWaitToldWhenTheTimeMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{t: t, c: opened(t)}
		at, _ := q.c.Check(time.Now(), true)
		q.wait(t.Context(), 0, 0, time.Hour, time.Millisecond, Failed)
		q.wait(t.Context(), 1, 0, 7*time.Second, 0, Alive)
		time.Sleep(time.Until(at) + 10*time.Millisecond)
		if _, told := q.seen(); !slices.Equal(told, []int{1}) {
			t.Errorf("told = %v, want the second when the probe failed", told)
		}
		q.all.Wait()
	})
}

// A context that ends takes its waiter out at once, and the next one is the first.
func TestWaitCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{t: t, c: opened(t)}
		ctx, cancel := context.WithCancelCause(t.Context())
		q.wait(ctx, 0, 1, time.Hour, 0, Alive)
		q.wait(t.Context(), 1, 0, time.Hour, 0, Alive)
		cancel(errors.New("enough"))
		synctest.Wait()
		_, told := q.seen()
		if n := q.c.Snapshot(time.Now()).Waiting; n != 1 || !slices.Equal(told, []int{0}) {
			t.Errorf("%d waiting, told %v, want one, and the other gone", n, told)
		}
		q.all.Wait()
		if !slices.Equal(q.went, []int{1}) {
			t.Errorf("went = %v", q.went)
		}
	})
}

// The number of waiters is bounded.
func TestWaitBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{t: t, c: opened(t)}
		ctx, cancel := context.WithCancel(t.Context())
		for range maxWaiting {
			q.all.Go(func() {
				q.c.Wait(ctx, Place{}, time.Now().Add(time.Hour), time.Now())
			})
		}
		synctest.Wait()
		if _, _, ok, err := q.c.Wait(ctx, Place{}, time.Now().Add(time.Hour), time.Now()); ok || err != nil {
			t.Errorf("Wait = %v, %v, want refused", ok, err)
		}
		cancel()
		q.all.Wait()
		if n := q.c.Snapshot(time.Now()).Waiting; n != 0 {
			t.Errorf("%d waiting after all have gone", n)
		}
	})
}

// Forced open, a circuit keeps nobody waiting. Forced closed, it lets all go.
func TestWaitForced(t *testing.T) {
	for _, open := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			q := &queue{t: t, c: opened(t)}
			for i := range 5 {
				q.wait(t.Context(), i, 0, time.Hour, 0, Alive)
			}
			now := time.Now()
			q.c.Force(open, now)
			q.all.Wait()
			if took := time.Since(now); took != 0 || len(q.told) != 5*map[bool]int{true: 1}[open] {
				t.Errorf("open = %v: %d told, %d went after %v", open, len(q.told), len(q.went), took)
			}
		})
	}
}

// A waiter that was called and does not come keeps its place for a moment only.
func TestWaitCalledAndGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := opened(t)
		at, _ := c.Check(time.Now(), true)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { c.Wait(t.Context(), Place{}, time.Now().Add(time.Hour), time.Now()) })
			synctest.Wait()
		}
		all.Wait()
		if took := time.Since(at); took != 2*offerFor {
			t.Errorf("the last was called %v after the circuit's time, want %v", took, 2*offerFor)
		}
	})
}

// Many wait, give up, come and go at once, and nothing is left of them.
func TestWaitRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := opened(t)
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%17)*time.Second+time.Millisecond)
				defer cancel()
				p := Place{Priority: i % 3}
				for n := range 20 {
					kept, _, ok, err := c.Wait(ctx, p, time.Now().Add(time.Minute), time.Now())
					if p = kept; err != nil || !ok {
						return
					}
					permit, _, _, ok := c.Acquire(time.Now(), ttl, true)
					if !ok {
						continue
					}
					time.Sleep(time.Duration(i) * time.Millisecond)
					permit.Done([]Result{Failed, Alive, Neutral, Alive}[(i+n)%4], time.Time{}, time.Now())
				}
			})
		}
		all.Wait()
		if s := c.Snapshot(time.Now()); s.Waiting != 0 {
			t.Errorf("%+v, want nobody waiting", s)
		}
	})
}
