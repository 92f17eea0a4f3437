package snubber

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/body"
)

// call is one round trip of one Transport: the caller's request, what was read of it,
// and its first attempt, in one allocation. Its size is most of what a call costs. What
// only a failing call needs is in exchangeExtra.
type call struct {
	exchange
	replay body.Replay
	first  attempt
}

var (
	errNoURL      = errors.New("http: nil Request.URL")
	errNoHeader   = errors.New("http: nil Request.Header")
	errNoResponse = errors.New("the base RoundTripper returned neither a response nor an error")
)

// init makes c a call. parent is nil for the outermost Transport.
func (c *call) init(t *Transport, known knownRequest, parent *attempt, replay body.Replay) {
	c.t, c.knownRequest, c.parent, c.replay = t, known, parent, replay
	c.first.prepare(c)
}

// hookRequest returns the request for the functions of the user. [Model] works with it.
func (c *call) hookRequest() *http.Request { return &c.first.req }

func (c *call) newAttempt() *attempt {
	if c.tally.tried == 0 {
		return &c.first
	}
	a := new(attempt)
	a.prepare(c)
	return a
}

func isDeadline(ctx context.Context) bool { return errors.Is(ctx.Err(), context.DeadlineExceeded) }

// nextBackoff returns the next wait of the call's backoff.
func (c *call) nextBackoff(o Outcome, now time.Time) time.Duration {
	e := c.extra()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.backoff == nil {
		rt := c.t.Retry
		if rt == nil {
			rt = &Retry{}
		}
		e.backoff = rt.newBackoff()
	}
	return e.backoff.next(o, now)
}

// refundRetry pays back an attempt that the budget has paid for and that is not sent.
func (c *call) refundRetry(kind admission) {
	if kind == budgetedTry || kind == hedgeTry {
		c.t.Retry.budgetOrOwn().refund(c.serviceKey(), time.Now())
	}
}

// waitFits reports whether a wait may begin: it ends within MaxWait and before the
// caller's deadline.
func (c *call) waitFits(wait time.Duration, now time.Time) bool {
	return wait <= c.t.Retry.maxWait() && c.beforeDeadline(wait, now)
}

func (c *call) beforeDeadline(wait time.Duration, now time.Time) bool {
	deadline, ok := c.ctx().Deadline()
	return !ok || now.Add(wait).Before(deadline)
}

// prepare makes the attempt's request: the caller's, with the attempt as its context.
// The header map is the caller's own, and no layer writes to it.
func (a *attempt) prepare(c *call) {
	a.exchange = &c.exchange
	a.req = *c.req.WithContext(a)
	a.req.GetBody = c.replay.GetBody
}
