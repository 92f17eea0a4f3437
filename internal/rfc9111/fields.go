package rfc9111

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Keep returns a copy of an answer's header as it is to be stored: without what
// belongs to the connection it came on (section 3.1), without the fields that a
// no-cache names, and with a Date, which a recipient adds where the server sent
// none (RFC 9110, section 6.6.1).
func Keep(h http.Header, received time.Time) http.Header {
	n := 0
	for _, values := range h {
		n += len(values)
	}
	all := make([]string, n) // one for all fields, as in Header.Clone
	kept := make(http.Header, len(h)+1)
	drop := connected(h)
	for name, values := range h {
		if hop(name) || drop[name] {
			continue
		}
		// The capacity ends with the values: an append to one field does not
		// write into the next.
		n := copy(all, values)
		kept[name], all = all[:n:n], all[n:]
	}
	if _, ok := kept["Date"]; !ok {
		kept["Date"] = []string{received.UTC().Format(http.TimeFormat)}
	}
	return kept
}

// connected are the fields that Connection and no-cache name, or nil.
func connected(h http.Header) map[string]bool {
	var drop map[string]bool
	add := func(name string) {
		if drop == nil {
			drop = make(map[string]bool)
		}
		drop[name] = true
	}
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = http.CanonicalHeaderKey(trim(name)); name != "" && !vital(name) {
				add(name)
			}
		}
	}
	if lines, ok := h["Cache-Control"]; ok {
		d := readDirectives(lines)
		for _, name := range d.noCacheFields {
			add(name)
		}
	}
	return drop
}

// hop lists the fields of a connection.
func hop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
		"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// vital lists the fields without which a stored answer would be misread. A
// server that calls one of them a connection's is mistaken (RFC 9110, section
// 7.6.1).
func vital(name string) bool {
	switch name {
	case "Age", "Cache-Control", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type",
		"Date", "Etag", "Expires", "Last-Modified", "Vary":
		return true
	}
	return false
}

// Canonical returns a header with the names that net/http writes: h itself where
// it has no others, else a copy in which a field has its values in one place.
func Canonical(h http.Header) http.Header {
	for name := range h {
		if !canonicalName(name) {
			return canonicalCopy(h)
		}
	}
	return h
}

func canonicalCopy(h http.Header) http.Header {
	c := make(http.Header, len(h))
	for _, name := range slices.Sorted(maps.Keys(h)) { // the values of two spellings in one order
		key := http.CanonicalHeaderKey(name)
		c[key] = append(c[key], h[name]...)
	}
	return c
}

// canonicalName reports whether a name is its own canonical form, or none at all.
func canonicalName(name string) bool {
	upper := true
	for i := range len(name) {
		c := name[i]
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			return http.CanonicalHeaderKey(name) == name
		}
		upper = c == '-'
	}
	return true
}
