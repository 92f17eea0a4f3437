package quota

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Once something was let in, a share of calls that is refused at random, whatever the
// rate, costs those calls and nothing else: the rate is held back for a small part of the time, and the key
// is gated for a small part of the refusals.
func TestNoiseIsNoQuota(t *testing.T) {
	for _, share := range []float64{0.001, 0.01, 0.05, 0.1, 0.3} {
		k, r := New(Config{}), rand.New(rand.NewPCG(1, uint64(1000*share)))
		type end struct {
			at      time.Time
			id      int32
			refused bool
		}
		var ends []end
		sent, held, gates, refused, waited := 0, 0, 0, 0, false
		for step := range 120_000 {
			now := at(float64(step) / 1000)
			for i := 0; i < len(ends); i++ {
				e := ends[i]
				if e.at.After(now) {
					continue
				}
				ends = append(ends[:i], ends[i+1:]...)
				i--
				if e.refused {
					refused++
					if _, gate, _ := k.Rejected(e.id, Refusal{Hinted: true, Until: now.Add(time.Second)}, now); gate {
						gates++
					}
				} else {
					k.LetIn(e.id, now)
					k.Succeeded(e.id, now)
				}
				k.Settle(e.id, Cost{}, now)
				k.Free(now)
			}
			if step%5 > 0 {
				continue
			}
			if k.Delay(Cost{}, now) != 0 {
				held++
				waited = true
				continue
			}
			sent++
			e := end{now.Add(100 * time.Millisecond), k.Take(Cost{}, waited, now), step > 1000 && r.Float64() < share}
			if e.refused {
				e.at = now.Add(time.Duration(20+r.IntN(40)) * time.Millisecond)
			}
			ends = append(ends, e)
			waited = false
		}
		if part := float64(held) / float64(sent+held); part > 0.06 {
			t.Errorf("noise of %v: held back %.3f of the time, want at most 0.06", share, part)
		}
		if gates > 5+refused/20 {
			t.Errorf("noise of %v: %d gates for %d refusals, want few", share, gates, refused)
		}
		if belief := k.Belief(); share >= 0.05 && (belief.Cause != Noise || belief.Share < share/2 || belief.Share > 2*share) {
			t.Errorf("noise of %v: Belief = %+v, want noise of about that share", share, belief)
		}
	}
}
