package snubbertest

import (
	"net/http"
	"time"
)

// A Call is the record of one request that reached the provider. A refused connection
// is one too.
type Call struct {
	Time   time.Time   // when it arrived
	Method string      // as sent
	Path   string      // unescaped
	Query  string      // raw, without the question mark
	Header http.Header // a copy
	Body   []byte      // all of it; must not be modified

	Model  string // "" if the path has no known format or the body names no model
	Stream bool   // the request asks for a stream

	InputTokens  int // a token for four bytes of text
	OutputTokens int // of the complete response

	Fault     Kind // that struck, injected or scripted; 0 for none
	Status    int  // of the response; 0 before its header and on a broken connection
	Complete  bool // the response was sent to its end; an error response counts too
	Cancelled bool // the client gave up before that
}

// Stats counts calls. A call that has ended is either OK, Rejected, Failed or
// Cancelled.
type Stats struct {
	Wire        int // arrived
	OK          int // got a 2xx, to its end
	Rejected    int // got a 429
	Failed      int // got any other response, or one that broke off
	Cancelled   int // given up by the client
	InFlight    int // have not ended
	MaxInFlight int // the most at one time
}

// The record keeps the latest calls, by number and by the bytes of their
// bodies: a provider that serves for days must not grow.
const (
	maxCalls = 10_000
	maxBytes = 64 << 20
)

// call is one request in service.
type call struct {
	record Call // guarded by Provider.mu once it arrived
	ended  bool // guarded by Provider.mu

	number   int
	api      *api
	prompt   prompt
	wrong    string // with the request
	verdict  verdict
	header   http.Header // of the response
	out      int         // tokens of the answer
	admitted bool
	bounded  bool   // charged for the most it may say
	charged  uint64 // tokens
}

func newCall(method, path, query string, header http.Header, body []byte) *call {
	c := &call{header: make(http.Header), record: Call{
		Method: method, Path: path, Query: query, Header: header.Clone(), Body: body,
	}}
	c.api, c.prompt, c.wrong = parse(method, path, query, body)
	c.record.Model = c.prompt.Model
	c.record.Stream = c.prompt.Stream
	c.record.InputTokens = c.prompt.tokens()
	return c
}

func (p *Provider) recordLocked(c *call, now time.Time) {
	c.record.Time = now
	p.stats.Wire++
	p.stats.InFlight++
	p.stats.MaxInFlight = max(p.stats.MaxInFlight, p.stats.InFlight)
	c.number = p.stats.Wire
	p.calls = append(p.calls, c)
	p.kept += len(c.record.Body)
	for len(p.calls) > maxCalls || p.kept > maxBytes && len(p.calls) > 1 {
		p.kept -= len(p.calls[0].record.Body)
		p.calls[0] = nil
		p.calls = p.calls[1:]
	}
}

// Calls is the record in order of arrival: the last ten thousand calls, fewer
// if their bodies exceed 64 MiB.
func (p *Provider) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := make([]Call, len(p.calls))
	for i, c := range p.calls {
		calls[i] = c.record
		calls[i].Header = c.record.Header.Clone()
	}
	return calls
}

// Stats counts all calls since the first.
func (p *Provider) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

func (p *Provider) snapshot(c *call) Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := c.record
	s.Header = s.Header.Clone()
	return s
}

// answered notes the status before it is sent, so that a client which has it
// finds it in the record.
func (p *Provider) answered(c *call, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.record.Status = status
}

// ending is how a call ended.
type ending uint8

const (
	callComplete ending = iota
	callBroken
	callCancelled
)

// finish ends a call in the record and frees what it holds. Only the first
// end counts: the client's and the provider's side may both report one.
func (p *Provider) finish(c *call, how ending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	c.record.Complete = how == callComplete
	c.record.Cancelled = how == callCancelled
	p.stats.InFlight--
	switch {
	case how == callCancelled:
		p.stats.Cancelled++
	case c.record.Status == 429:
		p.stats.Rejected++
	case how == callComplete && c.record.Status/100 == 2:
		p.stats.OK++
	default:
		p.stats.Failed++
	}
	if how == callComplete {
		c.record.OutputTokens = c.out
	}
	if c.admitted {
		p.busy--
		if how == callComplete {
			p.settleLocked(c, p.sinceEpoch(time.Now()))
		}
	}
}
