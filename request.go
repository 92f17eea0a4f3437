package snubber

import (
	"math"
	"net/http"

	"github.com/seed-9e4f5248/snubber/internal/dialect"
)

// requestInfo is what a request says that it wants.
type requestInfo struct {
	model                         string
	format                        dialect.Format
	inference, stream, background bool
	counted                       bool  // whether input is known
	input, output                 int32 // tokens: estimated, and at most; -1 where none will be made
}

func (a requestInfo) route() dialect.Route {
	return dialect.Route{Format: a.format, Inference: a.inference, Model: a.model, Stream: a.stream}
}

// inbound is a caller's request and what was read of it. The context of each attempt
// has it, so that what it asks for is known after its body was sent.
type inbound struct {
	in   *http.Request // the caller's, never written to
	info requestInfo
}

type inboundKey struct{}

// knownBy is what the attempt that req belongs to knows of it, nil if there is none
// or, with count, if its tokens are not known.
func knownBy(req *http.Request, count bool) *inbound {
	in, _ := req.Context().Value(inboundKey{}).(*inbound)
	if in == nil || in.in.URL != req.URL || count && !in.info.counted {
		return nil
	}
	return in
}

// infoOf reads what req wants: from the call that it belongs to, which works
// after the body was sent, else from path and replayable body; with count, the
// tokens too.
func infoOf(req *http.Request, count bool) requestInfo {
	if in := knownBy(req, count); in != nil {
		return in.info
	}
	if req.URL == nil {
		return requestInfo{}
	}
	route := dialect.RouteOf(req.Method, req.URL)
	var p dialect.Prompt
	if route.Inference && req.Body != nil && req.GetBody != nil {
		p = readPrompt(req, route, count)
	}
	return newRequestInfo(route, p, count)
}

func newRequestInfo(route dialect.Route, p dialect.Prompt, count bool) requestInfo {
	if !route.Inference {
		return requestInfo{counted: count, output: -1}
	}
	a := requestInfo{
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
func Model(req *http.Request) string { return infoOf(req, false).model }
