package bench

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-9e4f5248/snubber"
)

// routed makes a call whose answer comes from a route.
func routed(tb testing.TB, rt http.RoundTripper) {
	req, err := http.NewRequest("POST", "https://api.example.com/v1/chat/completions", strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"hi"}]}`))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer k")
	res, err := rt.RoundTrip(req)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		tb.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		tb.Fatalf("status = %d, want 200", res.StatusCode)
	}
}

// answers is a base that answers at once; downHost never does.
type answers struct{}

const downHost = "api.example.com"

func (answers) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: req}
	res.Body = io.NopCloser(strings.NewReader(`{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}`))
	if req.URL.Host == downHost {
		res.StatusCode, res.Body = http.StatusPaymentRequired, io.NopCloser(strings.NewReader(`{}`))
	}
	return res, nil
}

func rerouting() http.RoundTripper {
	return &snubber.Transport{Base: answers{}, Retry: &snubber.Retry{}, Timeout: &snubber.Timeout{}, Fallback: &snubber.Fallback{Routes: []snubber.Route{
		{Transport: snubber.Reroute{URL: "https://other.example.com/v1", Header: http.Header{"Authorization": {"Bearer o"}}}},
	}}}
}

func balancing() http.RoundTripper {
	shared := snubber.New(answers{})
	return &snubber.Balancer{Routes: []snubber.Route{
		{Transport: snubber.Reroute{URL: "https://a.example.com/v1", Transport: shared}, Weight: 1},
		{Transport: snubber.Reroute{URL: "https://b.example.com/v1", Transport: shared}, Weight: 1},
	}}
}

// A route reuses its Transport's layers and timers, and a balanced request is one
// call and no Transport of its own.
func TestRouteAllocations(t *testing.T) {
	if race {
		t.Skip("the race detector allocates")
	}
	for name, c := range map[string]struct {
		rt  http.RoundTripper
		max float64
	}{
		"reroute": {rerouting(), 110},
		"balance": {balancing(), 69},
	} {
		t.Run(name, func(t *testing.T) {
			if got := testing.AllocsPerRun(200, func() { routed(t, c.rt) }); got > c.max {
				t.Errorf("%v allocations, want at most %v", got, c.max)
			}
		})
	}
}

func BenchmarkReroute(b *testing.B) { benchRoute(b, rerouting()) }
func BenchmarkBalance(b *testing.B) { benchRoute(b, balancing()) }

func benchRoute(b *testing.B, rt http.RoundTripper) {
	b.ReportAllocs()
	for b.Loop() {
		routed(b, rt)
	}
}
