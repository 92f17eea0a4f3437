package quota

import (
	"math"
	"time"
)

// share is a client's part of a bucket on which others draw too, found from what
// headers say is left in it.
//
// Refusals meet each client by chance, and the more of them one needs to learn its
// share, the more calls are wasted. What is left in the bucket all see alike. So
// those who follow one law from it come to the same rate, wherever they began, and
// nobody has to be refused for it. With y for the logarithm of the rate, in parts
// of the whole, and level for what is left, in parts of a few seconds' worth:
//
//	y' = gain*(trend + spring*(level-1/2)) - (y-log(level/3))/memory
//
// trend is how fast the bucket fills, in parts of the most. The first term is the
// same for all and holds the level, as a spring with a damper does; on it alone
// each would keep the share that it has. The second makes what differs fade. The
// level is where the two balance: about three quarters with two clients, a third
// with sixteen, and not empty with a hundred.
//
// It knows nothing of how many they are, and none has to be saturated: who wants
// less leaves the level higher for the rest, which is the max-min fair share.
type share struct {
	y      float64 // below 0; 0: alone, as far as anybody knows
	denied bool    // the bucket does not fill evenly, or its headers say nothing true
	even   bool    // it was seen to gain while it was drawn on

	// The latest reading.
	seq  uint64
	at   time.Time
	left float64

	own, gained, took float64 // in the latest few calls, and their seconds
	others            float64 // what they draw, in parts of what the bucket gains
	trend             float64
	full              float64 // seconds for which there has been more than enough
	odd               int     // refusals in a row of a bucket that was not empty
}

const (
	shareGain   = 0.2 // a second; an answer tells of the level of a second ago
	shareSpring = 0.3 // a second
	shareMemory = 40  // seconds

	shareWorks = 5  // seconds' worth of the bucket that count: a larger one is drawn down to them
	shareCalls = 10 // calls' worth that count at least

	shareSmooth = 2  // seconds that the trend is averaged over
	shareSeen   = 5  // and what others draw,
	shareUnits  = 20 // or the time of so many calls

	shareFrom   = 0.06             // drawn by others, from which it is a share
	shareLeast  = 0.05             // of the level, or who yields to one that does not would yield for good
	shareHurry  = 0.01             // that y grows each second faster while there is more than enough,
	shareFaster = 0.05             // at most
	shareCut    = 0.1              // for a refusal
	shareStep   = 5                // seconds that a reading speaks for at most
	shareTop    = -0.02            // the rate of who is alone
	shareSeldom = 15 * time.Second // between calls, from which readings are too few to go by
	shareForget = 30 * time.Second // without a word from the server, after which the bucket is anybody's guess
)

// rate is the client's part of what a bucket gains.
func (s *share) rate(gains float64) float64 { return gains * math.Exp(s.y) }

// read takes in what the answer to f said was left of requests, in a bucket that
// holds and gains so much; rate is how fast we go.
func (s *share) read(left, holds, gains, rate float64, f *flight, now time.Time) {
	if s.denied || f.seq <= s.seq {
		return
	}
	dt, own, was := max(f.at.Sub(s.at).Seconds(), 1e-6), float64(f.seq-s.seq), s.left
	s.seq, s.at, s.left = f.seq, f.at, left
	if dt > shareForget.Seconds() {
		return // the first, or as good as that
	}
	gain := gains * dt
	if left-was > gain+own+rate+2+holds/20 { // the calls of a burst, a second's worth, may arrive in any order
		s.deny()
		return
	}
	// A window that is not over gains nothing, whatever its reset says. It seems to
	// where a burst of a second's worth arrived in another order.
	if s.own, s.gained, s.took = s.own+own, s.gained+left-was+own, s.took+dt; s.own >= 8 && s.took >= 3 {
		s.even = s.even || s.gained > s.own/2
		s.own, s.gained, s.took = 0, 0, 0
	}
	if was+gain < holds || s.y == shareTop { // of a full bucket nobody can say what others draw
		s.others += (1 - math.Exp(-dt/max(shareSeen, shareUnits/gains))) * ((min(holds, was+gain)-own-left)/gain - s.others)
	}
	s.trend += (1 - math.Exp(-dt/shareSmooth)) * ((left-was)/gain - s.trend)
	if s.y == 0 {
		if !s.even || s.others < shareFrom || rate < 1/shareSeldom.Seconds() {
			return
		}
		s.y = min(math.Log(rate/gains), shareTop)
	}
	works := min(holds, max(shareWorks*gains, shareCalls))
	level := min(left/works, 1)
	if s.full += dt; level < 0.95 {
		s.full = 0
	}
	push := shareGain*(s.trend+shareSpring*(level-0.5)) + min(shareHurry*s.full, shareFaster)
	push -= (s.y - math.Log(max(level, shareLeast)/3)) / shareMemory
	// Who steers by what was long ago must steer gently.
	s.y += min(dt, shareStep) * push / max(1, now.Sub(f.at).Seconds())
	s.y = min(max(s.y, bottom(gains)), shareTop)
	if s.others < shareFrom/2 {
		s.y = 0
	}
}

// bottom is the least y, at which there still are readings. With none the client
// would not see others leave, and keep that rate.
func bottom(gains float64) float64 { return -math.Log(gains * shareSeldom.Seconds()) }

// refused takes in a refusal by the bucket.
func (s *share) refused(gains float64) {
	if s.y -= shareCut; s.y < bottom(gains) {
		*s = share{} // so small a one is found by refusals alone
		return
	}
	if s.odd++; s.left < 1 {
		s.odd = 0
	} else if s.odd == 3 {
		s.deny()
	}
}

func (s *share) deny() { *s = share{denied: true} }
