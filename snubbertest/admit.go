package snubbertest

import (
	"math"
	"time"
)

// verdict is what becomes of a call, decided at its arrival.
type verdict struct {
	delay            time.Duration
	fault            Fault
	reply            *Reply   // the scripted one
	failure          *failure // the answer is this error
	requests, tokens level    // the quota to tell
	now              time.Time
}

// arrive records a call and decides its fate, all in one moment.
func (p *Provider) arrive(c *call, oversized bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.epoch.IsZero() {
		minute := p.Minute
		if minute <= 0 {
			minute = time.Minute
		}
		p.epoch = now
		p.requests = newBucket(p.RequestsPerMinute, p.Burst, minute)
		p.tokens = newBucket(p.TokensPerMinute, p.TokenBurst, minute)
	}
	p.recordLocked(c, now)
	c.verdict = p.decideLocked(c, now, oversized)
	c.record.Fault = c.verdict.fault.Kind
	c.verdict.now = now
	c.verdict.requests = p.requests.level(p.sinceEpoch(now))
	c.verdict.tokens = p.tokens.level(p.sinceEpoch(now))
}

// sinceEpoch is the buckets' time. A clock that ran backwards stands still.
func (p *Provider) sinceEpoch(t time.Time) uint64 { return uint64(max(t.Sub(p.epoch), 0)) }

func (p *Provider) decideLocked(c *call, now time.Time, oversized bool) (v verdict) {
	if len(p.script) > 0 {
		r := p.script[0]
		p.script = p.script[1:]
		v.reply, v.fault = &r, r.Fault
		switch {
		case r.Fault.Kind == Slow:
			v.delay = p.Latency + r.Fault.Delay
		case r.Fault.Kind != 0 && r.Fault.Kind < WrongRetryAfter:
			v.delay, v.failure = r.Fault.Delay, r.Fault.failure(c)
		case r.Body == "" && r.Status >= 400:
			v.failure = c.failure(problemOf(r.Status), r.Status)
		case r.Body == "" && c.wrong != "":
			v.failure = &failure{problem: badRequest, message: c.wrong}
		default:
			v.delay = p.Latency
		}
		return v
	}
	if f := p.strikeLocked(now, c, Outage, BrownOut); f.Kind != 0 {
		return verdict{fault: f, delay: f.Delay, failure: f.failure(c)}
	}
	switch {
	case oversized:
		v.failure = &failure{problem: tooLarge, status: 413, model: c.record.Model}
	case c.api == nil:
		v.failure = &failure{problem: notFound}
	case c.wrong != "":
		v.failure = &failure{problem: badRequest, message: c.wrong}
	default:
		v.failure = p.admitLocked(c, p.sinceEpoch(now))
	}
	if v.failure != nil {
		if v.failure.problem == failLimited {
			if f := p.strikeLocked(now, c, WrongRetryAfter, WrongRetryAfter); f.Kind != 0 {
				v.fault, v.failure.retryAfter = f, f.RetryAfter
			}
		}
		return v
	}
	slow := p.strikeLocked(now, c, Slow, Slow)
	v.delay = p.Latency + slow.Delay
	if v.fault = p.strikeLocked(now, c, Stall, Reset); v.fault.Kind == 0 {
		v.fault = slow
	}
	return v
}

// admitLocked takes the call's share of the quota or says why not.
func (p *Provider) admitLocked(c *call, now uint64) *failure {
	in, most := uint64(c.record.InputTokens), uint64(c.prompt.maximum())
	n := in + most
	f := &failure{problem: failLimited, model: c.record.Model, exact: p.RetryAfterMs}
	requests, tokens := p.requests.wait(now, 1), p.tokens.wait(now, n)
	switch {
	case p.tokens.limit > 0 && n > p.tokens.burst:
		f.problem, f.unit = tooLarge, "tokens"
		f.limit, f.requested = int(p.tokens.burst), int(min(n, math.MaxInt))
		return f
	case tokens > requests:
		f.unit, f.requested = "tokens", int(n)
		f.limit, f.used = p.tokens.used(now)
	case requests > 0:
		f.unit, f.requested = "requests", 1
		f.limit, f.used = p.requests.used(now)
	case p.Concurrent > 0 && p.busy >= p.Concurrent:
		f.unit, f.limit, f.used, f.requested = "concurrency", p.Concurrent, p.busy, 1
	default:
		p.requests.take(now, 1)
		p.tokens.take(now, n)
		p.busy++
		c.admitted, c.charged, c.bounded = true, n, most > 0
		return nil
	}
	if p.RejectedCharged && f.unit != "concurrency" {
		p.requests.drain(now, 1)
		p.tokens.drain(now, n)
		requests, tokens = p.requests.wait(now, 1), p.tokens.wait(now, n)
	}
	if !p.NoRetryAfter {
		f.wait = max(requests, tokens)
	}
	return f
}

// settleLocked corrects the charge of a complete call.
func (p *Provider) settleLocked(c *call, now uint64) {
	used := uint64(c.record.InputTokens + c.record.OutputTokens)
	switch {
	case used > c.charged && !c.bounded:
		p.tokens.take(now, used-c.charged)
	case used < c.charged && p.Refund:
		p.tokens.put(now, c.charged-used)
	}
}
