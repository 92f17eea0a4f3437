package snubber_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// still returns a Budget that time does not fill.
func still(capacity, deposit float64) *snubber.Budget {
	return &snubber.Budget{Capacity: capacity, Deposit: deposit, PerSecond: -1}
}

// spend makes one call and returns how many attempts it took.
func spend(t *testing.T, tr *snubber.Transport, req *http.Request) int {
	t.Helper()
	before := tr.Base.(*wiretest.Script).Sent()
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	wiretest.ReadAll(t, res)
	return tr.Base.(*wiretest.Script).Sent() - before
}

// A total outage costs fifty retries over all calls together, and then each call
// returns its first response without any wait.
func TestBudgetOutageCostsFiftyRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Status: 500}), Retry: &snubber.Retry{Budget: still(0, 0)}}
		for i, want := range []int{5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 3, 1, 1, 1} {
			start := time.Now()
			if n := spend(t, tr, wiretest.Chat(t)); n != want {
				t.Errorf("call %d: %d attempts, want %d", i, n, want)
			}
			if want == 1 && time.Since(start) != 0 {
				t.Errorf("call %d waited %v with an empty budget", i, time.Since(start))
			}
		}
	})
	// Calls that run together share the same ten retries.
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{Budget: still(0, 0)}}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if res, err := tr.RoundTrip(wiretest.Chat(t)); err == nil {
					wiretest.ReadAll(t, res)
				}
			})
		}
		wg.Wait()
		if n := base.Sent(); n != 150 {
			t.Errorf("100 calls made %d attempts, want 150", n)
		}
	})
}

// Each rule of the budget alone: what fills it, its capacity, and what a
// negative value switches off.
func TestBudgetRules(t *testing.T) {
	down, up := wiretest.Step{Status: 500}, wiretest.Step{}
	repeat := func(n int, ss ...wiretest.Step) (all []wiretest.Step) {
		for range n {
			all = append(all, ss...)
		}
		return all
	}
	for _, tt := range []struct {
		name   string
		budget *snubber.Budget
		steps  []wiretest.Step
		rest   time.Duration // wait before each call
		want   []int         // attempts of each call
	}{
		{"capacity", still(2, 0), repeat(9, down), 0, []int{3, 1, 1}},
		{"less than a retry", still(0.9, 0), repeat(9, down), 0, []int{1, 1}},
		{"no bound", still(-1, 0), repeat(99, down), 0, []int{5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5}},
		{"not a number", still(math.NaN(), 0), repeat(99, down), 0, []int{5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 3, 1}},
		{"a retry that succeeds is paid back", still(1, -1), repeat(5, down, up), 0, []int{2, 2, 2, 2, 2}},
		{"one that fails is not", still(2, -1), repeat(9, down), 0, []int{3, 1}},
		{"only the retry that succeeds", still(3, -1), repeat(9, down, down, up), 0, []int{3, 3, 2}},
		{"no deposit", still(1, -1), append([]wiretest.Step{down, down}, append(repeat(9, up), repeat(9, down)...)...), 0, []int{2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
		{"time", &snubber.Budget{Capacity: 1, PerSecond: 0.25}, repeat(99, down), 4 * time.Second, []int{2, 2, 2, 2}},
		{"not enough time", &snubber.Budget{Capacity: 1, PerSecond: 0.125}, repeat(99, down), 4 * time.Second, []int{2, 1, 2, 1}},
		{"never above capacity", &snubber.Budget{Capacity: 2}, repeat(99, down), 10 * time.Hour, []int{3, 3, 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Base: wiretest.Play(tt.steps...), Retry: &snubber.Retry{Budget: tt.budget, MinBackoff: -1}}
				for i, want := range tt.want {
					time.Sleep(tt.rest)
					if n := spend(t, tr, wiretest.Chat(t)); n != want {
						t.Errorf("call %d: %d attempts, want %d", i, n, want)
					}
				}
			})
		})
	}
}

// A deposit comes with the first attempt of a call, when its body has ended.
func TestBudgetDeposit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{Status: 500}, wiretest.Step{Status: 500},
			wiretest.Step{}, wiretest.Step{Status: 500}, wiretest.Step{}, wiretest.Step{Status: 500}, wiretest.Step{Status: 500}, wiretest.Step{Status: 500})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{Budget: still(1, 0.5)}}
		for i, want := range []int{
			2, // takes the one retry
			1, // is refused
			1, // a success adds half a retry
			1, // half a retry is not enough
			1, // another success adds the other half
			2, // one retry is enough
			1,
		} {
			if n := spend(t, tr, wiretest.Chat(t)); n != want {
				t.Errorf("call %d: %d attempts, want %d", i, n, want)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		tr := &snubber.Transport{
			Base:  wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{Status: 500}, wiretest.Step{Do: wiretest.SSE(wiretest.Chunk{Text: wiretest.DeltaEvent}, wiretest.Chunk{Text: wiretest.DoneEvent})}, wiretest.Step{Status: 500}, wiretest.Step{Status: 500}, wiretest.Step{}),
			Retry: &snubber.Retry{Budget: still(1, 1)},
		}
		spend(t, tr, wiretest.Chat(t))
		res, err := tr.RoundTrip(wiretest.Chat(t))
		if err != nil {
			t.Fatal(err)
		}
		if n := spend(t, tr, wiretest.Chat(t)); n != 1 {
			t.Errorf("%d attempts before the answer's end, want 1", n)
		}
		wiretest.ReadAll(t, res)
		if n := spend(t, tr, wiretest.Chat(t)); n != 2 {
			t.Errorf("%d attempts after it, want 2", n)
		}
	})
}

// The defaults: five retries for a success, be it of a retry, and a tenth for a second.
func TestBudgetDefaults(t *testing.T) {
	down, up := wiretest.Step{Status: 500}, wiretest.Step{}
	for _, tt := range []struct {
		name  string
		steps []wiretest.Step // of the calls between the outage and the next
		calls int
		rest  time.Duration
		want  int
	}{
		{"nothing", nil, 0, 0, 1},
		{"a success", []wiretest.Step{up}, 1, 0, 5},
		{"a success of a retry", []wiretest.Step{down, up}, 1, 10 * time.Second, 5},
		{"nine seconds", nil, 0, 9 * time.Second, 1},
		{"eleven seconds", nil, 0, 11 * time.Second, 2},
		{"an hour", nil, 0, time.Hour, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := wiretest.Play(down)
				tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{MinBackoff: -1}}
				for range 13 {
					spend(t, tr, wiretest.Chat(t))
				}
				time.Sleep(tt.rest)
				base.Steps = append(make([]wiretest.Step, base.Sent()), tt.steps...)
				for range tt.calls {
					spend(t, tr, wiretest.Chat(t))
				}
				base.Steps = []wiretest.Step{down}
				if n := spend(t, tr, wiretest.Chat(t)); n != tt.want {
					t.Errorf("%d attempts, want %d", n, tt.want)
				}
			})
		})
	}
}

// The last two of the usual attempts are made only while most attempts succeed: where
// many fail, a call makes as many as an SDK does. A MaxAttempts of the user's is made
// as it is.
func TestBudgetExtraAttempts(t *testing.T) {
	for _, tt := range []struct {
		max, share int // of failures in the past, in percent
		want       int
	}{{0, 0, 5}, {0, 20, 5}, {0, 50, 3}, {0, 70, 3}, {5, 70, 5}} {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			fail := func(*http.Request) (*http.Response, error) {
				return wiretest.Response(500, strings.NewReader("no")), nil
			}
			base := wiretest.Play(wiretest.Step{Do: func(req *http.Request) (*http.Response, error) {
				if n++; n*tt.share%100 < tt.share {
					return fail(req)
				}
				return wiretest.Response(200, strings.NewReader("{}")), nil
			}})
			tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{MaxAttempts: tt.max, MinBackoff: -1}}
			for range 600 {
				spend(t, tr, wiretest.Chat(t))
			}
			base.Steps = []wiretest.Step{{Do: fail}}
			if n := spend(t, tr, wiretest.Chat(t)); n != tt.want {
				t.Errorf("MaxAttempts %d, %d %% fail: %d attempts, want %d", tt.max, tt.share, n, tt.want)
			}
		})
	}
}

// A budget is counted per circuit key: origin and model, not the credential,
// and what the Breaker's Key says where there is one.
func TestBudgetKeys(t *testing.T) {
	other := `{"model":"other","messages":[]}`
	for _, tt := range []struct {
		name    string
		breaker *snubber.Breaker
		url     string
		body    string
		header  []string
		want    int
	}{
		{"the same", nil, wiretest.ChatURL, wiretest.ChatBody, nil, 1},
		{"another credential", nil, wiretest.ChatURL, wiretest.ChatBody, []string{"Authorization", "Bearer other"}, 1},
		{"another path", nil, "https://api.example.com/v1/responses", `{"model":"m","input":"hi"}`, nil, 1},
		{"another model", nil, wiretest.ChatURL, other, nil, 2},
		{"another host", nil, "https://eu.example.com/v1/chat/completions", wiretest.ChatBody, nil, 2},
		{"another scheme", nil, "http://api.example.com/v1/chat/completions", wiretest.ChatBody, nil, 2},
		{"another model under a breaker", &snubber.Breaker{Failures: -1, Ratio: -1}, wiretest.ChatURL, other, nil, 2},
		{"one key for all", &snubber.Breaker{Failures: -1, Ratio: -1, Key: func(*http.Request) string { return "all" }}, wiretest.ChatURL, other, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{
					Base: wiretest.Play(wiretest.Step{Status: 500}), Breaker: tt.breaker,
					Retry: &snubber.Retry{Budget: still(1, 0)},
				}
				if n := spend(t, tr, wiretest.Chat(t, "Authorization", "Bearer one")); n != 2 {
					t.Fatalf("first call: %d attempts, want 2", n)
				}
				if n := spend(t, tr, wiretest.NewRequest(t, "POST", tt.url, tt.body, tt.header...)); n != tt.want {
					t.Errorf("second call: %d attempts, want %d", n, tt.want)
				}
			})
		})
	}
}

// Two Retries with one Budget share it. Two Retries without a Budget share
// nothing.
func TestBudgetShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := still(1, 0)
		one := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Status: 500}), Retry: &snubber.Retry{Budget: shared}}
		two := &snubber.Transport{Base: wiretest.Play(wiretest.Step{Status: 500}), Retry: &snubber.Retry{Budget: shared}}
		if a, b := spend(t, one, wiretest.Chat(t)), spend(t, two, wiretest.Chat(t)); a != 2 || b != 1 {
			t.Errorf("%d and %d attempts, want 2 and 1", a, b)
		}
		one.Retry, two.Retry = &snubber.Retry{}, &snubber.Retry{}
		if a, b := spend(t, one, wiretest.Chat(t)), spend(t, two, wiretest.Chat(t)); a != 5 || b != 5 {
			t.Errorf("%d and %d attempts, want 5 and 5", a, b)
		}
	})
}

// A retry that took budget and was never sent gives the budget back.
func TestBudgetRefundsRetryNeverSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := &snubber.Budget{Capacity: 1, PerSecond: -1, Deposit: -1}
		base := wiretest.Play(wiretest.Step{Status: 500}, wiretest.Step{Status: 500}, wiretest.Step{Body: "{}"})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{Budget: budget, MinBackoff: time.Second}}
		ctx, cancel := context.WithCancel(t.Context())
		done := wiretest.Launch(tr, wiretest.NewRequest(t, "GET", "http://x.test/", "").WithContext(ctx))
		synctest.Wait()
		cancel()
		if e := <-done; !errors.Is(e.Err, context.Canceled) {
			t.Fatalf("%+v, want context.Canceled", e)
		}
		if e := <-wiretest.Launch(tr, wiretest.NewRequest(t, "GET", "http://x.test/", "")); e.Status != 200 {
			t.Errorf("%+v, want a retry and its 200", e)
		}
	})
}
