package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// progress is how far a contender has come.
type progress struct {
	after                        time.Duration
	calls, succeeded, lost, wire int
}

// watcher shows progress: on a terminal in place, elsewhere a line a second.
type watcher struct {
	out   io.Writer
	name  string
	live  bool
	every time.Duration
	next  time.Duration
	tick  *time.Ticker
}

func watch(out io.Writer, name string) *watcher {
	w := &watcher{out: out, name: name, every: time.Second}
	if f, ok := out.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			w.live, w.every = true, 100*time.Millisecond
		}
	}
	w.next = w.every
	w.tick = time.NewTicker(w.every)
	return w
}

func (w *watcher) show(p progress) {
	if p.after < w.next {
		return
	}
	w.next = p.after.Truncate(w.every) + w.every
	w.line(p)
}

func (w *watcher) done(p progress) {
	w.tick.Stop()
	w.line(p)
	if w.live {
		fmt.Fprintln(w.out)
	}
}

func (w *watcher) line(p progress) {
	before, after := "", "\n"
	if w.live {
		before, after = "\r", ""
	}
	fmt.Fprintf(w.out, "%s%-36s %5.1f s  %3d of %d succeeded  %3d lost  %4d wire calls%s",
		before, w.name, p.after.Seconds(), p.succeeded, p.calls, p.lost, p.wire, after)
}

// table compares the results. A wire call is wasted if it did not bring the
// answer to a call.
func table(results []result) string {
	var b strings.Builder
	const row = "%-36s %6v %10v %5v %11v %18v %7v %7v\n"
	fmt.Fprintf(&b, row, "contender", "calls", "succeeded", "lost", "wire calls", "wasted wire calls", "time", "ideal")
	for _, r := range results {
		ideal := "-"
		if r.ideal > 0 {
			ideal = seconds(r.ideal)
		}
		fmt.Fprintf(&b, row, r.name, r.calls, r.succeeded, r.lost(), r.wire, r.wire-r.succeeded, seconds(r.took), ideal)
	}
	for _, r := range results {
		for _, why := range slices.Sorted(maps.Keys(r.reasons)) {
			fmt.Fprintf(&b, "%s lost %d to: %s\n", r.name, r.reasons[why], why)
		}
	}
	return b.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
