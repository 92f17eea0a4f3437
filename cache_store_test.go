package snubber_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// An entry of one process is found by another with the same secret.
func TestCacheStoreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which no disk is slow
		dir := t.TempDir()
		open := func(base http.RoundTripper, secret []byte) *snubber.Transport {
			return &snubber.Transport{Base: base, Cache: &snubber.Cache{PromptTTL: time.Hour, Store: &snubber.DiskStore{Dir: dir}, Secret: secret}}
		}
		french, english := wiretest.Page("bonjour", "Vary", "Accept-Language", "Content-Language", "fr", "X", "1"), wiretest.Page("hello", "Vary", "Accept-Language", "Content-Language", "en")
		stream := wiretest.Step{Stream: wiretest.NewBody(wiretest.Chunk{Text: wiretest.DeltaEvent}, wiretest.Chunk{Text: wiretest.FinishedEvent + wiretest.DoneEvent}), Header: wiretest.Header("Content-Type", "text/event-stream")}
		base := wiretest.Play(french, english, wiretest.JSON(200, wiretest.Completion), stream, wiretest.Page("not to be asked"))
		requests := []func() *http.Request{
			func() *http.Request { return wiretest.GetPage(t, "Accept-Language", "fr") },
			func() *http.Request { return wiretest.GetPage(t, "Accept-Language", "en") },
			func() *http.Request { return wiretest.Chat(t) },
			func() *http.Request { return wiretest.ChatStream(t) },
		}
		var bodies []string
		first := open(base, cacheSecret)
		for _, req := range requests {
			body, cache := served(t, first, req())
			if bodies = append(bodies, body); cache != "miss" {
				t.Errorf("%q is a %s", body, cache)
			}
		}
		second := open(base, cacheSecret)
		for i, req := range requests {
			res, err := second.RoundTrip(req())
			if err != nil {
				t.Fatal(err)
			}
			body := wiretest.ReadAll(t, res)
			if r := snubber.ReportOf(res); r.Load().Cache != "hit" || body != bodies[i] || i == 0 && res.Header.Get("X") != "1" {
				t.Errorf("a %s of %q with %v, want a hit of %q", r.Load().Cache, body, res.Header, bodies[i])
			}
		}
		if body, cache := served(t, second, wiretest.GetPage(t, "Accept-Language", "en;q=0.5, fr;q=0.9")); cache != "hit" || body != "bonjour" {
			t.Errorf("for who likes French best a %s of %q", cache, body)
		}
		other := open(wiretest.Play(wiretest.Page("other")), bytes.Repeat([]byte("t"), 32))
		if body, cache := served(t, other, wiretest.GetPage(t, "Accept-Language", "fr")); cache != "miss" || body != "other" {
			t.Errorf("with another secret a %s of %q", cache, body)
		}
	})
}

// The age of an entry that was received an hour from now is unknown: the clock was
// set back. The clock of another machine may be a little fast.
func TestCacheStoreFuture(t *testing.T) {
	for ahead, want := range map[time.Duration]string{time.Hour: "miss", 2 * time.Minute: "miss", 30 * time.Second: "hit"} {
		for _, header := range [][]string{nil, {"Vary", "Accept"}} {
			s := &recorder{}
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(ahead)
				served(t, stored(wiretest.Play(wiretest.Page("old", header...)), s), wiretest.GetPage(t))
			})
			synctest.Test(t, func(t *testing.T) { // where it is earlier
				rt := stored(wiretest.Play(wiretest.Page("new", header...)), s)
				if _, how := served(t, rt, wiretest.GetPage(t)); how != want {
					t.Errorf("received %v from now it is a %s, want a %s", ahead, how, want)
				}
				if _, how := served(t, rt, wiretest.GetPage(t)); how != "hit" {
					t.Errorf("then a %s", how)
				}
			})
		}
	}
}

// strict is a store that deletes each entry after its ttl.
type strict struct {
	recorder
	ttls []time.Duration
}

func (s *strict) Put(ctx context.Context, key string, ttl time.Duration) (snubber.CacheWriter, error) {
	s.ttls = append(s.ttls, ttl)
	return s.recorder.Put(ctx, key, ttl)
}

// A stream that takes longer than it is fresh is not stored, and the earlier entry is
// deleted.
func TestCacheStoreExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &strict{}
		slow := func(d time.Duration) wiretest.Step {
			return wiretest.Step{Stream: wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.DeltaEvent, Err: nil}, wiretest.Chunk{At: d, Text: wiretest.FinishedEvent + wiretest.DoneEvent, Err: nil}), Header: wiretest.Header("Content-Type", "text/event-stream")}
		}
		base := wiretest.Play(slow(0), slow(2*time.Minute))
		rt := stored(base, s)
		rt.Cache.PromptTTL = time.Minute
		served(t, rt, wiretest.ChatStream(t))
		served(t, rt, wiretest.ChatStream(t, "Cache-Control", "no-cache"))
		if len(s.ttls) != 1 || s.ttls[0] <= 0 || s.ttls[0] > time.Minute || len(s.m) != 0 {
			t.Errorf("stored for %v, and %d entries are left", s.ttls, len(s.m))
		}
	})
}

// Without a secret of 32 bytes nothing is stored in a store, and the status says why.
func TestCacheStoreSecret(t *testing.T) {
	for _, secret := range [][]byte{nil, make([]byte, 31)} {
		s := &recorder{}
		base := wiretest.Play(wiretest.Page("hello"))
		rt := &snubber.Transport{Base: base, Cache: &snubber.Cache{PromptTTL: time.Hour, Store: s, Secret: secret}}
		var events []snubber.Event
		rt.Observe = func(e snubber.Event) { events = append(events, e) }
		for range 2 {
			served(t, rt, wiretest.GetPage(t))
			served(t, rt, wiretest.Chat(t))
		}
		if base.Sent() != 4 || s.seen.Len() > 0 {
			t.Errorf("%d requests, and the store saw %q", base.Sent(), s.seen.String())
		}
		if e := events[0]; e.Kind != snubber.EventCache || e.Cache != "bypass" || e.Detail != "no secret" {
			t.Errorf("event %+v", e)
		}
	}
}

// A call of a store that ignores its context is abandoned, then the store is not
// called for a while, and the late result does no harm.
func TestCacheStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		release := make(chan struct{})
		hang := func(context.Context) error { asked.Add(1); <-release; return nil }
		s := &recorder{get: hang, put: hang}
		rt := stored(wiretest.Play(wiretest.Page("hello")), s)
		var faults []string
		rt.Observe = func(e snubber.Event) {
			if e.Cache == "store" {
				faults = append(faults, e.Detail)
			}
		}
		start := time.Now()
		for range 100 {
			if body, cache := served(t, rt, wiretest.GetPage(t)); body != "hello" || cache != "miss" {
				t.Fatalf("a %s of %q", cache, body)
			}
		}
		if d := time.Since(start); d > 2*time.Second || asked.Load() > 2 || len(faults) == 0 || !strings.Contains(faults[0], "slow") {
			t.Errorf("100 answers after %v, with %d calls of the store, faults %q", d, asked.Load(), faults)
		}
		close(release)
		s.get, s.put = nil, nil
		time.Sleep(2 * time.Second)
		served(t, rt, wiretest.GetPage(t))
		if _, cache := served(t, rt, wiretest.GetPage(t)); cache != "hit" {
			t.Errorf("when it is well again, a %s", cache)
		}
	})
}

// However long a store hangs, the number of its calls is bounded.
func TestCacheStoreHangsForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		release := make(chan struct{})
		s := &recorder{get: func(context.Context) error { asked.Add(1); <-release; return nil }}
		rt := stored(wiretest.Play(wiretest.Page("hello", "Cache-Control", "no-store")), s)
		for range 400 {
			served(t, rt, wiretest.GetPage(t))
			time.Sleep(2 * time.Second)
		}
		if n := asked.Load(); n != 256 {
			t.Errorf("%d calls of the store, want 256", n)
		}
		close(release)
		synctest.Wait()
		served(t, rt, wiretest.GetPage(t))
		if n := asked.Load(); n != 257 {
			t.Errorf("%d calls of the store that is well again, want 257", n)
		}
	})
}

// An entry with any byte changed is a miss, and the response is stored again.
func TestCacheStoreDamaged(t *testing.T) {
	s := &recorder{}
	base := wiretest.Play(wiretest.Page("hello", "A", "1"))
	rt := stored(base, s)
	served(t, rt, wiretest.GetPage(t))
	if len(s.m) != 1 {
		t.Fatalf("%d entries", len(s.m))
	}
	for key, whole := range s.m {
		for i := range len(whole) + 1 {
			for _, damaged := range [][]byte{flipped(whole, i), whole[:i]} {
				if bytes.Equal(damaged, whole) {
					continue
				}
				s.m[key] = damaged
				sent := base.Sent()
				if body, cache := served(t, rt, wiretest.GetPage(t)); cache != "miss" || body != "hello" || base.Sent() != sent+1 {
					t.Fatalf("damaged at %d: a %s of %q", i, cache, body)
				}
			}
		}
	}
}

func flipped(b []byte, i int) []byte {
	b = bytes.Clone(b)
	if i < len(b) {
		b[i] ^= 0x10
	}
	return b
}

// The store sees neither requests nor responses nor credentials.
func TestCacheStoreSeesNoSecrets(t *testing.T) {
	s := &recorder{}
	stream := wiretest.Step{Stream: io.NopCloser(strings.NewReader(wiretest.WholeStream)), Header: wiretest.Header("Content-Type", "text/event-stream", "X-Request-Id", "TELLTALE")}
	rt := stored(wiretest.Play(wiretest.Page("TELLTALE", "Vary", "Authorization", "A", "TELLTALE"), stream), s)
	served(t, rt, wiretest.NewRequest(t, "GET", "https://TELLTALE.example.com/TELLTALE?key=TELLTALE", "", "Authorization", "TELLTALE", "Cookie", "TELLTALE"))
	served(t, rt, wiretest.NewRequest(t, "POST", wiretest.ChatURL, strings.ReplaceAll(wiretest.StreamBody, "hello", "TELLTALE"), "X-Api-Key", "TELLTALE"))
	if len(s.m) != 3 {
		t.Errorf("%d entries, want an index, a page and a stream", len(s.m))
	}
	for _, word := range []string{"TELLTALE", "telltale", "example.com", "chat.completion"} {
		if bytes.Contains(s.seen.Bytes(), []byte(word)) {
			t.Errorf("the store saw %q", word)
		}
	}
}
