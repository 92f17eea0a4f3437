// Package quota finds out how fast a key may go. A [Control] is what is known
// of one key's quota, from the user, from headers and from refusals, and the
// buckets that follow from it. It has no clock and no lock and does no I/O: it
// goes from state to state by what it is told and when, so that a simulation
// can drive it as well as a queue.
//
// Nobody waits here. [Control.Delay] says when the next request may go, and
// may say another thing after every event.
package quota

import (
	"math"
	"time"
)

// Kind is what a bucket holds.
type Kind uint8

const (
	Requests Kind = iota
	Tokens        // input and output
	Input
	Output
	kinds
	Concurrency // no bucket, but places
	Unknown
)

// Cost is what a request takes, in tokens.
type Cost struct{ Input, Output int }

func (c Cost) of(k Kind) int {
	switch k {
	case Requests:
		return 1
	case Tokens:
		return min(c.Input+c.Output, math.MaxInt32)
	case Input:
		return c.Input
	}
	return c.Output
}

// Plus is the sum of two costs.
func (c Cost) Plus(d Cost) Cost { return Cost{c.Input + d.Input, c.Output + d.Output} }

// Minus is what is left of a cost.
func (c Cost) Minus(d Cost) Cost { return Cost{c.Input - d.Input, c.Output - d.Output} }

// Config is what the user knows of the quota. Zero is nothing.
type Config struct {
	Requests, Tokens Ceiling
	Concurrent       int
}

// Ceiling is a configured bucket.
type Ceiling struct {
	PerMinute, Burst int
}

// Source is where a limit was learned.
type Source uint8

const (
	Nowhere    Source = iota // there is no limit yet
	Configured               // by the user
	Stated                   // in a header
	Refused                  // from what was turned away
)

var sourceNames = [...]string{"", "configured", "header", "429"}

// String is the source in a word.
func (s Source) String() string { return sourceNames[s] }

// Control is what is known of one key's quota.
type Control struct {
	config  Config
	short   [kinds]*bucket // of a minute or so
	long    [kinds]*bucket // of a day or so
	ramp    ramp
	flights flights

	inFlight int
	places   float64        // at a time, as refusals showed; 0: nobody has refused for that
	seq      uint64         // requests let go so far
	spent    [kinds]int64   // net of what was given back
	recent   [kinds]float64 // spent in the last second, fading
	last     time.Time      // when a request went or ended
	took     time.Time      // when one went
	changes  int            // of limits, so far
}

// New returns the state of a key of which only the configuration is known.
func New(c Config) *Control {
	k := &Control{config: c}
	for kind, ceiling := range map[Kind]Ceiling{Requests: c.Requests, Tokens: c.Tokens} {
		if ceiling.PerMinute > 0 {
			b := newBucket(kind)
			b.configure(ceiling)
			k.short[kind] = b
			k.ramp.over = true
		}
	}
	return k
}

// all calls f with each bucket that there is.
func (k *Control) all(f func(*bucket)) {
	for _, set := range [...]*[kinds]*bucket{&k.short, &k.long} {
		for _, b := range set {
			if b != nil {
				f(b)
			}
		}
	}
}

// Counting reports whether tokens are limited, as far as anybody knows.
func (k *Control) Counting() bool {
	for kind := Tokens; kind < kinds; kind++ {
		if k.short[kind] != nil || k.long[kind] != nil {
			return true
		}
	}
	return false
}

// Full reports whether nothing would be lost if the state were forgotten, but
// for what was learned.
func (k *Control) Full(now time.Time) bool {
	full := k.flights.n == 0
	k.all(func(b *bucket) { full = full && b.level(now) >= float64(b.burst()) })
	return full
}

// InFlight is the number of places taken.
func (k *Control) InFlight() int { return k.inFlight }

// Pending is the number of requests whose cost may still be settled.
func (k *Control) Pending() int { return k.flights.n }

// Delay is the time until a request of the cost may go, 0 for now and -1 while
// only the end of another can tell.
func (k *Control) Delay(c Cost, now time.Time) time.Duration {
	if n := k.config.Concurrent; n > 0 && k.inFlight >= n {
		return -1
	}
	if k.places > 0 && k.inFlight >= int(k.places) {
		return -1
	}
	d := time.Duration(0)
	k.all(func(b *bucket) {
		n := float64(b.needs(c))
		d = max(d, b.lack(n, now), b.room.lack(n, now))
	})
	if d > 0 { // and not only if it is longer: what is left of a long wait is short
		d = min(d, max(0, k.took.Add(patience).Sub(now)))
	}
	return max(d, k.ramp.delay(k.inFlight, now))
}

// patience is for how long nothing goes on the word of a server. A limit of one
// in a year, or a bill that no request could run up, would otherwise end the key
// for good: there would be no answer any more from which to learn better.
const patience = 15 * time.Minute

// Lack is the time until n requests have gone, of which those before the last
// cost so much in all. Places are not predicted.
func (k *Control) Lack(n int, before, last Cost, now time.Time) (d time.Duration) {
	k.all(func(b *bucket) {
		sum := float64(n)
		if b.kind != Requests {
			sum = float64(before.of(b.kind) + b.needs(last))
		}
		d = max(d, b.lack(sum, now))
	})
	return d
}

// Take lets a request go. waited says that it could not go when it came, which
// is when the rate at which requests go says something about the quota.
func (k *Control) Take(c Cost, waited bool, now time.Time) (id int32) {
	if k.inFlight == 0 && !k.last.IsZero() && now.Sub(k.last) >= idle {
		k.Restart(now)
	}
	k.last = now
	k.inFlight++
	k.seq++
	fade := 0.0
	if !k.took.IsZero() {
		fade = math.Exp(-now.Sub(k.took).Seconds())
	}
	k.took = now
	for kind := range k.spent {
		n := c.of(Kind(kind))
		k.spent[kind] += int64(n)
		k.recent[kind] = k.recent[kind]*fade + float64(n)
	}
	k.all(func(b *bucket) { b.take(c.of(b.kind), waited, now) })
	return k.flights.add(flight{at: now, seq: k.seq, spent: k.spent, cost: c})
}

// Cost is what was reserved for a request that is on its way.
func (k *Control) Cost(id int32) Cost { return k.flights.all[id].cost }

// Free ends the holding of a place.
func (k *Control) Free(now time.Time) {
	k.inFlight--
	k.last = now
}

// GiveBack undoes the taking of a request that was never sent.
func (k *Control) GiveBack(id int32, now time.Time) {
	f := k.flights.remove(id)
	k.Free(now)
	for kind := range k.spent {
		k.spent[kind] -= int64(f.cost.of(Kind(kind)))
	}
	k.all(func(b *bucket) { b.credit(f.cost.of(b.kind), now) })
}

// Settle replaces what was reserved by what was used. The place is freed apart.
func (k *Control) Settle(id int32, used Cost, now time.Time) {
	f := k.flights.remove(id)
	d := used.Minus(f.cost)
	for kind := Tokens; kind < kinds; kind++ {
		n := d.of(kind)
		k.spent[kind] += int64(n)
		for _, b := range [...]*bucket{k.short[kind], k.long[kind]} {
			if b != nil {
				b.charge(n, now)
			}
		}
	}
}

// Succeeded tells of a request that was served.
func (k *Control) Succeeded(id int32, now time.Time) {
	k.ramp.succeeded(k.inFlight)
	if k.places > 0 && k.inFlight+1 >= int(k.places) {
		k.places += 1 / (8 * k.places) // one more to try after eight rounds
	}
	f := &k.flights.all[id]
	k.all(func(b *bucket) { b.let(f, now) })
}

// Restart begins the slow start again: after a pause, or when a service that
// was down is up again. What is known of the rates is kept.
func (k *Control) Restart(now time.Time) {
	k.ramp = ramp{over: k.config.Requests.PerMinute > 0 || k.config.Tokens.PerMinute > 0}
}

// Rejected tells that a request came too fast. kind is what it was too much
// for; until is when the server's gate opens, and then one request may go
// whatever the rate: the server said so.
func (k *Control) Rejected(id int32, kind Kind, hinted bool, until, now time.Time) (changed bool) {
	f := &k.flights.all[id]
	k.ramp.over = true
	if kind == Concurrency {
		// Of a crowd that was refused each is told, and the last finds those alone
		// in flight that were let in.
		if n := float64(max(k.inFlight-1, 1)); k.places == 0 || n < k.places {
			k.places = n
			k.changes++
		}
		return true
	}
	if kind >= kinds {
		kind = Requests
	}
	b := k.short[kind]
	if b == nil {
		b = newBucket(kind)
		k.short[kind] = b
		k.changes++
	}
	if f.cost.of(kind) == 0 && kind != Requests {
		// Nobody has counted tokens yet, and from now on somebody does. Until
		// then requests are what there is to hold back.
		return k.Rejected(id, Requests, hinted, until, now)
	}
	b.narrow(now)
	changed = b.rejected(refusal{
		flight: f, before: f.spent[kind] - int64(f.cost.of(kind)), recent: k.recent[kind], latest: k.seq, hinted: hinted, until: until,
	}, now)
	if changed {
		k.changes++
	}
	if kind == Requests && (b.pace.blind || until.Sub(now) >= time.Second) {
		b.raise(1-b.limit()*until.Sub(now).Seconds(), now)
	}
	// It was not let through, and so no part of what the quota admitted.
	for kind := range k.spent {
		k.spent[kind] -= int64(f.cost.of(Kind(kind)))
	}
	for kind := Tokens; kind < kinds; kind++ {
		for _, b := range [...]*bucket{k.short[kind], k.long[kind]} {
			if b != nil {
				b.credit(f.cost.of(kind), now)
			}
		}
	}
	f.cost = Cost{}
	return changed
}

// idle is the pause after which what was learned of a key's patience is old.
const idle = time.Minute

// ramp is the slow start: while nothing is known of the quota, few requests are
// on their way at a time, more with each success. It doubles with time too, or
// a crowd of slow calls would crawl.
type ramp struct {
	over  bool
	grown int       // beyond start
	next  time.Time // when it doubles; zero while nobody waits for it
}

const (
	rampStart  = 4
	rampDouble = 2 * time.Second
	rampEnough = 1 << 16
)

func (r *ramp) delay(inFlight int, now time.Time) time.Duration {
	size := rampStart + r.grown
	switch {
	case r.over || inFlight < size:
		return 0
	case r.next.IsZero():
		r.next = now.Add(rampDouble)
	case !now.Before(r.next):
		r.grown += size
		r.next = now.Add(rampDouble)
		r.over = r.grown > rampEnough
		return 0
	}
	return r.next.Sub(now)
}

func (r *ramp) succeeded(inFlight int) {
	if !r.over && 2*(inFlight+1) >= rampStart+r.grown { // what was not used is no evidence
		r.grown++
	}
}

// flight is a request on its way.
type flight struct {
	at    time.Time
	seq   uint64
	spent [kinds]int64 // when it went, its own cost included
	cost  Cost
}

// flights holds them by number, so that who waits for an answer keeps four bytes.
type flights struct {
	all  []flight
	free []int32
	n    int
}

func (s *flights) add(f flight) int32 {
	s.n++
	if n := len(s.free); n > 0 {
		id := s.free[n-1]
		s.free = s.free[:n-1]
		s.all[id] = f
		return id
	}
	s.all = append(s.all, f)
	return int32(len(s.all) - 1)
}

func (s *flights) remove(id int32) flight {
	f := s.all[id]
	s.n--
	if s.n == 0 && len(s.all) > 64 {
		*s = flights{}
	} else {
		s.free = append(s.free, id)
	}
	return f
}

// Limit is one bucket as it is now.
type Limit struct {
	Kind      Kind
	Stock     bool    // of a day and not of a minute
	PerSecond float64 // what it gains; of concurrency, how many at a time
	Left      float64 // what it holds, negative for a debt
	Source    Source  // of PerSecond
}

// Limits are the buckets that there are.
func (k *Control) Limits(now time.Time) (ls []Limit) {
	k.all(func(b *bucket) {
		if r := b.limit(); !math.IsInf(r, 1) {
			ls = append(ls, Limit{b.kind, b.stock, r, b.level(now), b.source()})
		}
	})
	places, source := math.Floor(k.places), Refused
	if n := float64(k.config.Concurrent); n > 0 && (places == 0 || n <= places) {
		places, source = n, Configured
	}
	if places > 0 {
		ls = append(ls, Limit{Concurrency, false, places, places - float64(k.inFlight), source})
	}
	return ls
}

// Changes counts the changes of limits, but for their growth with time.
func (k *Control) Changes() int { return k.changes }
