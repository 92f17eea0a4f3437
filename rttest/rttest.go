// Package rttest checks that an [http.RoundTripper] which wraps another one keeps
// the contract of net/http. It also checks the habits that callers of net/http rely
// on: which side closes a body, that a caller's request stays as it was, how long a
// context lives, what a cancellation ends.
//
// To test a transport, tell Run how to build it around a base:
//
//	func TestContract(t *testing.T) {
//		rttest.Run(t, func(base http.RoundTripper) http.RoundTripper {
//			return &mylib.Transport{Base: base}
//		})
//	}
//
// The suite's base is in memory, behaves like [http.Transport] and records what
// reaches it. Nothing touches the network.
//
// The rules apply to a plain pass-through and to transports that retry, limit or
// break circuits. Where a transport may send a request again, the rules accept one
// attempt or several, and check each. The suite is not for transports that answer
// without their base, such as a cache with entries, or that rewrite bodies.
//
// # Time
//
// Every rule runs in a [testing/synctest] bubble, so a backoff of minutes takes no
// time, and a goroutine that never ends fails the test. The wrap function must
// therefore make all state with timers and channels. Each rule calls it several
// times, inside the bubble.
//
// # Sources
//
// The rules are from the documentation of [http.RoundTripper], [http.Request] and
// [http.Response], from RFC 9110, and from bugs of published retry, breaker and
// hedging transports. Each of these bugs fails a rule.
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
	// otherwise an error that says what the transport did instead. Check calls wrap
	// several times. Each call must return a new transport, so that the failures of
	// one test do not open the circuit of the next.
	//
	// Call Check inside a [testing/synctest] bubble. Outside a bubble it works too,
	// but may take hours.
	Check func(wrap func(base http.RoundTripper) http.RoundTripper) error
}

// Rules returns all rules, in a new slice. Remove the rules that a transport breaks
// on purpose, and say why beside the code that removes them.
func Rules() []Rule {
	return slices.Concat(requestRules(), replayRules(), responseRules(), bodyRules(), contextRules(), transportRules())
}

// Run checks every rule in a subtest and a bubble of its own. Do not call it inside a
// bubble.
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
