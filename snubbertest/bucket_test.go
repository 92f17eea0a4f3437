package snubbertest

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

// exactBucket is a bucket in rational numbers: tokens at a time.
type exactBucket struct {
	limit, burst, period, tokens *big.Rat
	at                           uint64
}

func (b *exactBucket) refill(now uint64) {
	gained := new(big.Rat).SetInt(new(big.Int).SetUint64(now - b.at))
	gained.Mul(gained, b.limit).Quo(gained, b.period)
	b.tokens.Add(b.tokens, gained)
	if b.tokens.Cmp(b.burst) > 0 {
		b.tokens.Set(b.burst)
	}
	b.at = now
}

// wait is how long until there are n tokens, rounded up.
func (b *exactBucket) wait(n *big.Rat) time.Duration {
	missing := new(big.Rat).Sub(n, b.tokens)
	if missing.Sign() <= 0 {
		return 0
	}
	missing.Mul(missing, b.period).Quo(missing, b.limit)
	ns := new(big.Int).Add(missing.Num(), missing.Denom())
	ns.Sub(ns, big.NewInt(1)).Quo(ns, missing.Denom())
	return time.Duration(ns.Int64())
}

func TestBucketAgainstRationals(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	rat := func(n int) *big.Rat { return new(big.Rat).SetInt64(int64(n)) }
	for range 200 {
		limit, burst := 1+rnd.IntN(1_000_000), 1+rnd.IntN(1000)
		period := time.Duration(1 + rnd.Int64N(int64(time.Hour)))
		b := newBucket(limit, burst, period)
		m := exactBucket{rat(limit), rat(burst), rat(int(period)), rat(burst), 0}
		now := uint64(0)
		for range 200 {
			now += rnd.Uint64N(uint64(period)*uint64(burst)/uint64(limit) + 2)
			m.refill(now)
			n := uint64(rnd.IntN(burst + 1))
			want := m.wait(rat(int(n)))
			if got := b.wait(now, n); got != want {
				t.Fatalf("%d per %v, burst %d: wait for %d is %v, want %v", limit, period, burst, n, got, want)
			}
			floor := new(big.Int).Quo(m.tokens.Num(), m.tokens.Denom()).Int64()
			if got := b.level(now).remaining; got != int(floor) {
				t.Fatalf("%d per %v, burst %d: %d remain, want %d", limit, period, burst, got, floor)
			}
			switch {
			case want == 0:
				b.take(now, n)
				m.tokens.Sub(m.tokens, rat(int(n)))
			case rnd.IntN(2) == 0:
				b.drain(now, n)
				m.tokens.SetInt64(0)
			default:
				b.put(now, n)
				if m.tokens.Add(m.tokens, rat(int(n))); m.tokens.Cmp(m.burst) > 0 {
					m.tokens.Set(m.burst)
				}
			}
		}
	}
}

func FuzzBucket(f *testing.F) {
	f.Add(60, 1, int64(time.Minute), uint64(1), uint64(1e9))
	f.Add(math.MaxInt, math.MaxInt, int64(math.MaxInt64), uint64(math.MaxUint64), uint64(math.MaxInt64))
	f.Add(1, math.MaxInt, int64(1), uint64(math.MaxUint64), uint64(0))
	f.Fuzz(func(t *testing.T, limit, burst int, period int64, n, later uint64) {
		if period <= 0 {
			return
		}
		b := newBucket(limit, burst, time.Duration(period))
		now := uint64(0)
		for _, step := range []func(){
			func() { b.take(now, n) }, func() { b.drain(now, n) }, func() { b.take(now, n) }, func() { b.put(now, n/2) },
		} {
			step()
			l := b.level(now)
			if w := b.wait(now, n); w < 0 || l.reset < 0 || l.remaining < 0 || uint64(l.remaining) > b.burst {
				t.Fatalf("wait %v, level %+v", w, l)
			}
			now += later % math.MaxInt32
		}
	})
}

// Whatever arrives, there is an answer or a refusal.
func FuzzParse(f *testing.F) {
	f.Add("/v1/chat/completions", `{"messages":[{"content":[{"text":"x"}]}],"max_tokens":-5,"stream":true}`)
	f.Add("/v1/embeddings", `{"input":[[1,2],"x",null],"dimensions":4096}`)
	f.Add("/models/:generateContent", `{"contents":{"parts":{"text":[1,[2]]}}}`)
	f.Add("/models/m:batchEmbedContents", `{"requests":null}`)
	f.Add("/models/m:embedContent", `{"requests":[]}`)
	f.Add("/models/m:embedContent", `{"input":[]}`)
	f.Fuzz(func(t *testing.T, path, body string) {
		p := &Provider{TokensPerMinute: 1000, Concurrent: 1}
		c := newCall("POST", path, "alt=sse", nil, []byte(body))
		p.arrive(c, false)
		if status, pieces, _ := p.compose(c); status < 200 || len(pieces) == 0 {
			t.Errorf("status %d, %d pieces", status, len(pieces))
		}
		if c.record.InputTokens < 0 || c.record.InputTokens > len(body)*4 {
			t.Errorf("%d tokens in %d bytes", c.record.InputTokens, len(body))
		}
	})
}

// Whoever reads the headers of a short minute must not take its limit for that
// of a true one.
func TestLevelStatesATrueMinutesLimit(t *testing.T) {
	for _, tt := range []struct {
		limit  int
		period time.Duration
		want   int
	}{{30, 5 * time.Second, 360}, {60, time.Minute, 60}, {1, 2 * time.Hour, 1}, {math.MaxInt, time.Nanosecond, math.MaxInt}} {
		b := newBucket(tt.limit, 1, tt.period)
		if got := b.level(0).limit; got != tt.want {
			t.Errorf("%d in %v are stated as %d a minute, want %d", tt.limit, tt.period, got, tt.want)
		}
	}
}
