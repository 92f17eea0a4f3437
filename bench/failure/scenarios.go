package main

import (
	"fmt"
	"slices"
	"time"
)

var scenarios = slices.Concat(outages, brownouts, overloads)

// clear is how long all is well before a failure.
const clear = 30 * time.Second

func down(name string, long, lasts time.Duration, o outage) *scenario {
	s := &scenario{
		name: name, title: fmt.Sprintf("an outage of %v", long), rate: 5, lasts: lasts, recovers: clear + long,
		service: func(_ int, recovers time.Duration) service {
			o := o
			o.downs = []span{{clear, recovers}}
			return &o
		},
	}
	if long > 10*time.Second {
		s.varies = 3 * time.Second
	}
	return s
}

var outages = []*scenario{
	down("outage-1s", time.Second, 2*time.Minute, outage{status: 503}),
	down("outage-10s", 10*time.Second, 2*time.Minute, outage{status: 503}),
	down("outage-60s", time.Minute, 10*time.Minute, outage{status: 503}),
	down("outage-10min", 10*time.Minute, 20*time.Minute, outage{status: 503}),
	rarely(down("outage-2h", 2*time.Hour, 2*time.Hour+10*time.Minute, outage{status: 503})),
	down("outage-60s-reset", time.Minute, 3*time.Minute, outage{}),
	down("outage-60s-hint", time.Minute, 3*time.Minute, outage{status: 503, hint: 10 * time.Second}),
	patient(20*time.Second, down("black-hole-2min", 2*time.Minute, 5*time.Minute, outage{hangs: true, status: 200})),
	flapping(),
}

// rarely has one call a second.
func rarely(s *scenario) *scenario {
	s.rate = 1
	return s
}

// patient has callers with a deadline of their own.
func patient(deadline time.Duration, s *scenario) *scenario {
	s.deadline = [2]time.Duration{deadline, deadline}
	return s
}

// flapping is five seconds down and ten up, for two minutes.
func flapping() *scenario {
	var downs []span
	for at := clear; at < clear+2*time.Minute; at += 15 * time.Second {
		downs = append(downs, span{at, at + 5*time.Second})
	}
	return &scenario{
		name: "flapping", title: "down for five seconds in every fifteen", rate: 5, lasts: 3 * time.Minute, recovers: downs[len(downs)-1].to,
		service: func(int, time.Duration) service { return &outage{downs: downs, status: 503} },
	}
}

var brownouts = func() (ss []*scenario) {
	for _, rate := range []float64{1, 5, 50} {
		long := 5 * time.Minute
		if rate > 10 {
			long = time.Minute // it is calls that count
		}
		for _, share := range []int{10, 20, 30, 40, 50, 60, 70, 80} {
			b := brownout{span: span{clear, clear + long}, share: float64(share) / 100, status: 503}
			ss = append(ss, &scenario{
				name: fmt.Sprintf("brownout-%d-%g", share, rate), title: fmt.Sprintf("%d %% of all calls fail, %g calls a second", share, rate),
				rate: rate, lasts: clear + long, recovers: clear + long, service: func(int, time.Duration) service { return &b },
			})
		}
	}
	return ss
}()

func overloaded(load float64) *scenario {
	const capacity = 50
	return &scenario{
		name: fmt.Sprintf("collapse-%g", load), title: fmt.Sprintf("a server that collapses above its capacity, at %g of it", load),
		rate: load * capacity, lasts: 3 * time.Minute, recovers: 3 * time.Minute, capacity: capacity,
		service: func(int, time.Duration) service { return &collapse{capacity: capacity, cost: 0.5, status: 503} },
	}
}

func metastable(load float64, bound time.Duration) *scenario {
	const workers, work = 10, 200 * time.Millisecond // 50 a second
	slow := span{clear, clear + 10*time.Second}
	name, what := "infinite", "an infinite queue"
	if bound > 0 {
		name, what = bound.String(), "a queue of "+bound.String()
	}
	return &scenario{
		name: fmt.Sprintf("metastable-%g-%s", load, name), title: fmt.Sprintf("ten seconds at a tenth of the speed, %s, load %g", what, load),
		rate: load * 50, lasts: 5 * time.Minute, recovers: slow.to, capacity: 50, deadline: [2]time.Duration{4 * time.Second, 4 * time.Second},
		service: func(int, time.Duration) service { return newQueue(workers, work, bound, slow, 10) },
	}
}

var overloads = []*scenario{
	overloaded(1.2), overloaded(1.5), overloaded(2.5),
	metastable(0.5, 0), metastable(0.7, 0), metastable(0.85, 0), metastable(0.7, 3*time.Second), metastable(0.85, 3*time.Second),
}
