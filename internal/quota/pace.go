package quota

import (
	"math"
	"time"
)

// pace is what was learned of a rate from refusals.
//
// Between two instants at which a bucket was empty it let through exactly what
// it had gained. So the second refusal of a key that always had somebody
// waiting measures the quota, and it takes a small cut to stay below.
type pace struct {
	w     float64 // units a second that the quota seems to allow; 0: nothing was refused yet
	grown float64 // seconds in use since the cut

	before  float64   // w before the last cut
	cutSeq  uint64    // of the request whose refusal made the last cut
	knewSeq uint64    // of the last request that went before the cut was made
	own     int64     // its cost
	passed  float64   // units that were let through of the requests between the two
	cutAt   time.Time // the last cut
	emptyAt time.Time // the last refusal
	spent   int64     // by then
	refused int64     // since then
	direct  int       // requests since then that did not have to wait
	waited  int
	at      time.Time // when a request last went
}

const (
	deepCut    = 0.7
	shallowCut = 0.95
	growth     = 0.02 // of w, in s^-3
)

func (p *pace) unit() float64 { return max(1, 5/p.w) }

func (p *pace) rate() float64 {
	if p.w == 0 {
		return math.Inf(1)
	}
	k := math.Cbrt((1 - shallowCut) / growth)
	x := p.grown/p.unit() - k
	return p.w * (1 + growth*x*x*x)
}

func (p *pace) took(n int, waited bool, now time.Time) {
	d := now.Sub(p.at).Seconds()
	if waited {
		p.waited++
		if p.w > 0 {
			p.grown += min(d, 2*float64(n)/p.rate()+.2)
		}
	} else {
		p.direct++
	}
	p.at = now
}

// rejected learns from a refusal. before is what had been spent when the
// request went.
func (b *bucket) rejected(f *flight, before int64, recent float64, latest uint64, now time.Time) bool {
	p := &b.pace
	own := int64(f.cost.of(b.kind))
	b.lower(0, now)
	if f.seq <= p.cutSeq || now.Sub(p.cutAt) < time.Second {
		p.refused += own
		return false
	}
	n, d := float64(before-p.spent-p.refused), f.at.Sub(p.emptyAt).Seconds()
	empty, saturated := p.emptyAt, p.waited > 4*p.direct
	p.cutSeq, p.knewSeq, p.cutAt = f.seq, latest, now
	p.emptyAt, p.spent, p.refused, p.direct, p.waited = f.at, before, 0, 0, 0
	if !empty.IsZero() && n < 1 {
		return false // turned away whatever the rate: the gate is all that helps
	}
	w, cut := recent, deepCut
	if !empty.IsZero() {
		if saturated {
			w, cut = n/d, shallowCut
		} else {
			w = max(w, n/d)
		}
		w = max(w, p.w/2)
	}
	p.before, p.own, p.passed = p.w, own, 0
	p.w = max(w, 1e-3)
	p.grown = 0
	if cut == deepCut {
		p.w *= cut / shallowCut
	}
	b.adjust(now)
	b.lower(0, now)
	return true
}

// let learns from a request that was let through. If a bucket was empty, those
// that went right behind the one that was refused cannot all have passed: then
// the refusal had another reason, and the cut was wrong. (Eifel's response to a
// spurious retransmission, RFC 4015, for the same reason.)
func (b *bucket) let(f *flight, now time.Time) {
	p := &b.pace
	if f.seq <= p.cutSeq || f.seq > p.knewSeq {
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
