package httpcache

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/cachestore"
	"github.com/seed-9e4f5248/snubber/internal/rfc9111"
)

// decideSharing decides which callers get what was received, and publishes that.
func (fl *flight) decideSharing(requested time.Time) {
	l, res, now := &fl.lookup, fl.received.Response, time.Now()
	l.now = now
	switch {
	case fl.Err() == nil && failed(fl.received) && l.mayServeStale(now, l.core.StaleIfError):
		fl.publishStale()
		return
	case res == nil:
		fl.publish(flightResult{kind: resultUnshared})
		return
	}
	e, unstorable := fl.newEntry(requested, now)
	if unstorable == "" && res.ContentLength > l.core.MaxEntryBytes {
		unstorable = "too large"
	}
	if unstorable != "" {
		fl.publishUnstorable(unstorable, now)
		return
	}
	if res.StatusCode >= 400 { // not shared: one failure is not to be everybody's
		fl.group.unlink(fl)
	}
	template := res
	if t := res.Trailer; t != nil { // into which net/http writes at the end of the body
		announced := *res
		announced.Trailer = t.Clone()
		template = &announced
	}
	fl.startRecording(nil, 0)
	fl.replayed = l.stream || isStream(res.Header.Get("Content-Type"))
	fl.publish(flightResult{kind: resultStreaming, entry: e, template: template})
}

// isStream reports whether a body of this type is a stream of events.
func isStream(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(media)) {
	case "text/event-stream", "application/vnd.amazon.eventstream", "application/x-ndjson", "application/stream+json", "application/jsonl":
		return true
	}
	return false
}

// failed reports whether a stale response is better than what was received.
func failed(r Result) bool {
	if r.Err != nil {
		return !r.Canceled
	}
	switch r.Response.StatusCode {
	case 500, 502, 503, 504:
		return true
	}
	return false
}

// publishStale publishes the entry in place of a failure.
func (fl *flight) publishStale() {
	params := "; fwd=stale"
	if res := fl.received.Response; res != nil {
		params += "; fwd-status=" + strconv.Itoa(res.StatusCode)
	}
	fl.exchange.Discard()
	fl.publish(flightResult{kind: resultStored, entry: fl.lookup.entry, status: statusStale, params: params, detail: detailStaleIfError})
}

const detailStaleIfError = "stale-if-error"

// publishUnstorable gives the response to the leader alone.
func (fl *flight) publishUnstorable(reason string, now time.Time) {
	l, status := &fl.lookup, fl.received.Response.StatusCode
	changed := status < 400 || status == http.StatusNotFound || status == http.StatusGone
	if l.entry != nil && changed && !fl.received.Rerouted {
		l.core.storage.Delete(l.access(), l.entry.Key)
	}
	if status < 400 {
		fl.group.markUnshareable(fl.key, now)
	}
	fl.publish(flightResult{kind: resultUnshared, detail: reason})
}

// newEntry makes the entry of the received response, without its body, or says why
// there is none.
func (fl *flight) newEntry(requested, now time.Time) (_ *cachestore.Entry, unstorable string) {
	switch {
	case fl.received.Rerouted:
		return nil, "fallback"
	case fl.received.Truncated:
		return nil, "cut"
	}
	l, res := &fl.lookup, fl.received.Response
	e := &cachestore.Entry{
		Key: l.key, Primary: l.key, Prompt: l.kind == kindPrompt, Method: http.MethodGet, URL: publicURL(l.req.URL),
		Status: res.StatusCode, Uncompressed: res.Uncompressed, Negotiated: l.header["Accept-Encoding"] != nil,
		Requested: requested, Received: now,
	}
	if e.Prompt {
		e.Method, e.Model = http.MethodPost, l.call.Facts().Model
		unstorable = unstorablePrompt(res)
	} else if e.Partial() {
		var ok bool
		if e.Part, ok = rfc9111.ContentRange(res.Header); !ok || res.Uncompressed {
			unstorable = "parts"
		}
	}
	if unstorable != "" {
		return nil, unstorable
	}
	e.Header = l.storedHeader(res.Header, now)
	e.Prepare(l.core.policy)
	if e.Prompt {
		return e, ""
	}
	if unstorable = l.unstorable(e); unstorable == "" && closeDelimited(res) && !e.Partial() {
		unstorable = "no length"
	}
	return e, unstorable
}

func unstorablePrompt(res *http.Response) string {
	switch {
	case res.StatusCode != http.StatusOK:
		return "status"
	case res.Header["Content-Encoding"] != nil:
		return "content encoding"
	case !completenessKnown(res.Header.Get("Content-Type")):
		return "content type"
	}
	return ""
}

// closeDelimited reports whether only the end of the connection ends the body, so that
// a truncated one looks complete (RFC 9112, section 6.3). An encoding that net/http has
// undone has an end of its own.
func closeDelimited(res *http.Response) bool {
	return res.Close && res.ContentLength < 0 && len(res.TransferEncoding) == 0 && res.ProtoMajor == 1 && !res.Uncompressed
}

// completenessKnown reports the media types whose content shows whether it is complete.
func completenessKnown(media string) bool {
	media = strings.ToLower(media)
	return strings.Contains(media, "json") || strings.Contains(media, "event-stream") || strings.Contains(media, "eventstream")
}
