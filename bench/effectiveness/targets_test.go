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
		t.limit = t.limit*1.3 + 0.002
	default:
		t.limit *= 1.05
	}
	return t
}

// long says what the program alone plays: what takes its time and says little
// that another scenario does not.
var long = regexp.MustCompile("^(batch-(anthropic|ietf|hint-ms|hint-date)|share-16-.*)$")

// TestTargets is a short version of the program, with three seeds. What it
// misses here by more than chance, snubber does no longer do.
func TestTargets(t *testing.T) {
	if testing.Short() {
		t.Skip("ten seconds of arithmetic")
	}
	for _, s := range scenarios {
		if len(s.targets) == 0 || long.MatchString(s.name) {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			c := options{seeds: 3, seed: 1}.table(t, s, regexp.MustCompile("^"+regexp.QuoteMeta(s.player())+"$"))
			for _, r := range c.targets() {
				if g := r.slack(); !g.met(r.value) {
					t.Errorf("%s: %s, want %s", r.name, r.in(r.value), g.bound())
				}
			}
		})
	}
}
