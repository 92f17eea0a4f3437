package body

import (
	"context"
	"errors"
	"io"
)

// ReadAll reads rc to its end, or up to limit bytes. The end of ctx closes rc, to
// wake a Read that hangs; the error is then the context's, and otherwise an *Error.
// Only on an error rc may be closed.
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

// Collector takes in a body of at most MaxCopy bytes without a copy, if it comes in
// one piece: a [bytes.Reader] and its kin write all they have at once.
type Collector struct {
	Length int64        // of the body; negative or zero if unknown
	Use    func([]byte) // gets a body that comes in one piece, and must not keep it

	used bool
	buf  []byte
}

// Collect reads body. If its first piece has the Length, Collect passes that piece
// to Use. Otherwise it returns what it has read, which after an error is a part.
// More than MaxCopy bytes, or more than the Length behind a piece that Use got, are
// an error.
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
