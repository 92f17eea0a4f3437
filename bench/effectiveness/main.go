// Command effectiveness measures in simulated time how well contenders use a quota,
// compared with the optimum. It fails if snubber misses a target.
//
//	go run ./bench/effectiveness                             all of it, results written
//	go run ./bench/effectiveness -run batch -seeds 3         some scenarios, quickly
//	go run ./bench/effectiveness -run batch-headers -only snubber -seeds 1 -trace
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
	f := flag.NewFlagSet("effectiveness", flag.ExitOnError)
	var o options
	f.StringVar(&o.scenarios, "run", "", "only scenarios whose name matches this regular expression")
	f.StringVar(&o.contenders, "only", "", "only contenders whose name matches this regular expression")
	f.IntVar(&o.seeds, "seeds", 11, "runs of each, of which the median counts")
	f.Uint64Var(&o.seed, "seed", 1, "the first seed")
	f.BoolVar(&o.trace, "trace", false, "print what happened in each second, of the first seed")
	dir := f.String("results", "", "where the results go; if empty, bench/effectiveness/results, and nowhere if not all was asked for")
	f.Parse(os.Args[1:])
	os.Args = os.Args[:1] // testing has flags of its own
	if o.seeds < 1 {
		fmt.Fprintln(os.Stderr, "effectiveness: -seeds must be at least 1")
		os.Exit(2)
	}
	if *dir == "" && o.scenarios == "" && o.contenders == "" { // a part must not overwrite the whole
		*dir = "bench/effectiveness/results"
	}
	var results *results
	if *dir != "" {
		var err error
		if results, err = create(*dir, o.seeds); err != nil {
			fmt.Fprintln(os.Stderr, "effectiveness:", err, "(it is to be run from the root of the workspace)")
			os.Exit(2)
		}
	}
	testing.Main(func(pat, str string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: "effectiveness", F: func(t *testing.T) {
			began := time.Now()
			o.compare(t, func(c *table) {
				c.print(os.Stdout)
				for _, r := range c.targets() {
					if !r.met(r.value) {
						t.Errorf("%s: %s is %s, the target %s", c.scenario.name, r.name, r.in(r.value), r.bound())
					}
				}
				if err := results.add(c); err != nil {
					t.Error(err)
				}
			})
			if err := results.close(); err != nil {
				t.Error(err)
			}
			fmt.Fprintf(os.Stderr, "took %v\n", time.Since(began).Round(time.Second/10))
		}}}, nil, nil)
}
