package snubber_test

import (
	"context"
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

// The Retry's limit and one attempt for each route asked bound a call, however
// the Transports are nested. Three routes with five attempts each do not make
// sixteen.
func TestFallbackBoundsAttempts(t *testing.T) {
	route := func(host string, rt http.RoundTripper) snubber.Route {
		return snubber.Route{Transport: snubber.Reroute{URL: "https://" + host + "/v1", Transport: rt}}
	}
	for _, tt := range []struct {
		name  string
		build func(base http.RoundTripper) http.RoundTripper
		want  int
		hops  int
	}{
		{"the same layers", func(base http.RoundTripper) http.RoundTripper {
			tr := snubber.New(base)
			tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{route("b", nil), route("c", nil), route("d", nil)}}
			return tr
		}, 8, 4},
		{"their own layers", func(base http.RoundTripper) http.RoundTripper {
			tr := snubber.New(base)
			tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{route("b", snubber.New(base)), route("c", snubber.New(base)), route("d", snubber.New(base))}}
			return tr
		}, 8, 4},
		{"no Retry of its own", func(base http.RoundTripper) http.RoundTripper {
			return &snubber.Transport{Base: base, Fallback: &snubber.Fallback{Routes: []snubber.Route{route("b", snubber.New(base)), route("c", snubber.New(base))}}}
		}, 1 + 5 + 1, 3},
		{"a fallback in a fallback", func(base http.RoundTripper) http.RoundTripper {
			inner := snubber.New(base)
			inner.Fallback = &snubber.Fallback{Routes: []snubber.Route{route("c", nil)}}
			tr := snubber.New(base)
			tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{route("b", inner)}}
			return tr
		}, 5 + 1 + 1, 2},
		{"under a Retry", func(base http.RoundTripper) http.RoundTripper {
			inner := snubber.New(base)
			inner.Fallback = &snubber.Fallback{Routes: []snubber.Route{route("b", nil)}}
			return &snubber.Transport{Retry: &snubber.Retry{}, Base: inner}
		}, 6, 2},
		{"a Spread as a route", func(base http.RoundTripper) http.RoundTripper {
			tr := snubber.New(base)
			tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: &snubber.Balancer{Routes: []snubber.Route{route("b", nil), route("c", nil)}}}}}
			return tr
		}, 5 + 1 + 1, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent := map[string]int{}
				total := 0
				base := wiretest.Func(func(req *http.Request) (*http.Response, error) {
					sent[req.URL.Host]++
					total++
					return wiretest.Response(500, strings.NewReader(req.URL.Host)), nil
				})
				ctx, report := snubber.WithReport(context.Background())
				res, err := tt.build(base).RoundTrip(wiretest.Chat(t).WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				if body := wiretest.ReadAll(t, res); body != "api.example.com" {
					t.Errorf("got the failure of %s, want the first one's", body)
				}
				if total != tt.want || report.Load().Attempts != tt.want {
					t.Errorf("%v: %d wire calls, report %d, want %d", sent, total, report.Load().Attempts, tt.want)
				}
				calls := 0
				for _, h := range report.Load().Routes {
					calls += h.Attempts
				}
				if len(report.Load().Routes) != tt.hops || calls != total || report.Load().AnsweredBy != 0 || report.Load().Outcome.Class != snubber.ServerError {
					t.Errorf("report %+v", report)
				}
			})
		})
	}
}

// A route with an open circuit costs no call and no time. A route with an
// exhausted quota comes after the other routes. No route begins a wait that
// exceeds the deadline.
func TestFallbackSkipsUnreadyRoutes(t *testing.T) {
	setup := func() (tr *snubber.Transport, hosts *[]string, b, c *snubber.Transport) {
		hosts = new([]string)
		base := wiretest.Func(func(req *http.Request) (*http.Response, error) {
			*hosts = append(*hosts, req.URL.Host)
			if req.URL.Host == "api.example.com" {
				return wiretest.Response(429, strings.NewReader(`{"error":{"code":"insufficient_quota"}}`)), nil
			}
			return wiretest.Response(200, strings.NewReader("{}")), nil
		})
		b, c = snubber.New(base), snubber.New(base)
		tr = &snubber.Transport{Base: base, Fallback: &snubber.Fallback{Routes: []snubber.Route{
			{Transport: snubber.Reroute{URL: "https://b.example.com/v1", Transport: b}},
			{Transport: snubber.Reroute{URL: "https://c.example.com/v1", Transport: c}},
		}}}
		return tr, hosts, b, c
	}
	spend := func(t *testing.T, tr *snubber.Transport, host string) { // uses the one request a minute
		tr.Limiter.RequestsPerMinute = 1
		if status, err := wiretest.Fetch(tr, wiretest.NewRequest(t, "POST", "https://"+host+"/v1/chat/completions", wiretest.ChatBody)); status != 200 {
			t.Fatal(status, err)
		}
	}
	for _, tt := range []struct {
		name     string
		prepare  func(t *testing.T, b, c *snubber.Transport)
		deadline time.Duration
		hosts    string // hosts that the call reaches
		took     time.Duration
		status   int
	}{
		{"ready", func(t *testing.T, b, c *snubber.Transport) {}, 0, "api b", 0, 200},
		{"open", func(t *testing.T, b, c *snubber.Transport) { b.Breaker.Trip("https://b.example.com m") }, 0, "api c", 0, 200},
		{"gated", func(t *testing.T, b, c *snubber.Transport) { spend(t, b, "b.example.com") }, 0, "api c", 0, 200},
		{"gated, the other open", func(t *testing.T, b, c *snubber.Transport) {
			spend(t, b, "b.example.com")
			c.Breaker.Trip("https://c.example.com m")
		}, 0, "api b", time.Minute, 200},
		{"both gated: the earlier one", func(t *testing.T, b, c *snubber.Transport) {
			spend(t, c, "c.example.com")
			time.Sleep(10 * time.Second)
			spend(t, b, "b.example.com")
		}, 0, "api c", 50 * time.Second, 200},
		{"not in time", func(t *testing.T, b, c *snubber.Transport) {
			spend(t, b, "b.example.com")
			spend(t, c, "c.example.com")
		}, 30 * time.Second, "api", 0, 429},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr, hosts, b, c := setup()
				tt.prepare(t, b, c)
				*hosts = nil
				ctx := t.Context()
				if tt.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.deadline)
					defer cancel()
				}
				start := time.Now()
				status, err := wiretest.Fetch(tr, wiretest.Chat(t).WithContext(ctx))
				if d := time.Since(start); status != tt.status || err != nil || d < tt.took || d > tt.took+time.Millisecond {
					t.Errorf("%d, %v after %v, want %d after %v", status, err, d, tt.status, tt.took)
				}
				if got := strings.ReplaceAll(strings.Join(*hosts, " "), ".example.com", ""); got != tt.hosts {
					t.Errorf("asked %s, want %s", got, tt.hosts)
				}
			})
		})
	}
}

// A Reroute that uses the layers around it is skipped in the same way. Its
// queue is the one of its own origin.
func TestFallbackSkipsUnreadyReroutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := ""
		tr := snubber.New(wiretest.Func(func(req *http.Request) (*http.Response, error) {
			hosts += req.URL.Host[:1]
			if req.URL.Host == "api.example.com" {
				return wiretest.Response(429, strings.NewReader(`{"error":{"code":"insufficient_quota"}}`)), nil
			}
			return wiretest.Response(200, strings.NewReader("{}")), nil
		}))
		tr.Limiter.RequestsPerMinute = 1
		tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.Reroute{URL: "https://b.example.com/v1"}}, {Transport: snubber.Reroute{URL: "https://c.example.com/v1"}}}}
		start := time.Now()
		for range 2 {
			if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 || err != nil {
				t.Fatal(status, err)
			}
		}
		if hosts != "abc" || time.Since(start) != 0 {
			t.Errorf("asked %s in %v, want abc at once", hosts, time.Since(start))
		}
	})
}

// The caller gets the first failure, whole, if its deadline passes on a route;
// the report lists the routes. A caller that cancels gets no response.
func TestFallbackOutOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Status: 503, Body: "first", Header: wiretest.Header("Retry-After", "7")}), Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: wiretest.RawFunc(wiretest.Hang)}, {Transport: wiretest.Play()}}}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		res, err := rt.RoundTrip(wiretest.Chat(t).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); string(body) != "first" || err != nil || res.Header.Get("Retry-After") != "7" {
			t.Errorf("%q, %v, %v", body, err, res.Header)
		}
		if r := snubber.ReportOf(res); r.Load().AnsweredBy != 0 || r.Load().Outcome.Class != snubber.Overloaded || len(r.Load().Routes) != 2 || r.Load().Routes[1].Outcome.Class != snubber.Canceled {
			t.Errorf("report %+v", r)
		}
		if h := res.Header.Get("Snubber-Route"); h != "0;class=overloaded;calls=1;reason=http_503;answered, 1;class=canceled;calls=1;reason=deadline" {
			t.Errorf("Snubber-Route: %s", h)
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := rt.RoundTrip(wiretest.Chat(t).WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v", err)
		}
	})
}

// The response for the SDK lists all routes if no route had a response.
func TestFallbackRefusedByAll(t *testing.T) {
	tr := snubber.New(wiretest.Play())
	tr.Breaker.Trip("https://api.example.com m")
	tr.Breaker.Trip("https://b.example.com m")
	tr.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: snubber.Reroute{URL: "https://b.example.com/v1"}}}}
	res, err := tr.RoundTrip(wiretest.Chat(t, wiretest.StainlessHeader, "go"))
	if err != nil {
		t.Fatal(err)
	}
	if body := wiretest.ReadAll(t, res); res.StatusCode != 503 || !strings.Contains(body, "api.example.com") {
		t.Errorf("%d %s, want the first refusal", res.StatusCode, body)
	}
	const want = "0;class=rejected;calls=0;reason=snubber_circuit_open;answered, 1;class=rejected;calls=0;reason=snubber_circuit_open"
	if h := res.Header.Get("Snubber-Route"); h != want {
		t.Errorf("Snubber-Route: %s", h)
	}
	if _, err := tr.RoundTrip(wiretest.Chat(t)); !errors.Is(err, snubber.ErrOpen) {
		t.Errorf("others get %v", err)
	}
}

// TooLong goes on to the route with the larger window, and Filtered does not.
// The caller does not get the error of a route that rejects the request.
func TestFallbackByClass(t *testing.T) {
	for _, tt := range []struct {
		name   string
		first  wiretest.Step
		second wiretest.Step
		status int
		sent   int // requests to the second route
	}{
		{"too long", wiretest.Step{Status: 400, Body: `{"error":{"code":"context_length_exceeded"}}`}, wiretest.Step{}, 200, 1},
		{"filtered", wiretest.Step{Status: 400, Body: `{"error":{"code":"content_filter"}}`}, wiretest.Step{}, 400, 0},
		{"invalid", wiretest.Step{Status: 404}, wiretest.Step{}, 404, 0},
		{"the route's key is wrong", wiretest.Step{Status: 503, Header: wiretest.Header("Retry-After", "7")}, wiretest.Step{Status: 401}, 503, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			second := wiretest.Play(tt.second)
			rt := &snubber.Transport{Base: wiretest.Play(tt.first), Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: second}}}}
			if status, err := wiretest.Fetch(rt, wiretest.Chat(t)); status != tt.status || err != nil || second.Sent() != tt.sent {
				t.Errorf("%d, %v, %d sent, want %d and %d", status, err, second.Sent(), tt.status, tt.sent)
			}
		})
	}
}
