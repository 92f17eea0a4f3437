package httpcache

import (
	"net/http"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// RoundTrip answers a request: from an entry, from the exchange of another caller that
// is under way, or from the layers below.
func (c *Cache) RoundTrip(caller Caller) (res *http.Response, err error) {
	r := &roundTrip{cache: c, lookup: lookup{core: &c.core, call: caller, now: time.Now()}}
	r.setRequest(caller.Request())
	defer r.release()
	if r.bypassReason = r.classify(); r.bypassReason != "" {
		r.kind = kindBypass
	}
	res, err = r.answer()
	r.finished = true
	return res, err
}

func (r *roundTrip) answer() (*http.Response, error) {
	if r.kind == kindBypass {
		return r.bypass()
	}
	r.find()
	if use := r.use(); use != rfc9111.Validate {
		if res, err, ok := r.hit(use); ok {
			return res, err
		}
	}
	switch {
	case r.rules.OnlyIfCached:
		return r.gatewayTimeout()
	case r.kind == kindHead:
		return r.bypass()
	}
	if r.kind == kindPrompt {
		r.watchMiss()
	}
	return r.fetch()
}
