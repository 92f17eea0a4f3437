// Package snubbertest is a fake AI provider for tests of programs that call
// one. It speaks the dialects of OpenAI (chat completions, responses,
// embeddings), Anthropic (messages) and Gemini (generateContent, embedContent),
// streamed and not, well enough for their official SDKs; it keeps a quota as
// providers do, tells it in their headers and rejects with their errors; and
// it fails on demand in the ways that providers fail.
//
// A [Provider] is an [http.RoundTripper]. Give it to the client under test:
//
//	p := &snubbertest.Provider{RequestsPerMinute: 60}
//	client := openai.NewClient(
//		option.WithAPIKey("test"),
//		option.WithHTTPClient(&http.Client{Transport: snubber.New(p)}),
//	)
//
// It is also an [http.Handler], for programs that can be told a base URL only
// or tests that want real sockets. The dialect is chosen by the end of the
// path, so the base URL may have any path of its own:
//
//	srv := snubbertest.NewServer(p)
//	defer srv.Close()
//	client := openai.NewClient(option.WithAPIKey("test"), option.WithBaseURL(srv.URL))
//
// # Time
//
// In memory all waiting is durably blocking, so a test with minutes of quota
// and backoff runs in no time in a bubble of [testing/synctest], and can assert
// exact times:
//
//	synctest.Test(t, func(t *testing.T) {
//		p := &snubbertest.Provider{RequestsPerMinute: 60, Latency: time.Second}
//		…
//	})
//
// Make the Provider inside the bubble. Sockets do not work there.
//
// # Failure
//
// Faults are switched on and off while the program runs, for all calls or for
// some (see [Fault]):
//
//	heal := p.Inject(snubbertest.Fault{Kind: snubbertest.Outage})
//	…
//	heal()
//
//	p.Inject(snubbertest.Fault{Kind: snubbertest.BrownOut, Chance: 0.3, Seed: 1})
//	p.Inject(snubbertest.Fault{Kind: snubbertest.Stall, After: 5, Times: 1})
//
// [Provider.Script] says exactly what the next calls get:
//
//	p.Script(
//		snubbertest.Reply{Status: 503},
//		snubbertest.Reply{Status: 429, Header: http.Header{"Retry-After": {"7"}}},
//		snubbertest.Reply{}, // an ordinary answer
//	)
//
// # What to assert
//
// [Provider.Calls] is what arrived, bytes and headers included, and what became
// of it; [Provider.Stats] counts. That a program retries too much is seen
// there, and nowhere else:
//
//	if n := p.Stats().Wire; n != 2 {
//		t.Errorf("%d wire calls, want 2", n)
//	}
//
// What a program sends, credentials and prompts, is kept in the record of
// calls and comes out nowhere else.
package snubbertest

import (
	"sync"
	"time"
)

// Provider is a fake AI provider. The zero value answers every call at once
// and has no quota. It is safe for concurrent use; its fields must not be
// changed and it must not be copied after its first call.
type Provider struct {
	// RequestsPerMinute and TokensPerMinute are the quota, one for all models:
	// token buckets that refill continuously and begin full. A request is
	// admitted if both have room and takes from both, or is rejected and
	// takes from none. Zero means no limit.
	RequestsPerMinute, TokensPerMinute int

	// Burst and TokenBurst are the capacities of the two buckets. If zero, a
	// minute's quota.
	Burst, TokenBurst int

	// Concurrent is how many admitted calls may be in service at a time, to
	// the end of their streams. Zero means no limit.
	Concurrent int

	// Minute is the length of the quota's minute. If zero, a true one. A
	// shorter one lets a demonstration show minutes of quota in seconds. Quota
	// headers then state the limit of a true minute, which is what clients take
	// them for. Mind that Retry-After and Anthropic's resets have whole seconds (see
	// RetryAfterMs).
	Minute time.Duration

	// Refund gives back, when an answer is complete, what its request was
	// charged for more than it used. Without it the charge made at admission
	// stands, as at OpenAI. The charge is the input and the maximum output of
	// the request; a request that sets no maximum is charged for its output
	// when it is complete.
	Refund bool

	// RejectedCharged makes rejected requests cost what they would have cost,
	// down to an empty bucket: whoever hammers the provider is never served.
	RejectedCharged bool

	NoHeaders    bool // send no header fields that tell the quota
	NoRetryAfter bool // do not tell a rejected client when to come back, neither in the header nor in the body
	RetryAfterMs bool // send Retry-After-Ms beside Retry-After (Gemini has neither)

	Latency  time.Duration // from the admission of a call to the response header
	EventGap time.Duration // between two events of a stream

	// Text is what every answer says. If empty, a sentence of 44 characters.
	// Four characters are a token and an event of a stream.
	Text string

	// TextFunc, if not nil, is asked instead of Text. It gets the call as
	// recorded so far and may block; the call is in flight meanwhile.
	TextFunc func(Call) string

	mu       sync.Mutex
	epoch    time.Time // of the buckets' time: the first call
	requests bucket
	tokens   bucket
	busy     int // calls that hold one of Concurrent
	faults   []*injected
	script   []Reply
	calls    []*call // the latest of them
	kept     int     // bytes of request bodies in calls
	stats    Stats
}
