// Command quickstart makes a few dozen concurrent calls with the official OpenAI SDK to
// an API with a quota and an outage, first bare, then through snubber. It compares the
// results. Without flags it starts its own fake provider:
//
//	go run ./examples/quickstart
//	OPENAI_API_KEY=… go run ./examples/quickstart -url https://api.openai.com/v1 -calls 20
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

func main() {
	url := flag.String("url", "", "base `URL` of a real API, with its key in OPENAI_API_KEY (default: a fake one of our own)")
	model := flag.String("model", "gpt-4o-mini", "`model` to ask")
	calls := flag.Int("calls", 36, "`number` of calls that each contender makes")
	workers := flag.Int("workers", 0, "`number` of calls at a time (default: all)")
	rpm := flag.Int("rpm", 0, "requests per minute that the real API allows (default: the contender that has to know it is left out)")
	flag.Parse()

	api := api{url: *url, key: os.Getenv("OPENAI_API_KEY"), model: *model, rpm: *rpm}
	if *url == "" {
		api.fake = &fake{rpm: 30, burst: 8, minute: 5 * time.Second, latency: 200 * time.Millisecond, from: 1500 * time.Millisecond, until: 2500 * time.Millisecond}
		api.rpm = api.fake.trueRPM()
	} else if api.key == "" {
		fmt.Fprintln(os.Stderr, "quickstart: -url needs an API key in OPENAI_API_KEY")
		os.Exit(2)
	}
	load := load{calls: max(1, *calls), workers: cmp.Or(max(0, *workers), max(1, *calls))}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	fmt.Println(api, load)
	var results []result
	lost := 0
	for _, c := range contenders(api.rpm) {
		r := load.run(ctx, api, c, watch(os.Stdout, c.name))
		results = append(results, r)
		if c.protected {
			lost += r.lost()
		}
	}
	fmt.Print("\n", table(results))
	if lost > 0 {
		os.Exit(1)
	}
}

// contender is a way to make the SDK's calls.
type contender struct {
	name      string
	transport func(wire http.RoundTripper) http.RoundTripper
	protected bool
}

func contenders(rpm int) []contender {
	all := []contender{
		{"bare SDK", func(wire http.RoundTripper) http.RoundTripper { return wire }, false},
		{"snubber.New", func(wire http.RoundTripper) http.RoundTripper { return snubber.New(wire) }, true},
	}
	if rpm > 0 {
		all = append(all, contender{"snubber.New, Limiter knows the quota", func(wire http.RoundTripper) http.RoundTripper {
			t := snubber.New(wire)
			t.Limiter = &snubber.Limiter{RequestsPerMinute: rpm}
			return t
		}, true})
	}
	return all
}
