package snubbertest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// A Reply is the response to one call. The zero Reply is the ordinary response.
type Reply struct {
	// Status is the status of the response. If zero, 200.
	Status int

	// Header replaces header fields that the provider would send.
	Header http.Header

	// Body is the body, byte for byte. If empty, it is the provider's error for an
	// error status, and otherwise the ordinary body. Unless Header has a Content-Type,
	// the body decides it. A body that begins with "data:" or "event:" is a stream,
	// whose events are sent [Provider.EventGap] apart. A JSON text is JSON, and
	// anything else is text/plain.
	Body string

	// Fault strikes this call, whatever its bounds and its Chance. Slow and the kinds
	// after it spoil the reply; any other kind replaces it.
	Fault Fault
}

// Script sets the responses to the next calls, in order of arrival, whatever they ask
// for. Neither the quota nor injected faults apply to these calls.
func (p *Provider) Script(replies ...Reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range replies {
		r.Header = canonical(r.Header)
		p.script = append(p.script, r)
	}
}

// canonical copies a header that was perhaps written as a literal.
func canonical(h http.Header) http.Header {
	c := make(http.Header, len(h))
	for name, values := range h {
		for _, v := range values {
			c.Add(name, v)
		}
	}
	return c
}

// pieces cuts the body into what is sent at once.
func (r *Reply) pieces(h http.Header) (pieces [][]byte, stream bool) {
	body := []byte(r.Body)
	kind := r.Header.Get("Content-Type")
	if kind == "" {
		switch {
		case strings.HasPrefix(r.Body, "data:") || strings.HasPrefix(r.Body, "event:"):
			kind = "text/event-stream"
		case json.Valid(body):
			kind = "application/json"
		default:
			kind = "text/plain; charset=utf-8"
		}
		h.Set("Content-Type", kind)
	}
	if !strings.HasPrefix(kind, "text/event-stream") {
		return [][]byte{body}, false
	}
	for len(body) > 0 {
		n := len(body)
		for _, end := range []string{"\n\n", "\r\n\r\n"} {
			if i := bytes.Index(body, []byte(end)); i >= 0 {
				n = min(n, i+len(end))
			}
		}
		pieces = append(pieces, body[:n])
		body = body[n:]
	}
	return pieces, true
}
