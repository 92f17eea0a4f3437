//go:build !plan9

package neterr

import "syscall"

// The errors, as [errors.Is] finds them.
const (
	Refused     = syscall.ECONNREFUSED // nobody listens there
	Reset       = syscall.ECONNRESET   // by the other side
	Broken      = syscall.EPIPE        // the other side reads no more
	Unreachable = syscall.EHOSTUNREACH // there is no route
)
