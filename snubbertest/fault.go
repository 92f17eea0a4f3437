package snubbertest

import (
	"math/rand/v2"
	"strings"
	"time"
)

// Kind is what goes wrong.
type Kind uint8

const (
	// Outage refuses the connection. In memory that is a [*net.OpError] of a dial. A
	// server has accepted the connection already, and resets it before the first byte
	// of the response.
	Outage Kind = iota + 1
	// Disconnect resets the connection after the request and before the response.
	// The client cannot tell whether the request was processed.
	Disconnect
	// BlackHole takes the request and never answers. The call ends when the
	// client gives up or the server of [NewServer] is closed.
	BlackHole
	// RateLimited answers 429 in the provider's format, whatever the quota.
	RateLimited
	// QuotaExhausted answers with the provider's error for spent money or a spent
	// daily quota, for which waiting does not help.
	QuotaExhausted
	// Overloaded answers with the provider's error for too much load: 529 from
	// Anthropic, 503 from the others.
	Overloaded
	// ServerError answers Fault.Status, or 500, with a body that says only that the
	// server had an error.
	ServerError
	// BrownOut answers 500, 503 or 529, drawn from the fault's seed.
	BrownOut

	// WrongRetryAfter makes the provider's own rejections carry
	// Fault.RetryAfter instead of the true wait. It rejects nothing itself.
	WrongRetryAfter

	// Slow answers normally, but later by Fault.Delay. It combines with the kinds
	// below.
	Slow

	// Stall sends Fault.After events and then nothing more, on an open
	// connection.
	Stall
	// ErrorEvent sends Fault.After events, then the provider's error event, and ends
	// the stream. It does not change a response that is not a stream.
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

// A Fault says what goes wrong, and when. If several apply to a call, one strikes.
// Kinds that give an error or no response come before those that spoil a response; of
// the same sort, the one injected first. A call that gets no response or an injected
// error is not charged to the quota.
type Fault struct {
	Kind Kind

	// After is how many events of a stream are sent before Stall, ErrorEvent,
	// Truncate or Reset strikes. Zero strikes right after the header. All events count,
	// those before the first word too. The last event is never sent, however large
	// After is. A response that is not a stream breaks in the middle of its body,
	// whatever After is.
	After int

	// Delay is the time from the arrival of the call to an error response, or to a
	// refused or reset connection. Slow adds it to [Provider.Latency].
	Delay time.Duration

	// Status replaces the status of the error response. Zero means the
	// kind's own.
	Status int

	// RetryAfter is sent as it is in the Retry-After header of the error response.
	// Gemini has no such header and sends it as the delay of a RetryInfo, with the unit
	// s if there is none. If empty, no hint is sent.
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

// Inject puts faults in force until heal is called, [Provider.Clear] removes all, or
// their own bounds end them. A call that was struck stays struck: heal does not answer
// a call that waits in a BlackHole.
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
