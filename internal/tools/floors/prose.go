package main

import (
	"go/ast"
	"go/doc/comment"
	"go/token"
	"regexp"
	"strings"
	"unicode"
)

// A paragraph is running text with the line on which it begins.
type paragraph struct {
	line int
	text string
}

// docParagraphs lists the paragraphs and list items of the doc comments in f,
// without code. All begin, as far as this says, where their comment does.
func docParagraphs(fset *token.FileSet, f *ast.File) []paragraph {
	var found []paragraph
	add := func(doc *ast.CommentGroup) {
		if doc == nil {
			return
		}
		var p comment.Parser
		line := fset.Position(doc.Pos()).Line
		for _, text := range docTexts(p.Parse(doc.Text()).Content) {
			found = append(found, paragraph{line, text})
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.File:
			add(n.Doc)
		case *ast.GenDecl:
			add(n.Doc)
		case *ast.FuncDecl:
			add(n.Doc)
			return false
		case *ast.TypeSpec:
			add(n.Doc)
		case *ast.ValueSpec:
			add(n.Doc)
		case *ast.Field:
			add(n.Doc)
		}
		return true
	})
	return found
}

func docTexts(blocks []comment.Block) []string {
	var texts []string
	for _, b := range blocks {
		switch b := b.(type) {
		case *comment.Paragraph:
			texts = append(texts, plain(b.Text))
		case *comment.List:
			for _, item := range b.Items {
				texts = append(texts, docTexts(item.Content)...)
			}
		}
	}
	return texts
}

func plain(texts []comment.Text) string {
	var b strings.Builder
	for _, t := range texts {
		switch t := t.(type) {
		case comment.Plain:
			b.WriteString(string(t))
		case comment.Italic:
			b.WriteString(string(t))
		case *comment.Link:
			b.WriteString(plain(t.Text))
		case *comment.DocLink:
			b.WriteString(plain(t.Text))
		}
	}
	return b.String()
}

var (
	inlineCode = regexp.MustCompile("(``+).*?(``+)|`[^`]*`")
	image      = regexp.MustCompile(`!\[[^\]]*\]\([^)]*\)`)
	link       = regexp.MustCompile(`\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])`)
	listItem   = regexp.MustCompile(`^\s*([-*+]|\d+[.)])\s+`)
)

// markdownParagraphs lists the paragraphs and list items of a Markdown text,
// without code blocks, tables, headings and HTML. Code in a line becomes the
// word "code", and a link its text.
func markdownParagraphs(text string) []paragraph {
	var (
		found []paragraph
		open  bool // the last paragraph goes on
		fence string
		html  bool // in a comment
	)
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence != "":
			if strings.HasPrefix(trimmed, fence) {
				fence = ""
			}
			continue
		case strings.HasPrefix(trimmed, "```"), strings.HasPrefix(trimmed, "~~~"):
			fence, open = trimmed[:3], false
			continue
		case html || strings.HasPrefix(trimmed, "<!--"):
			html, open = !strings.Contains(trimmed, "-->"), false
			continue
		case trimmed == "", trimmed[0] == '|', trimmed[0] == '#', trimmed[0] == '<':
			open = false
			continue
		case !open && strings.HasPrefix(line, "    "), line[0] == '\t':
			continue // an indented code block, or a list in a list, which is rare
		}
		item := listItem.FindString(line)
		trimmed = strings.TrimLeft(line[len(item):], "> \t")
		if !open || item != "" {
			found = append(found, paragraph{line: i + 1})
		}
		last := &found[len(found)-1]
		last.text += trimmed + "\n"
		open = true
	}
	for i := range found {
		text := inlineCode.ReplaceAllString(found[i].text, "code")
		text = image.ReplaceAllString(text, "")
		found[i].text = link.ReplaceAllString(text, "$1")
	}
	return found
}

// abbreviations end with a period that ends no sentence.
var abbreviations = map[string]bool{
	"e.g.": true, "i.e.": true, "cf.": true, "vs.": true, "approx.": true,
	"no.": true, "sec.": true, "fig.": true, "resp.": true, "al.": true,
}

// sentences splits running text. A sentence ends with a word that ends with a
// period, a question or an exclamation mark, and after that perhaps with
// quotes and parentheses; "etc." ends one only before a capital letter.
func sentences(text string) []string {
	var (
		found []string
		words []string
	)
	all := strings.Fields(text)
	for i, word := range all {
		words = append(words, word)
		bare := strings.ToLower(strings.TrimLeft(word, `("'“‘*_[`))
		end := strings.TrimRight(word, `)"'”’*_]`)
		if end == "" || !strings.ContainsRune(".?!", rune(end[len(end)-1])) || abbreviations[bare] {
			continue
		}
		if bare == "etc." && i+1 < len(all) && !unicode.IsUpper([]rune(all[i+1])[0]) {
			continue
		}
		found = append(found, strings.Join(words, " "))
		words = nil
	}
	if len(words) > 0 {
		found = append(found, strings.Join(words, " "))
	}
	return found
}

// wordCount counts what has a letter or a digit.
func wordCount(sentence string) int {
	n := 0
	for word := range strings.FieldsSeq(sentence) {
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			n++
		}
	}
	return n
}
