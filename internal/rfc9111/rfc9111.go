// Package rfc9111 decides what a private cache may do with an answer: whether to
// store it, whether to reuse it now, how to ask the server about it, and what a
// server's word changes. It reads RFC 9111 with RFC 9110 (validators, ranges,
// dates), RFC 5861 (stale-while-revalidate, stale-if-error) and RFC 8246
// (immutable).
//
// It is pure: no clock, no I/O, no state, and nothing here ever writes to a
// header that it was given, where the comment does not say so. An answer's
// fields are read once, into a [Response], so that the question of every hit,
// [Response.Use], is a few comparisons.
//
// Where a field is malformed, or says a thing twice in two ways, and the RFC
// leaves the choice, the reading that asks the server is taken: a needless
// question is cheaper than a wrong answer.
package rfc9111

import (
	"net/http"
	"time"
)

// maxSpan bounds all times, as section 1.2.2 wants it: 2^31 seconds stand for
// all that is more. A few of them added up are still a valid duration.
const maxSpan = 1 << 31 * time.Second

// heuristicMax bounds the lifetime that is guessed from Last-Modified. The RFC
// has no bound; a day is what HTTP caches had to warn about.
const heuristicMax = 24 * time.Hour

// A Response is what an answer says about its own reuse. It holds none of the
// answer's header and is immutable once made; the zero Response is never reused.
type Response struct {
	received time.Time
	status   int

	initial         time.Duration // its age when it was received (section 4.2.3)
	lifetime        time.Duration // how old it may be and still be fresh
	whileRevalidate time.Duration // beyond lifetime, RFC 5861
	ifError         time.Duration

	explicit       bool // lifetime was stated, not guessed
	noStore        bool // even beside must-understand
	noCache        bool // in its unqualified form
	mustRevalidate bool
	immutable      bool
	permitted      bool // public or private: to be stored whatever the status
	varies         bool // Vary: *, matches no request
	validator      bool // has an ETag or Last-Modified to ask with
	part           bool // a 206 that says which part it is
}

// Read reads the answer's fields. requested is when the request was sent and
// received when the answer's header came, both by this process's clock.
func Read(status int, h http.Header, requested, received time.Time) Response {
	r := Response{received: received, status: status}
	d := readDirectives(h["Cache-Control"])

	r.noStore = d.noStore
	if d.mustUnderstand {
		// Section 5.2.2.3: no-store beside it is for caches that do not know the
		// status, and for them only.
		r.noStore = !understood(status)
	}
	r.noCache = d.noCache
	r.mustRevalidate = d.mustRevalidate
	r.immutable = d.immutable
	r.permitted = d.public || d.private
	r.whileRevalidate = max(d.whileRevalidate, 0)
	r.ifError = max(d.ifError, 0)
	_, r.varies = Vary(h)
	r.validator = hasValidator(h)
	if status == http.StatusPartialContent {
		_, r.part = ContentRange(h)
	}

	date, dated := readDate(h["Date"], received)
	if !dated {
		date = received
	}
	r.initial = initialAge(h["Age"], date, requested, received)
	r.lifetime, r.explicit = lifetime(status, h, &d, date, received)
	return r
}

// initialAge is section 4.2.3's corrected_initial_age.
func initialAge(field []string, date, requested, received time.Time) time.Duration {
	// Date has whole seconds: without the rounding an answer that is sent at once
	// would be up to a second old.
	apparent := received.Truncate(time.Second).Sub(date)
	delay := max(received.Sub(requested), 0)
	corrected := min(delay, maxSpan) + readAge(field)
	return min(max(apparent, corrected, 0), maxSpan)
}

// readAge reads the Age field: of several values the first is meant, and one
// that is no number counts as none (section 5.1).
func readAge(field []string) time.Duration {
	if len(field) == 0 {
		return 0
	}
	age, ok := seconds(member(field[0]))
	if !ok {
		return 0
	}
	return age
}

// lifetime is section 4.2.1's, on the server's clock throughout: the difference
// of its Expires and its Date is right even where that clock is years off. An
// explicit time that cannot be read is a time that has passed, not the absence
// of one, so that nothing is guessed in its place.
func lifetime(status int, h http.Header, d *directives, date, received time.Time) (_ time.Duration, explicit bool) {
	if d.maxAge != unsaid {
		return d.maxAge, true
	}
	if field, ok := h["Expires"]; ok {
		at, ok := readDate(field, received)
		if !ok {
			return 0, true
		}
		return min(max(at.Sub(date), 0), maxSpan), true
	}
	if !heuristic(status) && !d.public {
		return 0, false
	}
	modified, ok := readDate(h["Last-Modified"], received)
	if !ok {
		return 0, false
	}
	return min(max(date.Sub(modified)/10, 0), heuristicMax), false
}

// heuristic lists the statuses that RFC 9110 defines as heuristically cacheable.
func heuristic(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// understood says of which statuses the requirements are known here.
func understood(status int) bool {
	return status >= 200 && http.StatusText(status) != "" && !forbidden(status)
}

// forbidden lists what RFC 6585 says a cache MUST NOT store, and the answers to
// conditions and ranges, which are to no other request.
func forbidden(status int) bool {
	switch status {
	case 304, 412, 416, 428, 429, 431, 511:
		return true
	}
	return status < 200
}

// Unstorable says in a few words why the answer to a GET must not be stored, or
// "" if it may (section 3). An answer that could never be reused, for it has
// neither lifetime nor validator nor a time for which it may be stale, need not
// be; beyond is such a time that the cache's owner grants.
//
// A 206 is refused: see [Response.UnstorablePart].
func (r *Response) Unstorable(q *Request, beyond time.Duration) string {
	if r.status == http.StatusPartialContent {
		return "part"
	}
	return r.unstorable(q, beyond)
}

// UnstorablePart is Unstorable for a cache that tells a 206 from a whole, by
// [ContentRange], and answers with [Part].
func (r *Response) UnstorablePart(q *Request, beyond time.Duration) string {
	if !r.part {
		return "not a part"
	}
	return r.unstorable(q, beyond)
}

func (r *Response) unstorable(q *Request, beyond time.Duration) string {
	switch {
	case q.NoStore:
		return "request no-store"
	case r.noStore:
		return "no-store"
	case forbidden(r.status):
		return "status"
	case r.varies:
		return "vary *"
	case !r.explicit && !r.permitted && !heuristic(r.status):
		return "status without lifetime"
	case r.lifetime == 0 && !r.validator &&
		(r.noCache || r.mustRevalidate || max(r.whileRevalidate, r.ifError, q.ifError, beyond) <= r.initial):
		return "no lifetime and no validator"
	}
	return ""
}

// Explicit reports whether the answer states its lifetime, with max-age or
// Expires. Only such an answer to a POST may be reused, for a later GET, and
// only where its Content-Location is the target ([SameTarget]; RFC 9110,
// section 9.3.3).
func (r *Response) Explicit() bool { return r.explicit }

// Age is how old the answer is at now, in truth or in fear: both clocks are
// asked, for the monotonic one stops while some machines sleep, and the wall
// clock can be set back.
func (r *Response) Age(now time.Time) time.Duration {
	resident := max(now.Sub(r.received), now.Round(0).Sub(r.received.Round(0)), 0)
	return r.initial + min(resident, maxSpan)
}

// TTL is for how much longer the answer is fresh; negative, for how long it has
// not been.
func (r *Response) TTL(now time.Time) time.Duration { return r.lifetime - r.Age(now) }

// Until is when the answer can no longer be given without the server's word:
// the end of its freshness, or of the longest time for which it may be stale,
// beyond being one that the cache's owner grants.
func (r *Response) Until(beyond time.Duration) time.Time {
	span := r.lifetime - r.initial
	if !r.noCache && !r.mustRevalidate {
		span += min(max(r.whileRevalidate, r.ifError, beyond, 0), maxSpan)
	}
	return r.received.Add(max(span, 0))
}

// Use is what may be done with a stored answer.
type Use uint8

const (
	// Validate: the server must be asked first, with [Conditions] where the
	// answer has a validator. If that fails, [Response.StaleIfError] tells whether
	// the answer may be given all the same.
	Validate Use = iota
	// Fresh: it may be given.
	Fresh
	// Refresh: it may be given now, and the server asked meanwhile
	// (stale-while-revalidate).
	Refresh
	// Stale: it is stale, and the request says that this will do (max-stale).
	Stale
)

// Use decides about a request whose selecting fields match the stored answer's.
// It allocates nothing.
func (r *Response) Use(q *Request, now time.Time) Use {
	if r.noCache || q.NoCache || r.noStore || r.status == 0 {
		return Validate
	}
	age := r.Age(now)
	// RFC 8246: a reload is no reason to ask about what never changes.
	if !(r.immutable && age < r.lifetime) && q.maxAge != unsaid && (age > q.maxAge || q.maxAge == 0) {
		return Validate
	}
	stale := age - r.lifetime
	switch {
	case stale < -max(q.minFresh, 0): // so much of its lifetime is left
		return Fresh
	case q.minFresh > 0 || r.mustRevalidate:
		return Validate
	case q.maxStale != unsaid && stale < q.maxStale:
		return Stale
	case q.maxAge == unsaid && stale < r.whileRevalidate:
		return Refresh
	}
	return Validate
}

// StaleIfError reports whether the answer may be given although it is not to be
// used without the server's word, because the server has none (RFC 5861,
// section 4): it failed, or could not be reached. beyond is a time after its
// freshness that the cache's owner grants, where neither the answer nor the
// request grants more. No one can grant it against must-revalidate or no-cache.
func (r *Response) StaleIfError(q *Request, now time.Time, beyond time.Duration) bool {
	if r.noCache || r.mustRevalidate || q.NoCache || r.noStore || r.status == 0 {
		return false
	}
	window := max(r.ifError, q.ifError, beyond)
	return window > 0 && -r.TTL(now) < window
}
