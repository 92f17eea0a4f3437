package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// results writes what was measured where the project's README can show it. Nil
// writes nothing.
type results struct {
	dir            string
	seeds          int
	targets, parts bytes.Buffer
	met, missed    int
	standings      map[*contender]*standing
}

// standing is how a contender did over all scenarios with a target.
type standing struct {
	played, whole int     // whole: it answered every call
	lost          float64 // sum of the logarithms of its scores in those
}

func create(dir string, seeds int) (*results, error) {
	if err := os.Mkdir(dir, 0o777); err != nil && !os.IsExist(err) {
		return nil, err
	}
	return &results{dir: dir, seeds: seeds, standings: map[*contender]*standing{}}, nil
}

func (r *results) add(t *table) error {
	if r == nil {
		return nil
	}
	s := t.scenario
	fmt.Fprintf(&r.parts, "\n### %s\n\n%s.\n\n", s.name, capital(s.title))
	if svg := t.plot(); svg != nil {
		if err := os.WriteFile(filepath.Join(r.dir, s.name+".svg"), svg, 0o666); err != nil {
			return err
		}
		fmt.Fprintf(&r.parts, "![%s](%s.svg)\n\n", s.title, s.name)
	}
	head, rows := t.cells()
	fmt.Fprintf(&r.parts, "| %s |\n|---|%s\n", strings.Join(head, " | "), strings.Repeat("--:|", len(head)-1))
	for i, row := range rows {
		if t.rows[i].who.name == s.player() {
			row[0] = "**" + row[0] + "**"
		}
		fmt.Fprintf(&r.parts, "| %s |\n", strings.Join(row, " | "))
	}
	if len(s.targets) == 0 {
		return nil
	}
	for _, row := range t.rows {
		if s.variant || t.rows[0].runs[0].ok == 0 {
			break // it would count one thing twice, or there was nothing to be had
		}
		st := r.standings[row.who]
		if st == nil {
			st = &standing{}
			r.standings[row.who] = st
		}
		st.played++
		if row.median(success) == 1 {
			st.whole++
			st.lost += math.Log(row.median(score))
		}
	}
	var said []string
	verdict := "met"
	for _, g := range t.targets() {
		one := fmt.Sprintf("%s: %s (%s)", g.name, g.in(g.value), g.bound())
		if g.met(g.value) {
			r.met++
		} else {
			r.missed++
			one, verdict = "**"+one+"**", "**missed**"
		}
		said = append(said, one)
	}
	fmt.Fprintf(&r.targets, "| [%s](#%s) | %s | %s |\n", s.name, s.name, strings.Join(said, "; "), verdict)
	return nil
}

// ranking is who answered everything most often, and what it lost where it did.
func (r *results) ranking() string {
	var b strings.Builder
	who := slices.SortedFunc(maps.Keys(r.standings), func(a, b *contender) int {
		x, y := r.standings[a], r.standings[b]
		return cmp.Or(cmp.Compare(float64(y.whole)/float64(y.played), float64(x.whole)/float64(x.played)), cmp.Compare(x.score(), y.score()), cmp.Compare(a.name, b.name))
	})
	for _, c := range who {
		st := r.standings[c]
		score := "–"
		if st.whole > 0 {
			score = fmt.Sprintf("%.3f", st.score())
		}
		fmt.Fprintf(&b, "| %s | %d of %d | %s |\n", c.name, st.whole, st.played, score)
	}
	return b.String()
}

func (s *standing) score() float64 { return math.Exp(s.lost / float64(max(1, s.whole))) }

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (r *results) close() error {
	if r == nil {
		return nil
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `# What is made of a quota

Written by `+"`go run ./bench/effectiveness`"+`, from the root; its scenarios are in [scenarios.go](../scenarios.go). Each number is the median over %d seed(s), in
simulated time. It is not exact to the last digit: goroutines that wake at the same instant race.

The *oracle* knows the provider's rules, what is in its buckets and when they change, and lets the calls in strictly in turn: FIFO's waits are its own. *snubber* is `+"`snubber.New(base)`"+` with nothing
configured. Contenders that were *told* know the quota, or their equal share of it. *time* is in terms of the shortest possible. *wasted calls* are the rejected ones in terms of those let in.
A wait lasts from the caller's call until the provider lets it in. Who answers more of the calls ranks first, whatever its other numbers: giving up is fast.
Of scenarios that differ only in how a provider says the same, peers play one.

## Targets

%d met, %d missed. They are for *snubber*; in the scenarios that begin with "half" for *snubber, told*.

| scenario | reached (target) | |
|---|---|---|
%s
## Ranking

Over the scenarios with targets that all play: in how many every call was answered and, of those, the geometric mean of the score, which is that of three losses: time or quota in terms of the best possible,
calls on the wire for each answer, p99 wait in terms of FIFO's. 1 is perfect.

| | answered everything | score |
|---|--:|--:|
%s
## Scenarios
%s`, r.seeds, r.met, r.missed, r.targets.Bytes(), r.ranking(), r.parts.Bytes())
	return os.WriteFile(filepath.Join(r.dir, "README.md"), b.Bytes(), 0o666)
}
