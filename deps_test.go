package snubber_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// required lists the modules that a program gets into its module graph by
// importing this module, each with its reason. A nested module requires
// everything else that the repository uses: SDKs, peers, linters.
var required = map[string]struct{ version, why string }{
	"github.com/sony/gobreaker/v2":   {"v2.4.0", "the states and counts of a circuit, in the two-step form that a streamed body needs"},
	"github.com/cenkalti/backoff/v4": {"v4.3.0", "the growing intervals between attempts"},
	"golang.org/x/time":              {"v0.15.0", "token buckets; v0.16.0 says go 1.26 and so would every program that imports us"},
}

// unwanted lists packages of the standard library that the root package must
// not bring into a program.
var unwanted = map[string]string{
	"testing":           "belongs to rttest and snubbertest, which only tests import",
	"net/http/httptest": "registers a flag",
	"net/http/pprof":    "registers handlers on http.DefaultServeMux",
	"expvar":            "registers a handler on http.DefaultServeMux",
	"text/template":     "finds methods by name, so the linker can drop none in the whole program",
}

// The root module requires only the modules in required.
func TestModuleRequiresNothingElse(t *testing.T) {
	var mod struct {
		Go        string
		Toolchain string
		Require   []struct {
			Path, Version string
			Indirect      bool
		}
		Replace, Exclude, Tool []any
	}
	if err := json.Unmarshal(goCommand(t, "mod", "edit", "-json"), &mod); err != nil {
		t.Fatal(err)
	}
	// A program's own lines may not be lower than these two.
	if mod.Go != "1.25.0" || mod.Toolchain != "" {
		t.Errorf("go.mod says go %q, toolchain %q; want 1.25.0 and none", mod.Go, mod.Toolchain)
	}
	// A replacement and an exclusion hold only in this repository. With them,
	// the tests would use other modules than a program does.
	if len(mod.Replace) > 0 || len(mod.Exclude) > 0 {
		t.Errorf("go.mod replaces %v and excludes %v; want neither", mod.Replace, mod.Exclude)
	}
	// The requirements of a tool become the module's, and so its users'.
	if len(mod.Tool) > 0 {
		t.Errorf("go.mod has tools %v; they belong to internal/tools", mod.Tool)
	}
	missing := make(map[string]bool)
	for path := range required {
		missing[path] = true
	}
	for _, r := range mod.Require {
		delete(missing, r.Path)
		want, ok := required[r.Path]
		switch {
		case !ok || r.Indirect:
			t.Errorf("go.mod requires %s %s (indirect: %v), which is not in this test's list", r.Path, r.Version, r.Indirect)
		case r.Version != want.version:
			t.Errorf("go.mod requires %s %s, want %s: %s", r.Path, r.Version, want.version, want.why)
		}
	}
	for path := range missing {
		t.Errorf("go.mod does not require %s: take it from this test's list", path)
	}
}

// The packages of the root module import only the standard library and the
// modules in required.
func TestPackagesImportNothingElse(t *testing.T) {
	const self = "github.com/seed-9e4f5248/snubber"
	out := goCommand(t, "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}} {{.Module.Path}} {{.Dir}}{{end}}", "./...")
	used := make(map[string]bool)
	for line := range strings.Lines(string(out)) {
		fields := strings.SplitN(strings.TrimSpace(line), " ", 3)
		pkg, module, dir := fields[0], fields[1], fields[2]
		used[module] = true
		if module == self && pkg != self {
			os.ReadDir(dir) // for the test cache, as in goCommand
		}
		if _, ok := required[module]; !ok && module != self {
			t.Errorf("%s of module %s is imported, which is not in this test's list", pkg, module)
		}
	}
	for path, m := range required {
		if !used[path] {
			t.Errorf("%s is imported nowhere outside tests; it was for: %s", path, m.why)
		}
	}
	for line := range strings.Lines(string(goCommand(t, "list", "-deps", "."))) {
		if why, ok := unwanted[strings.TrimSpace(line)]; ok {
			t.Errorf("the root package imports %s, which %s", strings.TrimSpace(line), why)
		}
	}
}

// goCommand runs the go command without the workspace, as a user of the module
// does. In the workspace all its modules agree on the versions.
func goCommand(t *testing.T, args ...string) []byte {
	t.Helper()
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command to ask")
	}
	// A result is cached until a file changes that the test itself looked at.
	os.Stat("go.mod")
	cmd := exec.Command(tool, args...)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return out
}
