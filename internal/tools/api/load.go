package main

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

// load type-checks the package in dir, without its tests. It reads the
// source, not the compiled export data, because only the source keeps the
// names of parameters; what the package imports comes from export data, which
// go list builds or finds in the build cache. This is what
// golang.org/x/tools/go/packages would do, in so few lines that the dependency
// is not worth having.
func load(dir string) (*types.Package, error) {
	list := exec.Command("go", "list", "-deps", "-export", "-json=ImportPath,Export,Dir,GoFiles,DepOnly", ".")
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
		export = map[string]string{}
		target listed
	)
	for dec := json.NewDecoder(bytes.NewReader(stdout)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		export[p.ImportPath] = p.Export
		if !p.DepOnly {
			target = p
		}
	}

	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range target.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(target.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if export[path] == "" {
			return nil, fmt.Errorf("no export data for %q", path)
		}
		return os.Open(export[path])
	})}
	return conf.Check(target.ImportPath, fset, files, nil)
}
