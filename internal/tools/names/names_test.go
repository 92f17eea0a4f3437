package main

import (
	"slices"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Setenv("GOWORK", "off")
	tree, err := load("testdata/module")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ text, missing string }{
		{"no name at all, not even Gone or gone.go", ""},

		{"`top.go`", ""},
		{"`./top.go`", ""},
		{"`internal/low`", ""},
		{"`internal/low/`", ""},
		{"`internal/low/low.go`", ""},
		{"`internal/low/*.go`", ""},
		{"`gone.go`", "gone.go"},
		{"`low.go`", "low.go"},
		{"`GONE.md`", "GONE.md"},
		{"`internal/gone`", "internal/gone"},
		{"`internal/low/gone_*.go`", "internal/low/gone_*.go"},
		{"two on a line: `top.go`, `gone.go`", "gone.go"},

		{"`Top`", ""},
		{"`*Top`", ""},
		{"`call`", ""},
		{"`call()`", ""},
		{"`Top.Run`", ""},
		{"`Top.Run()`", ""},
		{"`Top.state`", ""},
		{"`Top.state.open`", ""},
		{"`Top.engine.Engine`", "Top.engine.Engine"},
		{"`Top.engine.queue`", ""},
		{"`Top.Start`", ""}, // promoted
		{"`Gone`", "Gone"},
		{"`Run`", "Run"},
		{"`Top.Gone`", "Top.Gone"},
		{"`Top.Run.Gone`", "Top.Run.Gone"},
		{"`call.Run`", "call.Run"},

		{"`low`", ""},
		{"`low.Engine`", ""},
		{"`low.Engine.queue`", ""},
		{"`low.Engine.Gone`", "low.Engine.Gone"},
		{"`low.Gone`", "low.Gone"},
		{"`Engine`", "Engine"},
		{"`gone.Engine`", "gone.Engine"},
		{"`sync.Mutex.Lock`", ""},
		{"`sync.Gone`", "sync.Gone"},
		{"`nil`", ""},
		{"`http.Client`", "http.Client"}, // nothing here imports it

		{"`Top.mu → low.Engine.mu`", ""},
		{"`Top.mu → gone.mu`", "gone.mu"},
		{"`go run ./internal/low -v`", ""},
		{"`go run ./internal/gone -v`", "./internal/gone"},
		{"`go test ./...`", ""},
		{"`429`, `Retry-After`, `https://example.com/x.go`", ""},

		{"```\n low Gone\n```\n`Top`", ""},
		{"```\n  internal/low   engines\n  internal/gone/x.go\n```", "internal/gone/x.go"},
		{"```\n| top.go | gone.go |\n```", "gone.go"},
	} {
		got := tree.check(test.text)
		for i := range got {
			_, got[i], _ = strings.Cut(got[i], "there is no ")
		}
		var want []string
		if test.missing != "" {
			want = []string{test.missing}
		}
		if !slices.Equal(got, want) {
			t.Errorf("check(%q) = %q, want %q", test.text, got, want)
		}
	}
	if got, want := tree.check("one\n`Top`\n`Gone`"), []string{"3: there is no Gone"}; !slices.Equal(got, want) {
		t.Errorf("check = %q, want %q", got, want)
	}
}
