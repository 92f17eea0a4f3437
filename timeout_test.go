package snubber_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// Each phase ends an attempt at exactly its limit. Its typed error can be found
// in the client's error.
func TestTimeoutPhases(t *testing.T) {
	unary := func(chunks ...wiretest.Chunk) wiretest.Func {
		return func(*http.Request) (*http.Response, error) {
			return wiretest.Response(200, wiretest.NewBody(chunks...), "Content-Type", "application/json"), nil
		}
	}
	const s = time.Second
	pings := func(n int) (cs []wiretest.Chunk) {
		for i := range n {
			cs = append(cs, wiretest.Chunk{At: time.Duration(i) * s, Text: wiretest.PingEvent})
		}
		return cs
	}
	for _, tt := range []struct {
		name    string
		timeout snubber.Timeout
		base    wiretest.Func
		phase   snubber.TimeoutPhase
		after   time.Duration // the limit of the phase
		want    time.Duration // when the attempt ends
	}{
		{"headers", snubber.Timeout{Headers: 3 * s}, wiretest.Hang, snubber.PhaseHeaders, 3 * s, 3 * s},
		{"headers by default", snubber.Timeout{}, wiretest.Hang, snubber.PhaseHeaders, 10 * time.Minute, 10 * time.Minute},
		{"first event", snubber.Timeout{FirstEvent: 5 * s}, wiretest.SSE(wiretest.Chunk{At: -1}), snubber.PhaseFirstEvent, 5 * s, 5 * s},
		{"pings are no content", snubber.Timeout{FirstEvent: 5 * s}, wiretest.SSE(pings(20)...), snubber.PhaseFirstEvent, 5 * s, 5 * s},
		{"nor is a preamble", snubber.Timeout{FirstEvent: 5 * s}, wiretest.SSE(wiretest.Chunk{Text: wiretest.MessageStart}, wiretest.Chunk{At: -1}), snubber.PhaseFirstEvent, 5 * s, 5 * s},
		{"nor is a comment", snubber.Timeout{FirstEvent: 5 * s}, wiretest.SSE(wiretest.Chunk{At: s, Text: ": wait\n\n"}, wiretest.Chunk{At: -1}), snubber.PhaseFirstEvent, 5 * s, 5 * s},
		{"nor is half an event", snubber.Timeout{FirstEvent: 5 * s}, wiretest.SSE(wiretest.Chunk{At: s, Text: wiretest.TextDelta[:len(wiretest.TextDelta)-2]}, wiretest.Chunk{At: -1}), snubber.PhaseFirstEvent, 5 * s, 5 * s},
		{"first event by default", snubber.Timeout{}, wiretest.SSE(pings(1000)...), snubber.PhaseFirstEvent, 5 * time.Minute, 5 * time.Minute},
		{"after content it is idle", snubber.Timeout{FirstEvent: 5 * s, Idle: 20 * s}, wiretest.SSE(wiretest.Chunk{At: 3 * s, Text: wiretest.TextDelta}, wiretest.Chunk{At: -1}), snubber.PhaseIdle, 20 * s, 23 * s},
		{"idle", snubber.Timeout{Idle: 3 * s}, unary(wiretest.Chunk{Text: "{"}, wiretest.Chunk{At: 2 * s, Text: " "}, wiretest.Chunk{At: -1}), snubber.PhaseIdle, 3 * s, 5 * s},
		{"idle from the header", snubber.Timeout{Idle: 3 * s}, unary(wiretest.Chunk{At: -1}), snubber.PhaseIdle, 3 * s, 3 * s},
		{"idle by default", snubber.Timeout{}, unary(wiretest.Chunk{Text: "{"}, wiretest.Chunk{At: -1}), snubber.PhaseIdle, 2 * time.Minute, 2 * time.Minute},
		{"an unknown stream has no first event", snubber.Timeout{FirstEvent: 5 * s, Idle: 9 * s}, unary(wiretest.Chunk{At: -1}), snubber.PhaseIdle, 9 * s, 9 * s},
		{"attempt before the header", snubber.Timeout{Attempt: 4 * s}, wiretest.Hang, snubber.PhaseAttempt, 4 * s, 4 * s},
		{"attempt in the body", snubber.Timeout{Attempt: 4 * s}, wiretest.SSE(wiretest.Chunk{Text: wiretest.TextDelta}, wiretest.Chunk{At: 2 * s, Text: wiretest.TextDelta}, wiretest.Chunk{At: -1}), snubber.PhaseAttempt, 4 * s, 4 * s},
		{"the nearest of all", snubber.Timeout{Headers: 9 * s, FirstEvent: 3 * s, Idle: 2 * s, Attempt: 7 * s}, wiretest.SSE(wiretest.Chunk{At: -1}), snubber.PhaseIdle, 2 * s, 2 * s},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limits := tt.timeout
				client := &http.Client{Transport: &snubber.Transport{Base: tt.base, Timeout: &limits, Breaker: &snubber.Breaker{}}}
				start := time.Now()
				ctx, report := snubber.WithReport(t.Context())
				res, err := client.Do(wiretest.NewRequest(t, "POST", wiretest.AnthropicURL, wiretest.StreamBody).WithContext(ctx))
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
					_, again := res.Body.Read(make([]byte, 1))
					if again != err {
						t.Errorf("the next Read = %v, want %v", again, err)
					}
					res.Body.Close()
				} else if e, ok := err.(*url.Error); !ok || !e.Timeout() {
					t.Errorf("%v is no *url.Error that says Timeout", err)
				}
				attemptTimedOut(t, err, tt.phase, tt.after)
				if d := time.Since(start); d != tt.want {
					t.Errorf("timed out at %v, want %v", d, tt.want)
				}
				if report.Load().Outcome.Class != snubber.TimedOut {
					t.Errorf("outcome %+v, want TimedOut", report.Load().Outcome)
				}
				if c := circuitOf(t, client.Transport.(*snubber.Transport).Breaker); c.Failures != 1 {
					t.Errorf("%d failures, want 1", c.Failures)
				}
			})
		})
	}
}

// A slow and healthy call is not ended. It may use the limit of each phase,
// stream for as long as it likes, and take any time where a limit is off.
func TestTimeoutSparesHealthyCalls(t *testing.T) {
	const m = time.Minute
	long := func(n int, gap time.Duration) (cs []wiretest.Chunk) {
		for i := range n {
			cs = append(cs, wiretest.Chunk{At: time.Duration(i+1) * gap, Text: wiretest.TextDelta})
		}
		return append(cs, wiretest.Chunk{At: time.Duration(n+1) * gap, Text: wiretest.MessageStop})
	}
	off := &snubber.Timeout{Headers: -1, FirstEvent: -1, Idle: -1, Attempt: -1}
	for _, tt := range []struct {
		name    string
		timeout *snubber.Timeout
		header  time.Duration
		body    []wiretest.Chunk
	}{
		{"a header in ten minutes", &snubber.Timeout{}, 10*m - 1, []wiretest.Chunk{{Text: wiretest.MessageStop}}},
		{"content in five", &snubber.Timeout{}, 0, []wiretest.Chunk{{At: m, Text: wiretest.PingEvent}, {At: 3*m - 1, Text: wiretest.PingEvent}, {At: 4 * m, Text: wiretest.PingEvent}, {At: 5*m - 1, Text: wiretest.TextDelta}, {At: 5 * m, Text: wiretest.MessageStop}}},
		{"content behind a preamble too long to hold", &snubber.Timeout{FirstEvent: m, Idle: -1}, 0, []wiretest.Chunk{{Text: strings.Repeat(wiretest.MessageStart, 500)}, {At: m / 2, Text: wiretest.TextDelta}, {At: 10 * m, Text: wiretest.MessageStop}}},
		{"a stream of hours", &snubber.Timeout{}, 0, long(200, 2*m-1)},
		{"a stream of hours without a Timeout", nil, time.Hour, long(10, time.Hour)},
		{"all off", off, 24 * time.Hour, []wiretest.Chunk{{At: 24 * time.Hour, Text: wiretest.PingEvent}, {At: 48 * time.Hour, Text: wiretest.TextDelta}, {At: 240 * time.Hour, Text: wiretest.MessageStop}}},
		{"limits without end", &snubber.Timeout{Headers: 1<<63 - 1, FirstEvent: 1<<63 - 1, Idle: 1<<63 - 1, Attempt: 1<<63 - 1}, time.Hour, long(3, time.Hour)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Timeout: tt.timeout, Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
					time.Sleep(tt.header)
					return wiretest.Response(200, wiretest.NewBody(tt.body...), "Content-Type", "text/event-stream"), nil
				})}
				if status, err := wiretest.Fetch(tr, wiretest.NewRequest(t, "POST", wiretest.AnthropicURL, wiretest.StreamBody)); status != 200 || err != nil {
					t.Errorf("RoundTrip = %d, %v, want 200 and the whole body", status, err)
				}
			})
		})
	}
}

// A slow reader is not a slow server: neither Idle nor FirstEvent runs between
// Reads.
func TestTimeoutSlowReader(t *testing.T) {
	t.Run("before the first Read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Base: wiretest.SSE(wiretest.Chunk{At: time.Second, Text: wiretest.TextDelta + wiretest.MessageStop}), Timeout: &snubber.Timeout{FirstEvent: 5 * time.Second, Idle: 5 * time.Second}}
			res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", wiretest.AnthropicURL, wiretest.StreamBody))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if got := wiretest.ReadAll(t, res); got != wiretest.TextDelta+wiretest.MessageStop {
				t.Errorf("read %q, want all of it", got)
			}
		})
	})
	t.Run("between Reads", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Base: wiretest.SSE(wiretest.Chunk{Text: wiretest.TextDelta}, wiretest.Chunk{Text: wiretest.PingEvent}, wiretest.Chunk{Text: wiretest.TextDelta}, wiretest.Chunk{Text: wiretest.TextDelta}, wiretest.Chunk{Text: wiretest.MessageStop}), Timeout: &snubber.Timeout{FirstEvent: 5 * time.Second, Idle: 5 * time.Second}}
			res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", wiretest.AnthropicURL, wiretest.StreamBody))
			if err != nil {
				t.Fatal(err)
			}
			for range 5 {
				wiretest.ReadOnce(t, res.Body)
				time.Sleep(time.Hour)
			}
			wiretest.ReadAll(t, res)
		})
	})
	t.Run("idle", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := &snubber.Transport{Base: wiretest.SSE(wiretest.Chunk{Text: wiretest.TextDelta}, wiretest.Chunk{At: -1}), Timeout: &snubber.Timeout{Idle: 5 * time.Second}}
			res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", wiretest.AnthropicURL, wiretest.StreamBody))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			wiretest.ReadOnce(t, res.Body)
			time.Sleep(time.Hour)
			start := time.Now()
			_, err = res.Body.Read(make([]byte, 1))
			attemptTimedOut(t, err, snubber.PhaseIdle, 5*time.Second)
			if d := time.Since(start); d != 5*time.Second {
				t.Errorf("timed out after %v of the Read, want 5s", d)
			}
		})
	})
}

// Attempt also runs while nobody reads. Base's body is closed at once, and the
// next Read returns the reason.
func TestTimeoutAttemptUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := wiretest.NewBody(wiretest.Chunk{Text: wiretest.TextDelta}, wiretest.Chunk{Text: wiretest.TextDelta})
		tr := &snubber.Transport{Timeout: &snubber.Timeout{Attempt: 10 * time.Second}, Limiter: &snubber.Limiter{MaxConcurrent: 1}, Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
			time.Sleep(4 * time.Second)
			return wiretest.Response(200, body, "Content-Type", "text/event-stream"), nil
		})}
		res, err := tr.RoundTrip(wiretest.NewRequest(t, "POST", wiretest.AnthropicURL, wiretest.StreamBody))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		wiretest.ReadOnce(t, res.Body)
		time.Sleep(6*time.Second - 1)
		if n := inFlight(t, tr.Limiter); n != 1 || body.Closes() != 0 {
			t.Errorf("%d in flight, closed %d times before the limit, want 1 and open", n, body.Closes())
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if n := inFlight(t, tr.Limiter); n != 0 || body.Closes() == 0 {
			t.Errorf("%d in flight, closed %d times after the limit, want 0 and closed", n, body.Closes())
		}
		_, err = res.Body.Read(make([]byte, 1))
		attemptTimedOut(t, err, snubber.PhaseAttempt, 10*time.Second)
	})
}

// A body ends in the error that ended its attempt, a timer's or the caller's,
// even if Base's body ignores Close.
func TestTimeoutEndsAnyBody(t *testing.T) {
	for name, cause := range map[string]func(*testing.T, error){
		"timer": func(t *testing.T, err error) { attemptTimedOut(t, err, snubber.PhaseAttempt, time.Minute) },
		"caller": func(t *testing.T, err error) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Read = %v, want context.Canceled", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &snubber.Transport{Timeout: &snubber.Timeout{Attempt: time.Minute}, Base: wiretest.Func(func(*http.Request) (*http.Response, error) {
					return wiretest.Response(200, strings.NewReader("all of it is in memory")), nil
				})}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				res, err := tr.RoundTrip(wiretest.NewRequest(t, "GET", "https://api.example.com/x", "").WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if name == "caller" {
					cancel()
				}
				time.Sleep(time.Hour)
				_, err = res.Body.Read(make([]byte, 3))
				cause(t, err)
			})
		})
	}
}

// Each attempt of a call has a limit of its own.
func TestTimeoutIsPerAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := wiretest.Play(wiretest.Step{Do: wiretest.Hang}, wiretest.Step{Delay: 4 * time.Second})
		tr := &snubber.Transport{Base: base, Retry: &snubber.Retry{MinBackoff: -1}, Timeout: &snubber.Timeout{Headers: 5 * time.Second, Attempt: 6 * time.Second}}
		start := time.Now()
		if status, err := wiretest.Fetch(tr, wiretest.Chat(t)); status != 200 {
			t.Errorf("RoundTrip = %d, %v, want 200", status, err)
		}
		if d := time.Since(start); d != 9*time.Second || base.Sent() != 2 {
			t.Errorf("%d attempts in %v, want 2 in 9s", base.Sent(), d)
		}
	})
}

// The caller gets the timer's error, whatever Base makes of the end of its
// context. A response that comes too late is closed.
func TestTimeoutIgnoredByBase(t *testing.T) {
	for name, answer := range map[string]func(*wiretest.Body) (*http.Response, error){
		"own error": func(*wiretest.Body) (*http.Response, error) { return nil, errors.New("canceled") },
		"response":  func(f *wiretest.Body) (*http.Response, error) { return wiretest.Response(200, f), nil },
		"failure":   func(f *wiretest.Body) (*http.Response, error) { return wiretest.Response(500, f), nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := wiretest.NewBody(wiretest.Chunk{Text: "late"})
				tr := &snubber.Transport{Timeout: &snubber.Timeout{Headers: time.Second}, Base: wiretest.Func(func(req *http.Request) (*http.Response, error) {
					<-req.Context().Done()
					return answer(body)
				})}
				res, err := tr.RoundTrip(wiretest.Chat(t))
				if res != nil {
					t.Errorf("RoundTrip = %v, want no response", res)
				}
				attemptTimedOut(t, err, snubber.PhaseHeaders, time.Second)
				if name != "own error" && body.Closes() == 0 {
					t.Error("the late response is not closed")
				}
			})
		})
	}
}

// The caller's end gives the caller's own error at its moment, even from a body
// that ignores the context.
func TestTimeoutCallersEnd(t *testing.T) {
	for name, base := range map[string]wiretest.Func{"header": wiretest.Hang, "body": wiretest.SSE(wiretest.Chunk{Text: wiretest.TextDelta}, wiretest.Chunk{At: -1})} {
		for _, want := range []error{context.Canceled, context.DeadlineExceeded} {
			t.Run(name+"/"+want.Error(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					tr := &snubber.Transport{Base: base, Timeout: &snubber.Timeout{}}
					ctx, cancel := context.WithCancel(t.Context())
					if want == context.DeadlineExceeded {
						ctx, cancel = context.WithTimeout(t.Context(), 7*time.Second)
					} else {
						time.AfterFunc(7*time.Second, cancel)
					}
					defer cancel()
					start := time.Now()
					_, err := wiretest.Fetch(tr, wiretest.NewRequest(t, "POST", wiretest.AnthropicURL, wiretest.StreamBody).WithContext(ctx))
					var late *snubber.TimeoutError
					if !errors.Is(err, want) || errors.As(err, &late) {
						t.Errorf("error = %v, want %v", err, want)
					}
					if d := time.Since(start); d != 7*time.Second {
						t.Errorf("ended after %v, want 7s", d)
					}
				})
			})
		}
	}
}
