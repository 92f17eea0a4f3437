package quota

import "math"

// Whole is a bucket of which the whole limit is known, from the user or from the
// server: what is learned from refusals is one client's share of it.
type Whole struct {
	Kind      Kind
	Stock     bool // for a day
	Amount    int
	PerSecond float64
	Burst     int
}

// Wholes is what so many requests of a cost in all take of each whole bucket.
func (k *Control) Wholes(requests int, c Cost) (ws []Whole) {
	k.all(func(b *bucket) {
		r := min(b.own, b.ceiling)
		if math.IsInf(r, 1) {
			return
		}
		n := requests
		if b.kind != Requests {
			n = c.of(b.kind)
		}
		burst := b.most
		if burst == 0 {
			burst = paced(r)
		}
		ws = append(ws, Whole{Kind: b.kind, Stock: b.stock, Amount: n, PerSecond: r, Burst: burst})
	})
	return ws
}
