package snubber

import (
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/body"
)

// ReadyAt predicts what RoundTrip would do with req now. at is the earliest time at
// which it would send the request, zero for at once. err is the [*RejectedError] that
// it would return. ReadyAt takes no permit, and reads only a copy of the body.
func (t *Transport) ReadyAt(req *http.Request) (at time.Time, err error) {
	if req.URL == nil {
		return at, errNoURL
	}
	if t.Limiter.unshareable() {
		return at, errNoSecret
	}
	parent := parentAttempt(req.Context())
	if at, err = t.readyWithoutRoutes(req); err == nil || t.Fallback == nil || t.reroutes(parent) {
		return at, err
	}
	o := classifyError(req, err)
	if o.Class != Rejected {
		return at, err
	}
	c := new(call)
	c.init(t, knownRequest{req: req}, parent, body.Replay{GetBody: req.GetBody})
	c.first.kind = viaRoute
	for i := range t.Fallback.Routes { // RoundTrip would try them
		route := &t.Fallback.Routes[i]
		if !route.accepts(req, o) {
			continue
		}
		b, ok := route.Transport.(readier)
		if !ok {
			return time.Time{}, nil
		}
		if then, none := b.ReadyAt(c.hookRequest()); none == nil && (err != nil || then.Before(at)) {
			at, err = then, nil
		}
	}
	return at, err
}

// readyWithoutRoutes is ReadyAt without the routes of the Fallback.
func (t *Transport) readyWithoutRoutes(req *http.Request) (at time.Time, err error) {
	now := time.Now()
	info := infoOf(req, t.Limiter.counts())
	if b := t.Breaker; b != nil {
		k := b.keyOf(req, info.model)
		if c, ok := b.circuits.Find(k); ok {
			if until, ok := c.Check(now, t.Retry != nil && b.maxWait() > 0); !ok {
				return time.Time{}, circuitOpen(k, until, now)
			}
		}
	}
	if l := t.Limiter; l != nil {
		peek := body.Peek(req)
		q := l.queue(l.keyOf(req, info.model), now)
		var refusal *RejectedError
		if at, refusal = q.predict(req.Context(), l.cost(q, req, info, &peek), now); refusal != nil {
			return time.Time{}, refusal
		}
	}
	if b, ok := t.base().(readier); ok {
		below, err := b.ReadyAt(req)
		if err != nil {
			return time.Time{}, err
		}
		if below.After(at) {
			at = below
		}
	}
	return at, nil
}
