package snubber

import (
	"context"
	"time"
)

// LimitStore lets the Limiters of several processes share a key's quota: the buckets
// whose limit is configured or announced by the server, and the gate that a 429 shuts.
// A limit learned from refusals alone is not shared. It is this process's share of the
// quota, and not the quota.
//
// A Limiter queues its calls by itself and asks the store for the one whose turn it is.
// It waits for the store no longer than a tenth of a second. A store that fails or is
// too slow costs no call. The Limiter reports an [EventLimitStoreFailed], works without
// the store, and asks it again five seconds later.
//
// Keys hold no credential but its keyed hash. The processes must share [Limiter.Secret]
// to have the same keys. Times are durations by the store's own clock, so that the
// clocks of the processes need not agree.
//
// A LimitStore must be safe for concurrent use. Package limittest tests one.
type LimitStore interface {
	// Take takes all the shares from their buckets and returns zero. Or it takes none,
	// and returns the wait after which it is worth asking again: the rest of the key's
	// gate, or the time in which the buckets fill. A bucket that the store does not
	// know is full.
	//
	// A share larger than its bucket's Burst is granted when the bucket is full. The
	// rest is a debt that has to fill first.
	Take(ctx context.Context, key string, shares []BucketCharge) (wait time.Duration, err error)
	// Settle corrects what was taken. A positive amount is taken as well, into debt if
	// need be. A negative one is given back, up to the Burst.
	Settle(ctx context.Context, key string, shares []BucketCharge) error
	// Gate makes Take grant nothing of the key for d from now. Of two gates the one
	// that ends later holds.
	Gate(ctx context.Context, key string, d time.Duration) error
}

// BucketCharge is an amount to take from one bucket of a key.
type BucketCharge struct {
	// Bucket is the name of the bucket, such as "requests" or "tokens".
	Bucket string
	// Amount is how much to take. A negative amount is given back.
	Amount int
	// PerSecond is the rate at which the bucket fills, and Burst what it holds. For a
	// while after a change the processes may know different values: the latest call
	// counts.
	PerSecond float64
	Burst     int
}

const (
	limitStoreTime = 100 * time.Millisecond // the longest time of one call of a store
	limitStoreRest = 5 * time.Second        // how long a store that failed is not called
)
