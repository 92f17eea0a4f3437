package httpcache

import (
	"net/http"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// conditionFields are the header fields of a condition or a range.
var conditionFields = [...]string{"If-None-Match", "If-Modified-Since", "Range", "If-Range"}

// addCondition makes the exchange ask about the stored entry: beside the caller's own
// conditions, if it has any.
func (fl *flight) addCondition() {
	l, h := &fl.lookup, fl.exchange.Request().Header
	switch e := l.entry; {
	case e == nil || l.kind != kindGet:
	case e.Partial():
		rest, ifRange, ok := rfc9111.Rest(e.Header, e.Part)
		if !ok || e.Part.First > 0 || l.rules.Range || l.rules.Conditional {
			return
		}
		if loaded := l.core.storage.Load(l.access(), e); loaded != nil {
			l.entry = loaded
			setField(h, "Range", []string{rest})
			setField(h, "If-Range", []string{ifRange})
			fl.condition = conditionRest
		}
	case !l.rules.Conditional:
		if rfc9111.Conditions(h, e.Header) {
			fl.condition = conditionValidator
		}
	default:
		etag, own := e.Header["Etag"], l.header["If-None-Match"]
		if len(etag) > 0 && (len(own) > 0 || l.header["If-Modified-Since"] != nil) {
			setField(h, "If-None-Match", append(own[:len(own):len(own)], etag[0]))
			fl.condition = conditionValidator
		}
	}
}

// setField puts values in the place of a field of a request, however its name is
// written; nil removes it.
func setField(h http.Header, name string, values []string) {
	for key := range h {
		if len(key) == len(name) && strings.EqualFold(key, name) {
			delete(h, key)
		}
	}
	if values != nil {
		h[name] = values
	}
}

// handleCondition handles the response to the cache's own condition: a 304, or the rest
// of the entry. It returns true if it has published a result. Otherwise what was
// received is a response like any other.
func (fl *flight) handleCondition(requested time.Time) bool {
	res := fl.received.Response
	if res == nil || res.StatusCode == http.StatusOK {
		return false
	}
	switch {
	case fl.condition == conditionNone:
	case fl.received.Rerouted && res.StatusCode < 400:
		// Another route knows nothing about the entry. Ask it what the caller asks.
		fl.refetch()
	case fl.condition == conditionValidator && res.StatusCode == http.StatusNotModified:
		return fl.handleNotModified(requested)
	case fl.condition == conditionRest:
		return fl.handleRest(requested)
	}
	return false
}

// handleNotModified handles a 304.
func (fl *flight) handleNotModified(requested time.Time) bool {
	l, res := &fl.lookup, fl.received.Response
	if rfc9111.Confirms(l.entry.Header, res.Header) && (!l.rules.Conditional || res.Header["Etag"] != nil) {
		e := l.entry.Updated(l.core.policy, res.Header, requested, time.Now())
		l.storePending(&fl.pending, e, l.entry)
		fl.exchange.Discard()
		fl.publish(flightResult{
			kind: resultStored, entry: e, status: statusRevalidated,
			params: "; fwd=" + l.forwardReason + "; fwd-status=304",
		})
		return true
	}
	if l.rules.Conditional && res.Header["Etag"] != nil { // the caller's response is current, the entry is not
		l.core.storage.Delete(l.access(), l.entry.Key)
		return false
	}
	// It confirms another response than the entry, or does not say which.
	fl.refetch()
	return false
}

// handleRest handles the answer to a request for the rest of the entry.
func (fl *flight) handleRest(requested time.Time) bool {
	l, res := &fl.lookup, fl.received.Response
	rest, ok := rfc9111.ContentRange(res.Header)
	if ok && res.StatusCode == http.StatusPartialContent && rest.First == l.entry.Part.Last+1 {
		whole, ok := rfc9111.Combine(l.entry.Header, l.entry.Part, res.Header, rest)
		if ok && whole.Whole() && whole.Size <= l.core.MaxEntryBytes {
			fl.publishCompleted(whole, requested)
			return true
		}
	}
	if res.StatusCode < 500 {
		fl.refetch()
	}
	return false
}

// publishCompleted publishes one response made of the entry and of its rest, which is
// arriving.
func (fl *flight) publishCompleted(whole rfc9111.Span, requested time.Time) {
	l := &fl.lookup
	e := l.entry.Updated(l.core.policy, fl.received.Response.Header, requested, time.Now())
	e.SetContentRange(whole)
	e.Chunks, e.Size = nil, 0 // of the recording
	e.Prepare(l.core.policy)
	template := *fl.received.Response
	setStatusCode(&template, http.StatusOK)
	template.Header, template.ContentLength = e.Header, whole.Size
	fl.startRecording(l.entry.Chunks, l.entry.Size)
	fl.publish(flightResult{kind: resultStreaming, entry: e, template: &template})
}

// refetch asks again without the cache's own condition.
func (fl *flight) refetch() {
	fl.exchange.Discard()
	fl.exchange = fl.exchange.Again(fl, &fl.lookup)
	req := fl.exchange.Request()
	for _, name := range conditionFields {
		setField(req.Header, name, fl.callerHeader[name])
	}
	fl.lookup.setRequest(req)
	fl.lookup.entry, fl.condition = nil, conditionNone
	fl.received = fl.exchange.Send()
}
