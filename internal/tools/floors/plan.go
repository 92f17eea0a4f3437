package main

import (
	"fmt"
	"slices"
	"strings"
)

// maxCycle is the number of files that may refer to each other in a circle: a
// type that is worth three files is one thing to read.
const maxCycle = 3

// A plan says which direction the references of a module keep.
type plan struct {
	order  [][]string            // of the root package, bottom to top
	cycles map[string]cycleSizes // by directory, "." for the root
}

type cycleSizes struct {
	sizes []int // descending
	why   string
}

// ranks maps each file to its place in the order, counted from the bottom.
func (p plan) ranks() map[string]int {
	ranks := make(map[string]int)
	for i, line := range p.order {
		for _, f := range line {
			ranks[f] = i
		}
	}
	return ranks
}

// against picks the references to a higher file. A file that is not listed is
// none: misplaced names it.
func (p plan) against(refs []reference) []reference {
	ranks := p.ranks()
	var up []reference
	for _, r := range refs {
		from, listed := ranks[r.from]
		to, listedToo := ranks[r.to]
		if listed && listedToo && to > from {
			up = append(up, r)
		}
	}
	return up
}

// misplaced compares the files that exist with those that the plan lists.
func (p plan) misplaced(files []string) []string {
	var found []string
	ranks := p.ranks()
	for _, f := range files {
		if _, ok := ranks[f]; !ok {
			found = append(found, f+" is not in the order of files")
		}
	}
	for _, line := range p.order {
		for _, f := range line {
			if !slices.Contains(files, f) {
				found = append(found, f+" is in the order of files, but does not exist")
			}
		}
	}
	return found
}

// overgrown names the cycles, the largest first, of the package in dir that
// are larger than the plan allows.
func (p plan) overgrown(dir string, cycles [][]string) []string {
	allowed := p.cycles[dir]
	var found []string
	for i, files := range cycles {
		limit, why := maxCycle, ""
		if i < len(allowed.sizes) {
			limit, why = allowed.sizes[i], " ("+allowed.why+")"
		}
		if len(files) > limit {
			found = append(found, fmt.Sprintf("%s: cycle of %d files, want at most %d%s: %s", dir, len(files), limit, why, strings.Join(files, " ")))
		}
	}
	return found
}
