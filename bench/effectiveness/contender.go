package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// ask makes one call through a contender. An answer is nil, all else is a
// failure that the caller sees.
type ask func(context.Context, *call) error

// contender is a way to call a provider.
type contender struct {
	name    string
	knows   bool // it was told the quota
	peer    bool // somebody else's
	openAI  bool // speaks to nobody else
	batches bool // would only fail, many times a second, for as long as it is let
	make    func(*world, *scenario) ask
}

// fits reports whether the contender can play at all.
func (c *contender) fits(s *scenario) bool {
	return !(c.name == obedient && s.rival != obedient) && !(c.peer && s.variant) && !(c.batches && s.load.endless()) && !(c.openAI && s.provider.says == anthropic)
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
		t.Limiter.MaxConcurrent = s.told.concurrent
		return through(s, w.watch(t))
	}},
	{name: "openai-go over snubber", openAI: true, make: sdk(func(w *world) http.RoundTripper { return w.watch(snubber.New(w)) })},
	{name: "backoff + x/time/rate, told", peer: true, knows: true, make: byHand},
	{name: "failsafe-go, told", peer: true, knows: true, make: failsafeTold},
	{name: "go-retryablehttp", peer: true, make: retryable},
	{name: "openai-go", peer: true, openAI: true, make: sdk(func(w *world) http.RoundTripper { return w })},
	{name: "sleep(2**attempt)", peer: true, make: doubling},
	{name: obedient, make: obeying},
	{name: "bare", peer: true, batches: true, make: func(w *world, s *scenario) ask { return through(s, w) }},
}

// obedient is a client that makes up to three tries, waits as it is told for up to
// a minute, and half a second, doubling, where it is told nothing.
const obedient = "bare, obeying"

func obeying(w *world, s *scenario) ask {
	client := &http.Client{Transport: w}
	return func(ctx context.Context, c *call) error {
		for n := 0; ; n++ {
			req, err := c.request(ctx, s)
			if err != nil {
				return err
			}
			res, err := client.Do(req)
			if err != nil {
				return err
			}
			wait := 500 * time.Millisecond << n
			told := res.Header.Get("Retry-After")
			if d, err := time.ParseDuration(told + "s"); err == nil {
				wait = d
			} else if d, err := time.ParseDuration(res.Header.Get("Retry-After-Ms") + "ms"); err == nil {
				wait = d
			}
			again := res.StatusCode == http.StatusTooManyRequests && s.provider.odd.says != "exhausted" && s.provider.odd.says != "daily"
			if err = read(res, nil); err == nil || !again || n == 2 || wait > time.Minute {
				return err
			}
			if err := sleep(ctx, wait); err != nil {
				return err
			}
		}
	}
}

// oracle knows the provider's rules and what is in its buckets, and lets the
// calls in strictly in turn, by priority and then by age: no client can do
// better.
func oracle(w *world, _ *scenario) ask {
	return func(ctx context.Context, c *call) error {
		w.turn.take(c)
		for ctx.Err() == nil {
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
		}
		if ctx.Err() != nil {
			w.turn.give()
			return ctx.Err()
		}
		v := w.arrive(c)
		for v.over == chance { // not even the oracle knows, but asking again costs nothing
			v = w.arrive(c)
		}
		w.turn.give()
		return w.serve(ctx, c, v)
	}
}

// turn is a lock that the first in line gets.
type turn struct {
	mu      sync.Mutex
	taken   bool
	waiting []place // the next one first
}

type place struct {
	c     *call
	ready chan struct{}
}

func (t *turn) take(c *call) {
	t.mu.Lock()
	if !t.taken {
		t.taken = true
		t.mu.Unlock()
		return
	}
	p := place{c, make(chan struct{})}
	i, _ := slices.BinarySearchFunc(t.waiting, p, func(a, b place) int {
		return cmp.Or(cmp.Compare(b.c.priority, a.c.priority), cmp.Compare(a.c.id, b.c.id))
	})
	t.waiting = slices.Insert(t.waiting, i, p)
	t.mu.Unlock()
	<-p.ready
}

func (t *turn) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken = len(t.waiting) > 0; t.taken {
		close(t.waiting[0].ready)
		t.waiting = t.waiting[1:]
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
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s", errStatus, res.Status)
	}
	if bytes.HasPrefix(b, []byte("event: error")) {
		return errStatus
	}
	return nil
}

// request is the call on the wire. Its text has four bytes a token, as English has.
func (c *call) request(ctx context.Context, s *scenario) (*http.Request, error) {
	url, model := "https://api.openai.com/v1/chat/completions", "gpt-4o"
	if s.provider.says == anthropic {
		url, model = "https://api.anthropic.com/v1/messages", "claude-sonnet-4-5"
	}
	stream := ""
	if s.provider.streams {
		stream = `"stream":true,`
	}
	body := fmt.Sprintf(`{"model":"%s",%s"max_tokens":%d,"messages":[{"role":"user","content":"%s"}]}`, model, stream, c.max, c.prompt())
	if c.priority != 0 {
		ctx = snubber.WithPriority(ctx, c.priority)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer sk-simulated")
	return req, nil
}

func (c *call) prompt() string { return strings.Repeat("word", c.input) }
