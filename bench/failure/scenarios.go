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
	o.downs = []span{{clear, clear + long}}
	return &scenario{name: name, title: fmt.Sprintf("an outage of %v", long), rate: 5, lasts: lasts, recovers: clear + long, service: func(int) service { return &o }}
}

var outages = []*scenario{
	down("outage-1s", time.Second, 2*time.Minute, outage{status: 503}),
	down("outage-10s", 10*time.Second, 2*time.Minute, outage{status: 503}),
	down("outage-60s", time.Minute, 10*time.Minute, outage{status: 503}),
}

var brownouts = func() (ss []*scenario) {
	for _, rate := range []float64{1, 5, 50} {
		for _, share := range []int{10, 20, 30, 40, 50, 60, 70, 80} {
			b := brownout{span: span{clear, clear + 5*time.Minute}, share: float64(share) / 100, status: 503}
			ss = append(ss, &scenario{
				name: fmt.Sprintf("brownout-%d-%g", share, rate), title: fmt.Sprintf("%d %% of all calls fail, %g calls a second", share, rate),
				rate: rate, lasts: clear + 5*time.Minute, recovers: clear + 5*time.Minute, service: func(int) service { return &b },
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
		service: func(int) service { return &collapse{capacity: capacity, cost: 0.5, status: 503} },
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
		service: func(int) service { return newQueue(workers, work, bound, slow, 10) },
	}
}

var overloads = []*scenario{
	overloaded(1.2), overloaded(1.5), overloaded(2.5),
	metastable(0.5, 0), metastable(0.7, 0), metastable(0.85, 0), metastable(0.7, 3*time.Second), metastable(0.85, 3*time.Second),
}
