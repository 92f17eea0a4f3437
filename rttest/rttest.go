// Package rttest checks that an [http.RoundTripper] which wraps another one
// keeps the contract of net/http, and the habits that callers of net/http have
// come to rely on: who closes which body, what a caller's request looks like
// afterwards, how long a context lives, what a cancellation does.
//
// A transport of one's own is tested by saying how it is built around a base:
//
//	func TestContract(t *testing.T) {
//		rttest.Run(t, func(base http.RoundTripper) http.RoundTripper {
//			return &mylib.Transport{Base: base}
//		})
//	}
//
// The base that the suite hands in lives in memory, behaves as [http.Transport]
// does and records what reaches it; nothing touches the network.
//
// The rules hold for a plain pass-through and for transports that retry, limit
// or break circuits alike: where a retrying transport may send again, one
// attempt is as good as several, and every one of them is looked at. Not made
// for the suite are transports that answer by themselves, such as a cache with
// something in it, or that rewrite bodies on purpose.
//
// # Time
//
// Every rule runs in a bubble of [testing/synctest], so backoffs of minutes
// take no time, and a goroutine that never ends fails the test. For this, all
// state with timers and channels has to be made by the wrap function, which is
// called inside the bubble, several times a rule.
//
// # Sources
//
// The documentation of [http.RoundTripper], [http.Request] and
// [http.Response]; RFC 9110; and bugs that were really found in published
// retry, breaker and hedging transports, each of which fails a rule.
package rttest

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A Rule is one clause of the contract.
type Rule struct {
	// Name is short, unique, lower case and fit for -run: "request-untouched".
	Name string

	// Doc says in a sentence what a transport has to do.
	Doc string

	// Check returns nil if the transport that wrap builds keeps the rule, and
	// otherwise an error that says what it did instead. It calls wrap several
	// times and expects a new transport each time, so that failures sent
	// through one cannot open the circuit of the next.
	//
	// It waits in virtual time and is meant to be called inside a
	// [testing/synctest] bubble; outside one it works too, but may take hours.
	Check func(wrap func(base http.RoundTripper) http.RoundTripper) error
}

// Rules returns all rules. The slice is the caller's: take rules out of it
// that a transport breaks on purpose, and say why beside the code that does.
func Rules() []Rule {
	return slices.Concat(requestRules(), replayRules(), responseRules(), bodyRules(), contextRules(), transportRules())
}

// Run checks every rule in a subtest of its own, each in its own bubble. It must
// not be called inside a bubble.
func Run(t *testing.T, wrap func(base http.RoundTripper) http.RoundTripper) {
	t.Helper()
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := rule.Check(wrap); err != nil {
					t.Errorf("%s: %v", rule.Doc, err)
				}
				// A bubble's clock stops with its first goroutine. What is bound
				// by a timer may still end; only what never would is a leak.
				time.Sleep(time.Hour)
			})
		})
	}
}
