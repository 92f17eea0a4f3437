// Package httpcache is the engine of a private HTTP cache (RFC 9111) that also
// caches the responses to AI prompts, and that lets identical requests share one
// exchange with the server.
//
// It knows requests, responses, entries and who waits for what. It does not know
// the transport around it, which it sees through [Caller] and [Exchange] only: it
// knows nothing of attempts, routes, verdicts and reports. What an entry is and
// where it is kept belongs to package cachestore, what RFC 9111 permits to package
// rfc9111.
//
// The files build upon each other: keys, lookups and what is made of an entry at
// the bottom, then the flight that callers share, then the round trip.
package httpcache

import (
	"context"
	"net/http"
	"time"
)

// Facts are what the transport knows about a request.
type Facts struct {
	NoCache   bool // the caller's context says so
	Inference bool
	Known     bool // the wire format shows whether a response is complete
	Stream    bool
	Model     string
	Priority  int
}

// Values is the part of a context that an exchange takes over from its caller.
type Values interface{ Value(key any) any }

// Caller is one round trip, as the cache sees it. The transport implements it. It
// is used by the goroutine of the round trip, except for RecordOutcome and
// StoreFault, which any goroutine may call.
type Caller interface {
	// Request is the caller's own request. The cache never writes to it.
	Request() *http.Request
	Facts() Facts
	// HookRequest is the request as functions of the user get it.
	HookRequest() *http.Request
	// WithBody calls use with the whole request body without consuming it. It
	// returns false if the body cannot be had.
	WithBody(use func(body []byte)) bool
	// Values are the context values that an exchange may keep.
	Values() Values

	// Start makes an exchange for the same request. The exchange takes over the
	// request body.
	Start(ctx context.Context, stale StaleSource) Exchange
	// ReclaimBody takes the request body back from an exchange that has ended.
	ReclaimBody(Exchange)
	// ReleaseBody closes the request body, because a function of the user has
	// panicked.
	ReleaseBody()
	// Bypass sends the caller's own request. inspect gets the response before the
	// caller does.
	Bypass(inspect Inspector) (*http.Response, error)

	// AddCosts adds the attempts and waits of an exchange to the caller's.
	AddCosts(Exchange)
	// Deliver returns what RoundTrip returns: the response or error of from, or
	// a stored response if from is nil.
	Deliver(res *http.Response, err error, from Exchange) (*http.Response, error)
	// DeliverShared returns a response whose body is a reader of from's body, which
	// has not ended.
	DeliverShared(res *http.Response, from Exchange) (*http.Response, error)
	// RecordOutcome records how the caller's body ended: as that of from if from is
	// not nil, else with err, nil for a success.
	RecordOutcome(err error, from Exchange)

	// SetStatus records how the cache took part in the response: a status constant,
	// and the reason.
	SetStatus(status, detail string)
	// StoreFault reports that an operation of the store failed.
	StoreFault(op string)
}

// Inspector looks at a response that bypasses the cache, and may change its header.
type Inspector interface {
	Inspect(Result)
}

// StaleSource may have a stored response for a request that failed.
type StaleSource interface {
	// Stale returns the stored response to the request of c, however old it is, nil
	// if there is none that may be used.
	Stale(c Caller, now time.Time) *http.Response
}

// Exchange is one request to the layers below the cache. Only Waiting and Complete
// are safe for concurrent use.
type Exchange interface {
	// Request is the exchange's own. Its headers may be changed before Send.
	Request() *http.Request
	Send() Result
	// Discard closes the response of Send.
	Discard()
	// Again makes another exchange for the same request, which takes over the
	// request body and the costs.
	Again(ctx context.Context, stale StaleSource) Exchange
	// Waiting reports whether the request is still in a queue.
	Waiting() bool
	// Complete reports whether what was read of the body is a complete response.
	Complete() bool
}

// Result is what an exchange has come to.
type Result struct {
	Response  *http.Response
	Err       error
	Canceled  bool // Err is the end of the exchange's own context
	Rerouted  bool // the response is not the primary route's
	Truncated bool // the Response has only the beginning of the body
}

// The ways in which the cache takes part in a response, for Caller.SetStatus.
const (
	statusHit         = "hit"
	statusMiss        = "miss"
	statusStale       = "stale"
	statusRevalidated = "revalidated"
	statusCollapsed   = "collapsed"
	statusBypass      = "bypass"
)
