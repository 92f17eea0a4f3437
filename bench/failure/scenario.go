package main

import (
	"cmp"
	"math/rand/v2"
	"time"
)

// scenario is a failure, and who calls while it lasts.
type scenario struct {
	name, title string
	rate        float64       // calls a second
	lasts       time.Duration // calls come for so long
	recovers    time.Duration // the end of the failure
	varies      time.Duration // which may be so much later or sooner, or clients could be in step with it
	models      int           // services; calls go to each in turn. 0: one
	service     func(model int, recovers time.Duration) service
	capacity    float64          // of a service that collapses, in calls a second
	deadline    [2]time.Duration // callers' own, drawn between the two; 0: none
	waits       time.Duration    // a caller whose answer comes later has gone; 0: two minutes
}

func (s *scenario) patience() time.Duration { return cmp.Or(s.waits, 2*time.Minute) }

func (s *scenario) deadlineOf(r *rand.Rand) time.Duration {
	lo, hi := s.deadline[0], s.deadline[1]
	if hi <= lo {
		return hi
	}
	return lo + time.Duration(r.Int64N(int64(hi-lo)))
}
