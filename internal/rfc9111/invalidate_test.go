package rfc9111

import (
	"net/url"
	"slices"
	"testing"
)

func TestInvalidates(t *testing.T) {
	for _, c := range []struct {
		method string
		status int
		want   bool
	}{
		{"POST", 200, true}, {"PUT", 201, true}, {"DELETE", 204, true}, {"PATCH", 200, true},
		{"M-SEARCH", 200, true}, {"FOO", 200, true}, {"get", 200, true}, // methods have case
		{"POST", 303, true}, {"POST", 399, true},
		{"POST", 400, false}, {"FOO", 404, false}, {"PUT", 500, false}, {"POST", 101, false},
		{"GET", 200, false}, {"", 200, false}, {"HEAD", 200, false}, {"OPTIONS", 200, false}, {"TRACE", 200, false},
		{"PROPFIND", 207, false}, {"QUERY", 200, false},
	} {
		if got := Invalidates(c.method, c.status); got != c.want {
			t.Errorf("%s %d: %v, want %v", c.method, c.status, got, c.want)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		target, location string
		want             []string
	}{
		{"https://a.example/x?y=z", "/b?c=d#e", []string{"https://a.example/b?c=d"}},
		{"https://a.example/x/y", "z", []string{"https://a.example/x/z"}},
		{"https://a.example/x", "https://A.example:443/b", []string{"https://A.example:443/b"}},
		{"http://a.example:80/x", "//a.example/b", []string{"http://a.example/b"}},
		{"https://a.example/x", "https://b.example/b", nil},
		{"https://a.example/x", "http://a.example/b", nil},
		{"https://a.example/x", "https://a.example:8443/b", nil},
		{"https://a.example/x", "https://a.example.evil/b", nil},
		{"https://a.example/x", "https://user@a.example/b", []string{"https://user@a.example/b"}},
		{"https://a.example/x", "http://[::1", nil},
		{"https://a.example/x", "mailto:a@a.example", nil},
	} {
		target, _ := url.Parse(c.target)
		for _, name := range []string{"Location", "Content-Location"} {
			var got []string
			for _, u := range Targets(target, fields(name+": "+c.location)) {
				got = append(got, u.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %s of %s: %q, want %q", name, c.location, c.target, got, c.want)
			}
		}
		if target.String() != c.target {
			t.Errorf("%s became %s", c.target, target)
		}
	}
	target, _ := url.Parse("https://a.example/x")
	if got := Targets(target, fields("Location: /1", "Content-Location: /2", "Content-Location: /3")); len(got) != 3 {
		t.Errorf("%v, want three", got)
	}
}

func TestSameTarget(t *testing.T) {
	for _, c := range []struct {
		target, location string
		want             bool
	}{
		{"https://a.example/x?y", "/x?y", true},
		{"https://a.example/x?y", "?y", true},
		{"https://a.example/x?y", "https://a.example:443/x?y", true},
		{"https://a.example", "/", true},
		{"https://a.example/x?y", "/x", false},
		{"https://a.example/x?y", "/x?z", false},
		{"https://a.example/x", "http://a.example/x", false},
		{"https://a.example/x%2Fy", "/x/y", false},
		{"https://a.example/x", "%zz", false},
	} {
		target, _ := url.Parse(c.target)
		if got := SameTarget(target, fields("Content-Location: "+c.location)); got != c.want {
			t.Errorf("%s of %s: %v, want %v", c.location, c.target, got, c.want)
		}
	}
	target, _ := url.Parse("https://a.example/x")
	if SameTarget(target, fields()) || SameTarget(target, fields("Content-Location: /x", "Content-Location: /x")) {
		t.Error("not one Content-Location, and it is the target's")
	}
}
