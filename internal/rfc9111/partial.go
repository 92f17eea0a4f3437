package rfc9111

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Span is a run of bytes of a representation, First to Last, both included.
type Span struct {
	First, Last int64
	Size        int64 // of the whole; -1 if it is not known
}

// Complete is the span of a representation that is stored whole.
func Complete(size int64) Span { return Span{0, size - 1, size} }

// Len is how many bytes it has.
func (s Span) Len() int64 { return s.Last - s.First + 1 }

// Whole reports whether it is all there is.
func (s Span) Whole() bool { return s.First == 0 && s.Last == s.Size-1 }

// ContentRange reads the field of a 206 that has one part (RFC 9110, section
// 14.4). Of any other 206 nothing may be stored.
func ContentRange(h http.Header) (Span, bool) {
	field := h["Content-Range"]
	if len(field) != 1 {
		return Span{}, false
	}
	rest, ok := cutUnit(trim(field[0]), ' ')
	if !ok {
		return Span{}, false
	}
	span, size, ok := strings.Cut(rest, "/")
	if !ok {
		return Span{}, false
	}
	from, to, ok := strings.Cut(span, "-")
	if !ok {
		return Span{}, false
	}
	s := Span{Size: -1}
	var ok1, ok2 bool
	s.First, ok1 = position(from)
	s.Last, ok2 = position(to)
	if !ok1 || !ok2 || s.Last < s.First {
		return Span{}, false
	}
	if size != "*" {
		if s.Size, ok = position(size); !ok || s.Size <= s.Last {
			return Span{}, false
		}
	}
	return s, true
}

// Describe writes into the header of a 206, which must be the caller's own copy,
// which part it is.
func (s Span) Describe(h http.Header) {
	size := "*"
	if s.Size >= 0 {
		size = strconv.FormatInt(s.Size, 10)
	}
	h["Content-Range"] = []string{"bytes " + strconv.FormatInt(s.First, 10) + "-" + strconv.FormatInt(s.Last, 10) + "/" + size}
	h["Content-Length"] = []string{strconv.FormatInt(s.Len(), 10)}
}

func cutUnit(s string, sep byte) (rest string, ok bool) {
	const unit = "bytes"
	if len(s) <= len(unit) || !strings.EqualFold(s[:len(unit)], unit) || s[len(unit)] != sep {
		return "", false
	}
	return s[len(unit)+1:], true
}

// position reads a number of bytes; what is more than half an exabyte is beyond
// every representation.
func position(s string) (int64, bool) {
	const limit = 1 << 59
	var n int64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), limit)
	}
	return n, len(s) > 0
}

// A Reach is how much of what a request asks for is stored.
type Reach uint8

const (
	// Beyond: not all of it, or it is asked for in a way that only the server
	// answers, as several ranges at once.
	Beyond Reach = iota
	// All: the whole, with the answer's own status.
	All
	// Some: the span, with a 206.
	Some
	// None: no representation of this size has it, 416 (RFC 9110, section 15.5.17).
	None
)

// Part finds what a GET asks for in a stored 200 or 206, of which have is stored
// (section 3.3 lets both answer a Range). stored is its header.
func Part(req, stored http.Header, have Span, received time.Time) (Span, Reach) {
	whole := Beyond
	if have.Whole() || have.Size == 0 {
		whole = All
	}
	field := req["Range"]
	if len(field) == 0 {
		return have, whole
	}
	if field := req["If-Range"]; len(field) > 0 && !unchanged(field, stored, received) {
		return have, whole // its part is of something else: it is to have the whole
	}
	rest, ok := cutUnit(trim(field[0]), '=')
	if !ok || len(field) > 1 {
		return have, Beyond
	}
	from, to, ok := strings.Cut(trim(rest), "-")
	if !ok || have.Size < 0 && (from == "" || to == "") {
		return have, Beyond
	}
	size := have.Size
	want := Span{Size: size}
	var ok1, ok2 bool
	switch {
	case from == "": // the last so many
		n, ok := position(to)
		if !ok {
			return have, Beyond
		}
		if n == 0 || size == 0 {
			return have, None
		}
		want.First, want.Last = max(size-n, 0), size-1
	default:
		want.First, ok1 = position(from)
		want.Last, ok2 = position(to)
		if to == "" {
			want.Last, ok2 = size-1, true
		}
		if !ok1 || !ok2 || to != "" && want.Last < want.First {
			return have, Beyond
		}
		if size >= 0 {
			if want.First >= size {
				return have, None
			}
			want.Last = min(want.Last, size-1)
		}
	}
	if want.First < have.First || want.Last > have.Last {
		return have, Beyond
	}
	return want, Some
}

// unchanged judges an If-Range (RFC 9110, section 13.1.5): what the caller has
// must be the same to the byte.
func unchanged(field []string, stored http.Header, received time.Time) bool {
	if len(field) != 1 {
		return false
	}
	value := trim(field[0])
	if strings.HasSuffix(value, `"`) {
		return sameStrong(value, first(stored["Etag"]))
	}
	at, ok := parseDate(value, received)
	modified, ok2 := readDate(stored["Last-Modified"], received)
	return ok && ok2 && at.Equal(modified) && settled(stored, received)
}

// settled reports whether Last-Modified is a strong validator: whatever happened
// in the same second as the answer was given may have happened twice (RFC 9110,
// section 8.8.2.2).
func settled(stored http.Header, received time.Time) bool {
	modified, ok := readDate(stored["Last-Modified"], received)
	date, ok2 := readDate(stored["Date"], received)
	return ok && ok2 && date.Sub(modified) >= time.Second
}

// Rest returns the Range to ask for what is missing of a representation that is
// stored from its beginning, or to its end, and the If-Range that makes sure that
// it is the same. It reports false if it cannot be completed in one request.
func Rest(stored http.Header, have Span) (span, ifRange string, ok bool) {
	etag := first(stored["Etag"])
	if !sameStrong(etag, etag) || have.Size < 0 || have.Whole() {
		return "", "", false
	}
	switch {
	case have.First == 0:
		return "bytes=" + strconv.FormatInt(have.Last+1, 10) + "-", etag, true
	case have.Last == have.Size-1:
		return "bytes=0-" + strconv.FormatInt(have.First-1, 10), etag, true
	}
	return "", "", false
}

// Combine reports whether two parts can be made one, and which (section 3.4).
// They must be of the same representation, known by the same strong entity tag,
// and leave no gap. Its header is [Freshen] of the older one's with the newer.
func Combine(a http.Header, as Span, b http.Header, bs Span) (Span, bool) {
	if !sameStrong(first(a["Etag"]), first(b["Etag"])) || as.Size != bs.Size ||
		as.First > bs.Last+1 || bs.First > as.Last+1 {
		return Span{}, false
	}
	return Span{min(as.First, bs.First), max(as.Last, bs.Last), as.Size}, true
}
