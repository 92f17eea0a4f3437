package snubber_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// New returns the stack that its comment describes. http.DefaultTransport may
// be set to it: a nil Base is the earlier default transport.
func TestTransportDefault(t *testing.T) {
	tr := snubber.New(nil)
	if tr.Retry == nil || tr.Breaker == nil || tr.Limiter == nil || tr.Timeout == nil || tr.Base != nil {
		t.Errorf("New = %+v, want Retry, Breaker, Limiter and Timeout", tr)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	defer server.Close()
	old := http.DefaultTransport
	http.DefaultTransport = tr
	defer func() { http.DefaultTransport = old }()
	res, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got := wiretest.ReadAll(t, res); got != "hello" {
		t.Errorf("body = %q, want hello", got)
	}
	if snubber.ReportOf(res) == nil {
		t.Error("the request did not go through the Transport")
	}
	http.DefaultClient.CloseIdleConnections()
}

// CloseIdleConnections of a client reaches Base through every Transport. A Base
// without that method does no harm.
func TestTransportCloseIdleConnections(t *testing.T) {
	base := &wiretest.IdleCounter{}
	client := &http.Client{Transport: snubber.New(&snubber.Transport{Base: base})}
	client.CloseIdleConnections()
	if base.Closed != 1 {
		t.Errorf("reached the base %d times, want 1", base.Closed)
	}
	(&http.Client{Transport: snubber.New(wiretest.Play())}).CloseIdleConnections()
}

// The zero Transport changes nothing, in either direction.
func TestTransportZero(t *testing.T) {
	header := http.Header{"Authorization": {"Bearer k"}, "x-odd": {"1"}, "Accept": {"a", "b"}}
	var got *http.Request
	var sent string
	answer := wiretest.Response(418, strings.NewReader("teapot"), "X-Should-Retry", "true", "Retry-After", "7")
	answer.ContentLength = 6
	answer.Trailer = http.Header{"T": {"1"}}
	want := *answer
	tr := &snubber.Transport{Base: wiretest.Func(func(*http.Request) (*http.Response, error) { return nil, nil })}
	tr.Base = wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
		b, _ := io.ReadAll(req.Body)
		req.Body.Close()
		got, sent = req, string(b)
		return answer, nil
	})
	req := wiretest.NewRequest(t, "POST", "https://user@api.example.com/v1/files?key=k#f", "data")
	req.Header = header.Clone()
	req.Host, req.Close, req.TransferEncoding = "other.example.com", true, []string{"identity"}
	before := *req
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if sent != "data" || got.Method != "POST" || got.URL.String() != req.URL.String() || !reflect.DeepEqual(got.Header, header) ||
		got.Host != "other.example.com" || got.ContentLength != 4 || !got.Close || !reflect.DeepEqual(got.TransferEncoding, req.TransferEncoding) {
		t.Errorf("the base got %+v with %q, want the caller's request", got, sent)
	}
	if !reflect.DeepEqual(req.Header, header) || req.URL != before.URL || req.Body != before.Body || req.Context() != before.Context() {
		t.Error("the caller's request was changed")
	}
	if res.StatusCode != 418 || !reflect.DeepEqual(res.Header, want.Header) || res.ContentLength != 6 || !reflect.DeepEqual(res.Trailer, want.Trailer) {
		t.Errorf("RoundTrip = %+v, want %+v", res, want)
	}
	if body := wiretest.ReadAll(t, res); body != "teapot" {
		t.Errorf("body = %q, want teapot", body)
	}
	if r := res.Request; r == nil || r.URL != req.URL || r.Method != "POST" || !reflect.DeepEqual(r.Header, header) {
		t.Errorf("Request = %+v, want a copy of the caller's", r)
	}

	cause := errors.New("cause")
	tr.Base = wiretest.Func(func(*http.Request) (*http.Response, error) { return nil, cause })
	if res, err := tr.RoundTrip(wiretest.Chat(t)); res != nil || err != cause {
		t.Errorf("RoundTrip = %v, %v, want the base's error itself", res, err)
	}
}

// A Base that breaks the contract does not make the Transport break it.
func TestTransportBaseBreaksContract(t *testing.T) {
	cause := errors.New("cause")
	body := wiretest.NewBody(wiretest.Chunk{Text: "abc"})
	for name, base := range map[string]wiretest.Func{
		"nothing": func(*http.Request) (*http.Response, error) { return nil, nil },
		"both":    func(*http.Request) (*http.Response, error) { return wiretest.Response(200, body), cause },
	} {
		tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{MaxConcurrent: 1}}
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if res != nil || err == nil {
			t.Errorf("%s: RoundTrip = %v, %v, want only an error", name, res, err)
		}
		if c := circuitOf(t, tr.Breaker); c.Failures != 1 {
			t.Errorf("%s: %d failures, want 1", name, c.Failures)
		}
		if n := inFlight(t, tr.Limiter); n != 0 {
			t.Errorf("%s: %d in flight, want 0", name, n)
		}
	}
	if body.Closes() == 0 {
		t.Error("the response beside an error is not closed")
	}
}

// A panic of Base passes through and leaks nothing.
func TestTransportBasePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panics := true
		tr := snubber.New(wiretest.Func(func(*http.Request) (*http.Response, error) {
			if panics {
				panic("boom")
			}
			return wiretest.Response(200, strings.NewReader("{}")), nil
		}))
		tr.Limiter.MaxConcurrent = 1
		for range 3 {
			func() {
				defer func() {
					if v := recover(); v != "boom" {
						t.Errorf("recover = %v, want boom", v)
					}
				}()
				wiretest.Fetch(tr, wiretest.Chat(t))
			}()
		}
		panics = false
		if n := inFlight(t, tr.Limiter); n != 0 {
			t.Fatalf("%d in flight, want 0", n)
		}
		if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 {
			t.Errorf("RoundTrip = %d, %v, want 200", status, err)
		}
		if c := circuitOf(t, tr.Breaker); c.Requests != 1 || c.Failures != 0 {
			t.Errorf("%d outcomes, %d failures, want the success alone", c.Requests, c.Failures)
		}
	})
}

// A request that cannot be sent gets an error. Nothing is sent, and the body is
// closed.
func TestTransportInvalidRequests(t *testing.T) {
	done, cancel := context.WithCancel(t.Context())
	cancel()
	past, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancel()
	for name, tt := range map[string]struct {
		change func(*http.Request) *http.Request
		want   error
	}{
		"no URL":          {func(r *http.Request) *http.Request { r.URL = nil; return r }, nil},
		"no header":       {func(r *http.Request) *http.Request { r.Header = nil; return r }, nil},
		"cancelled":       {func(r *http.Request) *http.Request { return r.WithContext(done) }, context.Canceled},
		"deadline passed": {func(r *http.Request) *http.Request { return r.WithContext(past) }, context.DeadlineExceeded},
	} {
		for _, tr := range []*snubber.Transport{{}, snubber.New(nil)} {
			base := wiretest.Play()
			tr.Base = base
			body := wiretest.NewBody(wiretest.Chunk{Text: "{}"})
			req := tt.change(wiretest.Chat(t))
			req.Body, req.GetBody = body, nil
			res, err := tr.RoundTrip(req)
			if res != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("%s: RoundTrip = %v, %v, want %v", name, res, err, tt.want)
			}
			if base.Sent() != 0 || body.Closes() == 0 {
				t.Errorf("%s: %d wire calls, body closed %d times, want none and closed", name, base.Sent(), body.Closes())
			}
		}
	}
}

// Every method may be called at any time from any goroutine.
func TestTransportConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{}, wiretest.Step{Status: 500}, wiretest.Step{Status: 503, Delay: time.Millisecond}, wiretest.Step{Status: 200, Body: "{}", Delay: time.Second})
		tr := snubber.New(base)
		tr.Limiter.RequestsPerMinute, tr.Limiter.MaxConcurrent = 60_000, 50
		tr.Observe = func(snubber.Event) {}
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*100*time.Millisecond)
				defer cancel()
				req := wiretest.Chat(t).WithContext(ctx)
				switch i % 10 {
				case 7:
					tr.ReadyAt(req)
				case 8:
					tr.Breaker.Trip("https://elsewhere.example.com m")
					tr.Breaker.Reset("https://elsewhere.example.com m")
				case 9:
					tr.Limiter.Queues()
					tr.Breaker.Circuits()
					tr.CloseIdleConnections()
				}
				res, err := tr.RoundTrip(req)
				if (res == nil) == (err == nil) {
					t.Errorf("RoundTrip = %v, %v, want one of them", res, err)
				}
				if res != nil {
					go snubber.ReportOf(res)
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			})
		}
		wg.Wait()
		if n := inFlight(t, tr.Limiter); n != 0 {
			t.Errorf("%d in flight, want 0", n)
		}
		for i, try := range base.Attempts() {
			if try.Body != "" && try.Body != wiretest.ChatBody {
				t.Errorf("attempt %d sent %q", i+1, try.Body)
			}
		}
	})
}
