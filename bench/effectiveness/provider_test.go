package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

const (
	ms = time.Millisecond
	s  = time.Second
)

// From half a call a second at one, to ten at ten.
var dropsAndReturns = []step{{s, bucket{perSecond: 0.5, burst: 1}}, {10 * s, perMinute(600)}}

// TestProvider is a provider's steps: a call at each instant, whether it is
// let in, and when the next could be.
func TestProvider(t *testing.T) {
	type arrival struct {
		at   time.Duration
		cost float64
		over kind
		wait time.Duration
		ends time.Duration // when it is let in: it ends then; 0: never
		used float64
	}
	two := bucket{perSecond: 2, burst: 2}
	tests := []struct {
		name string
		p    provider
		is   []arrival
	}{
		{"nothing limits", provider{}, []arrival{{}, {}, {}}},
		{"a bucket is full at first and fills evenly", provider{requests: two},
			[]arrival{{}, {}, {over: requests, wait: 500 * ms}, {at: 499 * ms, over: requests, wait: ms}, {at: 500 * ms}, {at: 10 * s}, {at: 10 * s}, {at: 10 * s, over: requests, wait: 500 * ms}}},
		{"a rejected call costs nothing", provider{requests: two},
			[]arrival{{}, {}, {at: 400 * ms, over: requests, wait: 100 * ms}, {at: 500 * ms}}},
		{"or what there is", provider{requests: two, charged: 1},
			[]arrival{{}, {}, {at: 400 * ms, over: requests, wait: 500 * ms}, {at: 800 * ms, over: requests, wait: 500 * ms}, {at: 1300 * ms}}},
		{"tokens", provider{tokens: bucket{perSecond: 100, burst: 1000}},
			[]arrival{{cost: 900}, {cost: 300, over: tokens, wait: 2 * s}, {cost: 100}, {at: s, cost: 100}}},
		{"the slower bucket tells the time", provider{requests: two, tokens: bucket{perSecond: 100, burst: 1000}},
			[]arrival{{cost: 900}, {cost: 100}, {cost: 100, over: tokens, wait: s}, {at: 400 * ms, cost: 10, over: requests, wait: 100 * ms}}},
		{"what was not used comes back", provider{tokens: bucket{perSecond: 1, burst: 1000}, refund: true},
			[]arrival{{cost: 1000, ends: s, used: 400}, {at: s, cost: 600}, {at: s, cost: 600, over: tokens, wait: 599 * s}}},
		{"an answer charged later leaves a debt", provider{tokens: bucket{perSecond: 100, burst: 1000}, later: true},
			[]arrival{{cost: 1000, ends: s, used: 1500}, {at: s, cost: 1, over: tokens, wait: 4010 * ms}}},
		{"places", provider{concurrent: 1}, []arrival{{ends: s}, {at: ms, over: concurrency}, {at: s}}},
		{"nobody before the gate opens", provider{requests: two, closed: 20 * s},
			[]arrival{{over: gate, wait: 20 * s}, {at: 19 * s, over: gate, wait: s}, {at: 20 * s}, {at: 20 * s}, {at: 20 * s, over: requests, wait: 500 * ms}}},
		{"the quota drops, and comes back", provider{requests: bucket{perSecond: 10, burst: 10}, steps: dropsAndReturns},
			[]arrival{{at: s}, {at: s, over: requests, wait: 2 * s}, {at: 8500 * ms}, {at: 8500 * ms, over: requests, wait: 1525 * ms}, {at: 12 * s}, {at: 12 * s}}},
		{"the minutes of the clock", provider{requests: bucket{perSecond: 1. / 30, burst: 2, window: time.Minute}},
			[]arrival{{at: 50 * s}, {at: 50 * s}, {at: 50 * s, over: requests, wait: 10 * s}, {at: 60 * s}, {at: 61 * s}, {at: 62 * s, over: requests, wait: 58 * s}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := tt.p.fresh()
			for i, is := range tt.is {
				for _, before := range tt.is[:i] {
					if before.ends > now.at && before.ends <= is.at {
						now = tt.p.depart(now, before.ends, before.cost, before.used)
					}
				}
				var v verdict
				now, v = tt.p.arrive(now, is.at, is.cost, 0.5)
				if v.over != is.over || (v.wait-is.wait).Abs() > time.Microsecond {
					t.Fatalf("call %d: over %q, wait %v; want %q, %v", i, v.over, v.wait, is.over, is.wait)
				}
			}
		})
	}
}

// TestGranted: what the quota allows in all is what the fastest client gets.
func TestGranted(t *testing.T) {
	for _, p := range []provider{
		{requests: perMinute(600)},
		{requests: perMinute(600), steps: dropsAndReturns},
		{requests: bucket{perSecond: 1, burst: 60, window: time.Minute}},
	} {
		const until = 150 * s
		now, n := p.fresh(), 0
		for at := time.Duration(0); at < until; {
			if d, _ := p.until(now, at, 0); d > 0 {
				at += d
				continue
			}
			now, _ = p.arrive(now, at, 0, 0.5)
			n++
		}
		b, _ := p.requestsAt(0)
		if want := b.burst + p.granted(0, until-1); math.Abs(float64(n)-want) > 10 {
			t.Errorf("%+v: %d calls in %v, want %.1f", p.requests, n, until, want)
		}
	}
}

// TestProviderIsUnderstood: what the provider says is what the library hears.
func TestProviderIsUnderstood(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 300e6, time.UTC)
	for _, says := range []dialect{silent, openAI, anthropic, ietf} {
		for h, want := range map[hint][2]time.Duration{
			noHint: {}, milliseconds: {1700 * ms, 1700 * ms}, half: {850 * ms, 850 * ms},
			wholeSeconds: {2 * s, 2 * s}, date: {2 * s, 2 * s},
		} {
			t.Run(fmt.Sprintf("%s, hint %s", says, h), func(t *testing.T) {
				sc := &scenario{provider: provider{says: says, hint: h, requests: perMinute(600), tokens: bucket{perSecond: 100, burst: 200}}}
				c := chat(1, rand.New(rand.NewPCG(1, 1)))
				req, err := c.request(context.Background(), sc)
				if err != nil {
					t.Fatal(err)
				}
				p := &sc.provider
				state := p.fresh()
				state.tokens = 30
				_, v := p.arrive(state, 0, 200, 0.5)
				o := snubber.Classify(req, p.respond(req, c, v, now), nil)
				if o.Class != snubber.RateLimited {
					t.Errorf("Class = %v", o.Class)
				}
				wait := time.Duration(0)
				if !o.NotBefore.IsZero() {
					wait = time.Until(o.NotBefore).Round(50 * ms)
				}
				// The tokens' reset is no wait: something is left in the bucket.
				if wait != want[0].Round(50*ms) && h != date {
					t.Errorf("wait %v, want %v", wait, want[0])
				}
				limits := map[string]int64{}
				for _, q := range o.Quotas {
					limits[q.Kind] = q.Limit
				}
				if says != silent && (limits["requests"] != 600 || limits["tokens"] != 6000) || says == silent && len(limits) > 0 {
					t.Errorf("limits %v", limits)
				}

				_, v = p.arrive(p.fresh(), 0, 100, 0.5)
				if o := snubber.Classify(req, p.respond(req, c, v, now), nil); o.Class != snubber.Success || !o.NotBefore.IsZero() {
					t.Errorf("let in: %+v", o)
				}
			})
		}
	}
}
