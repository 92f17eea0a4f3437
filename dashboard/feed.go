package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// feedTime is the time between two messages, for all viewers together: the state
	// is read once for all of them.
	feedTime   = time.Second
	maxViewers = 32
	// A viewer that takes no message for viewerTime is dropped. Viewers come back by
	// themselves, and go on where they were.
	viewerTime = 5 * time.Second
)

// feed makes the messages to viewers out of states: what has changed since a viewer's
// last one. It exists only while somebody looks.
type feed struct {
	mu      sync.Mutex
	tick    uint64 // of the latest state
	at      time.Time
	removed uint64 // the tick at which a key was last gone
	state   *state
	rows    map[string]*feedRow
}

// feedRow is a key in the form of a message, made once for all viewers.
type feedRow struct {
	since   uint64 // the tick at which it came
	changed uint64 // the tick at which it last was
	seen    uint64
	full    []byte
	short   []byte // with the newest slots alone, for a viewer that has the others
}

// place is how far a viewer has got. The zero place is that of a new one.
type place struct{ tick, seq uint64 }

// id is a place as the ID of a message.
func (p place) id(epoch string) string { return fmt.Sprintf("%s.%d.%d", epoch, p.tick, p.seq) }

// parsePlace is the place of an ID. That of another run, or none, is a new viewer's.
func parsePlace(id, epoch string) (p place) {
	rest, ok := strings.CutPrefix(id, epoch+".")
	if !ok {
		return p
	}
	tick, seq, _ := strings.Cut(rest, ".")
	t, err1 := strconv.ParseUint(tick, 10, 64)
	s, err2 := strconv.ParseUint(seq, 10, 64)
	if err1 != nil || err2 != nil {
		return p
	}
	return place{t, s}
}

// message is one server-sent event.
type message struct {
	*state
	Full bool              `json:"full"` // forget all keys that are not in Keys
	Keys []json.RawMessage `json:"keys"` // those that have changed
}

// next appends the message for a viewer, and moves the viewer's place.
func (f *feed) next(b *bytes.Buffer, d *Dashboard, p *place, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if since := now.Sub(f.at); f.state == nil || since < 0 || since >= feedTime {
		f.update(d.look(now), now)
	}
	s := *f.state
	m := message{state: &s, Full: p.tick == 0 || p.tick < f.removed || p.tick > f.tick, Keys: []json.RawMessage{}}
	for i := range f.state.Keys {
		switch r := f.rows[f.state.Keys[i].Key]; {
		case m.Full, r.changed > p.tick && (p.tick < f.tick-1 || r.since > p.tick):
			m.Keys = append(m.Keys, r.full)
		case r.changed > p.tick:
			m.Keys = append(m.Keys, r.short)
		}
	}
	first := 0
	for first < len(s.Events) && s.Events[first].Seq <= p.seq {
		first++
	}
	s.Events = s.Events[first:]
	p.tick = f.tick
	if n := len(s.Events); n > 0 {
		p.seq = s.Events[n-1].Seq
	}
	b.WriteString("id: " + p.id(d.epoch) + "\ndata: ")
	b.Write(encode(&m))
	b.WriteString("\n\n")
}

// update notes which keys differ from how they were.
func (f *feed) update(s *state, now time.Time) {
	f.tick++
	f.at, f.state = now, s
	if f.rows == nil {
		f.rows = make(map[string]*feedRow)
	}
	newest := now.UnixNano() / int64(slotTime)
	for i := range s.Keys {
		k := &s.Keys[i]
		r := f.rows[k.Key]
		if r == nil {
			r = &feedRow{since: f.tick}
			f.rows[k.Key] = r
		}
		r.seen = f.tick
		all, recent := k.Slots, len(k.Slots)
		for recent > 0 && k.Slots[recent-1][0] >= newest-1 {
			recent--
		}
		// A slot that has become too old is no change: viewers see that by themselves.
		k.Slots = all[recent:]
		short := encode(k)
		if k.Slots = all; !bytes.Equal(r.short, short) {
			r.short, r.full, r.changed = short, encode(k), f.tick
		}
	}
	for key, r := range f.rows {
		if r.seen != f.tick {
			delete(f.rows, key)
			f.removed = f.tick
		}
	}
}

// encode cannot fail: the types are ours, and all numbers are finite.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return b
}

// viewers counts the streams that are open.
type viewers struct {
	mu sync.Mutex
	n  int
}

func (v *viewers) enter() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.n >= maxViewers {
		return false
	}
	v.n++
	return true
}

func (v *viewers) leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.n--
}

// serveEvents streams to one viewer until the viewer leaves, is too slow, or the
// Dashboard is closed. It holds no lock while it writes.
func (d *Dashboard) serveEvents(w http.ResponseWriter, r *http.Request) {
	if !d.viewers.enter() {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "Too many viewers.", http.StatusServiceUnavailable)
		return
	}
	defer d.viewers.leave()
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = r.URL.Query().Get("after") // of a page that was hidden for a while
	}
	p := parsePlace(last, d.epoch)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep the messages
	if r.Method == http.MethodHead {
		return
	}
	out := http.NewResponseController(w)
	timer := time.NewTimer(0)
	defer timer.Stop()
	b := bytes.NewBufferString("retry: 2000\n")
	for {
		select {
		case <-r.Context().Done():
			return
		case <-d.closed:
			return
		case <-timer.C:
		}
		now := time.Now()
		d.feed.next(b, d, &p, now)
		out.SetWriteDeadline(now.Add(viewerTime)) // where there is none, the viewer holds up only itself
		if _, err := w.Write(b.Bytes()); err != nil {
			return
		}
		if out.Flush() != nil {
			return
		}
		b.Reset()
		timer.Reset(feedTime)
	}
}
