package main

import (
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

func TestSentences(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"One. Two two.\nThree?", []string{"One.", "Two two.", "Three?"}},
		{"No end", []string{"No end"}},
		{"Some, e.g. these (i.e. all) vs. others.", []string{"Some, e.g. these (i.e. all) vs. others."}},
		{"A, b, etc. and c etc. Then d.", []string{"A, b, etc. and c etc.", "Then d."}},
		{"It is 1.5 or v2.0 of x.y.Z here.", []string{"It is 1.5 or v2.0 of x.y.Z here."}},
		{"See https://example.com/a.b?c=d! It is there.", []string{"See https://example.com/a.b?c=d!", "It is there."}},
		{"(In brackets.) And \"quoted.\" x lower.", []string{"(In brackets.)", "And \"quoted.\"", "x lower."}},
		{"**Bold end.** More", []string{"**Bold end.**", "More"}},
	} {
		if got := sentences(test.text); !slices.Equal(got, test.want) {
			t.Errorf("sentences(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}

func TestWordCount(t *testing.T) {
	if got := wordCount("Two – words, and 3 … more ( ) ."); got != 5 {
		t.Errorf("wordCount = %d, want 5", got)
	}
}

func TestMarkdownParagraphs(t *testing.T) {
	text := strings.ReplaceAll(`# Heading. Not prose

First 'a. b' line
goes on, see [the. docs](https://example.com/x.y) ![badge](z).

'''go
code. Not prose
'''
| table. | Not prose |
|---|---|
- an item
  over two lines
- another
3. numbered
<!-- a comment
that goes on -->
<p>HTML</p>
> quoted
`, "'", "`")
	var got []string
	for _, p := range markdownParagraphs(text) {
		got = append(got, strings.Join(strings.Fields(p.text), " "))
	}
	want := []string{"First code line goes on, see the. docs .", "an item over two lines", "another", "numbered", "quoted"}
	if !slices.Equal(got, want) {
		t.Errorf("paragraphs = %q, want %q", got, want)
	}
	if p := markdownParagraphs(text)[0]; p.line != 3 {
		t.Errorf("the first paragraph is on line %d, want 3", p.line)
	}
}

func TestDocParagraphs(t *testing.T) {
	const text = `// Package p has a [link] of a
// doc.
//
//	code. Not prose
//
// # Heading
//
//   - item one
//   - item two
//
// [link]: https://example.com
package p

// T is a type.
type T struct {
	// F is a field.
	F int // a remark
}

// not a doc comment

// M is a method.
func (T) M() {
	// inside
}
`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range docParagraphs(fset, f) {
		got = append(got, strings.Join(strings.Fields(p.text), " "))
	}
	want := []string{"Package p has a link of a doc.", "item one", "item two", "T is a type.", "F is a field.", "M is a method."}
	if !slices.Equal(got, want) {
		t.Errorf("paragraphs = %q, want %q", got, want)
	}
}
