package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// The places are listed, and change nothing about the result.
func TestLook(t *testing.T) {
	t.Setenv("GOWORK", "off")
	dir := write(t, map[string]string{
		"go.mod":    "module example\n\ngo 1.25.0\n",
		"README.md": "# Title\n\nThis is a sentence of seven words. Short.\n",
		"a.go": `// Package example is short.
package example

import "example/internal/p"

type Base struct{ hook func() }

func (Base) A() {}
func (*Base) B() {}

type Top struct{ Base }

func (Top) C() {
	_ = p.Only.A
}

type Two interface{ A() }
`,
		"internal/p/p.go": `package p

type Only interface{ A(); B(); C() }

type None interface{ D() }

type Empty interface{}
`,
	})
	var b bytes.Buffer
	ok, err := run(&b, dir, plan{order: [][]string{{"a.go"}}}, options{verbose: true})
	if !ok || err != nil {
		t.Fatalf("run = %v, %v, want true", ok, err)
	}
	const want = `
longest files, in lines:
   17  a.go
    7  internal/p/p.go

longest functions, in lines:
    3  a.go:13 C
    1  a.go:8 A
    1  a.go:9 B

types with most methods, promoted ones included:
    3  a.go:11 Top
    2  a.go:6 Base

fields of a function type:
       a.go:6 Base.hook

interfaces with a single implementation outside tests:
       internal/p/p.go:3 Only, by Top

longest sentences of doc comments and Markdown, in words:
    7  README.md:3 This is a sentence of seven words.
    4  a.go:1 Package example is short.
    1  README.md:3 Short.
`
	if b.String() != want {
		t.Errorf("run prints %s\nwant %s", &b, want)
	}
}

func TestLookListsTheLargest(t *testing.T) {
	texts := circle("internal/p", 2)
	for i := range 2 * most {
		texts["internal/p/f0.go"] += fmt.Sprintf("\nfunc g%d() {%s}\n", i, strings.Repeat("\n", i))
	}
	t.Setenv("GOWORK", "off")
	var b bytes.Buffer
	if _, err := run(&b, write(t, texts), plan{order: [][]string{{"a.go"}}}, options{verbose: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "in lines:\n   20  ") || strings.Count(b.String(), " g") != most {
		t.Errorf("run prints %s\nwant the %d longest functions, the first of 20 lines", &b, most)
	}
}
