package snubber_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// A call that the cache does not answer ends as it does without a cache: with the
// same response or error, after the same time and attempts, and with the same report
// except for the cache's part.
func TestCacheFailures(t *testing.T) {
	retrying := func(base http.RoundTripper) *snubber.Transport { return snubber.New(base) }
	bare := func(base http.RoundTripper) *snubber.Transport { return &snubber.Transport{Base: base} }
	nested := func(base http.RoundTripper) *snubber.Transport { return snubber.New(snubber.New(base)) }
	bounded := func(base http.RoundTripper) *snubber.Transport {
		rt := snubber.New(base)
		rt.Timeout = &snubber.Timeout{Headers: time.Second, Idle: time.Second}
		return rt
	}
	refusing := func(base http.RoundTripper) *snubber.Transport {
		rt := snubber.New(base)
		rt.Breaker.Trip("https://api.example.com m")
		rt.Breaker.Trip("https://api.example.com")
		return rt
	}
	falling := func(base http.RoundTripper) *snubber.Transport {
		rt := snubber.New(base)
		rt.Fallback = &snubber.Fallback{Routes: []snubber.Route{{Transport: wiretest.Play(wiretest.Step{Status: 500, Body: "route"})}, {Transport: wiretest.Play(wiretest.JSON(200, wiretest.Completion))}}}
		return rt
	}
	stacks := map[string]func(http.RoundTripper) *snubber.Transport{
		"bare": bare, "retrying": retrying, "nested": nested, "bounded": bounded, "refusing": refusing, "falling": falling,
	}
	bases := map[string]func() *wiretest.Script{
		"500": func() *wiretest.Script { return wiretest.Play(wiretest.Step{Status: 500, Body: "no"}) },
		"503, 200": func() *wiretest.Script {
			return wiretest.Play(wiretest.Step{Status: 503, Header: wiretest.Header("Retry-After", "2")}, wiretest.JSON(200, wiretest.Completion))
		},
		"429": func() *wiretest.Script {
			return wiretest.Play(wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "3"), Body: "{}"})
		},
		"429, later": func() *wiretest.Script {
			return wiretest.Play(wiretest.Step{Status: 429, Header: wiretest.Header("Retry-After", "300")})
		},
		"400": func() *wiretest.Script {
			return wiretest.Play(wiretest.Step{Status: 400, Body: `{"error":{"message":"bad"}}`})
		},
		"refused": func() *wiretest.Script { return wiretest.Play(wiretest.Step{Err: errors.New("connection refused")}) },
		"hangs":   func() *wiretest.Script { return wiretest.Play(wiretest.Step{Delay: time.Hour}) },
		"truncated": func() *wiretest.Script {
			return wiretest.Play(wiretest.Step{Stream: wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.DeltaEvent, Err: nil}, wiretest.Chunk{Err: io.ErrUnexpectedEOF}), Header: wiretest.Header("Content-Type", "text/event-stream")})
		},
		"stalls": func() *wiretest.Script {
			return wiretest.Play(wiretest.Step{Stream: wiretest.NewBody(wiretest.Chunk{At: 0, Text: wiretest.DeltaEvent, Err: nil}, wiretest.Chunk{At: 2 * time.Hour}), Header: wiretest.Header("Content-Type", "text/event-stream")})
		},
		"answers": func() *wiretest.Script { return wiretest.Play(wiretest.JSON(200, wiretest.Completion)) },
	}
	requests := map[string]func() *http.Request{
		"GET":       func() *http.Request { return wiretest.GetPage(t) },
		"prompt":    func() *http.Request { return wiretest.Chat(t) },
		"Stainless": func() *http.Request { return wiretest.Chat(t, "X-Stainless-Lang", "go") },
		"its retry": func() *http.Request {
			return wiretest.Chat(t, "X-Stainless-Lang", "go", "X-Stainless-Retry-Count", "1")
		},
		"stream": func() *http.Request { return wiretest.ChatStream(t, "X-Stainless-Lang", "go") },
		"POST":   func() *http.Request { return wiretest.NewRequest(t, "POST", "https://api.example.com/v1/files", "{}") },
	}
	ends := map[string]func(context.Context) (context.Context, context.CancelFunc){
		"a day": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 24*time.Hour)
		},
		"a while": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 10*time.Second)
		},
		"canceled": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return canceledAfter(ctx, 20*time.Second)
		},
	}
	// come is all that a caller can see of a call. Waits have jitter, so the time
	// is compared where there is none.
	come := func(t *testing.T, rt *snubber.Transport, base *wiretest.Script, req *http.Request, end func(context.Context) (context.Context, context.CancelFunc)) string {
		ctx, report := snubber.WithReport(context.Background())
		ctx, cancel := end(ctx)
		defer cancel()
		start := time.Now()
		s := ""
		res, err := rt.RoundTrip(req.WithContext(ctx))
		if err == nil {
			b, rerr := io.ReadAll(res.Body)
			res.Body.Close()
			res.Header.Del("Cache-Status")
			if rerr != nil && ctx.Err() != nil { // what the base says to it besides may be lost
				rerr = ctx.Err()
			}
			s = fmt.Sprint(res.StatusCode, res.Header, string(b), rerr, res.ContentLength, res.Request.Method, snubber.ReportOf(res).Load().Attempts)
		}
		r := report.Load()
		s += fmt.Sprint(err, r.Calls, r.Attempts, r.Requeued, r.AnsweredBy, r.Outcome.Class, r.Outcome.Reason, r.Outcome.Usage, base.Sent())
		if r.BackoffTime == 0 && r.QueueTime == 0 {
			s += time.Since(start).String()
		}
		return s
	}
	for stack, wrap := range stacks {
		for answer, base := range bases {
			for kind, request := range requests {
				for long, end := range ends {
					t.Run(stack+"/"+answer+"/"+kind+"/"+long, func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							b := base()
							without := come(t, wrap(b), b, request(), end)
							b = base()
							rt := wrap(b)
							rt.Cache = &snubber.Cache{PromptTTL: time.Hour}
							if with := come(t, rt, b, request(), end); with != without {
								t.Errorf("without:\n%s\nwith:\n%s", without, with)
							}
							time.Sleep(3 * time.Hour)
						})
					})
				}
			}
		}
	}
}

func canceledAfter(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() {})
	timer := time.AfterFunc(d, cancel)
	return ctx, func() { timer.Stop(); stop(); cancel() }
}
