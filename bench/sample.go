package bench

import (
	"fmt"
	"math"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Sample is the average cost of one call.
type Sample struct {
	Time          time.Duration
	Allocs, Bytes float64
}

// Take makes n calls through rt and returns the cost of one.
func (c *Case) Take(rt http.RoundTripper, n int) (Sample, error) {
	return Take(max(c.Parallel, 1), n, func(_ int, buf []byte) error { return c.Call(rt, buf) })
}

// Take makes n calls, by so many callers at a time, and returns the cost of one. call
// gets its number among those of its caller, and a buffer for the response.
func Take(callers, n int, call func(i int, buf []byte) error) (Sample, error) {
	n = max(n/callers, 1)
	errs := make([]error, callers)
	run := func(caller int) {
		buf := make([]byte, 4<<10)
		for i := range n {
			if err := call(i, buf); err != nil {
				errs[caller] = err
				return
			}
		}
	}

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	if callers == 1 {
		run(0)
	} else {
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() { run(i) })
		}
		wg.Wait()
	}
	took := time.Since(start)
	runtime.ReadMemStats(&after)

	for _, err := range errs {
		if err != nil {
			return Sample{}, err
		}
	}
	calls := n * callers
	return Sample{
		Time:   took / time.Duration(calls),
		Allocs: float64(after.Mallocs-before.Mallocs) / float64(calls),
		Bytes:  float64(after.TotalAlloc-before.TotalAlloc) / float64(calls),
	}, nil
}

// Added is the cost that a stack adds to the base, the median of the rounds. Each round
// takes a sample of every stack, and only samples of one round are compared. So a
// machine that slows down for a second slows all of them.
type Added struct {
	Base              Sample
	Snubber, Failsafe Sample
}

// Ratio is the time that snubber adds, divided by the time that failsafe-go adds.
func (a Added) Ratio() float64 { return float64(a.Snubber.Time) / float64(a.Failsafe.Time) }

// Compare measures the case in so many rounds of n calls a stack.
func (c *Case) Compare(rounds, n int) (Added, error) {
	var rts []http.RoundTripper
	for _, s := range Stacks {
		rts = append(rts, s.Wrap(&c.Base))
	}
	for _, rt := range rts { // warm up: pools, maps, the branch predictor
		if _, err := c.Take(rt, n); err != nil {
			return Added{}, err
		}
	}
	taken := make([][]Sample, len(rts)) // by stack, the base's own and the others' difference to it
	for round := range rounds {
		now := make([]Sample, len(rts))
		for i := range rts {
			j := (i + round) % len(rts) // nobody always runs after the one that makes the most garbage
			var err error
			if now[j], err = c.Take(rts[j], n); err != nil {
				return Added{}, err
			}
		}
		for i, s := range now {
			if i > 0 {
				s = Sample{s.Time - now[0].Time, s.Allocs - now[0].Allocs, s.Bytes - now[0].Bytes}
			}
			taken[i] = append(taken[i], s)
		}
	}
	return Added{median(taken[0]), median(taken[1]), median(taken[2])}, nil
}

// Broken lists the costs of a that are above the limit.
func (l Limit) Broken(a Added) []string {
	var broken []string
	check := func(what string, got, limit float64) {
		if limit > 0 && got > limit {
			broken = append(broken, fmt.Sprintf("%s %.2f > %.2f", what, got, limit))
		}
	}
	check("allocs", math.Round(a.Snubber.Allocs), l.Allocs) // a pool emptied by the collector is a fraction of one
	check("bytes", math.Round(a.Snubber.Bytes), l.Bytes)
	check("ratio", a.Ratio(), l.Ratio)
	return broken
}

func median(ss []Sample) Sample {
	var m Sample
	by := func(get func(Sample) float64) float64 {
		vs := make([]float64, len(ss))
		for i, s := range ss {
			vs[i] = get(s)
		}
		slices.Sort(vs)
		return vs[len(vs)/2]
	}
	m.Time = time.Duration(by(func(s Sample) float64 { return float64(s.Time) }))
	m.Allocs = by(func(s Sample) float64 { return s.Allocs })
	m.Bytes = by(func(s Sample) float64 { return s.Bytes })
	return m
}
