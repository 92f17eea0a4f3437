package snubber

import (
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/body"
	"github.com/seed-9e4f5248/snubber/internal/dialect"
)

// StaticReply answers every request with a fixed text and sends none: the last route
// of a [Fallback], which says that the assistant is not available. The answer has
// the shape that the request's SDK expects, a stream where it asked for one, and
// says that nothing was billed. Where the body cannot be had again, which would
// say so, a stream is what the Accept header asks for. Known are the formats of OpenAI (chat,
// completions, responses), Anthropic, Gemini, Cohere, Ollama and Bedrock's
// Converse; any other request gets text/plain.
//
// It is safe for concurrent use.
type StaticReply struct {
	// Status of the response. If zero, 200. From 400 on the answer is an error in
	// the format's shape, which a Fallback takes for one: it goes on to the next
	// route.
	Status int
	// Text is what the model says, or the message of the error.
	Text string
	// Header is added to the response's, and takes the place of what is there.
	Header http.Header
}

func (StaticReply) answersLocally() {}

// RoundTrip implements [http.RoundTripper].
func (r StaticReply) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, errNoURL
	}
	uncountLocal(req)
	status := r.Status
	if status == 0 {
		status = http.StatusOK
	}
	route := dialect.RouteOf(req.Method, req.URL)
	prompt := wholePrompt(req, route)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	media, text, ok := route.Answer(req.URL, prompt, status, r.Text, time.Now())
	if !ok {
		media, text = "text/plain; charset=utf-8", []byte(r.Text)
	}
	res := &http.Response{
		Status: strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header:        http.Header{"Content-Type": {media}, "Content-Length": {strconv.Itoa(len(text))}},
		ContentLength: int64(len(text)), Body: io.NopCloser(bytes.NewReader(text)),
	}
	for name, v := range r.Header {
		res.Header[textproto.CanonicalMIMEHeaderKey(name)] = slices.Clone(v)
	}
	if bodiless(req, res) {
		res.Body = http.NoBody
	}
	return res, nil
}

// wholePrompt reads what the request asks for from all of its body, and closes
// it. Whether it wants a stream may stand behind the messages.
func wholePrompt(req *http.Request, route dialect.Route) (p dialect.Prompt) {
	rc := req.Body
	if rc == nil || rc == http.NoBody {
		p.Stream = strings.Contains(req.Header.Get("Accept"), "text/event-stream")
		return p
	}
	defer rc.Close()
	if !route.Inference {
		return p
	}
	if req.GetBody != nil {
		if again, err := req.GetBody(); err == nil {
			defer again.Close()
			rc = again
		}
	}
	b, _ := body.ReadAll(req.Context(), rc, 8*body.MaxCopy)
	return route.ReadPrompt(b)
}
