package source

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// module writes a module of the given files and makes the go command look at
// it alone.
func module(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	t.Setenv("GOWORK", "off")
	dir = t.TempDir()
	files["go.mod"] = "module example\n\ngo 1.25.0\n"
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// An interface of one package can be compared with a type of another only if
// both mean the same objects.
func TestLoadSharesObjectsBetweenPackages(t *testing.T) {
	dir := module(t, map[string]string{
		"a.go":        "package example\n\nimport \"example/low\"\n\nvar V low.T\n",
		"a_test.go":   "package example\n\nvar OnlyInTests int\n",
		"low/low.go":  "package low\n\ntype T struct{}\n",
		"t/t_test.go": "package t\n",
	})
	pkgs, err := Load(dir, "./...")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, p := range pkgs {
		paths = append(paths, p.Path)
	}
	if want := []string{"example/low", "example"}; !slices.Equal(paths, want) {
		t.Fatalf("loaded %q, want %q", paths, want)
	}
	low, top := pkgs[0].Types.Scope(), pkgs[1].Types.Scope()
	if top.Lookup("V").Type() != low.Lookup("T").Type() {
		t.Error("the type of V is not the T of package low")
	}
	if top.Lookup("OnlyInTests") != nil {
		t.Error("a test's declaration was loaded")
	}
}

func TestLoadRefusesBrokenPackage(t *testing.T) {
	for name, text := range map[string]string{
		"a type that is missing":      "package example\n\nfunc F() Missing\n",
		"a body that does not check":  "package example\n\nfunc F() { G() }\n",
		"a declaration that is cut":   "package example\n\nfunc F(\n",
		"an import that is not there": "package example\n\nimport _ \"example/nowhere\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			if pkgs, err := Load(module(t, map[string]string{"a.go": text}), "./..."); err == nil {
				t.Errorf("Load = %v, want an error", pkgs)
			}
		})
	}
}
