package snubber_test

import (
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// wire is a base that answers from a function. It takes the request's body in.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	return w(req)
}

// reply is a response; header is in pairs.
func reply(status int, body io.Reader, header ...string) *http.Response {
	rc, ok := body.(io.ReadCloser)
	if !ok {
		rc = io.NopCloser(body)
	}
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: hdr(header...), Body: rc, ContentLength: -1,
	}
}

// hang waits for the end of the request's context, as a black hole does.
func hang(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// fetch makes the round trip and reads the body to its end.
func fetch(rt http.RoundTripper, req *http.Request) (status int, err error) {
	res, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// chunk is a piece of a body, that is there at a time since the body began. An
// error ends the body, with the piece; a negative time never comes.
type chunk struct {
	at   time.Duration
	text string
	err  error
}

// flow is a body in memory that comes in pieces, one or less a Read. It knows
// no context: only Close wakes a Read that waits.
type flow struct {
	chunks []chunk
	start  time.Time

	mu     sync.Mutex
	gone   chan struct{}
	closed int
}

func newFlow(chunks ...chunk) *flow {
	return &flow{chunks: slices.Clone(chunks), start: time.Now(), gone: make(chan struct{})}
}

func (f *flow) Read(p []byte) (int, error) {
	select {
	case <-f.gone:
		return 0, io.ErrClosedPipe
	default:
	}
	if len(f.chunks) == 0 {
		return 0, io.EOF
	}
	c := &f.chunks[0]
	var there <-chan time.Time
	if c.at >= 0 {
		timer := time.NewTimer(time.Until(f.start.Add(c.at)))
		defer timer.Stop()
		there = timer.C
	}
	select {
	case <-there:
	case <-f.gone:
		return 0, io.ErrClosedPipe
	}
	if c.err != nil {
		return copy(p, c.text), c.err
	}
	n := copy(p, c.text)
	if c.text = c.text[n:]; c.text == "" {
		f.chunks = f.chunks[1:]
	}
	return n, nil
}

func (f *flow) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed++; f.closed == 1 && f.gone != nil {
		close(f.gone)
	}
	return nil
}

// closes is how often the body has been closed.
func (f *flow) closes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

const (
	deltaEvent = "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n"
	doneEvent  = "data: [DONE]\n\n"
)

// sse answers with a stream that comes in the chunks.
func sse(chunks ...chunk) wire {
	return func(*http.Request) (*http.Response, error) {
		return reply(200, newFlow(chunks...), "Content-Type", "text/event-stream"), nil
	}
}

const (
	anthropicURL  = "https://api.example.com/v1/messages"
	messageStart  = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n"
	pingEvent     = "event: ping\ndata: {\"type\":\"ping\"}\n\n"
	textDelta     = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n"
	messageStop   = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	finishedEvent = "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
)
