package snubbertest

import (
	"maps"
	"strconv"
	"strings"
)

// compose writes the answer to a call: its status, its header and its body in
// the pieces in which it is sent. The length is -1 for a stream.
func (p *Provider) compose(c *call) (status int, pieces [][]byte, length int64) {
	v, h := &c.verdict, c.header
	id := strconv.Itoa(c.number)
	a := c.api
	if a == nil {
		a = &chat // for its errors
	}
	a.vendor.identify(h, id)
	if !p.NoHeaders {
		a.vendor.quota(h, v.now, v.requests, v.tokens)
	}
	h.Set("Content-Type", "application/json")
	status = 200
	stream := false
	switch {
	case v.failure != nil:
		var body any
		status, body = a.vendor.fail(h, v.failure)
		pieces = [][]byte{encode(body)}
	case v.reply != nil && v.reply.Body != "" || c.api == nil:
		if pieces, stream = v.reply.pieces(h); v.reply.Status != 0 {
			status = v.reply.Status
		}
	default:
		if v.reply != nil && v.reply.Status != 0 {
			status = v.reply.Status
		}
		said := p.say(c)
		if stream = c.prompt.Stream; stream {
			h.Set("Content-Type", "text/event-stream")
			pieces = a.events(said)
		} else {
			pieces = [][]byte{encode(a.whole(said))}
		}
	}
	if v.reply != nil {
		maps.Copy(h, v.reply.Header)
	}
	if stream {
		return status, pieces, -1
	}
	whole := pieces[0]
	if half := len(whole) / 2; v.fault.Kind >= Stall && v.fault.Kind != ErrorEvent {
		pieces = [][]byte{whole[:half], whole[half:]}
		v.fault.After = 1
	}
	return status, pieces, int64(len(whole))
}

// say makes the answer.
func (p *Provider) say(c *call) *answer {
	text := p.Text
	if text == "" {
		text = "The quick brown fox jumps over the lazy dog."
	}
	if p.TextFunc != nil {
		text = p.TextFunc(p.snapshot(c))
	}
	a := &answer{prompt: &c.prompt, id: strconv.Itoa(c.number), created: c.verdict.now.Unix(), text: text, in: c.record.InputTokens}
	a.pieces = tokens(text)
	if most := c.prompt.maximum(); most > 0 && len(a.pieces) > most {
		a.pieces, a.cut = a.pieces[:most], true
		a.text = strings.Join(a.pieces, "")
	}
	if c.api.events != nil {
		a.out = len(a.pieces)
	}
	c.out = a.out
	return a
}

// An answer is what is to be said, before it is written in a dialect.
type answer struct {
	prompt  *prompt
	id      string
	created int64
	text    string
	pieces  []string // of text, a token each
	cut     bool     // by the request's maximum
	in, out int      // tokens
}

// reason is the first of two words if the answer is whole, else the second.
func (a *answer) reason(whole, cut string) string {
	if a.cut {
		return cut
	}
	return whole
}

// vectors are orthogonal unit vectors, so that tests can tell them apart.
func (a *answer) vectors(n int) [][]float32 {
	size := a.prompt.Dimensions
	if size == 0 {
		size = 8
	}
	vs := make([][]float32, n)
	for i := range vs {
		vs[i] = make([]float32, size)
		vs[i][i%size] = 1
	}
	return vs
}
