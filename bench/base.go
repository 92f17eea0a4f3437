package bench

import (
	"io"
	"net/http"
)

// Base is a RoundTripper that does only what the contract asks: it closes the request's
// body and returns a new response. It is the zero of the measurement. It does not read
// the request's body, so that the cost of a layer that does is visible.
type Base struct {
	Header http.Header // of each response, which gets a copy
	Chunks []string    // of the response's body, one a Read
}

// RoundTrip implements [http.RoundTripper].
func (b *Base) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		req.Body.Close()
	}
	length := int64(-1)
	if len(b.Chunks) == 1 {
		length = int64(len(b.Chunks[0]))
	}
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: b.Header.Clone(), ContentLength: length,
		Body: &chunks{left: b.Chunks}, Request: req,
	}, nil
}

// chunks is a body that arrives in pieces, as a stream does.
type chunks struct {
	left []string
	off  int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.left[0][c.off:])
	if c.off += n; c.off == len(c.left[0]) {
		c.left, c.off = c.left[1:], 0
	}
	return n, nil
}

func (c *chunks) Close() error { return nil }
