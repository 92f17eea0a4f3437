package quota

import (
	"math"
	"time"
)

// pace is what was learned of a rate from refusals.
//
// Between two instants at which a bucket was empty it let through exactly what
// it had gained. So the second refusal of a key that always had somebody
// waiting measures the quota, and a small cut is enough to stay below it; from
// there the rate grows along a curve like CUBIC's (RFC 9438), flat where the quota
// was found and steep where it has been left behind, and steeper than that.
//
// That holds for a client alone. If others draw on the same quota, refusals
// come at random and measure only what this client asked for: small cuts would
// leave the shares as they happened to be. Then the old rule is better, a deep
// cut and a rise that does not depend much on the own rate, which makes shares
// equal (Chiu and Jain, 1989). Which of the two it is shows in the rates measured
// so: alone they are the same each time.
//
// The constants were found by bench/effectiveness; it has the last word on any
// other value.
type pace struct {
	w     float64 // units a second that the quota seems to allow; 0: nothing was refused yet
	cut   float64 // what was left of w by the last cut
	rise  float64 // units a second that are gained each second; 0: along the curve
	grown float64 // seconds in use since the cut
	size  float64 // units of a call, on average

	// Of the last cut.
	before  float64 // w until then
	own     int64   // the cost of the request whose refusal made it
	cutSeq  uint64  // its number: who went before knows nothing of the cut
	knewSeq uint64  // the last that went before the cut was made
	cutAt   time.Time
	noisy   bool    // refusals are known that have nothing to do with the rate
	blind   bool    // nothing was measured by it
	span    float64 // seconds over which w was measured; 0: it was found otherwise
	least   float64 // that w was to be all the same
	passed  float64 // units that were let through of those between the two numbers

	// Since the last refusal that counted.
	emptyAt time.Time
	spent   int64     // by then
	shut    time.Time // the end of the gate that we shut on our own account
	direct  int       // requests that did not have to wait
	waited  int       // those that had to
	turned  int       // those that were turned away
	at      time.Time // when one last went

	calls         float64 // between the last two refusals
	apart         float64 // the same on average
	uneven        float64 // how much it varies
	refusals, all float64 // of late
	told          float64 // the share of refusals that said when to come back
	mean          float64 // w, averaged over some twenty seconds
	last          float64 // the rate between the last two refusals
	turn          float64 // what it was of the one before when it was another, a logarithm
	others        float64 // score of the signs that others draw on the same quota
}

const (
	deepCut    = 0.7
	shallowCut = 0.95
	flat       = 1.9 // units of time until the rate is what it was before the cut
	unitCalls  = 9   // that unit, in calls: at low rates everything takes longer

	weight     = 0.25 // of the latest refusal in the averages
	unevenFrom = 0.36 // unevenness of the calls between refusals that is not chance
	flukes     = 4    // calls between refusals from which random ones are put up with

	same       = 0.01 // two measurements of one quota differ by, and by a call
	fewCalls   = 20   // alone, the curve puts some forty calls between two refusals whatever the rate
	othersFrom = 2    // the score at which others are there
	othersMost = 8    // and its most: four equal measurements in a row are no chance

	// With others, refusals meet a client as often as it calls, so a cut by a
	// share and a rise by rate^e settle where the shares are equal, for any e < 2.
	// By chance they are off by 1/((2-e)*sqrt(refusals)): less for a smaller e,
	// but then refusals are few where clients are few. A steeper rise buys
	// fairness with waste; this one costs 8 % among sixteen clients.
	sharedCut  = 0.65
	sharedRise = 0.026
	sharedExp  = 0.75
	slowCalls  = 8 // at least, between two refusals
)

// unit is the unit of time of the curve.
func (p *pace) unit() float64 {
	if p.noisy { // it takes some refusals to see the quota behind the noise
		return 2 * max(1, unitCalls*p.size/p.w)
	}
	return max(1, unitCalls*p.size/p.w)
}

func (p *pace) rate() float64 {
	switch {
	case p.w == 0:
		return math.Inf(1)
	case p.rise > 0:
		return p.cut*p.w + p.rise*p.grown
	}
	x := p.grown/p.unit()/flat - 1
	return p.w * (1 + (1-p.cut)*x*x*x*(1+x*x*x*x)/2)
}

// climbed is the least that the quota must allow, as the rate has grown so fast
// without a refusal: a bucket of a second's worth that was full at first has let
// through no more than it held and gained. Where the quota has risen, this is known
// at the first refusal, and what passed since the one before says little.
func (p *pace) climbed() float64 {
	if p.w == 0 || p.rise > 0 {
		return 0
	}
	most, sum, at := 0.0, 0.0, p.grown
	const step = 0.5 // seconds
	for t := step; t <= min(8, p.grown); t += step {
		p.grown = at - t
		sum += step * p.rate()
		most = max(most, sum/(t+1))
	}
	p.grown = at
	return most
}

// took counts a request that goes. The rate grows only while somebody waits for
// it: what is not used is no evidence.
func (p *pace) took(n int, waited bool, now time.Time) {
	if waited {
		p.waited++
		if p.w > 0 {
			p.grown += min(now.Sub(p.at).Seconds(), 2*float64(n)/p.rate()+0.2)
		}
	} else {
		p.direct++
	}
	p.at = now
}

// refusal is a request that came too fast.
type refusal struct {
	*flight
	before int64     // spent when it went
	recent float64   // spent in the second until now
	latest uint64    // the number of the last request that went
	hinted bool      // the server said when to come back
	until  time.Time // the end of the gate
}

// rejected learns from a refusal, and reports whether it changed the rate.
func (b *bucket) rejected(r refusal, now time.Time) bool {
	p := &b.pace
	own := int64(r.cost.of(b.kind))
	p.turned++
	b.lower(0, now)
	shut := p.shut
	if !r.hinted && r.until.After(p.shut) {
		p.shut = r.until
	}
	if r.hinted && r.until.Sub(now).Seconds() > 5+10*headroom/b.ceiling {
		b.share.deny() // a bucket that fills evenly has one more call sooner
	}
	if r.seq < p.cutSeq {
		p.spent -= own  // it had counted as let through when the bucket was found empty
		if p.span > 0 { // and when w was measured
			p.w = max(p.w-float64(own)/p.span, p.least)
			b.adjust(now)
		}
	}
	if r.seq <= p.cutSeq || now.Sub(p.cutAt) < time.Second {
		return false
	}
	if b.share.y < 0 {
		p.cutSeq, p.knewSeq, p.cutAt = r.latest, 0, now
		b.share.refused(b.ceiling / headroom)
		b.adjust(now)
		return true
	}
	first := p.emptyAt.IsZero()
	p.blind = first
	n, d := float64(r.before-p.spent), r.at.Sub(p.emptyAt).Seconds()
	if shut.After(p.emptyAt.Add(time.Second)) {
		// While we wait without being told to, the bucket gets full and gains
		// nothing more. It is taken to hold a second's worth.
		d = max(d-shut.Sub(p.emptyAt).Seconds()+1, 0.5)
	}
	asked, turned, saturated := p.waited+p.direct, p.turned, p.waited > 4*p.direct
	p.cutSeq, p.knewSeq, p.cutAt = r.seq, r.latest, now
	p.emptyAt, p.spent, p.direct, p.waited, p.turned = r.at, r.before, 0, 0, 0
	p.refusals, p.all = p.refusals/2+float64(turned), p.all/2+float64(asked)
	if !first {
		p.size = max(float64(own), 1)
		if asked > 0 && n > 0 {
			p.size = max(n/float64(asked), 1)
		}
		p.note(n/p.size, r.hinted)
		if n < 1 {
			p.grown, p.blind = 0, true
			return false // turned away whatever the rate: the gate is all that helps
		}
	} else {
		p.size = max(float64(own), 1)
	}
	rate, climbed := p.rate(), p.climbed()
	p.before, p.own, p.passed, p.span = p.w, own, 0, 0
	switch {
	case first:
		p.w, p.cut, p.rise = r.recent*deepCut/shallowCut, shallowCut, 0
	case !saturated:
		p.w, p.cut, p.rise = max(n/d, r.recent*deepCut/shallowCut, p.w/4), shallowCut, 0
	case p.told < 0.5 && p.uneven > unevenFrom && min(p.calls, p.apart) >= flukes && rate < 1.1*p.w && p.refusals < p.all/8 && (turned < 4 || turned < asked/3):
		// Refusals now and then, at rates at which there were none, by a server
		// that does not say what it lacks: they have nothing to do with us.
		return false
	default:
		measured := max(n/d, min(climbed, r.recent))
		p.mean += (measured - p.mean) * (1 - math.Exp(-d/20))
		p.compare(measured, n/p.size)
		if p.shared() {
			p.w, p.cut = rate, sharedCut
			if measured < 0.6*rate && p.calls >= 4 {
				p.w = measured / 0.8 // there is less for all
			}
			p.rise = min(p.steep(), p.slow())
			break
		}
		if p.noisy && turned < 3 { // which may have been noise, and measured nothing
			measured = max(measured, 0.97*p.w)
		}
		least := p.w / 4
		if p.calls < 4 { // too few to measure by
			least = p.w / 2
		}
		p.w, p.cut, p.rise, p.mean = max(measured, least), shallowCut, 0, measured
		p.span, p.least = d, least
	}
	p.w = max(p.w, 1e-3)
	p.grown = 0
	b.adjust(now)
	b.lower(0, now)
	return true
}

// note counts the calls between two refusals.
func (p *pace) note(calls float64, hinted bool) {
	if p.calls > 0 {
		odd := math.Abs(math.Log((max(calls, 0) + 2) / (p.calls + 2)))
		p.uneven += weight * (min(odd, 0.8) - p.uneven) // at most, or one step of the quota would do
	}
	p.calls = calls
	p.apart += weight * (min(calls, 100) - p.apart)
	p.told *= 1 - weight
	if hinted {
		p.told += weight
	}
}

// steep is the rise that makes shares equal, and slow the fastest that does not
// ask again before a few calls have passed: below one call in two seconds the
// rise would be over before the next.
func (p *pace) steep() float64 { return sharedRise * p.size * math.Pow(p.mean/p.size, sharedExp) }

func (p *pace) slow() float64 { return (1 - sharedCut) * p.mean * p.mean / p.size / slowCalls }

// compare looks for others in a measurement, of so many calls. Alone one
// measures the same each time, up to a call; when the quota changes, that goes
// one way and is over after a few. Others make it go to and fro. How much the
// calls between two refusals vary is no sign: one step of the quota makes it as
// much as others do.
func (p *pace) compare(measured, calls float64) {
	last := p.last
	p.last = measured
	if last <= 0 || measured <= 0 {
		p.others = othersFrom / 2
		return
	}
	few := float64(fewCalls)
	if p.rise > 0 && p.slow() < p.steep() {
		few = slowCalls / 2
	}
	x := math.Log(measured / last)
	switch {
	case p.w < p.size/2 && measured < 0.6*p.w:
		return // calls are so rare that it takes some to come down
	case calls < few:
		// They measure nothing: who compared the next with them would see a quota
		// that has fallen once go to and fro.
		p.last, p.others = last, min(p.others+1, othersMost)
		return
	case math.Abs(x) <= same+1/max(calls, 1):
		p.others, p.turn = max(p.others-2, 0), 0
		return
	case x*p.turn < 0:
		p.others++
	default:
		p.others += 0.5
	}
	p.others = min(p.others, othersMost)
	p.turn = x
}

// shared reports whether others seem to draw on the same quota. Only of a server
// that says when to come back: the steps of our own backoff are uneven enough.
func (p *pace) shared() bool {
	if p.noisy {
		return false
	}
	return p.told >= 0.5 && p.others > 0 && (p.rise > 0 || p.others >= othersFrom)
}

// let learns from a request that was let through. If a bucket was empty, those
// that went right behind the one that was refused cannot all have passed: then
// the refusal had another reason, and the cut was wrong. (Eifel's response to a
// spurious retransmission, RFC 4015, for the same reason.)
func (b *bucket) let(f *flight, now time.Time) {
	p := &b.pace
	if f.seq <= p.cutSeq || f.seq > p.knewSeq || f.at.Sub(p.emptyAt) < 10*time.Millisecond { // of those of one instant any may have been the first there
		return
	}
	p.passed += float64(f.cost.of(b.kind))
	if p.passed < 4*float64(p.own)+p.w*f.at.Sub(p.emptyAt).Seconds() {
		return
	}
	p.w = max(p.before, 2*p.w)
	p.knewSeq = 0 // once
	b.adjust(now)
}
