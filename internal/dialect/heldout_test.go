package dialect

import (
	"encoding/json"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"testing"
)

// The replies in testdata/heldout were collected from public reports before the
// rules that judge them were written, and no rule was changed for one of them.
// They tell what the rules are worth for a provider that nobody has looked at:
// a reply that the rules get wrong stays here, and counts.
func TestHeldout(t *testing.T) {
	raw, err := os.ReadFile("testdata/heldout/index.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		fixture
		Path  string `json:"path"`
		Class string `json:"class"`
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	right := 0
	for _, fx := range all {
		fx.File = filepath.Join("heldout", fx.File)
		r := fx.load(t)
		r.Route = RouteOf("POST", &url.URL{Path: fx.Path})
		v := Classify(r)
		wait := 0.0
		if fx.WaitS != nil {
			wait = *fx.WaitS
		}
		if v.Class == classNames[fx.Class] && math.Abs(v.Wait.Seconds()-wait) < 1e-9 {
			right++
			continue
		}
		t.Logf("%s: class %d, wait %v; want %s, %v s", fx.File, v.Class, v.Wait, fx.Class, wait)
	}
	t.Logf("%d of %d read exactly right", right, len(all))
	if right*10 < len(all)*9 {
		t.Errorf("%d of %d are read exactly right, want nine in ten", right, len(all))
	}
}

// classNames are the classes as the indexes of recorded replies name them.
var classNames = map[string]Class{
	"Success": Success, "RateLimited": RateLimited, "QuotaExhausted": QuotaExhausted,
	"Overloaded": Overloaded, "ServerError": ServerError, "Transient": Transient,
	"TooLong": TooLong, "Filtered": Filtered, "Invalid": Invalid,
}
