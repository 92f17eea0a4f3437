package bench

import (
	"flag"
	"os"
	"testing"
)

// TestMain asks for more than rapid's hundred inputs: in a bubble they are
// cheap. The flag on the command line still decides.
func TestMain(m *testing.M) {
	flag.Set("rapid.checks", "400")
	os.Exit(m.Run())
}
