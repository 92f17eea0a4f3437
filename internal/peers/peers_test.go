// Package peers shows that this module does not have the bugs that other HTTP
// clients, retriers, breakers, limiters and caches were seen to have. Each case
// is named for the correct behaviour, and fails on the bug.
//
// The package uses the module as a program does, and knows no internals.
package peers_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/neterr"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// Attempts, waits and bodies, in memory.
func TestPeers(t *testing.T) {
	for _, tt := range []struct {
		name string // the correct behaviour
		test func(t *testing.T)
	}{
		{"exhausted attempts give the last response as it came", func(t *testing.T) {
			st := wiretest.Step{Status: 503, Header: wiretest.Header("Retry-After", "1", "X-Request-Id", "r"), Body: `{"error":{"message":"busy"}}`}
			res, err := snubber.New(wiretest.Play(st)).RoundTrip(wiretest.Chat(t))
			if err != nil || res.StatusCode != 503 || res.Header.Get("Retry-After") != "1" || res.Header.Get("X-Request-Id") != "r" {
				t.Fatalf("%v, %v, want the 503 with its header", res, err)
			}
			if got := wiretest.ReadAll(t, res); got != st.Body {
				t.Errorf("body %q, want the provider's", got)
			}
		}},
		{"an exhausted 429 stays a 429", func(t *testing.T) {
			res, err := (&snubber.Transport{Base: wiretest.Play(wiretest.TooMany("1")), Retry: &snubber.Retry{}}).RoundTrip(wiretest.Chat(t))
			if err != nil || res.StatusCode != 429 || wiretest.ReadAll(t, res) != wiretest.LimitedBody {
				t.Errorf("%v, %v, want the 429", res, err)
			}
		}},
		{"attempts are apart, and a POST that is not safe is sent once", func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Status: 500})
			res, _ := snubber.New(base).RoundTrip(wiretest.Chat(t))
			res.Body.Close()
			sent := base.Attempts()
			for i := 1; i < len(sent); i++ {
				if d := sent[i].At.Sub(sent[i-1].At); d < 250*time.Millisecond<<(i-1) {
					t.Errorf("attempt %d came after %v", i+1, d)
				}
			}
			base = wiretest.Play(wiretest.Step{Status: 500})
			res, _ = snubber.New(base).RoundTrip(wiretest.NewRequest(t, "POST", "https://a.test/v1/orders", "{}"))
			if res.Body.Close(); base.Sent() != 1 || len(sent) != 5 {
				t.Errorf("%d POSTs and %d chats sent, want 1 and 5", base.Sent(), len(sent))
			}
		}},
		{"the caller's request is untouched and its body closed once", func(t *testing.T) {
			for _, st := range []wiretest.Step{{}, {Status: 503}, {Err: wiretest.RefusedDial()}, {Err: io.ErrUnexpectedEOF}} {
				own := &wiretest.CountedBody{Reader: strings.NewReader(wiretest.ChatBody)}
				req := wiretest.Chat(t, "Authorization", "Bearer x")
				req.Body = own
				if res, err := snubber.New(wiretest.Play(st)).RoundTrip(req); err == nil {
					res.Body.Close()
				}
				if own.Closed != 1 || req.Body != io.ReadCloser(own) || len(req.Header) != 1 || req.Context() != context.Background() {
					t.Errorf("%+v: closed %d times, request %v", st, own.Closed, req)
				}
			}
		}},
		{"a body with GetBody is sent as it is, not read ahead", func(t *testing.T) {
			own := &wiretest.CountedBody{Reader: strings.NewReader("data")}
			req := wiretest.NewRequest(t, "PUT", "https://a.test/file", "")
			req.Body, req.ContentLength = own, 4
			req.GetBody = func() (io.ReadCloser, error) { t.Error("GetBody before it is needed"); return http.NoBody, nil }
			rt := snubber.New(wiretest.Play(wiretest.Step{Do: func(r *http.Request) (*http.Response, error) {
				if r.Body != io.ReadCloser(own) {
					t.Errorf("the base got a %T", r.Body)
				}
				r.Body.Close()
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
			}}))
			if _, err := rt.RoundTrip(req); err != nil {
				t.Error(err)
			}
		}},
		{"a file is closed, and sent again from its beginning", func(t *testing.T) {
			f, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString("data")
			f.Seek(0, io.SeekStart)
			req := wiretest.NewRequest(t, "PUT", "https://a.test/file", "")
			req.Body, req.ContentLength = f, 4
			base := wiretest.Play(wiretest.Step{Status: 503}, wiretest.Step{})
			res, err := snubber.New(base).RoundTrip(req)
			if err != nil || res.StatusCode != 200 || base.Attempts()[0].Body != "data" || base.Attempts()[1].Body != "data" {
				t.Errorf("%v, %v after %+v", res, err, base.Attempts())
			}
			res.Body.Close()
			if _, err := f.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
				t.Errorf("the file reads with %v, want closed", err)
			}
		}},
		{"Retry-After is obeyed, as a date too and of a 529", func(t *testing.T) {
			at := time.Now().Add(7 * time.Second).UTC().Format(http.TimeFormat)
			for _, st := range []wiretest.Step{
				{Status: 503, Header: wiretest.Header("Retry-After", at)},
				{Status: 529, Header: wiretest.Header("Retry-After", "7")},
				{Status: 429, Header: wiretest.Header("Retry-After", "7")},
			} {
				start := time.Now()
				if st.Header.Get("Retry-After") == at && !start.Equal(time.Now().Truncate(time.Second)) {
					t.Fatal("the clock does not begin at a whole second")
				}
				base := wiretest.Play(st, wiretest.Step{})
				res, err := snubber.New(base).RoundTrip(wiretest.Chat(t))
				if err != nil || res.StatusCode != 200 {
					t.Fatalf("%v, %v", res, err)
				}
				res.Body.Close()
				if d := time.Since(start); d < 7*time.Second || d > 7700*time.Millisecond {
					t.Errorf("%d %v: sent again after %v, want 7s to 7.7s", st.Status, st.Header, d)
				}
			}
		}},
		{"a wait that is too long is not begun", func(t *testing.T) {
			for _, after := range []string{"3600", "1e10", "9223372036854775807", "-1e10", "99999999999999999999999", "NaN", "Inf"} {
				base := wiretest.Play(wiretest.Step{Status: 503, Header: wiretest.Header("Retry-After", after)})
				ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
				start := time.Now()
				res, err := snubber.New(base).RoundTrip(wiretest.Chat(t).WithContext(ctx))
				if err != nil || res.StatusCode != 503 || time.Since(start) > 400*time.Millisecond {
					t.Errorf("Retry-After %s: %v, %v after %v, want the 503", after, res, err, time.Since(start))
				}
				if after == "3600" && time.Since(start) != 0 {
					t.Errorf("Retry-After 3600 with 400ms left: returned after %v, want at once", time.Since(start))
				}
				cancel()
			}
			base := wiretest.Play(wiretest.Step{Status: 503, Header: wiretest.Header("Retry-After", "3600")})
			start := time.Now()
			res, err := snubber.New(base).RoundTrip(wiretest.Chat(t))
			if err != nil || res.StatusCode != 503 || time.Since(start) != 0 {
				t.Errorf("Retry-After 3600 without a deadline: %v, %v after %v, want the 503 at once", res, err, time.Since(start))
			}
		}},
		{"a response and an error together become the error alone", func(t *testing.T) {
			base := &both{}
			res, err := snubber.New(base).RoundTrip(wiretest.NewRequest(t, "POST", "https://a.test/v1/orders", "{}"))
			if res != nil || !errors.Is(err, neterr.Reset) || base.body.Closed != 1 {
				t.Errorf("%v, %v, closed %d times, want the base's error and a closed body", res, err, base.body.Closed)
			}
		}},
		{"a backoff ends with the context, and none follows the last attempt", func(t *testing.T) {
			base := wiretest.Play(wiretest.Step{Status: 503})
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, cancel)
			start := time.Now()
			if _, err := snubber.New(base).RoundTrip(wiretest.Chat(t).WithContext(ctx)); err != context.Canceled || time.Since(start) != 100*time.Millisecond {
				t.Errorf("canceled: %v after %v, want Canceled after 100ms", err, time.Since(start))
			}
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			start = time.Now()
			res, err := snubber.New(base).RoundTrip(wiretest.Chat(t).WithContext(ctx))
			if err != nil || res.StatusCode != 503 || time.Since(start) != 0 {
				t.Errorf("a deadline of 50ms: %v, %v after %v, want the 503 at once", res, err, time.Since(start))
			}
			base = wiretest.Play(wiretest.Step{Status: 503})
			res, err = snubber.New(base).RoundTrip(wiretest.Chat(t))
			if sent := base.Attempts(); err != nil || res.StatusCode != 503 || !sent[len(sent)-1].At.Equal(time.Now()) {
				t.Errorf("%v, %v: something was waited for after the last attempt", res, err)
			}
		}},
		{"an error body that trickles or never ends does not hold up the retry", func(t *testing.T) {
			for _, body := range []io.ReadCloser{wiretest.Stuck("x", nil), &wiretest.SlowBody{ReadCloser: io.NopCloser(wiretest.Endless{}), Gap: time.Millisecond}, io.NopCloser(wiretest.Endless{})} {
				base := wiretest.Play(wiretest.Step{Status: 503, Stream: body}, wiretest.Step{})
				start := time.Now()
				res := must(t, snubber.New(base), wiretest.Chat(t))
				if d := time.Since(start); res.StatusCode != 200 || d > 1500*time.Millisecond || base.Attempts()[0].Closed.IsZero() {
					t.Errorf("%T: %d after %v, want 200 after one backoff and at most a second of reading", body, res.StatusCode, d)
				}
				res.Body.Close()
			}
		}},
		{"errors keep their types", func(t *testing.T) {
			_, err := snubber.New(wiretest.Play(wiretest.Step{Err: wiretest.RefusedDial()})).RoundTrip(wiretest.Chat(t))
			var op *net.OpError
			if !errors.As(err, &op) || !errors.Is(err, neterr.Refused) {
				t.Errorf("%#v, want the base's own", err)
			}
		}},
		{"an error of GetBody is an error, and no empty body is sent", func(t *testing.T) {
			gone := errors.New("gone")
			req := wiretest.NewRequest(t, "PUT", "https://a.test/file", "data")
			req.GetBody = func() (io.ReadCloser, error) { return nil, gone }
			base := wiretest.Play(wiretest.Step{Status: 503}, wiretest.Step{})
			res, err := snubber.New(base).RoundTrip(req)
			if res != nil || !errors.Is(err, gone) || base.Sent() != 1 {
				t.Errorf("%v, %v after %d, want the error of GetBody after one", res, err, base.Sent())
			}
		}},
		{"no number of attempts makes a wait negative, endless or a panic", func(t *testing.T) {
			for _, rt := range []*snubber.Retry{
				{MaxAttempts: 200, MaxBackoff: 10 * time.Second, Budget: &snubber.Budget{Capacity: -1}},
				{MaxAttempts: 200, MinBackoff: -1, Budget: &snubber.Budget{Capacity: -1}},
				{MaxAttempts: 200, MinBackoff: 1, MaxBackoff: 1, Budget: &snubber.Budget{Capacity: -1}},
			} {
				base := wiretest.Play(wiretest.Step{Status: 502})
				must(t, &snubber.Transport{Base: base, Retry: rt}, wiretest.Chat(t)).Body.Close()
				sent := base.Attempts()
				if len(sent) != 200 {
					t.Fatalf("%d sent, want 200", len(sent))
				}
				for i := 1; i < len(sent); i++ {
					d := sent[i].At.Sub(sent[i-1].At)
					if d < 0 || d > 10*time.Second || rt.MaxBackoff == 10*time.Second && i > 5 && d < 5*time.Second {
						t.Errorf("MinBackoff %v: wait %d is %v", rt.MinBackoff, i, d)
					}
				}
			}
		}},
		{"the base sees the caller's context", func(t *testing.T) {
			type mark struct{}
			ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), mark{}, "x"), time.Hour)
			defer cancel()
			want, _ := ctx.Deadline()
			must(t, snubber.New(wiretest.Play(wiretest.Step{Do: func(r *http.Request) (*http.Response, error) {
				if at, ok := r.Context().Deadline(); r.Context().Value(mark{}) != "x" || !ok || !at.Equal(want) {
					t.Errorf("deadline %v and value %v, want the caller's", at, r.Context().Value(mark{}))
				}
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
			}})), wiretest.Chat(t).WithContext(ctx))
		}},
		{"a body of many megabytes is not cut", func(t *testing.T) {
			const size = 12 << 20
			res := must(t, snubber.New(wiretest.Play(wiretest.Step{Stream: io.NopCloser(io.LimitReader(wiretest.Endless{}, size))})), wiretest.Chat(t))
			n, err := io.Copy(io.Discard, res.Body)
			if res.Body.Close(); n != size || err != nil {
				t.Errorf("%d bytes and %v, want %d", n, err, size)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { synctest.Test(t, tt.test) })
	}
}

// must makes the round trip, which has to return a response.
func must(t *testing.T, rt http.RoundTripper, req *http.Request) *http.Response {
	t.Helper()
	res, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// both is a base that returns a response and an error together.
type both struct{ body wiretest.CountedBody }

func (b *both) RoundTrip(req *http.Request) (*http.Response, error) {
	req.Body.Close()
	b.body.Reader = strings.NewReader("x")
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: &b.body}, neterr.Reset
}

// idle checks that no request waits and no permit is held.
func idle(t *testing.T, l *snubber.Limiter) {
	t.Helper()
	for _, q := range l.Queues() {
		if q.InFlight != 0 || q.Waiting != 0 {
			t.Errorf("%d in flight, %d waiting at the end (%s)", q.InFlight, q.Waiting, q.Key)
		}
	}
}
