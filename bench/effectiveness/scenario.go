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
}

// callsPerSecond is the quota in calls, for those who count nothing else.
func (s *scenario) callsPerSecond() float64 {
	r := s.told.requests.perSecond
	if t := s.told.tokens.perSecond; t > 0 {
		const n = 10_000
		cost := 0.0
		for i := range n {
			cost += s.load.work(i, rand.New(rand.NewPCG(0, uint64(i)))).cost() / n
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

// target is a number that snubber, unconfigured, has to reach in the median
// over the seeds.
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

// batch is 3000 calls of 200 workers over 600 a minute, ten at once.
func batch(name, title string, p provider, targets ...target) *scenario {
	p.requests = perMinute(600)
	return &scenario{
		name: name, title: title, provider: p, told: p, horizon: 20 * time.Minute,
		load:    load{streams: []stream{{workers: 200, calls: 3000}}, work: chat},
		targets: append([]target{atLeast(1, "success", func(r, _ *run) float64 { return r.success() })}, targets...),
	}
}

var scenarios = []*scenario{
	batch("batch-headers", "a batch, quota headers sent", provider{says: openAI, hint: wholeSeconds},
		makespan(1.05), waste(0.005), p99(1.15)),
	batch("batch-plain", "a batch, no headers at all", provider{says: silent, hint: noHint},
		makespan(1.10), waste(0.03), p99(1.15)),
	batch("batch-hint", "a batch, Retry-After only", provider{says: silent, hint: wholeSeconds},
		makespan(1.10), waste(0.03), p99(1.15)),
	batch("batch-charged-headers", "rejected calls cost quota, quota headers sent", provider{says: openAI, hint: wholeSeconds, charged: 1},
		makespan(1.05), waste(0.005), p99(1.15)),
	batch("batch-charged-hint", "rejected calls cost quota, Retry-After only", provider{says: silent, hint: wholeSeconds, charged: 1},
		makespan(1.10), waste(0.03), p99(1.15)),
	batch("batch-charged-plain", "rejected calls cost quota, no headers at all", provider{says: silent, hint: noHint, charged: 1},
		makespan(1.15)),
}
