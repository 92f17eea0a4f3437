package main

import (
	"math/rand/v2"
	"slices"
	"time"
)

// The scenarios. All of one group share the beginning of their names.
var scenarios = slices.Concat(batches, tokenBatches, halves, steps, shares, loads, []*scenario{spent}, noises, odds, noisyQuotas, capacities, fanouts, others)

// variant is a scenario that differs from another in how a provider says the
// same, or in degree. Peers, which take their time, play only the one it varies.
func variant(s *scenario) *scenario {
	s.variant = true
	return s
}

// batch is 200 workers with 3000 calls for 600 a minute, ten of them at once.
func batch(name, title string, p provider, targets ...target) *scenario {
	if p.requests == (bucket{}) {
		p.requests = perMinute(600)
	}
	return &scenario{
		name: name, title: title, provider: p, told: p, horizon: 20 * time.Minute,
		load: load{streams: []stream{{workers: 200, calls: 3000}}, work: chat}, targets: targets,
	}
}

var batches = []*scenario{
	batch("batch-headers", "a batch, quota headers sent",
		provider{says: openAI, hint: wholeSeconds}, allOK, makespan(1.05), waste(0.005), p99(1.15)),
	batch("batch-plain", "a batch, no headers at all",
		provider{says: silent, hint: noHint}, allOK, makespan(1.10), waste(0.03), p99(1.15)),
	variant(batch("batch-hint", "a batch, Retry-After only",
		provider{says: silent, hint: wholeSeconds}, allOK, makespan(1.10), waste(0.03), p99(1.15))),
	variant(batch("batch-charged-headers", "a batch where rejected calls cost quota, quota headers sent",
		provider{says: openAI, hint: wholeSeconds, charged: 1}, allOK, makespan(1.05), waste(0.005), p99(1.15))),
	batch("batch-charged-hint", "a batch where rejected calls cost quota, Retry-After only",
		provider{says: silent, hint: wholeSeconds, charged: 1}, allOK, makespan(1.10), waste(0.03), p99(1.15)),
	batch("batch-charged-plain", "a batch where rejected calls cost quota, no headers at all",
		provider{says: silent, hint: noHint, charged: 1}, allOK, makespan(1.15)),
	variant(batch("batch-anthropic", "a batch, Anthropic's headers",
		provider{says: anthropic, hint: wholeSeconds}, allOK, makespan(1.05), waste(0.005), p99(1.15))),
	variant(batch("batch-ietf", "a batch, the IETF draft's headers",
		provider{says: ietf, hint: wholeSeconds}, allOK, makespan(1.05), waste(0.005), p99(1.15))),
	variant(batch("batch-hint-ms", "a batch, Retry-After in milliseconds only",
		provider{says: silent, hint: milliseconds}, allOK, makespan(1.10), waste(0.03), p99(1.15))),
	variant(batch("batch-hint-date", "a batch, Retry-After as a date only",
		provider{says: silent, hint: date}, allOK, makespan(1.10), waste(0.03), p99(1.15))),
	variant(batch("batch-hint-wrong", "a batch, a Retry-After of half the truth only",
		provider{says: silent, hint: half}, allOK, makespan(1.10), waste(0.03), p99(1.15))),
	// A bucket of a whole minute has six hundred calls in it that a client which
	// paces itself cannot use. These two are here to see what that costs.
	batch("batch-minute", "a batch over a bucket of a whole minute, quota headers sent",
		provider{requests: bucket{perSecond: 10, burst: 600}, says: openAI, hint: wholeSeconds}),
	variant(batch("batch-window", "a batch over the minutes of the clock, quota headers sent",
		provider{requests: bucket{perSecond: 10, burst: 600, window: time.Minute}, says: openAI, hint: wholeSeconds})),
}

// prompts are heavy-tailed in what they ask and in what is answered; their
// callers know about how long an answer they want.
func prompts(id int, r *rand.Rand) *call {
	c := &call{
		id:     id,
		input:  int(min(20_000, logNormal(r, 500, 1.1))),
		output: int(min(4000, logNormal(r, 300, 0.9))),
	}
	c.max = 50 + int(float64(c.output)*(1+r.Float64()))
	c.service = 300*time.Millisecond + time.Duration(c.output)*10*time.Millisecond
	return c
}

// promptsAny have callers who leave the length to the model.
func promptsAny(id int, r *rand.Rand) *call {
	c := prompts(id, r)
	c.max = 64_000
	return c
}

// tokenBatch is 100 workers with 1500 calls for 300 000 tokens a minute, ten
// seconds' worth at once so that the largest call fits.
func tokenBatch(name, title string, p provider, work func(int, *rand.Rand) *call, targets ...target) *scenario {
	p.tokens = bucket{perSecond: 5000, burst: 50_000}
	return &scenario{
		name: name, title: title, provider: p, told: p, horizon: time.Hour,
		load: load{streams: []stream{{workers: 100, calls: 1500}}, work: work}, targets: targets,
	}
}

var tokenBatches = []*scenario{
	tokenBatch("tokens-headers", "heavy-tailed prompts over a token bucket, quota headers sent",
		provider{says: openAI, hint: wholeSeconds}, prompts, allOK, makespan(1.10), unstarved),
	tokenBatch("tokens-hint", "heavy-tailed prompts over a token bucket, Retry-After only",
		provider{says: silent, hint: wholeSeconds}, prompts, allOK, makespan(1.10), unstarved),
	tokenBatch("tokens-refund", "heavy-tailed prompts, what was reserved and not used comes back",
		provider{says: openAI, hint: wholeSeconds, refund: true}, prompts, allOK, makespan(1.10), unstarved),
	tokenBatch("tokens-later", "max_tokens 64 000 at Anthropic, which charges an answer as it comes",
		provider{says: anthropic, hint: wholeSeconds, later: true}, promptsAny, allOK, makespan(1.10), unstarved),
}

// halved is a user's 600 a minute where there are 300.
func halved(name, title string, p provider) *scenario {
	s := batch(name, title, p, allOK, makespan(1.10), waste(0.03), p99(1.3))
	s.provider.requests = perMinute(300)
	s.load.streams[0].calls = 1500
	s.subject = "snubber, told"
	return s
}

var halves = []*scenario{
	variant(halved("half-headers", "600 a minute configured and 300 granted, quota headers sent", provider{says: openAI, hint: wholeSeconds})),
	halved("half-hint", "600 a minute configured and 300 granted, Retry-After only", provider{says: silent, hint: wholeSeconds}),
	variant(halved("half-plain", "600 a minute configured and 300 granted, no headers at all", provider{says: silent, hint: noHint})),
}

// drop is a quota of 20 a second that is 5 for two minutes.
func drop(name, title string, p provider) *scenario {
	p.requests = perMinute(1200)
	told := p
	p.steps = []step{{2 * time.Minute, perMinute(300)}, {4 * time.Minute, perMinute(1200)}}
	return &scenario{
		name: name, title: title, provider: p, told: told, horizon: 6 * time.Minute,
		load: load{streams: []stream{{workers: 150, to: 6 * time.Minute}}, work: chat},
		targets: []target{
			used("used at 20/s", 0.95, 0, 2*time.Minute),
			used("then at 5/s", 0.95, 2*time.Minute, 4*time.Minute),
			used("then at 20/s", 0.95, 4*time.Minute, 6*time.Minute),
			waste(0.03),
		},
	}
}

var steps = []*scenario{
	variant(drop("step-headers", "20 a second, then 5, then 20, quota headers sent", provider{says: openAI, hint: wholeSeconds})),
	drop("step-hint", "20 a second, then 5, then 20, Retry-After only", provider{says: silent, hint: wholeSeconds}),
	variant(drop("step-plain", "20 a second, then 5, then 20, no headers at all", provider{says: silent, hint: noHint})),
}

// share is some clients that know nothing of each other, with 160 workers in
// all, for 1200 a minute. Who is told the quota is told its share.
func share(name, title string, clients int, p provider) *scenario {
	if p.requests == (bucket{}) {
		p.requests = perMinute(1200)
	}
	told := p
	told.requests = perMinute(1200 / float64(clients))
	s := &scenario{name: name, title: title, provider: p, told: told, horizon: 5 * time.Minute, load: load{work: chat}}
	for i := range clients {
		s.load.streams = append(s.load.streams, stream{client: i, workers: 160 / clients, to: s.horizon})
	}
	least := 0.97
	if p.charged > 0 {
		least = 0.95
	}
	s.targets = []target{used("used", least, 0, s.horizon), waste(0.08),
		atLeast(0.98, "", "Jain", func(r, _ *run) float64 { return r.jain(0, s.horizon, upTo(clients)...) })}
	return s
}

func upTo(n int) []int {
	is := make([]int, n)
	for i := range is {
		is[i] = i
	}
	return is
}

// moves has a fifth client that joins after two minutes, and the first leaves
// after four. Half a minute later all must be as well shared as if it had always
// been so.
func moves(name, title string, p provider) *scenario {
	s := share(name, title, 5, p)
	s.horizon = 6 * time.Minute
	for i := range s.load.streams {
		s.load.streams[i].to = s.horizon
	}
	s.load.streams[0].to, s.load.streams[4].from = 4*time.Minute, 2*time.Minute
	settled := func(what string, from, to time.Duration, clients ...int) {
		s.targets = append(s.targets, used("used after "+what, 0.97, from, to),
			atLeast(0.98, "", "Jain after "+what, func(r, _ *run) float64 { return r.jain(from, to, clients...) }))
	}
	s.targets = []target{waste(0.08)}
	settled("a join", 150*time.Second, 240*time.Second, 0, 1, 2, 3, 4)
	settled("a leave", 270*time.Second, 360*time.Second, 1, 2, 3, 4)
	return s
}

var shares = []*scenario{
	share("share-4", "four uncoordinated clients on one key, Retry-After only", 4, provider{says: silent, hint: wholeSeconds}),
	share("share-16", "sixteen uncoordinated clients on one key, Retry-After only", 16, provider{says: silent, hint: wholeSeconds}),
	variant(share("share-4-headers", "four uncoordinated clients on one key, quota headers sent", 4, provider{says: openAI, hint: wholeSeconds})),
	variant(share("share-16-headers", "sixteen uncoordinated clients on one key, quota headers sent", 16, provider{says: openAI, hint: wholeSeconds})),
	share("share-4-charged", "four clients on one key, rejected calls cost quota", 4, provider{says: silent, hint: wholeSeconds, charged: 1}),
	variant(share("share-16-charged", "sixteen clients on one key, rejected calls cost quota", 16, provider{says: silent, hint: wholeSeconds, charged: 1})),
	variant(share("share-4-minute", "four clients on one bucket of a whole minute, quota headers sent", 4, provider{requests: bucket{perSecond: 20, burst: 1200}, says: openAI, hint: wholeSeconds})),
	moves("share-moves", "four clients on one key, one joins and one leaves", provider{says: silent, hint: wholeSeconds}),
	variant(moves("share-moves-headers", "four clients on one key, one joins and one leaves, quota headers sent", provider{says: openAI, hint: wholeSeconds})),
}

// open is calls that come by chance, at 80 % of 600 a minute.
func open(name, title string, p provider, targets ...target) *scenario {
	s := batch(name, title, p, targets...)
	s.load.streams = []stream{{arrivals: 8, calls: 2400}}
	return s
}

// priorities is urgent calls at half the quota and idle ones at one and a half.
func priorities() *scenario {
	p := provider{requests: perMinute(600), says: openAI, hint: wholeSeconds}
	const d = 2 * time.Minute
	high, low := stream{arrivals: 5, priority: 1, to: d}, stream{arrivals: 15, to: d}
	alone := &scenario{name: "high alone", provider: p, told: p, horizon: d, load: load{streams: []stream{high}, work: chat}}
	s := *alone
	s.name, s.title, s.alone = "priorities", "urgent calls at half the quota, idle ones at one and a half", alone
	s.load.streams = []stream{high, low}
	s.targets = []target{
		atMost(0, "", "urgent calls lost", func(r, _ *run) float64 { _, failed := r.of(1); return float64(failed) }),
		atMost(0.2, "s", "urgent calls wait longer than alone", func(r, _ *run) float64 { return r.mean(1) - r.alone.mean(1) }),
		atLeast(0.95, "%", "of the rest for the idle ones", func(r, _ *run) float64 {
			high, _ := r.of(1)
			low, _ := r.of(0)
			return float64(low) / (p.granted(0, d) - float64(high))
		}),
	}
	return &s
}

var loads = []*scenario{
	open("open-headers", "calls by chance at 80 % of the quota, quota headers sent", provider{says: openAI, hint: wholeSeconds},
		allOK, atMost(0, "", "calls rejected", func(r, _ *run) float64 { return float64(len(r.rejected)) }),
		atMost(1.3, "×", "mean wait, of a paced queue's", func(r, _ *run) float64 { return r.mean(0) / r.paced() })),
	open("open-plain", "calls by chance at 80 % of the quota, no headers at all", provider{says: silent, hint: noHint}),
	{
		name: "herd", title: "500 calls that are told to come back in 20 s",
		provider: provider{requests: perMinute(600), closed: 20 * time.Second, says: silent, hint: wholeSeconds},
		told:     provider{requests: perMinute(600)}, horizon: 20 * time.Minute,
		load: load{streams: []stream{{workers: 500, calls: 500}}, work: chat},
		targets: []target{allOK, atMost(2.1, "", "calls on the wire for each answer", func(r, _ *run) float64 {
			return float64(r.wire) / float64(max(1, r.ok))
		})},
	},
	priorities(),
	{
		name: "slow", title: "64 calls of two minutes each to a provider of which nothing is known",
		provider: provider{says: silent, hint: noHint}, horizon: time.Hour,
		load: load{streams: []stream{{workers: 64, calls: 64}}, work: func(id int, r *rand.Rand) *call {
			c := chat(id, r)
			c.service = 2*time.Minute + time.Duration(id)
			return c
		}},
		targets: []target{allOK, atMost(130, "s", "time", func(r, _ *run) float64 { return r.makespan.Seconds() })},
	},
}

// spent is two calls a second for ten minutes to an account without money. One
// finds out at once, others after one, two and four minutes more.
var spent = &scenario{
	name: "spent", title: "an account without money, and two calls a second all the same",
	provider: provider{spent: true}, horizon: 10 * time.Minute,
	load:    load{streams: []stream{{arrivals: 2, calls: 1100}}, work: chat},
	targets: []target{atMost(4, "", "calls on the wire in ten minutes", func(r, _ *run) float64 { return float64(r.wire) })},
}

// These promise nothing: they show what becomes of what no target is about.
var others = []*scenario{
	{
		name: "places", title: "200 workers where 32 calls at a time are allowed, no headers at all",
		provider: provider{concurrent: 32, says: silent, hint: noHint}, told: provider{concurrent: 32}, horizon: 20 * time.Minute,
		load: load{streams: []stream{{workers: 200, calls: 3000}}, work: chat},
	},
	{
		name: "places-slow", title: "100 workers where 10 calls of ten seconds at a time are allowed, no headers at all",
		provider: provider{concurrent: 10, says: silent, hint: noHint}, told: provider{concurrent: 10}, horizon: time.Hour,
		load: load{streams: []stream{{workers: 100, calls: 400}}, work: func(id int, r *rand.Rand) *call {
			c := chat(id, r)
			c.service *= 12
			return c
		}},
	},
	{
		name: "noise", title: "50 workers, and 5 % of the calls rejected whatever the load",
		provider: provider{odd: odd{share: 0.05}, says: silent, hint: noHint}, horizon: 20 * time.Minute,
		load: load{streams: []stream{{workers: 50, calls: 3000}}, work: chat},
	},
	{
		name: "tiny", title: "10 workers with 30 calls for 3 a minute, Retry-After only",
		provider: provider{requests: perMinute(3), says: silent, hint: wholeSeconds}, told: provider{requests: perMinute(3)}, horizon: time.Hour,
		load: load{streams: []stream{{workers: 10, calls: 30}}, work: chat},
	},
}
