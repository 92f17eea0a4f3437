// Package dialect knows what AI providers say over HTTP: which paths are
// inference, what a request asks for, what a response, an error body, a header
// or a stream event means. It is the only package that does; everything above
// it reads a [Verdict].
//
// A dialect is recognised by the shape of path and body, so that a gateway or
// a server on localhost speaks the same dialect as the provider. The host only
// refines.
package dialect

import "time"

// Format is a wire format: how a request and its answer are written. Several
// providers share one.
type Format uint8

const (
	// Unknown is any API that this package has no tables for.
	Unknown         Format = iota
	OpenAIChat             // chat/completions, completions and the many that copy them
	OpenAIResponses        // responses
	OpenAIEmbeddings
	Anthropic // messages
	Gemini    // models/{m}:generateContent and its siblings, at Google AI and at Vertex
	Cohere    // v2/chat, v1/chat, v2/embed, rerank
	Bedrock   // model/{id}/converse, invoke and their streams
	Ollama    // api/chat, api/generate, api/embed
)

// Route is what the method and the URL of a request tell.
type Route struct {
	Format    Format
	Inference bool   // asks a model; repeating it creates nothing on the server
	Model     string // the model in the path, "" where the body names it
	Stream    bool   // the path itself asks for a stream
	Suffix    string // the inference part of the path, as an SDK appends it to a base URL: "chat/completions"
}

// Prompt is what the body of an inference request asks for.
type Prompt struct {
	Model     string
	Stream    bool
	Input     int // estimated input tokens: text bytes / 4, encoded media not counted
	MaxOutput int // requested output tokens over all choices, 0 where none is stated

	// Lasting says that sending the request leaves something behind on the server
	// that counts: an answer that is made there, whoever waits for it, a turn of a
	// conversation, a container. Sending it again makes another one.
	Lasting bool
	// Other says that the body is none of the format's: it names no model and has
	// nothing that the format calls a prompt. Something else has the same path.
	Other bool
}

// Class is the verdict on one attempt. The values are those of snubber.Class,
// whose documentation says what each means.
type Class uint8

const (
	Unclassified Class = iota
	Success
	RateLimited
	QuotaExhausted
	Overloaded
	ServerError
	Unreachable
	TimedOut
	Transient
	TooLong
	Filtered
	Invalid
	Canceled
	Rejected
)

// Advice is a server's explicit word on whether to send a request again.
type Advice int8

const (
	NoAdvice Advice = 0
	Again    Advice = 1  // x-should-retry: true
	Stop     Advice = -1 // x-should-retry: false, unless a table knows better
)

// Verdict is what one response, or one error event of a stream, says.
type Verdict struct {
	Class  Class
	Reason string        // the provider's code or type in [a-z0-9_.-], never its message
	Wait   time.Duration // until the server wants to hear from us, 0 to ten years; 0 where it does not say
	// Declined says that the server certainly did not do the work: a 429, or a
	// 503 or 529 whose body or Retry-After shows that it turned the call away.
	Declined bool
	// Misdirected says that an Invalid is about where and as whom the request was
	// sent, and not about what it asks for: a credential that is not accepted, a
	// model that is not there.
	Misdirected bool
	// Phrase says that the class was told by a sentence alone, and by nothing that
	// is written for programs: one such answer should not bench a key for good.
	Phrase bool
	// Own says that the failure was told in a format that providers write errors
	// in. A page, or the line of a proxy, proves nothing about the service behind.
	Own    bool
	Advice Advice
	Over   string // Kind of the quota that a RateLimited call was too much for, "" where nobody says
	Quotas []Quota
}

// Quota is one bucket of a quota as the server reported it. Several of a kind
// are possible, for a minute and a day, or for a key and its project: each holds.
type Quota struct {
	Kind      string        // "requests", "tokens", "input-tokens", "output-tokens", "concurrency"
	Window    time.Duration // the period that Limit is for; 0 where the server does not say
	Limit     int64         // -1 unknown
	Remaining int64         // -1 unknown
	Reset     time.Duration // until the bucket is full again, by the server's clock; -1 unknown
}

// Usage is what an answer was billed.
type Usage struct {
	Input, Output         int // tokens; Input includes what was read from or written to a prompt cache
	CacheRead, CacheWrite int // parts of Input
}
