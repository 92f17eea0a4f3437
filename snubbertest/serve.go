package snubbertest

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/neterr"
)

// A wire carries one answer to the client: a socket or memory.
type wire interface {
	// head sends status and header. The length is -1 if it is not known.
	head(status int, h http.Header, length int64)
	// send hands over one piece of the body at once.
	send(piece []byte)
	// close ends the answer. A body shorter than the length is thereby cut.
	close()
	// cut breaks the connection. The error is what a client in memory sees.
	cut(err error)
}

var (
	errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", neterr.Refused)}
	errReset   = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", neterr.Reset)}
)

// serve does with a call that arrived what was decided.
func (p *Provider) serve(ctx context.Context, w wire, c *call) {
	// A server swallows the panic of a TextFunc; the call must end anyway.
	defer p.finish(c, callBroken)
	gone := func() {
		p.finish(c, callCancelled)
		w.cut(errReset)
	}
	v := &c.verdict
	if !sleep(ctx, v.delay) {
		gone()
		return
	}
	switch v.fault.Kind {
	case Outage:
		p.finish(c, callBroken)
		w.cut(errRefused)
		return
	case Disconnect:
		p.finish(c, callBroken)
		w.cut(errReset)
		return
	case BlackHole:
		<-ctx.Done()
		gone()
		return
	}
	status, pieces, length := p.compose(c)
	if ctx.Err() != nil {
		gone()
		return
	}
	strike := -1
	if v.fault.Kind >= Stall && (length < 0 || v.fault.Kind != ErrorEvent) {
		strike = min(max(v.fault.After, 0), max(len(pieces)-1, 0))
	}
	p.answered(c, status)
	// The end comes before the last piece is sent, and before the header of an
	// answer that goes out in one: a client that has seen it, or closes the
	// body unread, and calls again must find its place free and the record
	// settled.
	if len(pieces) <= 1 && strike < 0 {
		p.finish(c, callComplete)
	}
	w.head(status, c.header, length)
	for i, piece := range pieces {
		if i > 0 && length < 0 && !sleep(ctx, p.EventGap) {
			gone()
			return
		}
		if i == strike {
			p.strike(ctx, w, c, gone)
			return
		}
		if i == len(pieces)-1 {
			p.finish(c, callComplete)
		}
		w.send(piece)
	}
	w.close()
}

// strike breaks an answer in the middle.
func (p *Provider) strike(ctx context.Context, w wire, c *call, gone func()) {
	switch c.verdict.fault.Kind {
	case Stall:
		<-ctx.Done()
		gone()
		return
	case Reset:
		p.finish(c, callBroken)
		w.cut(errReset)
		return
	case ErrorEvent:
		p.finish(c, callBroken)
		if c.api != nil && c.api.broken != nil {
			w.send(c.api.broken(c.api.vendor.overloaded()))
		}
	}
	p.finish(c, callBroken)
	w.close()
}

// sleep waits, unless the client gives up before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// maxBody is what the provider reads of a request. A larger one gets a 413.
const maxBody = 32 << 20

func readBody(r io.Reader) (body []byte, oversized bool, err error) {
	body, err = io.ReadAll(io.LimitReader(r, maxBody+1))
	if len(body) > maxBody {
		return nil, true, nil
	}
	return body, false, err
}
