package snubber_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// lending is a store that counts its open readers, and calls read before each Read:
// with the number of the Get, and how many bytes were read.
type lending struct {
	recorder
	read func(nth int, ctx context.Context, at int) error

	mu         sync.Mutex
	gets, open int
}

type lentReader struct {
	io.Reader
	c   *lending
	ctx context.Context
	nth int
	at  int
}

func (c *lending) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	r, err := c.recorder.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gets++
	c.open++
	return &lentReader{Reader: r, c: c, ctx: ctx, nth: c.gets}, nil
}

func (r *lentReader) Read(p []byte) (int, error) {
	if r.c.read != nil {
		if err := r.c.read(r.nth, r.ctx, r.at); err != nil {
			return 0, err
		}
	}
	n, err := r.Reader.Read(p[:min(len(p), 10_000-r.at%10_000)])
	r.at += n
	return n, err
}

func (r *lentReader) Close() error {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.c.open--
	return nil
}

// count returns the number of Gets and of open readers.
func (c *lending) count() (gets, open int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gets, c.open
}

// An answer of 64 MiB is given from the disk with some hundred kilobytes of memory.
func TestCacheSegmentedHitMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 64 << 20
		base := wiretest.Func(func(*http.Request) (*http.Response, error) {
			return wiretest.Response(200, io.LimitReader(repeating{}, size), "Cache-Control", "max-age=60"), nil
		})
		rt := &snubber.Transport{Base: base, Cache: &snubber.Cache{Store: &snubber.DiskStore{Dir: t.TempDir()}, Secret: cacheSecret, MaxEntryBytes: size, MaxBytes: 8 * size}}
		if _, err := wiretest.Fetch(rt, wiretest.GetPage(t)); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		res, err := rt.RoundTrip(wiretest.GetPage(t))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, res.Body, make([]byte, 32<<10))
		res.Body.Close()
		runtime.ReadMemStats(&after)
		if r := snubber.ReportOf(res); n != size || err != nil || r.Load().Cache != "hit" {
			t.Fatalf("a %s of %d bytes, %v", r.Load().Cache, n, err)
		}
		if b := after.TotalAlloc - before.TotalAlloc; b > 4<<20 {
			t.Errorf("%d bytes were allocated", b)
		} else {
			t.Logf("%d bytes were allocated, in %d pieces", b, after.Mallocs-before.Mallocs)
		}
	})
}

type repeating struct{}

func (repeating) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}

// A large entry answers every kind of request that a small one does, and each of its
// readers is closed.
func TestCacheSegmentedResponses(t *testing.T) {
	body := wiretest.Noise(300_000)
	for _, tt := range []struct {
		name   string
		first  wiretest.Step
		then   []wiretest.Step
		after  time.Duration
		req    func() *http.Request
		status int
		want   string
		cache  string
	}{
		{"all", wiretest.Page(body), nil, 0, func() *http.Request { return wiretest.GetPage(t) }, 200, body, "hit"},
		{"its head", wiretest.Page(body), nil, 0, func() *http.Request { return wiretest.NewRequest(t, "HEAD", wiretest.PageURL, "") }, 200, "", "hit"},
		{"whether it has changed", wiretest.Page(body, "Etag", `"1"`), nil, 0, func() *http.Request { return wiretest.GetPage(t, "If-None-Match", `"1"`) }, 304, "", "hit"},
		{"a part", wiretest.Page(body), nil, 0, func() *http.Request { return wiretest.GetPage(t, "Range", "bytes=150000-250000") }, 206, body[150_000:250_001], "hit"},
		{"its end", wiretest.Page(body), nil, 0, func() *http.Request { return wiretest.GetPage(t, "Range", "bytes=-5") }, 206, body[299_995:], "hit"},
		{"a part beyond", wiretest.Page(body), nil, 0, func() *http.Request { return wiretest.GetPage(t, "Range", "bytes=300000-") }, 416, "", "hit"},
		{"confirmed", wiretest.Page(body, "Etag", `"1"`), []wiretest.Step{{Status: 304, Header: wiretest.Header("Etag", `"1"`, "Cache-Control", "max-age=60")}}, 2 * time.Minute, func() *http.Request { return wiretest.GetPage(t) }, 200, body, "revalidated"},
		{"when the server fails", wiretest.Page(body, "Cache-Control", "max-age=60, stale-if-error=600"), []wiretest.Step{{Status: 503}}, 2 * time.Minute, func() *http.Request { return wiretest.GetPage(t) }, 200, body, "stale"},
		{"while it is refreshed", wiretest.Page(body, "Cache-Control", "max-age=60, stale-while-revalidate=600"), []wiretest.Step{wiretest.Page("new")}, 2 * time.Minute, func() *http.Request { return wiretest.GetPage(t) }, 200, body, "stale"},
		{"of the variant", wiretest.Page(body, "Vary", "X"), nil, 0, func() *http.Request { return wiretest.GetPage(t) }, 200, body, "hit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &lending{}
				rt := stored(wiretest.Play(append([]wiretest.Step{tt.first}, tt.then...)...), store)
				served(t, rt, wiretest.GetPage(t))
				time.Sleep(tt.after)
				for i := range 2 {
					res, err := rt.RoundTrip(tt.req())
					if err != nil {
						t.Fatal(err)
					}
					got := wiretest.ReadAll(t, res)
					want := tt.cache
					if i > 0 && want == "revalidated" {
						want = "hit" // the updated entry was written with its body
					}
					if r := snubber.ReportOf(res); res.StatusCode != tt.status || got != tt.want || string(r.Load().Cache) != want || r.Load().Outcome.Class != snubber.Success {
						t.Errorf("a %s of %d with %d bytes (%v), want a %s of %d with %d", r.Load().Cache, res.StatusCode, len(got), r.Load().Outcome, want, tt.status, len(tt.want))
					}
					if tt.name == "while it is refreshed" {
						break
					}
				}
				synctest.Wait()
				if gets, open := store.count(); open != 0 {
					t.Errorf("of %d readers %d are open", gets, open)
				}
			})
		})
	}
}

// A large part is completed and combined like a small one.
func TestCacheSegmentedParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := wiretest.Noise(400_000)
		part := func(first, last int) wiretest.Step {
			return wiretest.Step{Status: 206, Body: body[first : last+1], Header: wiretest.Header("Cache-Control", "max-age=60", "Etag", `"1"`,
				"Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(body)))}
		}
		for name, ask := range map[string][]string{"completed": nil, "joined": {"Range", "bytes=200000-"}} {
			store := &lending{}
			base := wiretest.Play(part(0, 199_999), part(200_000, 399_999))
			rt := stored(base, store)
			served(t, rt, wiretest.GetPage(t, "Range", "bytes=0-199999"))
			served(t, rt, wiretest.GetPage(t, ask...))
			if got, how := served(t, rt, wiretest.GetPage(t)); got != body || how != "hit" || base.Sent() != 2 {
				t.Errorf("%s: a %s of %d bytes after %d requests", name, how, len(got), base.Sent())
			}
			if _, open := store.count(); open != 0 {
				t.Errorf("%s: %d readers are open", name, open)
			}
		}
	})
}

// A large entry that a 304 updates is stored where its new fields say.
func TestCacheSegmentedEntryUpdated(t *testing.T) {
	body := wiretest.Noise(300_000)
	for fields, want := range map[string][3]string{ // the next three calls
		"Vary: X":                 {"revalidated", "hit", "miss"},
		"Vary: *":                 {"revalidated", "miss", "miss"},
		"Cache-Control: no-store": {"revalidated", "miss", "miss"},
	} {
		synctest.Test(t, func(t *testing.T) {
			name, value, _ := strings.Cut(fields, ": ")
			h := wiretest.Header("Etag", `"1"`, "Cache-Control", "max-age=60")
			h.Set(name, value)
			store := &lending{}
			base := wiretest.Play(wiretest.Page(body, "Etag", `"1"`), wiretest.Step{Status: 304, Header: h}, wiretest.Step{Body: body, Header: h})
			rt := stored(base, store)
			served(t, rt, wiretest.GetPage(t, "X", "1"))
			time.Sleep(2 * time.Minute)
			asked := 1
			for i, x := range []string{"1", "1", "2"} {
				got, how := served(t, rt, wiretest.GetPage(t, "X", x))
				if got != body || how != want[i] {
					t.Errorf("%s: call %d is a %s of %d bytes, want a %s", fields, i, how, len(got), want[i])
				}
				if how != "hit" {
					asked++
				}
			}
			if base.Sent() != asked {
				t.Errorf("%s: %d requests, want %d", fields, base.Sent(), asked)
			}
			if n := len(store.m); want[1] == "miss" && n > 0 {
				t.Errorf("%s: %d entries", fields, n)
			}
			if _, open := store.count(); open != 0 {
				t.Errorf("%s: %d readers are open", fields, open)
			}
		})
	}
}

// A stored stream of any length comes in the chunks in which it came first.
func TestCacheSegmentedStreamChunks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var chunks []wiretest.Chunk
		want := ""
		for i := range 200 {
			text := strings.Replace(wiretest.DeltaEvent, "hi", strings.Repeat("x", 700+i), 1)
			chunks, want = append(chunks, wiretest.Chunk{Text: text}), want+text
		}
		end := wiretest.FinishedEvent + wiretest.DoneEvent
		rt := stored(wiretest.SSE(append(chunks, wiretest.Chunk{Text: end})...), &lending{})
		for _, how := range []string{"miss", "hit"} {
			res, err := rt.RoundTrip(wiretest.ChatStream(t))
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 32<<10)
			got := ""
			for i := 0; ; i++ {
				n, err := res.Body.Read(buf)
				if got += string(buf[:n]); err == io.EOF {
					break
				}
				if err != nil || i < len(chunks) && n != len(chunks[i].Text) {
					t.Fatalf("a %s: piece %d has %d bytes (%v), want %d", how, i, n, err, len(chunks[i].Text))
				}
			}
			if r := snubber.ReportOf(res); got != want+end || string(r.Load().Cache) != how {
				t.Errorf("a %s of %d bytes, want a %s of %d", r.Load().Cache, len(got), how, len(want+end))
			}
			res.Body.Close()
		}
	})
}

// A large entry with any byte changed is a miss before the first byte is returned.
func TestCacheSegmentedEntryDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := wiretest.Noise(200_000)
		store := &lending{}
		base := wiretest.Play(wiretest.Page(body))
		rt := stored(base, store)
		served(t, rt, wiretest.GetPage(t))
		for key, whole := range store.m {
			for i := 0; i < len(whole); i += 1 + i/9 {
				for _, damaged := range [][]byte{flipped(whole, i), whole[:i]} {
					store.m[key] = damaged
					sent := base.Sent()
					if got, how := served(t, rt, wiretest.GetPage(t)); how != "miss" || got != body || base.Sent() != sent+1 {
						t.Fatalf("damaged at %d: a %s of %d bytes", i, how, len(got))
					}
				}
			}
		}
	})
}

// If a large entry changes after it was verified, its reader gets the right bytes and
// then an error, and the next request is a miss.
func TestCacheSegmentedEntryDamagedMeanwhile(t *testing.T) {
	body := wiretest.Noise(300_000)
	failed := errors.New("failed")
	for name, damage := range map[string]func(entry []byte) error{
		"altered": func(entry []byte) error { clear(entry[200_000:]); return nil },
		"fails":   func([]byte) error { return failed },
		"cut":     func([]byte) error { return io.EOF },
		"hangs":   func([]byte) error { time.Sleep(time.Minute); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &lending{}
				base := wiretest.Play(wiretest.Page(body))
				rt := stored(base, store)
				served(t, rt, wiretest.GetPage(t))
				var entry []byte
				for _, entry = range store.m {
				}
				store.read = func(nth int, _ context.Context, at int) error {
					if nth == 2 && at == 150_000 {
						return damage(entry)
					}
					return nil
				}
				res, err := rt.RoundTrip(wiretest.GetPage(t))
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				got, err := io.ReadAll(res.Body)
				if !errors.Is(err, io.ErrUnexpectedEOF) || len(got) < 100_000 || !strings.HasPrefix(body, string(got)) || time.Since(start) > 20*time.Second {
					t.Errorf("%d bytes and %v after %v", len(got), err, time.Since(start))
				}
				if _, again := res.Body.Read(make([]byte, 1)); again != err {
					t.Errorf("then %v", again)
				}
				if r := snubber.ReportOf(res); r.Load().Cache != "hit" || r.Load().Outcome.Class == snubber.Success {
					t.Errorf("report %+v", r)
				}
				res.Body.Close()
				time.Sleep(2 * time.Minute)
				if _, open := store.count(); open != 0 {
					t.Errorf("%d readers are open", open)
				}
				if got, how := served(t, rt, wiretest.GetPage(t)); got != body || how == "hit" && base.Sent() == 1 && name == "altered" {
					t.Errorf("the next has a %s of %d bytes", how, len(got))
				}
			})
		})
	}
}

// How a segmented body ends is the outcome of the call, also of one inside an attempt
// of another Transport. An attempt that has its outcome already keeps it.
func TestCacheSegmentedOutcomeNested(t *testing.T) {
	for _, tt := range []struct {
		name    string
		outer   *snubber.Transport // nil: none
		trouble func(ctx context.Context) error
		want    snubber.Class
	}{
		{"alone", nil, func(context.Context) error { return errors.New("failed") }, snubber.Unreachable},
		{"the store fails", &snubber.Transport{Retry: &snubber.Retry{}}, func(context.Context) error { return errors.New("failed") }, snubber.Unreachable},
		{"the attempt has ended", &snubber.Transport{Timeout: &snubber.Timeout{Attempt: 5 * time.Second}},
			func(ctx context.Context) error { <-ctx.Done(); time.Sleep(time.Second); return ctx.Err() }, snubber.TimedOut},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &lending{}
				inner := stored(wiretest.Play(wiretest.Page(wiretest.Noise(300_000))), store)
				served(t, inner, wiretest.GetPage(t))
				store.read = func(nth int, ctx context.Context, at int) error {
					if nth == 2 && at == 150_000 {
						return tt.trouble(ctx)
					}
					return nil
				}
				rt := http.RoundTripper(inner)
				if tt.outer != nil {
					tt.outer.Base = inner
					rt = tt.outer
				}
				ctx, report := snubber.WithReport(t.Context())
				res, err := rt.RoundTrip(wiretest.GetPage(t).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, res.Body); err == nil {
					t.Error("the body ends cleanly")
				}
				res.Body.Close()
				time.Sleep(time.Minute)
				if report.Load().Outcome.Class != tt.want || report.Load().Cache != "hit" {
					t.Errorf("a %s with outcome %v, want a hit with %v", report.Load().Cache, report.Load().Outcome.Class, tt.want)
				}
			})
		})
	}
}

// If a large entry is replaced or deleted before it is read, the server is asked.
func TestCacheSegmentedEntryGoneMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := wiretest.Noise(300_000)
		for name, change := range map[string]func(s *lending, key string){
			"deleted":  func(s *lending, key string) { s.Delete(context.Background(), key) },
			"replaced": func(s *lending, key string) { s.m[key] = s.m["other"] },
		} {
			store := &lending{}
			base := wiretest.Play(wiretest.Page(body, "Etag", `"1"`), wiretest.Page(body+"!", "Etag", `"2"`))
			rt := stored(base, store)
			served(t, rt, wiretest.GetPage(t))
			for _, other := range store.m {
				store.m["other"] = other
			}
			served(t, rt, wiretest.GetPage(t, "Cache-Control", "no-cache")) // the same key, another entry
			gets, _ := store.count()
			store.get = func(context.Context) error {
				if now, _ := store.count(); now == gets+1 { // it was verified
					for key := range store.m {
						if key != "other" {
							change(store, key)
						}
					}
				}
				return nil
			}
			got, how := served(t, rt, wiretest.GetPage(t))
			if got != body+"!" || how != "miss" || base.Sent() != 3 || base.Attempts()[2].Header["If-None-Match"] != nil {
				t.Errorf("%s: a %s of %d bytes after %d requests", name, how, len(got), base.Sent())
			}
			if _, open := store.count(); open != 0 {
				t.Errorf("%s: %d readers are open", name, open)
			}
		}
	})
}

// If the server validates an entry that the store does not have any more, the server
// is asked for it.
func TestCacheSegmentedEntryGoneWhileValidated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &lending{}
		body, etag := wiretest.Noise(300_000), wiretest.Header("Etag", `"1"`, "Cache-Control", "max-age=60")
		base := wiretest.Play(wiretest.Step{Body: body, Header: etag}, wiretest.Step{Do: func(req *http.Request) (*http.Response, error) {
			for key := range store.m {
				store.Delete(t.Context(), key)
			}
			time.Sleep(time.Second)
			res := wiretest.Response(304, strings.NewReader(""))
			res.Header = etag
			return res, nil
		}}, wiretest.Step{Body: body, Header: etag})
		rt := stored(base, store)
		served(t, rt, wiretest.GetPage(t))
		time.Sleep(2 * time.Minute)
		bodies, errs := wiretest.FetchAll(t, rt, 3, func(int) *http.Request { return wiretest.GetPage(t) })
		if bodies[body] != 3 || len(errs) > 0 {
			t.Errorf("%d of 3 have the answer, errors %v", bodies[body], errs)
		}
		if got, how := served(t, rt, wiretest.GetPage(t)); got != body || how != "hit" {
			t.Errorf("then a %s of %d bytes", how, len(got))
		}
		if base.Attempts()[2].Header["If-None-Match"] != nil {
			t.Error("it is asked for under a condition")
		}
	})
}

// shut is a body that cannot be read after it was closed.
type shut struct {
	io.Reader
	closed atomic.Bool
}

func (s *shut) Read(p []byte) (int, error) {
	if s.closed.Load() {
		return 0, errors.New("closed")
	}
	return s.Reader.Read(p)
}

func (s *shut) Close() error { s.closed.Store(true); return nil }

// The same is true of a stored response to a prompt that was to replace a failure,
// whether the prompt was sent or not.
func TestCacheSegmentedEntryGoneWhileServerFails(t *testing.T) {
	for name, refused := range map[string]bool{"the server fails": false, "the circuit is open": true} {
		synctest.Test(t, func(t *testing.T) {
			const circuit = "https://api.example.com m"
			json := wiretest.Header("Content-Type", "application/json")
			store := &lending{}
			base := wiretest.Play(wiretest.Step{Header: json, Body: strings.Replace(wiretest.Completion, "hi", wiretest.Noise(300_000), 1)}, wiretest.Step{Status: 503}, wiretest.JSON(200, wiretest.Completion))
			if refused {
				base.Steps[1] = wiretest.JSON(200, wiretest.Completion)
			}
			rt := stored(base, store)
			rt.Cache.StaleIfError, rt.Breaker = 10*time.Hour, &snubber.Breaker{}
			served(t, rt, wiretest.Chat(t))
			time.Sleep(2 * time.Hour)
			gets, _ := store.count()
			if refused {
				rt.Breaker.Trip(circuit)
			}
			store.get = func(context.Context) error {
				if now, _ := store.count(); now == gets { // it is searched
					return nil
				}
				rt.Breaker.Reset(circuit)
				return fs.ErrNotExist
			}
			req := wiretest.Chat(t)
			req.Body = &shut{Reader: req.Body}
			if got, how := served(t, rt, req); got != wiretest.Completion || how != "miss" {
				t.Errorf("%s: a %s of %d bytes", name, how, len(got))
			}
			for i, asked := range base.Attempts() {
				if asked.Body != wiretest.ChatBody {
					t.Errorf("%s: request %d asks %q", name, i, asked.Body)
				}
			}
		})
	}
}

// A caller that closes a large body, or whose time is over, does not wait for the
// store. The store's reader is closed when no call uses it.
func TestCacheSegmentedEntryAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &lending{}
		rt := stored(wiretest.Play(wiretest.Page(wiretest.Noise(300_000))), store)
		served(t, rt, wiretest.GetPage(t))
		store.read = func(nth int, ctx context.Context, at int) error {
			if nth%2 == 0 && at == 150_000 {
				time.Sleep(5 * time.Second)
			}
			return nil
		}
		for want, leave := range map[error]func(*http.Response){
			http.ErrBodyReadAfterClose: func(res *http.Response) { time.Sleep(time.Second); res.Body.Close() },
			context.DeadlineExceeded:   func(*http.Response) {},
		} {
			req := wiretest.GetPage(t)
			if want == context.DeadlineExceeded {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				req = req.WithContext(ctx)
			}
			start := time.Now()
			res, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			go leave(res)
			if _, err := io.ReadAll(res.Body); err != want || time.Since(start) != time.Second {
				t.Errorf("%v after %v, want %v", err, time.Since(start), want)
			}
			res.Body.Close()
			time.Sleep(10 * time.Second)
			if _, open := store.count(); open != 0 {
				t.Errorf("%d readers are open", open)
			}
		}
	})
}

// An Observe that panics leaves no reader of the store open.
func TestCacheSegmentedHitPanics(t *testing.T) {
	for _, after := range []time.Duration{0, 2 * time.Minute} { // a hit, and a validated one
		synctest.Test(t, func(t *testing.T) {
			store := &lending{}
			fresh := wiretest.Header("Etag", `"1"`, "Cache-Control", "max-age=60")
			rt := stored(wiretest.Play(wiretest.Step{Body: wiretest.Noise(300_000), Header: fresh}, wiretest.Step{Status: 304, Header: fresh}), store)
			served(t, rt, wiretest.GetPage(t))
			time.Sleep(after)
			rt.Observe = func(e snubber.Event) {
				if e.Kind == snubber.EventCache && e.Cache != "store" {
					panic("boom")
				}
			}
			func() {
				defer func() { recover() }()
				rt.RoundTrip(wiretest.GetPage(t))
				t.Error("no panic")
			}()
			synctest.Wait()
			if gets, open := store.count(); open != 0 || gets < 2 {
				t.Errorf("of %d readers %d are open", gets, open)
			}
		})
	}
}

// Many callers that read large entries at different speeds get every byte.
func TestCacheSegmentedHitsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := wiretest.Noise(500_000)
		rt := stored(wiretest.Play(wiretest.Page(body)), &snubber.DiskStore{Dir: t.TempDir()})
		served(t, rt, wiretest.GetPage(t))
		bodies, errs := wiretest.FetchAll(t, rt, 40, func(int) *http.Request { return wiretest.GetPage(t) })
		if bodies[body] != 40 || len(errs) > 0 {
			t.Errorf("%d of 40 have the answer, errors %v", bodies[body], errs)
		}
	})
}

// A slow store gets its time for each part of a large entry, not for the whole.
func TestCacheSegmentedEntrySlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := strings.Repeat("x", 20<<20)
		store := &lending{}
		rt := stored(wiretest.Play(wiretest.Page(body)), store)
		rt.Cache.MaxEntryBytes, rt.Cache.MaxBytes = 64<<20, -1
		served(t, rt, wiretest.GetPage(t))
		store.read = func(nth int, ctx context.Context, at int) error {
			if at%2_000_000 == 0 && at > 0 {
				time.Sleep(30 * time.Millisecond)
			}
			return ctx.Err()
		}
		start := time.Now()
		if got, how := served(t, rt, wiretest.GetPage(t)); got != body || how != "hit" || time.Since(start) < 280*time.Millisecond {
			t.Errorf("a %s of %d bytes after %v", how, len(got), time.Since(start))
		}
	})
}

// It also gets that time if a large partial entry is read to be combined or
// completed.
func TestCacheSegmentedPartSlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := strings.Repeat("0123456789abcdef", 20<<16)
		rest := len(body) - 1000
		part := func(first, last int) wiretest.Step {
			return wiretest.Step{Status: 206, Body: body[first : last+1], Header: wiretest.Header("Cache-Control", "max-age=60", "Etag", `"1"`,
				"Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(body)))}
		}
		for name, ask := range map[string][]string{"completed": nil, "joined": {"Range", fmt.Sprintf("bytes=%d-", rest)}} {
			store := &lending{}
			base := wiretest.Play(part(0, rest-1), part(rest, len(body)-1))
			rt := stored(base, store)
			rt.Cache.MaxEntryBytes, rt.Cache.MaxBytes = 64<<20, -1
			served(t, rt, wiretest.GetPage(t, "Range", fmt.Sprintf("bytes=0-%d", rest-1)))
			store.read = func(nth int, ctx context.Context, at int) error {
				if at%2_000_000 == 0 && at > 0 {
					time.Sleep(30 * time.Millisecond)
				}
				return ctx.Err()
			}
			served(t, rt, wiretest.GetPage(t, ask...))
			if got, how := served(t, rt, wiretest.GetPage(t)); got != body || how != "hit" || base.Sent() != 2 {
				t.Errorf("%s: a %s of %d bytes after %d requests", name, how, len(got), base.Sent())
			}
			time.Sleep(time.Minute) // for abandoned calls
		}
	})
}

// An entry that another process has stored and that is too large for this one is not
// used, nor read to its end.
func TestCacheSegmentedTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{10_000, 300_000} {
			store := &lending{}
			served(t, stored(wiretest.Play(wiretest.Page(wiretest.Noise(size))), store), wiretest.GetPage(t))
			rt := stored(wiretest.Play(wiretest.Page("new")), store)
			rt.Cache.MaxEntryBytes = int64(size - 1)
			most := 0
			store.read = func(_ int, _ context.Context, at int) error { most = max(most, at); return nil }
			if body, how := served(t, rt, wiretest.GetPage(t)); body != "new" || how != "miss" {
				t.Errorf("of %d bytes: a %s of %d", size, how, len(body))
			}
			if most > 100_000 {
				t.Errorf("of %d bytes %d were read", size, most)
			}
		}
	})
}

// Observe runs under no lock, also when a store fails during a Read: a hook that waits
// for the body to be closed elsewhere would hang for ever.
func TestCacheSegmentedObserveHoldsNoLock(t *testing.T) {
	for name, failure := range map[string]error{"it fails": errors.New("broken"), "it ends too soon": io.EOF} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &lending{}
				rt := stored(wiretest.Play(wiretest.Step{Body: wiretest.Noise(300_000), Header: wiretest.Header("Cache-Control", "max-age=60")}), store)
				served(t, rt, wiretest.GetPage(t))
				res, err := rt.RoundTrip(wiretest.GetPage(t))
				if err != nil {
					t.Fatal(err)
				}
				store.read = func(int, context.Context, int) error { return failure }
				told := 0
				rt.Observe = func(e snubber.Event) {
					if e.Cache != snubber.CacheStoreFailed {
						return
					}
					told++
					closed := make(chan struct{})
					go func() {
						defer close(closed)
						res.Body.Close()
					}()
					<-closed
				}
				if _, err := io.Copy(io.Discard, res.Body); err == nil || told == 0 {
					t.Errorf("Read = %v, %d faults told, want an error and one", err, told)
				}
			})
		})
	}
}
