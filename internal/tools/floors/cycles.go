package main

import "slices"

// cycles groups files that refer to each other, directly or through others:
// each group is as large as it can be, and has at least two files. The largest
// comes first.
func cycles(refs []reference) [][]string {
	next := make(map[string][]string)
	for _, r := range refs {
		next[r.from] = append(next[r.from], r.to)
	}
	reach := make(map[string]map[string]bool) // without the file itself, unless a cycle leads back
	for from := range next {
		seen := make(map[string]bool)
		var visit func(string)
		visit = func(f string) {
			for _, to := range next[f] {
				if !seen[to] {
					seen[to] = true
					visit(to)
				}
			}
		}
		visit(from)
		reach[from] = seen
	}
	var (
		groups [][]string
		placed = make(map[string]bool)
	)
	for from := range next {
		if placed[from] || !reach[from][from] {
			continue
		}
		var group []string
		for to := range reach[from] {
			if reach[to][from] {
				group = append(group, to)
				placed[to] = true
			}
		}
		slices.Sort(group)
		groups = append(groups, group)
	}
	slices.SortFunc(groups, func(a, b []string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return slices.Compare(a, b)
	})
	return groups
}
