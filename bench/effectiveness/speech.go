package main

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// dialect is which headers a provider sends with every response, with and
// without a quota in them.
type dialect string

const (
	silent    dialect = "none"
	openAI    dialect = "openai"
	anthropic dialect = "anthropic"
	ietf      dialect = "ietf"
)

// hint is how a provider says when to come back.
type hint string

const (
	noHint       hint = "none"
	milliseconds hint = "ms"
	wholeSeconds hint = "s"
	date         hint = "date"
	half         hint = "half" // half of the truth
)

// describe writes the headers of a response.
func (p *provider) describe(h http.Header, v verdict, now time.Time) {
	h.Set("Content-Type", "application/json")
	h.Set("Date", now.UTC().Format(http.TimeFormat))
	for name, l := range map[string]level{"requests": v.requests, "tokens": v.tokens} {
		if l.bucket.perSecond == 0 {
			continue
		}
		limit, left := strconv.Itoa(int(l.limit)), strconv.Itoa(max(0, int(l.left+slack)))
		switch p.says {
		case openAI:
			h.Set("x-ratelimit-limit-"+name, limit)
			h.Set("x-ratelimit-remaining-"+name, left)
			h.Set("x-ratelimit-reset-"+name, l.full().Round(time.Millisecond).String())
		case anthropic:
			h.Set("anthropic-ratelimit-"+name+"-limit", limit)
			h.Set("anthropic-ratelimit-"+name+"-remaining", left)
			h.Set("anthropic-ratelimit-"+name+"-reset", roundUp(now.Add(l.full())).UTC().Format(time.RFC3339))
		case ietf:
			h.Add("RateLimit-Policy", fmt.Sprintf("%q;q=%s;w=60;qu=%q", name, limit, name))
			h.Add("RateLimit", fmt.Sprintf("%q;r=%s;t=%d", name, left, int(math.Ceil(l.full().Seconds()))))
		}
	}
	switch v.over {
	case none, concurrency, chance, credit:
		return
	}
	switch p.hint {
	case milliseconds:
		h.Set("Retry-After-Ms", strconv.FormatFloat(v.wait.Seconds()*1e3, 'f', 3, 64))
	case half:
		h.Set("Retry-After-Ms", strconv.FormatFloat(v.wait.Seconds()*0.5e3, 'f', 3, 64))
	case wholeSeconds:
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(v.wait.Seconds()))))
	case date:
		h.Set("Retry-After", roundUp(now.Add(v.wait)).UTC().Format(http.TimeFormat))
	}
}

// roundUp is the next full second: whoever comes at the second that is named
// must not come too early.
func roundUp(t time.Time) time.Time {
	if r := t.Truncate(time.Second); r.Before(t) {
		return r.Add(time.Second)
	}
	return t
}

// respond is the response to a call.
func (p *provider) respond(req *http.Request, c *call, v verdict, now time.Time) *http.Response {
	res := &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Request: req,
	}
	p.describe(res.Header, v, now)
	body := ""
	switch {
	case v.over == none && p.streams:
		res.Header.Set("Content-Type", "text/event-stream")
		body = fmt.Sprintf("data: {\"id\":\"chatcmpl-%d\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Yes.\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n", c.id)
	case v.over == none && p.says == anthropic:
		body = fmt.Sprintf(`{"id":"msg_%d","type":"message","role":"assistant","model":"claude","content":[{"type":"text","text":"Yes."}],`+
			`"stop_reason":"end_turn","usage":{"input_tokens":%d,"output_tokens":%d}}`, c.id, c.input, c.output)
	case v.over == none:
		body = fmt.Sprintf(`{"id":"chatcmpl-%d","object":"chat.completion","model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Yes."},`+
			`"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}`, c.id, c.input, c.output, c.input+c.output)
	case v.over == chance && p.says != anthropic:
		body = p.odd.respond(res)
	case v.over == credit:
		res.StatusCode = http.StatusTooManyRequests
		body = `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`
	case p.says == anthropic:
		res.StatusCode = http.StatusTooManyRequests
		body = `{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit."}}`
	default:
		res.StatusCode = http.StatusTooManyRequests
		over := v.over
		if over != tokens {
			over = requests
		}
		body = fmt.Sprintf(`{"error":{"message":"Rate limit reached","type":%q,"param":null,"code":"rate_limit_exceeded"}}`, over)
	}
	res.Status = fmt.Sprintf("%d %s", res.StatusCode, http.StatusText(res.StatusCode))
	res.Body, res.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	return res
}
