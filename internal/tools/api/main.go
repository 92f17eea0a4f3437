// Command api prints the exported surface of the Go package in the current
// directory, one declaration a line, sorted. The file api.txt beside go.mod
// is its output: a change of the public API is then a change that a reviewer
// sees, on lines that hold nothing else.
//
//	go run ./internal/tools/api      # print
//	go run ./internal/tools/api -w   # write api.txt
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"

	"github.com/seed-9e4f5248/snubber/internal/tools/source"
)

func main() {
	write := flag.Bool("w", false, "write api.txt instead of printing")
	flag.Parse()
	if err := run(*write); err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}

func run(write bool) error {
	pkgs, err := source.Load(".", ".")
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, pkg := range pkgs {
		for _, line := range surface(pkg.Types) {
			out.WriteString(line + "\n")
		}
	}
	if write {
		return os.WriteFile("api.txt", out.Bytes(), 0o666)
	}
	_, err = os.Stdout.Write(out.Bytes())
	return err
}
