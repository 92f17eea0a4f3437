package snubbertest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
)

// A Reply is what one call gets. The zero Reply is the ordinary answer.
type Reply struct {
	// Status is the status of the response. If zero, 200.
	Status int

	// Header is set on the response, over what the provider would send.
	Header http.Header

	// Body is the body, as it is. If empty, it is what the dialect says with
	// an error status, else the ordinary answer. Unless Header tells its
	// Content-Type, a body that begins with "data:" or "event:" is a stream,
	// whose events are sent [Provider.EventGap] apart; a JSON text is JSON;
	// anything else is text/plain.
	Body string

	// Fault strikes this call; its bounds and chance do not matter. With Slow and
	// the kinds after it the reply is what breaks; any other kind replaces
	// the reply.
	Fault Fault
}

// Script says what the next calls get, in order of arrival, whatever they ask
// for. Neither quota nor injected faults apply to them.
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
