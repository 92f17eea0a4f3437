package snubber

import (
	"context"
	"time"
)

// LimitStore lets the Limiters of several processes share a key's quota: the
// buckets whose limit is known, configured or announced by the server, and the
// gate that a 429 shuts. What a Limiter learns from refusals alone stays its own:
// that is a share of the quota and not the quota.
//
// A Limiter queues its calls by itself and asks the store for the one whose turn
// it is. It asks with a time limit of its own; a store that fails or is too slow
// costs no call: the Limiter tells of it with an [EventLimitStoreFailed], goes on alone, and
// asks again a few seconds later.
//
// Keys hold no credential, only its keyed hash; the processes must share
// [Limiter.Secret] to have the same ones. Times are durations, so that the clocks
// of the processes need not agree: the store's own counts.
//
// Implementations must be safe for concurrent use. Package limittest checks one.
type LimitStore interface {
	// Take takes all the shares from their buckets and returns zero, or takes
	// none and returns how long to wait before it is worth asking again: the rest
	// of the key's gate, or the time in which the buckets fill. A bucket that was
	// never heard of is full.
	//
	// A share larger than its bucket's Burst is granted when the bucket is full;
	// the rest is a debt that has to fill first.
	Take(ctx context.Context, key string, shares []BucketCharge) (wait time.Duration, err error)
	// Settle corrects what was taken: a positive amount is taken as well, into
	// debt if need be, a negative one is given back, up to the Burst.
	Settle(ctx context.Context, key string, shares []BucketCharge) error
	// Gate grants nothing of the key for d from now. Of two gates the one that
	// ends later holds.
	Gate(ctx context.Context, key string, d time.Duration) error
}

// BucketCharge is an amount of one bucket of a key.
type BucketCharge struct {
	// Bucket names the bucket: "requests", "tokens".
	Bucket string
	// Amount is how much of it.
	Amount int
	// PerSecond is the rate at which the bucket fills, and Burst what it holds.
	// The processes may know different ones for a while, until each has heard of
	// a change: the latest that was told counts.
	PerSecond float64
	Burst     int
}

const (
	limitStoreTime = 100 * time.Millisecond // that a store may take
	limitStoreRest = 5 * time.Second        // that one which failed is left alone
)
