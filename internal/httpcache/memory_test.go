package httpcache

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

type testMemory = memory[[32]byte, []byte]

func memoryKey(i int) (k [32]byte) {
	copy(k[:], fmt.Sprint(i))
	return k
}

// sieve is memory at its plainest: a slice, searched from end to end.
type sieve struct {
	max, maxEntry int64
	queue         []sieved // the oldest first
	hand, broom   int      // len(queue) is the turn
}

type sieved struct {
	key    [32]byte
	value  []byte
	weight int64
	until  time.Time
	asked  bool
}

func (s *sieve) find(k [32]byte) int {
	return slices.IndexFunc(s.queue, func(e sieved) bool { return e.key == k })
}

func (s *sieve) drop(i int) {
	s.queue = slices.Delete(s.queue, i, i+1)
	if s.hand > i {
		s.hand--
	}
	if s.broom > i {
		s.broom--
	}
}

func (s *sieve) get(k [32]byte, now time.Time) ([]byte, bool) {
	i := s.find(k)
	if i < 0 {
		return nil, false
	}
	if !now.Before(s.queue[i].until) {
		s.drop(i)
		return nil, false
	}
	s.queue[i].asked = true
	return s.queue[i].value, true
}

func (s *sieve) bytes() (sum int64) {
	for _, e := range s.queue {
		sum += e.weight
	}
	return sum
}

func (s *sieve) put(k [32]byte, v []byte, weight int64, until, now time.Time) bool {
	if weight > s.maxEntry || !now.Before(until) {
		return false
	}
	e := sieved{key: k, value: v, weight: weight, until: until}
	if i := s.find(k); i >= 0 {
		e.asked = s.queue[i].asked
		s.drop(i)
	}
	for range 4 {
		if s.broom == len(s.queue) {
			s.broom = 0
		} else if !now.Before(s.queue[s.broom].until) {
			s.drop(s.broom)
		} else {
			s.broom++
		}
	}
	for s.bytes()+weight > s.max {
		if s.hand == len(s.queue) {
			s.hand = 0
		} else if h := &s.queue[s.hand]; h.asked && now.Before(h.until) {
			h.asked = false
			s.hand++
		} else {
			s.drop(s.hand)
		}
	}
	// A hand at the turn stays there, behind what is new.
	if s.hand == len(s.queue) {
		s.hand++
	}
	if s.broom == len(s.queue) {
		s.broom++
	}
	s.queue = append(s.queue, e)
	return true
}

// FuzzMemory compares memory with the plain sieve, operation by operation.
func FuzzMemory(f *testing.F) {
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
		m := &testMemory{max: 8000, maxEntry: 3000}
		plain := &sieve{max: 8000, maxEntry: 3000}
		for step := 0; len(script) >= 3; step++ {
			op, k, size := script[0], memoryKey(int(script[1]%24)), int64(script[2])*16
			script = script[3:]
			switch op % 8 {
			case 0, 1, 2:
				v, until := []byte(fmt.Sprint(step)), now.Add(time.Duration(op/8)*time.Second)
				got, want := m.put(k, v, size, until, now), plain.put(k, v, m.weight(size), until, now)
				if got != want {
					t.Fatalf("step %d: put = %v, want %v", step, got, want)
				}
			case 3, 4, 5:
				got, ok := m.get(k, now)
				want, wantOK := plain.get(k, now)
				if ok != wantOK || !bytes.Equal(got, want) {
					t.Fatalf("step %d: get = %s, %v; want %s, %v", step, got, ok, want, wantOK)
				}
			case 6:
				i := plain.find(k)
				if got := m.delete(k); got != (i >= 0) {
					t.Fatalf("step %d: delete = %v", step, got)
				}
				if i >= 0 {
					plain.drop(i)
				}
			case 7:
				now = now.Add(time.Duration(op/8) * time.Second / 4)
			}
			if m.bytes != plain.bytes() || m.bytes > m.max || len(m.m) != len(plain.queue) {
				t.Fatalf("step %d: %d values of %d bytes, want %d of %d", step, len(m.m), m.bytes, len(plain.queue), plain.bytes())
			}
			all, want := m.all(now), 0
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

func TestMemoryOversizedEvictsNothing(t *testing.T) {
	now := time.Now()
	until := now.Add(time.Hour)
	m := &testMemory{max: 1 << 20, maxEntry: 1 << 17}
	for i := range 100 {
		m.put(memoryKey(i), nil, 4096, until, now)
	}
	for _, size := range []int64{1<<17 + 1, 1 << 20, 64 << 20, 1 << 62} {
		for _, k := range []int{7, 1000} { // one that is there, one that is not
			if m.put(memoryKey(k), []byte("large"), size, until, now) {
				t.Errorf("%d bytes were kept in %d", size, m.max)
			}
		}
	}
	for i := range 100 {
		if v, ok := m.get(memoryKey(i), now); !ok || v != nil {
			t.Fatalf("value %d is %q, %v after others were too large", i, v, ok)
		}
	}
	if m = (&testMemory{max: 1000, maxEntry: 1 << 62}); m.put(memoryKey(1), nil, 1001, until, now) {
		t.Error("1001 bytes were kept in 1000, without a bound for one value")
	}
}

// A scan of what is asked for once leaves what is asked for often.
func TestMemoryScan(t *testing.T) {
	now := time.Now()
	m := &testMemory{max: 1 << 20, maxEntry: 1 << 17}
	hot := func() (there int) {
		for i := range 100 {
			if _, ok := m.get(memoryKey(i), now); ok {
				there++
			} else {
				m.put(memoryKey(i), nil, 2000, now.Add(time.Hour), now)
			}
		}
		return there
	}
	hot()
	for i := range 20_000 {
		if i%1000 == 0 {
			if there := hot(); there != 100 && i > 0 {
				t.Fatalf("%d of 100 values that are asked for all the time are there after %d others", there, i)
			}
		}
		m.put(memoryKey(1000+i), nil, 2000, now.Add(time.Hour), now)
	}
}

func TestMemoryForgetsTheExpired(t *testing.T) {
	now := time.Now()
	m := &testMemory{max: 1 << 30, maxEntry: 1 << 20}
	for i := range 20_000 {
		m.put(memoryKey(i), nil, 4096, now.Add(time.Second), now)
	}
	full := m.bytes
	now = now.Add(time.Second)
	if _, ok := m.get(memoryKey(1), now); ok {
		t.Error("a value was there at the time it expires")
	}
	for i := range 20_000/(swept-1) + 1 {
		m.put(memoryKey(100_000+i), nil, 0, now.Add(time.Second), now)
	}
	if len(m.m) != 20_000/(swept-1)+1 || m.bytes > full/20 {
		t.Errorf("%d values of %d bytes after a third as many puts; they had %d bytes", len(m.m), m.bytes, full)
	}
}

// What the weights come to is what the process has, for values of any number
// and size, and after they have gone.
func TestMemoryWeighsAll(t *testing.T) {
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
			m := &testMemory{max: 16 << 20, maxEntry: 1 << 20}
			before := heap()
			for i := range n {
				var v []byte
				if size > 0 {
					v = make([]byte, size)
				}
				m.put(memoryKey(i), v, int64(size), now.Add(time.Second), now)
			}
			used := heap() - before
			if used > m.bytes*11/10+4096 || m.bytes > m.max {
				t.Errorf("%d values of %d bytes: %d bytes of heap, weighed as %d", n, size, used, m.bytes)
			}
			now = now.Add(time.Minute)
			for range n/(swept-1) + 1 {
				m.put(memoryKey(-1), nil, 0, now.Add(time.Second), now)
			}
			if left := heap() - before; left > max(used/4, 200_000) {
				t.Errorf("%d values of %d bytes: %d bytes of heap are left of %d when all have expired", n, size, left, used)
			}
			runtime.KeepAlive(m)
		}
	}
}

func TestMemoryConcurrently(t *testing.T) {
	m := &testMemory{max: 50_000, maxEntry: 5000}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 0))
			for range 2000 {
				i, now := rng.IntN(64), time.Now()
				k := memoryKey(i)
				switch rng.IntN(8) {
				case 0:
					m.delete(k)
				case 1, 2, 3:
					m.put(k, k[:], int64(rng.IntN(6000)), now.Add(time.Duration(rng.IntN(1000))*time.Microsecond), now)
				case 4:
					for k, v := range m.all(now) {
						if !bytes.Equal(k[:], v) {
							t.Errorf("%s is under %s", v, k)
						}
					}
				default:
					if v, ok := m.get(k, now); ok && !bytes.Equal(k[:], v) {
						t.Errorf("%s is under %s", v, k)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestMemoryGetAllocatesNothing(t *testing.T) {
	now := time.Now()
	m := &testMemory{max: 1 << 20, maxEntry: 1 << 17}
	m.put(memoryKey(1), []byte("one"), 3, now.Add(time.Hour), now)
	if n := testing.AllocsPerRun(100, func() { m.get(memoryKey(1), now) }); n > 1 { // one is memoryKey's
		t.Errorf("a hit makes %v allocations", n-1)
	}
}
