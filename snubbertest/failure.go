package snubbertest

import (
	"net/http"
	"strconv"
	"time"
)

// problem is why a request is not answered.
type problem uint8

const (
	badRequest problem = iota
	notFound
	tooLarge // can never be admitted
	failLimited
	failExhausted
	failOverloaded
	serverError
)

type failure struct {
	problem problem
	status  int // 0: the vendor's for the problem
	message string
	model   string

	// What a limited or tooLarge request ran into: requests, tokens or
	// concurrency.
	unit                   string
	limit, used, requested int

	wait       time.Duration // the true wait; 0: unknown or not told
	exact      bool          // tell wait in milliseconds too
	retryAfter string        // replaces wait
}

// problemOf is the problem that a bare status stands for.
func problemOf(status int) problem {
	switch {
	case status == 404:
		return notFound
	case status == 413:
		return tooLarge
	case status == 429:
		return failLimited
	case status == 402:
		return failExhausted
	case status == 503 || status == 529:
		return failOverloaded
	case status >= 500:
		return serverError
	}
	return badRequest
}

// or is the failure's status or, if it has none, the one given.
func (f *failure) or(status int) int {
	if f.status != 0 {
		return f.status
	}
	return status
}

// hint sets Retry-After, in whole seconds rounded up as providers send it.
func (f *failure) hint(h http.Header) {
	switch {
	case f.retryAfter != "":
		h.Set("Retry-After", f.retryAfter)
	case f.wait > 0:
		h.Set("Retry-After", strconv.FormatInt(int64((f.wait-1)/time.Second)+1, 10))
		if f.exact {
			h.Set("Retry-After-Ms", strconv.FormatInt(int64((f.wait-1)/time.Millisecond)+1, 10))
		}
	}
}

// try is the sentence in which messages repeat the wait, "" if it is not told.
func (f *failure) try(words, end string) string {
	if f.retryAfter != "" || f.wait == 0 {
		return ""
	}
	return words + roundUp(f.wait, time.Millisecond).String() + end
}

func roundUp(d, unit time.Duration) time.Duration {
	return (d + unit - 1).Truncate(unit)
}

// failure is an error response that no quota of the provider is the reason
// for. A quota is invented where the dialect tells one: clients compare what
// was requested with the limit.
func (c *call) failure(why problem, status int) *failure {
	return &failure{problem: why, status: status, model: c.record.Model, unit: "requests", limit: 60, used: 60, requested: 1}
}

// failure is the error response that a fault stands for, nil if it has none.
func (f *Fault) failure(c *call) *failure {
	why := badRequest
	switch f.Kind {
	case RateLimited:
		why = failLimited
	case QuotaExhausted:
		why = failExhausted
	case Overloaded:
		why = failOverloaded
	case ServerError:
		why = serverError
	case BrownOut:
		why = problemOf(f.Status)
	default:
		return nil
	}
	e := c.failure(why, f.Status)
	e.retryAfter = f.RetryAfter
	return e
}
