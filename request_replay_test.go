package snubber_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// Each attempt gets a body of its own from GetBody, and all of them are closed.
// The caller's own body is read by one attempt and closed once.
func TestRequestReplayFromGetBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &wiretest.TrackedBody{R: strings.NewReader(wiretest.ChatBody)}
		var again []*wiretest.TrackedBody
		req := wiretest.WithoutGetBody(t, "POST", wiretest.ChatURL, own, -1) // else it would be read, as nobody knows what GetBody returns
		req.GetBody = func() (io.ReadCloser, error) {
			b := &wiretest.TrackedBody{R: strings.NewReader(wiretest.ChatBody)}
			again = append(again, b)
			return b, nil
		}
		base := wiretest.Play(wiretest.FailTimes(3, wiretest.Step{Status: 500})...)
		res, err := (&snubber.Transport{Base: base, Retry: &snubber.Retry{}}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		for i, tr := range base.Attempts() {
			if tr.Body != wiretest.ChatBody {
				t.Errorf("attempt %d sent %q", i, tr.Body)
			}
		}
		if n := own.Closed.Load(); n != 1 {
			t.Errorf("the caller's body was closed %d times", n)
		}
		if n := len(again); n != 4 { // three replays, and one to see whether it makes copies
			t.Errorf("GetBody was called %d times, want 4", n)
		}
		for i, b := range again {
			if b.Closed.Load() == 0 {
				t.Errorf("body %d from GetBody is open", i)
			}
		}
	})
}

// GetBody is called only if its body is needed.
func TestRequestReplayCallsGetBodyOnlyIfNeeded(t *testing.T) {
	req := wiretest.NewRequest(t, "POST", "https://api.example.com/v1/other", "body")
	req.GetBody = func() (io.ReadCloser, error) {
		t.Error("GetBody was called")
		return nil, io.ErrUnexpectedEOF
	}
	res, err := snubber.New(wiretest.Play()).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	wiretest.ReadAll(t, res)
}

// An error of GetBody is the call's error, and does not become a shorter body.
func TestRequestReplayGetBodyError(t *testing.T) {
	for _, url := range []string{wiretest.ChatURL, wiretest.FilesURL} {
		synctest.Test(t, func(t *testing.T) {
			gone := errors.New("the file is gone")
			own := &wiretest.TrackedBody{R: strings.NewReader(wiretest.ChatBody)}
			req := wiretest.WithoutGetBody(t, "PUT", url, own, int64(len(wiretest.ChatBody)))
			req.GetBody = func() (io.ReadCloser, error) { return nil, gone }
			base := wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{})
			tr := snubber.New(base)
			res, err := tr.RoundTrip(req)
			if res != nil || !errors.Is(err, gone) {
				t.Errorf("RoundTrip = %v, %v, want GetBody's error", res, err)
			}
			ts := base.Attempts()
			if len(ts) != 1 || ts[0].Body != wiretest.ChatBody || ts[0].Closed.IsZero() {
				t.Errorf("attempts %+v, want one, whole and closed", ts)
			}
			if own.Closed.Load() != 1 {
				t.Errorf("the caller's body was closed %d times", own.Closed.Load())
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
	// The ways in which the first attempt uses its body before it fails.
	whole := func(b io.ReadCloser) { io.Copy(io.Discard, b); b.Close() }
	half := func(b io.ReadCloser) { io.CopyN(io.Discard, b, 20); b.Close() }
	never := func(b io.ReadCloser) { b.Close() }
	for _, tt := range []struct {
		name   string
		method string
		url    string
		body   string
		length int64 // 0: the body's length
		first  func(io.ReadCloser)
		want   int
	}{
		{"inference, read", "POST", wiretest.ChatURL, wiretest.ChatBody, 0, whole, 2},
		{"inference, partly read", "POST", wiretest.ChatURL, wiretest.ChatBody, 0, half, 2},
		{"inference, never read", "POST", wiretest.ChatURL, wiretest.ChatBody, 0, never, 2},
		{"inference of 4 MiB", "POST", wiretest.ChatURL, prompt(limit), 0, whole, 2},
		{"PUT, read", "PUT", wiretest.FilesURL, "some bytes that are more than twenty", 0, whole, 2},
		{"PUT, partly read", "PUT", wiretest.FilesURL, "some bytes that are more than twenty", 0, half, 2},
		{"PUT, never read", "PUT", wiretest.FilesURL, "some bytes that are more than twenty", 0, never, 2},
		{"PUT of unknown length", "PUT", wiretest.FilesURL, "some bytes that are more than twenty", -1, whole, 2},
		{"PUT of unknown length, partly read", "PUT", wiretest.FilesURL, "some bytes that are more than twenty", -1, half, 2},
		{"PUT of 4 MiB", "PUT", wiretest.FilesURL, strings.Repeat("b", limit), 0, whole, 2},
		{"PUT of more", "PUT", wiretest.FilesURL, strings.Repeat("b", limit+1), 0, whole, 1},
		{"PUT of more, of unknown length", "PUT", wiretest.FilesURL, strings.Repeat("b", limit+1), -1, whole, 1},
		{"PUT of more, partly read", "PUT", wiretest.FilesURL, strings.Repeat("b", limit+1), 0, half, 2},
		{"PUT of more, never read", "PUT", wiretest.FilesURL, strings.Repeat("b", limit+1), 0, never, 2},
		{"inference of more", "POST", wiretest.ChatURL, prompt(limit + 1), 0, whole, 1},
		{"POST that is not safe", "POST", wiretest.FilesURL, "some bytes that are more than twenty", 0, whole, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				length := tt.length
				if length == 0 {
					length = int64(len(tt.body))
				}
				own := &wiretest.TrackedBody{R: strings.NewReader(tt.body)}
				req := wiretest.WithoutGetBody(t, tt.method, tt.url, own, length)
				var sent [][]byte
				var lengths []int64
				attempts := 0
				tr := &snubber.Transport{Retry: &snubber.Retry{}, Base: wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
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
				body := wiretest.ReadAll(t, res)
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
				if own.Closed.Load() != 1 || own.Late.Load() != 0 {
					t.Errorf("the caller's body was closed %d times and read %d times after that", own.Closed.Load(), own.Late.Load())
				}
			})
		})
	}
}

// A body that is sent only once is passed on as it is read, and not collected
// first.
func TestRequestReplayPassesLargeBodyOn(t *testing.T) {
	own := &wiretest.TrackedBody{R: io.LimitReader(wiretest.Endless{}, 5<<20)}
	req := wiretest.WithoutGetBody(t, "PUT", wiretest.FilesURL, own, 5<<20)
	tr := &snubber.Transport{Retry: &snubber.Retry{}, Base: wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
		if n := own.N.Load(); n != 0 {
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
	wiretest.ReadAll(t, res)
}

// A base may go on reading the request's body after it has returned. Until it
// stops, no other attempt gets the body, and the caller's body stays open.
func TestRequestReplayWaitsForBase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &wiretest.TrackedBody{R: &trickleReader{left: 10, gap: time.Second}}
		req := wiretest.WithoutGetBody(t, "PUT", wiretest.FilesURL, own, -1)
		attempts := 0
		tr := &snubber.Transport{Retry: &snubber.Retry{}, Base: wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
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
		if body := wiretest.ReadAll(t, res); body != "early" || attempts != 1 {
			t.Errorf("%q after %d attempts, want the early response", body, attempts)
		}
		if n := own.Closed.Load(); n != 0 {
			t.Error("the body was closed under its reader")
		}
		time.Sleep(time.Minute)
		if own.Closed.Load() != 1 || own.Late.Load() != 0 {
			t.Errorf("closed %d times, read %d times after that", own.Closed.Load(), own.Late.Load())
		}
	})
	// The new attempt reads from the beginning, even after the old one has read
	// everything.
	synctest.Test(t, func(t *testing.T) {
		const body = "some bytes that are more than twenty"
		own := &wiretest.TrackedBody{R: strings.NewReader(body)}
		req := wiretest.WithoutGetBody(t, "PUT", wiretest.FilesURL, own, -1)
		var old io.ReadCloser
		attempts := 0
		var wg sync.WaitGroup
		tr := &snubber.Transport{Retry: &snubber.Retry{}, Base: wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
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
		wiretest.ReadAll(t, res)
		wg.Wait()
		if attempts != 2 || own.Closed.Load() != 1 {
			t.Errorf("%d attempts, closed %d times, want 2 and 1", attempts, own.Closed.Load())
		}
	})
}

// trickleReader is a reader that returns one byte after each gap.
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

// azcoreBody is a body whose GetBody returns the body itself, set back to its start.
type azcoreBody struct{ *strings.Reader }

func (azcoreBody) Close() error { return nil }

// Reading ahead leaves a body whole that GetBody makes no copy of: for each layer
// that looks at it, and over all attempts.
func TestRequestReplayGetBodyWithoutCopy(t *testing.T) {
	for name, with := range map[string]func(*snubber.Transport){
		"plain":    func(*snubber.Transport) {},
		"cache":    func(tr *snubber.Transport) { tr.Cache = &snubber.Cache{PromptTTL: time.Hour} },
		"no retry": func(tr *snubber.Transport) { tr.Retry = nil },
		"tokens": func(tr *snubber.Transport) {
			tr.Limiter.EstimateTokens = func(_ *http.Request, body []byte) int { return len(body) }
		},
		"hedge": func(tr *snubber.Transport) { tr.Retry.Hedge = true },
		"reroute": func(tr *snubber.Transport) {
			tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.Reroute{Model: "n"}}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(wiretest.Step{Status: 503}, wiretest.JSON(200, wiretest.Completion))
				tr := snubber.New(base)
				with(tr)
				own := azcoreBody{strings.NewReader(wiretest.ChatBody)}
				req := wiretest.NewRequest(t, "POST", wiretest.ChatURL, "")
				req.Body, req.ContentLength = struct{ io.ReadCloser }{own}, own.Size()
				req.GetBody = func() (io.ReadCloser, error) {
					_, err := own.Seek(0, io.SeekStart)
					return own, err
				}
				if _, err := tr.ReadyAt(req); err != nil {
					t.Error(err)
				}
				if m := snubber.Model(req); m != "" {
					t.Errorf("Model = %q, want none: nobody may read the body", m)
				}
				res, err := tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				wiretest.ReadAll(t, res)
				for i, a := range base.Attempts() {
					want := wiretest.ChatBody
					if name == "reroute" && i > 0 && strings.Contains(a.Body, `"n"`) {
						want = strings.Replace(want, `"m"`, `"n"`, 1)
					}
					if a.Body != want {
						t.Errorf("attempt %d has the body %q, want %q", i+1, a.Body, want)
					}
				}
			})
		})
	}
}
