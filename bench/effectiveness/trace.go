package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// watch lets the trace look into a Transport's queues.
func (w *world) watch(t *snubber.Transport) *snubber.Transport {
	w.limiters = append(w.limiters, t.Limiter)
	return t
}

// trace writes a line for each second: what was let in, what was rejected, and
// what the queues say of themselves. It ends with the bubble's scenario.
func (w *world) trace(over <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	in, out := 0, 0
	for {
		select {
		case <-tick.C:
		case <-over:
			return
		}
		w.mu.Lock()
		a, r := len(w.admitted), len(w.rejected)
		level := w.p.advance(w.now, time.Since(w.start))
		limiters := w.limiters
		w.mu.Unlock()
		fmt.Fprintf(os.Stdout, "%6.0fs  let in %3d  rejected %3d  running %3d  in the bucket %6.1f", time.Since(w.start).Seconds(), a-in, r-out, level.running, level.requests)
		if w.p.tokens.perSecond > 0 {
			fmt.Fprintf(os.Stdout, " %8.0f tokens", level.tokens)
		}
		in, out = a, r
		for _, l := range limiters {
			for _, q := range l.Queues() {
				printQueue(os.Stdout, q, w.start)
			}
		}
		fmt.Fprintln(os.Stdout)
	}
}

func printQueue(out io.Writer, q snubber.QueueStatus, start time.Time) {
	s := strings.Replace(fmt.Sprintf("%+v", q), "Key:"+q.Key+" ", "", 1)
	if !q.GatedUntil.IsZero() {
		s += fmt.Sprintf(" gate %.2fs", q.GatedUntil.Sub(start).Seconds())
	}
	fmt.Fprintf(out, "  %s", s)
}
