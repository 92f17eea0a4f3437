package breaker

import (
	"math/rand/v2"
	"testing"
	"time"
)

const improbable = 1e-8

// rowsOf returns a circuit that has seen so many results, of which a share failed by
// chance, and how often it opened.
func rowsOf(t *testing.T, share float64, results int, seed uint64) (r *rig, opened int) {
	r = newRig(t, Config{Chance: improbable, Ratio: noRatio})
	dice := rand.New(rand.NewPCG(seed, 1))
	for range results {
		r.after(100 * time.Millisecond)
		if r.c.Snapshot(r.now).State == Open {
			opened++
			r.after(r.refused())
		}
		result := Alive
		if dice.Float64() < share {
			result = Failed
		}
		r.end(r.send(), result)
	}
	return r, opened
}

// Failures by chance open no circuit, however many they are, once it knows their share.
func TestHistoryExplainsChance(t *testing.T) {
	for _, share := range []float64{0, 0.1, 0.3, 0.5, 0.7, 0.8} {
		for seed := range uint64(10) {
			r, _ := rowsOf(t, share/2, 200, seed) // it has grown
			dice := rand.New(rand.NewPCG(seed, 2))
			for i := range 10_000 {
				result := Alive
				if dice.Float64() < share {
					result = Failed
				}
				r.after(20 * time.Millisecond)
				r.end(r.send(), result)
				if r.c.Snapshot(r.now).State != Closed {
					t.Fatalf("a share of %v, seed %d: open after %d results", share, seed, i)
				}
			}
		}
	}
}

// A service without any success opens the circuit: after ten results where it worked
// well before, and after more the more of them had failed.
func TestHistoryRowOpens(t *testing.T) {
	for _, tt := range []struct {
		share    float64
		lo, most int
	}{{0, 10, 10}, {0.1, 10, 13}, {0.3, 10, 25}, {0.5, 18, 45}, {0.7, 35, 90}, {0.95, 100, 175}} {
		for seed := range uint64(10) {
			r, _ := rowsOf(t, tt.share, 2000, seed)
			if r.c.Snapshot(r.now).State != Closed {
				continue
			}
			r.run("s")
			n := 0
			for r.after(time.Second); r.c.Snapshot(r.now).State == Closed; n++ {
				r.run("f")
			}
			if n < tt.lo || n > tt.most {
				t.Errorf("a share of %v, seed %d: open after %d failures, want %d to %d", tt.share, seed, n, tt.lo, tt.most)
			}
		}
	}
}

// What was long ago says nothing about a row of today.
func TestHistoryFades(t *testing.T) {
	r, _ := rowsOf(t, 0.6, 1000, 1)
	r.run("s").after(2 * time.Hour).run("s").after(time.Second).run("fffffffff").is(Closed).run("f").is(Open)
}

// A row of failures does not make itself look usual.
func TestHistoryLeavesOutTheRow(t *testing.T) {
	var h history
	now := time.Now()
	h.add(now, 0)
	if h.explains(10, 10, improbable, now.Add(time.Second)) {
		t.Error("ten failures are explained where none was seen")
	}
	h.add(now, 40)
	if s := h.share(); s < 0.5 {
		t.Errorf("share = %v after 40 failures and a success, want most of them counted", s)
	}
}

// Ten failures within a second of a success are nothing where requests are many; 50 are.
func TestHistoryBurst(t *testing.T) {
	r := newRig(t, Config{Chance: improbable, Ratio: noRatio}).run("s")
	for range 49 {
		r.run("f").after(time.Millisecond).is(Closed)
	}
	r.run("f").is(Open)
	newRig(t, Config{Chance: improbable, Ratio: noRatio}).run("s").after(time.Second - 1).run("ffffffffff").is(Closed).after(1).run("f").is(Open)
	newRig(t, Config{Chance: improbable, Ratio: noRatio}).run("ffffffffff").is(Open)
}
