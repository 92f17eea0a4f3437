// Command floors holds the direction of references inside packages, where the
// compiler allows any. It type-checks the module in the current directory and
// prints
//
//   - each reference in the root package that runs against the order of its
//     files in house.go: a file may use what is declared in files below it;
//   - each file of the root package that the order does not list, and each
//     file that it lists and that does not exist;
//   - each cycle of more than three files, in the root package and in every
//     package under internal, unless house.go allows it with a reason.
//
// It fails if it has printed anything. Its flags:
//
//	-count   print only the number of references against the order
//	-max N   allow N references against the order
//	-v       list places to look at too: what is long, has many methods, or
//	         may be an indirection without need. None of it fails.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-9e4f5248/snubber/internal/tools/source"
)

func main() {
	count := flag.Bool("count", false, "print only the number of references against the order")
	limit := flag.Int("max", 0, "allow `N` references against the order")
	verbose := flag.Bool("v", false, "list places to look at too")
	flag.Parse()
	ok, err := run(os.Stdout, ".", house, options{*limit, *count, *verbose})
	if err != nil {
		fmt.Fprintln(os.Stderr, "floors:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

type options struct {
	max            int
	count, verbose bool
}

// run checks the module in dir and reports whether it keeps the plan.
func run(w io.Writer, dir string, p plan, opt options) (ok bool, err error) {
	m, err := load(dir)
	if err != nil {
		return false, err
	}
	against := p.against(references(m.root))
	if opt.count {
		fmt.Fprintln(w, len(against))
		return true, nil
	}

	found := p.misplaced(m.files)
	for _, pkg := range m.pkgs {
		found = append(found, p.overgrown(m.rel(pkg), cycles(references(pkg)))...)
	}
	switch n := len(against); {
	case n > opt.max:
		for _, r := range against {
			found = append(found, fmt.Sprintf("%s:%d: %s is declared in %s, which is higher", r.from, r.pos.Line, r.name, r.to))
		}
		found = append(found, fmt.Sprintf("%d references run against the order, want at most %d", n, opt.max))
	case opt.max > 0:
		fmt.Fprintf(w, "%d references run against the order, at most %d may\n", n, opt.max)
	}
	for _, line := range found {
		fmt.Fprintln(w, line)
	}
	if opt.verbose {
		if err := look(w, m); err != nil {
			return false, err
		}
	}
	return len(found) == 0, nil
}

// module is a module's root package and the packages below it.
type module struct {
	root  *source.Package
	pkgs  []*source.Package // the root and all under internal, each after those that it imports
	all   []*source.Package // these and all others
	files []string          // the root's files, without tests
}

func load(dir string) (*module, error) {
	all, err := source.Load(dir, "./...")
	if err != nil {
		return nil, err
	}
	m := &module{all: all}
	here, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	for _, pkg := range all {
		if at, err := os.Stat(pkg.Dir); err == nil && os.SameFile(here, at) {
			m.root = pkg
		}
	}
	if m.root == nil {
		return nil, errors.New("no Go package in the current directory")
	}
	for _, pkg := range all {
		if rel := m.rel(pkg); rel == "." || strings.HasPrefix(rel, "internal/") {
			m.pkgs = append(m.pkgs, pkg)
		}
	}
	sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	for _, name := range sources {
		if !strings.HasSuffix(name, "_test.go") {
			m.files = append(m.files, filepath.Base(name))
		}
	}
	slices.Sort(m.files)
	// A file that this system leaves out would pass unread.
	if built := files(m.root); !slices.Equal(built, m.files) {
		return nil, fmt.Errorf("the root package is built from %q here, of %q: floors cannot read the others", built, m.files)
	}
	return m, nil
}

// rel is the package's directory, seen from the root of the module.
func (m *module) rel(pkg *source.Package) string {
	if pkg == m.root {
		return "."
	}
	return strings.TrimPrefix(pkg.Path, m.root.Path+"/")
}
