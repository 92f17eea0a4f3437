package httpcache

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// takeUnshared gives the leader what nobody else gets.
func (r *roundTrip) takeUnshared(fl *flight) (*http.Response, error) {
	r.unshared = fl
	r.call.AddCosts(fl.exchange)
	r.call.SetStatus(statusMiss, fl.result.detail)
	res := fl.received.Response
	if res == nil {
		fl.decline()
		return r.call.Deliver(nil, fl.received.Err, fl.exchange)
	}
	res.Header = res.Header.Clone()
	addStatus(res.Header, "; fwd="+r.forwardReason+"; fwd-status="+strconv.Itoa(res.StatusCode), fl.result.detail)
	res.Body = r.privateBody(fl, res.Body)
	return r.call.Deliver(res, nil, fl.exchange)
}

// privateBody is a body that is the leader's alone.
type privateBody struct {
	io.ReadCloser
	call         Caller
	exchange     Exchange
	once         sync.Once
	stopWatching func() bool
}

// privateBody gives the leader the body itself, and ends the flight with the leader's
// context.
func (r *roundTrip) privateBody(fl *flight, body io.ReadCloser) io.ReadCloser {
	if body == http.NoBody {
		return body
	}
	b := &privateBody{ReadCloser: body, call: r.call, exchange: fl.exchange}
	if ctx := r.req.Context(); ctx.Done() != nil {
		b.stopWatching = context.AfterFunc(ctx, func() { fl.end(ctx.Err()) })
	}
	return b
}

func (b *privateBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.conclude()
	}
	return n, err
}

func (b *privateBody) Close() error {
	err := b.ReadCloser.Close()
	b.conclude()
	return err
}

// conclude records the outcome of the exchange as the caller's, once.
func (b *privateBody) conclude() {
	b.once.Do(func() {
		if b.stopWatching != nil {
			b.stopWatching()
		}
		b.call.RecordOutcome(nil, b.exchange)
	})
}
