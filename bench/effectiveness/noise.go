package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// steady is a call whose answer takes about so long.
func steady(d time.Duration) func(int, *rand.Rand) *call {
	return func(id int, r *rand.Rand) *call {
		c := chat(id, r)
		c.service = d*9/10 + time.Duration(r.Int64N(int64(d)/5))
		return c
	}
}

// ofRival is a number of the run in terms of the same number of the rival's.
func ofRival(f func(*run) float64) func(r, _ *run) float64 {
	return func(r, _ *run) float64 {
		if r.rival == nil {
			return 1 // the oracle, whom nothing refuses
		}
		return f(r) / math.Max(f(r.rival), 1e-9)
	}
}

func answers(r *run) float64 { return float64(r.ok) }

// harmless is that refusals which have nothing to do with the load cost no more
// than their own waits.
func harmless() []target {
	return []target{
		atLeast(0.97, "%", "answers, of an obeying client's", ofRival(answers)),
		atMost(0, "", "calls lost that an obeying client saves", func(r, _ *run) float64 {
			if r.rival == nil {
				return 0
			}
			return math.Max(0, float64(r.failed)-math.Ceil(1.1*float64(r.rival.failed)))
		}),
		atMost(1.01, "×", "calls on the wire for each answer, of an obeying client's", ofRival(func(r *run) float64 { return float64(r.wire) / math.Max(1, answers(r)) })),
	}
}

// noise is workers of whose calls a share is refused at random, whatever they do.
func noise(name, title string, o odd, workers int, service, horizon time.Duration) *scenario {
	return &scenario{
		name: name, title: title, provider: provider{says: silent, odd: o}, horizon: horizon, rival: obedient,
		load: load{streams: []stream{{workers: workers, to: horizon}}, work: steady(service)}, targets: harmless(),
	}
}

var noises = func() (ss []*scenario) {
	hints := []struct {
		name    string
		o       odd
		horizon time.Duration
	}{
		{"plain", odd{}, 2 * time.Minute},
		{"0s", odd{after: -1}, 2 * time.Minute},
		{"20ms", odd{after: 20 * time.Millisecond, ms: true}, 2 * time.Minute},
		{"1s", odd{after: time.Second}, 2 * time.Minute},
		{"5s", odd{after: 5 * time.Second}, 2 * time.Minute},
		{"30s", odd{after: 30 * time.Second}, 3 * time.Minute},
		{"120s", odd{after: 2 * time.Minute}, 2 * time.Minute},
	}
	for _, h := range hints {
		for _, p := range []float64{0.001, 0.005, 0.01, 0.02, 0.05, 0.1} {
			h.o.share = p
			s := noise(fmt.Sprintf("noise-%g-%s", 100*p, h.name), fmt.Sprintf("64 callers, %g %% of the calls refused at random, hint: %s", 100*p, h.name), h.o, 64, 100*time.Millisecond, h.horizon)
			if p != 0.01 || h.name != "plain" && h.name != "1s" {
				s = variant(s)
			}
			ss = append(ss, s)
		}
	}
	for _, n := range []int{1, 8, 64, 512} {
		for _, service := range []time.Duration{100 * time.Millisecond, 20 * time.Second} {
			for _, p := range []float64{0.01, 0.1} {
				if n == 64 && service < time.Second {
					continue // above
				}
				horizon := 10 * service
				if service < time.Second {
					horizon = 20 * time.Second
				}
				if n == 1 {
					horizon *= 10
				}
				ss = append(ss, variant(noise(fmt.Sprintf("callers-%d-%s-%g", n, service, 100*p),
					fmt.Sprintf("%d callers, answers of %v, %g %% of the calls refused at random, Retry-After 1", n, service, 100*p),
					odd{share: p, after: time.Second}, n, service, horizon)))
			}
		}
	}
	s := noise("noise-event", "64 callers of streams, 1 % of which begin with an error event", odd{share: 0.01, says: "event"}, 64, 100*time.Millisecond, time.Minute)
	s.provider.streams = true
	return append(ss, variant(s))
}()

// odds are single refusals that sound as if they were meant for everybody.
var odds = func() (ss []*scenario) {
	for _, o := range []struct {
		name, title string
		odd         odd
	}{
		{"exhausted", "an exhausted quota", odd{says: "exhausted"}},
		{"402", "402", odd{says: "402"}},
		{"daily", "a text about tokens per day", odd{says: "daily"}},
		{"120s", "Retry-After: 120", odd{after: 2 * time.Minute}},
		{"full", "headers by which 59 000 of 60 000 are left", odd{says: "full"}},
	} {
		for _, n := range []int{500, 2000} {
			o.odd.share = 1 / float64(n)
			ss = append(ss, variant(noise(fmt.Sprintf("odd-%s-%d", o.name, n), fmt.Sprintf("one call in %d is refused with %s", n, o.title), o.odd, 64, 100*time.Millisecond, time.Minute)))
		}
	}
	return ss
}()

// noisyQuota is a quota of 600 a minute and refusals at random besides.
func noisyQuota(name, title string, share float64, p provider, targets ...target) *scenario {
	p.odd.share = share
	p.requests = perMinute(600)
	const d = 5 * time.Minute
	return variant(&scenario{
		name: name, title: title, provider: p, told: p, horizon: d,
		load: load{streams: []stream{{workers: 100, to: d}}, work: chat}, targets: targets,
	})
}

var noisyQuotas = func() (ss []*scenario) {
	for _, share := range []float64{0.01, 0.05} {
		least, most := 0.95, share+0.03
		if share > 0.01 {
			least, most = 0.92, share+0.04
		}
		most /= 1 - share // waste is in terms of the calls that were let in
		add := func(what, title string, p provider) {
			ss = append(ss, noisyQuota(fmt.Sprintf("quota-%s-%g", what, 100*share), fmt.Sprintf("600 a minute, %g %% refused at random, %s", 100*share, title), share, p, used("used", least, 0, 5*time.Minute), waste(most)))
		}
		add("headers", "quota headers sent", provider{says: openAI, hint: wholeSeconds, odd: odd{after: time.Second}})
		add("hint", "Retry-After only", provider{says: silent, hint: wholeSeconds, odd: odd{after: time.Second}})
		add("plain", "no headers at all", provider{says: silent, hint: noHint})
		add("charged", "Retry-After only, rejected calls cost quota", provider{says: silent, hint: wholeSeconds, charged: 1, odd: odd{after: time.Second}})
	}
	return append(ss, noisyQuota("quota-replica", "600 a minute, one replica of eight refuses all", 0.125,
		provider{says: silent, hint: wholeSeconds, odd: odd{after: time.Second}}, used("used", 0.95*7/8, 0, 5*time.Minute)))
}()

// capacities are shared by everybody: a share of all calls is refused for a while,
// and none before and after.
var capacities = func() []*scenario {
	burst := noise("capacity-burst", "30 % of all calls refused for a minute, none before and after", odd{share: 0.3, from: time.Minute, to: 2 * time.Minute, after: time.Second}, 64, 100*time.Millisecond, 3*time.Minute)
	burst.targets = append(burst.targets,
		atLeast(0.95, "%", "of the capacity five seconds after", func(r, _ *run) float64 { return r.used(125*time.Second, 140*time.Second) }),
		atMost(1.1/0.7, "×", "calls on the wire for each answer meanwhile", func(r, _ *run) float64 {
			in, out := 0, 0
			for _, e := range r.admitted {
				if e.at >= time.Minute && e.at < 2*time.Minute {
					in++
				}
			}
			for _, e := range r.rejected {
				if e.at >= time.Minute && e.at < 2*time.Minute {
					out++
				}
			}
			return float64(in+out) / math.Max(1, float64(in))
		}))
	day := noise("capacity-day", "a share of all calls refused that follows a daily curve, up to 20 %", odd{after: time.Second, curve: func(at time.Duration) float64 {
		return 0.1 * (1 - math.Cos(2*math.Pi*at.Minutes()/2))
	}}, 64, 100*time.Millisecond, 4*time.Minute)
	return []*scenario{burst, variant(day)}
}()

// fanout is so many calls at once, when nothing is known of the key and after
// it was idle for a while.
func fanout(n int, service time.Duration, p provider, cold, idle, long float64) *scenario {
	name := fmt.Sprintf("fanout-%d-%v-%s", n, service, p.says)
	title := fmt.Sprintf("%d calls of %v at once, cold and after idle times, headers: %s", n, service, p.says)
	s := &scenario{name: name, title: title, provider: p, told: p, horizon: 15 * time.Hour, load: load{work: func(id int, r *rand.Rand) *call {
		c := chat(id, r)
		c.service = service
		return c
	}}}
	at := time.Duration(0)
	for _, f := range []struct {
		after  time.Duration
		what   string
		longer float64
	}{{0, "cold", cold}, {2 * time.Minute, "idle for 2 min", idle}, {time.Hour, "idle for 1 h", idle}, {12 * time.Hour, "idle for 12 h", long}} {
		at += f.after
		from := at
		s.load.streams = append(s.load.streams, stream{workers: n, calls: n, from: from})
		s.targets = append(s.targets, atMost(f.longer, "s", "longer, "+f.what, func(r, _ *run) float64 {
			last := time.Duration(0)
			for _, c := range r.calls {
				if c.begun >= from && c.begun < from+time.Minute {
					last = max(last, c.ended-from-service)
				}
			}
			return last.Seconds()
		}))
		at += 30 * time.Second
	}
	return variant(s)
}

var fanouts = func() (ss []*scenario) {
	for _, service := range []time.Duration{time.Second, 10 * time.Second} {
		for i, n := range []int{8, 20, 50, 200} {
			cold := []float64{0.5, 1, 2, 3}[i]
			ss = append(ss, fanout(n, service, provider{says: silent}, cold, 0.2, cold/2))
			ss = append(ss, fanout(n, service, provider{says: openAI, requests: bucket{perSecond: 10_000.0 / 60, burst: 10_000}}, service.Seconds()+0.1, 0.2, 0.2))
		}
	}
	return ss
}()
