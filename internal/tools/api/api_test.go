package main

import (
	"os"
	"strings"
	"testing"

	"github.com/seed-9e4f5248/snubber/internal/tools/source"
)

// The sample's api.txt is written as the root's is: go run ../.. -w there, and
// then read the difference.
func TestSurface(t *testing.T) {
	pkgs, err := source.Load("testdata/sample", ".")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/sample/api.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(surface(pkgs[0].Types), "\n") + "\n"; got != string(want) {
		t.Errorf("surface of testdata/sample:\n%s\nwant:\n%s", got, want)
	}
}
