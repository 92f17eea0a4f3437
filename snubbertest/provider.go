// Package snubbertest is a fake AI provider for tests of programs that call one.
//
// It speaks the formats of OpenAI (chat completions, responses, embeddings), Anthropic
// (messages) and Gemini (generateContent, embedContent), with and without streaming,
// well enough for their official SDKs. It enforces a quota as providers do, states it
// in their headers and rejects with their errors. On demand it fails in the ways that
// providers fail.
//
// A [Provider] is an [http.RoundTripper]. Give it to the client under test:
//
//	p := &snubbertest.Provider{RequestsPerMinute: 60}
//	client := openai.NewClient(
//		option.WithAPIKey("test"),
//		option.WithHTTPClient(&http.Client{Transport: snubber.New(p)}),
//	)
//
// It is also an [http.Handler], for programs that take only a base URL, and for tests
// on real sockets. The end of the path chooses the format, so the base URL may have
// any path of its own:
//
//	srv := snubbertest.NewServer(p)
//	defer srv.Close()
//	client := openai.NewClient(option.WithAPIKey("test"), option.WithBaseURL(srv.URL))
//
// # Time
//
// In memory every wait is durably blocking. So in a [testing/synctest] bubble a test
// with minutes of quota and backoff takes no time, and can assert exact times:
//
//	synctest.Test(t, func(t *testing.T) {
//		p := &snubbertest.Provider{RequestsPerMinute: 60, Latency: time.Second}
//		…
//	})
//
// Make the Provider inside the bubble. Sockets do not work in a bubble.
//
// # Failure
//
// [Provider.Inject] switches faults on, for all calls or for some (see [Fault]), and
// returns a function that switches them off:
//
//	heal := p.Inject(snubbertest.Fault{Kind: snubbertest.Outage})
//	…
//	heal()
//
//	p.Inject(snubbertest.Fault{Kind: snubbertest.BrownOut, Chance: 0.3, Seed: 1})
//	p.Inject(snubbertest.Fault{Kind: snubbertest.Stall, After: 5, Times: 1})
//
// [Provider.Script] sets the exact responses to the next calls:
//
//	p.Script(
//		snubbertest.Reply{Status: 503},
//		snubbertest.Reply{Status: 429, Header: http.Header{"Retry-After": {"7"}}},
//		snubbertest.Reply{}, // an ordinary response
//	)
//
// # What to assert
//
// [Provider.Calls] returns the requests that arrived, with headers and bodies, and how
// each call ended. [Provider.Stats] counts them. Only these show that a program retries
// too much:
//
//	if n := p.Stats().Wire; n != 2 {
//		t.Errorf("%d wire calls, want 2", n)
//	}
//
// The credentials and prompts that a program sends are kept in the record of calls and
// appear nowhere else.
package snubbertest

import (
	"sync"
	"time"
)

// Provider is a fake AI provider. The zero value answers every call at once and has no
// quota. It is safe for concurrent use. After its first call its fields must not be
// changed and it must not be copied.
type Provider struct {
	// RequestsPerMinute and TokensPerMinute are the quota, one for all models. Each is
	// a token bucket that begins full and refills continuously. A request is admitted
	// if both buckets have enough, and takes from both. Otherwise it is rejected and
	// takes from neither. Zero means no limit.
	RequestsPerMinute, TokensPerMinute int

	// Burst and TokenBurst are the capacities of the two buckets. If zero, a
	// minute's quota.
	Burst, TokenBurst int

	// Concurrent is how many admitted calls may be in service at a time, to
	// the end of their streams. Zero means no limit.
	Concurrent int

	// Minute is the length of the quota's minute. If zero, 60 s. With a shorter one a
	// demonstration shows minutes of quota in seconds. Quota headers then state the
	// limit of 60 s, because clients read them so. Retry-After and Anthropic's resets
	// have whole seconds (see RetryAfterMs).
	Minute time.Duration

	// Refund gives back, when a response is complete, what its request was charged
	// and did not use. Without it the charge made at admission stands, as at OpenAI.
	// The charge is the input and the maximum output of the request. A request without
	// a maximum is charged for its output when the response is complete.
	Refund bool

	// RejectedCharged charges rejected requests like admitted ones, until the bucket
	// is empty. A client that keeps sending at once is then never served.
	RejectedCharged bool

	NoHeaders    bool // send no header fields that state the quota
	NoRetryAfter bool // do not tell a rejected client when to come back, in the header or in the body
	RetryAfterMs bool // send Retry-After-Ms beside Retry-After (Gemini has neither)

	Latency  time.Duration // from the admission of a call to the response header
	EventGap time.Duration // between two events of a stream

	// Text is the text of every response. If empty, a sentence of 44 characters.
	// Four characters are a token and an event of a stream.
	Text string

	// TextFunc, if not nil, returns the text of each response in place of Text. It gets
	// the call as recorded so far. It may block; the call is in flight meanwhile.
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
