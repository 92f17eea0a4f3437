package rttest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/seed-9e4f5248/snubber/rttest"
)

func TestRunOnSoundTransports(t *testing.T) {
	for _, sound := range []struct {
		name string
		wrap func(http.RoundTripper) http.RoundTripper
	}{
		{"identity", func(base http.RoundTripper) http.RoundTripper { return base }},
		{"pass", func(base http.RoundTripper) http.RoundTripper { return pass{base} }},
		{"retry", func(base http.RoundTripper) http.RoundTripper { return &retry{base: base} }},
		{"nest", func(base http.RoundTripper) http.RoundTripper { return pass{&retry{base: pass{base}}} }},
	} {
		t.Run(sound.name, func(t *testing.T) {
			t.Parallel()
			rttest.Run(t, sound.wrap)
		})
	}
}

func TestRulesAreNamedAndFresh(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rttest.Rules() {
		if r.Name == "" || strings.ToLower(r.Name) != r.Name || strings.ContainsAny(r.Name, " /") {
			t.Errorf("the name %q is not fit for -run", r.Name)
		}
		if r.Doc == "" || r.Check == nil {
			t.Errorf("%s has no Doc or no Check", r.Name)
		}
		if seen[r.Name] {
			t.Errorf("two rules are named %s", r.Name)
		}
		seen[r.Name] = true
	}
	rttest.Rules()[0].Name = "changed"
	if rttest.Rules()[0].Name == "changed" {
		t.Error("two calls of Rules share a slice")
	}
}
