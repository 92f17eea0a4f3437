package snubber

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/quota"
)

// A waiter that is granted in the instant in which it gives up keeps the grant
// if it saw that first, and else gives all of it back.
func TestLineGrantMeetsCancel(t *testing.T) {
	for _, canceledFirst := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := &Limiter{RequestsPerMinute: 60, TokensPerMinute: 6000, Concurrent: 1}
			q := l.newLine(key{host: "h"})
			first, _, err := q.enter(t.Context(), quota.Cost{Input: 100}, false, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			first.settle(&Outcome{}, asked{}, false, time.Now())
			time.Sleep(time.Minute) // the buckets are full again, only the place is taken
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() {
				p, _, err := q.enter(ctx, quota.Cost{Input: 100}, false, time.Now())
				if err == nil {
					p.settle(&Outcome{}, asked{}, true, time.Now())
				}
				done <- err
			}()
			synctest.Wait()
			q.mu.Lock() // the waiter wakes, but gets no further than the lock
			if canceledFirst {
				cancel()
			}
			q.quota.Free(time.Now())
			q.pumpLocked(time.Now())
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
			s := q.snapshot(time.Now())
			if s.InFlight != 0 || s.Waiting != 0 || q.quota.Pending() != 0 || q.timer != nil {
				t.Errorf("%+v with %d pending after %v, want nothing left", s, q.quota.Pending(), err)
			}
			if math.Abs(s.Requests-want) > 1e-6 || math.Abs(s.Tokens-100*want) > 1e-3 {
				t.Errorf("%v requests and %v tokens left after %v, want %v of each share", s.Requests, s.Tokens, err, want)
			}
		})
	}
}

// The queue's bound of zero is ten thousand, and a refusal there says when the
// queue will have gone.
func TestLineBoundsItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{RequestsPerMinute: 60}
		q := l.newLine(key{host: "h"})
		now := time.Now()
		q.mu.Lock()
		q.takeLocked(quota.Cost{}, false, now)
		var all []*waiter
		for i := range 10_000 {
			all = append(all, q.joinLocked(quota.Cost{}, i%7, i%11 == 0, time.Time{}, now))
		}
		q.mu.Unlock()
		_, _, err := q.enter(t.Context(), quota.Cost{}, false, now)
		var r *RejectedError
		if !errors.As(err, &r) || r.Err != ErrLimited || r.RetryAfter < time.Second {
			t.Errorf("the 10001st waiter: %v, want ErrLimited", err)
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, w := range all {
			q.leaveLocked(w)
		}
		if q.waiting != 0 || len(q.levels) != 0 || q.headLocked() != nil {
			t.Errorf("%d waiting on %d levels after all have left", q.waiting, len(q.levels))
		}
	})
}

// The queue has one timer, for its head, and none while nobody waits: a kept
// one would outlive a bubble and its users' tests.
func TestLineHasOneTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := (&Limiter{RequestsPerMinute: 60}).newLine(key{host: "h"})
		for range 3 {
			go func() {
				p, _, err := q.enter(t.Context(), quota.Cost{}, false, time.Now())
				if err != nil {
					t.Error(err)
				}
				p.settle(&Outcome{}, asked{}, true, time.Now())
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
func TestLineIsEvictable(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := &Limiter{RequestsPerMinute: 60, TokensPerMinute: 6000}
	for _, tt := range []struct {
		name string
		hold func(*line)
		want bool
	}{
		{"fresh", func(*line) {}, true},
		{"in flight", func(q *line) { q.takeLocked(quota.Cost{Input: 1}, false, now) }, false},
		{"bucket not full", func(q *line) {
			q.takeLocked(quota.Cost{}, false, now).settle(&Outcome{}, asked{}, true, now)
		}, false},
		{"in debt", func(q *line) {
			q.takeLocked(quota.Cost{Input: 1000}, false, now.Add(-time.Second)).settle(&Outcome{}, asked{}, true, now)
		}, false},
		{"waiter", func(q *line) { q.joinLocked(quota.Cost{Input: 1}, 0, false, time.Time{}, now) }, false},
		{"gated", func(q *line) { q.gate = now.Add(1) }, false},
		{"gate has passed", func(q *line) { q.gate = now }, true},
		{"latched", func(q *line) { q.latch, q.gate = time.Minute, now.Add(-maxGate) }, false},
		{"latched, and nobody asked since", func(q *line) { q.latch, q.gate = time.Minute, now.Add(-maxGate-1) }, true},
	} {
		q := l.newLine(key{})
		tt.hold(q)
		if got := q.evictable(now); got != tt.want {
			t.Errorf("%s: evictable %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The 90th percentile of the latest answers, and a default before the first.
func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		values []int
		want   int
	}{
		{nil, 1000},
		{[]int{7}, 7},
		{[]int{1, 2}, 2},
		{[]int{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, 9},
		{[]int{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 100}, 100},
		{[]int{math.MaxInt}, math.MaxInt32},
	} {
		var q quantile
		for _, v := range tt.values {
			q.add(v)
		}
		if got := q.p90(1000); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.values, got, tt.want)
		}
	}
}

// Whose quota a request uses is told by where it goes, by its credential and
// by its model, and never by what differs from request to request.
func TestLimiterKeys(t *testing.T) {
	req := func(url string, header ...string) *http.Request {
		r, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	const aws = "AWS4-HMAC-SHA256 Credential=AKIA%s/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=%s"
	for _, tt := range []struct {
		name string
		a, b *http.Request
		same bool
	}{
		{"same", req("https://a/x", "Authorization", "Bearer 1"), req("https://a/y", "Authorization", "Bearer 1"), true},
		{"query", req("https://a/x?n=1"), req("https://a/x?n=2"), true},
		{"host", req("https://a/x"), req("https://b/x"), false},
		{"port", req("https://a:1/x"), req("https://a:2/x"), false},
		{"scheme", req("https://a/x"), req("http://a/x"), false},
		{"bearer", req("https://a/x", "Authorization", "Bearer 1"), req("https://a/x", "Authorization", "Bearer 2"), false},
		{"x-api-key", req("https://a/x", "X-Api-Key", "1"), req("https://a/x", "X-Api-Key", "2"), false},
		{"api-key", req("https://a/x", "Api-Key", "1"), req("https://a/x", "Api-Key", "2"), false},
		{"x-goog-api-key", req("https://a/x", "X-Goog-Api-Key", "1"), req("https://a/x", "X-Goog-Api-Key", "2"), false},
		{"key in the query", req("https://a/x?key=1"), req("https://a/x?key=2"), false},
		{"none and some", req("https://a/x"), req("https://a/x", "Authorization", "Bearer 1"), false},
		{"another signature of one access key", req("https://a/x", "Authorization", fmt.Sprintf(aws, "1", "aa")), req("https://a/x", "Authorization", fmt.Sprintf(aws, "1", "bb")), true},
		{"another access key", req("https://a/x", "Authorization", fmt.Sprintf(aws, "1", "aa")), req("https://a/x", "Authorization", fmt.Sprintf(aws, "2", "aa")), false},
	} {
		for _, l := range []*Limiter{{}, {Secret: []byte("s")}} {
			if got := l.keyOf(tt.a, "m") == l.keyOf(tt.b, "m"); got != tt.same {
				t.Errorf("%s: one key %v, want %v", tt.name, got, tt.same)
			}
			if l.keyOf(tt.a, "m") == l.keyOf(tt.a, "n") {
				t.Errorf("%s: two models share a key", tt.name)
			}
		}
		one, two := &Limiter{Secret: []byte("s")}, &Limiter{Secret: []byte("s")}
		if one.keyOf(tt.a, "m") != two.keyOf(tt.a, "m") {
			t.Errorf("%s: the same secret gives different keys", tt.name)
		}
		shared := &Limiter{Key: func(*http.Request) string { return "all" }}
		if shared.keyOf(tt.a, "m") != shared.keyOf(tt.b, "n") {
			t.Errorf("%s: Key does not decide", tt.name)
		}
	}
}
