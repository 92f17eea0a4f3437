// Command proves shows that the tests of a fix fail without it. It checks out
// the parent of a commit in a directory of its own, puts the commit's tests there
// and runs those that the commit has added or changed:
//
//	go run ./internal/tools/proves COMMIT...
//
// Of each test it prints how it goes on the parent: "fails", which is what a fix
// is to show, "does not build", where the tests need names that the fix brings, or
// "passes". It fails if a commit has no test that fails or does not build.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: proves COMMIT...")
		os.Exit(2)
	}
	all := true
	for _, commit := range os.Args[1:] {
		proved, err := prove(os.Stdout, ".", commit)
		if err != nil {
			fmt.Fprintln(os.Stderr, "proves:", err)
			os.Exit(2)
		}
		all = all && proved
	}
	if !all {
		os.Exit(1)
	}
}

// prove prints how the tests of a commit of the repository in dir go on its parent,
// and reports whether one of them shows the fix.
func prove(w io.Writer, dir, commit string) (proved bool, err error) {
	subject, err := git(dir, "log", "-1", "--format=%h %s", commit)
	if err != nil {
		return false, err
	}
	commit, _, _ = strings.Cut(subject, " ") // HEAD is another one in the other directory
	fmt.Fprintln(w, strings.TrimSpace(subject))
	names, err := git(dir, "diff", "--name-only", "--diff-filter=AM", "--no-renames", commit+"^", commit)
	if err != nil {
		return false, err
	}
	var carried []string
	tests := make(map[string][]string) // by package
	for name := range strings.Lines(names) {
		name = strings.TrimSpace(name)
		isTest := strings.HasSuffix(name, "_test.go") && !strings.Contains(name, "testdata/")
		if isTest || strings.Contains("/"+name, "/testdata/") {
			carried = append(carried, name)
		}
		if !isTest {
			continue
		}
		diff, err := git(dir, "diff", "-U0", "--function-context", commit+"^", commit, "--", name)
		if err != nil {
			return false, err
		}
		pkg := path.Dir(name)
		for _, test := range touched(diff) {
			if !slices.Contains(tests[pkg], test) {
				tests[pkg] = append(tests[pkg], test)
			}
		}
	}

	parent, err := os.MkdirTemp("", "proves")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(parent)
	if _, err := git(dir, "worktree", "add", "--detach", filepath.Join(parent, "w"), commit+"^"); err != nil {
		return false, err
	}
	parent = filepath.Join(parent, "w")
	defer git(dir, "worktree", "remove", "--force", parent)
	if len(carried) > 0 {
		if _, err := git(parent, append([]string{"checkout", commit, "--"}, carried...)...); err != nil {
			return false, err
		}
	}
	for _, pkg := range sortedKeys(tests) {
		for _, test := range tests[pkg] {
			result := run(filepath.Join(parent, pkg), test)
			proved = proved || result != "passes"
			fmt.Fprintf(w, "\t%s %s: %s\n", pkg, test, result)
		}
	}
	if !proved {
		fmt.Fprintln(w, "\tno test shows the fix")
	}
	return proved, nil
}

// touched lists the tests and fuzz targets whose functions a diff adds to or
// changes. The diff has whole functions as context.
func touched(diff string) (names []string) {
	name, changed := "", false
	end := func() {
		if name != "" && changed {
			names = append(names, name)
		}
		name, changed = "", false
	}
	for line := range strings.Lines(diff) {
		body := strings.TrimLeft(line, "+- ")
		switch {
		case strings.HasPrefix(line, "@@"), strings.HasPrefix(line, "diff "), strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"):
			end()
			continue
		case strings.HasPrefix(line, "-func "):
			continue // it is another function now, or none
		case strings.HasPrefix(line[min(1, len(line)):], "func "):
			end()
			body, ok := strings.CutPrefix(body, "func ")
			if before, _, found := strings.Cut(body, "("); ok && found && (strings.HasPrefix(before, "Test") || strings.HasPrefix(before, "Fuzz")) && before != "TestMain" {
				name = before
			}
		}
		changed = changed || line[0] == '+' || line[0] == '-'
	}
	end()
	return names
}

// run tells how one test goes in a directory.
func run(dir, test string) string {
	var out bytes.Buffer
	cmd := exec.Command("go", "test", "-count=1", "-run", "^"+test+"$", ".")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	err := cmd.Run()
	switch text := out.String(); {
	case err == nil:
		return "passes"
	case strings.Contains(text, "[build failed]"), strings.Contains(text, "[setup failed]"):
		return "does not build"
	}
	return "fails"
}

func git(dir string, args ...string) (string, error) {
	var out, problem bytes.Buffer
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &problem
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(problem.String()))
	}
	return out.String(), nil
}

func sortedKeys(m map[string][]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
