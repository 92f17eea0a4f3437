package limit

import (
	"math"

	"github.com/seed-9e4f5248/snubber/internal/latency"
	"github.com/seed-9e4f5248/snubber/internal/quota"
)

// Reserve estimates what a request will be charged, from the tokens of its prompt
// as they were counted, the tokens that it asked for (0: no number, -1: the
// response has none), and what this key's responses have billed.
func (q *Queue) Reserve(input, output int) (c quota.Cost) {
	q.mu.Lock()
	defer q.mu.Unlock()
	c = quota.Cost{Input: min(q.estimate.input(input), math.MaxInt32), Output: q.estimate.output(output)}
	if n := q.config.MaxTokens; n > 0 && c.Input+c.Output > n {
		var none estimate
		if none.input(input)+none.output(output) <= n {
			// It is too large only by what others billed. Refused, it could not
			// show that they were exceptions, and none after it could.
			c.Input = min(c.Input, n)
			c.Output = n - c.Input
		}
	}
	return c
}

// estimate is how a key's bills compare with what was expected of them.
type estimate struct {
	outputs         latency.Recent
	billed, counted float64 // input, fading
}

// learn compares a bill with what was counted, which is 0 where nobody did. Not
// with what was reserved: that has an older factor in it.
func (e *estimate) learn(counted int, used quota.Cost) {
	if used.Output > 0 {
		e.outputs.Add(used.Output)
	}
	if counted > 0 && used.Input > 0 {
		e.billed = 0.9*e.billed + float64(used.Input)
		e.counted = 0.9*e.counted + float64(counted)
	}
}

// factor is what this key's tokens are of those that were counted: another
// tokenizer, tools, pictures.
func (e *estimate) factor() float64 {
	if e.counted == 0 {
		return 1
	}
	return min(max(e.billed/e.counted, 1.0/16), 16)
}

// input is the reservation for a prompt.
func (e *estimate) input(counted int) int {
	return int(math.Ceil(float64(counted) * e.factor()))
}

// output is the reservation for an answer: what was asked for, but no more than
// nine in ten of this key's answers have billed. asked is 0 where no number
// was, -1 where the answer has no tokens.
func (e *estimate) output(asked int) int {
	likely := e.outputs.P90(1000)
	switch {
	case asked < 0:
		return 0
	case asked > 0:
		return min(asked, likely)
	}
	return likely
}
