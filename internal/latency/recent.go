package latency

import "math"

// Recent holds the latest 32 values of something. The zero Recent is empty.
type Recent struct {
	values [32]int32
	n      int
}

// Add records a value. A value too large for an int32 counts as the largest int32.
func (r *Recent) Add(v int) {
	r.values[r.n%len(r.values)] = int32(min(v, math.MaxInt32))
	r.n++
}

// P90 returns the 90th percentile, or none if there are no values.
func (r *Recent) P90(none int) int {
	n := min(r.n, len(r.values))
	if n == 0 {
		return none
	}
	sorted := r.values
	return int(percentile(sorted[:n], 90))
}
