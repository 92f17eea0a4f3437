package snubber

import (
	"context"
	"log/slog"
)

// maxEventAttrs is the most attributes that an event has: an attempt with all of its
// verdict.
const maxEventAttrs = 20

// eventMessages are the messages of [Log], which do not change: a search for one
// finds all events of its kind.
var eventMessages = [...]string{
	"snubber event", "attempt ended", "retry waits", "queue wait ended", "key held back", "circuit changed", "route tried",
	"call refused", "cache took part", "hedge sent", "limit changed", "limit store failed",
}

// Log returns an observer, for [Transport].Observe, that writes each event to l. A
// nil l is slog.Default() as it is at each event.
//
//	error  a key whose quota is exhausted
//	warn   a circuit that opened, a store that failed
//	info   a key held back, a circuit that closes, another route, a refusal,
//	       a retry, a limit learned for the first time
//	debug  the rest: attempts, waits, hedges, the cache, limits that move
//
// The record has the event's time and the attributes of [Event.LogValue], without a
// group. To have one, use l.WithGroup. An event that the handler does not want costs
// no allocation.
func Log(l *slog.Logger) func(Event) {
	return func(e Event) {
		logger, ctx := l, context.Background()
		if logger == nil {
			logger = slog.Default()
		}
		handler, level := logger.Handler(), e.level()
		if !handler.Enabled(ctx, level) {
			return
		}
		message := eventMessages[0]
		if int(e.Kind) < len(eventMessages) {
			message = eventMessages[e.Kind]
		}
		record := slog.NewRecord(e.Time, level, message, 0) // the place in the code would be this line
		var buffer [maxEventAttrs]slog.Attr
		record.AddAttrs(e.appendAttrs(buffer[:0])...)
		// A handler's failure is its own to tell of: the call goes on without the record.
		_ = handler.Handle(ctx, record)
	}
}

func (e *Event) level() slog.Level {
	switch e.Kind {
	case EventGated:
		if e.Outcome.Class == QuotaExhausted {
			return slog.LevelError
		}
		return slog.LevelInfo
	case EventCircuit:
		if e.To == CircuitOpen {
			return slog.LevelWarn
		}
		return slog.LevelInfo
	case EventLimitStoreFailed:
		return slog.LevelWarn
	case EventCache:
		if e.Cache == CacheStoreFailed {
			return slog.LevelWarn
		}
	case EventRetry, EventFallback, EventRefused:
		return slog.LevelInfo
	case EventLimit:
		if e.Previous == 0 {
			return slog.LevelInfo
		}
	}
	return slog.LevelDebug
}

// LogValue is a group of the fields that the event's Kind has, without its Time. The
// names do not change, more may come:
//
//	kind, key            always
//	attempt, route       numbers, from 1
//	class, reason        of the Outcome, and where they are set: exceeded,
//	                     unsent, declined, misconfigured, advice, not_before
//	input_tokens, output_tokens, cache_read_tokens, cache_write_tokens
//	took, wait           durations
//	until                a time
//	from, to             states of a circuit
//	cache                how the cache took part
//	detail               why
//	limit, source, daily, per_minute, remaining, previous
//
// It makes Event a [slog.LogValuer].
func (e Event) LogValue() slog.Value {
	return slog.GroupValue(e.appendAttrs(make([]slog.Attr, 0, maxEventAttrs))...)
}

func (e *Event) appendAttrs(as []slog.Attr) []slog.Attr {
	as = append(as, slog.String("kind", e.Kind.String()), slog.String("key", e.Key))
	switch e.Kind {
	case EventAttempt:
		as = append(as, slog.Int("attempt", e.Attempt))
		if e.Detail != "" {
			as = append(as, slog.String("detail", e.Detail))
		}
		if e.Route != 0 {
			as = append(as, slog.Int("route", e.Route))
		}
		as = append(e.Outcome.appendAttrs(as), slog.Duration("took", e.Took))
	case EventRetry:
		as = append(as, slog.Int("attempt", e.Attempt))
		as = append(e.Outcome.appendAttrs(as), slog.Duration("wait", e.Wait))
	case EventQueued:
		as = append(as, slog.Duration("wait", e.Wait))
	case EventGated:
		as = e.appendUntil(e.Outcome.appendAttrs(as))
	case EventCircuit:
		as = e.appendUntil(append(as, slog.String("from", e.From.String()), slog.String("to", e.To.String())))
	case EventFallback:
		as = e.Outcome.appendAttrs(append(as, slog.Int("route", e.Route)))
	case EventRefused:
		as = e.Outcome.appendAttrs(as)
	case EventCache:
		as = append(as, slog.String("cache", string(e.Cache)))
		if e.Detail != "" {
			as = append(as, slog.String("detail", e.Detail))
		}
	case EventHedge:
		as = append(as, slog.Int("attempt", e.Attempt), slog.Duration("wait", e.Wait))
	case EventLimit:
		as = append(as, slog.String("limit", e.Limit.Kind), slog.String("source", e.Limit.Source))
		if e.Limit.Daily {
			as = append(as, slog.Bool("daily", true))
		}
		as = append(as, slog.Float64("per_minute", e.Limit.PerMinute), slog.Float64("remaining", e.Limit.Remaining), slog.Float64("previous", e.Previous))
	case EventLimitStoreFailed:
		as = e.appendUntil(append(as, slog.String("detail", e.Detail)))
	}
	return as
}

func (e *Event) appendUntil(as []slog.Attr) []slog.Attr {
	if e.Until.IsZero() {
		return as
	}
	return append(as, slog.Time("until", e.Until))
}

// appendAttrs leaves out what is unset, and the Quotas: [EventLimit] tells what became
// of them.
func (o *Outcome) appendAttrs(as []slog.Attr) []slog.Attr {
	as = append(as, slog.String("class", o.Class.String()))
	if o.Reason != "" {
		as = append(as, slog.String("reason", o.Reason))
	}
	if o.Exceeded != "" {
		as = append(as, slog.String("exceeded", o.Exceeded))
	}
	for _, flag := range [...]struct {
		name string
		set  bool
	}{{"unsent", o.Unsent}, {"declined", o.Declined}, {"misconfigured", o.Misconfigured}} {
		if flag.set {
			as = append(as, slog.Bool(flag.name, true))
		}
	}
	if o.Advice != AdviceNone {
		as = append(as, slog.String("advice", o.Advice.String()))
	}
	if !o.NotBefore.IsZero() {
		as = append(as, slog.Time("not_before", o.NotBefore))
	}
	if o.Usage == (Usage{}) {
		return as
	}
	as = append(as, slog.Int("input_tokens", o.Usage.Input), slog.Int("output_tokens", o.Usage.Output))
	if n := o.Usage.CacheRead; n != 0 {
		as = append(as, slog.Int("cache_read_tokens", n))
	}
	if n := o.Usage.CacheWrite; n != 0 {
		as = append(as, slog.Int("cache_write_tokens", n))
	}
	return as
}
