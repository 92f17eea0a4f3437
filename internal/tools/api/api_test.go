package main

import (
	"os"
	"strings"
	"testing"
)

// The sample's api.txt is written as the root's is: go run ../.. -w there, and
// then read the difference.
func TestSurface(t *testing.T) {
	pkg, err := load("testdata/sample")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/sample/api.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(surface(pkg), "\n") + "\n"; got != string(want) {
		t.Errorf("surface of testdata/sample:\n%s\nwant:\n%s", got, want)
	}
}

// A package that does not compile has no surface: a part of it would pass for
// a change of the API.
func TestLoadRefusesBrokenPackage(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module broken\n\ngo 1.25.0\n",
		"a.go":   "package broken\n\nfunc F() Missing\n",
	} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOWORK", "off")
	if _, err := load(dir); err == nil {
		t.Error("load succeeded, want an error")
	}
}
