//go:build !race

package main

import (
	"math"
	"strings"
	"testing"
)

// played is what one contender made of a scenario, with a few seeds.
func played(t *testing.T, name, who string, seeds int) *row {
	t.Helper()
	for _, s := range scenarios {
		for _, c := range contenders {
			if s.name == name && c.name == who {
				return play(t, s, c, options{seeds: seeds, seed: 1})
			}
		}
	}
	t.Fatalf("no scenario %q or contender %q", name, who)
	return nil
}

func atMost(t *testing.T, what string, got, limit float64) {
	t.Helper()
	if got > limit || math.IsNaN(got) {
		t.Errorf("%s = %.4g, want at most %.4g", what, got, limit)
	}
}

// TestOutages: what comes into an outage of seconds waits, of a longer one no more is
// lost than by an SDK that retries three times. The end is noticed within seconds.
func TestOutages(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of arithmetic")
	}
	const seeds = 3
	for _, name := range []string{"outage-1s", "outage-10s"} {
		atMost(t, name+": lost", played(t, name, "snubber", seeds).quantile(1, count((*run).lost)), 0)
	}
	for _, name := range []string{"outage-60s", "outage-60s-reset"} {
		r, bare := played(t, name, "snubber", seeds), played(t, name, "openai-go", seeds)
		atMost(t, name+": lost", r.median(count((*run).lost)), bare.median(count((*run).lost)))
		atMost(t, name+": lost, of those that came", r.quantile(1, func(r *run) float64 { return share(r.lost(), r.came()) }), 1)
		atMost(t, name+": requests into it", r.median(count((*run).into)), 25)
		atMost(t, name+": lag", r.median(seconds((*run).lag)), 5) // the time between two probes
		atMost(t, name+": worst lag", r.quantile(1, seconds((*run).lag)), 6)
		waiting := played(t, name, "snubber, waiting", seeds)
		atMost(t, name+": lost while waiting", waiting.quantile(1, count((*run).lost)), 0)
		atMost(t, name+": requests into it while waiting", waiting.median(count((*run).into)), 25)
		atMost(t, name+": p99", waiting.median(func(r *run) float64 { return r.took(0.99, true).Seconds() }), 70)
	}
	r := played(t, "outage-2h", "snubber", 1)
	atMost(t, "two hours: requests into it", r.median(count((*run).into)), 200)
	atMost(t, "two hours: lag", r.median(seconds((*run).lag)), 61)
}

// TestBrownouts: a service that fails a share of its requests is used as a bare SDK uses
// it, and better where that costs little.
func TestBrownouts(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of arithmetic")
	}
	lost := func(r *run) float64 { return 1 - r.answered() }
	for name, limit := range map[string]float64{"brownout-10-5": 0.001, "brownout-20-5": 0.002, "brownout-30-5": 0.005} {
		r := played(t, name, "snubber", 3)
		atMost(t, name+": lost", r.median(lost), limit)
		atMost(t, name+": requests for each call", r.median((*run).amplification), 1.45)
	}
	for _, name := range []string{"brownout-50-1", "brownout-80-1", "brownout-40-5", "brownout-60-5", "brownout-80-5", "brownout-50-50", "brownout-80-50"} {
		seeds, slack := 2, 0.01
		if strings.HasSuffix(name, "-1") {
			seeds, slack = 7, 0.03 // 330 calls vary more
		}
		r, bare := played(t, name, "snubber", seeds), played(t, name, "openai-go", seeds)
		atMost(t, name+": lost", r.median(lost), bare.median(lost)+slack)
		atMost(t, name+": requests for each call", r.median((*run).amplification), 1.1*bare.median((*run).amplification))
	}
}

// TestOverload: a server that collapses above its capacity gets what it can carry.
func TestOverload(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of arithmetic")
	}
	for _, name := range []string{"collapse-1.5", "collapse-2.5"} {
		r := played(t, name, "snubber", 1)
		atMost(t, name+": goodput missed", r.median(func(r *run) float64 {
			return 1 - r.goodput(span{clear, r.s.lasts})/r.s.capacity
		}), 0.1)
	}
}

// TestOracle holds the services to their arithmetic: who knows all loses nothing that
// could be answered in time.
func TestOracle(t *testing.T) {
	for _, name := range []string{"outage-10s", "outage-60s", "brownout-50-5", "collapse-1.2"} {
		if n := played(t, name, "oracle", 1).median(count((*run).lost)); n > 0 {
			t.Errorf("%s: the oracle lost %v calls", name, n)
		}
	}
}
