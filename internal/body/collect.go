package body

import (
	"context"
	"errors"
	"io"
)

// ReadAll reads rc to its end, or up to limit bytes. The end of ctx closes rc, to
// unblock a Read that hangs, and the error is then the context's. Any other error is an
// *Error. On success rc is still open.
func ReadAll(ctx context.Context, rc io.ReadCloser, limit int64) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { rc.Close() })
	b, err := io.ReadAll(io.LimitReader(rc, limit))
	stop()
	if ctx.Err() != nil {
		return b, ctx.Err()
	}
	if err != nil && !errors.As(err, new(*Error)) {
		err = &Error{err}
	}
	return b, err
}

// Collector reads a body of at most MaxCopy bytes without a copy, if the body comes in
// one piece. A [bytes.Reader], for example, writes all that it has at once.
type Collector struct {
	Length int64        // of the body; negative or zero if unknown
	Use    func([]byte) // gets a body that comes in one piece, and must not retain it

	used bool
	buf  []byte
}

// Collect reads body. If its first piece has the Length, Collect passes that piece to
// Use. Otherwise it returns what it has read, which after an error is incomplete. More
// than MaxCopy bytes are an error, and so are more than Length bytes once Use was
// called.
func (c *Collector) Collect(body io.Reader) (rest []byte, err error) {
	if w, ok := body.(io.WriterTo); ok {
		_, err = w.WriteTo(c)
	} else {
		_, err = io.Copy(c, io.LimitReader(body, MaxCopy+1))
	}
	return c.buf, err
}

// Used reports whether Use got the body.
func (c *Collector) Used() bool { return c.used }

// Write implements [io.Writer] for Collect.
func (c *Collector) Write(p []byte) (int, error) {
	switch {
	case c.used:
		if len(p) > 0 {
			return 0, io.ErrShortWrite
		}
	case c.buf == nil && len(p) > 0 && int64(len(p)) == c.Length:
		c.used = true
		c.Use(p)
	default:
		n := min(len(p), MaxCopy-len(c.buf))
		c.buf = append(c.buf, p[:n]...)
		if n < len(p) {
			return n, io.ErrShortWrite
		}
	}
	return len(p), nil
}
