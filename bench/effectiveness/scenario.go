package main

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// scenario is a provider, what is wanted of it, and what snubber promises to
// make of the two.
type scenario struct {
	name     string
	title    string
	provider provider
	told     provider // the quota that contenders which know it were told; the zero one is the provider's
	load     load
	horizon  time.Duration // when all is over, done or not
	targets  []target
	subject  string    // whom the targets are for; "": snubber, of which nothing is configured
	alone    *scenario // to compare with, played by the same contender
	rival    string    // the contender whose run the targets are compared with
	variant  bool      // peers do not play it
}

// player is whom the targets are for.
func (s *scenario) player() string { return cmp.Or(s.subject, "snubber") }

// callsPerSecond is the quota in calls, for those who count nothing else.
func (s *scenario) callsPerSecond() float64 {
	r := s.told.requests.perSecond
	if t := s.told.tokens.perSecond; t > 0 {
		const n = 10_000
		cost := 0.0
		for i := range n {
			cost += s.provider.used(s.load.work(i, rand.New(rand.NewPCG(0, uint64(i))))) / n
		}
		if r == 0 || t/cost < r {
			r = t / cost
		}
	}
	if r == 0 {
		return 1e6
	}
	return r
}

// target is a number that snubber has to reach in the median over the seeds.
type target struct {
	name  string
	unit  string // "×", "%" of 1, or what is counted
	value func(r, oracle *run) float64
	limit float64
	least bool // the limit is a minimum
}

func (t target) met(v float64) bool {
	if t.least {
		return v >= t.limit
	}
	return v <= t.limit
}

// in is a value of the target with its unit.
func (t target) in(v float64) string {
	switch t.unit {
	case "×":
		return fmt.Sprintf("%.3f×", v)
	case "%":
		return fmt.Sprintf("%.2f %%", 100*v)
	}
	return strings.TrimSpace(fmt.Sprintf("%.4g %s", v, t.unit))
}

func (t target) bound() string {
	sign, s := "≤", fmt.Sprintf("%g", t.limit)
	if t.least {
		sign = "≥"
	}
	switch t.unit {
	case "×":
		s += "×"
	case "%":
		s = fmt.Sprintf("%g %%", math.Round(1e4*t.limit)/100)
	default:
		s = strings.TrimSpace(s + " " + t.unit)
	}
	return sign + " " + s
}

func atMost(limit float64, unit, name string, f func(r, oracle *run) float64) target {
	return target{name, unit, f, limit, false}
}

func atLeast(limit float64, unit, name string, f func(r, oracle *run) float64) target {
	return target{name, unit, f, limit, true}
}

func makespan(limit float64) target { return atMost(limit, "×", "time, of the optimum", ratio) }

func waste(limit float64) target { return atMost(limit, "%", "wasted calls", wasted) }

func p99(limit float64) target { return atMost(limit, "×", "p99 wait, of FIFO's", longer) }

func used(name string, least float64, from, to time.Duration) target {
	return atLeast(least, "%", name, func(r, _ *run) float64 { return r.used(from, to) })
}

var allOK = atLeast(1, "%", "answered", success)

// unstarved is that nobody waits much longer than whoever waits longest where
// all go strictly in turn.
var unstarved = atMost(1.5, "×", "longest wait, of FIFO's", func(r, o *run) float64 { return r.wait(1) / o.wait(1) })

func success(r, _ *run) float64 { return r.success() }
func ratio(r, _ *run) float64   { return r.ratio() }
func wasted(r, _ *run) float64  { return r.waste() }
func longer(r, o *run) float64  { return r.wait(0.99) / o.wait(0.99) }

func waits(q float64) func(r, _ *run) float64 {
	return func(r, _ *run) float64 { return r.wait(q) }
}
