package snubber

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/httpcache"
	"github.com/seed-9e4f5248/snubber/internal/keyed"
)

// call is one round trip of one Transport: the caller's request, what was read
// of it, and its first attempt, in one allocation. Its size is most of what a
// call costs; what only failing calls need is in callExtra.
type call struct {
	t      *Transport
	in     *http.Request // the caller's, never written to
	outer  *attempt      // of the Transport around this one; nil for the outermost
	asked  asked
	replay replay

	circuit *circuit
	queue   *keyQueue
	lazy    atomic.Pointer[callExtra]
	tried   int32 // attempts of this Transport
	tally   tally // of the outermost call

	first attempt
}

// callExtra is what a call needs only when it does not go straight through.
type callExtra struct {
	owed   bool                  // a retry that the budget paid for was sent back by a limit
	stale  httpcache.StaleSource // of the cache, whose exchange this call is
	route  int                   // that is tried, from 1
	below  bool                  // and has this Transport's layers
	router router                // of a Spread's call

	mu    sync.Mutex // attempts that race may be here at once
	pause *pause
	gated time.Time // until when this call's own 429 has shut the gate
}

var (
	errNoURL    = errors.New("http: nil Request.URL")
	errNoHeader = errors.New("http: nil Request.Header")
	errNothing  = errors.New("the base RoundTripper returned neither a response nor an error")
)

func (c *call) ctx() context.Context { return c.in.Context() }

// view is the request as the functions of the user get it: [Model] knows it.
func (c *call) view() *http.Request { return &c.first.req }

func (c *call) newAttempt() *attempt {
	if c.tried == 0 {
		return &c.first
	}
	a := new(attempt)
	a.prepare(c)
	return a
}

func isDeadline(ctx context.Context) bool { return errors.Is(ctx.Err(), context.DeadlineExceeded) }

func (e *callExtra) setGatedUntil(t time.Time) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gated = t
	return t
}

func (e *callExtra) gatedUntil() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gated
}

// extra is the call's callExtra, made when it is first needed. A Transport below
// may need it at the same time.
func (c *call) extra() *callExtra {
	if e := c.lazy.Load(); e != nil {
		return e
	}
	c.lazy.CompareAndSwap(nil, new(callExtra))
	return c.lazy.Load()
}

// nextPause is the next wait of the call's backoff.
func (c *call) nextPause(o Outcome, now time.Time) time.Duration {
	e := c.extra()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pause == nil {
		rt := c.t.Retry
		if rt == nil {
			rt = &Retry{}
		}
		e.pause = rt.newPause()
	}
	return e.pause.next(o, now)
}

// serviceKey names what the call goes to: its circuit's key, which the retry
// budget shares.
func (c *call) serviceKey() keyed.Key {
	if c.circuit != nil {
		return c.circuit.key
	}
	return keyed.Origin(c.view().URL, c.asked.model)
}

// fits reports whether a wait may begin: it ends within MaxWait and before the
// caller's deadline.
func (c *call) fits(wait time.Duration, now time.Time) bool {
	return wait <= c.t.Retry.maxWait() && c.inTime(wait, now)
}

func (c *call) inTime(wait time.Duration, now time.Time) bool {
	deadline, ok := c.ctx().Deadline()
	return !ok || now.Add(wait).Before(deadline)
}
