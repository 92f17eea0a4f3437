package snubber_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// sharer returns a client that shares its quota through a store.
func sharer(base http.RoundTripper, store snubber.LimitStore) *snubber.Transport {
	t := snubber.New(base)
	t.Limiter = &snubber.Limiter{RequestsPerMinute: 60, Burst: 1, Store: store, Secret: []byte("0123456789abcdef")}
	return t
}

// Three processes share one quota through a store. Without the store each would
// send at the full rate.
func TestLimitStoreSharesQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, store := wiretest.Play(wiretest.Step{}), new(snubber.MemoryLimits)
		var wg sync.WaitGroup
		began := time.Now()
		for range 3 {
			rt := sharer(base, store)
			for range 20 {
				wg.Go(func() { wiretest.Fetch(rt, wiretest.Chat(t)) })
			}
		}
		wg.Wait()
		if took := time.Since(began); base.Sent() != 60 || took < 59*time.Second || took > 65*time.Second {
			t.Errorf("%d calls at 60 a minute took %v together, want 59 s and little more", base.Sent(), took)
		}
		tries := base.Attempts()
		for i := 10; i < len(tries); i++ {
			if d := tries[i].At.Sub(tries[i-10].At); d < 9*time.Second {
				t.Fatalf("calls %d to %d went within %v", i-10, i, d)
			}
		}
	})
}

// takes is a store that counts the charges.
type takes struct {
	snubber.LimitStore
	n atomic.Int32
}

func (s *takes) Take(ctx context.Context, key string, shares []snubber.BucketCharge) (time.Duration, error) {
	s.n.Add(1)
	return s.LimitStore.Take(ctx, key, shares)
}

// A hedge takes its share of the quota like any other request.
func TestLimitStoreCountsHedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, store := &wiretest.Latencies{Times: wiretest.WarmTimes(time.Minute, time.Second)}, &takes{LimitStore: new(snubber.MemoryLimits)}
		rt := sharer(base, store)
		rt.Limiter.RequestsPerMinute, rt.Limiter.Burst = 60_000, 0
		rt.Retry.Hedge = true
		wiretest.WarmUp(t, rt)
		wiretest.Fetch(rt, wiretest.Chat(t))
		if n := store.n.Load(); base.Sent != 112 || n != 112 {
			t.Errorf("%d sent, %d taken, want 112 of both", base.Sent, n)
		}
	})
}

// A 429 in one process holds the key in the other processes too.
func TestLimitStoreShares429(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(snubber.MemoryLimits)
		first := wiretest.Play(wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "30")}, wiretest.Step{})
		second := wiretest.Play(wiretest.Step{})
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { wiretest.Fetch(sharer(first, store), wiretest.Chat(t)) })
		time.Sleep(2 * time.Second)
		if _, err := wiretest.Fetch(sharer(second, store), wiretest.Chat(t)); err != nil {
			t.Error(err)
		}
		if at := second.Attempts()[0].At.Sub(began); at < 30*time.Second || at > 35*time.Second {
			t.Errorf("the other client sent after %v, want the gate's 30 s", at)
		}
		wg.Wait()
	})
}

// Tokens that were reserved and not used become available to the other
// processes.
func TestLimitStoreSettlesUsage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(snubber.MemoryLimits)
		base := wiretest.Play(wiretest.Step{Header: wiretest.Header("Content-Type", "application/json"), Body: `{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}}`})
		rt := sharer(base, store)
		rt.Limiter.RequestsPerMinute, rt.Limiter.TokensPerMinute, rt.Limiter.Burst = 0, 6000, 6000
		rt.Limiter.EstimateTokens = func(*http.Request, []byte) int { return 6000 }
		began := time.Now()
		for range 5 { // each call settles the tokens of the call before it
			if _, err := wiretest.Fetch(rt, wiretest.Chat(t)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("five calls billed 10 tokens each took %v", took)
		}
	})
}

// faulty is a store that fails or hangs.
type faulty struct {
	snubber.MemoryLimits
	hangs bool
	asked atomic.Int32
}

func (f *faulty) Take(ctx context.Context, _ string, _ []snubber.BucketCharge) (time.Duration, error) {
	f.asked.Add(1)
	if f.hangs {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return time.Hour, errors.New("connection refused")
}

// A store that fails or hangs costs no call.
func TestLimitStoreFailureCostsNoCall(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store := &faulty{hangs: hangs}
			rt := sharer(wiretest.Play(wiretest.Step{}), store)
			rt.Limiter.RequestsPerMinute = 0
			var told []snubber.Event
			rt.Observe = func(e snubber.Event) {
				if e.Kind == snubber.EventLimitStoreFailed {
					told = append(told, e)
				}
			}
			began := time.Now()
			for range 50 {
				if _, err := wiretest.Fetch(rt, wiretest.Chat(t)); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(began); took > 100*time.Millisecond || store.asked.Load() != 1 {
				t.Errorf("hangs %v: 50 calls took %v and asked %d times, want one time limit and one question", hangs, took, store.asked.Load())
			}
			time.Sleep(5 * time.Second)
			wiretest.Fetch(rt, wiretest.Chat(t))
			if n := store.asked.Load(); n != 2 {
				t.Errorf("hangs %v: asked %d times, want once more after a rest", hangs, n)
			}
			first := snubber.Event{Kind: snubber.EventLimitStoreFailed, Time: began, Key: "https://api.example.com m", Detail: "failed"}
			if hangs {
				first.Time, first.Detail = began.Add(100*time.Millisecond), "timeout"
			}
			first.Until = first.Time.Add(5 * time.Second)
			if len(told) != 2 || !told[0].Time.Equal(first.Time) || !told[0].Until.Equal(first.Until) || told[0].Key != first.Key || told[0].Detail != first.Detail {
				t.Errorf("hangs %v: told %+v, want one event a failure, the first %+v", hangs, told, first)
			}
		})
	}
}

// Only one call reports a store's failure if many calls meet it at once.
func TestLimitStoreFailureReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{hangs: true}
		rt := sharer(wiretest.Play(wiretest.Step{}), store)
		rt.Limiter.RequestsPerMinute, rt.Limiter.Burst = 6000, 6000
		var told atomic.Int32
		rt.Observe = func(e snubber.Event) {
			if e.Kind == snubber.EventLimitStoreFailed {
				told.Add(1)
			}
		}
		wiretest.FetchAll(t, rt, 20, func(int) *http.Request { return wiretest.Chat(t) })
		if asked := store.asked.Load(); asked < 2 || told.Load() != 1 {
			t.Errorf("told %d times of a store that hung for %d, want once", told.Load(), asked)
		}
	})
}

// A caller that cancels during a store's call is no failure of the store.
func TestLimitStoreCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faulty{hangs: true}
		rt := sharer(wiretest.Play(wiretest.Step{}), store)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := rt.RoundTrip(wiretest.Chat(t).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v, want the caller's deadline", err)
		}
		if q := rt.Limiter.Queues()[0]; q.InFlight != 0 {
			t.Errorf("%d permits are held", q.InFlight)
		}
		wiretest.Fetch(rt, wiretest.Chat(t))
		if n := store.asked.Load(); n != 2 {
			t.Errorf("asked %d times, want 2: it did not fail", n)
		}
	})
}

type panicking struct{ snubber.MemoryLimits }

func (*panicking) Take(context.Context, string, []snubber.BucketCharge) (time.Duration, error) {
	panic("a broken store")
}

// A store that panics leaks no permit, and no permit is given back twice.
func TestLimitStorePanics(t *testing.T) {
	for _, observe := range []func(snubber.Event){nil, func(snubber.Event) {}} {
		rt := sharer(wiretest.Play(wiretest.Step{}), new(panicking))
		rt.Limiter.Burst, rt.Observe = 10, observe
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			rt.RoundTrip(wiretest.Chat(t))
		}()
		rt.Limiter.Store = nil
		wiretest.Fetch(rt, wiretest.Chat(t))
		if q := rt.Limiter.Queues()[0]; q.InFlight != 0 || q.Requests < 8.9 || q.Requests > 9.1 {
			t.Errorf("%+v", q)
		}
	}
}

// A Limiter with a Store and no Secret refuses every request.
func TestLimitStoreNeedsSecret(t *testing.T) {
	base := wiretest.Play(wiretest.Step{})
	rt := sharer(base, new(snubber.MemoryLimits))
	rt.Limiter.Secret = nil
	if _, err := rt.RoundTrip(wiretest.Chat(t)); err == nil || !strings.Contains(err.Error(), "Secret") || base.Sent() != 0 {
		t.Errorf("err = %v after %d calls, want one that asks for a Secret", err, base.Sent())
	}
	if _, err := rt.ReadyAt(wiretest.Chat(t)); err == nil {
		t.Error("Ready knows of no error")
	}
}

// The key that a store sees holds no credential.
func TestLimitStoreSeesNoCredential(t *testing.T) {
	store := &listening{}
	rt := sharer(wiretest.Play(wiretest.Step{}), store)
	wiretest.Fetch(rt, wiretest.Chat(t, "Authorization", "Bearer sk-planted"))
	if len(store.keys) == 0 || strings.Contains(strings.Join(store.keys, " "), "planted") {
		t.Errorf("keys = %q", store.keys)
	}
}

type listening struct {
	snubber.MemoryLimits
	keys []string
}

func (l *listening) Take(ctx context.Context, key string, shares []snubber.BucketCharge) (time.Duration, error) {
	l.keys = append(l.keys, key)
	return l.MemoryLimits.Take(ctx, key, shares)
}
