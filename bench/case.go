package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Case is one kind of call.
type Case struct {
	Name       string
	Path       string
	Body       []byte // a JSON document of 2 KiB
	Header     http.Header
	Base       Base
	Cancelable bool // each call has a context of its own, canceled after it
	Parallel   int  // callers at a time, 0 as 1
	Limit      Limit
}

// Limit is the most that snubber may add to the base. A zero field is no limit.
type Limit struct {
	Allocs, Bytes float64
	Ratio         float64 // of the time that failsafe-go adds
}

const bodySize = 2 << 10

// Cases are the cases to measure.
func Cases() []Case {
	plain := Base{
		Header: http.Header{"Content-Type": {"application/json"}},
		Chunks: []string{answer},
	}
	stream := Base{Header: http.Header{"Content-Type": {"text/event-stream"}}, Chunks: streamed()}
	full := plain
	full.Header = responseHeader()

	things := Case{Name: "not inference", Path: "/v1/things", Body: chat(), Base: plain}
	prompt := Case{Name: "chat", Path: "/v1/chat/completions", Body: chat(), Base: plain}
	long := Case{Name: "one string", Path: prompt.Path, Body: oneString(), Base: plain}
	tools := Case{Name: "tools", Path: prompt.Path, Body: tooled(), Base: plain}
	headed := Case{Name: "chat, real headers", Path: prompt.Path, Body: chat(), Header: requestHeader(), Base: full}
	streams := Case{Name: "chat, 20 events", Path: prompt.Path, Body: asStream(chat()), Base: stream}

	var cs []Case
	for _, c := range []Case{things, prompt, long, tools} {
		inference := c.Path == prompt.Path
		c.Limit = Limit{Allocs: 8, Bytes: 1 << 10}
		if inference {
			c.Limit = Limit{Allocs: 10, Bytes: 3 << 9}
		}
		switch c.Name {
		case things.Name:
			c.Limit.Ratio = 0.30
		case prompt.Name:
			c.Limit.Ratio = 0.60
		}
		cs = append(cs, c)

		c.Name += ", cancelable"
		c.Cancelable = true
		c.Limit.Allocs += 4
		c.Limit.Bytes += 1 << 9
		cs = append(cs, c)
	}
	cs = append(cs, headed, streams)
	for _, c := range []Case{things, prompt} {
		c.Name += ", parallel"
		c.Parallel = 8
		cs = append(cs, c)
	}
	return cs
}

// Call makes one call through rt as a client would, and reads the response to its end
// into buf.
func (c *Case) Call(rt http.RoundTripper, buf []byte) error {
	ctx := context.Background()
	if c.Cancelable {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.example.com"+c.Path, bytes.NewReader(c.Body))
	if err != nil {
		return err
	}
	if c.Header != nil {
		req.Header = c.Header // no RoundTripper writes to it
	}
	res, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	// Not io.Copy: where the base's body is a WriterTo it would measure that the
	// wrapped one is none.
	for {
		if _, err := res.Body.Read(buf); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

const answer = `{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Yes."},"finish_reason":"stop"}],"usage":{"prompt_tokens":512,"completion_tokens":2,"total_tokens":514}}`

// streamed is an OpenAI stream of twenty events.
func streamed() []string {
	events := make([]string, 0, 20)
	for i := range 17 {
		events = append(events, fmt.Sprintf(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"gpt-4o","choices":[{"index":0,"delta":{"content":" word%d"},"finish_reason":null}]}`, i))
	}
	events = append(events,
		`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"gpt-4o","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`,
		`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"gpt-4o","choices":[],"usage":{"prompt_tokens":512,"completion_tokens":17,"total_tokens":529}}`,
		`data: [DONE]`)
	for i := range events {
		events[i] += "\n\n"
	}
	return events
}

// chat is a conversation whose texts are full of escapes, as code and
// quotations are.
func chat() []byte {
	return document(func(n int) any {
		line := "func main() {\n\tfmt.Println(\"Grüße,\\n\" + name) // <em>é</em>\n}\n"
		return map[string]any{
			"model": "gpt-4o",
			"messages": []any{
				map[string]any{"role": "system", "content": "You are terse.\nAnswer with \"yes\" or \"no\"."},
				map[string]any{"role": "user", "content": "Is this right?\n\n" + line},
				map[string]any{"role": "assistant", "content": "No."},
				map[string]any{"role": "user", "content": strings.Repeat(line, 15) + strings.Repeat("x", n)},
			},
			"temperature": 0.2, "max_tokens": 256,
		}
	})
}

// oneString is a prompt in one piece without an escape.
func oneString() []byte {
	return document(func(n int) any {
		return map[string]any{
			"model":    "gpt-4o",
			"messages": []any{map[string]any{"role": "user", "content": strings.Repeat("lorem ipsum ", 120) + strings.Repeat("x", n)}},
		}
	})
}

// tooled is mostly structure: the schemas of six functions.
func tooled() []byte {
	text := map[string]any{"type": "string", "description": "a word"}
	return document(func(n int) any {
		var tools []any
		for i := range 6 {
			tools = append(tools, map[string]any{"type": "function", "function": map[string]any{
				"name": fmt.Sprintf("tool_%d", i), "description": "does a thing",
				"parameters": map[string]any{"type": "object", "required": []any{"a", "b"}, "properties": map[string]any{
					"a": text, "b": map[string]any{"type": "array", "items": text},
				}},
			}})
		}
		return map[string]any{
			"model": "gpt-4o", "tools": tools, "tool_choice": "auto",
			"messages": []any{map[string]any{"role": "user", "content": strings.Repeat("x", n)}},
		}
	})
}

// document pads what make builds to the size that is measured.
func document(make func(padding int) any) []byte {
	encode := func(n int) []byte {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(make(n)); err != nil {
			panic(err)
		}
		return bytes.TrimSpace(b.Bytes())
	}
	short := bodySize - len(encode(0))
	if short < 0 {
		panic(errors.New("the document is longer than 2 KiB"))
	}
	return encode(short)
}

func asStream(body []byte) []byte {
	return append([]byte(`{"stream":true,`), body[1:]...)
}

// requestHeader is what an SDK sends.
func requestHeader() http.Header {
	return header(`Accept: application/json
Authorization: Bearer sk-not-a-key
Content-Type: application/json
User-Agent: OpenAI/Go 3.0.0
X-Stainless-Arch: x64
X-Stainless-Lang: go
X-Stainless-Os: Linux
X-Stainless-Package-Version: 3.0.0
X-Stainless-Retry-Count: 0
X-Stainless-Runtime: go
X-Stainless-Runtime-Version: go1.25.0
X-Stainless-Timeout: 600`)
}

// responseHeader is what a provider sends, its quotas included.
func responseHeader() http.Header {
	return header(`Access-Control-Expose-Headers: X-Request-ID
Alt-Svc: h3=":443"; ma=86400
Cf-Cache-Status: DYNAMIC
Cf-Ray: 8f0000000000000-FRA
Content-Type: application/json
Date: Mon, 02 Jun 2025 12:00:00 GMT
Openai-Organization: org
Openai-Processing-Ms: 412
Openai-Version: 2020-10-01
Server: cloudflare
X-Ratelimit-Limit-Requests: 10000
X-Ratelimit-Limit-Tokens: 2000000
X-Ratelimit-Remaining-Requests: 9999
X-Ratelimit-Remaining-Tokens: 1999488
X-Ratelimit-Reset-Requests: 6ms
X-Ratelimit-Reset-Tokens: 15ms
X-Request-Id: req_1`)
}

func header(lines string) http.Header {
	h := http.Header{}
	for line := range strings.Lines(lines) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
		h.Add(k, v)
	}
	return h
}
