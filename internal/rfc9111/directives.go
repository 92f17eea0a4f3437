package rfc9111

import (
	"net/http"
	"strings"
	"time"
)

// unsaid is a time that no directive stated.
const unsaid time.Duration = -1

// A Request is what a request demands of a cache. The zero Request is not one
// that demands nothing: [ReadRequest] makes that.
type Request struct {
	// NoStore: neither the answer nor a stored one is for the cache to touch.
	NoStore bool
	// NoCache: a stored answer must be validated first.
	NoCache bool
	// OnlyIfCached: what cannot be answered here is to be answered with a 504.
	OnlyIfCached bool
	// Conditional: it has an If-None-Match or If-Modified-Since, see [NotModified].
	Conditional bool
	// Origin: it has conditions that only the server may judge, If-Match and
	// If-Unmodified-Since (section 4.3.2). It should pass the cache by.
	Origin bool
	// Range: it asks for a part, see [Part].
	Range bool

	maxAge, minFresh, maxStale, ifError time.Duration // or unsaid
}

// ReadRequest reads the request's fields. It allocates nothing.
func ReadRequest(h http.Header) Request {
	q := Request{maxAge: unsaid, minFresh: unsaid, maxStale: unsaid, ifError: unsaid}
	q.Conditional = len(h["If-None-Match"]) > 0 || len(h["If-Modified-Since"]) > 0
	q.Origin = len(h["If-Match"]) > 0 || len(h["If-Unmodified-Since"]) > 0
	q.Range = len(h["Range"]) > 0
	lines, ok := h["Cache-Control"]
	if !ok {
		// Section 5.4 lets it be ignored. Who still sends it wants a new answer.
		for _, line := range h["Pragma"] {
			each(line, func(name, _ string, _ form) {
				q.NoCache = q.NoCache || strings.EqualFold(name, "no-cache")
			})
		}
		return q
	}
	d := readDirectives(lines)
	q.NoStore, q.OnlyIfCached = d.noStore, d.onlyIfCached
	q.NoCache = d.noCache || len(d.noCacheFields) > 0 // which no request has reason to name
	q.maxAge, q.minFresh, q.maxStale, q.ifError = d.maxAge, d.minFresh, d.maxStale, d.ifError
	return q
}

// directives are those of Cache-Control in requests and answers that a private
// cache heeds. s-maxage and proxy-revalidate are for shared ones.
type directives struct {
	noStore, noCache, mustRevalidate, mustUnderstand bool
	public, private, immutable, onlyIfCached         bool

	maxAge, whileRevalidate, ifError time.Duration // or unsaid; 0 if they cannot be read
	minFresh, maxStale               time.Duration

	noCacheFields []string // of a no-cache in its qualified form
}

func readDirectives(lines []string) directives {
	d := directives{maxAge: unsaid, whileRevalidate: unsaid, ifError: unsaid, minFresh: unsaid, maxStale: unsaid}
	for _, line := range lines {
		if !each(line, d.add) {
			// An open quote hides whatever the sender wrote behind it.
			d.noStore = true
		}
	}
	return d
}

func (d *directives) add(name, value string, f form) {
	is := func(s string) bool { return strings.EqualFold(name, s) }
	// An argument that a directive does not define is no reason to doubt the
	// directive (section 5.2.3 for extensions, RFC 8246 for immutable).
	switch {
	case is("no-store"):
		d.noStore = true
	case is("no-cache"):
		if fields := fieldNames(value, f); len(fields) > 0 {
			d.noCacheFields = append(d.noCacheFields, fields...)
		} else {
			d.noCache = true
		}
	case is("must-revalidate"):
		d.mustRevalidate = true
	case is("must-understand"):
		d.mustUnderstand = true
	case is("public"):
		d.public = true
	case is("private"):
		d.private = true // its fields, too, are for a private cache to keep
	case is("immutable"):
		d.immutable = true
	case is("only-if-cached"):
		d.onlyIfCached = true
	case is("max-age"):
		state(&d.maxAge, value, f, 0)
	case is("stale-while-revalidate"):
		state(&d.whileRevalidate, value, f, 0)
	case is("stale-if-error"):
		state(&d.ifError, value, f, 0)
	case is("min-fresh"):
		state(&d.minFresh, value, f, maxSpan)
	case is("max-stale"):
		if f == bare {
			value, f = "2147483648", token // any staleness
		}
		state(&d.maxStale, value, f, 0)
	}
}

// state takes a directive's number of seconds. One that cannot be read, and one
// that differs from what was said before, is the worst: the RFC would have the
// answer stale, and leaves open which of two values counts.
func state(d *time.Duration, value string, f form, worst time.Duration) {
	span, ok := seconds(value)
	if !ok || f == malformed || *d != unsaid && *d != span {
		span = worst
	}
	*d = span
}

// seconds reads a delta-seconds (section 1.2.2).
func seconds(s string) (time.Duration, bool) {
	var n int64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), int64(maxSpan/time.Second))
	}
	return time.Duration(n) * time.Second, len(s) > 0
}

// fieldNames are those in the argument of a no-cache. A field that the cache
// itself lives by cannot be left out of what is stored, and makes it a no-cache
// for the whole answer.
func fieldNames(value string, f form) []string {
	if f == bare || f == malformed {
		return nil
	}
	var names []string
	for name := range strings.SplitSeq(value, ",") {
		if name = trim(name); name == "" {
			continue
		}
		name = http.CanonicalHeaderKey(name)
		if vital(name) {
			return nil
		}
		names = append(names, name)
	}
	return names
}

// A form is how the argument of a directive was written.
type form uint8

const (
	bare      form = iota // there is none
	token                 // name=value
	quoted                // name="value"
	malformed             // name =value, or a quote where none may stand
)

// each calls add for each directive in a line of Cache-Control. It reports false
// if the line ends inside a quoted string.
func each(line string, add func(name, value string, f form)) bool {
	for line != "" {
		part, rest, closed := element(line)
		if !closed {
			return false
		}
		line = rest
		if part = trim(part); part == "" {
			continue
		}
		name, value, f := part, "", bare
		if i := strings.IndexByte(part, '='); i >= 0 {
			name, value, f = part[:i], part[i+1:], token
			if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
				value, f = value[1:n-1], quoted
			}
			if trimmed := trim(name); trimmed != name {
				name, f = trimmed, malformed
			}
			if strings.ContainsAny(value, `"\`) {
				f = malformed // no argument that matters here needs an escape
			}
		}
		add(name, value, f)
	}
	return true
}

// element cuts a list at its first comma that stands in no quoted string.
func element(s string) (first, rest string, closed bool) {
	in := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			in = !in
		case c == '\\' && in:
			i++
		case c == ',' && !in:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", !in
}

// member is the first member of a list, empty ones passed over.
func member(s string) string {
	for s != "" {
		first, rest, _ := strings.Cut(s, ",")
		if first = trim(first); first != "" {
			return first
		}
		s = rest
	}
	return ""
}

// trim takes HTTP's optional whitespace off, which is less than Unicode's.
func trim(s string) string { return strings.Trim(s, " \t") }
