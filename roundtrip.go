package snubber

import "net/http"

// RoundTrip implements [http.RoundTripper]. When the attempts have run out it returns
// the last response as it came, and no error. An error is Base's own, the context's, a
// [*TimeoutError] or a [*RejectedError].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c, err := t.newCall(req, router{})
	if err != nil {
		return failUnsent(req, err)
	}
	if c.t.Cache != nil {
		return c.t.Cache.cache().RoundTrip((*cacheCall)(c))
	}
	return c.serveUncached()
}

// CloseIdleConnections closes the idle connections of Base and of every route of the
// Fallback. http.Client calls it on its Transport.
func (t *Transport) CloseIdleConnections() {
	if !t.closing.CompareAndSwap(false, true) {
		return // t is a route of itself
	}
	defer t.closing.Store(false)
	closeIdle(t.base())
	if t.Fallback != nil {
		for _, r := range t.Fallback.Routes {
			closeIdle(r.Transport)
		}
	}
}

// newCall returns the call of a caller's request. On an error it leaves the body open.
func (t *Transport) newCall(req *http.Request, routes router) (*call, error) {
	switch {
	case req.URL == nil:
		return nil, errNoURL
	case req.Header == nil:
		return nil, errNoHeader
	case t.Limiter.unshareable():
		return nil, errNoSecret
	}
	ctx := req.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	parent := parentAttempt(ctx)
	if parent != nil && t.Fallback != nil && t.reroutes(parent) {
		t = t.routeLayers() // t is a route of itself: trying its routes would never end
	}
	c := new(call)
	record, count := t.Retry != nil || t.Fallback != nil || routes.alternatives() > 0, t.Limiter.counts()
	info, body, err := readRequest(req, record, count)
	if err != nil {
		return nil, err
	}
	c.init(t, knownRequest{req: req, info: info}, parent, body)
	if routes.balanced() {
		routes.hookRequest = c.hookRequest()
		c.extra().router = routes
	}
	if t.parent != nil {
		c.markRouteObserves()
	}
	if t.Retry != nil {
		c.root().setLimit(t.Retry.attempts())
	}
	if parent == nil {
		if h, _ := ctx.Value(reportHandleKey{}).(*ReportHandle); h != nil {
			c.tally.startReport(h)
		}
	}
	return c, nil
}
