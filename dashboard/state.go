package dashboard

import (
	"encoding/json"
	"math"
	"math/bits"
	"net/http"
	"slices"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// state is all that the page shows, in the form of its JSON twin.
type state struct {
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
	Since   time.Time `json:"since"` // when Totals began
	// Steerable says that circuits may be opened and closed from here.
	Steerable bool         `json:"steerable"`
	Totals    totals       `json:"totals"`
	Omitted   int          `json:"omitted"` // keys beyond the bound
	Keys      []keyState   `json:"keys"`
	Events    []eventState `json:"events"` // oldest first
}

// keyState is one key in the last two minutes.
type keyState struct {
	Key string `json:"key"`
	// Trouble is how bad it is: 0 nothing, 1 wasted attempts, 2 a queue, 3 held back or
	// half-open, 4 nothing passes.
	Trouble int `json:"trouble"`
	// Size is the traffic's order of magnitude, as a power of two.
	Size     int           `json:"size"`
	Why      string        `json:"why"` // in words
	Until    time.Time     `json:"until,omitzero"`
	Attempts int           `json:"attempts"`
	Answered int           `json:"answered"`
	Wasted   int           `json:"wasted"`
	Refused  int           `json:"refused"`
	Waiting  int           `json:"waiting"`
	InFlight int           `json:"in_flight"`
	Oldest   float64       `json:"oldest_seconds"` // that the request waits which joined first
	Circuit  *circuitState `json:"circuit,omitempty"`
	Queues   []queueState  `json:"queues,omitempty"`
	Cache    *cacheState   `json:"cache,omitempty"`
	// Slots are those in which something happened: number, answered, wasted, refused.
	// A slot is SlotSeconds long; its number times that is the Unix time of its start.
	Slots [][4]int64 `json:"slots"`
}

type circuitState struct {
	State       snubber.CircuitState `json:"state"`
	Until       time.Time            `json:"until,omitzero"`
	Forced      bool                 `json:"forced,omitempty"`
	Requests    int                  `json:"requests"`
	Failures    int                  `json:"failures"`
	Consecutive int                  `json:"consecutive"`
}

type queueState struct {
	Tenant     string       `json:"tenant,omitempty"` // the hash of a credential
	Waiting    int          `json:"waiting"`
	InFlight   int          `json:"in_flight"`
	Oldest     float64      `json:"oldest_seconds"`
	TokensLeft *float64     `json:"tokens_left,omitempty"`
	GatedUntil time.Time    `json:"gated_until,omitzero"`
	Reason     string       `json:"reason,omitempty"`
	Exhausted  bool         `json:"exhausted,omitempty"`
	Limits     []limitState `json:"limits,omitempty"`
}

type limitState struct {
	Kind      string  `json:"kind"`
	Daily     bool    `json:"daily,omitempty"`
	PerMinute float64 `json:"per_minute"` // of concurrency, at a time
	Remaining float64 `json:"remaining"`
	Source    string  `json:"source"`
	// Used is what was used in the last minute, of concurrency now; null where the
	// requests of several tenants cannot be told apart.
	Used *float64 `json:"used"`
}

type cacheState struct {
	Hits    uint64  `json:"hits"`
	Lookups uint64  `json:"lookups"`
	Ratio   float64 `json:"ratio"`
}

type eventState struct {
	Seq     uint64            `json:"seq"`
	Time    time.Time         `json:"time"`
	Kind    snubber.EventKind `json:"kind"`
	Key     string            `json:"key"`
	Class   *snubber.Class    `json:"class,omitempty"`
	Reason  string            `json:"reason,omitempty"`
	Text    string            `json:"text"`              // in words
	Routine bool              `json:"routine,omitempty"` // nobody has to know of it
}

// look reads everything. It takes one lock at a time.
func (d *Dashboard) look(now time.Time) *state {
	s, failures := d.history.look(now)
	s.Steerable = d.AllowTripAndReset
	at := make(map[string]int, len(s.Keys))
	for i := range s.Keys {
		at[s.Keys[i].Key] = i
	}
	of := func(key string) *keyState {
		i, ok := at[key]
		if !ok {
			i = len(s.Keys)
			at[key] = i
			s.Keys = append(s.Keys, keyState{Key: key, Slots: [][4]int64{}})
		}
		return &s.Keys[i]
	}
	for _, b := range d.breakers() {
		for _, c := range b.Circuits() {
			k := of(clip(c.Key))
			// Where two breakers know the key, the worse circuit is what stops it.
			if k.Circuit == nil || c.State > k.Circuit.State {
				k.Circuit = &circuitState{State: c.State, Until: shown(c.Until), Forced: c.Forced, Requests: c.Requests, Failures: c.Failures, Consecutive: c.Consecutive}
			}
		}
	}
	for _, l := range d.limiters() {
		for _, q := range l.Queues() {
			service, tenant := serviceOf(q.Key)
			k := of(clip(service))
			k.Queues = append(k.Queues, queueOf(q, tenant))
		}
	}
	for i := range s.Keys {
		k := &s.Keys[i]
		k.finish(failures[k.Key], now)
	}
	slices.SortFunc(s.Keys, compareKeys)
	if n := len(s.Keys) - maxKeys - 1; n > 0 {
		s.Keys, s.Omitted = s.Keys[:maxKeys+1], n
	}
	return s
}

func clip(key string) string { return key[:min(len(key), maxName)] }

func queueOf(q snubber.QueueStatus, tenant string) queueState {
	s := queueState{Tenant: tenant, Waiting: q.Waiting, InFlight: q.InFlight, Oldest: seconds(q.OldestWait), GatedUntil: shown(q.GatedUntil), Reason: q.Reason, Exhausted: q.Exhausted}
	if finite(q.Tokens) {
		left := math.Round(q.Tokens)
		s.TokensLeft = &left
	}
	for _, l := range q.Limits {
		if finite(l.PerMinute) && finite(l.Remaining) {
			s.Limits = append(s.Limits, limitState{Kind: l.Kind, Daily: l.Daily, PerMinute: tenths(l.PerMinute), Remaining: math.Round(l.Remaining), Source: l.Source})
		}
	}
	return s
}

// recent is a key's last minute, beside what its keyState says of two.
type recent struct {
	failure          eventState
	failed           bool
	requests, tokens float64
}

// finish fills in what follows from the rest.
func (k *keyState) finish(r recent, now time.Time) {
	slices.SortFunc(k.Queues, func(a, b queueState) int { return b.Waiting - a.Waiting })
	for i := range k.Queues {
		q := &k.Queues[i]
		k.Waiting += q.Waiting
		k.InFlight += q.InFlight
		k.Oldest = max(k.Oldest, q.Oldest)
		for j := range q.Limits {
			l := &q.Limits[j]
			switch used := float64(q.InFlight); {
			case l.Kind == "concurrency":
				l.Used = &used
			case len(k.Queues) > 1 || l.Daily:
			case l.Kind == "requests":
				l.Used = &r.requests
			case l.Kind == "tokens":
				l.Used = &r.tokens
			}
		}
	}
	k.Size = bits.Len(uint(k.Attempts + k.Refused))
	k.explain(r, now)
}

// look copies what the rings hold.
func (h *history) look(now time.Time) (*state, map[string]recent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &state{Version: Version, Time: shown(now), Since: shown(h.started), Totals: h.totals, Keys: make([]keyState, 0, len(h.rows)+1), Events: []eventState{}}
	recents := make(map[string]recent, len(h.rows)+1)
	add := func(r *row) {
		k, m := r.look(now)
		s.Keys = append(s.Keys, k)
		recents[k.Key] = m
	}
	for _, r := range h.rows {
		add(r)
	}
	if !h.other.last.IsZero() {
		add(&h.other)
	}
	for i, ring := range [...][]record{h.trouble[:], h.routine[:]} {
		for j := range min(h.nth[i], uint64(len(ring))) {
			s.Events = append(s.Events, ring[j].look())
		}
	}
	slices.SortFunc(s.Events, func(a, b eventState) int { return int(int64(a.Seq - b.Seq)) })
	return s, recents
}

func (r *row) look(now time.Time) (keyState, recent) {
	k, m := keyState{Key: r.name, Slots: [][4]int64{}}, recent{}
	newest := now.UnixNano() / int64(slotTime)
	for n := newest - slots + 1; n <= newest; n++ {
		s := &r.slots[uint64(n)%slots]
		if s.number != n {
			continue
		}
		k.Attempts += int(s.attempts)
		k.Answered += int(s.answered)
		k.Wasted += int(s.wasted)
		k.Refused += int(s.refused)
		if newest-n < int64(time.Minute/slotTime) {
			m.requests += float64(s.attempts)
			m.tokens += float64(s.tokens)
		}
		if s.answered|s.wasted|s.refused != 0 {
			k.Slots = append(k.Slots, [4]int64{n, int64(s.answered), int64(s.wasted), int64(s.refused)})
		}
	}
	if r.lookups > 0 {
		k.Cache = &cacheState{Hits: r.hits, Lookups: r.lookups, Ratio: math.Round(float64(r.hits)/float64(r.lookups)*1000) / 1000}
	}
	if r.failure.seq != 0 {
		m.failure, m.failed = r.failure.look(), true
	}
	return k, m
}

func (rec *record) look() eventState {
	e := eventState{Seq: rec.seq, Time: shown(rec.at), Kind: rec.kind, Key: rec.row.name, Reason: rec.reason.String(), Text: rec.text(), Routine: rec.routine}
	if rec.class != snubber.Unclassified {
		class := rec.class
		e.Class = &class
	}
	return e
}

// shown is a time as both twins write it.
func shown(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
}

func seconds(d time.Duration) float64 { return tenths(d.Seconds()) }

func tenths(f float64) float64 { return math.Round(f*10) / 10 }

func finite(f float64) bool { return !math.IsInf(f, 0) && !math.IsNaN(f) }

func (d *Dashboard) serveJSON(w http.ResponseWriter, f filter) {
	s := d.look(time.Now())
	f.apply(s)
	w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.Encode(s)
}
