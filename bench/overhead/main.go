// Command overhead prints the cost that snubber adds to a call that does not fail,
// beside failsafe-go in the same run. It fails if the cost is above the limit.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/seed-9e4f5248/snubber/bench"
)

func main() {
	rounds := flag.Int("rounds", 21, "samples of each contender")
	calls := flag.Int("calls", 2000, "calls in a sample")
	only := flag.String("case", "", "only cases whose name contains this")
	flag.Parse()

	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "case\tbase ns\tsnubber +ns\tfailsafe +ns\tratio\t+allocs\t+bytes\tfailsafe\tverdict\t")
	failed := false
	for _, c := range bench.Cases() {
		if !strings.Contains(c.Name, *only) {
			continue
		}
		a, err := c.Compare(max(*rounds, 1), max(*calls, 1))
		if err != nil {
			fmt.Fprintln(os.Stderr, c.Name+":", err)
			os.Exit(1)
		}
		broken := c.Limit.Broken(a)
		verdict := "pass"
		switch {
		case c.Limit == (bench.Limit{}):
			verdict = "–"
		case len(broken) > 0:
			verdict, failed = "FAIL: "+strings.Join(broken, ", "), true
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.2f\t%.1f\t%.0f\t%.1f, %.0f\t%s\t\n", c.Name,
			a.Base.Time.Nanoseconds(), a.Snubber.Time.Nanoseconds(), a.Failsafe.Time.Nanoseconds(), a.Ratio(),
			a.Snubber.Allocs, a.Snubber.Bytes, a.Failsafe.Allocs, a.Failsafe.Bytes, verdict)
	}
	w.Flush()
	if failed {
		os.Exit(1)
	}
}
