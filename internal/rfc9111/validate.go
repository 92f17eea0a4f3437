package rfc9111

import (
	"net/http"
	"strings"
	"time"
)

func hasValidator(h http.Header) bool {
	return first(h["Etag"]) != "" || first(h["Last-Modified"]) != ""
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// Conditions writes into a request's header, which must be the caller's own copy,
// what asks whether the stored answer still holds (section 4.3.1). It reports
// false, and writes nothing, if there is nothing to ask with.
func Conditions(req, stored http.Header) bool {
	etag, modified := first(stored["Etag"]), first(stored["Last-Modified"])
	if etag != "" {
		req["If-None-Match"] = []string{etag}
	}
	if modified != "" {
		req["If-Modified-Since"] = []string{modified}
	}
	return etag != "" || modified != ""
}

// Confirms reports whether a 304 speaks of the stored answer (section 4.3.4). If
// it does not, the answer must be fetched without conditions: the server holds
// something to be current that is not here.
func Confirms(stored, fresh http.Header) bool {
	a, b := first(stored["Etag"]), first(fresh["Etag"])
	return a == "" || b == "" || sameWeak(a, b)
}

// Freshen returns a copy of the stored header with the fields of a 304, or of the
// answer to a HEAD, in place of its own (section 3.2). What describes the bytes
// that are stored stays: a 304 has none, and its Content-Length and its like are
// not theirs. received is when the fresh header came. Whoever freshens must
// [Read] the result again.
func Freshen(stored, fresh http.Header, received time.Time) http.Header {
	h := stored.Clone()
	delete(h, "Age") // the old answer's; without one the new answer has none
	for name, values := range Keep(fresh, received) {
		switch name {
		case "Content-Length", "Content-Encoding", "Content-Range":
		default:
			h[name] = values
		}
	}
	d := readDirectives(fresh["Cache-Control"])
	for _, name := range d.noCacheFields { // the stored ones are not to be given either, from now on
		delete(h, name)
	}
	return h
}

// An Effect is what the answer to a HEAD means for the stored answer to a GET
// that the same request would select.
type Effect uint8

const (
	Leave  Effect = iota // nothing
	Update               // it is still that answer: Freshen it
	Drop                 // it is not
)

// Head compares the answer to a HEAD with the stored answer to a GET
// (section 4.3.5).
func Head(status int, stored, head http.Header) Effect {
	switch {
	case status == http.StatusNotFound || status == http.StatusGone:
		return Drop
	case status != http.StatusOK:
		return Leave
	}
	for _, name := range [...]string{"Etag", "Last-Modified", "Content-Length"} {
		if a, b := first(stored[name]), first(head[name]); a != "" && b != "" && a != b {
			return Drop
		}
	}
	return Update
}

// NotModified reports whether the conditions of a caller's request are answered
// with a 304 by the stored answer (section 4.3.2). A header without conditions
// never is.
func NotModified(req http.Header, status int, stored http.Header, received time.Time) bool {
	if status < 200 || status > 299 {
		return false // RFC 9110, section 13.2.1: no condition matters then
	}
	if lines := req["If-None-Match"]; len(lines) > 0 {
		etag := first(stored["Etag"])
		for _, line := range lines {
			if matches(line, etag) {
				return true
			}
		}
		return false
	}
	since, ok := readDate(req["If-Modified-Since"], received)
	if !ok {
		return false
	}
	for _, name := range [...]string{"Last-Modified", "Date"} {
		if field, ok := stored[name]; ok {
			at, ok := readDate(field, received)
			return ok && !at.After(since)
		}
	}
	return !received.After(since)
}

// matches reports whether a list of entity tags, or "*", has one that is weakly
// the same as etag.
func matches(list, etag string) bool {
	for list != "" {
		tag, rest := entityTag(list)
		if tag == "*" || etag != "" && tag != "" && sameWeak(tag, etag) {
			return true
		}
		list = rest
	}
	return false
}

// entityTag cuts the first member off a list of entity tags. In them a backslash
// is nothing special, unlike in quoted strings, and a comma may stand.
func entityTag(list string) (tag, rest string) {
	list = strings.TrimLeft(list, " \t,")
	open := strings.IndexByte(list, '"')
	if comma := strings.IndexByte(list, ','); open < 0 || comma >= 0 && comma < open {
		tag, rest, _ = strings.Cut(list, ",") // without its quotes, but what is meant is clear
		return trim(tag), rest
	}
	end := strings.IndexByte(list[open+1:], '"')
	if end < 0 {
		return "", ""
	}
	end += open + 2
	return list[:end], list[end:]
}

// sameWeak is the weak comparison of RFC 9110, section 8.8.3.2.
func sameWeak(a, b string) bool {
	return strings.TrimPrefix(trim(a), "W/") == strings.TrimPrefix(trim(b), "W/")
}

// sameStrong is the strong one.
func sameStrong(a, b string) bool {
	a, b = trim(a), trim(b)
	return a == b && a != "" && !strings.HasPrefix(a, "W/")
}

// Strip takes out of a header, which must be the caller's own copy, what a 304
// does not tell about a body that it has not (RFC 9110, section 15.4.5).
func Strip(h http.Header) {
	for _, name := range [...]string{"Content-Encoding", "Content-Language", "Content-Length", "Content-Range", "Content-Type"} {
		delete(h, name)
	}
}
