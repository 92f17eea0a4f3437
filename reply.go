package snubber

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/body"
	"github.com/seed-9e4f5248/snubber/internal/dialect"
)

// StaticReply answers every request with a fixed text and sends none. It is the last
// route of a [Fallback], and says that the assistant is not available. The response has
// the shape that the request's SDK expects, is a stream if the request asked for one,
// and says that nothing was billed. If the request body cannot be re-read, the Accept
// header decides whether to stream.
//
// Supported formats are those of OpenAI (chat, completions, responses), Anthropic,
// Gemini, Cohere, Ollama and Bedrock's Converse. Any other request gets text/plain.
//
// A StaticReply is safe for concurrent use.
type StaticReply struct {
	// Status is the status of the response. If zero, 200. From 400 on, the response is
	// an error in the format's shape. A Fallback takes it for a failure and tries the
	// next route.
	Status int
	// Text is what the model says, or the message of the error.
	Text string
	// Header sets header fields of the response, in place of those that it has.
	Header http.Header
}

func (StaticReply) answersLocally() {}

// RoundTrip implements [http.RoundTripper].
func (r StaticReply) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		return failUnsent(req, errNoURL)
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
	res := newResponse(status, media, text)
	res.Request = req
	for name, v := range r.Header {
		res.Header[textproto.CanonicalMIMEHeaderKey(name)] = slices.Clone(v)
	}
	if bodiless(req, res) {
		res.Body = http.NoBody
	}
	return res, nil
}

// wholePrompt reads all of the request's body, for what it asks for, and closes it. The
// field that asks for a stream may come after the messages.
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
