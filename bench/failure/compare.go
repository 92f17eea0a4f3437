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
}

// table is a scenario with all its contenders, the oracle first and the others as
// they rank.
type table struct {
	scenario *scenario
	rows     []*row
}

// row is a contender in a scenario: a run for each seed.
type row struct {
	who  *contender
	runs []*run
}

// median is the middle of a number over the seeds.
func (r *row) median(f func(*run) float64) float64 { return r.quantile(0.5, f) }

func (r *row) quantile(q float64, f func(*run) float64) float64 {
	vs := make([]float64, len(r.runs))
	for i := range r.runs {
		vs[i] = f(r.runs[i])
	}
	slices.Sort(vs)
	return vs[min(len(vs)-1, int(q*float64(len(vs))))]
}

// play runs the contender with each of the seeds, as many at a time as there are
// processors.
func play(t *testing.T, s *scenario, who *contender, o options) *row {
	r := &row{who: who, runs: make([]*run, o.seeds)}
	places := make(chan struct{}, runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	for i := range r.runs {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			synctest.Test(t, func(*testing.T) { r.runs[i] = simulate(s, who, o.seed+uint64(i)) })
		})
	}
	all.Wait()
	return r
}

// compare plays all that was asked for.
func (o options) compare(t *testing.T, done func(*table)) {
	which, who := regexp.MustCompile(o.scenarios), regexp.MustCompile(o.contenders)
	for _, s := range scenarios {
		if !which.MatchString(s.name) {
			continue
		}
		c := &table{scenario: s}
		for _, w := range contenders {
			if who.MatchString(w.name) {
				c.rows = append(c.rows, play(t, s, w, o))
			}
		}
		slices.SortStableFunc(c.rows, func(a, b *row) int { return cmp.Compare(b.median((*run).answered), a.median((*run).answered)) })
		done(c)
	}
}

func seconds(f func(*run) time.Duration) func(*run) float64 {
	return func(r *run) float64 { return f(r).Seconds() }
}

func count(f func(*run) int) func(*run) float64 {
	return func(r *run) float64 { return float64(f(r)) }
}

// cells are the numbers of all contenders, under their headings.
func (t *table) cells() (head []string, rows [][]string) {
	s := t.scenario
	head = []string{"", "answered", "lost", "after the recovery", "wire calls into it", "for each call", "lag", "worst", "p99", "time to no"}
	if s.capacity > 0 {
		head = append(head, "goodput of capacity", "recovered")
	}
	for _, r := range t.rows {
		row := []string{r.who.name,
			fmt.Sprintf("%.2f %%", 100*r.median((*run).answered)),
			strconv.Itoa(int(r.median(count((*run).lost)))),
			strconv.Itoa(int(r.median(count((*run).lostAfter)))),
			strconv.Itoa(int(r.median(count((*run).into)))),
			fmt.Sprintf("%.2f", r.median((*run).amplification)),
			duration(r.median(seconds((*run).lag))),
			duration(r.quantile(1, seconds((*run).lag))),
			duration(r.median(func(r *run) float64 { return r.took(0.99, true).Seconds() })),
			duration(r.median(func(r *run) float64 { return r.took(0.5, false).Seconds() })),
		}
		if s.capacity > 0 {
			row = append(row, fmt.Sprintf("%.1f %%", 100*r.median(func(r *run) float64 { return r.goodput(span{clear, s.lasts}) / min(s.rate, s.capacity) })),
				duration(r.median(func(r *run) float64 {
					d, ok := r.recovered()
					if !ok {
						return math.Inf(1)
					}
					return d.Seconds()
				})))
		}
		rows = append(rows, row)
	}
	return head, rows
}

func duration(s float64) string {
	if math.IsInf(s, 0) || s > 1e6 {
		return "never"
	}
	return fmt.Sprintf("%.1f s", s)
}

// print writes the table for a terminal.
func (t *table) print(out io.Writer) {
	fmt.Fprintf(out, "%s: %s\n", t.scenario.name, t.scenario.title)
	head, rows := t.cells()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range append([][]string{head}, rows...) {
		for _, cell := range row {
			fmt.Fprint(w, cell, "\t")
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	fmt.Fprintln(out)
}
