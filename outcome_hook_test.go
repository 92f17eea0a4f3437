package snubber_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// Classify is called once an attempt, and sees only the part of the body that
// has been read by then. All layers decide from its verdict. The caller gets
// the whole body, whatever Classify does with it.
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
		base := wiretest.Play(wiretest.Step{Err: cause}, wiretest.Step{Status: 500, Body: "broken"}, wiretest.Step{Status: 404, Body: big}, wiretest.Step{Status: 200, Body: "fine"})
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
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("RoundTrip = %v, %v, want 200", res, err)
		}
		if body := wiretest.ReadAll(t, res); body != "fine" {
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

// The hook's verdict on a response stands to the end of the body, which can
// only make it worse.
func TestClassifyHookDecides(t *testing.T) {
	for _, tt := range []struct {
		name         string
		step         wiretest.Step
		class        snubber.Class
		wire         int
		counted, bad int
		final        snubber.Class
	}{
		{"a 500 that is fine", wiretest.Step{Status: 500, Header: wiretest.Header("Content-Type", "text/plain"), Body: "ok"}, snubber.Success, 1, 1, 0, snubber.Success},
		{"a 200 that is not", wiretest.Step{Header: wiretest.Header("Content-Type", "text/plain"), Body: "no"}, snubber.ServerError, 2, 2, 2, snubber.ServerError},
		{"a 200 that nobody may repeat", wiretest.Step{Header: wiretest.Header("Content-Type", "text/plain"), Body: "no"}, snubber.Filtered, 1, 1, 0, snubber.Filtered},
		{"fine until it breaks off", wiretest.Step{Header: wiretest.Header("Content-Type", "text/event-stream"), Body: wiretest.DeltaEvent}, snubber.Success, 1, 1, 1, snubber.Unreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(tt.step)
				tr := &snubber.Transport{
					Base: base, Retry: &snubber.Retry{MaxAttempts: 2}, Breaker: &snubber.Breaker{},
					Classify: func(*http.Request, *http.Response, error) snubber.Outcome {
						return snubber.Outcome{Class: tt.class}
					},
				}
				ctx, report := snubber.WithReport(t.Context())
				res, err := tr.RoundTrip(wiretest.ChatStream(t).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(res.Body)
				res.Body.Close()
				if string(b) != tt.step.Body || (err != nil) != (tt.final == snubber.Unreachable) {
					t.Errorf("body = %q, %v, want %q", b, err, tt.step.Body)
				}
				if n := base.Sent(); n != tt.wire {
					t.Errorf("%d wire calls, want %d", n, tt.wire)
				}
				for i, try := range base.Attempts() {
					if try.Closed.IsZero() {
						t.Errorf("the body of attempt %d is not closed", i+1)
					}
				}
				if c := circuitOf(t, tr.Breaker); c.Requests != tt.counted || c.Failures != tt.bad {
					t.Errorf("%d outcomes, %d failures, want %d and %d", c.Requests, c.Failures, tt.counted, tt.bad)
				}
				if got := report.Load().Outcome.Class; got != tt.final {
					t.Errorf("outcome %v, want %v", got, tt.final)
				}
			})
		})
	}
}

// A response without a header map, as fakes return, is valid.
func TestClassifyNilHeader(t *testing.T) {
	for _, status := range []int{200, 400, 500} {
		tr := snubber.New(wiretest.RawFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("{}"))}, nil
		}))
		tr.Retry.MaxAttempts = 1
		tr.Cache = &snubber.Cache{PromptTTL: time.Hour}
		res, err := tr.RoundTrip(wiretest.Chat(t, "X-Stainless-Lang", "go"))
		if err != nil || res.StatusCode != status {
			t.Fatalf("%v, %v, want %d", res, err, status)
		}
		wiretest.ReadAll(t, res)
	}
}

// A response that Classify calls Rejected, after an earlier failure, is closed.
func TestClassifyRejectedResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500, Body: "first"}, wiretest.Step{Body: "second"})
		tr := &snubber.Transport{
			Base: base, Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{MaxConcurrent: 1},
			Classify: func(r *http.Request, res *http.Response, err error) snubber.Outcome {
				if res != nil && res.StatusCode == 200 {
					return snubber.Outcome{Class: snubber.Rejected}
				}
				return snubber.Classify(r, res, err)
			},
		}
		if e := <-wiretest.Launch(tr, wiretest.Chat(t)); e.Status != 500 || e.Body != "first" {
			t.Errorf("%+v, want the first response", e)
		}
		if n := inFlight(t, tr.Limiter); n != 0 || base.Attempts()[1].Closed.IsZero() {
			t.Errorf("%d in flight, the second body closed at %v", n, base.Attempts()[1].Closed)
		}
	})
}
