package quota

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// party is some clients with more to do than one bucket grants, and a server
// that says in each answer what is left in it.
type party struct {
	gains, holds float64
	window       time.Duration // of the clock, in the place of an even gain
	lies         bool          // there is always half of it left
	whole        bool          // its resets are in whole seconds
	clients      []*client
	answers      []answer // in order of time

	now     time.Time
	left    float64
	refused int
	takes   time.Duration // an answer
	random  *rand.Rand
}

type client struct {
	*Control
	from, to time.Time
	gate     time.Time
	got      int
}

type answer struct {
	at time.Time
	do func()
}

func newParty(gains, holds float64, clients int) *party {
	p := &party{gains: gains, holds: holds, left: holds, now: start, takes: 800 * time.Millisecond, random: rand.New(rand.NewPCG(5, uint64(clients)))}
	for range clients {
		p.clients = append(p.clients, &client{Control: New(Config{}), from: start, to: at(1e6)})
	}
	return p
}

// until plays in steps of ten milliseconds.
func (p *party) until(end time.Time) {
	const step = 10 * time.Millisecond
	for ; p.now.Before(end); p.now = p.now.Add(step) {
		switch {
		case p.window == 0:
			p.left = min(p.holds, p.left+p.gains*step.Seconds())
		case p.now.Truncate(p.window).Equal(p.now):
			p.left = p.holds
		}
		for len(p.answers) > 0 && !p.answers[0].at.After(p.now) {
			p.answers[0].do()
			p.answers = p.answers[1:]
		}
		for going := true; going; {
			going = false
			for _, i := range p.random.Perm(len(p.clients)) {
				if c := p.clients[i]; !p.now.Before(c.from) && p.now.Before(c.to) && !p.now.Before(c.gate) && c.Delay(Cost{}, p.now) == 0 {
					p.call(c)
					going = true
				}
			}
		}
	}
}

func (p *party) call(c *client) {
	id := c.Take(Cost{}, true, p.now)
	took, ok, wait := p.takes, p.left >= 1, time.Duration(0)
	if ok {
		p.left--
		c.got++
	} else {
		p.refused++
		took, wait = 30*time.Millisecond, time.Second
		if p.window > 0 {
			wait = p.now.Truncate(p.window).Add(p.window).Sub(p.now).Truncate(time.Second) + time.Second
		}
	}
	r := Reading{Requests, time.Minute, int64(60 * p.gains), int64(p.left), time.Duration((p.holds - p.left) / p.gains * 1e9).Round(time.Millisecond)}
	if p.whole {
		r.Reset = (r.Reset + time.Second - 1).Truncate(time.Second)
	}
	if p.lies {
		r.Remaining, r.Reset = int64(p.holds/2), time.Duration(p.holds/2/p.gains*1e9)
	}
	a := answer{p.now.Add(took), func() {
		c.Answered(id, []Reading{r}, p.now)
		if ok {
			c.Succeeded(id, p.now)
		} else {
			c.gate = p.now.Add(wait + time.Duration(p.random.Int64N(int64(wait/10))))
			c.Rejected(id, Refusal{Hinted: true, Empty: true, Until: c.gate}, p.now)
		}
		c.Settle(id, Cost{}, p.now)
		c.Free(p.now)
	}}
	i, _ := slices.BinarySearchFunc(p.answers, a.at, func(b answer, at time.Time) int {
		if b.at.After(at) {
			return 1
		}
		return -1
	})
	p.answers = slices.Insert(p.answers, i, a)
}

// played returns what the clients got in a time, and how many were refused.
func (p *party) played(d time.Duration) (got []int, sum, refused int) {
	for _, c := range p.clients {
		got, c.got = append(got, c.got), 0
	}
	p.refused = 0
	p.until(p.now.Add(d))
	for i, c := range p.clients {
		got[i] = c.got
		sum += c.got
	}
	return got, sum, p.refused
}

func jain(got []int) float64 {
	sum, squares := 0.0, 0.0
	for _, n := range got {
		sum += float64(n)
		squares += float64(n * n)
	}
	return sum * sum / float64(len(got)) / squares
}

// Clients that know nothing of each other come to equal shares of all there is,
// from what the headers say is left, and then none is refused any more.
func TestShare(t *testing.T) {
	for _, tt := range []struct {
		name         string
		gains, holds float64
		clients      int
	}{
		{"two", 20, 20, 2},
		{"four", 20, 20, 4},
		{"sixteen", 20, 20, 16},
		{"four on a bucket of a minute", 20, 1200, 4},
		{"five on a slow one", 2, 20, 5},
		{"ten on a fast one", 200, 200, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newParty(tt.gains, tt.holds, tt.clients)
			p.until(at(240))
			got, sum, refused := p.played(2 * time.Minute)
			if least := 0.97 * tt.gains * 120; float64(sum) < least {
				t.Errorf("used %d of %v", sum, tt.gains*120)
			}
			if j := jain(got); j < 0.98 {
				t.Errorf("Jain %.3f: %v", j, got)
			}
			if refused > sum/100 {
				t.Errorf("%d refused beside %d", refused, sum)
			}
		})
	}
}

// Resets in whole seconds tell less of what the bucket holds, and nothing once it
// is full. All is used all the same, if not as evenly.
func TestShareOfWholeSeconds(t *testing.T) {
	p := newParty(20, 20, 2)
	for _, c := range p.clients {
		c.config.Start = 4 // less than the bucket holds
	}
	p.whole = true
	p.until(at(60))
	if got, sum, refused := p.played(2 * time.Minute); sum < 2330 || jain(got) < 0.9 || refused > sum/100 {
		t.Errorf("%v, %d refused", got, refused)
	}
}

// Who joins is soon as well off as the rest, what one who leaves had is soon
// used, and the last is as if it had always been alone.
func TestShareMoves(t *testing.T) {
	p := newParty(20, 20, 4)
	p.clients[3].from = at(120)
	for _, c := range p.clients[1:3] {
		c.to = at(240)
	}
	p.clients[3].to = at(360)
	p.until(at(150))
	if got, sum, _ := p.played(90 * time.Second); jain(got) < 0.97 || sum < 1750 {
		t.Errorf("after a join %v", got)
	}
	p.until(at(270))
	if got, sum, _ := p.played(90 * time.Second); sum < 1700 || jain([]int{got[0], got[3]}) < 0.97 {
		t.Errorf("after two had left %v", got)
	}
	p.until(at(400))
	if got, sum, _ := p.played(time.Minute); sum < 1150 {
		t.Errorf("after all others had left %v", got)
	}
	if s := p.clients[0].short[Requests].share; s.y != 0 {
		t.Errorf("%+v", s)
	}
}

// Long answers tell late what the level was, and swing nobody.
func TestShareOfLongAnswers(t *testing.T) {
	for _, clients := range []int{4, 8} {
		p := newParty(20, 20, clients)
		p.takes = 8 * time.Second
		p.until(at(60))
		got, sum, refused := p.played(4 * time.Minute)
		if float64(sum) < 0.9*20*240 || jain(got) < 0.9 || refused > sum/50 {
			t.Errorf("%v, %d refused", got, refused)
		}
	}
}

// Who has a bucket for itself, and is not refused, sees another come all the same.
func TestShareWithTheFirst(t *testing.T) {
	for _, gains := range []float64{2, 20, 200} {
		p := newParty(gains, max(10, gains), 2)
		p.clients[1].from = at(100)
		p.until(at(220))
		if got, sum, refused := p.played(time.Minute); float64(sum) < 0.96*60*gains || jain(got) < 0.96 || refused > sum/100 {
			t.Errorf("%v a second: %v, %d refused", gains, got, refused)
		}
	}
}

// However small a share was, who has it goes often enough to see the others leave.
func TestShareIsNoTrap(t *testing.T) {
	const gains, holds = 0.25, 15
	s := share{y: -1, even: true, others: 0.9, seq: 1, at: at(0)}
	left := 0.0 // and others take whatever comes
	for now := 0.0; now < 1800 && s.y < 0; {
		now += 1 / s.rate(gains)
		if now > 900 {
			left = holds - 1
		}
		s.read(left, holds, gains, s.rate(gains), &flight{at: at(now), seq: s.seq + 1}, at(now))
	}
	if s.y < 2*shareTop {
		t.Errorf("alone for a quarter of an hour it has %.2f of all", math.Exp(s.y))
	}
}

// Who wants less than its share gets it all, and the others the rest.
func TestShareOfTheModest(t *testing.T) {
	p := newParty(20, 20, 3)
	modest := p.clients[0]
	modest.to = at(0)
	got := 0
	for s := 1.0; s < 240; s += 0.5 { // two a second
		p.until(at(s))
		if n := modest.got; modest.Delay(Cost{}, p.now) == 0 && !p.now.Before(modest.gate) {
			p.call(modest)
			if s >= 120 {
				got += modest.got - n
			}
		}
		if s == 119.5 {
			p.clients[1].got, p.clients[2].got = 0, 0
		}
	}
	a, b := p.clients[1].got, p.clients[2].got
	if got < 220 || float64(a+b) < 0.96*18*120 || jain([]int{a, b}) < 0.98 {
		t.Errorf("the modest one got %d of 240, the others %d and %d", got, a, b)
	}
}

// Without others there is no share, nor where a header can't be believed: a
// window of the clock gains nothing before it ends, whatever its reset is, and a
// bucket that refuses was not half full.
func TestNoShare(t *testing.T) {
	for _, tt := range []struct {
		name  string
		party func() *party
		least int // in five minutes
	}{
		{"alone", func() *party { return newParty(20, 20, 1) }, 5850},
		{"alone with a minute's bucket", func() *party { return newParty(20, 1200, 1) }, 5850},
		{"alone in a window", func() *party { p := newParty(10, 600, 1); p.window = time.Minute; return p }, 2900},
		{"two in a window", func() *party { p := newParty(10, 600, 2); p.window = time.Minute; return p }, 2800},
		{"lies", func() *party { p := newParty(20, 20, 3); p.lies = true; return p }, 5500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := tt.party()
			p.until(at(60))
			if _, sum, _ := p.played(5 * time.Minute); sum < tt.least {
				t.Errorf("used %d, want %d", sum, tt.least)
			}
			for _, c := range p.clients {
				if s := c.short[Requests].share; s.y != 0 {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

// What was learned of others goes when the limit is another, and when nothing
// was heard for long.
func TestShareIsForgotten(t *testing.T) {
	shared := func() *party {
		p := newParty(20, 20, 4)
		p.until(at(60))
		if y := p.clients[0].short[Requests].share.y; y > math.Log(0.5) {
			t.Fatalf("not shared: %v", y)
		}
		return p
	}
	p := shared()
	c := p.clients[0]
	id := c.Take(Cost{}, true, p.now)
	c.Answered(id, requests(600, 10), p.now)
	if y := c.short[Requests].share.y; y != 0 {
		t.Error("not forgotten when the limit was another")
	}

	p = shared()
	c = p.clients[0]
	c.Take(Cost{}, true, p.now.Add(50*time.Second))
	if y := c.short[Requests].share.y; y == 0 {
		t.Error("forgotten too soon")
	}
	c.Take(Cost{}, true, p.now.Add(3*time.Minute))
	if y := c.short[Requests].share.y; y != 0 {
		t.Error("not forgotten")
	}
}

// The calls of a burst reach the server in any order, and none of these makes a
// window of what is a bucket, or a bucket of what is a window.
func TestShareOfABurst(t *testing.T) {
	b := newBucket(Requests)
	s := &b.share
	s.read(12, 20, 20, 14, &flight{seq: 1, at: at(1)}, at(1))
	s.read(2, 20, 20, 14, &flight{seq: 2, at: at(2)}, at(2))  // was the last of twelve
	s.read(14, 20, 20, 14, &flight{seq: 3, at: at(2)}, at(2)) // and this the first
	if s.denied {
		t.Error("denied")
	}
	s.read(400, 600, 10, 10, &flight{seq: 4, at: at(30)}, at(30))
	s.read(599, 600, 10, 10, &flight{seq: 5, at: at(31)}, at(31))
	if !s.denied {
		t.Error("a window that began again is taken for a bucket")
	}

	*s = share{}
	left := 588.0
	for seq := uint64(1); seq <= 42; seq++ { // none gained, and twelve at once, of which the first was the last there
		now, reported := at(1), left+float64(seq)
		if seq > 12 {
			now, reported = at(1+0.1*float64(seq-12)), left+12-float64(seq)
		}
		s.read(reported, 600, 20, 10, &flight{seq: seq, at: now}, now)
	}
	if s.even || s.y != 0 || s.denied {
		t.Errorf("a window is taken for a bucket: %+v", *s)
	}
}
