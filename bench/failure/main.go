// Command failure measures, in simulated time, what clients make of a service that
// fails: how many calls they lose, how many requests they send into the failure, and
// how soon they notice that it is over.
//
//	go run ./bench/failure                                all of it, results written
//	go run ./bench/failure -run outage -seeds 3           some scenarios, quickly
package main

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"
)

// A bubble of testing/synctest needs a test, so the program is one: testing.Main
// is the one exported way to run a function as a test outside "go test".
func main() {
	f := flag.NewFlagSet("failure", flag.ExitOnError)
	var o options
	f.StringVar(&o.scenarios, "run", "", "only scenarios whose name matches this regular expression")
	f.StringVar(&o.contenders, "only", "", "only contenders whose name matches this regular expression")
	f.IntVar(&o.seeds, "seeds", 11, "runs of each, of which the median counts")
	f.Uint64Var(&o.seed, "seed", 1, "the first seed")
	f.Parse(os.Args[1:])
	os.Args = os.Args[:1] // testing has flags of its own
	if o.seeds < 1 {
		fmt.Fprintln(os.Stderr, "failure: -seeds must be at least 1")
		os.Exit(2)
	}
	testing.Main(func(pat, str string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "failure", F: func(t *testing.T) {
			began := time.Now()
			o.compare(t, func(c *table) { c.print(os.Stdout) })
			fmt.Fprintf(os.Stderr, "took %v\n", time.Since(began).Round(time.Second/10))
		}}}, nil, nil)
}
