// Package source type-checks Go packages from their source. It knows nothing
// of what its callers look for in them.
package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// A Package is one type-checked package, without its tests.
type Package struct {
	Path  string // import path
	Dir   string // absolute
	Fset  *token.FileSet
	Files []*ast.File // with comments
	Types *types.Package
	Info  *types.Info // Defs, Uses and Selections
}

// Load type-checks the packages that the patterns name, seen from dir, and
// returns each after those that it imports. A package without other files
// than tests is left out. A package that does not compile is an error: a part
// of it would pass for the whole.
//
// Load reads the source of these packages, not their compiled export data,
// because only the source keeps positions and the names of parameters; what
// else they import comes from export data, which go list builds or finds in
// the build cache. An object of one of these packages is the same object
// wherever another uses it. This is what golang.org/x/tools/go/packages would
// do, in so few lines that the dependency is not worth having.
func Load(dir string, patterns ...string) ([]*Package, error) {
	args := []string{"list", "-deps", "-export", "-json=ImportPath,Export,Dir,GoFiles,DepOnly", "--"}
	list := exec.Command("go", append(args, patterns...)...)
	list.Dir, list.Stderr = dir, os.Stderr
	stdout, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}

	type listed struct {
		ImportPath, Export, Dir string
		GoFiles                 []string
		DepOnly                 bool
	}
	var (
		fset    = token.NewFileSet()
		export  = map[string]string{}
		checked = map[string]*types.Package{}
		pkgs    []*Package
	)
	compiled := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if export[path] == "" {
			return nil, fmt.Errorf("no export data for %q", path)
		}
		return os.Open(export[path])
	})
	conf := types.Config{Importer: importerFunc(func(path string) (*types.Package, error) {
		if p := checked[path]; p != nil {
			return p, nil
		}
		return compiled.Import(path)
	})}
	for dec := json.NewDecoder(bytes.NewReader(stdout)); ; {
		var l listed
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return pkgs, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		export[l.ImportPath] = l.Export
		if l.DepOnly || len(l.GoFiles) == 0 {
			continue
		}
		p := &Package{Path: l.ImportPath, Dir: l.Dir, Fset: fset, Info: &types.Info{
			Defs:       map[*ast.Ident]types.Object{},
			Uses:       map[*ast.Ident]types.Object{},
			Selections: map[*ast.SelectorExpr]*types.Selection{},
		}}
		for _, name := range l.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(l.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			p.Files = append(p.Files, f)
		}
		if p.Types, err = conf.Check(l.ImportPath, fset, p.Files, p.Info); err != nil {
			return nil, err
		}
		checked[l.ImportPath] = p.Types
		pkgs = append(pkgs, p)
	}
}

type importerFunc func(path string) (*types.Package, error)

func (f importerFunc) Import(path string) (*types.Package, error) { return f(path) }
