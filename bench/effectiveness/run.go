package main

import (
	"math"
	"slices"
	"time"
)

// run is what became of a scenario in the hands of one contender.
type run struct {
	scenario           *scenario
	ok, failed, never  int
	wire               int // attempts that reached the provider
	makespan           time.Duration
	waits              []time.Duration // of the answered calls until they were let in, ascending
	admitted, rejected []entry
	calls              []*call
	alone              *run // of scenario.alone, if there is one
	rival              *run // of scenario.rival, if there is one
}

func (r *run) success() float64 {
	return float64(r.ok) / math.Max(1, float64(r.ok+r.failed+r.never))
}

// waste is the share of calls on the wire that got nobody anything, of those
// that did.
func (r *run) waste() float64 {
	return float64(len(r.rejected)) / math.Max(1, float64(len(r.admitted)))
}

// ratio is the makespan in terms of the shortest possible one.
func (r *run) ratio() float64 { return r.makespan.Seconds() / r.optimum().Seconds() }

// optimum is the shortest possible makespan: the time in which the quota
// allows all the calls, and then an answer.
func (r *run) optimum() time.Duration {
	p := &r.scenario.provider
	n, cost, service := 0.0, 0.0, time.Duration(0)
	for _, c := range r.calls {
		n++
		cost += p.used(c)
		service += c.service
	}
	if n == 0 {
		return 0
	}
	mean := service / time.Duration(n)
	workers, last := 0, time.Duration(0)
	for _, st := range r.scenario.load.streams {
		workers += st.workers
	}
	for _, c := range r.calls {
		if workers == 0 { // a call that comes by chance cannot be made sooner
			last = max(last, c.begun+c.service)
		} else {
			last = max(last, c.service)
		}
	}
	t := last - mean
	if places := r.scenario.provider.concurrent; places > 0 && places < workers {
		workers = places
	}
	if workers > 0 {
		t = max(t, service/time.Duration(workers)-mean)
	}
	if p.requests.perSecond > 0 {
		t = max(t, p.spends(n-p.requests.burst))
	}
	if p.tokens.perSecond > 0 {
		t = max(t, p.tokens.lacks(math.Max(0, cost-p.tokens.burst), 0))
	}
	return max(t, 0) + mean
}

// spends is the time in which the request bucket grants n.
func (p *provider) spends(n float64) time.Duration {
	from := p.closed
	if n <= 0 {
		return from
	}
	for {
		b, until := p.requestsAt(from)
		if need := b.lacks(n, from); from+need <= until {
			return from + need
		}
		n -= b.gain(from, until)
		from = until
	}
}

// wait is a quantile of the waits.
func (r *run) wait(q float64) float64 {
	if len(r.waits) == 0 {
		return math.Inf(1)
	}
	return r.waits[int(math.Ceil(q*float64(len(r.waits))))-1].Seconds()
}

// used is the share of what the quota granted from one instant to another that
// was used. What was in the bucket before is not counted, so it may be above 1.
func (r *run) used(from, to time.Duration) float64 {
	n := 0
	for _, e := range r.admitted {
		if from <= e.at && e.at < to {
			n++
		}
	}
	if r.scenario.provider.requests.perSecond == 0 {
		return float64(n) / (r.capacity() * (to - from).Seconds())
	}
	return float64(n) / r.scenario.provider.granted(from, to)
}

// capacity is how many calls a second the workers could make if none were refused.
func (r *run) capacity() float64 {
	workers, service := 0, time.Duration(0)
	for _, st := range r.scenario.load.streams {
		workers += st.workers
	}
	for _, c := range r.calls {
		service += c.service
	}
	return float64(workers) / (service.Seconds() / float64(max(1, len(r.calls))))
}

// jain is how evenly the clients shared what was let in: 1 for equal shares,
// one over their number if one had all.
func (r *run) jain(from, to time.Duration, clients ...int) float64 {
	share := make([]float64, len(clients))
	for _, e := range r.admitted {
		for i, c := range clients {
			if e.client == c && from <= e.at && e.at < to {
				share[i]++
			}
		}
	}
	sum, squares := 0.0, 0.0
	for _, x := range share {
		sum += x
		squares += x * x
	}
	return sum * sum / (float64(len(clients)) * squares)
}

// paced is the mean wait if the calls went through a queue that lets one at a
// time in, at the full rate.
func (r *run) paced() float64 {
	gap := seconds(1 / r.scenario.provider.requests.perSecond)
	begun := make([]time.Duration, len(r.calls))
	for i, c := range r.calls {
		begun[i] = c.begun
	}
	slices.Sort(begun)
	sum, next := time.Duration(0), time.Duration(0)
	for _, at := range begun {
		sum += max(0, next-at)
		next = max(next, at) + gap
	}
	return sum.Seconds() / float64(max(1, len(begun)))
}

// mean is the mean wait of the answered calls of a priority.
func (r *run) mean(priority int) float64 {
	sum, n := time.Duration(0), 0
	for _, c := range r.calls {
		if c.ok && c.priority == priority {
			sum, n = sum+c.admitted-c.begun, n+1
		}
	}
	return sum.Seconds() / float64(max(1, n))
}

// of counts the calls of a priority, and those that were let in or failed.
func (r *run) of(priority int) (admitted, failed int) {
	for _, c := range r.calls {
		switch {
		case c.priority != priority:
		case c.admitted > 0:
			admitted++
		case !c.cut:
			failed++
		}
	}
	return admitted, failed
}
