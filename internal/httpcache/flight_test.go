package httpcache

import (
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
)

// ended is how one caller of a flight ended.
type ended struct {
	body string
	err  error
	c    *testCaller
}

// launch makes a GET in a goroutine.
func (tr *transport) launch(ctx context.Context, header ...string) <-chan ended {
	done := make(chan ended, 1)
	go func() {
		res, c, err := tr.do(request(ctx, "GET", "/a", header...))
		if err != nil {
			done <- ended{err: err, c: c}
			return
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		done <- ended{string(b), err, c}
	}()
	return done
}

// Callers of the same request share one exchange, from its first byte.
func TestFlightShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, Config{}, slow(5))
		leader := tr.launch(t.Context())
		time.Sleep(2500 * time.Millisecond)
		followers := []<-chan ended{tr.launch(t.Context()), tr.launch(t.Context())}
		for i, c := range append(followers, leader) {
			e := <-c
			want := statusCollapsed
			if i == 2 {
				want = statusMiss
			}
			if e.err != nil || e.body != "xxxxx" || e.c.status != want {
				t.Errorf("caller %d: a %s of %q, %v, want a %s of 5 bytes", i, e.c.status, e.body, e.err, want)
			}
			if got := e.c.recorded(); len(got) != 1 || got[0] != nil {
				t.Errorf("caller %d: outcomes %v, want one success", i, got)
			}
		}
		if tr.sent() != 1 {
			t.Errorf("%d requests, want 1", tr.sent())
		}
	})
}

// A caller's end is not the flight's, unless it is the last caller's.
func TestFlightOutlivesItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, Config{}, slow(10))
		ctx, cancel := context.WithCancel(t.Context())
		leader := tr.launch(ctx)
		time.Sleep(1500 * time.Millisecond)
		follower := tr.launch(t.Context())
		time.Sleep(time.Second)
		cancel()
		if e := <-leader; e.err != context.Canceled || len(e.c.recorded()) != 1 || e.c.recorded()[0] != context.Canceled {
			t.Errorf("the leader ends with %v, outcomes %v", e.err, e.c.recorded())
		}
		if e := <-follower; e.err != nil || len(e.body) != 10 {
			t.Errorf("the follower has %q, %v", e.body, e.err)
		}
	})
}

// A caller that leaves gets none of what comes after, and so not the clean end of the
// body either: a part of the body would look complete. The end may come between the
// two steps of leaving, while the caller's outcome is recorded.
func TestFlightEndsWhileACallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		tr := newTransport(t, Config{}, func(*http.Request) (*http.Response, error) {
			return response(200, r, "Cache-Control", "max-age=60"), nil
		})
		go w.Write([]byte("some"))
		res, _, err := tr.do(request(t.Context(), "GET", "/a"))
		if err != nil {
			t.Fatal(err)
		}
		p := res.Body.(*reader)
		if n, err := p.Read(make([]byte, 10)); n != 4 || err != nil {
			t.Fatalf("Read = %d, %v, want 4 bytes", n, err)
		}
		p.flight.group.mu.Lock()
		p.flight.mu.Lock()
		p.removeLocked()
		p.flight.mu.Unlock()
		p.flight.group.mu.Unlock()
		w.Write([]byte(" more"))
		w.Close()
		read := make(chan error)
		go func() {
			_, err := p.Read(make([]byte, 10))
			read <- err
		}()
		synctest.Wait()
		p.flight.end(context.Canceled)
		go p.conclude(context.Canceled, context.Canceled, false)
		if err := <-read; err != context.Canceled {
			t.Errorf("Read = %v while the caller leaves, want %v", err, context.Canceled)
		}
		tr.idle()
	})
}

func TestFlightEndsWithItsLastCaller(t *testing.T) {
	for name, wait := range map[string]time.Duration{"before the response": 0, "in the body": 2500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newTransport(t, Config{}, func(req *http.Request) (*http.Response, error) {
					select {
					case <-time.After(time.Second):
						return slow(10)(req)
					case <-req.Context().Done():
						return nil, req.Context().Err()
					}
				})
				ctx, cancel := context.WithCancel(t.Context())
				a, b := tr.launch(ctx), tr.launch(ctx)
				time.Sleep(wait)
				synctest.Wait()
				cancel()
				<-a
				<-b
				synctest.Wait()
				if err := tr.exchange(0).req.Context().Err(); err == nil {
					t.Error("nobody wants the response, and its exchange goes on")
				}
				tr.idle()
			})
		})
	}
}

// A high-priority caller does not wait behind a queued request of a low priority.
func TestFlightPriority(t *testing.T) {
	for _, queued := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			tr := newTransport(t, Config{}, slow(3))
			tr.queued = queued
			low := tr.launch(t.Context())
			synctest.Wait()
			high := tr.launch(context.WithValue(t.Context(), priorityKey{}, 1))
			<-low
			<-high
			want := 1
			if queued {
				want = 2
			}
			if tr.sent() != want {
				t.Errorf("queued %v: %d requests, want %d", queued, tr.sent(), want)
			}
		})
	}
}

// After a response that cannot be shared requests do not wait for each other.
func TestFlightUnshareable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTransport(t, Config{}, func(req *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return response(200, strings.NewReader("private"), "Cache-Control", "no-store"), nil
		})
		tr.get()
		start := time.Now()
		a, b := tr.launch(t.Context()), tr.launch(t.Context())
		<-a
		<-b
		if took := time.Since(start); took != time.Second || tr.sent() != 3 {
			t.Errorf("%d requests in %v, want 3, two at once", tr.sent(), took)
		}
	})
}

func TestFlightGroupUnshareableIsBounded(t *testing.T) {
	var g flightGroup
	now := time.Now()
	for i := range 3 * maxUnshareable {
		var key cachestore.Key
		binary.BigEndian.PutUint64(key[:], uint64(i))
		g.markUnshareable(key, now.Add(time.Duration(i)*time.Microsecond))
		if len(g.unshareable) > maxUnshareable {
			t.Fatalf("%d keys, want at most %d", len(g.unshareable), maxUnshareable)
		}
	}
}

// A reader that blocks the others and reads nothing gets an error, one that is alone
// does not.
func TestReaderStalled(t *testing.T) {
	for _, alone := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			const n, size = 30, 10_000
			tr := newTransport(t, Config{MaxBytes: 1 << 20, MaxEntryBytes: 50_000}, func(req *http.Request) (*http.Response, error) {
				return response(200, &slowBody{req.Context(), n, size}, "Cache-Control", "max-age=60"), nil
			})
			res, c, err := tr.do(request(t.Context(), "GET", "/a"))
			if err != nil {
				t.Fatal(err)
			}
			if !alone {
				start := time.Now()
				e := <-tr.launch(t.Context())
				if len(e.body) != n*size || e.err != nil || e.c.status != statusCollapsed {
					t.Errorf("the other reader has a %s of %d bytes, %v", e.c.status, len(e.body), e.err)
				}
				if took := time.Since(start); took < n*time.Second+stallTime-5*time.Second || took > n*time.Second+2*stallTime {
					t.Errorf("the other reader waits %v in all", took)
				}
			}
			time.Sleep(10 * time.Minute)
			b, err := io.ReadAll(res.Body)
			if alone && (err != nil || len(b) != n*size) {
				t.Errorf("alone: %d bytes, %v", len(b), err)
			}
			if got := c.recorded(); !alone && (err != ErrSlowReader || len(got) != 1 || got[0] != ErrSlowReader) {
				t.Errorf("error %v, outcomes %v, want ErrSlowReader", err, got)
			}
			res.Body.Close()
		})
	}
}

// Close, the end of the context and the end of the body may come at once: the outcome
// is recorded once.
func TestReaderConcludesOnce(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			tr := newTransport(t, Config{}, slow(3))
			ctx, cancel := context.WithCancel(t.Context())
			res, c, err := tr.do(request(ctx, "GET", "/a"))
			if err != nil {
				t.Fatal(err)
			}
			go cancel()
			go res.Body.Close()
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			synctest.Wait()
			if got := c.recorded(); len(got) != 1 {
				t.Errorf("outcomes %v, want one", got)
			}
		})
	}
}
