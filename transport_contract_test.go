package snubber_test

import (
	"net/http"
	"testing"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/rttest"
)

// Each layer alone, all layers and a nest of Transports keep the contract of
// RoundTripper.
func TestTransportContract(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		wrap func(base http.RoundTripper) http.RoundTripper
	}{
		{"zero", func(base http.RoundTripper) http.RoundTripper { return &snubber.Transport{Base: base} }},
		{"Retry", func(base http.RoundTripper) http.RoundTripper {
			return &snubber.Transport{Base: base, Retry: &snubber.Retry{}}
		}},
		{"Breaker", func(base http.RoundTripper) http.RoundTripper {
			return &snubber.Transport{Base: base, Breaker: &snubber.Breaker{}}
		}},
		{"Limiter", func(base http.RoundTripper) http.RoundTripper {
			return &snubber.Transport{Base: base, Limiter: &snubber.Limiter{RequestsPerMinute: 6000, TokensPerMinute: 1e6, Burst: 100, MaxConcurrent: 50}}
		}},
		{"Timeout", func(base http.RoundTripper) http.RoundTripper {
			return &snubber.Transport{Base: base, Timeout: &snubber.Timeout{}}
		}},
		{"Fallback", func(base http.RoundTripper) http.RoundTripper {
			never := func(*http.Request, snubber.Outcome) bool { return false } // otherwise the response would be the first route's
			return &snubber.Transport{Base: base, Fallback: &snubber.Fallback{Routes: []snubber.Route{{Transport: base, If: never}}}}
		}},
		{"Cache", func(base http.RoundTripper) http.RoundTripper {
			return &snubber.Transport{Base: base, Cache: &snubber.Cache{}}
		}},
		{"Reroute", func(base http.RoundTripper) http.RoundTripper {
			return snubber.Reroute{Header: http.Header{"X-Route": {"1"}}, Transport: base}
		}},
		{"Balancer", func(base http.RoundTripper) http.RoundTripper {
			return &snubber.Balancer{Routes: []snubber.Route{{Transport: base}}}
		}},
		{"New", func(base http.RoundTripper) http.RoundTripper { return snubber.New(base) }},
		{"nest", func(base http.RoundTripper) http.RoundTripper { return snubber.New(snubber.New(base)) }},
	} {
		t.Run(tt.name, func(t *testing.T) { rttest.Run(t, tt.wrap) })
	}
}
