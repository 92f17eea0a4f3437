package neterr

import (
	"errors"
	"net"
	"os"
	"testing"
)

// The errors are found where package net puts them.
func TestErrors(t *testing.T) {
	all := []error{Refused, Reset, Broken, Unreachable}
	for i, want := range all {
		err := error(&net.OpError{Op: "read", Err: os.NewSyscallError("read", want)})
		for j, other := range all {
			if got := errors.Is(err, other); got != (i == j) {
				t.Errorf("errors.Is(%v, %v) = %v, want %v", err, other, got, i == j)
			}
		}
	}
}
