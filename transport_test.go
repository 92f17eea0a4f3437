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
)

// Each attempt pays for its quota and is seen by the breaker: the retries of a
// call leave the queue one token after the other, although they would be
// ready earlier.
func TestEachAttemptPays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{status: 500}, step{status: 500}, step{body: "{}"})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{MaxBackoff: 500 * time.Millisecond}, Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{RequestsPerMinute: 60}}
		if status, err := fetch(tr, chat(t)); status != 200 {
			t.Fatalf("RoundTrip = %d, %v, want 200", status, err)
		}
		tries := base.all()
		if len(tries) != 3 {
			t.Fatalf("%d attempts, want 3", len(tries))
		}
		for i := range 2 {
			if d := tries[i+1].at.Sub(tries[i].at); d < time.Second || d > time.Second+time.Microsecond {
				t.Errorf("attempt %d came %v after the one before, want 1s", i+2, d)
			}
		}
		if c := circuitOf(t, tr.Breaker); c.Requests != 3 || c.Failures != 2 {
			t.Errorf("%d outcomes, %d failures, want 3 and 2", c.Requests, c.Failures)
		}
	})
}

// The limits of Timeout do not run while a request waits in the queue.
func TestTimeoutIsInsideTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Base: play(step{delay: 2 * time.Second}), Limiter: &snubber.Limiter{RequestsPerMinute: 1}, Timeout: &snubber.Timeout{Headers: 3 * time.Second, Attempt: 4 * time.Second}}
		for range 3 {
			if status, err := fetch(tr, chat(t)); status != 200 {
				t.Errorf("RoundTrip = %d, %v, want 200", status, err)
			}
		}
	})
}

// New is the stack that its comment says, and http.DefaultTransport may be set
// to it: a nil Base is the default transport of before.
func TestDefaultTransport(t *testing.T) {
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
	if got := slurp(t, res); got != "hello" {
		t.Errorf("body = %q, want hello", got)
	}
	if snubber.ReportOf(res) == nil {
		t.Error("the request did not go through the Transport")
	}
	http.DefaultClient.CloseIdleConnections()
}

// idler counts the calls of CloseIdleConnections.
type idler struct {
	http.RoundTripper
	closed int
}

func (i *idler) CloseIdleConnections() { i.closed++ }

// CloseIdleConnections of a client reaches the base through every Transport,
// and a base without one is no trouble.
func TestCloseIdleConnections(t *testing.T) {
	base := &idler{}
	client := &http.Client{Transport: snubber.New(&snubber.Transport{Base: base})}
	client.CloseIdleConnections()
	if base.closed != 1 {
		t.Errorf("reached the base %d times, want 1", base.closed)
	}
	(&http.Client{Transport: snubber.New(play())}).CloseIdleConnections()
}

// The zero Transport changes nothing, in either direction.
func TestZeroTransport(t *testing.T) {
	header := http.Header{"Authorization": {"Bearer k"}, "x-odd": {"1"}, "Accept": {"a", "b"}}
	var got *http.Request
	var sent string
	answer := reply(418, strings.NewReader("teapot"), "X-Should-Retry", "true", "Retry-After", "7")
	answer.ContentLength = 6
	answer.Trailer = http.Header{"T": {"1"}}
	want := *answer
	tr := &snubber.Transport{Base: wire(func(*http.Request) (*http.Response, error) { return nil, nil })}
	tr.Base = roundTrip(func(req *http.Request) (*http.Response, error) {
		b, _ := io.ReadAll(req.Body)
		req.Body.Close()
		got, sent = req, string(b)
		return answer, nil
	})
	req := newReq(t, "POST", "https://user@api.example.com/v1/files?key=k#f", "data")
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
	if body := slurp(t, res); body != "teapot" {
		t.Errorf("body = %q, want teapot", body)
	}
	if r := res.Request; r == nil || r.URL != req.URL || r.Method != "POST" || !reflect.DeepEqual(r.Header, header) {
		t.Errorf("Request = %+v, want a copy of the caller's", r)
	}

	cause := errors.New("cause")
	tr.Base = wire(func(*http.Request) (*http.Response, error) { return nil, cause })
	if res, err := tr.RoundTrip(chat(t)); res != nil || err != cause {
		t.Errorf("RoundTrip = %v, %v, want the base's error itself", res, err)
	}
}

// roundTrip is a base that sees to the request's body itself.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A base that breaks the contract does not make the Transport break it.
func TestBaseBreaksTheContract(t *testing.T) {
	cause := errors.New("cause")
	body := newFlow(chunk{text: "abc"})
	for name, base := range map[string]wire{
		"nothing": func(*http.Request) (*http.Response, error) { return nil, nil },
		"both":    func(*http.Request) (*http.Response, error) { return reply(200, body), cause },
	} {
		tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{Concurrent: 1}}
		res, err := tr.RoundTrip(chat(t))
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
	if body.closes() == 0 {
		t.Error("the response beside an error is not closed")
	}
}

// A panic of the base passes through and takes nothing with it.
func TestBasePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		panics := true
		tr := snubber.New(wire(func(*http.Request) (*http.Response, error) {
			if panics {
				panic("boom")
			}
			return reply(200, strings.NewReader("{}")), nil
		}))
		tr.Limiter.Concurrent = 1
		for range 3 {
			func() {
				defer func() {
					if v := recover(); v != "boom" {
						t.Errorf("recover = %v, want boom", v)
					}
				}()
				fetch(tr, chat(t))
			}()
		}
		panics = false
		if n := inFlight(t, tr.Limiter); n != 0 {
			t.Fatalf("%d in flight, want 0", n)
		}
		if status, err := fetch(tr, chat(t)); status != 200 {
			t.Errorf("RoundTrip = %d, %v, want 200", status, err)
		}
		if c := circuitOf(t, tr.Breaker); c.Requests != 1 || c.Failures != 0 {
			t.Errorf("%d outcomes, %d failures, want the success alone", c.Requests, c.Failures)
		}
	})
}

// What cannot be sent is an error, with no wire call and the body closed.
func TestInvalidRequests(t *testing.T) {
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
			base := play()
			tr.Base = base
			body := newFlow(chunk{text: "{}"})
			req := tt.change(chat(t))
			req.Body, req.GetBody = body, nil
			res, err := tr.RoundTrip(req)
			if res != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("%s: RoundTrip = %v, %v, want %v", name, res, err, tt.want)
			}
			if base.sent() != 0 || body.closes() == 0 {
				t.Errorf("%s: %d wire calls, body closed %d times, want none and closed", name, base.sent(), body.closes())
			}
		}
	}
}

// Classify is asked once an attempt, about what has been read by then and no
// more, and its verdict is what the layers decide from. Whatever it does with
// the body, the caller gets all of it.
func TestClassifyHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		big := strings.Repeat("x", 100<<10)
		type seen struct {
			status int
			body   string
			err    error
			class  snubber.Class
			model  string
		}
		var asked []seen
		cause := errors.New("cause")
		base := play(step{err: cause}, step{status: 500, body: "broken"}, step{status: 404, body: big}, step{status: 200, body: "fine"})
		tr := &snubber.Transport{
			Base:    base,
			Retry:   &snubber.Retry{},
			Breaker: &snubber.Breaker{},
			Classify: func(req *http.Request, res *http.Response, err error) snubber.Outcome {
				s := seen{err: err, model: snubber.Model(req)}
				o := snubber.Classify(req, res, err)
				s.class = o.Class
				if res != nil {
					s.status = res.StatusCode
					if res.StatusCode >= 400 {
						b, err := io.ReadAll(res.Body)
						if err != nil {
							t.Errorf("the hook's body: %v, want EOF", err)
						}
						s.body = string(b)
					}
					res.Body.Close()
				}
				asked = append(asked, s)
				if s.status == 404 {
					o = snubber.Outcome{Class: snubber.Transient, Reason: "mine"}
				}
				return o
			},
		}
		res, err := tr.RoundTrip(chat(t))
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("RoundTrip = %v, %v, want 200", res, err)
		}
		if body := slurp(t, res); body != "fine" {
			t.Errorf("body = %q, want fine", body)
		}
		want := []seen{
			{0, "", cause, snubber.Unreachable, "m"},
			{500, "broken", nil, snubber.ServerError, "m"},
			{404, big[:64<<10], nil, snubber.Invalid, "m"},
			{200, "", nil, snubber.Success, "m"},
		}
		if len(asked) != len(want) {
			t.Fatalf("asked %d times, want %d", len(asked), len(want))
		}
		for i := range want {
			if asked[i] != want[i] {
				t.Errorf("attempt %d: asked about %d, %d bytes, %v, %v, %q, want %d, %d bytes, %v, %v, %q", i+1,
					asked[i].status, len(asked[i].body), asked[i].err, asked[i].class, asked[i].model,
					want[i].status, len(want[i].body), want[i].err, want[i].class, want[i].model)
			}
		}
	})
}

// The hook's verdict on an answer holds to the end of the body, which can only
// make it worse.
func TestClassifyHookDecides(t *testing.T) {
	for _, tt := range []struct {
		name         string
		step         step
		class        snubber.Class
		wire         int
		counted, bad int
		final        snubber.Class
	}{
		{"a 500 that is fine", step{status: 500, header: hdr("Content-Type", "text/plain"), body: "ok"}, snubber.Success, 1, 1, 0, snubber.Success},
		{"a 200 that is not", step{header: hdr("Content-Type", "text/plain"), body: "no"}, snubber.ServerError, 2, 2, 2, snubber.ServerError},
		{"a 200 that nobody may repeat", step{header: hdr("Content-Type", "text/plain"), body: "no"}, snubber.Filtered, 1, 1, 0, snubber.Filtered},
		{"fine until it breaks off", step{header: hdr("Content-Type", "text/event-stream"), body: deltaEvent}, snubber.Success, 1, 1, 1, snubber.Unreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := play(tt.step)
				tr := &snubber.Transport{
					Base: base, Retry: &snubber.Retry{MaxAttempts: 2}, Breaker: &snubber.Breaker{},
					Classify: func(*http.Request, *http.Response, error) snubber.Outcome {
						return snubber.Outcome{Class: tt.class}
					},
				}
				ctx, report := snubber.WithReport(t.Context())
				res, err := tr.RoundTrip(streamReq(t).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				if string(b) != tt.step.body || (err != nil) != (tt.final == snubber.Unreachable) {
					t.Errorf("body = %q, %v, want %q", b, err, tt.step.body)
				}
				if n := base.sent(); n != tt.wire {
					t.Errorf("%d wire calls, want %d", n, tt.wire)
				}
				for i, try := range base.all() {
					if try.closed.IsZero() {
						t.Errorf("the body of attempt %d is not closed", i+1)
					}
				}
				if c := circuitOf(t, tr.Breaker); c.Requests != tt.counted || c.Failures != tt.bad {
					t.Errorf("%d outcomes, %d failures, want %d and %d", c.Requests, c.Failures, tt.counted, tt.bad)
				}
				if got := report.Outcome.Class; got != tt.final {
					t.Errorf("outcome %v, want %v", got, tt.final)
				}
			})
		})
	}
}

// oracle is a base that can say whether it is ready.
type oracle struct {
	http.RoundTripper
	at  time.Time
	err error
}

func (o *oracle) Ready(*http.Request) (time.Time, error) { return o.at, o.err }

// untouched is a request whose body may only be had through GetBody.
func untouched(t testing.TB) *http.Request {
	req := chat(t)
	req.Body = untouchable{t}
	return req
}

type untouchable struct{ t testing.TB }

func (u untouchable) Read([]byte) (int, error) {
	u.t.Error("Ready read the request's body")
	return 0, io.EOF
}

func (u untouchable) Close() error {
	u.t.Error("Ready closed the request's body")
	return nil
}

// Ready says what RoundTrip would do at that moment: send at once, send later,
// or refuse and why. It takes nothing.
func TestReady(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		for _, tr := range []*snubber.Transport{{}, snubber.New(nil)} {
			base := play()
			tr.Base = base
			for range 3 {
				if at, err := tr.Ready(untouched(t)); !at.IsZero() || err != nil || base.sent() != 0 {
					t.Errorf("Ready = %v, %v after %d wire calls, want zero", at, err, base.sent())
				}
			}
		}
	})
	t.Run("open", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Breaker: &snubber.Breaker{Failures: 2, Probes: 1}}
			tripped(t, tr, step{})
			_, err := tr.Ready(untouched(t))
			refusal := mustRefuse(t, tr, chat(t))
			var ready *snubber.RejectedError
			if !errors.As(err, &ready) || !errors.Is(err, snubber.ErrOpen) || *ready != *refusal {
				t.Errorf("Ready = %v, want as RoundTrip: %v", err, refusal)
			}
			sleepOpen(t, tr.Breaker)
			for range 3 { // although there is but one probe's place
				if at, err := tr.Ready(untouched(t)); !at.IsZero() || err != nil {
					t.Errorf("Ready = %v, %v while half-open, want zero", at, err)
				}
			}
			if status, err := fetch(tr, chat(t)); status != 200 {
				t.Errorf("the probe: %d, %v, want 200", status, err)
			}
		})
	})
	t.Run("limited", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			base := play(step{})
			tr := &snubber.Transport{Base: base, Breaker: &snubber.Breaker{}, Limiter: &snubber.Limiter{RequestsPerMinute: 6}}
			start := time.Now()
			fetch(tr, chat(t))
			var at time.Time
			for range 3 {
				var err error
				if at, err = tr.Ready(untouched(t)); err != nil || at.Sub(start) < 10*time.Second || at.Sub(start) > 10*time.Second+time.Microsecond {
					t.Fatalf("Ready = in %v, %v, want in 10s", at.Sub(start), err)
				}
			}
			fetch(tr, chat(t))
			if sent := base.all()[1].at; !sent.Equal(at) {
				t.Errorf("sent at %v, want when Ready said, %v", sent.Sub(start), at.Sub(start))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, ready := tr.Ready(untouched(t).WithContext(ctx))
			_, err := fetch(tr, chat(t).WithContext(ctx))
			if !errors.Is(ready, snubber.ErrLimited) || !errors.Is(ready, context.DeadlineExceeded) || ready.Error() != err.Error() {
				t.Errorf("Ready = %v, want as RoundTrip: %v", ready, err)
			}
		})
	})
	t.Run("gated", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			base := play(step{status: 429, header: hdr("Retry-After", "20")}, step{})
			tr := &snubber.Transport{Base: base, Limiter: &snubber.Limiter{}}
			start := time.Now()
			if status, err := fetch(tr, chat(t)); status != 429 {
				t.Fatalf("RoundTrip = %d, %v, want 429", status, err)
			}
			at, err := tr.Ready(untouched(t))
			if d := at.Sub(start); err != nil || d < 20*time.Second || d > 21*time.Second {
				t.Fatalf("Ready = in %v, %v, want in 20s and a bit", d, err)
			}
			fetch(tr, chat(t))
			if sent := base.all()[1].at; !sent.Equal(at) {
				t.Errorf("sent after %v, want when Ready said, %v", sent.Sub(start), at.Sub(start))
			}
		})
	})
	t.Run("exhausted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Limiter: &snubber.Limiter{}, Base: play(step{status: 429, body: `{"error":{"message":"no","type":"insufficient_quota","code":"insufficient_quota"}}`})}
			fetch(tr, chat(t))
			_, ready := tr.Ready(untouched(t))
			_, err := fetch(tr, chat(t))
			if !errors.Is(ready, snubber.ErrQuota) || ready.Error() != err.Error() {
				t.Errorf("Ready = %v, want as RoundTrip: %v", ready, err)
			}
		})
	})
	t.Run("base", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			late := time.Now().Add(time.Minute)
			base := &oracle{RoundTripper: play(step{}), at: late}
			tr := &snubber.Transport{Base: base, Limiter: &snubber.Limiter{RequestsPerMinute: 6}}
			if at, err := tr.Ready(untouched(t)); !at.Equal(late) || err != nil {
				t.Errorf("Ready = %v, %v, want the base's time", at, err)
			}
			fetch(tr, chat(t))
			if at, err := tr.Ready(untouched(t)); !at.Equal(late) || err != nil {
				t.Errorf("Ready = %v, %v, want the later of the two", at, err)
			}
			base.at = time.Now().Add(time.Second)
			if at, err := tr.Ready(untouched(t)); time.Until(at) < 10*time.Second || err != nil {
				t.Errorf("Ready = in %v, %v, want the later of the two", time.Until(at), err)
			}
			base.err = &snubber.RejectedError{Err: snubber.ErrLimited}
			if _, err := tr.Ready(untouched(t)); !errors.Is(err, snubber.ErrLimited) {
				t.Errorf("Ready = %v, want the base's error", err)
			}
			inner := &snubber.Transport{Base: play(), Breaker: &snubber.Breaker{}}
			inner.Breaker.Open(chatKey)
			if _, err := (&snubber.Transport{Base: inner}).Ready(untouched(t)); !errors.Is(err, snubber.ErrOpen) {
				t.Errorf("Ready = %v, want the inner Transport's ErrOpen", err)
			}
		})
	})
}

// Everything may be called at any time from anywhere.
func TestTransportConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := play(step{}, step{status: 500}, step{status: 503, delay: time.Millisecond}, step{status: 200, body: "{}", delay: time.Second})
		tr := snubber.New(base)
		tr.Limiter.RequestsPerMinute, tr.Limiter.Concurrent = 60_000, 50
		tr.Observe = func(snubber.Event) {}
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*100*time.Millisecond)
				defer cancel()
				req := chat(t).WithContext(ctx)
				switch i % 10 {
				case 7:
					tr.Ready(req)
				case 8:
					tr.Breaker.Open("https://elsewhere.example.com m")
					tr.Breaker.Close("https://elsewhere.example.com m")
				case 9:
					tr.Limiter.Quotas()
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
		for i, try := range base.all() {
			if try.body != "" && try.body != chatBody {
				t.Errorf("attempt %d sent %q", i+1, try.body)
			}
		}
	})
}
