package snubber

import (
	"math"
	"net/http"

	"github.com/seed-9e4f5248/snubber/internal/dialect"
)

// asked is what a request says that it wants.
type asked struct {
	model                         string
	format                        dialect.Format
	inference, stream, background bool
	counted                       bool  // whether input is known
	input, output                 int32 // tokens: estimated, and at most; -1 where none will be made
}

func (a asked) route() dialect.Route {
	return dialect.Route{Format: a.format, Inference: a.inference, Model: a.model, Stream: a.stream}
}

// askedBy reads what req wants: from the call that it belongs to, which works
// after the body was sent, else from path and replayable body; with count, the
// tokens too.
func askedBy(req *http.Request, count bool) asked {
	if a := enclosing(req.Context()); a != nil && a.req.URL == req.URL && (a.call.asked.counted || !count) {
		return a.call.asked
	}
	if req.URL == nil {
		return asked{}
	}
	route := dialect.RouteOf(req.Method, req.URL)
	var p dialect.Prompt
	if route.Inference && req.Body != nil && req.GetBody != nil {
		p = readPrompt(req, route, count)
	}
	return newAsked(route, p, count)
}

func newAsked(route dialect.Route, p dialect.Prompt, count bool) asked {
	if !route.Inference {
		return asked{counted: count, output: -1}
	}
	a := asked{
		model: route.Model, format: route.Format, inference: route.Asks(p),
		stream: route.Stream || p.Stream, background: p.Background, counted: count,
		input: int32(min(p.Input, math.MaxInt32)), output: int32(min(p.MaxOutput, math.MaxInt32)),
	}
	if a.model == "" {
		a.model = p.Model
	}
	if !route.Generates() {
		a.output = -1
	}
	return a
}

// Model returns the name of the model that req asks for, from its path or its
// body, or "" where neither the path nor a replayable body tells. Within a
// Transport's functions and below it, it works also after the body was sent.
func Model(req *http.Request) string { return askedBy(req, false).model }
