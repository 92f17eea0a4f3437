package latency

import (
	"testing"
	"time"
)

// A Tracker in use is not forgotten for other keys' sake. A Tracker that has not
// been used for an hour is.
func TestTrackerIsKeptInUse(t *testing.T) {
	made := time.Now()
	tr := NewTracker(made)
	called := made.Add(50 * time.Minute)
	tr.Call(called)
	if tr.Evictable(called.Add(time.Hour)) {
		t.Error("Evictable = true within the hour, want false")
	}
	if !tr.Evictable(called.Add(time.Hour + 1)) {
		t.Error("Evictable = false after more than an hour, want true")
	}
}
