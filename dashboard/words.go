package dashboard

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// explain says how bad it is with a key, and why. The worst comes first.
func (k *keyState) explain(r recent, now time.Time) {
	set := func(trouble int, until time.Time, why string) {
		if trouble > k.Trouble || k.Why == "" {
			k.Trouble, k.Until, k.Why = trouble, until, why
		}
	}
	if c := k.Circuit; c != nil {
		switch {
		case c.Forced:
			set(4, c.Until, "Opened by hand. Nothing is sent until it is reset.")
		case c.State == snubber.CircuitOpen:
			set(4, c.Until, "The circuit is open: "+c.evidence()+because(r)+".")
		case c.State == snubber.CircuitHalfOpen:
			set(3, time.Time{}, "The circuit is half-open: a few requests find out whether it works again"+because(r)+".")
		}
	}
	for i := range k.Queues {
		q := &k.Queues[i]
		switch held := q.GatedUntil.After(now); {
		case q.Exhausted:
			set(4, q.GatedUntil, "The quota is used up"+named(q.Reason)+", and waiting does not restore it.")
		case held:
			set(3, q.GatedUntil, "The server asked for a pause"+named(q.Reason)+".")
		case q.Waiting > 0:
			set(2, time.Time{}, fmt.Sprintf("%s for %s, the oldest for %s s.", wait(q.Waiting), q.bottleneck(), number(q.Oldest)))
		}
	}
	switch {
	case k.Wasted > 0 && k.Wasted*20 >= k.Attempts:
		set(1, time.Time{}, fmt.Sprintf("%s %% of the attempts in two minutes brought no answer%s.", number(percent(k.Wasted, k.Attempts)), because(r)))
	case k.Refused > 0:
		set(1, time.Time{}, plural(k.Refused, "call was", "calls were")+" refused in two minutes.")
	case k.Attempts > 0:
		set(0, time.Time{}, fmt.Sprintf("All is well: %s in two minutes.", plural(k.Answered, "answer", "answers")))
	default:
		set(0, time.Time{}, "Nothing was asked in two minutes.")
	}
}

// evidence is what opened the circuit. Its window goes on, so both numbers may have
// become small.
func (c *circuitState) evidence() string {
	if c.Consecutive >= c.Failures {
		return plural(c.Consecutive, "failure", "failures") + " in a row"
	}
	return fmt.Sprintf("%d of %s failed", c.Failures, plural(c.Requests, "request", "requests"))
}

func because(r recent) string {
	if !r.failed {
		return ""
	}
	why := r.failure.Class.String()
	if r.failure.Reason != "" && r.failure.Reason != why {
		why += named(r.failure.Reason)
	}
	return "; the last one: " + why
}

func named(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

func wait(n int) string { return plural(n, "request waits", "requests wait") }

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// bottleneck is what a queue waits for: the limit with the smallest part left.
func (q *queueState) bottleneck() string {
	var least *limitState
	for i := range q.Limits {
		l := &q.Limits[i]
		if l.PerMinute > 0 && (least == nil || l.Remaining/l.PerMinute < least.Remaining/least.PerMinute) {
			least = l
		}
	}
	if least == nil {
		return "their turn"
	}
	return "the limit of " + least.rate() + ", " + least.origin()
}

// rate is the limit with its unit.
func (l *limitState) rate() string {
	unit := l.Kind + " a minute"
	switch {
	case l.Kind == "concurrency":
		unit = "requests at a time"
	case l.Daily:
		unit += " of a day's stock"
	}
	return number(l.PerMinute) + " " + unit
}

// origin is the limit's source in words.
func (l *limitState) origin() string {
	switch l.Source {
	case "header":
		return "stated by the server"
	case "429":
		return "learned from refusals"
	}
	return l.Source
}

// text is the event in words. Key, kind and time stand beside it.
func (rec *record) text() string {
	verdict := rec.class.String()
	if reason := rec.reason.String(); reason != "" && reason != verdict {
		verdict += " (" + reason + ")"
	}
	switch rec.kind {
	case snubber.EventAttempt:
		route := ""
		if rec.route > 0 {
			route = fmt.Sprintf(" on route %d", rec.route)
		}
		return fmt.Sprintf("Attempt %d%s: %s after %s", rec.attempt, route, verdict, brief(rec.took))
	case snubber.EventRetry:
		return fmt.Sprintf("Again in %s, after %s", brief(rec.wait), verdict)
	case snubber.EventQueued:
		return "Waited " + brief(rec.wait) + " in the queue"
	case snubber.EventGated:
		return "Held back" + rec.period() + ": " + verdict
	case snubber.EventCircuit:
		return "From " + rec.from.String() + " to " + rec.to.String() + rec.period()
	case snubber.EventFallback:
		return fmt.Sprintf("Route %d is tried, after %s", rec.route, verdict)
	case snubber.EventRefused:
		return "Not sent: " + verdict
	case snubber.EventCache:
		return strings.TrimRight("Cache: "+rec.what.String()+", "+rec.reason.String(), ", ")
	case snubber.EventHedge:
		return fmt.Sprintf("Attempt %d goes out beside one that is slow for %s", rec.attempt, brief(rec.wait))
	case snubber.EventLimit:
		l := limitState{Kind: rec.what.String(), PerMinute: tenths(rec.perMinute), Source: rec.source.String()}
		return "Limit: " + l.rate() + ", " + l.origin()
	case snubber.EventLimitStoreFailed:
		return "The store of limits failed (" + rec.reason.String() + "): each process goes on by itself"
	}
	return rec.kind.String()
}

func (rec *record) period() string {
	if d := rec.until.Sub(rec.at); !rec.until.IsZero() && d > 0 {
		return " for " + brief(d)
	}
	return ""
}

// brief is a duration to read.
func brief(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func percent(part, of int) float64 {
	if of == 0 {
		return 0
	}
	return math.Round(float64(part) / float64(of) * 100)
}

// number is without digits that say nothing.
func number(f float64) string {
	if math.Abs(f) >= 100 {
		f = math.Round(f)
	}
	return strconv.FormatFloat(tenths(f), 'f', -1, 64)
}
