//go:build !race

package main

import (
	"regexp"
	"testing"
)

// slack is how far the median of a few seeds may be from a target without
// anything being wrong.
func (t target) slack() target {
	switch {
	case t.least:
		t.limit *= 0.98
	case t.unit == "%":
		t.limit = t.limit*1.5 + 0.002
	default:
		t.limit *= 1.05
	}
	return t
}

// long says what the program alone plays: what takes its time and says little
// that another scenario does not.
var long = regexp.MustCompile("^(batch-(anthropic|ietf|hint-ms|hint-date)|share-16-.*|noise-([^1].*|1-[^p].*|1.+-.*)|odd-.*|quota-.*-5|quota-replica|callers-.*|capacity-.*|fanout-([58]|200)-.*|fanout-.*-10s-.*)$")

// missed are the targets that snubber does not reach yet, with what is held in
// their place so that it gets no worse. How clients share differs much from run
// to run. A line goes when its target is met.
var missed = map[string]float64{
	"share-4: Jain":                   0.60,
	"share-16: Jain":                  0.75,
	"share-4-charged: Jain":           0.60,
	"share-moves: Jain after a join":  0.50,
	"share-moves: Jain after a leave": 0.50,
	"quota-charged-1: used":           0.60,
	"quota-hint-1: used":              0.60,
	"quota-headers-1: used":           0.60,
}

// TestTargets is a short version of the program, with three seeds. What it
// misses here by more than chance, snubber does no longer do.
func TestTargets(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute of arithmetic")
	}
	for _, s := range scenarios {
		if len(s.targets) == 0 || long.MatchString(s.name) {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			c := options{seeds: 3, seed: 1}.table(t, s, regexp.MustCompile("^"+regexp.QuoteMeta(s.player())+"$"))
			for _, r := range c.targets() {
				g := r.slack()
				if limit, ok := missed[s.name+": "+r.name]; ok {
					if r.met(r.value) {
						t.Logf("%s: %s, the target %s is met", r.name, r.in(r.value), r.bound())
					}
					g.limit = limit
				}
				if !g.met(r.value) {
					t.Errorf("%s: %s, want %s", r.name, r.in(r.value), g.bound())
				}
			}
		})
	}
}
