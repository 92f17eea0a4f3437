package httpcache

import (
	"context"
	"time"
)

// refreshTime bounds a refresh, which no caller waits for.
const refreshTime = 30 * time.Second

// refresh asks the server for a new response while the caller has the stale one.
func (r *roundTrip) refresh() {
	partial := r.entry.Partial()
	key := r.flightKey()
	if partial {
		// A key that nobody joins.
		key = r.core.keys.forVariant(r.key, [16]byte{2}, []string{"If-Range", "Range"}, r.req.Header)
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
			delete(fl.lookup.req.Header, name)
		}
	}
	go func() {
		timer := time.AfterFunc(refreshTime, func() { fl.end(context.DeadlineExceeded) })
		defer timer.Stop()
		fl.run()
	}()
}
