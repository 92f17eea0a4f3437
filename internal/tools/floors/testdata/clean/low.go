// Package clean keeps its order: low.go, pair.go with other.go, high.go.
package clean

// Base has what the other files use.
type Base struct{ Count int }

// Add adds to the count.
func (b *Base) Add(n int) { b.Count += n }

// Limit bounds a count.
const Limit = 3

// local has the name of a declaration in high.go, and is another thing.
func local() int {
	High := Limit
	return High
}
