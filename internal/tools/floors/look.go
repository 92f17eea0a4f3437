package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-9e4f5248/snubber/internal/tools/source"
)

// most is how many places of each kind are listed, where they have a size.
const most = 10

// A place is something to look at.
type place struct {
	size int
	text string
}

// look lists places to look at in the root package and those under internal.
// A long function may be right, and so may anything else here.
func look(w io.Writer, m *module) error {
	var files, funcs, methods, fields, prose []place
	for _, pkg := range m.pkgs {
		for _, f := range pkg.Files {
			tf := pkg.Fset.File(f.Package)
			name := filepath.Join(m.rel(pkg), filepath.Base(tf.Name()))
			files = append(files, place{tf.LineCount(), name})
			at := func(line int) string { return fmt.Sprintf("%s:%d", name, line) }
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok {
					funcs = append(funcs, place{lines(pkg.Fset, fn), at(pkg.Fset.Position(fn.Pos()).Line) + " " + fn.Name.Name})
				}
			}
			prose = append(prose, long(docParagraphs(pkg.Fset, f), at)...)
		}
		scope := pkg.Types.Scope()
		for _, name := range scope.Names() {
			tn, ok := scope.Lookup(name).(*types.TypeName)
			if !ok || tn.IsAlias() {
				continue
			}
			at := m.position(pkg, tn.Pos()) + " " + name
			if !types.IsInterface(tn.Type()) {
				methods = append(methods, place{types.NewMethodSet(types.NewPointer(tn.Type())).Len(), at})
			}
			if st, ok := tn.Type().Underlying().(*types.Struct); ok {
				for f := range st.Fields() {
					if _, ok := f.Type().Underlying().(*types.Signature); ok {
						fields = append(fields, place{text: m.position(pkg, f.Pos()) + " " + name + "." + f.Name()})
					}
				}
			}
		}
	}
	texts, err := filepath.Glob(filepath.Join(m.root.Dir, "*.md"))
	if err != nil {
		return err
	}
	for _, path := range texts {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		prose = append(prose, long(markdownParagraphs(string(text)), func(line int) string { return fmt.Sprintf("%s:%d", name, line) })...)
	}

	list(w, "longest files, in lines", largest(files))
	list(w, "longest functions, in lines", largest(funcs))
	list(w, "types with most methods, promoted ones included", largest(methods))
	list(w, "fields of a function type", fields)
	list(w, "interfaces with a single implementation outside tests", single(m))
	list(w, "longest sentences of doc comments and Markdown, in words", largest(prose))
	return nil
}

func list(w io.Writer, title string, places []place) {
	fmt.Fprintf(w, "\n%s:\n", title)
	for _, p := range places {
		if p.size > 0 {
			fmt.Fprintf(w, "%5d  %s\n", p.size, p.text)
		} else {
			fmt.Fprintf(w, "       %s\n", p.text)
		}
	}
}

func largest(places []place) []place {
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(b.size, a.size) })
	return places[:min(most, len(places))]
}

func lines(fset *token.FileSet, n ast.Node) int {
	return fset.Position(n.End()).Line - fset.Position(n.Pos()).Line + 1
}

func long(paragraphs []paragraph, at func(line int) string) []place {
	var found []place
	for _, p := range paragraphs {
		for _, s := range sentences(p.text) {
			found = append(found, place{wordCount(s), at(p.line) + " " + s})
		}
	}
	return found
}

// position is a file and a line, seen from the root of the module.
func (m *module) position(pkg *source.Package, pos token.Pos) string {
	p := pkg.Fset.Position(pos)
	return fmt.Sprintf("%s:%d", filepath.Join(m.rel(pkg), filepath.Base(p.Filename)), p.Line)
}

// single finds interfaces that one type of the module implements. Interfaces
// without methods, constraints and generic types are left out.
func single(m *module) []place {
	type declared struct {
		pkg *source.Package
		obj *types.TypeName
	}
	var interfaces, concrete []declared
	for _, pkg := range m.all {
		scope := pkg.Types.Scope()
		for _, name := range scope.Names() {
			tn, ok := scope.Lookup(name).(*types.TypeName)
			if !ok || tn.IsAlias() || generic(tn) {
				continue
			}
			i, ok := tn.Type().Underlying().(*types.Interface)
			switch {
			case !ok:
				concrete = append(concrete, declared{pkg, tn})
			case i.IsMethodSet() && !i.Empty() && slices.Contains(m.pkgs, pkg):
				interfaces = append(interfaces, declared{pkg, tn})
			}
		}
	}
	var found []place
	for _, i := range interfaces {
		var by []string
		for _, c := range concrete {
			if types.Implements(types.NewPointer(c.obj.Type()), i.obj.Type().Underlying().(*types.Interface)) {
				by = append(by, strings.TrimPrefix(m.rel(c.pkg)+".", "..")+c.obj.Name())
			}
		}
		if len(by) == 1 {
			found = append(found, place{text: m.position(i.pkg, i.obj.Pos()) + " " + i.obj.Name() + ", by " + by[0]})
		}
	}
	return found
}

func generic(tn *types.TypeName) bool {
	n, ok := tn.Type().(*types.Named)
	return ok && n.TypeParams().Len() > 0
}
