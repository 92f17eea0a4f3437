package snubber_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// tracked is a request body that counts how it is treated.
type tracked struct {
	r      io.Reader
	err    error // in place of io.EOF
	closed atomic.Int32
	late   atomic.Int32 // Reads after Close
	read   atomic.Int64
}

func (b *tracked) Read(p []byte) (int, error) {
	if b.closed.Load() > 0 {
		b.late.Add(1)
	}
	n, err := b.r.Read(p)
	b.read.Add(int64(n))
	if err == io.EOF && b.err != nil {
		err = b.err
	}
	return n, err
}

func (b *tracked) Close() error {
	b.closed.Add(1)
	return nil
}

// once is a request whose body exists once: it has no GetBody.
func once(t testing.TB, method, url string, body *tracked, length int64) *http.Request {
	t.Helper()
	req := newReq(t, method, url, "")
	req.Body, req.ContentLength = body, length
	return req
}

const filesURL = "https://api.example.com/v1/files/f"

// Each attempt gets a body of its own from GetBody, and all of them are closed.
// The caller's own body is read by one attempt and closed once.
func TestRequestReplayFromGetBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &tracked{r: strings.NewReader(chatBody)}
		var again []*tracked
		req := once(t, "POST", chatURL, own, int64(len(chatBody)))
		req.GetBody = func() (io.ReadCloser, error) {
			b := &tracked{r: strings.NewReader(chatBody)}
			again = append(again, b)
			return b, nil
		}
		base := play(fails(3, step{status: 500})...)
		res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		slurp(t, res)
		for i, tr := range base.all() {
			if tr.body != chatBody {
				t.Errorf("attempt %d sent %q", i, tr.body)
			}
		}
		if n := own.closed.Load(); n != 1 {
			t.Errorf("the caller's body was closed %d times", n)
		}
		if n := len(again); n != 4 { // three replays, and the one read that finds the model
			t.Errorf("GetBody was called %d times, want 4", n)
		}
		for i, b := range again {
			if b.closed.Load() == 0 {
				t.Errorf("body %d from GetBody is open", i)
			}
		}
	})
}

// GetBody is called only if its body is needed.
func TestRequestReplayCallsGetBodyOnlyIfNeeded(t *testing.T) {
	req := newReq(t, "POST", "https://api.example.com/v1/other", "body")
	req.GetBody = func() (io.ReadCloser, error) {
		t.Error("GetBody was called")
		return nil, io.ErrUnexpectedEOF
	}
	res, err := snubber.New(play()).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	slurp(t, res)
}

// An error of GetBody is the call's error, and does not become a shorter body.
func TestRequestReplayGetBodyError(t *testing.T) {
	for _, url := range []string{chatURL, filesURL} {
		synctest.Test(t, func(t *testing.T) {
			gone := errors.New("the file is gone")
			own := &tracked{r: strings.NewReader(chatBody)}
			req := once(t, "PUT", url, own, int64(len(chatBody)))
			req.GetBody = func() (io.ReadCloser, error) { return nil, gone }
			base := play(step{status: 500}, step{})
			tr := snubber.New(base)
			res, err := tr.RoundTrip(req)
			if res != nil || !errors.Is(err, gone) {
				t.Errorf("RoundTrip = %v, %v, want GetBody's error", res, err)
			}
			ts := base.all()
			if len(ts) != 1 || ts[0].body != chatBody || ts[0].closed.IsZero() {
				t.Errorf("attempts %+v, want one, whole and closed", ts)
			}
			if own.closed.Load() != 1 {
				t.Errorf("the caller's body was closed %d times", own.closed.Load())
			}
			if q := tr.Limiter.Queues(); len(q) != 1 || q[0].InFlight != 0 {
				t.Errorf("queues %+v, want no permit held", q)
			}
		})
	}
}

// A body without GetBody is sent again byte for byte if possible, and once
// otherwise. The caller's body is closed once in both cases.
func TestRequestReplayWithoutGetBody(t *testing.T) {
	const limit = 4 << 20
	prompt := func(n int) string {
		const head, tail = `{"model":"m","messages":[{"role":"user","content":"`, `"}]}`
		return head + strings.Repeat("a", n-len(head)-len(tail)) + tail
	}
	// How the first attempt treats its body before it fails.
	whole := func(b io.ReadCloser) { io.Copy(io.Discard, b); b.Close() }
	half := func(b io.ReadCloser) { io.CopyN(io.Discard, b, 20); b.Close() }
	never := func(b io.ReadCloser) { b.Close() }
	for _, tt := range []struct {
		name   string
		method string
		url    string
		body   string
		length int64 // 0: the body's
		first  func(io.ReadCloser)
		want   int
	}{
		{"inference, read", "POST", chatURL, chatBody, 0, whole, 2},
		{"inference, partly read", "POST", chatURL, chatBody, 0, half, 2},
		{"inference, never read", "POST", chatURL, chatBody, 0, never, 2},
		{"inference of 4 MiB", "POST", chatURL, prompt(limit), 0, whole, 2},
		{"PUT, read", "PUT", filesURL, "some bytes that are more than twenty", 0, whole, 2},
		{"PUT, partly read", "PUT", filesURL, "some bytes that are more than twenty", 0, half, 2},
		{"PUT, never read", "PUT", filesURL, "some bytes that are more than twenty", 0, never, 2},
		{"PUT of unknown length", "PUT", filesURL, "some bytes that are more than twenty", -1, whole, 2},
		{"PUT of unknown length, partly read", "PUT", filesURL, "some bytes that are more than twenty", -1, half, 2},
		{"PUT of 4 MiB", "PUT", filesURL, strings.Repeat("b", limit), 0, whole, 2},
		{"PUT of more", "PUT", filesURL, strings.Repeat("b", limit+1), 0, whole, 1},
		{"PUT of more, of unknown length", "PUT", filesURL, strings.Repeat("b", limit+1), -1, whole, 1},
		{"PUT of more, partly read", "PUT", filesURL, strings.Repeat("b", limit+1), 0, half, 2},
		{"PUT of more, never read", "PUT", filesURL, strings.Repeat("b", limit+1), 0, never, 2},
		{"inference of more", "POST", chatURL, prompt(limit + 1), 0, whole, 1},
		{"POST that is not safe", "POST", filesURL, "some bytes that are more than twenty", 0, whole, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				length := tt.length
				if length == 0 {
					length = int64(len(tt.body))
				}
				own := &tracked{r: strings.NewReader(tt.body)}
				req := once(t, tt.method, tt.url, own, length)
				var sent [][]byte
				var lengths []int64
				attempts := 0
				tr := &snubber.Transport{Retry: &snubber.Retry{}, Base: roundTrip(func(req *http.Request) (*http.Response, error) {
					attempts++
					lengths = append(lengths, req.ContentLength)
					if attempts == 1 {
						tt.first(req.Body)
						return &http.Response{StatusCode: 500, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("first"))}, nil
					}
					b, err := io.ReadAll(req.Body)
					if err != nil {
						t.Errorf("attempt %d: %v", attempts, err)
					}
					req.Body.Close()
					sent = append(sent, b)
					return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
				})}
				start := time.Now()
				res, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				body := slurp(t, res)
				if attempts != tt.want {
					t.Fatalf("%d attempts, want %d", attempts, tt.want)
				}
				for _, b := range sent {
					if string(b) != tt.body {
						t.Errorf("replayed %d bytes, want the same %d", len(b), len(tt.body))
					}
				}
				for i, n := range lengths {
					if n != length {
						t.Errorf("attempt %d: ContentLength = %d, want %d", i+1, n, length)
					}
				}
				if tt.want == 1 && (body != "first" || time.Since(start) != 0) {
					t.Errorf("%q after %v, want the first response at once", body, time.Since(start))
				}
				if own.closed.Load() != 1 || own.late.Load() != 0 {
					t.Errorf("the caller's body was closed %d times and read %d times after that", own.closed.Load(), own.late.Load())
				}
			})
		})
	}
}

// A body that is sent only once is passed on as it is read, and not collected
// first.
func TestRequestReplayPassesLargeBodyOn(t *testing.T) {
	own := &tracked{r: io.LimitReader(boundless{}, 5<<20)}
	req := once(t, "PUT", filesURL, own, 5<<20)
	tr := &snubber.Transport{Retry: &snubber.Retry{}, Base: roundTrip(func(req *http.Request) (*http.Response, error) {
		if n := own.read.Load(); n != 0 {
			t.Errorf("%d bytes were read before the first attempt", n)
		}
		n, err := io.Copy(io.Discard, req.Body)
		if n != 5<<20 || err != nil {
			t.Errorf("the attempt got %d bytes, %v", n, err)
		}
		req.Body.Close()
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
	})}
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	slurp(t, res)
}

// A base may go on reading the request's body after it has returned. Until it
// stops, no other attempt gets the body, and the caller's body stays open.
func TestRequestReplayWaitsForBase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &tracked{r: &trickleReader{left: 10, gap: time.Second}}
		req := once(t, "PUT", filesURL, own, -1)
		attempts := 0
		tr := &snubber.Transport{Retry: &snubber.Retry{}, Base: roundTrip(func(req *http.Request) (*http.Response, error) {
			attempts++
			go func() {
				io.Copy(io.Discard, req.Body)
				req.Body.Close()
			}()
			return &http.Response{StatusCode: 503, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("early"))}, nil
		})}
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if body := slurp(t, res); body != "early" || attempts != 1 {
			t.Errorf("%q after %d attempts, want the early response", body, attempts)
		}
		if n := own.closed.Load(); n != 0 {
			t.Error("the body was closed under its reader")
		}
		time.Sleep(time.Minute)
		if own.closed.Load() != 1 || own.late.Load() != 0 {
			t.Errorf("closed %d times, read %d times after that", own.closed.Load(), own.late.Load())
		}
	})
	// Once the old attempt has read it all, the new one shares no position with it.
	synctest.Test(t, func(t *testing.T) {
		const body = "some bytes that are more than twenty"
		own := &tracked{r: strings.NewReader(body)}
		req := once(t, "PUT", filesURL, own, -1)
		var old io.ReadCloser
		attempts := 0
		var wg sync.WaitGroup
		tr := &snubber.Transport{Retry: &snubber.Retry{}, Base: roundTrip(func(req *http.Request) (*http.Response, error) {
			attempts++
			if attempts == 1 {
				io.Copy(io.Discard, req.Body)
				old = req.Body
				return &http.Response{StatusCode: 503, Header: http.Header{}, Body: http.NoBody}, nil
			}
			wg.Go(func() {
				if n, err := old.Read(make([]byte, 8)); n != 0 || err != io.EOF {
					t.Errorf("the old body gave %d bytes, %v", n, err)
				}
				old.Close()
			})
			b, err := io.ReadAll(req.Body)
			if string(b) != body || err != nil {
				t.Errorf("replayed %q, %v", b, err)
			}
			req.Body.Close()
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
		})}
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		slurp(t, res)
		wg.Wait()
		if attempts != 2 || own.closed.Load() != 1 {
			t.Errorf("%d attempts, closed %d times, want 2 and 1", attempts, own.closed.Load())
		}
	})
}

// trickleReader gives a byte every gap.
type trickleReader struct {
	left int
	gap  time.Duration
}

func (r *trickleReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(r.gap)
	r.left--
	p[0] = 'x'
	return 1, nil
}
