package rfc9111

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

// Vary returns the request fields that an answer was selected by, in canonical
// form, sorted, each once. any says that there is a "*" among them, wherever it
// stands: no request can be told to select that answer.
func Vary(h http.Header) (names []string, any bool) {
	for _, line := range h["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			switch name = trim(name); name {
			case "":
			case "*":
				return nil, true
			default:
				names = append(names, http.CanonicalHeaderKey(name))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), false
}

// Selecting returns what a request says in a field that an answer varies by, in
// a form that is the same for all ways to say it: lines joined, the space around
// commas made one, and for Accept-Language also the order, the letters' case and
// the writing of weights. Two requests select the same answer if they agree on
// this, and on whether they have the field at all, for each of its names
// (section 4.1). What is returned may hold a credential.
func Selecting(h http.Header, name string) (value string, present bool) {
	lines, present := h[name]
	if !present {
		return "", false
	}
	if name == "Accept-Language" {
		return languages(lines), true
	}
	if len(lines) == 1 && tidy(lines[0]) {
		return lines[0], true
	}
	var b strings.Builder
	for _, line := range lines {
		for line != "" {
			first, rest, _ := element(line)
			if first = trim(first); first != "" {
				if b.Len() > 0 {
					b.WriteString(", ")
				}
				b.WriteString(first)
			}
			line = rest
		}
	}
	return b.String(), true
}

// tidy reports whether a line is in the form that Selecting returns, so that the
// usual one costs no copy. It may say no where it is.
func tidy(s string) bool {
	if s == "" || trim(s) != s {
		return s == ""
	}
	for i := range len(s) {
		switch s[i] {
		case '\t':
			return false
		case ',':
			if i == 0 || s[i-1] == ' ' || i+2 >= len(s) || s[i+1] != ' ' || s[i+2] == ' ' || s[i+2] == ',' {
				return false
			}
		}
	}
	return true
}

// A language is one range of an Accept-Language field.
type language struct {
	tag    string // in lower case
	weight int    // in thousandths; -1 if the range cannot be read
	raw    string
}

func readLanguages(lines []string) []language {
	var ls []language
	for _, line := range lines {
		for part := range strings.SplitSeq(line, ",") {
			if part = trim(part); part == "" {
				continue
			}
			tag, param, weighted := strings.Cut(part, ";")
			l := language{tag: strings.ToLower(trim(tag)), weight: 1000, raw: part}
			switch {
			case l.tag == "":
				l.weight = -1
			case weighted:
				l.weight = weight(trim(param))
			}
			ls = append(ls, l)
		}
	}
	return ls
}

// weight reads "q=0.5" (RFC 9110, section 12.4.2).
func weight(s string) int {
	if len(s) < 3 || len(s) > len("q=0.000") || s[0]|0x20 != 'q' || s[1] != '=' {
		return -1
	}
	whole, fraction, _ := strings.Cut(s[2:], ".")
	n := 0
	for i := range 3 {
		d := byte('0')
		if i < len(fraction) {
			d = fraction[i]
		}
		if d < '0' || d > '9' {
			return -1
		}
		n = n*10 + int(d-'0')
	}
	switch {
	case whole == "0":
		return n
	case whole == "1" && n == 0:
		return 1000
	}
	return -1
}

// languages is the normal form of Accept-Language. Ranges that cannot be read
// keep the text they have, for nobody knows what a server makes of it.
func languages(lines []string) string {
	ls := readLanguages(lines)
	slices.SortStableFunc(ls, func(a, b language) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.tag, b.tag))
	})
	var b strings.Builder
	for i, l := range ls {
		if i > 0 {
			b.WriteString(", ")
		}
		switch {
		case l.weight < 0:
			b.WriteString(l.raw)
		default:
			b.WriteString(l.tag)
			if l.weight < 1000 {
				b.WriteString(";q=0.")
				b.WriteByte(byte('0' + l.weight/100))
				b.WriteByte(byte('0' + l.weight/10%10))
				b.WriteByte(byte('0' + l.weight%10))
			}
		}
	}
	return b.String()
}

// Prefers reports whether a request likes no language as much as the one that a
// stored answer is in, by its Content-Language. A server that gave this answer
// has the language and would give it again: so the answer may be selected where
// of all fields only Accept-Language differs. Among equal weights the first
// counts, as it does for most servers.
func Prefers(req, stored http.Header) bool {
	in := stored["Content-Language"]
	if len(in) != 1 || in[0] == "" || strings.Contains(in[0], ",") {
		return false
	}
	best := language{weight: 0}
	for _, l := range readLanguages(req["Accept-Language"]) {
		if l.weight < 0 {
			return false
		}
		if l.weight > best.weight {
			best = l
		}
	}
	return strings.EqualFold(best.tag, trim(in[0]))
}
