package snubber_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// fullEvent has every field set, as no event has.
func fullEvent(k snubber.EventKind) snubber.Event {
	at := time.Unix(1_800_000_000, 0).UTC()
	return snubber.Event{
		Kind: k, Time: at, Key: "https://api.example.com m", Attempt: 2, Wait: time.Second, Took: 2 * time.Second,
		From: snubber.CircuitClosed, To: snubber.CircuitOpen, Until: at.Add(time.Minute), Route: 3, Cache: snubber.CacheHit, Detail: "why",
		Outcome: snubber.Outcome{
			Class: snubber.Overloaded, Unsent: true, Declined: true, Misconfigured: true, Advice: snubber.AdviceStop, Reason: "r",
			NotBefore: at.Add(time.Hour), Exceeded: "tokens", Quotas: []snubber.Quota{{Kind: "tokens"}},
			Usage: snubber.Usage{Input: 1, Output: 2, CacheRead: 3, CacheWrite: 4},
		},
		Limit: snubber.Limit{Kind: "tokens", Daily: true, PerMinute: 60, Remaining: 5, Source: "429"}, Previous: 30,
	}
}

const outcomeAttrs = " class reason exceeded unsent declined misconfigured advice not_before input_tokens output_tokens cache_read_tokens cache_write_tokens"

// The names are part of the API: queries over logs depend on them.
var eventAttrs = map[snubber.EventKind]string{
	0:                             "kind key",
	snubber.EventAttempt:          "kind key attempt detail route" + outcomeAttrs + " took",
	snubber.EventRetry:            "kind key attempt" + outcomeAttrs + " wait",
	snubber.EventQueued:           "kind key wait",
	snubber.EventGated:            "kind key" + outcomeAttrs + " until",
	snubber.EventCircuit:          "kind key from to until",
	snubber.EventFallback:         "kind key route" + outcomeAttrs,
	snubber.EventRefused:          "kind key" + outcomeAttrs,
	snubber.EventCache:            "kind key cache detail",
	snubber.EventHedge:            "kind key attempt wait",
	snubber.EventLimit:            "kind key limit source daily per_minute remaining previous",
	snubber.EventLimitStoreFailed: "kind key detail until",
}

// A logged event has the fields of its kind, under stable names, and no others.
func TestEventLogValue(t *testing.T) {
	for k := range snubber.EventLimitStoreFailed + 2 {
		var e slog.LogValuer = fullEvent(k)
		var names []string
		for _, a := range e.LogValue().Group() {
			names = append(names, a.Key)
		}
		want := eventAttrs[k]
		if want == "" {
			want = eventAttrs[0]
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("LogValue of %v has %q, want %q", k, got, want)
		}
	}
}

// What an event's verdict does not say takes no room in a log.
func TestEventLogValueLeavesOutZero(t *testing.T) {
	for kind, want := range map[snubber.EventKind]string{
		snubber.EventAttempt: "kind key attempt class took",
		snubber.EventGated:   "kind key class",
		snubber.EventCircuit: "kind key from to",
		snubber.EventCache:   "kind key cache",
		snubber.EventLimit:   "kind key limit source per_minute remaining previous",
	} {
		var names []string
		for _, a := range (snubber.Event{Kind: kind}).LogValue().Group() {
			names = append(names, a.Key)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("LogValue of %v has %q, want %q", kind, got, want)
		}
	}
}

// Log writes the record of each event with its own time and level.
func TestLog(t *testing.T) {
	full := fullEvent(snubber.EventAttempt)
	for _, test := range []struct {
		name  string
		event snubber.Event
		level slog.Level
	}{
		{"attempt", full, slog.LevelDebug},
		{"retry", snubber.Event{Kind: snubber.EventRetry}, slog.LevelInfo},
		{"queued", snubber.Event{Kind: snubber.EventQueued}, slog.LevelDebug},
		{"gated", snubber.Event{Kind: snubber.EventGated, Outcome: snubber.Outcome{Class: snubber.RateLimited}}, slog.LevelInfo},
		{"quota exhausted", snubber.Event{Kind: snubber.EventGated, Outcome: snubber.Outcome{Class: snubber.QuotaExhausted}}, slog.LevelError},
		{"circuit opens", snubber.Event{Kind: snubber.EventCircuit, To: snubber.CircuitOpen}, slog.LevelWarn},
		{"circuit closes", snubber.Event{Kind: snubber.EventCircuit, From: snubber.CircuitHalfOpen}, slog.LevelInfo},
		{"fallback", snubber.Event{Kind: snubber.EventFallback}, slog.LevelInfo},
		{"refused", snubber.Event{Kind: snubber.EventRefused}, slog.LevelInfo},
		{"hit", snubber.Event{Kind: snubber.EventCache, Cache: snubber.CacheHit}, slog.LevelDebug},
		{"store of the cache", snubber.Event{Kind: snubber.EventCache, Cache: snubber.CacheStoreFailed}, slog.LevelWarn},
		{"hedge", snubber.Event{Kind: snubber.EventHedge}, slog.LevelDebug},
		{"limit learned", snubber.Event{Kind: snubber.EventLimit}, slog.LevelInfo},
		{"limit moved", snubber.Event{Kind: snubber.EventLimit, Previous: 3}, slog.LevelDebug},
		{"store of limits", snubber.Event{Kind: snubber.EventLimitStoreFailed}, slog.LevelWarn},
		{"unknown", snubber.Event{Kind: 255}, slog.LevelDebug},
	} {
		var out bytes.Buffer
		test.event.Time = full.Time
		snubber.Log(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))(test.event)
		var got struct {
			Time  time.Time
			Level slog.Level
			Msg   string
			Kind  string
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v in %s", test.name, err, &out)
		}
		if got.Level != test.level || !got.Time.Equal(full.Time) || got.Kind != test.event.Kind.String() || got.Msg == "" {
			t.Errorf("%s: Log = %+v, want level %v at %v", test.name, got, test.level, full.Time)
		}

		out.Reset()
		snubber.Log(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: test.level + 1})))(test.event)
		if out.Len() > 0 {
			t.Errorf("%s: Log = %s, want nothing above its level", test.name, &out)
		}
	}
}

// Without a logger the default one is used, as it is at the event.
func TestLogDefault(t *testing.T) {
	observe := snubber.Log(nil)
	was := slog.Default()
	t.Cleanup(func() { slog.SetDefault(was) })
	var out bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	observe(snubber.Event{Kind: snubber.EventCircuit, Key: "k", To: snubber.CircuitOpen})
	if got := out.String(); !strings.Contains(got, "kind=circuit key=k from=closed to=open") {
		t.Errorf("logged %q, want the circuit", got)
	}
}

// A handler that fails does not concern the call.
func TestLogHandlerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Base: wiretest.Play(wiretest.JSON(200, wiretest.Usage(11, 7))), Observe: snubber.Log(slog.New(failingHandler{slog.DiscardHandler}))}
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		wiretest.ReadAll(t, res)
	})
}

type failingHandler struct{ slog.Handler }

func (failingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (failingHandler) Handle(context.Context, slog.Record) error { return errors.New("disk full") }

// An event that nobody wants to read costs nothing.
func TestLogDisabledAllocatesNothing(t *testing.T) {
	observe := snubber.Log(slog.New(slog.DiscardHandler))
	e := fullEvent(snubber.EventAttempt)
	if got := testing.AllocsPerRun(100, func() { observe(e) }); got != 0 {
		t.Errorf("Log allocates %v times, want 0", got)
	}
}

// Observers calls all in order and leaves nil ones out.
func TestObservers(t *testing.T) {
	if snubber.Observers() != nil || snubber.Observers(nil, nil) != nil {
		t.Error("Observers of nobody is a function, want nil, which costs nothing")
	}
	var heard []string
	hear := func(name string) func(snubber.Event) {
		return func(e snubber.Event) { heard = append(heard, name+" "+e.Key) }
	}
	list := []func(snubber.Event){hear("a"), nil, hear("b")}
	all := snubber.Observers(list...)
	list[0] = nil // is not to be noticed
	all(snubber.Event{Key: "k"})
	snubber.Observers(nil, hear("c"))(snubber.Event{Key: "l"})
	if want := []string{"a k", "b k", "c l"}; !slices.Equal(heard, want) {
		t.Errorf("heard %q, want %q", heard, want)
	}
}

// In JSON the enumerations are names, so that a log does not depend on the numbers.
func TestMarshalText(t *testing.T) {
	got, err := json.Marshal(struct {
		Kind   snubber.EventKind
		Class  snubber.Class
		State  snubber.CircuitState
		Advice []snubber.Advice
	}{snubber.EventCircuit, snubber.RateLimited, snubber.CircuitHalfOpen, []snubber.Advice{snubber.AdviceNone, snubber.AdviceRetry, snubber.AdviceStop, 7}})
	const want = `{"Kind":"circuit","Class":"rate-limited","State":"half-open","Advice":["none","retry","stop","none"]}`
	if err != nil || string(got) != want {
		t.Errorf("Marshal = %s, %v, want %s", got, err, want)
	}
}

// A new field of Event or Outcome must be put into the log as well, or left out on
// purpose: then it belongs into this list.
func TestEventLogValueKnowsAllFields(t *testing.T) {
	for _, test := range []struct {
		of   reflect.Type
		want int
	}{{reflect.TypeFor[snubber.Event](), 15}, {reflect.TypeFor[snubber.Outcome](), 10}, {reflect.TypeFor[snubber.Limit](), 5}, {reflect.TypeFor[snubber.Usage](), 4}} {
		if got := test.of.NumField(); got != test.want {
			t.Errorf("%v has %d fields, LogValue was written for %d", test.of, got, test.want)
		}
	}
}
