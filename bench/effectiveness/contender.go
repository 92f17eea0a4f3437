package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// ask makes one call through a contender. An answer is nil, all else is a
// failure that the caller sees.
type ask func(context.Context, *call) error

// contender is a way to call a provider.
type contender struct {
	name  string
	knows bool // it was told the quota
	make  func(*world, *scenario) ask
}

var contenders = []*contender{
	{name: "oracle", knows: true, make: oracle},
	{name: "snubber", make: func(w *world, s *scenario) ask {
		return through(s, w.watch(snubber.New(w)))
	}},
	{name: "snubber, told", knows: true, make: func(w *world, s *scenario) ask {
		t := snubber.New(w)
		t.Limiter.RequestsPerMinute = int(s.told.requests.perSecond*60 + 0.5)
		t.Limiter.TokensPerMinute = int(s.told.tokens.perSecond*60 + 0.5)
		t.Limiter.Concurrent = s.told.concurrent
		return through(s, w.watch(t))
	}},
	{name: "openai-go over snubber", make: sdk(func(w *world) http.RoundTripper { return w.watch(snubber.New(w)) })},
	{name: "backoff + x/time/rate, told", knows: true, make: byHand},
	{name: "failsafe-go, told", knows: true, make: failsafeTold},
	{name: "go-retryablehttp", make: retryable},
	{name: "openai-go", make: sdk(func(w *world) http.RoundTripper { return w })},
	{name: "sleep(2**attempt)", make: doubling},
	{name: "bare", make: func(w *world, s *scenario) ask { return through(s, w) }},
}

// oracle knows the provider's rules and what is in its buckets, and lets the
// calls in strictly in turn: no client can do better.
func oracle(w *world, s *scenario) ask {
	if w.turn == nil {
		w.turn = make(chan struct{}, 1)
	}
	return func(ctx context.Context, c *call) error {
		select {
		case w.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		for {
			d, freed := w.until(c)
			if d == 0 {
				break
			}
			if d < 0 {
				d = time.Hour
			}
			t := time.NewTimer(d)
			select {
			case <-t.C:
			case <-freed: // the end of another call may have made room
			case <-ctx.Done():
			}
			t.Stop()
			if ctx.Err() != nil {
				<-w.turn
				return ctx.Err()
			}
		}
		v := w.arrive(c)
		<-w.turn
		req, err := c.request(ctx, s)
		if err != nil {
			return err
		}
		res, err := w.serve(req, c, v)
		return read(res, err)
	}
}

// through makes the calls as a program does, over an http.Client with the
// round-tripper.
func through(s *scenario, rt http.RoundTripper) ask {
	client := &http.Client{Transport: rt}
	return func(ctx context.Context, c *call) error {
		req, err := c.request(ctx, s)
		if err != nil {
			return err
		}
		return read(client.Do(req))
	}
}

var errStatus = errors.New("not an answer")

func read(res *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s", errStatus, res.Status)
	}
	return nil
}

// request is the call on the wire. Its text has four bytes a token, as English has.
func (c *call) request(ctx context.Context, s *scenario) (*http.Request, error) {
	url, model := "https://api.openai.com/v1/chat/completions", "gpt-4o"
	if s.provider.says == anthropic {
		url, model = "https://api.anthropic.com/v1/messages", "claude-sonnet-4-5"
	}
	body := fmt.Sprintf(`{"model":%q,"max_tokens":%d,"messages":[{"role":"user","content":%q}]}`, model, c.max, c.prompt())
	if c.priority != 0 {
		ctx = snubber.WithPriority(ctx, c.priority)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer sk-simulated")
	return req, nil
}

func (c *call) prompt() string { return strings.Repeat("word", max(0, c.input)) }
