package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"text/tabwriter"
)

type options struct {
	scenarios, contenders string
	seeds                 int
	seed                  uint64
	trace                 bool
}

// row is a contender in a scenario: a run for each seed.
type row struct {
	who    *contender
	runs   []*run
	oracle []*run
}

// median is the middle of a number over the seeds.
func (r *row) median(f func(r, oracle *run) float64) float64 {
	vs := make([]float64, len(r.runs))
	for i := range r.runs {
		vs[i] = f(r.runs[i], r.oracle[i])
	}
	slices.Sort(vs)
	return vs[len(vs)/2]
}

// play runs the contender and the oracle with each of the seeds, in parallel.
func play(t *testing.T, s *scenario, who *contender, o options, oracles []*run) *row {
	r := &row{who: who, runs: make([]*run, o.seeds), oracle: oracles}
	places := make(chan struct{}, runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	for i := range r.runs {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			synctest.Test(t, func(*testing.T) {
				r.runs[i] = simulate(s, who, o.seed+uint64(i), o.trace && i == 0)
			})
			if s.alone != nil {
				synctest.Test(t, func(*testing.T) { r.runs[i].alone = simulate(s.alone, who, o.seed+uint64(i), false) })
			}
		})
	}
	all.Wait()
	if oracles == nil {
		r.oracle = r.runs
	}
	return r
}

// compare plays all that was asked for and prints a table for each scenario.
func (o options) compare(t *testing.T, out io.Writer) {
	which, who := regexp.MustCompile(o.scenarios), regexp.MustCompile(o.contenders)
	for _, s := range scenarios {
		if !which.MatchString(s.name) {
			continue
		}
		best := play(t, s, contenders[0], options{seeds: o.seeds, seed: o.seed}, nil)
		rows := []*row{best}
		for _, c := range contenders[1:] {
			if who.MatchString(c.name) && !(c.batches && s.load.endless()) && !(c.openAI && s.provider.says == anthropic) {
				rows = append(rows, play(t, s, c, o, best.runs))
			}
		}
		slices.SortStableFunc(rows[1:], func(a, b *row) int {
			sa, sb := a.median(success), b.median(success)
			switch {
			case sa != sb && sa > sb, sa == sb && a.median(score) < b.median(score):
				return -1
			}
			return 1
		})
		fmt.Fprintf(out, "%s: %s\n", s.name, s.title)
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(w, "\tok\tfailed\tnever\tmakespan\twaste\tp50 wait\tp99 wait\tof FIFO's\t")
		for _, r := range rows {
			mid := r.runs[len(r.runs)/2]
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.3f\t%.2f %%\t%.1f s\t%.1f s\t%.2f\t\n", r.who.name,
				mid.ok, mid.failed, mid.never, r.median(func(r, _ *run) float64 { return r.ratio() }), 100*r.median(func(r, _ *run) float64 { return r.waste() }),
				r.median(func(r, _ *run) float64 { return r.wait(0.5) }), r.median(func(r, _ *run) float64 { return r.wait(0.99) }),
				r.median(func(r, o *run) float64 { return r.wait(0.99) / o.wait(0.99) }))
		}
		w.Flush()
		for _, r := range rows {
			if r.who.name != cmp.Or(s.subject, "snubber") {
				continue
			}
			var parts []string
			for _, g := range s.targets {
				v := r.median(g.value)
				verdict, sign := "met", "≤"
				if g.least {
					sign = "≥"
				}
				if !g.met(v) {
					verdict = "MISSED"
					t.Fail()
				}
				parts = append(parts, fmt.Sprintf("%s %.4g %s %g %s", g.name, v, sign, g.limit, verdict))
			}
			fmt.Fprintf(out, "  targets: %s\n\n", strings.Join(parts, "; "))
		}
	}
}

func success(r, _ *run) float64 { return r.success() }

// score is the geometric mean of what was lost in each respect. It says
// nothing of those that gave up: success comes first.
func score(r, oracle *run) float64 {
	return math.Cbrt(r.ratio() * (1 + r.waste()) * math.Max(1, r.wait(0.99)/oracle.wait(0.99)))
}
