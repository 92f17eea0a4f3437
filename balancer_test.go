package snubber_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// A Balancer chooses routes by order, weight, readiness and earliest time.
func TestBalancer(t *testing.T) {
	soon, later := time.Now().Add(time.Minute), time.Now().Add(time.Hour)
	open := func(after time.Duration) error {
		return &snubber.RejectedError{Err: snubber.ErrOpen, RetryAfter: after}
	}
	type r struct {
		at     time.Time
		err    error
		weight int
	}
	for _, tt := range []struct {
		name   string
		routes []r
		calls  []int // calls of each route, twelve in all
		after  time.Duration
	}{
		{"in order", []r{{}, {}}, []int{12, 0}, 0},
		{"the first is gated", []r{{at: soon}, {}}, []int{0, 12}, 0},
		{"the first is open", []r{{err: open(1)}, {}}, []int{0, 12}, 0},
		{"by weight", []r{{weight: 1}, {weight: 2}, {weight: 3}}, []int{2, 4, 6}, 0},
		{"one of them gated", []r{{weight: 1}, {weight: 2, at: soon}, {weight: 3}}, []int{3, 0, 9}, 0},
		{"without a weight: the rest", []r{{}, {weight: 1}}, []int{0, 12}, 0},
		{"which is nothing but gates", []r{{}, {weight: 1, at: soon}}, []int{12, 0}, 0},
		{"none ready: the earliest", []r{{at: later, weight: 1}, {at: soon, weight: 1}, {err: open(1), weight: 1}}, []int{0, 12, 0}, 0},
		{"all refuse: the earliest", []r{{err: open(0)}, {err: open(2 * time.Second)}, {err: open(time.Second)}}, []int{12, 12, 12}, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &snubber.Balancer{}
			var tellers []*wiretest.CountedBase
			for _, x := range tt.routes {
				y := &wiretest.CountedBase{ReadyBase: wiretest.ReadyBase{At: x.at, Err: x.err}}
				tellers = append(tellers, y)
				s.Routes = append(s.Routes, snubber.Route{Transport: y, Weight: x.weight})
			}
			for range 12 {
				status, err := wiretest.Fetch(s, wiretest.Chat(t))
				var refusal *snubber.RejectedError
				switch {
				case tt.after == 0 && (status != 200 || err != nil):
					t.Fatal(status, err)
				case tt.after > 0 && (!errors.As(err, &refusal) || refusal.RetryAfter != tt.after):
					t.Fatal(status, err)
				}
			}
			for i, y := range tellers {
				if y.Calls != tt.calls[i] {
					t.Errorf("route %d got %d calls, want %v", i+1, y.Calls, tt.calls)
				}
			}
		})
	}
}

// The routes after the chosen route keep their order.
func TestBalancerKeepsOrder(t *testing.T) {
	var order []int
	s := &snubber.Balancer{}
	for i := range 3 {
		s.Routes = append(s.Routes, snubber.Route{Transport: wiretest.Func(func(*http.Request) (*http.Response, error) {
			order = append(order, i)
			return wiretest.Response(500, http.NoBody), nil
		})})
	}
	s.Routes[2].Weight = 1
	wiretest.Fetch(s, wiretest.Chat(t))
	if want := []int{2, 0, 1}; !slices.Equal(order, want) {
		t.Errorf("asked %v, want %v", order, want)
	}
}

// A Balancer predicts when it is ready. It passes on a body that cannot be read
// twice.
func TestBalancerReadyAt(t *testing.T) {
	for _, s := range []*snubber.Balancer{{}, {Routes: []snubber.Route{{Transport: wiretest.Play(wiretest.Step{})}}}} {
		if _, err := s.ReadyAt(&http.Request{}); err == nil {
			t.Error("a request without a URL is ready")
		}
	}
	soon, later := time.Now().Add(time.Minute), time.Now().Add(time.Hour)
	s := &snubber.Balancer{Routes: []snubber.Route{{Transport: &wiretest.ReadyBase{At: later}}, {Transport: &wiretest.ReadyBase{At: soon}}}}
	if at, err := s.ReadyAt(wiretest.UntouchedChat(t)); !at.Equal(soon) || err != nil {
		t.Errorf("Ready = %v, %v", at, err)
	}
	s = &snubber.Balancer{Routes: []snubber.Route{{Transport: &wiretest.ReadyBase{Err: snubber.ErrOpen}}, {Transport: &wiretest.ReadyBase{Err: &snubber.RejectedError{Err: snubber.ErrQuota, RetryAfter: 1}}}}}
	if _, err := s.ReadyAt(wiretest.UntouchedChat(t)); !errors.Is(err, snubber.ErrQuota) {
		t.Errorf("Ready = %v, want the refusal that ends first", err)
	}
	refuses, takes := &wiretest.CountedBase{}, &wiretest.RequestLog{}
	refuses.RoundTripper = wiretest.Func(func(*http.Request) (*http.Response, error) {
		return nil, &snubber.RejectedError{Err: snubber.ErrLimited}
	})
	s = &snubber.Balancer{Routes: []snubber.Route{{Transport: refuses}, {Transport: takes}}}
	req := wiretest.Chat(t)
	req.GetBody, req.ContentLength = nil, -1
	res, err := s.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	wiretest.ReadAll(t, res)
	if takes.Bodies[0] != wiretest.ChatBody {
		t.Errorf("the second route got %q", takes.Bodies[0])
	}
	if r := snubber.ReportOf(res); r.Load().AnsweredBy != 2 || r.Load().Attempts != 1 || len(r.Load().Routes) != 2 || r.Load().Routes[0].Route != 1 || r.Load().Routes[0].Attempts != 0 {
		t.Errorf("report %+v", r)
	}
	ctx, report := snubber.WithReport(context.Background())
	if status, err := wiretest.Fetch(&snubber.Transport{Retry: &snubber.Retry{}, Base: s}, wiretest.Chat(t).WithContext(ctx)); status != 200 || err != nil || report.Load().Attempts != 1 || report.Load().AnsweredBy != 2 {
		t.Errorf("inside of another Transport: %d, %v, report %+v", status, err, report)
	}
	long := wiretest.Play(wiretest.Step{Status: 400, Body: `{"error":{"code":"context_length_exceeded"}}`})
	if status, _ := wiretest.Fetch(&snubber.Balancer{Routes: []snubber.Route{{Transport: long}, {Transport: long}}}, wiretest.Chat(t)); status != 400 || long.Sent() != 1 {
		t.Errorf("too long for a model: %d after %d, want 400 after one", status, long.Sent())
	}
	empty := &wiretest.CountedBody{Reader: strings.NewReader("x")}
	req = wiretest.Chat(t)
	req.Body = empty
	if _, err := new(snubber.Balancer).RoundTrip(req); !errors.Is(err, snubber.ErrNoRoute) || empty.Closed == 0 {
		t.Errorf("no routes: %v", err)
	}
}

// An SDK that retries errors gets a response when all routes refuse. The
// Transports of the routes do not make a response of their own.
func TestBalancerRefusesAsResponseForSDK(t *testing.T) {
	stack := snubber.New(wiretest.Play())
	stack.Breaker.Trip("https://a.example.com m")
	stack.Breaker.Trip("https://b.example.com m")
	s := &snubber.Balancer{Routes: []snubber.Route{
		{Transport: snubber.Reroute{URL: "https://a.example.com/v1", Transport: stack}},
		{Transport: snubber.Reroute{URL: "https://b.example.com/v1", Transport: stack}},
	}}
	res, err := s.RoundTrip(wiretest.Chat(t, wiretest.StainlessHeader, "go"))
	if err != nil {
		t.Fatal(err)
	}
	if body := wiretest.ReadAll(t, res); res.StatusCode != 503 || !strings.Contains(body, "a.example.com") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if _, err := s.RoundTrip(wiretest.Chat(t)); !errors.Is(err, snubber.ErrOpen) {
		t.Errorf("others get %v", err)
	}
}

// keys returns a Balancer over n keys of one model, which share a Transport.
func keys(rt http.RoundTripper, n int) *snubber.Balancer {
	s := &snubber.Balancer{}
	for i := range n {
		s.Routes = append(s.Routes, snubber.Route{Weight: 1, Transport: snubber.Reroute{Header: wiretest.Header("Authorization", fmt.Sprintf("Bearer %d", i)), Transport: rt}})
	}
	return s
}

// A Balancer does not wait for the limit of one key while another key is free.
func TestBalancerTakesKeyWithQuota(t *testing.T) {
	for _, failure := range []wiretest.Step{
		{Status: 429, Header: wiretest.Header("Retry-After", "20")},
		{Status: 429, Body: `{"error":{"code":"insufficient_quota"}}`},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			base := wiretest.Play(failure, wiretest.Step{})
			s := keys(snubber.New(base), 2)
			for range 4 {
				if status, err := wiretest.Fetch(s, wiretest.Chat(t)); status != 200 || err != nil {
					t.Fatal(status, err)
				}
			}
			if d := time.Since(start); d != 0 || base.Sent() != 5 {
				t.Errorf("%v and %d wire calls, want no time and 5", d, base.Sent())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // a route that was already tried is not free, even if it looks ready
		base := wiretest.Play(wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "20")}, wiretest.Step{})
		s := &snubber.Balancer{Routes: []snubber.Route{{Transport: wiretest.Play(wiretest.Step{Status: 429})}, {Transport: wiretest.Play(wiretest.Step{Status: 429})}, {Transport: snubber.New(base)}}}
		if status, err := wiretest.Fetch(s, wiretest.Chat(t)); status != 200 || err != nil || base.Sent() != 2 {
			t.Errorf("%d, %v after %d", status, err, base.Sent())
		}
	})
	synctest.Test(t, func(t *testing.T) { // a route without ReadyAt counts as ready
		start := time.Now()
		base, other := wiretest.Play(wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "20")}), wiretest.Play(wiretest.Step{})
		s := &snubber.Balancer{Routes: []snubber.Route{{Transport: snubber.New(base)}, {Transport: other}}}
		if status, err := wiretest.Fetch(s, wiretest.Chat(t)); status != 200 || err != nil || base.Sent() != 1 || time.Since(start) != 0 {
			t.Errorf("%d, %v after %d and %v", status, err, base.Sent(), time.Since(start))
		}
	})
	synctest.Test(t, func(t *testing.T) { // the call waits for the last route
		start := time.Now()
		base := wiretest.Play(wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "20")}, wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "30")}, wiretest.Step{})
		ctx, report := snubber.WithReport(context.Background())
		status, err := wiretest.Fetch(keys(snubber.New(base), 2), wiretest.Chat(t).WithContext(ctx))
		if d := time.Since(start); status != 200 || err != nil || d < 30*time.Second || d > 32*time.Second || report.Load().Attempts != 3 || report.Load().AnsweredBy != 2 {
			t.Errorf("%d, %v after %v; %+v", status, err, d, report)
		}
	})
}

// Two keys with 300 requests a minute each serve 600 requests a minute.
func TestBalancerAddsQuotas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		providers := map[string]*snubbertest.Provider{}
		for i := range 2 {
			providers[fmt.Sprint("Bearer ", i)] = &snubbertest.Provider{RequestsPerMinute: 300, Latency: time.Second}
		}
		s := keys(&snubber.Transport{
			Base: wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
				return providers[req.Header.Get("Authorization")].RoundTrip(req)
			}),
			Retry: &snubber.Retry{}, Limiter: &snubber.Limiter{RequestsPerMinute: 300},
		}, 2)
		const minutes = 3
		ctx, cancel := context.WithTimeout(t.Context(), minutes*time.Minute)
		defer cancel()
		var mu sync.Mutex
		var wg sync.WaitGroup
		ok := 0
		for range 40 {
			wg.Go(func() {
				for ctx.Err() == nil {
					if status, err := wiretest.Fetch(s, wiretest.Chat(t).WithContext(ctx)); status == 200 && err == nil {
						mu.Lock()
						ok++
						mu.Unlock()
					} else if ctx.Err() == nil {
						time.Sleep(time.Second)
					}
				}
			})
		}
		wg.Wait()
		shares := map[string]int{}
		rejected := 0
		for k, p := range providers {
			shares[k] = p.Stats().OK
			rejected += p.Stats().Rejected
		}
		t.Logf("%d of %d, %v, %d rejected", ok, minutes*600, shares, rejected)
		if ok < minutes*600*95/100 {
			t.Errorf("%d answers, want 95 %% of %d", ok, minutes*600)
		}
	})
}

// No call is lost while the primary fails for a minute. The primary gets few
// requests beyond the ones in flight when the outage begins.
func TestFallbackOutageLosesNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []snubbertest.Kind{snubbertest.Outage, snubbertest.ServerError} {
			first, second := &snubbertest.Provider{Latency: time.Second}, &snubbertest.Provider{Latency: time.Second}
			tr := snubber.New(wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
				if req.URL.Host == "b.example.com" {
					return second.RoundTrip(req)
				}
				return first.RoundTrip(req)
			}))
			tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.Reroute{URL: "https://b.example.com/v1", Model: "other"}}}}
			var dead, back int
			var wg sync.WaitGroup
			for i := range 600 * 5 { // five calls a second
				if i == 60*5 {
					dead = first.Stats().Wire
					heal := first.Inject(snubbertest.Fault{Kind: kind})
					time.AfterFunc(time.Minute, func() { back = first.Stats().Wire; heal() })
				}
				wg.Go(func() {
					if status, err := wiretest.Fetch(tr, wiretest.Chat(t, "Authorization", "Bearer first")); status != 200 || err != nil {
						t.Errorf("%v: call %d: %d, %v", kind, i, status, err)
					}
				})
				time.Sleep(time.Second / 5)
			}
			wg.Wait()
			wasted := back - dead
			t.Logf("%v: %d wire calls to the dead one, %d to the other", kind, wasted, second.Stats().Wire)
			if wasted > 40 { // a row that lasts a second, what was on its way, and a probe every 5 s
				t.Errorf("%v: %d wire calls to the dead one", kind, wasted)
			}
			for _, c := range second.Calls() {
				if c.Header.Get("Authorization") != "" || c.Model != "other" {
					t.Fatalf("the other got %v for %s", c.Header, c.Model)
				}
			}
		}
	})
}

// ReadyAt of a Transport with an open circuit is ReadyAt of the route that then
// answers.
func TestReadyAtOfFallback(t *testing.T) {
	tr := snubber.New(wiretest.Play())
	tr.Breaker.Trip("https://api.example.com m")
	soon := time.Now().Add(time.Second)
	later := &wiretest.ReadyBase{At: soon.Add(time.Second)}
	tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: &wiretest.ReadyBase{Err: snubber.ErrOpen}}, {Transport: later}, {Transport: &wiretest.ReadyBase{At: soon}}, {Transport: later}}}
	if at, err := tr.ReadyAt(wiretest.UntouchedChat(t)); err != nil || !reflect.DeepEqual(at, soon) {
		t.Errorf("Ready = %v, %v", at, err)
	}
}

// A Reroute that uses the layers around it is ready when those layers are ready
// for the origin of the Reroute.
func TestReadyAtOfReroute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := snubber.New(wiretest.Play(wiretest.Step{}))
		tr.Limiter.RequestsPerMinute = 1
		tr.Breaker.Trip("https://api.example.com m")
		tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.Reroute{URL: "https://b.example.com/v1", Model: "n"}}}}
		for range 2 {
			at, err := tr.ReadyAt(wiretest.UntouchedChat(t))
			if err != nil {
				t.Fatal(err)
			}
			want, start := max(0, time.Until(at)), time.Now()
			status, err := wiretest.Fetch(tr, wiretest.Chat(t))
			if took := time.Since(start); status != 200 || took != want {
				t.Errorf("%d, %v after %v, want after %v", status, err, took, want)
			}
		}
	})
}

// Two keys make one larger quota.
func ExampleBalancer() {
	base := wiretest.Play(wiretest.Step{})
	stack := snubber.New(base)
	key := func(k string) http.RoundTripper {
		return snubber.Reroute{Header: http.Header{"Authorization": {"Bearer " + k}}, Transport: stack}
	}
	keys := &snubber.Balancer{Routes: []snubber.Route{{Transport: key("one"), Weight: 2}, {Transport: key("two"), Weight: 1}}}

	for range 6 {
		ask(context.Background(), keys)
	}
	for _, t := range base.Attempts() {
		fmt.Print(t.Header.Get("Authorization"), "; ")
	}
	// Output:
	// Bearer one; Bearer two; Bearer one; Bearer one; Bearer two; Bearer one;
}

// A revoked key among several fails no call, and hides no failure of the other
// keys.
func TestBalancerRevokedKey(t *testing.T) {
	for _, tt := range []struct {
		revoked wiretest.Step
		others  wiretest.Step
		status  int
		calls   [3]int // calls of each key, for three requests
	}{
		{wiretest.Step{Status: 401}, wiretest.Step{}, 200, [3]int{1, 2, 1}},
		{wiretest.Step{Status: 403, Body: `{"error":{"type":"permission_error"}}`}, wiretest.Step{}, 200, [3]int{1, 2, 1}},
		{wiretest.Step{Status: 401}, wiretest.Step{Status: 400, Body: "bad"}, 400, [3]int{1, 2, 1}},
		{wiretest.Step{Status: 400}, wiretest.Step{}, 0, [3]int{1, 1, 1}},
		{wiretest.Step{Status: 401}, wiretest.Step{Status: 401}, 401, [3]int{3, 3, 3}},
	} {
		var calls [3]int
		scripts := [3]*wiretest.Script{wiretest.Play(tt.revoked), wiretest.Play(tt.others), wiretest.Play(tt.others)}
		s := keys(wiretest.RawFunc(func(req *http.Request) (*http.Response, error) {
			key := int(req.Header.Get("Authorization")[len("Bearer ")] - '0')
			calls[key]++
			return scripts[key].RoundTrip(req)
		}), 3)
		for i := range 3 {
			ctx, report := snubber.WithReport(context.Background())
			res, err := s.RoundTrip(wiretest.Chat(t).WithContext(ctx))
			if err != nil {
				t.Fatal(err)
			}
			wiretest.ReadAll(t, res)
			if tt.status > 0 && res.StatusCode != tt.status {
				t.Errorf("%+v: call %d: %d %+v", tt, i, res.StatusCode, report)
			}
			if i == 0 && tt.status == 400 && (report.Load().AnsweredBy != 2 || len(report.Load().Routes) != 2 || report.Load().Outcome.Class != snubber.Invalid) {
				t.Errorf("report %+v", report)
			}
		}
		if calls != tt.calls {
			t.Errorf("%+v: the keys had %v calls", tt, calls)
		}
	}
}

// The routes of a Balancer are equivalent, so the cache stores a response from
// any of them.
func TestBalancerIsCached(t *testing.T) {
	base := wiretest.Play(wiretest.Step{Header: wiretest.Header("Content-Type", "application/json"), Body: "{}"})
	tr := &snubber.Transport{Cache: &snubber.Cache{PromptTTL: time.Hour}, Base: &snubber.Balancer{Routes: []snubber.Route{
		{Transport: wiretest.Play(wiretest.Step{Status: 429})}, {Transport: base},
	}}}
	for range 2 {
		if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 || err != nil {
			t.Fatal(status, err)
		}
	}
	if n := base.Sent(); n != 1 {
		t.Errorf("%d wire calls, want 1", n)
	}
}
