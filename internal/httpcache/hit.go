package httpcache

import (
	"context"
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// hit answers with the entry. ok is false if the store does not have it any more.
func (r *roundTrip) hit(use rfc9111.Use) (res *http.Response, err error, ok bool) {
	status, detail := statusHit, ""
	switch use {
	case rfc9111.Stale:
		status, detail = statusStale, "max-stale"
	case rfc9111.Refresh:
		status, detail = statusStale, "stale-while-revalidate"
	}
	params := append(make([]byte, 0, 40), "; hit; ttl="...)
	res = r.response(r.entry, appendSeconds(params, r.entry.Meta.TTL(r.now)), detail)
	if res == nil {
		r.forget()
		return nil, nil, false
	}
	if use == rfc9111.Refresh { // now that the response to the caller cannot be the new one
		r.refresh()
	}
	res, err = r.deliverStored(res, status, detail)
	return res, err, true
}

// deliverStored gives the caller a response that no exchange of its own has brought.
func (r *roundTrip) deliverStored(res *http.Response, status, detail string) (*http.Response, error) {
	r.res = res
	r.call.SetStatus(status, detail)
	return r.call.Deliver(res, nil, nil)
}

// gatewayTimeout answers only-if-cached if there is no entry.
func (r *roundTrip) gatewayTimeout() (*http.Response, error) {
	h := make(http.Header, 2)
	h["Content-Length"] = []string{"0"}
	addStatus(h, "; fwd="+r.forwardReason, "only-if-cached")
	res := new(http.Response)
	setResponse(res, http.StatusGatewayTimeout, h)
	return r.deliverStored(res, statusMiss, "only-if-cached")
}

// refreshTime bounds a refresh, which no caller waits for.
const refreshTime = 30 * time.Second

// refresh asks the server for a new response while the caller has the stale one.
func (r *roundTrip) refresh() {
	partial := r.entry.Partial()
	key := r.flightKey()
	if partial {
		// A key that nobody joins.
		key = r.core.keys.forVariant(r.key, [16]byte{2}, []string{"If-Range", "Range"}, r.header)
	}
	fl := r.cache.flights.beginRefresh(&r.lookup, key, r.now.Add(refreshTime))
	if fl == nil {
		return
	}
	if !partial {
		// The refresh fetches the whole entry, not the range or condition of the caller
		// that triggered it.
		fl.lookup.rules.Range, fl.lookup.rules.Conditional = false, false
		for _, name := range conditionFields {
			setField(fl.lookup.req.Header, name, nil)
		}
		fl.lookup.setRequest(fl.lookup.req)
	}
	go func() {
		timer := time.AfterFunc(refreshTime, func() { fl.end(context.DeadlineExceeded) })
		defer timer.Stop()
		fl.run()
	}()
}
