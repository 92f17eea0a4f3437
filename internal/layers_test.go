// Package internal_test holds the direction of the imports among the packages
// under internal.
package internal_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/seed-9e4f5248/snubber"

// A layer is a package under internal: the floor that it stands on, and what
// it may import besides the standard library. The name of a package under
// internal is short ("quota"), that of another module's package is complete.
type layer struct {
	floor   int
	imports []string
}

// layers are all packages under internal that the library is made of. None
// imports the root package: a program's call goes down through them once.
var layers = map[string]layer{
	"mono":     {0, nil},
	"notify":   {0, nil},
	"jsonscan": {0, nil},
	"neterr":   {0, nil},

	"keyed":   {1, nil},
	"sieve":   {1, nil},
	"latency": {1, nil},
	"stream":  {1, nil},
	"canon":   {1, nil},

	"breaker":   {2, []string{"mono", "github.com/sony/gobreaker/v2"}},
	"body":      {2, []string{"notify"}},
	"watchdog":  {2, []string{"mono"}},
	"quota":     {2, []string{"golang.org/x/time/rate"}},
	"dialect":   {2, []string{"jsonscan", "stream"}},
	"rfc9111":   {2, nil},
	"diskstore": {2, nil},

	"cachestore": {3, []string{"sieve", "rfc9111"}},
	"limit":      {3, []string{"mono", "latency", "quota"}},

	"httpcache": {4, []string{"notify", "canon", "dialect", "rfc9111", "cachestore"}},
}

// above are packages for tests, and a nested module. They may import the root
// package and everything under internal.
var above = []string{"conform", "peers", "tools"}

// helpers are packages that only tests import, those of every layer among them.
// A helper imports nothing but the standard library and the lowest floor.
var helpers = []string{"wiretest"}

func TestLayers(t *testing.T) {
	for _, problem := range problems(t, os.DirFS("."), layers) {
		t.Error(problem)
	}
}

// The table itself allows no import that points up or sideways.
func TestLayersPointDown(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(layers)) {
		for _, path := range layers[name].imports {
			if external(path) {
				continue
			}
			if below, ok := layers[path]; !ok || below.floor >= layers[name].floor {
				t.Errorf("%s on floor %d may import %s, which stands on no lower floor", name, layers[name].floor, path)
			}
		}
	}
}

func external(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

// problems compares the packages of fsys, which is the directory internal,
// with the table.
func problems(t *testing.T, fsys fs.FS, layers map[string]layer) []string {
	t.Helper()
	var (
		found []string
		used  = make(map[string]map[string]bool) // imports, without those of tests
	)
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || slices.Contains(above, name)) {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".go" || !strings.Contains(name, "/") {
			return nil
		}
		pkg := name[:strings.LastIndex(name, "/")]
		l, listed := layers[pkg]
		if !listed && !slices.Contains(helpers, pkg) {
			found = append(found, fmt.Sprintf("%s: package %s is not in the table of layers", name, pkg))
			return nil
		}
		test := strings.HasSuffix(name, "_test.go")
		if used[pkg] == nil {
			used[pkg] = make(map[string]bool)
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !external(path) {
				continue // the standard library
			}
			path = strings.TrimPrefix(path, module+"/internal/")
			if !test {
				used[pkg][path] = true
			}
			lowest, known := layers[path]
			allowed := slices.Contains(helpers, pkg) && known && lowest.floor == 0 || slices.Contains(l.imports, path) || test && (path == pkg || slices.Contains(helpers, path))
			if !allowed {
				found = append(found, fmt.Sprintf("%s: %s may not import %s", name, pkg, path))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range slices.Sorted(maps.Keys(layers)) {
		if used[pkg] == nil {
			found = append(found, fmt.Sprintf("%s is in the table of layers, but does not exist", pkg))
			continue
		}
		for _, path := range layers[pkg].imports {
			if !used[pkg][path] {
				found = append(found, fmt.Sprintf("%s may import %s, but does not: take it from the table", pkg, path))
			}
		}
	}
	return found
}

// The check itself, on small trees.
func TestLayersProblems(t *testing.T) {
	table := map[string]layer{
		"low":  {0, nil},
		"mid":  {1, []string{"low", "example.com/lib/v2"}},
		"high": {2, []string{"low", "mid"}},
	}
	file := func(pkg string, imports ...string) *fstest.MapFile {
		text := "package " + pkg + "\n"
		for _, path := range imports {
			text += "import _ " + strconv.Quote(path) + "\n"
		}
		return &fstest.MapFile{Data: []byte(text)}
	}
	in := func(pkg string) string { return module + "/internal/" + pkg }
	tree := func(changes fstest.MapFS) fstest.MapFS {
		fsys := fstest.MapFS{
			"layers_test.go":      file("internal_test", module),
			"low/a.go":            file("low", "net/http"),
			"low/a_test.go":       file("low_test", "testing", in("low"), in("wiretest")),
			"low/testdata/x/x.go": file("x", module),
			"mid/a.go":            file("mid", in("low"), "example.com/lib/v2"),
			"high/a.go":           file("high", in("low"), in("mid")),
			"wiretest/a.go":       file("wiretest", "testing"),
			"peers/a_test.go":     file("peers_test", module, in("wiretest")),
			"tools/x/a.go":        file("main", module),
		}
		maps.Copy(fsys, changes)
		return fsys
	}
	for _, test := range []struct {
		name string
		fsys fstest.MapFS
		want []string
	}{
		{"clean", tree(nil), nil},
		{"upwards", tree(fstest.MapFS{"low/b.go": file("low", in("mid"))}), []string{"low/b.go: low may not import mid"}},
		{"upwards in a test", tree(fstest.MapFS{"low/b_test.go": file("low", in("mid"))}), []string{"low/b_test.go: low may not import mid"}},
		{"the root", tree(fstest.MapFS{"high/b.go": file("high", module)}), []string{"high/b.go: high may not import " + module}},
		{"the root in a test", tree(fstest.MapFS{"high/b_test.go": file("high", module)}), []string{"high/b_test.go: high may not import " + module}},
		{"a public package", tree(fstest.MapFS{"high/b.go": file("high", module+"/rttest")}), []string{"high/b.go: high may not import " + module + "/rttest"}},
		{"a helper of tests", tree(fstest.MapFS{"low/b.go": file("low", in("wiretest"))}), []string{"low/b.go: low may not import wiretest"}},
		{"a helper of tests that knows a layer", tree(fstest.MapFS{"wiretest/b.go": file("wiretest", in("mid"))}), []string{"wiretest/b.go: wiretest may not import mid"}},
		{"a helper of tests that knows the root", tree(fstest.MapFS{"wiretest/b.go": file("wiretest", module)}), []string{"wiretest/b.go: wiretest may not import " + module}},
		{"a module", tree(fstest.MapFS{"high/b.go": file("high", "example.com/lib/v2")}), []string{"high/b.go: high may not import example.com/lib/v2"}},
		{"an unlisted package", tree(fstest.MapFS{"new/a.go": file("new")}), []string{"new/a.go: package new is not in the table of layers"}},
		{"an unlisted package below a listed one", tree(fstest.MapFS{"low/new/a.go": file("new")}), []string{"low/new/a.go: package low/new is not in the table of layers"}},
		{"missing and unused", tree(fstest.MapFS{"high/a.go": file("high", in("mid")), "mid": nil, "mid/a.go": nil}), []string{
			"high may import low, but does not: take it from the table", "mid is in the table of layers, but does not exist"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			maps.DeleteFunc(test.fsys, func(_ string, f *fstest.MapFile) bool { return f == nil })
			if got := problems(t, test.fsys, table); !slices.Equal(got, test.want) {
				t.Errorf("problems = %q, want %q", got, test.want)
			}
		})
	}
}
