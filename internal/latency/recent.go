package latency

import "math"

// Recent is the latest 32 values of one thing. Its zero value has none.
type Recent struct {
	values [32]int32
	n      int
}

// Add records a value. One that does not fit an int32 counts as the largest that
// does.
func (r *Recent) Add(v int) {
	r.values[r.n%len(r.values)] = int32(min(v, math.MaxInt32))
	r.n++
}

// P90 is the 90th percentile, or none if there are no values.
func (r *Recent) P90(none int) int {
	n := min(r.n, len(r.values))
	if n == 0 {
		return none
	}
	sorted := r.values
	return int(percentile(sorted[:n], 90))
}
