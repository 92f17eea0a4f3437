package snubber

import (
	"testing"
	"time"
)

// A pace in use is not forgotten for other keys' sake, one that has not been used
// for an hour is.
func TestPaceIsKeptInUse(t *testing.T) {
	made := time.Now()
	p := &pace{used: made}
	called := made.Add(50 * time.Minute)
	p.call(called)
	if p.evictable(called.Add(time.Hour)) {
		t.Error("it can go within the hour")
	}
	if !p.evictable(called.Add(time.Hour + 1)) {
		t.Error("it stays for ever")
	}
}
