package rttest_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/seed-9e4f5248/snubber/rttest"
)

// logging is a transport that forgets a method.
type logging struct{ http.RoundTripper }

// Outside a test a single rule can be asked, here one that does not wait.
func ExampleRules() {
	wrap := func(base http.RoundTripper) http.RoundTripper { return logging{base} }
	for _, rule := range rttest.Rules() {
		if rule.Name == "close-idle-connections" {
			fmt.Println(rule.Check(wrap))
		}
	}
	// Output: rttest_test.logging has no method CloseIdleConnections
}

// In a test, Run checks them all.
func ExampleRun() {
	_ = func(t *testing.T) { // func TestContract(t *testing.T)
		rttest.Run(t, func(base http.RoundTripper) http.RoundTripper {
			return logging{base} // the transport under test
		})
	}
}
