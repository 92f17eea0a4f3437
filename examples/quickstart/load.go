package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// api is what the calls go to.
type api struct {
	url, key, model string
	rpm             int   // 0: not known
	fake            *fake // nil: a real one
}

func (a api) String() string {
	if a.fake == nil {
		return fmt.Sprintf("%s at %s:", a.model, a.url)
	}
	f := a.fake
	return fmt.Sprintf("A fake provider that allows %d requests per %v, at most %d at once, and is out of order from %v to %v:",
		f.rpm, f.minute, f.burst, f.from, f.until)
}

// fake is a provider of our own, whose minute is short.
type fake struct {
	rpm, burst      int
	minute, latency time.Duration
	from, until     time.Duration // of the outage
}

func (f *fake) trueRPM() int { return int(float64(f.rpm) * float64(time.Minute) / float64(f.minute)) }

// serve starts the provider, with full buckets and the outage ahead.
func (f *fake) serve() (url string, stop func()) {
	p := &snubbertest.Provider{RequestsPerMinute: f.rpm, Burst: f.burst, Minute: f.minute, Latency: f.latency}
	p.Inject(snubbertest.Fault{Kind: snubbertest.Outage, From: f.from, Until: f.until})
	srv := snubbertest.NewServer(p)
	return srv.URL + "/v1", srv.Close
}

// ideal is when someone who knows the quota and the outage has all answers. The
// outage takes no time from him where the bucket can fill meanwhile.
func (f *fake) ideal(l load) time.Duration {
	last := f.minute * time.Duration(max(0, l.calls-f.burst)) / time.Duration(f.rpm)
	if f.from <= last && last < f.until {
		last = f.until
	}
	rounds := (l.calls + l.workers - 1) / l.workers
	return max(last+f.latency, time.Duration(rounds)*f.latency)
}

// load is how many calls are made, and how many at a time.
type load struct{ calls, workers int }

func (l load) String() string { return fmt.Sprintf("%d calls, %d at a time.", l.calls, l.workers) }

// result is what came of a contender's calls.
type result struct {
	name                   string
	calls, succeeded, wire int
	took, ideal            time.Duration // ideal 0: nobody knows
	reasons                map[string]int
}

func (r result) lost() int { return r.calls - r.succeeded }

// run lets a contender make the calls.
func (l load) run(ctx context.Context, a api, c contender, w *watcher) result {
	r := result{name: c.name, calls: l.calls, reasons: make(map[string]int)}
	if a.fake != nil {
		url, stop := a.fake.serve()
		defer stop()
		a.url, a.key = url, "fake"
		r.ideal = a.fake.ideal(l)
	}
	wire := &wire{base: http.DefaultTransport.(*http.Transport).Clone()}
	defer wire.base.CloseIdleConnections()
	client := openai.NewClient(
		option.WithBaseURL(a.url),
		option.WithAPIKey(a.key),
		option.WithHTTPClient(&http.Client{Transport: c.transport(wire)}),
	)

	todo := make(chan struct{}, l.calls)
	for range l.calls {
		todo <- struct{}{}
	}
	close(todo)
	ends := make(chan error)
	start := time.Now()
	var workers sync.WaitGroup
	for range l.workers {
		workers.Go(func() {
			for range todo {
				_, err := client.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{
					Model:    a.model,
					Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Say hello.")},
				})
				ends <- err
			}
		})
	}

	for lost := 0; r.succeeded+lost < l.calls; {
		w.show(progress{time.Since(start), l.calls, r.succeeded, lost, int(wire.calls.Load())})
		select {
		case err := <-ends:
			if err == nil {
				r.succeeded++
			} else {
				lost++
				r.reasons[reason(err)]++
			}
		case <-w.tick.C:
		}
	}
	r.took, r.wire = time.Since(start), int(wire.calls.Load())
	w.done(progress{r.took, l.calls, r.succeeded, r.lost(), r.wire})
	workers.Wait()
	return r
}

// reason is why a call was lost. An error's own text is not shown: some APIs
// repeat parts of the key in it.
func reason(err error) string {
	var e *openai.Error
	switch {
	case errors.As(err, &e):
		return fmt.Sprintf("%d %s", e.StatusCode, http.StatusText(e.StatusCode))
	case errors.Is(err, context.Canceled):
		return "interrupted"
	}
	return "no answer"
}

// wire counts what is really sent.
type wire struct {
	base  *http.Transport
	calls atomic.Int64
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.calls.Add(1)
	return w.base.RoundTrip(req)
}

func (w *wire) CloseIdleConnections() { w.base.CloseIdleConnections() }
