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
	{name: "snubber, waiting", ours: true, make: func(w *world) http.RoundTripper {
		t := snubber.New(w)
		t.Breaker.MaxWait, t.Retry.MaxWait = 2*time.Minute, 2*time.Minute
		return t
	}},
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
	turns := make([]chan struct{}, len(w.services)) // a sender's is the turn; the others wait in order
	for i := range turns {
		turns[i] = make(chan struct{}, 1)
	}
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		c := req.Context().Value(callKey{}).(*call)
		ctx, stop := context.WithTimeout(req.Context(), w.s.patience()-usual)
		defer stop()
		turn := turns[c.model]
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		for {
			w.mu.Lock()
			d := w.services[c.model].ready(w.now())
			w.mu.Unlock()
			if d == 0 {
				return w.send(req, func() { <-turn })
			}
			if deadline, _ := ctx.Deadline(); d > time.Until(deadline) {
				<-turn
				return nil, context.DeadlineExceeded
			}
			if err := sleep(ctx, d); err != nil {
				<-turn
				return nil, err
			}
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
