package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// results writes what was measured where the project's README can show it. Nil
// writes nothing.
type results struct {
	dir            string
	seeds          int
	targets, parts bytes.Buffer
	met, missed    int
}

func create(dir string, seeds int) (*results, error) {
	if err := os.Mkdir(dir, 0o777); err != nil && !os.IsExist(err) {
		return nil, err
	}
	return &results{dir: dir, seeds: seeds}, nil
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
	for _, g := range t.targets() {
		verdict := "met"
		if g.met(g.value) {
			r.met++
		} else {
			verdict = "**missed**"
			r.missed++
		}
		fmt.Fprintf(&r.targets, "| [%s](#%s) | %s | %s | %s | %s |\n", s.name, s.name, g.name, g.in(g.value), g.bound(), verdict)
	}
	return nil
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (r *results) close() error {
	if r == nil {
		return nil
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `# What is made of a quota

Written by `+"`go run ./bench/effectiveness`"+`, from the root; its scenarios are in [scenarios.go](../scenarios.go). Each number is the median over %d seeds, in
simulated time. It is not exact to the last digit: goroutines that wake at the same instant race.

The *oracle* knows the provider's rules, what is in its buckets and when they change, and lets the calls in strictly in turn: FIFO's waits are its own. *snubber* is `+"`snubber.New(base)`"+` with nothing
configured. Contenders that were *told* know the quota, or their equal share of it. *time* is in terms of the shortest possible. *wasted calls* are the rejected ones in terms of those let in.
A wait lasts from the caller's call until the provider lets it in. Who answers more of the calls ranks first, whatever its other numbers: giving up is fast.

## Targets

%d met, %d missed. They are for *snubber*; where the scenario begins with "half" for *snubber, told*.

| scenario | | reached | target | |
|---|---|--:|--:|---|
`, r.seeds, r.met, r.missed)
	b.Write(r.targets.Bytes())
	b.WriteString("\n## Scenarios\n")
	b.Write(r.parts.Bytes())
	return os.WriteFile(filepath.Join(r.dir, "README.md"), b.Bytes(), 0o666)
}
