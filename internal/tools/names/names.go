package main

import (
	"fmt"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/seed-9e4f5248/snubber/internal/tools/source"
)

// A tree is a repository to look names up in.
type tree struct {
	dir      string
	root     *types.Package
	packages map[string]*types.Package // by name: those of the module, and what they import
}

// load type-checks the module in dir.
func load(dir string) (*tree, error) {
	pkgs, err := source.Load(dir, "./...")
	if err != nil {
		return nil, err
	}
	t := &tree{dir: dir, packages: make(map[string]*types.Package)}
	for _, pkg := range pkgs {
		for _, imported := range pkg.Types.Imports() {
			t.packages[imported.Name()] = imported
		}
	}
	for _, pkg := range pkgs { // these win over others of the same name
		t.packages[pkg.Types.Name()] = pkg.Types
		if sameDir(dir, pkg.Dir) {
			t.root = pkg.Types
		}
	}
	if t.root == nil {
		return nil, fmt.Errorf("no Go package in %s", dir)
	}
	return t, nil
}

func sameDir(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

var (
	span       = regexp.MustCompile("`([^`]+)`")
	identifier = regexp.MustCompile(`^[*&]?[\pL_][\pL\pN_]*(\.[\pL_][\pL\pN_]*)*(\(\))?$`)
	pathOfCode = regexp.MustCompile(`(^|[\s(│|])((\./)?internal/[\w./*-]+|[\w/*-]+\.go)\b`)
	fileName   = regexp.MustCompile(`\.(go|md|txt|mod|sum|json|http)$`)
)

// check lists what text names and the tree does not have, each with its line.
//
// Looked up are the spans between backticks. One with a slash or the ending of
// a file is a path from the root of the repository, and may have a * in it.
// One that looks like an identifier is one of the root package (call,
// Transport.RoundTrip), of a package of the module (limit.Queue, quota) or one
// that they import (sync.Mutex), or predeclared (nil). In a span with arrows
// (→) each part is looked up. Other spans, such as commands, and blocks of code are
// searched for paths alone: what starts with internal/ or ends with .go.
func (t *tree) check(text string) []string {
	var (
		missing []string
		fenced  bool
	)
	for i, line := range strings.Split(text, "\n") {
		var names []string
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if fenced {
			names = paths(line)
		} else {
			for _, m := range span.FindAllStringSubmatch(line, -1) {
				names = append(names, split(m[1])...)
			}
		}
		for _, name := range names {
			if !t.has(name) {
				missing = append(missing, fmt.Sprintf("%d: there is no %s", i+1, name))
			}
		}
	}
	return missing
}

// split lists the names in a span.
func split(s string) []string {
	var names []string
	for part := range strings.SplitSeq(s, "→") {
		part = strings.TrimSpace(part)
		switch {
		case strings.ContainsAny(part, " \t"):
			names = append(names, paths(part)...)
		case isPath(part), identifier.MatchString(part):
			names = append(names, part)
		}
	}
	return names
}

func paths(s string) []string {
	var found []string
	for _, m := range pathOfCode.FindAllStringSubmatch(s, -1) {
		found = append(found, m[2])
	}
	return found
}

// isPath tells a path from an identifier. A media type looks like a path that
// does not exist, so it does not belong between backticks.
func isPath(s string) bool {
	return !strings.Contains(s, "://") && (strings.Contains(s, "/") || fileName.MatchString(s))
}

func (t *tree) has(name string) bool {
	if isPath(name) {
		name = strings.TrimSuffix(strings.TrimSuffix(name, "..."), "/")
		found, err := filepath.Glob(filepath.Join(t.dir, filepath.FromSlash(name)))
		return err == nil && len(found) > 0
	}
	first, rest, more := strings.Cut(strings.TrimSuffix(strings.TrimLeft(name, "*&"), "()"), ".")
	if obj := t.root.Scope().Lookup(first); obj != nil && selects(obj, rest) {
		return true
	}
	if pkg := t.packages[first]; pkg != nil {
		if !more {
			return true
		}
		first, rest, _ := strings.Cut(rest, ".")
		if obj := pkg.Scope().Lookup(first); obj != nil && selects(obj, rest) {
			return true
		}
	}
	return !more && types.Universe.Lookup(first) != nil
}

// selects reports whether path, "" or fields and methods with periods between
// them, leads anywhere from obj. Promoted ones count.
func selects(obj types.Object, path string) bool {
	for path != "" {
		var name string
		name, path, _ = strings.Cut(path, ".")
		// Unexported names belong to the package that declares them, which is
		// that of the type; a field may have the type of another package.
		pkg := obj.Pkg()
		if n, ok := deref(obj.Type()).(*types.Named); ok && n.Obj().Pkg() != nil {
			pkg = n.Obj().Pkg()
		}
		if obj, _, _ = types.LookupFieldOrMethod(obj.Type(), true, pkg, name); obj == nil {
			return false
		}
	}
	return true
}

func deref(t types.Type) types.Type {
	if p, ok := t.Underlying().(*types.Pointer); ok {
		return p.Elem()
	}
	return t
}
