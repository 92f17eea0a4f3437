package httpcache

import (
	"net/http"

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
