package snubber

// Fallback sends a request whose own route has failed to other routes, in
// order, until one of them has an answer. If none has, the caller gets the
// first route's failure: it is the one that the caller's SDK can read.
//
// A route gets the caller's request as it was: same URL, headers and body. It
// is usually a [Reroute], or several in a [Spread]; [Stale] and [Reply] answer
// where nothing else does, also a request whose body cannot be sent again. A route that would let the request wait, by its Ready
// method, is put off until those that can send it now have failed too. One count
// of attempts covers all routes: the Retry's MaxAttempts and one more for each
// route that is asked.
//
// Who answered is in [Report] and in the response's Snubber-Route header.
//
// It is safe for concurrent use.
type Fallback struct {
	// Routes are asked in this order. If empty, there is no fallback.
	Routes []Route
}
