// Package limittest checks that a [snubber.LimitStore] keeps the promises of its
// documentation, so that the processes that share it never exceed the quota together:
//
//	func TestStore(t *testing.T) {
//		limittest.Run(t, func(t *testing.T) snubber.LimitStore { return myredis.New(address(t)) })
//	}
//
// The suite waits in real time, a few hundred milliseconds a rule, unless it runs in
// a [testing/synctest] bubble. A slow store passes: the rules accept a bucket that is
// fuller than expected, but not one that is emptier.
package limittest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber"
)

// A Rule is one promise of a LimitStore.
type Rule struct {
	// Name is short, unique and fit for -run: "all-or-none".
	Name string
	// Doc says in a sentence what a store has to do.
	Doc string
	// Check returns nil if the store keeps the rule, and otherwise an error that
	// says what the store did instead. It uses keys that start with prefix. The store
	// must not have such keys yet.
	Check func(s snubber.LimitStore, prefix string) error
}

// Run checks every rule in a subtest of its own, each with a store from open. The
// stores may use the same data.
func Run(t *testing.T, open func(*testing.T) snubber.LimitStore) {
	t.Helper()
	prefix := fmt.Sprintf("limittest %d ", time.Now().UnixNano())
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			if err := rule.Check(open(t), prefix+rule.Name); err != nil {
				t.Errorf("%s: %v", rule.Doc, err)
			}
		})
	}
}

// Rules returns all rules, in a new slice.
func Rules() []Rule {
	return []Rule{
		{"full-at-first", "a bucket that was never heard of holds its Burst, and not more", fullAtFirst},
		{"fills", "a bucket fills at PerSecond up to its Burst", fills},
		{"all-or-none", "a Take that one bucket refuses takes nothing from the others", allOrNone},
		{"wait-suffices", "who waits as long as he was told and finds nobody before him is granted", waitSuffices},
		{"keys-apart", "the buckets and the gate of one key are no other's", keysApart},
		{"buckets-apart", "the buckets of a key are told apart by their names", bucketsApart},
		{"large-goes-when-full", "a share larger than the Burst is granted when the bucket is full and leaves a debt", largeGoesWhenFull},
		{"settle-charges", "a positive Settle takes more, into debt if need be", settleCharges},
		{"settle-gives-back", "a negative Settle gives back, up to the Burst", settleGivesBack},
		{"latest-rate", "the latest rate that was told counts", latestRate},
		{"gate", "a gate lets nothing through before its end, and everything after it", gate},
		{"longer-gate", "of two gates the one that ends later holds", longerGate},
		{"concurrent", "of many Takes at once no more are granted than the bucket holds", concurrent},
		{"context", "a context that has ended is an error, and nothing is taken", contextEnds},
	}
}

const slowCall = 1.0 / 3600 // a bucket that does not fill while a rule runs

func bucket(name string, amount, burst int, perSecond float64) snubber.BucketCharge {
	return snubber.BucketCharge{Bucket: name, Amount: amount, PerSecond: perSecond, Burst: burst}
}

func take(s snubber.LimitStore, key string, shares ...snubber.BucketCharge) (time.Duration, error) {
	return s.Take(context.Background(), key, shares)
}

// granted takes and expects that it is granted.
func granted(s snubber.LimitStore, key string, shares ...snubber.BucketCharge) error {
	switch wait, err := take(s, key, shares...); {
	case err != nil:
		return err
	case wait != 0:
		return fmt.Errorf("Take(%v) waits for %v, want it granted", shares, wait)
	}
	return nil
}

// refused takes and expects that it is not granted.
func refused(s snubber.LimitStore, key string, shares ...snubber.BucketCharge) error {
	switch wait, err := take(s, key, shares...); {
	case err != nil:
		return err
	case wait <= 0:
		return fmt.Errorf("Take(%v) is granted (%v), want a wait", shares, wait)
	}
	return nil
}

func settle(s snubber.LimitStore, key string, shares ...snubber.BucketCharge) error {
	return s.Settle(context.Background(), key, shares)
}

func fullAtFirst(s snubber.LimitStore, key string) error {
	one := bucket("requests", 1, 3, slowCall)
	return errors.Join(granted(s, key, one), granted(s, key, one), granted(s, key, one), refused(s, key, one))
}

func fills(s snubber.LimitStore, key string) error {
	const perSecond = 50
	if err := granted(s, key, bucket("requests", 4, 4, perSecond)); err != nil {
		return err
	}
	if err := refused(s, key, bucket("requests", 4, 4, perSecond)); err != nil {
		return err
	}
	time.Sleep(20 * time.Second / perSecond) // enough for 20, of which the bucket holds 4
	return errors.Join(
		granted(s, key, bucket("requests", 4, 4, perSecond)),
		refused(s, key, bucket("requests", 4, 4, slowCall)))
}

func allOrNone(s snubber.LimitStore, key string) error {
	requests, tokens := bucket("requests", 1, 2, slowCall), bucket("tokens", 80, 100, slowCall)
	if err := granted(s, key, requests, tokens); err != nil {
		return err
	}
	for range 3 {
		if err := refused(s, key, requests, tokens); err != nil {
			return err
		}
	}
	tokens.Amount = 20
	return errors.Join(granted(s, key, requests, tokens), refused(s, key, requests))
}

func waitSuffices(s snubber.LimitStore, key string) error {
	share := bucket("tokens", 10, 10, 200)
	if err := granted(s, key, share); err != nil {
		return err
	}
	share.Amount = 7
	wait, err := take(s, key, share)
	if err != nil {
		return err
	}
	if full := 10 * time.Second / 200; wait <= 0 || wait > full {
		return fmt.Errorf("told to wait for %v, want more than nothing and at most the %v in which the bucket fills", wait, full)
	}
	time.Sleep(wait)
	return granted(s, key, share)
}

func keysApart(s snubber.LimitStore, key string) error {
	one := bucket("requests", 1, 1, slowCall)
	return errors.Join(
		granted(s, key+" a", one), refused(s, key+" a", one),
		s.Gate(context.Background(), key+" a", time.Hour),
		granted(s, key+" b", one))
}

func bucketsApart(s snubber.LimitStore, key string) error {
	return errors.Join(
		granted(s, key, bucket("requests", 1, 1, slowCall)),
		granted(s, key, bucket("tokens", 1, 1, slowCall)),
		refused(s, key, bucket("requests", 1, 1, slowCall)))
}

func largeGoesWhenFull(s snubber.LimitStore, key string) error {
	const perSecond = 1000
	large := bucket("tokens", 250, 100, perSecond)
	if err := errors.Join(granted(s, key, bucket("tokens", 1, 100, slowCall)), refused(s, key, bucket("tokens", 250, 100, slowCall))); err != nil {
		return err
	}
	time.Sleep(10 * time.Millisecond)
	if err := errors.Join(settle(s, key, bucket("tokens", -1, 100, perSecond)), granted(s, key, large)); err != nil {
		return err
	}
	wait, err := take(s, key, bucket("tokens", 1, 100, slowCall))
	if err != nil {
		return err
	}
	if debt := time.Duration(100 / slowCall * float64(time.Second)); wait < debt {
		return fmt.Errorf("after a share of 250 from a bucket of 100 the next token is told to wait for %v, want the debt first: %v at least", wait, debt)
	}
	return nil
}

func settleCharges(s snubber.LimitStore, key string) error {
	return errors.Join(
		granted(s, key, bucket("tokens", 10, 100, slowCall)),
		settle(s, key, bucket("tokens", 300, 100, slowCall)),
		refused(s, key, bucket("tokens", 1, 100, slowCall)),
		settle(s, key, bucket("tokens", -200, 100, slowCall)), // still 10 in debt
		refused(s, key, bucket("tokens", 1, 100, slowCall)),
		settle(s, key, bucket("tokens", -50, 100, slowCall)),
		granted(s, key, bucket("tokens", 40, 100, slowCall)),
		refused(s, key, bucket("tokens", 1, 100, slowCall)))
}

func settleGivesBack(s snubber.LimitStore, key string) error {
	return errors.Join(
		granted(s, key, bucket("tokens", 100, 100, slowCall)),
		settle(s, key, bucket("tokens", -30, 100, slowCall)),
		granted(s, key, bucket("tokens", 30, 100, slowCall)),
		settle(s, key, bucket("tokens", -5000, 100, slowCall)),
		granted(s, key, bucket("tokens", 100, 100, slowCall)),
		refused(s, key, bucket("tokens", 1, 100, slowCall)))
}

func latestRate(s snubber.LimitStore, key string) error {
	if err := granted(s, key, bucket("requests", 1, 1, slowCall)); err != nil {
		return err
	}
	wait, err := take(s, key, bucket("requests", 1, 1, 10))
	if err != nil {
		return err
	}
	if wait <= 0 || wait > 150*time.Millisecond {
		return fmt.Errorf("told to wait for %v by a bucket that now fills in 100ms", wait)
	}
	time.Sleep(wait)
	return granted(s, key, bucket("requests", 1, 1, 10))
}

func gate(s snubber.LimitStore, key string) error {
	const d = 200 * time.Millisecond
	began := time.Now()
	if err := s.Gate(context.Background(), key, d); err != nil {
		return err
	}
	wait, err := take(s, key, bucket("requests", 1, 5, 1000))
	if err != nil {
		return err
	}
	if left := d - time.Since(began); wait < left || wait > d {
		return fmt.Errorf("a Take behind a gate of %v waits for %v", d, wait)
	}
	if wait, err = take(s, key); err != nil || wait <= 0 {
		return fmt.Errorf("a Take of nothing behind a gate = %v, %v, want the wait: it is how a caller without known limits asks", wait, err)
	}
	time.Sleep(d + 10*time.Millisecond)
	return granted(s, key, bucket("requests", 5, 5, 1000))
}

func longerGate(s snubber.LimitStore, key string) error {
	ctx := context.Background()
	if err := errors.Join(s.Gate(ctx, key, time.Hour), s.Gate(ctx, key, time.Second)); err != nil {
		return err
	}
	wait, err := take(s, key, bucket("requests", 1, 1, 1))
	if err == nil && wait < 59*time.Minute {
		return fmt.Errorf("a gate of a second replaced one of an hour: Take waits for %v", wait)
	}
	return err
}

func concurrent(s snubber.LimitStore, key string) error {
	const burst, callers = 20, 60
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		n    int
		errs []error
	)
	for range callers {
		wg.Go(func() {
			wait, err := take(s, key, bucket("requests", 1, burst, slowCall), bucket("tokens", 1, 1000, slowCall))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			} else if wait == 0 {
				n++
			}
		})
	}
	wg.Wait()
	if n != burst {
		errs = append(errs, fmt.Errorf("%d of %d were granted, want %d", n, callers, burst))
	}
	return errors.Join(errs...)
}

func contextEnds(s snubber.LimitStore, key string) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	one := bucket("requests", 1, 1, slowCall)
	if _, err := s.Take(ctx, key, []snubber.BucketCharge{one}); err == nil {
		return errors.New("a Take with a context that has ended succeeds")
	}
	return granted(s, key, one)
}
