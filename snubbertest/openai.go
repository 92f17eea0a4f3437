package snubbertest

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

var (
	chat = api{vendor: openAI{}, whole: chatWhole, events: chatEvents, broken: func(_ int, kind, message string) []byte {
		return event("", object{"error": object{"message": message, "type": "server_error", "param": nil, "code": kind}})
	}}
	embeddings = api{vendor: openAI{}, whole: embeddingsWhole}
)

type openAI struct{}

func (openAI) overloaded() (int, string, string) {
	return 503, "server_is_overloaded", "The server is currently overloaded with other requests. Sorry about that!"
}

func (openAI) identify(h http.Header, id string) {
	h.Set("X-Request-Id", "req_"+id)
	h.Set("Openai-Version", "2020-10-01")
}

// quota writes resets as Go durations, and as the time until the bucket is
// full, not the time until the next request fits.
func (openAI) quota(h http.Header, _ time.Time, requests, tokens level) {
	for unit, l := range map[string]level{"requests": requests, "tokens": tokens} {
		if l.limit > 0 {
			h.Set("X-Ratelimit-Limit-"+unit, strconv.Itoa(l.limit))
			h.Set("X-Ratelimit-Remaining-"+unit, strconv.Itoa(l.remaining))
			h.Set("X-Ratelimit-Reset-"+unit, roundUp(l.reset, time.Millisecond).String())
		}
	}
}

func (openAI) fail(h http.Header, f *failure) (int, any) {
	f.hint(h)
	body := func(kind, code any, message string) any {
		return object{"error": object{"message": message, "type": kind, "param": nil, "code": code}}
	}
	switch f.problem {
	case notFound:
		return f.or(404), body("invalid_request_error", nil, "Unknown request URL. Please check the URL for typos.")
	case tooLarge:
		return f.or(429), body(f.unit, "rate_limit_exceeded", fmt.Sprintf("Request too large for %s on tokens per min (TPM): Limit %d, Requested %d. The input or output tokens must be reduced in order to run successfully.", f.model, f.limit, f.requested))
	case failLimited:
		switch f.unit {
		case "tokens":
			return f.or(429), body(f.unit, "rate_limit_exceeded", fmt.Sprintf("Rate limit reached for %s on tokens per min (TPM): Limit %d, Used %d, Requested %d.%s", f.model, f.limit, f.used, f.requested, f.try(" Please try again in ", ".")))
		case "requests":
			return f.or(429), body(f.unit, "rate_limit_exceeded", fmt.Sprintf("Rate limit reached for %s on requests per min (RPM): Limit %d, Used %d, Requested %d.%s", f.model, f.limit, f.used, f.requested, f.try(" Please try again in ", ".")))
		}
		return f.or(429), body("requests", "rate_limit_exceeded", "Too many concurrent requests.")
	case failExhausted:
		return f.or(429), body("insufficient_quota", "insufficient_quota", "You exceeded your current quota, please check your plan and billing details.")
	case failOverloaded:
		status, code, message := openAI{}.overloaded()
		return f.or(status), body("server_error", code, message)
	case serverError:
		return f.or(500), body("server_error", nil, "The server had an error while processing your request. Sorry about that!")
	}
	return f.or(400), body("invalid_request_error", nil, f.message)
}

func chatUsage(a *answer) object {
	return object{"prompt_tokens": a.in, "completion_tokens": a.out, "total_tokens": a.in + a.out}
}

func chatWhole(a *answer) any {
	return object{
		"id": "chatcmpl-" + a.id, "object": "chat.completion", "created": a.created, "model": a.prompt.Model,
		"choices": []any{object{
			"index": 0, "logprobs": nil, "finish_reason": a.reason("stop", "length"),
			"message": object{"role": "assistant", "content": a.text, "refusal": nil},
		}},
		"usage": chatUsage(a),
	}
}

func chatEvents(a *answer) [][]byte {
	chunk := func(usage any, choices ...any) []byte {
		o := object{"id": "chatcmpl-" + a.id, "object": "chat.completion.chunk", "created": a.created, "model": a.prompt.Model, "choices": choices}
		if a.prompt.StreamOptions.IncludeUsage {
			o["usage"] = usage
		}
		return event("", o)
	}
	choice := func(delta object, finish any) any {
		return object{"index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish}
	}
	events := [][]byte{chunk(nil, choice(object{"role": "assistant", "content": ""}, nil))}
	for _, piece := range a.pieces {
		events = append(events, chunk(nil, choice(object{"content": piece}, nil)))
	}
	events = append(events, chunk(nil, choice(object{}, a.reason("stop", "length"))))
	if a.prompt.StreamOptions.IncludeUsage {
		events = append(events, chunk(chatUsage(a), []any{}...))
	}
	return append(events, []byte("data: [DONE]\n\n"))
}

func embeddingsWhole(a *answer) any {
	data := []any{}
	for i, vector := range a.vectors(a.prompt.inputs()) {
		var value any = vector
		if a.prompt.EncodingFormat == "base64" {
			var b []byte
			for _, x := range vector {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
			}
			value = base64.StdEncoding.EncodeToString(b)
		}
		data = append(data, object{"object": "embedding", "index": i, "embedding": value})
	}
	return object{
		"object": "list", "data": data, "model": a.prompt.Model,
		"usage": object{"prompt_tokens": a.in, "total_tokens": a.in},
	}
}
