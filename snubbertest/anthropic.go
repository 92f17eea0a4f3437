package snubbertest

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

var messages = api{vendor: anthropic{}, whole: messagesWhole, events: messagesEvents, broken: func(_ int, kind, message string) []byte {
	return event("error", object{"type": "error", "error": object{"type": kind, "message": message}})
}}

type anthropic struct{}

func (anthropic) overloaded() (int, string, string) { return 529, "overloaded_error", "Overloaded" }

func (anthropic) identify(h http.Header, id string) { h.Set("Request-Id", "req_"+id) }

// quota writes resets as RFC 3339 instants of whole seconds, rounded up.
func (anthropic) quota(h http.Header, now time.Time, requests, tokens level) {
	for unit, l := range map[string]level{"Requests": requests, "Tokens": tokens} {
		if l.limit > 0 {
			reset := now.Add(l.reset + time.Second - 1).UTC().Truncate(time.Second)
			h.Set("Anthropic-Ratelimit-"+unit+"-Limit", strconv.Itoa(l.limit))
			h.Set("Anthropic-Ratelimit-"+unit+"-Remaining", strconv.Itoa(l.remaining))
			h.Set("Anthropic-Ratelimit-"+unit+"-Reset", reset.Format(time.RFC3339))
		}
	}
}

func (anthropic) fail(h http.Header, f *failure) (int, any) {
	f.hint(h)
	body := func(kind, message string) any {
		return object{"type": "error", "error": object{"type": kind, "message": message}, "request_id": h.Get("Request-Id")}
	}
	switch f.problem {
	case notFound:
		return f.or(404), body("not_found_error", "Not Found")
	case tooLarge:
		return f.or(413), body("request_too_large", "Request exceeds the maximum size")
	case failLimited:
		h.Set("X-Should-Retry", "true")
		if f.unit == "concurrency" {
			return f.or(429), body("rate_limit_error", "Number of concurrent connections has exceeded your rate limit. Please try again later.")
		}
		return f.or(429), body("rate_limit_error", fmt.Sprintf("This request would exceed the rate limit for your organization of %d %s per minute. Please reduce the prompt length or the maximum tokens requested, or try again later.", f.limit, f.unit))
	case failExhausted:
		return f.or(402), body("billing_error", "There is an issue with your billing or payment information.")
	case failOverloaded:
		status, kind, message := anthropic{}.overloaded()
		return f.or(status), body(kind, message)
	case serverError:
		return f.or(500), body("api_error", "Internal server error")
	}
	return f.or(400), body("invalid_request_error", f.message)
}

func message(a *answer, content []any, stop any, out int) object {
	return object{
		"id": "msg_" + a.id, "type": "message", "role": "assistant", "model": a.prompt.Model,
		"content": content, "stop_reason": stop, "stop_sequence": nil,
		"usage": object{"input_tokens": a.in, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": out},
	}
}

func messagesWhole(a *answer) any {
	return message(a, []any{object{"type": "text", "text": a.text}}, a.reason("end_turn", "max_tokens"), a.out)
}

func messagesEvents(a *answer) [][]byte {
	var events [][]byte
	add := func(kind string, o object) {
		o["type"] = kind
		events = append(events, event(kind, o))
	}
	add("message_start", object{"message": message(a, []any{}, nil, 1)})
	add("content_block_start", object{"index": 0, "content_block": object{"type": "text", "text": ""}})
	add("ping", object{})
	for _, piece := range a.pieces {
		add("content_block_delta", object{"index": 0, "delta": object{"type": "text_delta", "text": piece}})
	}
	add("content_block_stop", object{"index": 0})
	add("message_delta", object{
		"delta": object{"stop_reason": a.reason("end_turn", "max_tokens"), "stop_sequence": nil},
		"usage": object{"input_tokens": a.in, "output_tokens": a.out},
	})
	add("message_stop", object{})
	return events
}
