package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"text/tabwriter"
	"time"
)

type options struct {
	scenarios, contenders string
	seeds                 int
	seed                  uint64
	trace                 bool
}

// table is a scenario with all its contenders, the oracle first and the others
// as they rank.
type table struct {
	scenario *scenario
	rows     []*row
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

// play runs the contender with each of the seeds, as many at a time as there
// are processors.
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

// compare plays all that was asked for.
func (o options) compare(t *testing.T, done func(*table)) {
	which, who := regexp.MustCompile(o.scenarios), regexp.MustCompile(o.contenders)
	for _, s := range scenarios {
		if which.MatchString(s.name) {
			done(o.table(t, s, who))
		}
	}
}

func (o options) table(t *testing.T, s *scenario, who *regexp.Regexp) *table {
	best := play(t, s, contenders[0], options{seeds: o.seeds, seed: o.seed}, nil)
	rows := []*row{best}
	var rivals []*run
	if s.rival != "" {
		who := contenders[slices.IndexFunc(contenders, func(c *contender) bool { return c.name == s.rival })]
		rivals = play(t, s, who, options{seeds: o.seeds, seed: o.seed}, best.runs).runs
	}
	for _, c := range contenders[1:] {
		if who.MatchString(c.name) && c.fits(s) {
			rows = append(rows, play(t, s, c, o, best.runs))
		}
	}
	for _, r := range rows {
		for i := range rivals {
			r.runs[i].rival = rivals[i]
		}
	}
	slices.SortStableFunc(rows[1:], func(a, b *row) int {
		return cmp.Or(cmp.Compare(b.median(success), a.median(success)), cmp.Compare(a.median(score), b.median(score)))
	})
	return &table{s, rows}
}

// score is the geometric mean of what was lost in each respect. It says
// nothing of those that gave up: success comes first. The wait is one with an
// answer at its end, for eight seconds before a call of two minutes are little.
func score(r, oracle *run) float64 {
	lost := r.ratio()
	if s := r.scenario; s.load.endless() {
		lost = 1 / math.Max(1e-3, r.used(0, s.horizon))
	}
	service := time.Duration(0)
	for _, c := range oracle.calls {
		service += c.service / time.Duration(len(oracle.calls))
	}
	s := service.Seconds()
	return math.Cbrt(math.Max(1, lost) * (1 + r.waste()) * math.Max(1, (r.wait(0.99)+s)/(oracle.wait(0.99)+s)))
}

// reached is a target and what became of it.
type reached struct {
	target
	value float64
}

// targets are what the one whom they are for made of them; nil if it did not play.
func (t *table) targets() (rs []reached) {
	for _, r := range t.rows {
		if r.who.name == t.scenario.player() {
			for _, g := range t.scenario.targets {
				rs = append(rs, reached{g, r.median(g.value)})
			}
		}
	}
	return rs
}

// cells are the numbers of all contenders, under their headings.
func (t *table) cells() (head []string, rows [][]string) {
	s := t.scenario
	head = []string{"", "answered", "gave up", "never done", "time", "wasted calls", "p50 wait", "p99 wait", "of FIFO's"}
	if s.load.endless() {
		head = []string{"", "of the quota", "gave up", "wasted calls", "p50 wait", "p99 wait", "of FIFO's"}
	}
	clients := s.load.clients()
	if clients > 1 {
		head = append(head, "Jain")
	}
	percent := func(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }
	count := func(v float64) string { return strconv.Itoa(int(v)) }
	for _, r := range t.rows {
		row := []string{r.who.name}
		failed := count(r.median(func(r, _ *run) float64 { return float64(r.failed) }))
		if s.load.endless() {
			row = append(row, percent(r.median(func(r, _ *run) float64 { return r.used(0, s.horizon) })), failed)
		} else {
			time := "–" // giving up early is no speed
			if r.median(success) == 1 {
				time = fmt.Sprintf("%.3f×", r.median(ratio))
			}
			row = append(row, percent(r.median(success)), failed, count(r.median(func(r, _ *run) float64 { return float64(r.never) })), time)
		}
		of := "–"
		if r.oracle[0].wait(0.99) > 0.05 && r.median(success) > 0.99 {
			of = fmt.Sprintf("%.2f×", r.median(longer))
		}
		lost := percent(r.median(wasted))
		if r.runs[0].admitted == nil {
			lost = count(r.median(func(r, _ *run) float64 { return float64(r.wire) })) + " calls"
		}
		row = append(row, lost, duration(r.median(waits(0.5))), duration(r.median(waits(0.99))), of)
		if clients > 1 {
			row = append(row, fmt.Sprintf("%.3f", r.median(func(r, _ *run) float64 { return r.jain(0, s.horizon, upTo(clients)...) })))
		}
		rows = append(rows, row)
	}
	return head, rows
}

func duration(s float64) string {
	if math.IsInf(s, 0) || math.IsNaN(s) {
		return "–"
	}
	return fmt.Sprintf("%.1f s", s)
}

// print writes the table for a terminal.
func (t *table) print(out io.Writer) {
	fmt.Fprintf(out, "%s: %s\n", t.scenario.name, t.scenario.title)
	head, rows := t.cells()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range append([][]string{head}, rows...) {
		fmt.Fprintln(w, strings.Join(row, "\t")+"\t")
	}
	w.Flush()
	for _, r := range t.targets() {
		verdict := "met"
		if !r.met(r.value) {
			verdict = "MISSED"
		}
		fmt.Fprintf(out, "  %s: %s, target %s: %s\n", r.name, r.in(r.value), r.bound(), verdict)
	}
	fmt.Fprintln(out)
}
