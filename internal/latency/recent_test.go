package latency

import (
	"math"
	"testing"
)

// The 90th percentile of the latest values, and a default before the first.
func TestRecentP90(t *testing.T) {
	for _, tt := range []struct {
		values []int
		want   int
	}{
		{nil, 1000},
		{[]int{7}, 7},
		{[]int{1, 2}, 2},
		{[]int{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, 9},
		{[]int{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 100}, 100},
		{[]int{math.MaxInt}, math.MaxInt32},
	} {
		var r Recent
		for _, v := range tt.values {
			r.Add(v)
		}
		if got := r.P90(1000); got != tt.want {
			t.Errorf("P90 of %v = %d, want %d", tt.values, got, tt.want)
		}
	}
}
