package examples

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber"
	"github.com/seed-9e4f5248/snubber/snubbertest"
)

// sdk is an AI SDK with its default settings.
type sdk struct {
	name    string
	connect func(t *testing.T, url string, client *http.Client) asker

	// tries is how often the SDK itself calls its HTTP client for a call that
	// keeps failing.
	tries int

	// failure reads the provider's status and message out of the SDK's own
	// error type; no status: the error is none of that type.
	failure func(error) (status int, message string)

	// opaque SDKs replace Go errors by texts of their own.
	opaque bool
}

// asker makes one call. A nil said asks for a whole answer, else it is given
// each piece of a stream as it comes.
type asker func(ctx context.Context, said func(string)) (answer, error)

type answer struct {
	text          string
	input, output int64 // tokens
}

const prompt = "Why is the sky blue?" // five tokens to the fake

var sdks = []sdk{openaiSDK, anthropicSDK, genaiSDK, goopenaiSDK, langchainOpenAI, langchainAnthropic}

// each runs a test for every SDK, plain and streamed.
func each(t *testing.T, test func(t *testing.T, s sdk, streamed bool)) {
	for _, s := range sdks {
		for _, streamed := range []bool{false, true} {
			name := s.name + "/plain"
			if streamed {
				name = s.name + "/streamed"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, s, streamed)
			})
		}
	}
}

// call makes a call in the way asked for; of a stream the text is what was
// said piece by piece.
func (r *rig) call(ctx context.Context, streamed bool) (answer, error) {
	if !streamed {
		return r.ask(ctx, nil)
	}
	var text strings.Builder
	a, err := r.ask(ctx, func(piece string) { text.WriteString(piece) })
	a.text = text.String()
	return a, err
}

// works makes a call that has to be answered.
func (r *rig) works(t *testing.T, streamed bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := r.call(ctx, streamed)
	want := answer{"The quick brown fox jumps over the lazy dog.", 5, 11}
	if err != nil || a != want {
		t.Fatalf("the call = %+v, %v, want %+v", a, err, want)
	}
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s sdk, streamed bool) {
		r := newRig(t, s, &snubbertest.Provider{})
		r.works(t, streamed)
		r.wants(t, 1, 1)
		if got, sent := r.above.bytes(), r.below.bytes(); got != sent || got == "" {
			t.Errorf("the SDK got\n%q\nand not what was sent\n%q", got, sent)
		}
	})
}

func TestEventsArriveAtOnce(t *testing.T) {
	t.Parallel()
	for _, s := range sdks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			l := &lockstep{provider: &snubbertest.Provider{}, sent: make(chan string, 1)}
			srv := httptest.NewServer(l)
			t.Cleanup(srv.Close)
			r := newRigAt(t, s, l.provider, srv)
			l.client = r.above
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if _, err := r.call(ctx, true); err != nil {
				t.Fatalf("%v, after %q", err, r.above.bytes())
			}
			select {
			case sent := <-l.sent:
				if got := r.above.bytes(); got != sent {
					t.Errorf("the SDK got\n%q\nand not what was sent\n%q", got, sent)
				}
			case <-ctx.Done():
				t.Errorf("the stream stopped after %q", r.above.bytes())
			}
		})
	}
}

// Five attempts below an SDK that makes three calls are five wire calls and
// not fifteen, and then the provider speaks for itself.
func TestAttemptsRunOut(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s sdk, streamed bool) {
		p := &snubbertest.Provider{}
		p.Inject(snubbertest.Fault{Kind: snubbertest.ServerError})
		bare := newRig(t, s, p)
		bare.above.base = bare.below
		_, err := bare.call(t.Context(), streamed)
		status, message := s.failure(err)
		if status != 500 || message == "" {
			t.Errorf("bare, the SDK's error has status %d and message %q: %v", status, message, err)
		}
		bare.wants(t, s.tries, s.tries)

		r := newRig(t, s, p)
		_, err = r.call(t.Context(), streamed)
		if st, m := s.failure(err); st != status || m != message {
			t.Errorf("the SDK's error has status %d and message %q, want %d and %q: %v", st, m, status, message, err)
		}
		r.wants(t, 1, s.tries+5)
	})
}

// An open circuit costs nothing: no wire call and no other try, hence no sleep
// between tries.
func TestOpenCircuit(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s sdk, streamed bool) {
		r := newRig(t, s, &snubbertest.Provider{})
		r.works(t, streamed)
		key := r.snubber.Breaker.Circuits()[0].Key
		r.snubber.Breaker.Trip(key)

		_, err := r.call(t.Context(), streamed)
		r.wants(t, 2, 1)
		switch status, message := s.failure(err); {
		case err == nil:
			t.Error("the call succeeded")
		case s.opaque:
		case s.tries == 1 && !errors.Is(err, snubber.ErrOpen):
			t.Errorf("%v is not ErrOpen", err)
		case s.tries > 1 && (status != 503 || !strings.Contains(message, "circuit open")):
			t.Errorf("the SDK's error has status %d and message %q: %v", status, message, err)
		}

		r.snubber.Breaker.Reset(key)
		r.works(t, streamed)
	})
}

func TestRateLimited(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s sdk, streamed bool) {
		r := newRig(t, s, &snubbertest.Provider{})
		r.provider.Inject(snubbertest.Fault{Kind: snubbertest.RateLimited, RetryAfter: "1", Times: 1})
		r.works(t, streamed)
		r.wants(t, 1, 2)
		calls := r.provider.Calls()
		if d := calls[1].Time.Sub(calls[0].Time); d < time.Second {
			t.Errorf("the provider was asked again after %v, before the second it had asked for", d)
		}
		if a, b := string(calls[0].Body), string(calls[1].Body); a != b {
			t.Errorf("the second request is %q, the first was %q", b, a)
		}
	})
}

func TestQuotaExhausted(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s sdk, streamed bool) {
		r := newRig(t, s, &snubbertest.Provider{})
		r.provider.Inject(snubbertest.Fault{Kind: snubbertest.QuotaExhausted})
		_, err := r.call(t.Context(), streamed)
		want := r.provider.Calls()[0].Status
		if status, message := s.failure(err); status != want || !strings.Contains(message, "billing") {
			t.Errorf("the SDK's error has status %d and message %q, want %d and the provider's: %v", status, message, want, err)
		}
		r.wants(t, 1, 1)
	})
}
