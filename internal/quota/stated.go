package quota

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// Reading is a bucket as a response reported it.
type Reading struct {
	Kind             Kind
	Window           time.Duration // of Limit; 0: unknown
	Limit, Remaining int64         // -1: unknown
	Reset            time.Duration // until it is full; -1: unknown
}

// stated is what headers said of a bucket.
type stated struct {
	seq    uint64 // of the request whose answer was the newest
	limit  int64
	window time.Duration
	higher int64 // a limit above limit, stated once
}

// long is the window from which on a quota is no pace but a stock.
const long = time.Hour

// Answered tells what a response said of the quota.
func (k *Control) Answered(id int32, rs []Reading, now time.Time) {
	f := &k.flights.all[id]
	for _, r := range rs {
		if r.Kind >= kinds || r.Window <= 0 || r.Limit <= 0 && r.Remaining < 0 {
			continue
		}
		set := &k.short
		if r.Window >= long {
			set = &k.long
		}
		b := set[r.Kind]
		if b == nil {
			if r.Limit <= 0 {
				continue
			}
			b = newBucket(r.Kind)
			set[r.Kind] = b
		}
		k.ramp.over = true
		if b.state(r, f.seq, now) {
			k.changes++
		}
		if r.Remaining >= 0 {
			// What was left when the request was there, what the bucket has gained
			// since, and what went after it. Answers come in any order, and this
			// holds for each.
			level := float64(r.Remaining) + b.limit()*now.Sub(f.at).Seconds() - float64(k.spent[r.Kind]-f.spent[r.Kind])
			b.lower(level, now)
			if set == &k.short && f.seq == b.stated.seq && b.room.read(r) {
				b.widen(math.Floor(level), now)
			}
			if set == &k.short && r.Kind == Requests && b.room.even() > 0 {
				was := b.share.y
				b.share.read(float64(r.Remaining), b.room.even(), b.ceiling/headroom, max(min(b.limit(), k.recent[Requests]), b.limit()/4), f, now)
				if b.share.y < 0 && b.room.holds > 0 && !b.room.denied {
					b.narrow(now)
				}
				if (was < 0) != (b.share.y < 0) {
					k.changes++
				}
				b.adjust(now)
			}
		}
	}
}

// state takes in a limit. A lower one holds at once; a higher one only if two
// newer answers in a row say so, so that no replayed header raises anything.
func (b *bucket) state(r Reading, seq uint64, now time.Time) bool {
	s := &b.stated
	if r.Limit <= 0 || seq < s.seq {
		return false
	}
	s.seq = seq
	if r.Limit == s.limit && r.Window == s.window {
		s.higher = 0
		return false
	}
	if s.limit > 0 && float64(r.Limit)*s.window.Seconds() > float64(s.limit)*r.Window.Seconds() && s.higher != r.Limit {
		s.higher = r.Limit
		return false
	}
	fresh := b.tokens.Limit() == rate.Inf
	s.limit, s.window, s.higher = r.Limit, r.Window, 0
	if b.room.peak != nil {
		b.narrow(now)
	}
	b.room, b.share = capacity{}, share{} // of another limit
	if b.pace.blind {
		b.pace = pace{} // a guess, from one refusal
	}
	b.ceiling = headroom * float64(r.Limit) / r.Window.Seconds()
	if r.Window >= long {
		b.stock, b.most = true, int(min(r.Limit, math.MaxInt32))
	}
	b.adjust(now)
	if fresh && r.Remaining < 0 {
		b.lower(0, now)
	}
	return b.ceiling < b.own
}
