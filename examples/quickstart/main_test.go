package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber/snubbertest"
)

func TestQuickstart(t *testing.T) {
	t.Parallel()
	f := &fake{rpm: 30, burst: 10, minute: 3 * time.Second, latency: 50 * time.Millisecond, from: 900 * time.Millisecond, until: 1100 * time.Millisecond}
	a := api{model: "gpt-4o-mini", rpm: f.trueRPM(), fake: f}
	l := load{calls: 18, workers: 18}
	var results []result
	for _, c := range contenders(a.rpm) {
		var out strings.Builder
		r := l.run(t.Context(), a, c, watch(&out, c.name))
		if c.protected && r.lost() > 0 {
			t.Errorf("%s lost %v", c.name, r.reasons)
		}
		why := 0
		for _, n := range r.reasons {
			why += n
		}
		if why != r.lost() {
			t.Errorf("%s lost %d calls for %d reasons", c.name, r.lost(), why)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if want := fmt.Sprintf("%3d of 18 succeeded", r.succeeded); !strings.Contains(lines[len(lines)-1], want) {
			t.Errorf("%s ends with %q, want %q", c.name, lines[len(lines)-1], want)
		}
		results = append(results, r)
	}
	if len(results) != 3 {
		t.Fatalf("%d contenders, want 3", len(results))
	}

	text := table(results)
	t.Log("\n" + text)
	lines := strings.Split(text, "\n")
	for i, r := range results {
		line := lines[i+1]
		if len(line) != len(lines[0]) {
			t.Errorf("the row %q is not as long as the head", line)
		}
		var calls, succeeded, lost, wire, wasted int
		if _, err := fmt.Sscan(strings.TrimPrefix(line, r.name), &calls, &succeeded, &lost, &wire, &wasted); err != nil {
			t.Fatalf("the row %q: %v", line, err)
		}
		if calls != l.calls || succeeded+lost != calls || succeeded+wasted != wire || wire < calls {
			t.Errorf("the row %q does not add up", line)
		}
		if r.took < f.latency || r.ideal != 850*time.Millisecond { // 8 calls have to wait for a token, 0.1 s each
			t.Errorf("%s took %v against the ideal %v", r.name, r.took, r.ideal)
		}
	}
	// Who knows the quota is turned away by the outage alone, or by a token
	// that came a moment late.
	if bare, knows := results[0], results[2]; knows.wire >= bare.wire {
		t.Errorf("the limiter that knows the quota made %d wire calls, the bare SDK %d", knows.wire, bare.wire)
	}
}

// A real API is asked with the key, and what it says is not shown: it may
// repeat the key.
func TestRealAPI(t *testing.T) {
	t.Parallel()
	const key = "sk-secret"
	p := &snubbertest.Provider{}
	p.Script(snubbertest.Reply{Status: 401, Body: `{"error":{"message":"Incorrect API key provided: ` + key + `"}}`})
	srv := snubbertest.NewServer(p)
	defer srv.Close()

	a := api{url: srv.URL + "/v1", key: key, model: "some-model"}
	all := contenders(a.rpm)
	if len(all) != 2 {
		t.Fatalf("%d contenders where the quota is not known, want 2", len(all))
	}
	var out strings.Builder
	r := load{calls: 3, workers: 1}.run(t.Context(), a, all[1], watch(&out, all[1].name))
	if r.succeeded != 2 || r.reasons["401 Unauthorized"] != 1 || r.wire != 3 || r.ideal != 0 {
		t.Errorf("the result is %+v", r)
	}
	if text := fmt.Sprint(a, out.String(), table([]result{r})); strings.Contains(text, key) {
		t.Errorf("the key is shown: %s", text)
	}
	if c := p.Calls()[0]; c.Header.Get("Authorization") != "Bearer "+key || c.Model != "some-model" {
		t.Errorf("the provider was asked for %q", c.Model)
	}
}

func TestIdeal(t *testing.T) {
	t.Parallel()
	f := &fake{rpm: 60, burst: 10, minute: time.Minute, latency: time.Second, from: 20 * time.Second, until: 30 * time.Second}
	for _, test := range []struct {
		l    load
		want time.Duration
	}{
		{load{1, 1}, time.Second},
		{load{10, 10}, time.Second},
		{load{10, 1}, 10 * time.Second}, // one after the other
		{load{15, 15}, 6 * time.Second},
		{load{35, 35}, 31 * time.Second}, // the last would be sent in the outage
		{load{50, 50}, 41 * time.Second},
	} {
		if got := f.ideal(test.l); got != test.want {
			t.Errorf("ideal of %v = %v, want %v", test.l, got, test.want)
		}
	}
}
