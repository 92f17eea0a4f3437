package examples

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// cancelled makes a call, cancels it once it has come to the point where it
// would wait for long, and checks that it ends there and then.
func (r *rig) cancelled(t *testing.T, s sdk, streamed bool, waits func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := r.call(ctx, streamed)
		done <- err
	}()
	if !waits() {
		t.Fatal("the call never came to wait")
	}
	cancel()
	select {
	case err := <-done:
		if !s.opaque && !errors.Is(err, context.Canceled) {
			t.Errorf("the call = %v, want context.Canceled", err)
		}
	case <-time.After(patience):
		t.Fatal("the call went on after it was cancelled")
	}
	r.idle(t)
}

func (r *rig) queues() bool {
	return happens(func() bool { return r.count(func(q snubber.QueueStatus) int { return q.Waiting }) == 1 })
}

func TestCancelQueuedForQuota(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s sdk, streamed bool) {
		r := newRig(t, s, &snubbertest.Provider{})
		r.snubber.Limiter = &snubber.Limiter{RequestsPerMinute: 1}
		r.works(t, streamed)
		r.cancelled(t, s, streamed, r.queues)
		r.wants(t, 2, 1)
	})
}

func TestCancelQueuedBehindACall(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s sdk, streamed bool) {
		release := make(chan struct{})
		r := newRig(t, s, &snubbertest.Provider{TextFunc: func(snubbertest.Call) string {
			<-release
			return "The quick brown fox jumps over the lazy dog."
		}})
		r.snubber.Limiter = &snubber.Limiter{MaxConcurrent: 1}
		first := make(chan error, 1)
		go func() {
			_, err := r.call(t.Context(), streamed)
			first <- err
		}()
		happens(func() bool { return r.provider.Stats().InFlight == 1 })

		ctx, cancel := context.WithCancel(t.Context())
		second := make(chan error, 1)
		go func() {
			_, err := r.call(ctx, streamed)
			second <- err
		}()
		if !r.queues() {
			t.Error("the second call does not wait")
		}
		cancel()
		if err := <-second; !s.opaque && !errors.Is(err, context.Canceled) {
			t.Errorf("the second call = %v, want context.Canceled", err)
		}
		close(release)
		if err := <-first; err != nil {
			t.Errorf("the first call = %v", err)
		}
		r.works(t, streamed)
		r.wants(t, 3, 2)
	})
}

func TestCancelBackoff(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s sdk, streamed bool) {
		r := newRig(t, s, &snubbertest.Provider{})
		r.provider.Script(snubbertest.Reply{Status: 503, Header: http.Header{"Retry-After": {"30"}}})
		waiting := make(chan struct{}, 1)
		r.snubber.Observe = func(e snubber.Event) {
			if e.Kind == snubber.EventRetry && e.Wait > patience {
				waiting <- struct{}{}
			}
		}
		r.cancelled(t, s, streamed, func() bool {
			select {
			case <-waiting:
				return true
			case <-time.After(patience):
				return false
			}
		})
		r.wants(t, 1, 1)
		r.works(t, streamed)
	})
}

// A 429 is waited for in the queue, behind its own gate.
func TestCancelGated(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s sdk, streamed bool) {
		r := newRig(t, s, &snubbertest.Provider{})
		r.provider.Inject(snubbertest.Fault{Kind: snubbertest.RateLimited, RetryAfter: "30"})
		r.cancelled(t, s, streamed, r.queues)
		r.wants(t, 1, 1)
	})
}

func TestCancelBody(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s sdk, streamed bool) {
		r := newRig(t, s, &snubbertest.Provider{})
		r.provider.Inject(snubbertest.Fault{Kind: snubbertest.Stall, After: 4, Times: 1})
		r.cancelled(t, s, streamed, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if !streamed {
				return r.below.reached(ctx, 1) // which nobody is given a half of
			}
			return r.above.reached(ctx, 1)
		})
		r.wants(t, 1, 1)
		r.works(t, streamed)
	})
}
