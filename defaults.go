package snubber

import (
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// orDefault resolves a field of a layer: zero and NaN stand for def, a negative
// value for off.
func orDefault[T int | int64 | float64 | time.Duration](v, def, off T) T {
	switch {
	case v < 0:
		return off
	case v > 0:
		return v
	}
	return def
}

// timeOrDefault is orDefault for the longest time that something may take: a
// negative value is no bound.
func timeOrDefault(d, def time.Duration) time.Duration {
	return min(orDefault(d, def, mono.Forever), mono.Forever)
}

var defaultBase = http.DefaultTransport
