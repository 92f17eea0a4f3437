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
	Start            int // requests at a time until more is known; 0: five
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
	doubt   doubt

	inFlight int
	well     float64        // requests at a time that were answered
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
	if d := k.doubt.hold(k.inFlight, now); d > 0 && !k.limited() {
		return d
	}
	d := time.Duration(0)
	k.all(func(b *bucket) {
		n := float64(b.needs(c))
		d = max(d, b.lack(n, now), b.room.lack(n, now))
	})
	if d > 0 { // and not only if it is longer: what is left of a long wait is short
		d = min(d, max(0, k.took.Add(patience).Sub(now)))
	}
	return max(d, k.ramp.delay(k.start(), k.inFlight, now))
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
		k.resume(now)
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
	f := flight{at: now, seq: k.seq, spent: k.spent, cost: c, state: onItsWay}
	k.goes(&f)
	return k.flights.add(f)
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
	k.ramp.succeeded(k.start(), k.inFlight)
	k.well = max(k.well, float64(k.inFlight))
	if k.places > 0 && k.inFlight+1 >= int(k.places) {
		k.places += 1 / (8 * k.places) // one more to try after eight rounds
	}
	f := &k.flights.all[id]
	k.all(func(b *bucket) { b.let(f, now) })
}

// Restart begins the slow start again, when a service that was down is up again.
// What is known of the rates is kept.
func (k *Control) Restart(now time.Time) {
	k.ramp = ramp{over: k.config.Requests.PerMinute > 0 || k.config.Tokens.PerMinute > 0}
	k.well = 0
}

// resume begins after a pause with as many requests at a time as went well before
// it, and with any number where the server has stated a limit.
func (k *Control) resume(now time.Time) {
	pause := now.Sub(k.last)
	k.ramp = ramp{over: k.config.Requests.PerMinute > 0 || k.config.Tokens.PerMinute > 0}
	k.all(func(b *bucket) { k.ramp.over = k.ramp.over || !math.IsInf(b.ceiling, 1) })
	k.well *= math.Exp2(-max(0, pause-remembered).Hours() / forgetting.Hours())
	k.ramp.grown = max(0, int(k.well)-k.start())
}

func (k *Control) start() int {
	if k.config.Start > 0 {
		return k.config.Start
	}
	return rampStart
}

// Refusal is a response that says that a request came too fast.
type Refusal struct {
	Kind   Kind      // the limit that it exceeded
	Hinted bool      // the server said when to come back
	Empty  bool      // and that nothing is left until then
	Plenty bool      // or that much is
	Sized  bool      // the limit is one of tokens: calls of another size say nothing of it
	Until  time.Time // when the server's gate opens; then one request may go whatever the rate
}

// Rejected tells that a request came too fast. It reports whether that changed a
// limit, and whether the whole key is to wait until the time.
func (k *Control) Rejected(id int32, r Refusal, now time.Time) (changed, gate, probe bool) {
	f := &k.flights.all[id]
	f.state = knownToBeRefused
	gate = k.doubt.refused(f, k.inFlight, now)
	k.answers(f, true, now)
	if r.Kind == Concurrency {
		k.ramp.over = true
		// Of a crowd that was refused each is told, and the last finds those alone
		// in flight that were let in.
		if n := float64(max(k.inFlight-1, 1)); k.places == 0 || n < k.places {
			k.places = n
			k.changes++
		}
		return true, true, false
	}
	weight := 1.0
	if r.Plenty {
		weight = 0.5
	}
	k.doubt.count(f, weight)
	k.judge(now)
	b := k.short[Requests]
	held := b != nil && b.pace.w > 0 // by what refusals have shown
	d := &k.doubt
	d.settled = r.Sized || r.Kind != Requests || held && d.share == 0 && !d.trying // a smaller call says nothing of the tokens for a larger one
	switch {
	case r.Sized:
		gate, changed = true, k.cut(f, r, now)
	case r.Empty && d.share == 0:
		probe = k.probing(f, k.short[Requests], r.Hinted, now)
		gate, changed = true, k.cut(f, r, now)
	case held && d.trying && d.rateHigh > probeRate && f.seq > d.cut && d.sum < alarm:
		// One alone decides nothing.
	case held && d.trying && d.rateHigh > probeRate:
		gate, changed = true, k.cut(f, r, now)
		d.sum = 0
	case held && d.share == 0:
		probe = k.probing(f, b, r.Hinted, now)
		gate, changed = true, k.cut(f, r, now)
	case held && d.sum >= alarm/2 && b.pace.rate() >= 0.97*b.pace.w:
		changed = k.cut(f, r, now)
		d.sum = 0
	case !d.let: // all that is known of the key is this
		gate, changed = true, k.cut(f, r, now)
		if b := k.short[Requests]; !held && b != nil && b.pace.w > 0 {
			k.tries(pace{}, now)
		}
	case d.sum >= d.alarmAt():
		before := pace{}
		if b != nil {
			before = b.pace
		}
		changed = k.cut(f, r, now)
		if before.w == 0 && k.short[Requests] != nil && k.short[Requests].pace.w > 0 {
			k.tries(before, now)
		}
		d.sum = 0
	default:
		if d.share > 0 {
			d.share += fadeNoise
		}
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
	d.quiet = now
	return changed, gate, probe
}

// cut lowers the rate for a refusal.
func (k *Control) cut(f *flight, r Refusal, now time.Time) (changed bool) {
	k.ramp.over = true
	k.well = 0
	kind := r.Kind
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
		r.Kind = Requests
		return k.cut(f, r, now)
	}
	b.narrow(now)
	b.pace.noisy = k.doubt.share > 0
	changed = b.rejected(refusal{
		flight: f, before: f.spent[kind] - int64(f.cost.of(kind)), recent: k.recent[kind], latest: k.seq, hinted: r.Hinted, until: r.Until,
	}, now)
	if changed {
		k.changes++
	}
	if kind == Requests && (b.pace.blind || r.Until.Sub(now) >= time.Second) {
		b.raise(1-b.limit()*r.Until.Sub(now).Seconds(), now)
	}
	return changed
}

const (
	idle       = time.Minute   // the pause after which the slow start begins with what went well before
	remembered = time.Hour     // the pause of which nothing is forgotten
	forgetting = 8 * time.Hour // and the time in which half of it is, from there
)

// ramp is the slow start: while nothing is known of the quota, few requests are
// on their way at a time. The number grows with each success, and doubles with time
// while somebody waits for it, or a crowd of slow calls would crawl. In the time of
// one doubling, refusals are back.
type ramp struct {
	over  bool
	grown int       // beyond the start
	since time.Time // when somebody began to wait for it; zero while nobody does
}

const (
	rampStart  = 5
	rampDouble = 300 * time.Millisecond
	rampEnough = 1 << 16
)

func (r *ramp) delay(start, inFlight int, now time.Time) time.Duration {
	size := start + r.grown
	switch {
	case r.over:
		return 0
	case inFlight < size:
		r.since = time.Time{}
		return 0
	case r.since.IsZero():
		r.since = now
	}
	need := time.Duration(math.Ceil(math.Log2(float64(inFlight+1)/float64(size)) * float64(rampDouble)))
	if d := r.since.Add(need).Sub(now); d > 0 {
		return d
	}
	r.grown += inFlight + 1 - size
	r.since = r.since.Add(need)
	r.over = r.grown > rampEnough
	return 0
}

func (r *ramp) succeeded(start, inFlight int) {
	if !r.over && 2*(inFlight+1) >= start+r.grown { // what was not used is no evidence
		r.grown++
	}
}

// flight is a request on its way.
type flight struct {
	at    time.Time
	seq   uint64
	spent [kinds]int64 // when it went, its own cost included
	cost  Cost
	state state
	bin   uint8 // of the rates of an experiment, from 1
}

// state is what is known of a request that was sent.
type state uint8

const (
	_ state = iota // it has ended
	onItsWay
	knownToBeIn
	knownToBeRefused
)

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
	s.all[id].state = 0
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
