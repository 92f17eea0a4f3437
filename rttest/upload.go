package rttest

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

const (
	uploadOrigin = "https://api.example.com"
	chatURL      = uploadOrigin + "/v1/chat/completions" // inference: repeating it is safe
	plainURL     = uploadOrigin + "/v1/things?page=2"

	uploadPrompt     = `{"model":"m-1","messages":[{"role":"user","content":"Say hello, and take your time."}],"max_tokens":16}`
	uploadCompletion = `{"id":"c-1","object":"chat.completion","created":1,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}`
)

// events is a whole streamed answer: content from the first event on, a finish
// reason and the terminal event, so that a transport which knows the format
// has nothing to hold back and nothing to complain about.
func events() [][]byte {
	const head = `data: {"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m-1","choices":[{"index":0,`
	return [][]byte{
		[]byte(head + `"delta":{"role":"assistant","content":"Hel"},"finish_reason":null}]}` + "\n\n"),
		[]byte(head + `"delta":{"content":"lo."},"finish_reason":null}]}` + "\n\n"),
		[]byte(head + `"delta":{},"finish_reason":"stop"}]}` + "\n\n"),
		[]byte("data: [DONE]\n\n"),
	}
}

// A shape is a kind of request. The ways in which its body can, or cannot, be
// sent again are what transports get wrong.
type shape struct {
	name, method, url string
	text              string // empty: a nil body, or http.NoBody if known is set
	known             bool   // ContentLength is told
	again             bool   // GetBody is there
}

var (
	get       = shape{name: "GET", method: "GET", url: plainURL}
	chat      = shape{name: "chat with GetBody", method: "POST", url: chatURL, text: uploadPrompt, known: true, again: true}
	chatOnce  = shape{name: "chat without GetBody", method: "POST", url: chatURL, text: uploadPrompt, known: true}
	chatPiped = shape{name: "chat of unknown length", method: "POST", url: chatURL, text: uploadPrompt}
	post      = shape{name: "POST with GetBody", method: "POST", url: plainURL, text: "a=1&b=2", known: true, again: true}
	postPiped = shape{name: "POST of unknown length", method: "POST", url: plainURL, text: "a=1&b=2"}
	put       = shape{name: "PUT without GetBody", method: "PUT", url: plainURL, text: "the whole thing", known: true}
	putPiped  = shape{name: "PUT of unknown length", method: "PUT", url: plainURL, text: strings.Repeat("a long thing, ", 9999)}
)

func shapes() []shape {
	return []shape{
		get, chat, chatOnce, chatPiped, post, postPiped, put, putPiped,
		{name: "POST with http.NoBody", method: "POST", url: plainURL, known: true},
		{name: "POST with a nil body", method: "POST", url: chatURL},
		{name: "POST without GetBody", method: "POST", url: plainURL, text: "a=1&b=2", known: true},
		{name: "PUT with GetBody, of unknown length", method: "PUT", url: plainURL, text: "the whole thing", again: true},
	}
}

// request makes a request of this shape, and the upload that watches its body.
func (s shape) request(ctx context.Context) (*http.Request, *upload) {
	u, err := url.Parse(s.url)
	if err != nil {
		panic(err) // one of the constants above
	}
	req := (&http.Request{
		Method:     s.method,
		URL:        u,
		Host:       u.Host,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     http.Header{"Accept": {"application/json"}},
	}).WithContext(ctx)
	up := &upload{text: s.text}
	switch {
	case s.text != "":
		req.Header.Set("Content-Type", "application/json")
		req.Body = up.open()
		req.ContentLength = -1
		if s.known {
			req.ContentLength = int64(len(s.text))
		}
		if s.again {
			req.GetBody = func() (io.ReadCloser, error) { return up.open(), nil }
		}
	case s.known:
		req.Body = http.NoBody
	}
	return req, up
}

// An upload is all the copies of a request's body that were opened.
type upload struct {
	text  string
	err   error  // how a copy ends; nil: io.EOF
	atEOF func() // called when a copy has been read to its end

	mu     sync.Mutex
	copies []*payload
}

type payload struct {
	up     *upload
	r      *strings.Reader
	closed bool
}

func (u *upload) open() *payload {
	p := &payload{up: u, r: strings.NewReader(u.text)}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.copies = append(u.copies, p)
	return p
}

// unclosed says how many copies nobody has closed, out of how many.
func (u *upload) unclosed() (n, all int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, p := range u.copies {
		if !p.closed {
			n++
		}
	}
	return n, len(u.copies)
}

func (p *payload) Read(b []byte) (int, error) {
	p.up.mu.Lock()
	defer p.up.mu.Unlock()
	if p.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := p.r.Read(b)
	if err == io.EOF {
		if p.up.err != nil {
			err = p.up.err
		} else if p.up.atEOF != nil {
			p.up.atEOF()
		}
	}
	return n, err
}

func (p *payload) Close() error {
	p.up.mu.Lock()
	defer p.up.mu.Unlock()
	p.closed = true
	return nil
}
