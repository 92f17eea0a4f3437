// Command cache prints the cost of a response from the cache, beside other caches for
// [net/http] in the same run. It fails if the cost is above the limit.
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
	calls := flag.Int("calls", 1000, "calls in a sample")
	only := flag.String("case", "", "only cases whose name contains this")
	flag.Parse()

	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "ns, allocs, bytes a call\t")
	for _, s := range bench.CacheStacks {
		fmt.Fprint(w, s.Name, "\t")
	}
	fmt.Fprintln(w, "ratio\tkey\tverdict\t")
	failed := false
	for _, c := range bench.CacheCases() {
		if !strings.Contains(c.Name, *only) {
			continue
		}
		samples, key, err := c.Compare(max(*rounds, 1), max(*calls, 1))
		if err != nil {
			fmt.Fprintln(os.Stderr, c.Name+":", err)
			os.Exit(1)
		}
		fmt.Fprint(w, c.Name, "\t")
		for i, s := range bench.CacheStacks {
			if !c.Fits(s) {
				fmt.Fprint(w, "–\t")
				continue
			}
			fmt.Fprintf(w, "%d, %.0f, %.0f\t", samples[i].Time.Nanoseconds(), samples[i].Allocs, samples[i].Bytes)
		}
		ratio := "–"
		if best := bench.Best(samples); best > 0 {
			ratio = fmt.Sprintf("%.2f", float64(samples[0].Time)/float64(samples[best].Time))
		}
		share := "–"
		if c.Body != nil {
			share = fmt.Sprintf("%.0f %%", 100*float64(key.Time)/float64(samples[0].Time))
		}
		verdict := "–"
		if c.Limit != (bench.CacheLimit{}) {
			verdict = "pass"
			if broken := c.Limit.Broken(samples, true); len(broken) > 0 {
				verdict, failed = "FAIL: "+strings.Join(broken, ", "), true
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t\n", ratio, share, verdict)
	}
	w.Flush()
	fmt.Println("ratio: to the time of the fastest peer that is a complete cache; – where none answers")
	fmt.Println("key: the part of the time that the prompt's spelling and its hash take by themselves")
	if failed {
		os.Exit(1)
	}
}
