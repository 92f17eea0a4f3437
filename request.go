package snubber

import (
	"io"
	"math"
	"net/http"
	"sync"

	"github.com/seed-9e4f5248/snubber/internal/body"
	"github.com/seed-9e4f5248/snubber/internal/dialect"
)

// requestInfo is what a request asks for.
type requestInfo struct {
	model                         string
	format                        dialect.Format
	inference, stream, background bool
	counted                       bool  // input is known
	input, output                 int32 // estimated tokens
}

func (a requestInfo) route() dialect.Route {
	return dialect.Route{Format: a.format, Inference: a.inference, Model: a.model, Stream: a.stream}
}

// knownRequest is a caller's request and what was read of it. The context of each
// attempt has it, because the body cannot be read any more once it was sent.
type knownRequest struct {
	req  *http.Request // the caller's, never written to
	info requestInfo
}

type knownRequestKey struct{}

// knownRequestOf returns the request of the attempt that req belongs to. It returns nil
// if req belongs to no attempt or, with count, if its tokens are not known.
func knownRequestOf(req *http.Request, count bool) *knownRequest {
	known, _ := req.Context().Value(knownRequestKey{}).(*knownRequest)
	if known == nil || known.req.URL != req.URL || count && !known.info.counted {
		return nil
	}
	return known
}

// readRequest reads what a request asks for, unless a Transport around has read it
// already, and prepares its body for several attempts. It reads a copy of the body,
// if GetBody makes one. Without one it reads an inference body of known and modest
// length now; any other body is recorded while it is sent, if record says that it may
// be needed again.
func readRequest(req *http.Request, record, count bool) (requestInfo, body.Replay, error) {
	if known := knownRequestOf(req, count); known != nil {
		replay, _, _, err := body.NewReplay(req, false, record)
		return known.info, replay, err
	}
	route := dialect.RouteOf(req.Method, req.URL)
	replay, again, ahead, err := body.NewReplay(req, route.Inference, record)
	var p dialect.Prompt
	switch {
	case ahead != nil:
		p = promptOf(route, ahead, count)
	case again != nil:
		p = readPrompt(again, req.ContentLength, route, count)
	}
	return newRequestInfo(route, p, count), replay, err
}

// readPrompt reads a copy of a body and closes it, in place where it comes in one
// piece.
func readPrompt(rc io.ReadCloser, length int64, route dialect.Route, count bool) dialect.Prompt {
	defer rc.Close()
	r := promptReaders.Get().(*promptReader)
	r.route, r.count, r.body.Length = route, count, length
	if rest, _ := r.body.Collect(rc); !r.body.Used() {
		r.read(rest)
	}
	p := r.prompt
	r.reset() // the pool must hold no prompt
	promptReaders.Put(r)
	return p
}

// promptReader reads the prompt of a body. A pool holds promptReaders, with their
// Collector and its function.
type promptReader struct {
	route  dialect.Route
	count  bool // count the tokens too
	prompt dialect.Prompt
	body   body.Collector
}

var promptReaders = sync.Pool{New: func() any {
	r := new(promptReader)
	r.body.Use = r.read
	return r
}}

func (r *promptReader) read(b []byte) { r.prompt = promptOf(r.route, b, r.count) }

func (r *promptReader) reset() {
	*r = promptReader{body: body.Collector{Use: r.body.Use}}
}

func promptOf(route dialect.Route, b []byte, count bool) dialect.Prompt {
	if count {
		return route.ReadPrompt(b)
	}
	return route.SkimPrompt(b)
}

// infoOf returns what req asks for, with its tokens if count is set. A call that req
// belongs to knows it even after the body was sent. Otherwise the path tells, and a copy
// of the body.
func infoOf(req *http.Request, count bool) requestInfo {
	if known := knownRequestOf(req, count); known != nil {
		return known.info
	}
	if req.URL == nil {
		return requestInfo{}
	}
	route := dialect.RouteOf(req.Method, req.URL)
	var p dialect.Prompt
	if route.Inference {
		if rc := body.CopyOf(req); rc != nil {
			p = readPrompt(rc, req.ContentLength, route, count)
		}
	}
	return newRequestInfo(route, p, count)
}

func newRequestInfo(route dialect.Route, p dialect.Prompt, count bool) requestInfo {
	if !route.Inference {
		return requestInfo{counted: count, output: -1}
	}
	a := requestInfo{
		model: route.Model, format: route.Format, inference: route.Asks(p),
		stream: route.Stream || p.Stream, background: p.Lasting, counted: count,
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

// Model returns the name of the model that req asks for, from its path or its body. It
// returns "" if neither the path nor a replayable body names one. In the functions of a
// Transport, and below it, Model also works after the body was sent.
func Model(req *http.Request) string { return infoOf(req, false).model }
