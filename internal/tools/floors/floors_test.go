package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// checked runs floors on a module, which has no workspace.
func checked(t *testing.T, dir string, p plan, limit int) (out string, ok bool) {
	t.Helper()
	t.Setenv("GOWORK", "off")
	var b bytes.Buffer
	ok, err := run(&b, dir, p, options{max: limit})
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), ok
}

var clean = plan{order: [][]string{{"low.go"}, {"pair.go", "other.go"}, {"high.go"}}}

func TestCleanModulePrintsNothing(t *testing.T) {
	if out, ok := checked(t, "testdata/clean", clean, 0); out != "" || !ok {
		t.Errorf("run = %q, %v, want nothing, true", out, ok)
	}
}

func TestReferencesAgainstTheOrder(t *testing.T) {
	against := plan{order: [][]string{{"low.go"}, {"high.go"}}}
	out, ok := checked(t, "testdata/against", against, 0)
	if ok {
		t.Error("run = true, want false")
	}
	source, err := os.ReadFile("testdata/against/low.go")
	if err != nil {
		t.Fatal(err)
	}
	line := func(text string) int {
		before, _, ok := strings.Cut(string(source), text)
		if !ok {
			t.Fatalf("no %q in low.go", text)
		}
		return strings.Count(before, "\n") + 1
	}
	// The names of each line, in the order of the source.
	want := []struct{ text, names string }{
		{"constant ", "Limit"},
		{"variable ", "Made"},
		{"promoted ", "Box.Open Outer.Box"},
		{"field ", "Box.Size Outer.Box"},
		{"methodValue ", "Box.Close Outer.Box"},
		{"expression ", "Box Box.Close"},
		{"generic ", "Each"},
		{"instance ", "Numbers"},
		{"value ", "Of.Value"},
		{"get ", "Of.Get"},
		{"deep ", "Deep"},
		{"twice ", "Box.Size Outer.Box Pointed.Outer"},
		{"type embeds", "Box"},
		{"Box{Size", "Box Box.Size"},
		{"throughInterface", "Opener Opener.Open"},
	}
	var b strings.Builder
	n := 0
	for _, w := range want {
		for name := range strings.FieldsSeq(w.names) {
			fmt.Fprintf(&b, "low.go:%d: %s is declared in high.go, which is higher\n", line(w.text), name)
			n++
		}
	}
	fmt.Fprintf(&b, "%d references run against the order, want at most 0\n", n)
	if out != b.String() {
		t.Errorf("run prints\n%swant\n%s", out, &b)
	}

	// The same number may stay for a while, and no more than that.
	if out, ok := checked(t, "testdata/against", against, n); !ok {
		t.Errorf("run with -max %d = %q, %v, want true", n, out, ok)
	}
	if _, ok := checked(t, "testdata/against", against, n-1); ok {
		t.Errorf("run with -max %d = true, want false", n-1)
	}
	var count bytes.Buffer
	if ok, err := run(&count, "testdata/against", against, options{count: true}); count.String() != fmt.Sprintln(n) || !ok || err != nil {
		t.Errorf("run with -count prints %q, %v, %v, want %d, true", count.String(), ok, err, n)
	}
}

// What two files of one line may do, they may not on two.
func TestGroupOfFiles(t *testing.T) {
	apart := plan{order: [][]string{{"low.go"}, {"pair.go"}, {"other.go"}, {"high.go"}}}
	out, ok := checked(t, "testdata/clean", apart, 0)
	if want := "pair.go:3: other is declared in other.go, which is higher\n"; ok || !strings.Contains(out, want) {
		t.Errorf("run = %q, %v, want %q in it, false", out, ok, want)
	}
}

func TestFilesOfTheOrder(t *testing.T) {
	for _, test := range []struct {
		name string
		p    plan
		want string
	}{
		{"unlisted", plan{order: [][]string{{"low.go"}, {"pair.go", "other.go"}}}, "high.go is not in the order of files\n"},
		{"missing", plan{order: append(slices.Clone(clean.order), []string{"gone.go"})}, "gone.go is in the order of files, but does not exist\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if out, ok := checked(t, "testdata/clean", test.p, 0); out != test.want || ok != (test.want == "") {
				t.Errorf("run = %q, %v, want %q, %v", out, ok, test.want, test.want == "")
			}
		})
	}
}

// write writes a module of the given files.
func write(t *testing.T, texts map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range texts {
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

// circle is a package of n files, each of which uses a function of the next.
func circle(dir string, n int) map[string]string {
	texts := map[string]string{"go.mod": "module example\n\ngo 1.25.0\n", "a.go": "package example\n"}
	for i := range n {
		texts[fmt.Sprintf("%s/f%d.go", dir, i)] = fmt.Sprintf("package p\n\nfunc f%d() { f%d() }\n", i, (i+1)%n)
	}
	return texts
}

func TestCycles(t *testing.T) {
	one := [][]string{{"a.go"}}
	allowed := map[string]cycleSizes{"internal/p": {[]int{4}, "for the test"}}
	for _, test := range []struct {
		name string
		dir  string
		n    int
		p    plan
		want string
	}{
		{"three files", "internal/p", 3, plan{order: one}, ""},
		{"four files", "internal/p", 4, plan{order: one}, "internal/p: cycle of 4 files, want at most 3: f0.go f1.go f2.go f3.go\n"},
		{"four files deep down", "internal/p/q", 4, plan{order: one}, "internal/p/q: cycle of 4 files, want at most 3: f0.go f1.go f2.go f3.go\n"},
		{"four files in a public package", "p", 4, plan{order: one}, ""},
		{"four allowed", "internal/p", 4, plan{order: one, cycles: allowed}, ""},
		{"four allowed elsewhere", "internal/q", 4, plan{order: one, cycles: allowed}, "internal/q: cycle of 4 files, want at most 3: f0.go f1.go f2.go f3.go\n"},
		{"five of four allowed", "internal/p", 5, plan{order: one, cycles: allowed}, "internal/p: cycle of 5 files, want at most 4 (for the test): f0.go f1.go f2.go f3.go f4.go\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if out, ok := checked(t, write(t, circle(test.dir, test.n)), test.p, 0); out != test.want || ok != (test.want == "") {
				t.Errorf("run = %q, %v, want %q, %v", out, ok, test.want, test.want == "")
			}
		})
	}
}

// A second cycle of more than three files is one more than was allowed.
func TestSecondCycle(t *testing.T) {
	texts := circle("internal/p", 4)
	for name, text := range circle("internal/p", 4) {
		if base := filepath.Base(name); base[0] == 'f' {
			texts["internal/p/g"+base[1:]] = strings.ReplaceAll(text, "f", "g")
			texts["internal/p/g"+base[1:]] = strings.ReplaceAll(texts["internal/p/g"+base[1:]], "gunc", "func")
		}
	}
	p := plan{order: [][]string{{"a.go"}}, cycles: map[string]cycleSizes{"internal/p": {[]int{4}, "for the test"}}}
	want := "internal/p: cycle of 4 files, want at most 3: g0.go g1.go g2.go g3.go\n"
	if out, ok := checked(t, write(t, texts), p, 0); out != want || ok {
		t.Errorf("run = %q, %v, want %q, false", out, ok, want)
	}
}

// What floors cannot read, it does not pass.
func TestUnreadableModule(t *testing.T) {
	for name, texts := range map[string]map[string]string{
		"does not compile": {"a.go": "package example\n\nfunc F() { G() }\n"},
		"other systems":    {"a.go": "package example\n", "a_plan9.go": "package example\n"},
		"no root package":  {"p/p.go": "package p\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOWORK", "off")
			texts["go.mod"] = "module example\n\ngo 1.25.0\n"
			var b bytes.Buffer
			p := plan{order: [][]string{{"a.go"}, {"a_plan9.go"}}}
			if ok, err := run(&b, write(t, texts), p, options{}); ok || err == nil {
				t.Errorf("run = %v, %v, printed %q, want an error", ok, err, &b)
			}
		})
	}
}

// Each file has one place.
func TestHouseNamesEachFileOnce(t *testing.T) {
	seen := make(map[string]int)
	for _, line := range house.order {
		for _, f := range line {
			seen[f]++
		}
	}
	for f, n := range seen {
		if n > 1 {
			t.Errorf("%s is named %d times, want once", f, n)
		}
	}
}
