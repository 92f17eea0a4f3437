package body

import (
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strings"
	"unsafe"
)

// CopyOf returns a copy of the request's body, to be read and closed while the body
// itself waits to be sent. It is nil where GetBody is not proven to make copies:
// azcore's returns the body itself, set back to its start, and whoever reads that
// leaves nothing to send.
//
// A reader of bytes in memory that nothing wraps but [io.NopCloser] is a copy if
// GetBody makes a new one each time.
func CopyOf(req *http.Request) io.ReadCloser {
	if req.Body == nil || req.Body == http.NoBody || req.GetBody == nil {
		return nil
	}
	return copyBy(req.GetBody, inMemory(req.Body))
}

// copyBy is CopyOf for a body that is the reader of memory own, or nil.
func copyBy(getBody func() (io.ReadCloser, error), own unsafe.Pointer) io.ReadCloser {
	again, err := getBody()
	if err != nil || again == nil {
		return nil
	}
	reads := inMemory(again)
	if own != nil && reads != nil && reads != own {
		return again // of http.NewRequest, most of the time
	}
	if own == nil && reads != nil {
		another, err := getBody()
		if err == nil && another != nil {
			if also := inMemory(another); also != nil && also != reads {
				return another
			}
		}
	}
	// A body that is not made anew stands this: net/http closes it before it asks
	// GetBody for it.
	again.Close()
	return nil
}

var (
	nopClosers = [...]reflect.Type{
		reflect.TypeOf(io.NopCloser(new(bytes.Reader))),
		reflect.TypeOf(io.NopCloser(struct{ io.Reader }{})), // of what is no io.WriterTo
	}
	memoryReaders = [...]reflect.Type{reflect.TypeFor[*bytes.Reader](), reflect.TypeFor[*bytes.Buffer](), reflect.TypeFor[*strings.Reader]()}
)

// inMemory is the reader of memory that rc is, with a Close that does nothing, or nil.
func inMemory(rc io.ReadCloser) unsafe.Pointer {
	v := reflect.ValueOf(rc)
	if t := v.Type(); t != nopClosers[0] && t != nopClosers[1] {
		return nil
	}
	inner := v.Field(0).Elem()
	if !inner.IsValid() {
		return nil
	}
	for _, t := range memoryReaders {
		if inner.Type() == t {
			return inner.UnsafePointer()
		}
	}
	return nil
}
