package dashboard

import (
	"strings"
	"sync"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

const (
	// maxKeys bounds the keys that are kept. What comes from others counts as otherKey.
	maxKeys  = 1024
	otherKey = "other keys"
	// maxName bounds the name of a key: a model's name is the caller's own text.
	maxName = 200

	slotTime = 2 * time.Second
	slots    = 60 // two minutes

	troubleEvents = 512 // kept: what a viewer looks for
	routineEvents = 128 // kept: successes, hits and waits, which would drive out the rest
	shownEvents   = 50
)

// history is what has happened: for each key two minutes in slots, and the last
// events. Everything is written in place.
type history struct {
	mu      sync.Mutex
	started time.Time
	rows    map[string]*row
	other   row
	evicted time.Time // when a place was last looked for
	totals  totals
	seq     uint64 // of the last event
	trouble [troubleEvents]record
	routine [routineEvents]record
	nth     [2]uint64 // of the next record of trouble and routine
}

// totals count since the Dashboard was made.
type totals struct {
	Attempts     uint64 `json:"attempts"`
	Answered     uint64 `json:"answered"`
	Wasted       uint64 `json:"wasted"`
	Refused      uint64 `json:"refused"`
	Retries      uint64 `json:"retries"`
	Hedges       uint64 `json:"hedges"`
	Fallbacks    uint64 `json:"fallbacks"`
	Saved        uint64 `json:"saved"`     // by the cache
	Collapsed    uint64 `json:"collapsed"` // of these, by sharing another's call
	InputTokens  uint64 `json:"input_tokens"`
	OutputTokens uint64 `json:"output_tokens"`
}

// row is one key.
type row struct {
	name    string
	last    time.Time
	slots   [slots]slot
	hits    uint64
	lookups uint64
	failure record // the last attempt that failed
}

// slot is a few seconds of a key.
type slot struct {
	number                              int64 // since 1970, tells a slot of this lap from one of an earlier lap
	attempts, answered, wasted, refused uint32
	tokens                              uint64
}

// record is an event as it is kept: it refers to nothing of the event's.
type record struct {
	seq            uint64
	at, until      time.Time
	row            *row
	kind           snubber.EventKind
	routine        bool
	class          snubber.Class
	from, to       snubber.CircuitState
	attempt, route int
	wait, took     time.Duration
	perMinute      float64
	reason         word // of the Outcome, or Detail
	what           word // the cache's part, or the limit's kind
	source         word // of the limit
}

// word is a short text, in place.
type word struct {
	n int8
	b [64]byte
}

func (w *word) set(s string) { w.n = int8(copy(w.b[:], s)) }

func (w *word) String() string { return strings.ToValidUTF8(string(w.b[:w.n]), "") }

func (h *history) init(now time.Time) {
	h.started = now
	h.rows = make(map[string]*row, maxKeys)
	h.other.name = otherKey
}

// serviceOf is a key without the hash of a credential: queues have one, circuits have
// none.
func serviceOf(key string) (service, tenant string) {
	i := strings.LastIndex(key, " #")
	if i < 0 || len(key)-i > 2+16 || !strings.Contains(key, "://") || strings.Trim(key[i+2:], "0123456789abcdef") != "" {
		return key, ""
	}
	return key[:i], key[i+2:]
}

func (h *history) observe(e *snubber.Event) {
	name, _ := serviceOf(e.Key)
	if len(name) > maxName {
		name = name[:maxName]
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rowOf(name, e.Time)
	r.last = e.Time
	h.count(r, r.slot(e.Time), e)

	ring, n := h.trouble[:], &h.nth[0]
	if routine(e) {
		ring, n = h.routine[:], &h.nth[1]
	}
	h.seq++
	rec := &ring[*n%uint64(len(ring))]
	*n++
	rec.set(h.seq, r, e)
	rec.routine = len(ring) == routineEvents
	if e.Kind == snubber.EventAttempt && wasted(&e.Outcome) {
		r.failure = *rec
	}
}

// rowOf is the row of a key. When all places are taken, a key that has been silent for
// the whole of its ring gives up its own.
func (h *history) rowOf(name string, now time.Time) *row {
	if r := h.rows[name]; r != nil {
		return r
	}
	if len(h.rows) >= maxKeys && !h.evict(now) {
		return &h.other
	}
	r := &row{name: strings.Clone(name)}
	h.rows[r.name] = r
	return r
}

// evict looks at all rows, so it does that once in a slot at most: keys that are made
// up may come as fast as calls do.
func (h *history) evict(now time.Time) bool {
	if since := now.Sub(h.evicted); since >= 0 && since < slotTime {
		return false
	}
	h.evicted = now
	for name, r := range h.rows {
		if now.Sub(r.last) > slots*slotTime {
			delete(h.rows, name)
		}
	}
	return len(h.rows) < maxKeys
}

func (r *row) slot(at time.Time) *slot {
	n := at.UnixNano() / int64(slotTime)
	s := &r.slots[uint64(n)%slots]
	if s.number != n {
		*s = slot{number: n}
	}
	return s
}

func (h *history) count(r *row, s *slot, e *snubber.Event) {
	t := &h.totals
	switch e.Kind {
	case snubber.EventAttempt:
		s.attempts++
		t.Attempts++
		switch {
		case wasted(&e.Outcome):
			s.wasted++
			t.Wasted++
		case answered(e.Outcome.Class):
			s.answered++
			t.Answered++
		}
		u := e.Outcome.Usage
		s.tokens += uint64(max(0, u.Input)) + uint64(max(0, u.Output))
		t.InputTokens += uint64(max(0, u.Input))
		t.OutputTokens += uint64(max(0, u.Output))
	case snubber.EventRefused:
		s.refused++
		t.Refused++
	case snubber.EventRetry:
		t.Retries++
	case snubber.EventHedge:
		t.Hedges++
	case snubber.EventFallback:
		t.Fallbacks++
	case snubber.EventCache:
		switch e.Cache {
		case snubber.CacheHit, snubber.CacheStale, snubber.CacheCollapsed:
			r.hits++
			r.lookups++
			t.Saved++
			if e.Cache == snubber.CacheCollapsed {
				t.Collapsed++
			}
		case snubber.CacheMiss, snubber.CacheRevalidated:
			r.lookups++
		}
	}
}

// answered reports whether the caller got an answer to its request, be it that the
// request is not good.
func answered(c snubber.Class) bool {
	switch c {
	case snubber.Success, snubber.TooLong, snubber.Filtered, snubber.Invalid:
		return true
	}
	return false
}

// wasted reports whether an attempt brought no answer: the call was sent again, sent
// elsewhere or lost, or another attempt of it was faster.
func wasted(o *snubber.Outcome) bool {
	switch o.Class {
	case snubber.Canceled:
		return o.Reason == lostRace
	case snubber.Unclassified, snubber.Rejected:
		return false
	}
	return !answered(o.Class)
}

// lostRace is the reason of an attempt whose hedge was faster.
const lostRace = "overtaken"

// routine reports whether nobody has to know of an event.
func routine(e *snubber.Event) bool {
	switch e.Kind {
	case snubber.EventAttempt:
		return e.Outcome.Class == snubber.Success
	case snubber.EventQueued:
		return true
	case snubber.EventCache:
		return e.Cache != snubber.CacheStoreFailed
	}
	return false
}

func (rec *record) set(seq uint64, r *row, e *snubber.Event) {
	rec.seq, rec.row, rec.at, rec.until = seq, r, e.Time, e.Until
	rec.kind, rec.class, rec.from, rec.to = e.Kind, e.Outcome.Class, e.From, e.To
	rec.attempt, rec.route, rec.wait, rec.took = e.Attempt, e.Route, e.Wait, e.Took
	rec.perMinute = e.Limit.PerMinute
	rec.reason.set(e.Outcome.Reason)
	if e.Detail != "" && e.Kind != snubber.EventAttempt {
		rec.reason.set(e.Detail)
	}
	rec.what.set(string(e.Cache))
	if e.Limit.Kind != "" {
		rec.what.set(e.Limit.Kind)
	}
	rec.source.set(e.Limit.Source)
}
