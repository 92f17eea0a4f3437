package neterr

import "syscall"

// The errors, as [errors.Is] finds them.
const (
	Refused     = syscall.ErrorString("connection refused")
	Reset       = syscall.ErrorString("connection reset by peer")
	Broken      = syscall.ErrorString("write to hungup stream")
	Unreachable = syscall.ErrorString("no route")
)
