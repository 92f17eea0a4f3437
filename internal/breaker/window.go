package breaker

import (
	"time"

	"github.com/seed-9e4f5248/snubber/internal/mono"
)

// window counts results over time, in ten buckets. A result counts for the whole
// window less one bucket at least, and never for longer than the window.
type window struct {
	buckets [10]struct {
		slot       int64
		ok, failed uint32
	}
	last time.Time // of the latest result
}

// slot returns the number of the bucket of now. The buckets of all time are numbered,
// and each is used again ten numbers later.
func (w *window) slot(now time.Time, width time.Duration) int64 {
	return int64(mono.Of(now)) / int64(max(width/time.Duration(len(w.buckets)), 1))
}

// add counts one result. width is the length of the window, the same in every call.
func (w *window) add(now time.Time, width time.Duration, failed bool) {
	slot := w.slot(now, width)
	b := &w.buckets[uint64(slot)%uint64(len(w.buckets))]
	if b.slot != slot {
		b.slot, b.ok, b.failed = slot, 0, 0
	}
	if failed {
		b.failed++
	} else {
		b.ok++
	}
	w.last = now
}

// sums returns the numbers of results in the window that ends now.
func (w *window) sums(now time.Time, width time.Duration) (ok, failed int) {
	slot := w.slot(now, width)
	for _, b := range w.buckets {
		if age := slot - b.slot; age >= 0 && age < int64(len(w.buckets)) {
			ok, failed = ok+int(b.ok), failed+int(b.failed)
		}
	}
	return ok, failed
}
