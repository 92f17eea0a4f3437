package snubbertest

import (
	"math/rand/v2"
	"strings"
	"time"
)

// Kind is what goes wrong.
type Kind uint8

const (
	// Outage is a service that is not there: the connection is refused. In
	// memory that is a [*net.OpError] of a dial. A server has accepted the
	// connection already and resets it before a byte of the answer.
	Outage Kind = iota + 1
	// Disconnect resets the connection after the request arrived and before
	// the answer: nobody can tell whether the request was processed.
	Disconnect
	// BlackHole takes the request and never answers. The call ends when the
	// client gives up or the server of [NewServer] is closed.
	BlackHole
	// RateLimited answers 429 in the dialect's shape, whatever the quota says.
	RateLimited
	// QuotaExhausted answers with what the dialect says when money or a daily
	// quota is spent: waiting does not help.
	QuotaExhausted
	// Overloaded answers with what the dialect says when the service sheds
	// load: 529 at Anthropic, 503 elsewhere.
	Overloaded
	// ServerError answers Fault.Status, or 500, with a body that says no more
	// than that the server had an error.
	ServerError
	// BrownOut answers 500, 503 or 529, drawn from the fault's seed.
	BrownOut

	// WrongRetryAfter makes the provider's own rejections carry
	// Fault.RetryAfter instead of the true wait. It rejects nothing itself.
	WrongRetryAfter

	// Slow answers normally, Fault.Delay later. It combines with the kinds
	// below.
	Slow

	// Stall sends Fault.After events and then nothing more, on an open
	// connection.
	Stall
	// ErrorEvent sends Fault.After events, then the dialect's error event,
	// and ends the stream. It leaves answers that are no streams alone.
	ErrorEvent
	// Truncate sends Fault.After events and ends the stream as if it were
	// complete.
	Truncate
	// Reset sends Fault.After events and resets the connection.
	Reset
)

var kinds = [...]string{
	"none", "outage", "disconnect", "black hole", "rate limited", "quota exhausted", "overloaded",
	"server error", "brown-out", "wrong Retry-After", "slow", "stall", "error event", "truncate", "reset",
}

func (k Kind) String() string { return kinds[min(int(k), len(kinds)-1)] }

// A Fault is something that goes wrong, and when. Of several that apply to a
// call one strikes: the kinds that give no answer, or an error, before those
// that spoil an answer, then the one injected first. Calls that get no answer
// or an injected error are not charged to the quota.
type Fault struct {
	Kind Kind

	// After is how many events of a stream are sent before Stall,
	// ErrorEvent, Truncate or Reset strikes: 0 strikes right after the
	// header. All events count, the ones before the first word too. The last
	// event is never sent, however large After is. An answer that is no
	// stream breaks in the middle of its body, whatever After is.
	After int

	// Delay is the time from the arrival of the call to an error response or
	// to a refused or reset connection, and what Slow adds to
	// [Provider.Latency].
	Delay time.Duration

	// Status replaces the status of the error response. Zero means the
	// kind's own.
	Status int

	// RetryAfter is sent as it is in the Retry-After header of the error
	// response, and by Gemini, which has no such header, as the delay of a
	// RetryInfo (a bare number is given the unit s there). If empty, no hint
	// is sent.
	RetryAfter string

	Chance float64 // probability that a call is struck; zero means always
	Seed   uint64  // of Chance and BrownOut; the same seed strikes the same calls, counted by arrival
	Times  int     // how many calls are struck at most; zero means no limit

	// From and Until bound the fault in time, counted from its injection:
	// From ≤ t < Until. A zero Until means no end.
	From, Until time.Duration

	Path  string // only calls whose URL path contains it
	Model string // only calls for this model
}

// injected is a fault in force.
type injected struct {
	Fault
	since  time.Time
	random *rand.Rand
	struck int
}

// Inject puts faults in force until heal is called, [Provider.Clear] removes
// all, or their own bounds end them. Calls that were struck before stay struck:
// a black-holed call is not answered when the hole is closed.
func (p *Provider) Inject(faults ...Fault) (heal func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	mine := make(map[*injected]bool, len(faults))
	now := time.Now()
	for _, f := range faults {
		in := &injected{Fault: f, since: now, random: rand.New(rand.NewPCG(f.Seed, 0))}
		mine[in] = true
		p.faults = append(p.faults, in)
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		var rest []*injected
		for _, in := range p.faults {
			if !mine[in] {
				rest = append(rest, in)
			}
		}
		p.faults = rest
	}
}

// Clear removes all faults and what is left of the script.
func (p *Provider) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults, p.script = nil, nil
}

// strikeLocked is the first fault between the two kinds that strikes the call.
func (p *Provider) strikeLocked(now time.Time, c *call, from, to Kind) Fault {
	for _, in := range p.faults {
		if in.Kind < from || in.Kind > to || !in.applies(now, c) {
			continue
		}
		// Chance is drawn last: a call that the fault cannot strike must not
		// shift the draws of those that it can.
		if in.Chance > 0 && in.random.Float64() >= in.Chance {
			continue
		}
		in.struck++
		f := in.Fault
		if f.Kind == BrownOut && f.Status == 0 {
			f.Status = [...]int{500, 503, 529}[in.random.IntN(3)]
		}
		return f
	}
	return Fault{}
}

func (in *injected) applies(now time.Time, c *call) bool {
	since := now.Sub(in.since)
	switch {
	case in.Times > 0 && in.struck >= in.Times:
	case since < in.From || in.Until > 0 && since >= in.Until:
	case in.Model != "" && in.Model != c.record.Model:
	case !strings.Contains(c.record.Path, in.Path):
	case in.Kind == ErrorEvent && !c.record.Stream:
	default:
		return true
	}
	return false
}
