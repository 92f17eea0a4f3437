package main

import (
	"math/rand/v2"
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
}

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

func atMost(limit float64, name string, f func(r, oracle *run) float64) target {
	return target{name, f, limit, false}
}

func atLeast(limit float64, name string, f func(r, oracle *run) float64) target {
	return target{name, f, limit, true}
}

func makespan(limit float64) target {
	return atMost(limit, "makespan", func(r, _ *run) float64 { return r.ratio() })
}
func waste(limit float64) target {
	return atMost(limit, "waste", func(r, _ *run) float64 { return r.waste() })
}
func p99(limit float64) target {
	return atMost(limit, "p99 wait", func(r, o *run) float64 { return r.wait(0.99) / o.wait(0.99) })
}

var allOK = atLeast(1, "success", success)

// unstarved is that nobody waits much longer than whoever waits longest where
// all go strictly in turn.
var unstarved = atMost(1.5, "longest wait", func(r, o *run) float64 { return r.wait(1) / o.wait(1) })
