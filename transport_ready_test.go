package snubber_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// ReadyAt predicts what RoundTrip would do at that moment: send at once, send
// later, or refuse and why. It takes nothing.
func TestReadyAt(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		for _, tr := range []*snubber.Transport{{}, snubber.New(nil)} {
			base := wiretest.Play()
			tr.Base = base
			for range 3 {
				if at, err := tr.ReadyAt(wiretest.UntouchedChat(t)); !at.IsZero() || err != nil || base.Sent() != 0 {
					t.Errorf("Ready = %v, %v after %d wire calls, want zero", at, err, base.Sent())
				}
			}
		}
	})
	t.Run("open", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Breaker: &snubber.Breaker{Failures: 2, Probes: 1}}
			tripped(t, tr, wiretest.Step{})
			_, err := tr.ReadyAt(wiretest.UntouchedChat(t))
			refusal := mustRefuse(t, tr, wiretest.Chat(t))
			var ready *snubber.RejectedError
			if !errors.As(err, &ready) || !errors.Is(err, snubber.ErrOpen) || *ready != *refusal {
				t.Errorf("Ready = %v, want as RoundTrip: %v", err, refusal)
			}
			sleepOpen(t, tr.Breaker)
			for range 3 { // although only one probe is allowed
				if at, err := tr.ReadyAt(wiretest.UntouchedChat(t)); !at.IsZero() || err != nil {
					t.Errorf("Ready = %v, %v while half-open, want zero", at, err)
				}
			}
			if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 {
				t.Errorf("the probe: %d, %v, want 200", status, err)
			}
		})
	})
	t.Run("limited", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{})
			tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{RequestsPerMinute: 6}}
			start := time.Now()
			wiretest.Fetch(tr, wiretest.Chat(t))
			var at time.Time
			for range 3 {
				var err error
				if at, err = tr.ReadyAt(wiretest.UntouchedChat(t)); err != nil || at.Sub(start) < 10*time.Second || at.Sub(start) > 10*time.Second+time.Microsecond {
					t.Fatalf("Ready = in %v, %v, want in 10s", at.Sub(start), err)
				}
			}
			wiretest.Fetch(tr, wiretest.Chat(t))
			if sent := base.Attempts()[1].At; !sent.Equal(at) {
				t.Errorf("sent at %v, want when Ready said, %v", sent.Sub(start), at.Sub(start))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, ready := tr.ReadyAt(wiretest.UntouchedChat(t).WithContext(ctx))
			_, err := wiretest.Fetch(tr, wiretest.Chat(t).WithContext(ctx))
			if !errors.Is(ready, snubber.ErrLimited) || !errors.Is(ready, context.DeadlineExceeded) || ready.Error() != err.Error() {
				t.Errorf("Ready = %v, want as RoundTrip: %v", ready, err)
			}
		})
	})
	t.Run("gated", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "20")}, wiretest.Step{})
			tr := &snubber.Transport{Base: base, Limiter: &snubber.Limiter{}}
			start := time.Now()
			if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 429 {
				t.Fatalf("RoundTrip = %d, %v, want 429", status, err)
			}
			at, err := tr.ReadyAt(wiretest.UntouchedChat(t))
			if d := at.Sub(start); err != nil || d < 20*time.Second || d > 21*time.Second {
				t.Fatalf("Ready = in %v, %v, want in 20s and a bit", d, err)
			}
			wiretest.Fetch(tr, wiretest.Chat(t))
			if sent := base.Attempts()[1].At; !sent.Equal(at) {
				t.Errorf("sent after %v, want when Ready said, %v", sent.Sub(start), at.Sub(start))
			}
		})
	})
	t.Run("exhausted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Limiter: &snubber.Limiter{}, Base: wiretest.Play(wiretest.Step{Status: 429, Body: `{"error":{"message":"no","type":"insufficient_quota","code":"insufficient_quota"}}`})}
			wiretest.Fetch(tr, wiretest.Chat(t))
			_, ready := tr.ReadyAt(wiretest.UntouchedChat(t))
			_, err := wiretest.Fetch(tr, wiretest.Chat(t))
			if !errors.Is(ready, snubber.ErrQuota) || ready.Error() != err.Error() {
				t.Errorf("Ready = %v, want as RoundTrip: %v", ready, err)
			}
		})
	})
	t.Run("base", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			late := time.Now().Add(time.Minute)
			base := &wiretest.ReadyBase{RoundTripper: wiretest.Play(wiretest.Step{}), At: late}
			tr := &snubber.Transport{Base: base, Limiter: &snubber.Limiter{RequestsPerMinute: 6}}
			if at, err := tr.ReadyAt(wiretest.UntouchedChat(t)); !at.Equal(late) || err != nil {
				t.Errorf("Ready = %v, %v, want the base's time", at, err)
			}
			wiretest.Fetch(tr, wiretest.Chat(t))
			if at, err := tr.ReadyAt(wiretest.UntouchedChat(t)); !at.Equal(late) || err != nil {
				t.Errorf("Ready = %v, %v, want the later of the two", at, err)
			}
			base.At = time.Now().Add(time.Second)
			if at, err := tr.ReadyAt(wiretest.UntouchedChat(t)); time.Until(at) < 10*time.Second || err != nil {
				t.Errorf("Ready = in %v, %v, want the later of the two", time.Until(at), err)
			}
			base.Err = &snubber.RejectedError{Err: snubber.ErrLimited}
			if _, err := tr.ReadyAt(wiretest.UntouchedChat(t)); !errors.Is(err, snubber.ErrLimited) {
				t.Errorf("Ready = %v, want the base's error", err)
			}
			inner := &snubber.Transport{Base: wiretest.Play(), Breaker: &snubber.Breaker{}}
			inner.Breaker.Trip(chatKey)
			if _, err := (&snubber.Transport{Base: inner}).ReadyAt(wiretest.UntouchedChat(t)); !errors.Is(err, snubber.ErrOpen) {
				t.Errorf("Ready = %v, want the inner Transport's ErrOpen", err)
			}
		})
	})
}
