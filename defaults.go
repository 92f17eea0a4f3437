package snubber

import (
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// orDefault resolves a field of a layer: def for zero and NaN, off for a negative
// value.
func orDefault[T int | int64 | float64 | time.Duration](v, def, off T) T {
	switch {
	case v < 0:
		return off
	case v > 0:
		return v
	}
	return def
}

// timeOrDefault is orDefault for the longest time of something: a negative value is no
// bound.
func timeOrDefault(d, def time.Duration) time.Duration {
	return min(orDefault(d, def, mono.Forever), mono.Forever)
}

var defaultBase = http.DefaultTransport
