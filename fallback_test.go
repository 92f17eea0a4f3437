package snubber_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// Fallback tries routes in order; each decides from the outcome before it, and
// gets the body from its beginning. The first failure is returned if all routes
// fail.
func TestFallback(t *testing.T) {
	only := func(c snubber.Class) func(*http.Request, snubber.Outcome) bool {
		return func(_ *http.Request, o snubber.Outcome) bool { return o.Class == c }
	}
	for _, tt := range []struct {
		name         string
		kinds        [3]snubbertest.Kind
		when         func(*http.Request, snubber.Outcome) bool // If of the second route
		status       int
		calls        [3]int
		route, total int
	}{
		{"the primary answers", [3]snubbertest.Kind{healthy, healthy, healthy}, nil, 200, [3]int{1, 0, 0}, 0, 1},
		{"quota exhausted goes on at once", [3]snubbertest.Kind{snubbertest.QuotaExhausted, healthy, healthy}, nil, 200, [3]int{1, 1, 0}, 1, 2},
		{"the third answers", [3]snubbertest.Kind{snubbertest.QuotaExhausted, snubbertest.QuotaExhausted, healthy}, nil, 200, [3]int{1, 1, 1}, 2, 3},
		{"When passes a route over", [3]snubbertest.Kind{snubbertest.QuotaExhausted, healthy, healthy}, only(snubber.TimedOut), 200, [3]int{1, 0, 1}, 2, 2},
		{"all fail: the first failure", [3]snubbertest.Kind{snubbertest.ServerError, snubbertest.QuotaExhausted, snubbertest.Overloaded}, nil, 500, [3]int{5, 1, 1}, 0, 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p [3]*snubbertest.Provider
				for i, k := range tt.kinds {
					p[i] = failing(k)
				}
				rt := snubber.New(p[0])
				rt.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: p[1], If: tt.when}, {Transport: p[2]}}}
				res, err := ask(t.Context(), rt)
				if err != nil || res.StatusCode != tt.status {
					t.Fatalf("%v, %v, want %d", res, err, tt.status)
				}
				for i := range p {
					calls := p[i].Calls()
					if len(calls) != tt.calls[i] {
						t.Errorf("route %d had %d calls, want %d", i, len(calls), tt.calls[i])
					}
					for _, c := range calls {
						if string(c.Body) != string(p[0].Calls()[0].Body) {
							t.Errorf("route %d got another body: %q", i, c.Body)
						}
					}
				}
				if r := snubber.ReportOf(res); r.Load().AnsweredBy != tt.route || r.Load().Attempts != tt.total {
					t.Errorf("report: route %d after %d attempts, want %d after %d", r.Load().AnsweredBy, r.Load().Attempts, tt.route, tt.total)
				}
			})
		})
	}
}

// An open circuit sends a call to the route at once, even if the call already
// had an attempt. A request that the server may have carried out is not sent
// twice.
func TestFallbackOpenCircuitAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		primary, second := failing(snubbertest.ServerError), &snubbertest.Provider{}
		rt := snubber.New(primary)
		rt.Breaker.Failures = 1
		rt.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.New(second)}}}
		start := time.Now()
		for range 2 {
			if res, err := ask(t.Context(), rt); err != nil || res.StatusCode != 200 {
				t.Fatal(res, err)
			}
		}
		if n, m, d := len(primary.Calls()), len(second.Calls()), time.Since(start); n != 1 || m != 2 || d != 0 {
			t.Errorf("%d and %d calls in %v, want 1 and 2 in no time", n, m, d)
		}
		req, _ := http.NewRequest("POST", "https://api.example.com/v1/files", nil)
		rt.Breaker.Reset("https://api.example.com")
		if res, err := rt.RoundTrip(req); err != nil || res.StatusCode != 500 || len(second.Calls()) != 2 {
			t.Errorf("an unsafe request: %v, %v, and %d calls to the route", res, err, len(second.Calls()))
		} else {
			res.Body.Close()
		}
	})
}

// A successful response ends the sequence, whatever If of the next route
// returns. A postponed route decides from the latest outcome. No call waits
// while it holds the first route's response.
func TestFallbackOrder(t *testing.T) {
	always := func(*http.Request, snubber.Outcome) bool { return true }
	limits := func(_ *http.Request, o snubber.Outcome) bool { return o.Class == snubber.RateLimited }
	synctest.Test(t, func(t *testing.T) {
		first, second, third := wiretest.Play(wiretest.Step{Status: 429, Body: strings.Repeat("x", 100<<10)}), wiretest.Play(wiretest.Step{}), wiretest.Play(wiretest.Step{})
		second.Steps[0].Do = func(*http.Request) (*http.Response, error) {
			if first.Attempts()[0].Closed.IsZero() {
				t.Error("the first response is open")
			}
			return wiretest.Response(200, strings.NewReader("{}")), nil
		}
		rt := &snubber.Transport{Base: first, Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: second, If: always}, {Transport: third, If: always}}}}
		if status, err := wiretest.Fetch(rt, wiretest.Chat(t)); status != 200 || err != nil || third.Sent() != 0 {
			t.Errorf("%d, %v, and %d calls to the next", status, err, third.Sent())
		}
		later := &wiretest.CountedBase{ReadyBase: wiretest.ReadyBase{At: time.Now().Add(time.Minute)}}
		rt.Fallback.Routes = []snubber.Route{{Transport: later, If: limits}, {Transport: wiretest.Play(wiretest.Step{Status: 500}), If: limits}}
		if status, err := wiretest.Fetch(rt, wiretest.Chat(t)); status != 429 || err != nil || later.Calls != 0 {
			t.Errorf("%d, %v, and %d calls after a failure of another class", status, err, later.Calls)
		}
	})
}

// Each change of routes is an event. The Transport around a Balancer reports
// the Balancer's changes.
func TestFallbackEvents(t *testing.T) { synctest.Test(t, fallbackEvents) }

func fallbackEvents(t *testing.T) {
	var got []string
	tr := &snubber.Transport{
		Base: wiretest.Play(wiretest.Step{Status: 500}),
		Fallback: &snubber.Fallback{Routes: []snubber.Route{
			{Transport: wiretest.Play(wiretest.Step{Status: 401, Delay: 3 * time.Second})},
			{Transport: &snubber.Balancer{Routes: []snubber.Route{
				{Transport: wiretest.Play(wiretest.Step{Status: 502})},
				{Transport: wiretest.Play(wiretest.Step{Status: 503}), Weight: 1},
				{Transport: wiretest.Play(wiretest.Step{Status: 429})},
			}}},
		}},
		Observe: func(e snubber.Event) {
			if e.Kind == snubber.EventAttempt && e.Route == 1 && e.Took != 3*time.Second {
				t.Errorf("it took %v", e.Took)
			}
			if e.Kind == snubber.EventFallback {
				got = append(got, fmt.Sprint(e.Route, " ", e.Outcome.Class, " ", e.Key))
			}
		},
	}
	if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 500 || err != nil {
		t.Fatal(status, err)
	}
	const key = " https://api.example.com m"
	want := []string{"1 server-error" + key, "2 invalid" + key, "1 server-error" + key, "3 server-error" + key}
	if !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// Each attempt is one event. An attempt at another service is not reported as
// an attempt at the first.
func TestFallbackAttemptEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		tr := snubber.New(wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
			if req.URL.Host == "c.example.com" {
				return wiretest.Response(200, strings.NewReader("{}")), nil
			}
			return wiretest.Response(401+len(got)%2*99, strings.NewReader("{}")), nil // 401, 500
		}))
		tr.Retry.MaxAttempts = 1
		always := func(*http.Request, snubber.Outcome) bool { return true }
		to := func(host string, rt http.RoundTripper) snubber.Route {
			return snubber.Route{Transport: snubber.Reroute{URL: "https://" + host + ".example.com/v1", Transport: rt}, If: always}
		}
		tr.Observe = func(e snubber.Event) {
			if e.Kind == snubber.EventAttempt {
				got = append(got, fmt.Sprint(e.Key, " ", e.Route, " ", e.Outcome.Class))
			}
		}
		tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{
			to("b", nil), {Transport: wiretest.Play(wiretest.Step{Status: 400}), If: always}, to("b", tr),
			{Transport: &snubber.Balancer{Routes: []snubber.Route{{Transport: wiretest.Play(wiretest.Step{Status: 500})}, to("c", nil)}}, If: always},
		}}
		if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 || err != nil {
			t.Fatal(status, err)
		}
		const a, b, c = "https://api.example.com m ", "https://b.example.com m ", "https://c.example.com m "
		want := []string{a + "0 invalid", b + "0 server-error", a + "2 invalid", b + "0 server-error", c + "0 success"}
		if !slices.Equal(got, want) {
			t.Errorf("attempts %q, want %q", got, want)
		}
	})
}

// Stale refuses a request without a URL, and does not panic.
func TestStaleWithoutURL(t *testing.T) {
	if _, err := snubber.Stale.RoundTrip(&http.Request{}); err == nil {
		t.Error("no error")
	}
}

// A Route without a Transport does not panic when it is tried.
func TestRouteWithoutTransport(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tr := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Status: 500}), Fallback: &snubber.Fallback{Routes: []snubber.Route{{If: func(*http.Request, snubber.Outcome) bool {
		return true
	}}}}, Observe: func(e snubber.Event) {
		if e.Kind == snubber.EventFallback {
			cancel() // nothing shall be sent on the network
		}
	}}
	if _, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A caller that cancels ends the routes too.
func TestFallbackCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := failing(snubbertest.BlackHole)
		rt := &snubber.Transport{Base: failing(snubbertest.QuotaExhausted), Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: second}, {Transport: second}}}}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := ask(ctx, rt); !errors.Is(err, context.Canceled) || len(second.Calls()) != 1 {
			t.Errorf("%v after %d calls, want context.Canceled after 1", err, len(second.Calls()))
		}
	})
}

// Another deployment answers when the quota of the first is exhausted.
func ExampleFallback() {
	first, second := failing(snubbertest.QuotaExhausted), &snubbertest.Provider{}
	t := snubber.New(first)
	t.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.New(second)}}}

	res, err := ask(context.Background(), t)
	fmt.Println(res.StatusCode, err)
	fmt.Println("route", snubber.ReportOf(res).Load().AnsweredBy)
	// Output:
	// 200 <nil>
	// route 1
}

// A wrong key or a missing model of a route does not end the sequence. The
// caller's own wrong key does, and so does an invalid request.
func TestFallbackMisconfiguredRoute(t *testing.T) {
	const longer, denied, missing, bad = "longer", "denied", "missing", "bad"
	steps := map[string]wiretest.Step{
		"500":   {Status: 500},
		"ok":    {Body: `{}`},
		denied:  {Status: 401, Body: denied},
		"open":  {Err: &snubber.RejectedError{Err: snubber.ErrOpen}},
		missing: {Status: 404, Body: `{"error":{"code":"model_not_found"}}`},
		bad:     {Status: 400, Body: bad},
		longer:  {Status: 400, Body: `{"error":{"code":"context_length_exceeded"}}`},
	}
	onlyLonger := func(_ *http.Request, o snubber.Outcome) bool { return o.Class == snubber.TooLong }
	for _, tt := range []struct {
		routes [4]string // the result of each; "" for no route
		when   func(*http.Request, snubber.Outcome) bool
		want   int // the status
		sent   [4]int
	}{
		{[4]string{"500", denied, "ok"}, nil, 200, [4]int{1, 1, 1}},
		{[4]string{"500", denied, missing, "ok"}, nil, 200, [4]int{1, 1, 1, 1}},
		{[4]string{"500", denied, bad, "ok"}, nil, 500, [4]int{1, 1, 1, 0}},
		{[4]string{"500", bad, "ok"}, nil, 500, [4]int{1, 1, 0}},
		{[4]string{denied, "ok", "ok"}, nil, 401, [4]int{1, 0, 0}},
		{[4]string{missing, "ok", "ok"}, nil, 404, [4]int{1, 0, 0}},
		// A route decides only from the outcome before it.
		{[4]string{longer, denied, "ok"}, onlyLonger, 200, [4]int{1, 1, 1}},
		{[4]string{"500", denied, "ok"}, onlyLonger, 500, [4]int{1, 0, 0}},
		{[4]string{longer, "open", denied, "ok"}, onlyLonger, 200, [4]int{1, 1, 1, 1}},
		{[4]string{longer, denied, "500", "ok"}, onlyLonger, 400, [4]int{1, 1, 1, 0}},
	} {
		var bases [4]*wiretest.Script
		tr := &snubber.Transport{Fallback: &snubber.Fallback{}}
		for i, what := range tt.routes {
			if bases[i] = wiretest.Play(steps[what]); i == 0 {
				tr.Base = bases[i]
			} else if what != "" {
				tr.Fallback.Routes = append(tr.Fallback.Routes, snubber.Route{Transport: bases[i], If: tt.when})
			}
		}
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
		var sent [4]int
		for i := range bases {
			sent[i] = bases[i].Sent()
		}
		if res.StatusCode != tt.want || sent != tt.sent {
			t.Errorf("%v: %d after %v, want %d after %v", tt.routes, res.StatusCode, sent, tt.want, tt.sent)
		}
	}
}

// The routes of a Report under a Retry are those of the attempt whose response
// the caller gets.
func TestFallbackRoutesOfLastAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []string{"Fallback", "under a Cache", "Balancer"} {
			own, other := wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{}), wiretest.Play(wiretest.Step{Status: 500})
			fallback := &snubber.Transport{Base: own, Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: other}}}}
			var inner http.RoundTripper = fallback
			route := 0
			switch kind {
			case "under a Cache":
				fallback.Cache = &snubber.Cache{PromptTTL: time.Hour}
			case "Balancer":
				inner, route = &snubber.Balancer{Routes: []snubber.Route{{Transport: own}, {Transport: other}}}, 1
			}
			res, err := (&snubber.Transport{Base: inner, Retry: &snubber.Retry{}}).RoundTrip(wiretest.Chat(t))
			if err != nil {
				t.Fatal(err)
			}
			wiretest.ReadAll(t, res)
			if r := snubber.ReportOf(res); res.StatusCode != 200 || r.Load().Attempts != 3 || r.Load().AnsweredBy != route || len(r.Load().Routes) != 0 || len(res.Header["Snubber-Route"]) > 0 && kind != "Balancer" {
				t.Errorf("%s: %d %v, report %+v", kind, res.StatusCode, res.Header, r)
			}
		}
	})
}

// Fallback sends nothing for a caller that has left, even before anything has
// noticed that.
func TestFallbackAfterCallerLeft(t *testing.T) {
	ctx, other := &wiretest.LateContext{Context: t.Context(), Ended: make(chan struct{})}, wiretest.Play(wiretest.Step{})
	tr := &snubber.Transport{
		Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
			close(ctx.Ended)
			return wiretest.Response(503, http.NoBody), nil
		}),
		Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: other}}},
	}
	if res, err := tr.RoundTrip(wiretest.Chat(t).WithContext(ctx)); err != nil || res.StatusCode != 503 || other.Sent() != 0 {
		t.Errorf("%v, %v, %d sent to the route, want the 503 and none", res, err, other.Sent())
	}
}

// Fallback closes a failed response, even one whose body never ends.
func TestFallbackClosesFailedResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var flows []*wiretest.Body
		endless := func(status int, kind, text string) http.RoundTripper {
			return wiretest.Func(func(*http.Request) (*http.Response, error) {
				f := wiretest.NewBody(wiretest.Chunk{Text: text}, wiretest.Chunk{At: -1})
				flows = append(flows, f)
				return wiretest.Response(status, f, "Content-Type", kind), nil
			})
		}
		tr := &snubber.Transport{
			Base: endless(503, "text/plain", "x"),
			Fallback: &snubber.Fallback{Routes: []snubber.Route{
				{Transport: endless(500, "text/plain", "x")},
				{Transport: endless(200, "text/event-stream", wiretest.OverloadedEvent)},
				{Transport: wiretest.Play(wiretest.Step{Body: "{}"})},
			}},
		}
		if status, err := wiretest.Fetch(tr, wiretest.NewRequest(t, "POST", wiretest.AnthropicURL, wiretest.StreamBody)); status != 200 || err != nil {
			t.Fatal(status, err)
		}
		for i, f := range flows {
			if f.Closes() == 0 {
				t.Errorf("the answer of route %d is open", i)
			}
		}
		if len(flows) != 3 {
			t.Errorf("%d failed, want 3", len(flows))
		}
	})
}

// A call whose circuit opens while it queues gives its permit back. The route
// that takes over the call does not give it back again.
func TestFallbackReleasesPermitOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &snubber.Limiter{MaxConcurrent: 1}
		tr := &snubber.Transport{
			Base: wiretest.Play(wiretest.Step{Status: 500, Delay: time.Second}), Limiter: l, Breaker: &snubber.Breaker{Failures: 1},
			Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: wiretest.Play(wiretest.Step{Body: "{}"})}}},
		}
		a := wiretest.Launch(tr, wiretest.NewRequest(t, "GET", "http://x.test/", ""))
		synctest.Wait()
		b := wiretest.Launch(tr, wiretest.NewRequest(t, "GET", "http://x.test/", ""))
		if x, y := <-a, <-b; x.Status != 200 || y.Status != 200 {
			t.Errorf("%+v and %+v, want the route's answer", x, y)
		}
		if n := inFlight(t, l); n != 0 {
			t.Errorf("%d in flight, want 0", n)
		}
	})
}

// The caller gets a route's response even if Classify returns the zero Outcome
// for it.
func TestFallbackUnclassifiedResponse(t *testing.T) {
	alt := wiretest.Play(wiretest.Step{Body: "hello"})
	tr := &snubber.Transport{
		Base: wiretest.Play(wiretest.Step{Status: 500}), Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: alt}}},
		Classify: func(r *http.Request, res *http.Response, err error) snubber.Outcome {
			if res != nil && res.StatusCode == 200 {
				return snubber.Outcome{}
			}
			return snubber.Classify(r, res, err)
		},
	}
	res, err := tr.RoundTrip(wiretest.NewRequest(t, "GET", "http://x.test/", ""))
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%v, %v, want the route's 200", res, err)
	}
	if got := wiretest.ReadAll(t, res); got != "hello" {
		t.Errorf("read %q", got)
	}
}

// A Fallback can send the body again without a Retry.
func TestFallbackWithoutRetry(t *testing.T) {
	for _, retry := range []*snubber.Retry{nil, {MaxAttempts: 1}} {
		alt := wiretest.Play(wiretest.Step{Body: "hello"})
		tr := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Status: 500}), Retry: retry, Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: alt}}}}
		res, err := tr.RoundTrip(wiretest.WithoutGetBody(t, "PUT", wiretest.FilesURL, &wiretest.TrackedBody{R: strings.NewReader("abc")}, 3))
		if err != nil || res.StatusCode != 200 || string(alt.Attempts()[0].Body) != "abc" {
			t.Errorf("Retry %v: %v, %v, want the route's 200", retry, res, err)
		}
		wiretest.ReadAll(t, res)
	}
}
