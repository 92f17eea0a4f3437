package keyed

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

type state struct {
	key  Key
	busy atomic.Bool
}

func (s *state) Evictable(time.Time) bool { return !s.busy.Load() }

func newState(k Key) *state { return &state{key: k} }

func named(i int) Key { return Key{Custom: fmt.Sprintf("%05d", i)} }

func TestMapHoldsOneStateAKey(t *testing.T) {
	var m Map[*state]
	now := time.Now()
	if _, ok := m.Find(named(1)); ok {
		t.Error("Find = ok in the zero Map")
	}
	one := m.Get(named(1), now, newState)
	two := m.Get(named(2), now, newState)
	if one == two || one.key != named(1) || two.key != named(2) {
		t.Fatalf("Get = %+v and %+v, want a state of its own for each key", one, two)
	}
	for range 2 { // the second Get of a key is the one that compares
		if m.Get(named(1), now, newState) != one || m.Get(named(2), now, newState) != two {
			t.Error("Get makes a second state for a key")
		}
	}
	if s, ok := m.Find(named(1)); !ok || s != one {
		t.Errorf("Find = %v, %v, want the state of Get", s, ok)
	}
	if _, ok := m.Find(named(3)); ok {
		t.Error("Find = ok for a key that nobody used")
	}
}

func TestMapAll(t *testing.T) {
	var m Map[*state]
	now := time.Now()
	for _, i := range []int{3, 1, 2} {
		m.Get(named(i), now, newState)
	}
	var got []string
	for name, s := range m.All() {
		if name != s.key.String() {
			t.Errorf("%q has the state of %q", name, s.key)
		}
		m.Get(Key{Custom: "of the loop"}, now, newState)
		if got = append(got, name); len(got) == 2 {
			break
		}
	}
	if want := []string{"00001", "00002"}; !slices.Equal(got, want) {
		t.Errorf("All = %q, want %q", got, want)
	}
}

// A full Map forgets what was used longest ago, of a sample, and nothing that is
// in use. It grows if all is in use, and shrinks again.
func TestMapEvicts(t *testing.T) {
	var m Map[*state]
	start := time.Now()
	for i := range maxKeys {
		m.Get(named(i), start, newState).busy.Store(true)
	}
	for i := range 100 {
		m.Get(named(maxKeys+i), start, newState).busy.Store(true)
	}
	if n := len(m.entries); n != maxKeys+100 {
		t.Fatalf("%d states, want all of %d that are in use", n, maxKeys+100)
	}
	for _, s := range m.All() {
		s.busy.Store(false)
	}
	recent := named(5)
	for i := range 2000 {
		now := start.Add(time.Duration(i+1) * time.Minute)
		m.Get(recent, now, newState)
		m.Get(named(100_000+i), now, newState)
	}
	if n := len(m.entries); n != maxKeys {
		t.Errorf("%d states, want %d", n, maxKeys)
	}
	if _, ok := m.Find(recent); !ok {
		t.Error("a state in constant use was forgotten")
	}
	forgotten := 0
	for i := range 2000 {
		if _, ok := m.Find(named(100_000 + i)); !ok {
			forgotten++
		}
	}
	if forgotten > 200 {
		t.Errorf("%d of the 2000 newest states were forgotten, want few: there are older ones", forgotten)
	}
}

func TestMapForgetsTheLastToo(t *testing.T) {
	var m Map[*state]
	now := time.Now()
	first := m.Get(named(0), now, newState)
	for i := 1; i < maxKeys; i++ {
		m.Get(named(i), now, newState).busy.Store(true)
	}
	if m.Get(named(0), now, newState) != first {
		t.Fatal("Get makes a second state for a key")
	}
	m.Get(named(maxKeys), now, newState) // named(0) is the only one that can go
	if m.Get(named(0), now, newState) == first {
		t.Error("Get returns a state that was forgotten: two goroutines may have two states of one key")
	}
}

func TestMapConcurrently(t *testing.T) {
	var m Map[*state]
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				k := named(i % 7)
				if s := m.Get(k, time.Now(), newState); s.key != k {
					t.Errorf("Get(%v) = the state of %v", k, s.key)
				}
				if i%100 == 0 {
					for range m.All() {
					}
				}
			}
		})
	}
	wg.Wait()
	if n := len(m.entries); n != 7 {
		t.Errorf("%d states, want 7", n)
	}
}

func TestMapGetAllocatesNothing(t *testing.T) {
	var m Map[*state]
	now := time.Now()
	keys := []Key{{Scheme: "https", Host: "h", Model: "a"}, {Scheme: "https", Host: "h", Model: "b"}}
	for _, k := range keys {
		m.Get(k, now, newState)
	}
	if n := testing.AllocsPerRun(100, func() {
		for _, k := range keys {
			m.Get(k, now, newState)
			m.Find(k)
		}
	}); n != 0 {
		t.Errorf("Get and Find allocate %v times", n)
	}
}
