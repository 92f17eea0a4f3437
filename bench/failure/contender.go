package main

import (
	"context"
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// contender is a way to call a service that fails.
type contender struct {
	name   string
	ours   bool
	oracle bool
	make   func(*world) http.RoundTripper
}

var contenders = []*contender{
	{name: "oracle", oracle: true, make: oracle},
	{name: "snubber", ours: true, make: func(w *world) http.RoundTripper { return snubber.New(w) }},
	{name: "openai-go", make: func(w *world) http.RoundTripper { return stainless(w) }},
	{name: "one try", make: func(w *world) http.RoundTripper { return w }},
	{name: "go-retryablehttp", make: retryable},
	{name: "failsafe-go, defaults", make: failsafeDefault},
	{name: "failsafe-go, tuned", make: failsafeTuned},
	{name: "backoff + gobreaker + x/time/rate", make: func(w *world) http.RoundTripper { return byHand(w, false) }},
	{name: "the same, waiting while open", make: func(w *world) http.RoundTripper { return byHand(w, true) }},
	{name: ".NET standard handler", make: dotnet},
	{name: "gRPC retry throttling", make: grpc},
	{name: "AWS standard", make: aws},
}

// oracle knows when the service works and how much it can do, and sends each request
// once, then. It lets calls wait for as long as their callers do.
func oracle(w *world) http.RoundTripper {
	w.lucky = true
	turn := make(chan struct{}, 1)
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		ctx := req.Context()
		c := ctx.Value(callKey{}).(*call)
		for {
			select {
			case turn <- struct{}{}:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			w.mu.Lock()
			d := w.services[c.model].ready(w.now())
			w.mu.Unlock()
			if d == 0 {
				return w.send(req, func() { <-turn })
			}
			<-turn
			until := w.s.patience() - (w.now() - c.begun)
			if deadline, ok := ctx.Deadline(); ok {
				until = min(until, time.Until(deadline))
			}
			if d+usual > until { // it would be too late: no
				return nil, context.DeadlineExceeded
			}
			if err := sleep(ctx, d); err != nil {
				return nil, err
			}
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
