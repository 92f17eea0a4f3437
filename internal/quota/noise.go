package quota

import (
	"math"
	"time"
)

// doubt is what the refusals of a key are taken for. A refusal says that the key
// is over its quota, and often is not: of a capacity that all share, or of one bad
// replica, a share of all calls is refused whatever their rate. So a refusal is a
// hypothesis, tested on the calls that were sent after it.
//
// Runs. Noise refuses each call alone, with the probability p. It refuses k calls
// in a row with p^k, so the key is gated when k refusals, and no call let in that
// was sent since the first, have less than [unlikely] of that. A call sent after
// the last refusal and let in lifts the gate.
//
// Shares. Before a first cut, the log-likelihood of a share of p1 against p is
// summed over the calls in the order in which they were sent, and never below zero
// (Page's CUSUM). Each refusal adds ln(p1/p), each other call takes off
// ln((1-p)/(1-p1)). The rate is cut at [alarm], that is at an error of one in a
// thousand.
//
// Experiments. A cut changes the rate, and so do the climb after it and the
// demand. Two hypotheses explain the refusals at the rates r: a quota q refuses the
// share 1-q/r where r is above q and next to nothing below, noise refuses the same
// share p at each. The log-likelihoods of both, with the p and the q that fit best,
// are compared over the calls since the alarm (a generalized sequential test), and
// decided at ln 99, an error of 1 %. At a rate below q, noise of p is told from the
// quota by about 4.6/ln(p/e) refusals, that is by 4.6/(p ln(p/e)) calls, with e for
// the share of a quota that is kept: 150 at 1 %, 20 at 5 %. What is lost meanwhile is
// the depth of the cut, at most a third, of these calls.
type doubt struct {
	share float64 // of the calls refused whatever the rate; 0: none known
	sent  float64 // calls that it was found from, fading
	kind  Belief
	since time.Time
	let   bool                   // a call was let in, ever
	sum   float64                // CUSUM
	last  uint64                 // the latest refused call
	all   struct{ n, k float64 } // calls, and refusals, of late

	// The refusals since a call was last let in.
	run       int
	first     time.Time // when the first of them was sent
	latest    time.Time // when the last was sent
	moment    time.Duration
	refuted   bool
	settled   bool // the gate holds, as there is a quota
	mayFly    int  // requests at a time until then
	holdUntil time.Time

	spent    uint64 // the latest request refused for an exhausted quota
	spentRun int    // how many were, one after the other

	// The experiment since the last alarm.
	trying   bool
	before   pace                         // until the cut
	rateHigh float64                      // calls a second at the alarm
	from     uint64                       // calls sent before the cut: from < seq <= cut
	cut      uint64                       //
	trials   [bins]struct{ n, k float64 } // by rate, in terms of rateHigh
	tried    float64
	wrong    bool
	freed    uint64 // the latest request when it was found to be noise
	again    int    // alarms soon after that

	// Probes.
	odds   float64   // that refusals are the quota's, a logarithm
	probes [2]uint64 // the requests that are probes
	probed int       // how many have gone
	quiet  time.Time // when the refusal before the latest came
	found  int       // of how many it is known what became of them

	seqs     [16]uint64 // the latest refused calls
	refusals int
}

// Belief is what a key's refusals are taken for.
type Belief uint8

const (
	Undecided Belief = iota
	Quota            // the share of refusals falls with the rate
	Noise            // it does not
)

var beliefNames = [...]string{"", "quota", "noise"}

// String is the belief in a word, "" while nothing was decided.
func (b Belief) String() string { return beliefNames[b] }

// Beliefs is what is believed of a key's refusals.
type Beliefs struct {
	Cause Belief
	Share float64   // of all calls that is refused whatever the rate
	Since time.Time // zero: nothing was decided
	Calls int       // from which it was
}

// Belief returns what is believed of the key's refusals.
func (k *Control) Belief() Beliefs {
	d := &k.doubt
	return Beliefs{d.kind, d.share, d.since, int(d.sent)}
}

const (
	leastNoise = 0.005 // share of refusals that is put up with unseen
	unlikely   = 1e-4
	alarm      = 6.9       // ln 1000
	decided    = 4.6       // ln 99
	likely     = 2.0       // of probes: more of them would cost more than they tell, as most refusals are a quota's
	fadeNoise  = 1.0 / 400 // of the share, each call
	longMemory = 1000      // calls
	sameMoment = 10 * time.Millisecond
)

// noise is the share that refusals are expected to have.
func (d *doubt) noise() float64 { return max(d.share, leastNoise) }

// higher is the share that is looked for beside an expected one.
func higher(p float64) float64 { return max(0.1, min(3*p, p+0.3)) }

// count takes in a refusal for the sums, in the order of sending.
func (d *doubt) count(f *flight, weight float64) {
	p := d.noise()
	q := higher(p)
	others := float64(int64(f.seq-d.last) - 1)
	if f.seq < d.last { // it had counted as let in
		others = -1
	}
	if d.trying && f.seq <= d.cut {
		p = q // it says nothing of the rate now
	}
	d.sum = max(0, d.sum-others*math.Log((1-p)/(1-q))) + weight*math.Log(q/p)
	d.last = max(d.last, f.seq)
	d.all.k++
	d.seqs[d.refusals%len(d.seqs)] = f.seq
	d.refusals++
	switch {
	case !d.trying:
	case f.bin > 0 && f.seq > d.cut:
		d.trials[f.bin-1].k++
	case f.seq > d.from && f.seq <= d.cut:
		d.trials[binOf(1)].k++
	}
}

// refused takes in a refusal, and reports whether the key is to be gated.
func (d *doubt) refused(f *flight, inFlight int, now time.Time) (gate bool) {
	if d.run == 0 || d.refuted {
		d.run, d.first, d.latest, d.refuted = 0, f.at, f.at, false
	}
	if f.seq > d.last+1 && d.run > 0 { // calls between the two were let in
		d.run, d.first = 0, f.at
	}
	d.run++
	if f.at.After(d.latest) {
		d.latest = f.at
	}
	d.moment = max(3*now.Sub(f.at), 100*time.Millisecond)
	if d.run == 1 {
		d.mayFly = inFlight
	}
	d.mayFly, d.holdUntil = min(d.mayFly, inFlight), now.Add(2*d.moment)
	return !d.let || math.Pow(d.noise(), float64(d.run)) <= unlikely
}

// hold is how long no more requests than now are to be on their way, because of a
// refusal of which nobody knows yet what it means. Those that end are replaced.
func (d *doubt) hold(inFlight int, now time.Time) time.Duration {
	if d.run == 0 || d.refuted || d.share > 0 || inFlight < d.mayFly {
		return 0
	}
	return d.holdUntil.Sub(now)
}

// limited reports whether refusals or the server have set the pace.
func (k *Control) limited() bool {
	b := k.short[Requests]
	return b != nil && !math.IsInf(b.limit(), 1)
}

// letIn takes in a call that was let in, and reports whether that refutes the gate.
func (d *doubt) letIn(f *flight) bool {
	d.let = true
	if d.run > 0 && !d.refuted && !d.settled && f.at.After(d.latest.Add(-sameMoment)) {
		d.refuted = true
		return true
	}
	return false
}

// Refuted reports whether a call that was sent after the last refusal has been let
// in, as far as one that is not refused in a few times the time of a refusal has
// been. Otherwise check is when it is worth asking again, zero for never.
func (k *Control) Refuted(now time.Time) (ok bool, check time.Time) {
	d := &k.doubt
	if d.run == 0 || d.refuted || d.settled {
		return d.refuted, time.Time{}
	}
	for i := range k.flights.all {
		f := &k.flights.all[i]
		if f.state != onItsWay || f.at.Before(d.latest.Add(-sameMoment)) {
			continue
		}
		at := f.at.Add(d.moment)
		if !at.After(now) {
			d.refuted, d.let = true, true
			return true, time.Time{}
		}
		if check.IsZero() || at.Before(check) {
			check = at
		}
	}
	return false, check
}

// LetIn tells that the request was let in: its response has begun. It reports
// whether a gate that was shut before it was sent is refuted by that.
func (k *Control) LetIn(id int32, now time.Time) bool {
	f := &k.flights.all[id]
	if f.state != onItsWay {
		return false
	}
	f.state = knownToBeIn
	k.answers(f, false, now)
	return k.doubt.letIn(f)
}

// probing reports whether two calls are to go at once, to find out whether the
// bucket was empty in which another has just been refused at a rate that it should
// have allowed. In the time of a refusal an empty bucket gains little: it lets one of
// two in, if any. Noise refuses each of them with the probability of any other call.
//
// A server that names no time gets no probes: our own backoff stays away for longer
// than a bucket needs to gain a call, so that the two would tell nothing.
func (k *Control) probing(f *flight, b *bucket, hinted bool, now time.Time) bool {
	if b == nil || !hinted {
		return false
	}
	d, p := &k.doubt, &b.pace
	stated := b.limit() == b.ceiling // which we keep
	if now.Sub(d.quiet) < time.Second || d.share > 0 || d.odds >= likely || d.odds <= -decided || !stated && (p.blind || f.seq <= p.cutSeq || b.limit() >= 0.97*p.w) || b.limit()*now.Sub(f.at).Seconds() > 0.8 {
		return false
	}
	d.probes, d.probed, d.found = [2]uint64{}, 0, 0
	return true
}

// probeRate is the calls a second up to which the time of a refusal is short enough
// for a probe.
const probeRate = 15

// Probe marks a request that was let go as a probe.
func (k *Control) Probe(id int32) {
	d := &k.doubt
	if d.probed < len(d.probes) {
		d.probes[d.probed] = k.flights.all[id].seq
		d.probed++
	}
}

// answers takes in what became of a probe.
func (k *Control) answers(f *flight, refused bool, now time.Time) {
	d := &k.doubt
	if d.probed == 0 || f.seq != d.probes[0] && f.seq != d.probes[1] {
		return
	}
	noise := max(0.05, d.share)
	switch d.found++; {
	case refused && d.probed == 2: // one of two
		d.odds += math.Log(0.85 / (2 * noise))
	case refused:
		d.odds += math.Log(0.3 / noise)
	case d.found < d.probed:
		return // the other one may tell more
	case d.probed == 2:
		d.odds += math.Log(0.09 / (1 - 2*noise))
	default:
		d.odds += math.Log(0.7 / (1 - noise))
	}
	d.probed = 0
	if d.odds <= -decided {
		d.trying = false
		if b := k.short[Requests]; b != nil {
			b.pace.others, b.pace.turn, b.pace.rise, b.pace.calls = 0, 0, 0, 0
		}
		d.kind, d.share, d.since, d.sum, d.odds = Quota, max(d.all.k/d.all.n/2, leastNoise), now, 0, 0
	}
}

// Trustworthy reports whether nobody is to try a gate that refusals have shut: the
// share of refusals was seen to fall with the rate, or nothing was ever let in.
func (k *Control) Trustworthy() bool { return k.doubt.kind == Quota || !k.doubt.let }

// Exhausted takes in that a request was refused for a quota that waiting does not
// restore, and reports whether that is believed of the key: two say so, one after
// the other, or nothing was let in since it was last believed.
func (k *Control) Exhausted(id int32) bool {
	f, d := &k.flights.all[id], &k.doubt
	f.state = knownToBeRefused
	if f.seq > d.spent+1 {
		d.spentRun = 0 // those between were let in
	}
	d.spent = max(d.spent, f.seq)
	d.spentRun++
	if d.let && d.spentRun < 2 {
		return false
	}
	d.let = false
	return true
}

// SentSince reports whether a request was sent at the time or later.
func (k *Control) SentSince(id int32, t time.Time) bool { return !k.flights.all[id].at.Before(t) }

// goes counts a call that is sent, at a rate that is low for the experiment.
func (k *Control) goes(f *flight) {
	d := &k.doubt
	d.all.n += 1 - d.all.n/longMemory
	d.all.k -= d.all.k / longMemory
	if d.share > 0 {
		d.share = max(d.share*(1-fadeNoise), leastNoise)
	}
	if !d.trying {
		return
	}
	r := min(k.short[Requests].limit(), k.recent[Requests])
	i := binOf(r / d.rateHigh)
	f.bin = uint8(i + 1)
	d.trials[i].n++
	if d.tried++; int(d.tried)%8 == 0 {
		k.judge(f.at)
	}
	if d.tried > 150 && d.share == 0 && d.odds > 0 && d.rateHigh < probeRate {
		d.trying = false // calls so rare are told apart by probes
	}
}

// bins are of equal width in the logarithm of the rate, rateHigh in the middle.
const (
	bins    = 49
	binStep = 0.1
	keeps   = 0.0005 // the share of refusals of a quota that is kept
)

func binOf(x float64) int {
	return int(min(max(math.Round(math.Log(max(x, 1e-9))/binStep)+bins/2, 0), bins-1))
}

// tries begins an experiment with a cut that an alarm has made.
func (k *Control) tries(before pace, now time.Time) {
	d := &k.doubt
	d.before = before
	d.trying, d.tried = true, 0
	d.from, d.cut = max(d.last, 100)-100, k.seq
	n := 0
	for _, seq := range d.seqs {
		if seq > d.from {
			n++
		}
	}
	d.rateHigh = k.recent[Requests]
	d.trials = [bins]struct{ n, k float64 }{}
	d.trials[binOf(1)].n, d.trials[binOf(1)].k = float64(d.cut-d.from), float64(n)
	if s := float64(n) / float64(d.cut-d.from); s < 0.35 && d.cut-d.from >= 50 {
		// So small a share needs no deeper cut to be gone.
		b := k.short[Requests]
		b.pace.w = max(b.pace.w, shallowTry*(1-s)*d.rateHigh/b.pace.cut)
		b.adjust(now)
	}
	if d.kind == Noise && k.seq < d.freed+200 {
		d.again++
	} else {
		d.again = 0
	}
	d.sum = 0
}

// shallowTry is what is left of the rate by the cut of an experiment with few refusals.
const shallowTry = 0.9

// alarmAt is the sum at which the rate is cut. A key whose noise is known is given
// more time.
func (d *doubt) alarmAt() float64 {
	if d.kind == Noise {
		return 1.5 * alarm
	}
	return alarm
}

// judge decides an experiment, if it can be decided.
func (k *Control) judge(now time.Time) {
	d := &k.doubt
	if !d.trying {
		return
	}
	n, refused := 0.0, 0.0
	for _, t := range d.trials {
		n, refused = n+t.n, refused+t.k
	}
	fit := func(n, k, p float64) float64 { return k*math.Log(p) + (n-k)*math.Log(1-p) }
	p := min(max(refused/n, keeps), 0.99)
	noise, quota := fit(n, refused, p), math.Inf(-1)
	for q := -bins / 2; q <= bins/2; q++ {
		sum := 0.0
		for i, t := range d.trials {
			if t.n > 0 {
				above := 1 - math.Exp(binStep*(float64(q)-float64(i-bins/2)))
				sum += fit(t.n, min(t.k, t.n), min(max(above, keeps, p/4, d.share), 0.99))
			}
		}
		quota = max(quota, sum)
	}
	switch odds := noise - quota; {
	case d.kind == Noise && !d.wrong && d.tried >= 40 && odds >= float64(2*d.again-2):
		// A false alarm is more likely than a quota where there was none.
		d.trying, d.share, d.sent, d.sum, d.freed = false, max(p, leastNoise), n, 0, k.seq
		k.undo(now)
		k.changes++
	case odds >= decided && !d.wrong && d.tried >= 30+300*p && (d.odds < 0 || d.rateHigh > probeRate || d.odds == 0 && odds >= 2*decided):
		d.trying, d.share, d.kind, d.since, d.sent, d.sum = false, p, Noise, now, n, 0
		d.freed = k.seq
		k.undo(now)
		k.changes++
	case odds <= -decided:
		d.wrong = d.wrong || d.kind == Noise // who took a quota for noise once is not to do it again
		d.trying, d.share, d.kind, d.since, d.sent = false, 0, Quota, now, n
	}
}

// undo takes back the cut that began an experiment.
func (k *Control) undo(now time.Time) {
	b := k.short[Requests]
	if k.doubt.before.w == 0 {
		b.free(now)
		return
	}
	b.pace = k.doubt.before
	b.adjust(now)
}

// free takes back what was learned from refusals.
func (b *bucket) free(now time.Time) {
	b.pace = pace{}
	if math.IsInf(b.limit(), 1) {
		*b = *newBucket(b.kind)
		return
	}
	b.adjust(now)
}
