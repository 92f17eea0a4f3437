package sieve

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

type testCache = Cache[[32]byte, []byte]

func testKey(i int) (k [32]byte) {
	copy(k[:], fmt.Sprint(i))
	return k
}

// plainCache is Cache at its plainest: a slice, searched from end to end.
type plainCache struct {
	max, maxEntry   int64
	queue           []plainSlot // the oldest first
	hand, sweepHand int         // len(queue) is the turn
}

type plainSlot struct {
	key     [32]byte
	value   []byte
	weight  int64
	until   time.Time
	visited bool
}

func (s *plainCache) find(k [32]byte) int {
	return slices.IndexFunc(s.queue, func(e plainSlot) bool { return e.key == k })
}

func (s *plainCache) drop(i int) {
	s.queue = slices.Delete(s.queue, i, i+1)
	if s.hand > i {
		s.hand--
	}
	if s.sweepHand > i {
		s.sweepHand--
	}
}

func (s *plainCache) get(k [32]byte, now time.Time) ([]byte, bool) {
	i := s.find(k)
	if i < 0 {
		return nil, false
	}
	if !now.Before(s.queue[i].until) {
		s.drop(i)
		return nil, false
	}
	s.queue[i].visited = true
	return s.queue[i].value, true
}

func (s *plainCache) bytes() (sum int64) {
	for _, e := range s.queue {
		sum += e.weight
	}
	return sum
}

func (s *plainCache) put(k [32]byte, v []byte, weight int64, until, now time.Time) bool {
	if weight > s.maxEntry || !now.Before(until) {
		return false
	}
	e := plainSlot{key: k, value: v, weight: weight, until: until}
	if i := s.find(k); i >= 0 {
		e.visited = s.queue[i].visited
		s.drop(i)
	}
	for range 4 {
		if s.sweepHand == len(s.queue) {
			s.sweepHand = 0
		} else if !now.Before(s.queue[s.sweepHand].until) {
			s.drop(s.sweepHand)
		} else {
			s.sweepHand++
		}
	}
	for s.bytes()+weight > s.max {
		if s.hand == len(s.queue) {
			s.hand = 0
		} else if h := &s.queue[s.hand]; h.visited && now.Before(h.until) {
			h.visited = false
			s.hand++
		} else {
			s.drop(s.hand)
		}
	}
	// A hand at the turn stays there, behind what is new.
	if s.hand == len(s.queue) {
		s.hand++
	}
	if s.sweepHand == len(s.queue) {
		s.sweepHand++
	}
	s.queue = append(s.queue, e)
	return true
}

// FuzzCache compares Cache with plainCache, operation by operation.
func FuzzCache(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{10, 300, 3000} {
		script := make([]byte, n)
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		now := time.Now()
		c := &testCache{max: 8000, maxEntry: 3000}
		plain := &plainCache{max: 8000, maxEntry: 3000}
		for step := 0; len(script) >= 3; step++ {
			op, k, size := script[0], testKey(int(script[1]%24)), int64(script[2])*16
			script = script[3:]
			switch op % 8 {
			case 0, 1, 2:
				v, until := []byte(fmt.Sprint(step)), now.Add(time.Duration(op/8)*time.Second)
				got, want := c.Put(k, v, size, until, now), plain.put(k, v, c.weight(size), until, now)
				if got != want {
					t.Fatalf("step %d: put = %v, want %v", step, got, want)
				}
			case 3, 4, 5:
				got, ok := c.Get(k, now)
				want, wantOK := plain.get(k, now)
				if ok != wantOK || !bytes.Equal(got, want) {
					t.Fatalf("step %d: get = %s, %v; want %s, %v", step, got, ok, want, wantOK)
				}
			case 6:
				i := plain.find(k)
				if got := c.Delete(k); got != (i >= 0) {
					t.Fatalf("step %d: delete = %v", step, got)
				}
				if i >= 0 {
					plain.drop(i)
				}
			case 7:
				now = now.Add(time.Duration(op/8) * time.Second / 4)
			}
			if c.bytes != plain.bytes() || c.bytes > c.max || len(c.slots) != len(plain.queue) {
				t.Fatalf("step %d: %d values of %d bytes, want %d of %d", step, len(c.slots), c.bytes, len(plain.queue), plain.bytes())
			}
			all, want := c.All(now), 0
			for _, e := range plain.queue {
				if now.Before(e.until) {
					want++
					if v, ok := all[e.key]; !ok || !bytes.Equal(v, e.value) {
						t.Fatalf("step %d: all has %s, want %s", step, v, e.value)
					}
				}
			}
			if len(all) != want {
				t.Fatalf("step %d: all has %d values, want %d", step, len(all), want)
			}
		}
	})
}

func TestCacheOversizedEvictsNothing(t *testing.T) {
	now := time.Now()
	until := now.Add(time.Hour)
	c := &testCache{max: 1 << 20, maxEntry: 1 << 17}
	for i := range 100 {
		c.Put(testKey(i), nil, 4096, until, now)
	}
	for _, size := range []int64{1<<17 + 1, 1 << 20, 64 << 20, 1 << 62} {
		for _, k := range []int{7, 1000} { // one that is there, one that is not
			if c.Put(testKey(k), []byte("large"), size, until, now) {
				t.Errorf("%d bytes were kept in %d", size, c.max)
			}
		}
	}
	for i := range 100 {
		if v, ok := c.Get(testKey(i), now); !ok || v != nil {
			t.Fatalf("value %d is %q, %v after others were too large", i, v, ok)
		}
	}
	if c = (&testCache{max: 1000, maxEntry: 1 << 62}); c.Put(testKey(1), nil, 1001, until, now) {
		t.Error("1001 bytes were kept in 1000, without a bound for one value")
	}
}

// A scan of values that are used once evicts no value that is used often.
func TestCacheScan(t *testing.T) {
	now := time.Now()
	c := &testCache{max: 1 << 20, maxEntry: 1 << 17}
	hot := func() (there int) {
		for i := range 100 {
			if _, ok := c.Get(testKey(i), now); ok {
				there++
			} else {
				c.Put(testKey(i), nil, 2000, now.Add(time.Hour), now)
			}
		}
		return there
	}
	hot()
	for i := range 20_000 {
		if i%1000 == 0 {
			if there := hot(); there != 100 && i > 0 {
				t.Fatalf("%d of 100 values in constant use are there after %d others", there, i)
			}
		}
		c.Put(testKey(1000+i), nil, 2000, now.Add(time.Hour), now)
	}
}

func TestCacheForgetsTheExpired(t *testing.T) {
	now := time.Now()
	c := &testCache{max: 1 << 30, maxEntry: 1 << 20}
	for i := range 20_000 {
		c.Put(testKey(i), nil, 4096, now.Add(time.Second), now)
	}
	full := c.bytes
	now = now.Add(time.Second)
	if _, ok := c.Get(testKey(1), now); ok {
		t.Error("a value was there at the time it expires")
	}
	for i := range 20_000/(sweepStep-1) + 1 {
		c.Put(testKey(100_000+i), nil, 0, now.Add(time.Second), now)
	}
	if len(c.slots) != 20_000/(sweepStep-1)+1 || c.bytes > full/20 {
		t.Errorf("%d values of %d bytes after a third as many puts; they had %d bytes", len(c.slots), c.bytes, full)
	}
}

// What the weights come to is what the process has, for values of any number
// and size, and after they have gone.
func TestCacheWeighsAll(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return int64(s.HeapAlloc)
	}
	for _, size := range []int{0, 100, 4096} {
		for _, n := range []int{900, 7200, 20_000, 29_000} { // 7200 and 29 000: a map that just doubled
			now := time.Now()
			c := &testCache{max: 16 << 20, maxEntry: 1 << 20}
			before := heap()
			for i := range n {
				var v []byte
				if size > 0 {
					v = make([]byte, size)
				}
				c.Put(testKey(i), v, int64(size), now.Add(time.Second), now)
			}
			used := heap() - before
			if used > c.bytes*11/10+4096 || c.bytes > c.max {
				t.Errorf("%d values of %d bytes: %d bytes of heap, weighed as %d", n, size, used, c.bytes)
			}
			now = now.Add(time.Minute)
			for range n/(sweepStep-1) + 1 {
				c.Put(testKey(-1), nil, 0, now.Add(time.Second), now)
			}
			if left := heap() - before; left > max(used/4, 200_000) {
				t.Errorf("%d values of %d bytes: %d bytes of heap are left of %d when all have expired", n, size, left, used)
			}
			runtime.KeepAlive(c)
		}
	}
}

func TestCacheConcurrently(t *testing.T) {
	c := &testCache{max: 50_000, maxEntry: 5000}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 0))
			for range 2000 {
				i, now := rng.IntN(64), time.Now()
				k := testKey(i)
				switch rng.IntN(8) {
				case 0:
					c.Delete(k)
				case 1, 2, 3:
					c.Put(k, k[:], int64(rng.IntN(6000)), now.Add(time.Duration(rng.IntN(1000))*time.Microsecond), now)
				case 4:
					for k, v := range c.All(now) {
						if !bytes.Equal(k[:], v) {
							t.Errorf("%s is under %s", v, k)
						}
					}
				default:
					if v, ok := c.Get(k, now); ok && !bytes.Equal(k[:], v) {
						t.Errorf("%s is under %s", v, k)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestCacheGetAllocatesNothing(t *testing.T) {
	now := time.Now()
	c := &testCache{max: 1 << 20, maxEntry: 1 << 17}
	c.Put(testKey(1), []byte("one"), 3, now.Add(time.Hour), now)
	if n := testing.AllocsPerRun(100, func() { c.Get(testKey(1), now) }); n > 1 { // one is testKey's
		t.Errorf("a hit makes %v allocations", n-1)
	}
}

func TestCacheZeroHoldsNothing(t *testing.T) {
	now := time.Now()
	var c testCache
	if c.Put(testKey(1), nil, 0, now.Add(time.Hour), now) {
		t.Error("Put = true, want false")
	}
	if _, ok := c.Get(testKey(1), now); ok || c.Delete(testKey(1)) || len(c.All(now)) != 0 {
		t.Error("the zero Cache holds a value")
	}
}
