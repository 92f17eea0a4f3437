// Command names checks that texts name only what exists. It reads the Markdown
// files that are its arguments, looks up what stands in backticks, and prints
// each file and each identifier that the module in the current directory does
// not have. It fails if it has printed anything.
//
//	go run ./internal/tools/names ARCHITECTURE.md
//
// It is a command, not a test of this module: the go command takes a test's
// result from its cache although files outside the test's module have changed.
package main

import (
	"fmt"
	"os"
)

func main() {
	ok, err := run(".", os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "names:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(dir string, texts []string) (ok bool, err error) {
	t, err := load(dir)
	if err != nil {
		return false, err
	}
	ok = true
	for _, name := range texts {
		text, err := os.ReadFile(name)
		if err != nil {
			return false, err
		}
		for _, missing := range t.check(string(text)) {
			fmt.Printf("%s:%s\n", name, missing)
			ok = false
		}
	}
	return ok, nil
}
