package snubbertest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/neterr"
	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// fate is what a client sees of a call.
func fate(p http.RoundTripper, req *http.Request) (status int, body string, err error) {
	res, err := p.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

func TestErrorFaults(t *testing.T) {
	for _, tt := range []struct {
		f      snubbertest.Fault
		path   string
		status int
		want   string
	}{
		{snubbertest.Fault{Kind: snubbertest.RateLimited, RetryAfter: "soon"}, chatPath, 429, `"code":"rate_limit_exceeded"`},
		{snubbertest.Fault{Kind: snubbertest.RateLimited, RetryAfter: "-1"}, messagesPath, 429, `"type":"rate_limit_error"`},
		{snubbertest.Fault{Kind: snubbertest.RateLimited, RetryAfter: "86400"}, geminiPath, 429, `"retryDelay":"86400s"`},
		{snubbertest.Fault{Kind: snubbertest.RateLimited, RetryAfter: "1e99h"}, geminiPath, 429, `"retryDelay":"1e99h"`},
		{snubbertest.Fault{Kind: snubbertest.QuotaExhausted}, chatPath, 429, `"code":"insufficient_quota"`},
		{snubbertest.Fault{Kind: snubbertest.QuotaExhausted}, messagesPath, 402, `"type":"billing_error"`},
		{snubbertest.Fault{Kind: snubbertest.QuotaExhausted}, geminiPath, 429, `PerDay`},
		{snubbertest.Fault{Kind: snubbertest.Overloaded}, chatPath, 503, `"code":"server_is_overloaded"`},
		{snubbertest.Fault{Kind: snubbertest.Overloaded, RetryAfter: "9"}, messagesPath, 529, `"type":"overloaded_error"`},
		{snubbertest.Fault{Kind: snubbertest.Overloaded}, geminiPath, 503, `"status":"UNAVAILABLE"`},
		{snubbertest.Fault{Kind: snubbertest.ServerError}, chatPath, 500, `"type":"server_error"`},
		{snubbertest.Fault{Kind: snubbertest.ServerError, Status: 503}, messagesPath, 503, `"type":"api_error"`},
		{snubbertest.Fault{Kind: snubbertest.ServerError, Status: 504}, geminiPath, 504, `"code":504`},
		{snubbertest.Fault{Kind: snubbertest.ServerError}, "/v1/files", 500, `"type":"server_error"`},
	} {
		p := &snubbertest.Provider{RequestsPerMinute: 1}
		p.Inject(tt.f)
		for range 2 { // not charged
			res, body := post(t, p, tt.path, hello[tt.path])
			if res.StatusCode != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("%v on %s: %d %s, want %d %s", tt.f.Kind, tt.path, res.StatusCode, body, tt.status, tt.want)
			}
			if got := res.Header.Get("Retry-After"); tt.path != geminiPath && got != tt.f.RetryAfter {
				t.Errorf("%v on %s: Retry-After %q", tt.f.Kind, tt.path, got)
			}
		}
		p.Clear()
		if c := p.Calls()[0]; c.Fault != tt.f.Kind || c.Status != tt.status {
			t.Errorf("recorded %+v", c)
		}
	}
}

func TestConnectionFaults(t *testing.T) {
	for _, tt := range []struct {
		kind  snubbertest.Kind
		op    string
		errno error
	}{
		{snubbertest.Outage, "dial", neterr.Refused},
		{snubbertest.Disconnect, "read", neterr.Reset},
	} {
		p := &snubbertest.Provider{}
		p.Inject(snubbertest.Fault{Kind: tt.kind})
		_, _, err := fate(p, newRequest(t.Context(), "http://fake", chatPath, hello[chatPath]))
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != tt.op || !errors.Is(err, tt.errno) {
			t.Errorf("%v: %v", tt.kind, err)
		}
		if s := p.Stats(); s.Wire != 1 || s.Failed != 1 || s.InFlight != 0 {
			t.Errorf("%v: %+v", tt.kind, s)
		}
	}
}

// events counts the events of a body and gives the last.
func events(body string) (int, string) {
	list := strings.SplitAfter(strings.ReplaceAll(body, "\r\n", "\n"), "\n\n")
	if len(list) < 2 {
		return 0, ""
	}
	return len(list) - 1, list[len(list)-2]
}

func TestStreamFaults(t *testing.T) {
	const all = 1 << 30
	paths := []string{chatPath, responsesPath, messagesPath, geminiStream}
	for _, path := range paths {
		body := hello[path]
		if path != geminiStream {
			body = streamed(body)
		}
		for _, after := range []int{-1, 0, 1, 3, all} {
			for _, tt := range []struct {
				kind snubbertest.Kind
				err  error
			}{
				{snubbertest.Truncate, nil},
				{snubbertest.Reset, neterr.Reset},
				{snubbertest.Stall, context.DeadlineExceeded},
				{snubbertest.ErrorEvent, nil},
			} {
				synctest.Test(t, func(t *testing.T) {
					_, whole := post(t, &snubbertest.Provider{}, path, body)
					full, _ := events(whole)
					want := min(max(after, 0), full-1)
					p := &snubbertest.Provider{}
					p.Inject(snubbertest.Fault{Kind: tt.kind, After: after})
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					status, got, err := fate(p, newRequest(ctx, "http://fake", path, body))
					n, last := events(got)
					if tt.kind == snubbertest.ErrorEvent {
						if !strings.Contains(last, "verloaded") {
							t.Errorf("%s: last event %q", path, last)
						}
						n--
					} else if !strings.HasPrefix(whole, got) {
						t.Errorf("%s: %v after %d: %q", path, tt.kind, after, got)
					}
					if status != 200 || n != want || !errors.Is(err, tt.err) {
						t.Errorf("%s: %v after %d: status %d, %d events of %d, %v", path, tt.kind, after, status, n, full, err)
					}
					if s := p.Stats(); s.Failed+s.Cancelled != 1 || s.InFlight != 0 {
						t.Errorf("%s: %v: %+v", path, tt.kind, s)
					}
				})
			}
		}
	}
}

func TestUnaryFaults(t *testing.T) {
	for _, tt := range []struct {
		kind snubbertest.Kind
		err  error
	}{
		{snubbertest.Truncate, io.ErrUnexpectedEOF},
		{snubbertest.Reset, neterr.Reset},
	} {
		p := &snubbertest.Provider{}
		_, whole := post(t, p, messagesPath, hello[messagesPath])
		p.Inject(snubbertest.Fault{Kind: tt.kind})
		status, got, err := fate(p, newRequest(t.Context(), "http://fake", messagesPath, hello[messagesPath]))
		if status != 200 || len(got) == 0 || len(got) >= len(whole) || !errors.Is(err, tt.err) {
			t.Errorf("%v: %d %q %v", tt.kind, status, got, err)
		}
	}
	p := &snubbertest.Provider{}
	p.Inject(snubbertest.Fault{Kind: snubbertest.ErrorEvent, Times: 1})
	if _, body := post(t, p, messagesPath, hello[messagesPath]); field(t, body, "type") != "message" {
		t.Errorf("ErrorEvent changed an answer that is no stream: %s", body)
	}
	if _, body := post(t, p, messagesPath, streamed(hello[messagesPath])); !strings.HasPrefix(body, "event: error\n") {
		t.Errorf("ErrorEvent was spent on an answer that is no stream: %s", body)
	}
}

func TestSlowCombines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &snubbertest.Provider{Latency: sec}
		p.Inject(snubbertest.Fault{Kind: snubbertest.Truncate}, snubbertest.Fault{Kind: snubbertest.Slow, Delay: 2 * sec})
		start := time.Now()
		_, _, err := fate(p, newRequest(t.Context(), "http://fake", chatPath, hello[chatPath]))
		if time.Since(start) != 3*sec || err != io.ErrUnexpectedEOF {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestWrongRetryAfter(t *testing.T) {
	p := &snubbertest.Provider{RequestsPerMinute: 1}
	p.Inject(snubbertest.Fault{Kind: snubbertest.WrongRetryAfter, RetryAfter: "0"})
	if res, _ := post(t, p, chatPath, hello[chatPath]); res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
	if res, _ := post(t, p, chatPath, hello[chatPath]); res.StatusCode != 429 || res.Header.Get("Retry-After") != "0" {
		t.Errorf("status %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
}

func TestFaultBounds(t *testing.T) {
	other := strings.Replace(hello[chatPath], `"m"`, `"other"`, 1)
	for _, tt := range []struct {
		name string
		f    snubbertest.Fault
		want []int // indices of the struck among ten calls a second apart, odd ones for another model
	}{
		{"always", snubbertest.Fault{}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{"three times", snubbertest.Fault{Times: 3}, []int{0, 1, 2}},
		{"from, until", snubbertest.Fault{From: 3 * sec, Until: 6 * sec}, []int{3, 4, 5}},
		{"model", snubbertest.Fault{Model: "other", Times: 2}, []int{1, 3}},
		{"path", snubbertest.Fault{Path: "/chat/", From: 8 * sec}, []int{8, 9}},
		{"other path", snubbertest.Fault{Path: "/embeddings"}, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &snubbertest.Provider{}
			tt.f.Kind = snubbertest.ServerError
			p.Inject(tt.f)
			var got []int
			for i := range 10 {
				body := hello[chatPath]
				if i%2 == 1 {
					body = other
				}
				if res, _ := post(t, p, chatPath, body); res.StatusCode == 500 {
					got = append(got, i)
				}
				time.Sleep(sec)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s: struck %v, want %v", tt.name, got, tt.want)
			}
		})
	}
}

func TestBrownOut(t *testing.T) {
	run := func(seed uint64) (statuses []int) {
		p := &snubbertest.Provider{}
		p.Inject(snubbertest.Fault{Kind: snubbertest.BrownOut, Chance: 0.3, Seed: seed})
		for range 1000 {
			res, _ := post(t, p, chatPath, hello[chatPath])
			statuses = append(statuses, res.StatusCode)
		}
		return statuses
	}
	one := run(1)
	count := map[int]int{}
	for _, s := range one {
		count[s]++
	}
	// A given seed gives the same draws for ever: these are no thresholds to
	// be lucky with.
	if n := 1000 - count[200]; n < 250 || n > 350 || count[500]+count[503]+count[529] != n || min(count[500], count[503], count[529]) < 60 {
		t.Errorf("statuses %v", count)
	}
	if !slices.Equal(one, run(1)) {
		t.Error("the same seed strikes other calls")
	}
	if slices.Equal(one, run(2)) {
		t.Error("another seed strikes the same calls")
	}
}

func TestHeal(t *testing.T) {
	p := &snubbertest.Provider{}
	heal := p.Inject(snubbertest.Fault{Kind: snubbertest.ServerError})
	p.Inject(snubbertest.Fault{Kind: snubbertest.Overloaded})
	if res, _ := post(t, p, messagesPath, hello[messagesPath]); res.StatusCode != 500 {
		t.Errorf("first fault: %d", res.StatusCode)
	}
	heal()
	heal()
	if res, _ := post(t, p, messagesPath, hello[messagesPath]); res.StatusCode != 529 {
		t.Errorf("second fault: %d", res.StatusCode)
	}
}

// Over sockets the same faults are errors of the connection.
func TestServerFaults(t *testing.T) {
	p := &snubbertest.Provider{}
	srv := snubbertest.NewServer(p)
	defer srv.Close()
	client := srv.Client().Transport
	for _, tt := range []struct {
		kind    snubbertest.Kind
		stream  bool
		status  int
		failure error
	}{
		{snubbertest.Outage, false, 0, nil},
		{snubbertest.Disconnect, false, 0, nil},
		{snubbertest.Reset, true, 200, neterr.Reset},
		{snubbertest.Reset, false, 200, neterr.Reset},
		{snubbertest.Truncate, false, 200, io.ErrUnexpectedEOF},
	} {
		heal := p.Inject(snubbertest.Fault{Kind: tt.kind, After: 2})
		body := hello[chatPath]
		if tt.stream {
			body = streamed(body)
		}
		status, _, err := fate(client, newRequest(t.Context(), srv.URL, chatPath, body))
		if status != tt.status || err == nil || tt.failure != nil && !errors.Is(err, tt.failure) {
			t.Errorf("%v: %d, %v", tt.kind, status, err)
		}
		heal()
	}
	p.Inject(snubbertest.Fault{Kind: snubbertest.Truncate, After: 2})
	status, got, err := fate(client, newRequest(t.Context(), srv.URL, chatPath, streamed(hello[chatPath])))
	if n, _ := events(got); status != 200 || n != 2 || err != nil {
		t.Errorf("truncated stream: %d, %d events, %v", status, n, err)
	}
}

// Closing the server ends what would hang for ever.
func TestServerCloseEndsHangingCalls(t *testing.T) {
	p := &snubbertest.Provider{}
	srv := snubbertest.NewServer(p)
	p.Inject(snubbertest.Fault{Kind: snubbertest.BlackHole, Path: "chat"}, snubbertest.Fault{Kind: snubbertest.Stall, After: 2})
	ends := make(chan error, 2)
	for _, path := range []string{chatPath, messagesPath} {
		go func() {
			_, _, err := fate(srv.Client().Transport, newRequest(context.Background(), srv.URL, path, streamed(hello[path])))
			ends <- err
		}()
	}
	for p.Stats().InFlight < 2 {
		time.Sleep(time.Millisecond)
	}
	srv.Close()
	for range 2 {
		if err := <-ends; err == nil {
			t.Error("a hanging call ended without an error")
		}
	}
	if s := p.Stats(); s.Cancelled != 2 || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
}

// A client that leaves is noticed on a socket too.
func TestServerNoticesLeavingClient(t *testing.T) {
	p := &snubbertest.Provider{}
	srv := snubbertest.NewServer(p)
	defer srv.Close()
	p.Inject(snubbertest.Fault{Kind: snubbertest.Stall, After: 1})
	ctx, cancel := context.WithCancel(t.Context())
	res, err := srv.Client().Transport.RoundTrip(newRequest(ctx, srv.URL, chatPath, streamed(hello[chatPath])))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	res.Body.Close()
	for p.Stats().Cancelled == 0 {
		time.Sleep(time.Millisecond)
	}
}
