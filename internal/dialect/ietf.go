package dialect

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// The IETF RateLimit header fields, draft-ietf-httpapi-ratelimit-headers, in the
// three forms that servers have deployed: single headers (to -06), a dictionary
// (-07), lists of named policies (-08 to -11).
var ietf = provider{
	buckets: []bucket{
		{kind: "requests", limit: "Ratelimit-Limit", remaining: "Ratelimit-Remaining", reset: "Ratelimit-Reset"},
	},
	words: map[string]Class{"temporary-reduced-capacity": Overloaded},
	vague: map[string]Class{"quota-exceeded": RateLimited, "abnormal-usage-detected": RateLimited},
}

// maxPolicies bounds how many policies of one response are read.
const maxPolicies = 16

// readFields reads RateLimit and RateLimit-Policy. A policy that RateLimit does
// not report on still tells its quota.
func readFields(h http.Header, quotas []Quota) []Quota {
	policies := readItems(h["Ratelimit-Policy"])
	limits := readItems(h["Ratelimit"])
	old := Quota{Kind: "requests", Limit: -1, Remaining: -1, Reset: -1}
	for _, l := range limits {
		switch { // draft-07: limit=100, remaining=50, reset=30
		case l.name == "limit" && l.value != "":
			old.Limit = readCount(l.value)
		case l.name == "remaining" && l.value != "":
			old.Remaining = readCount(l.value)
		case l.name == "reset" && l.value != "":
			old.Reset = l.span("")
		default:
			q := Quota{Kind: "requests", Limit: -1, Remaining: l.count("r"), Reset: l.span("t")}
			for i := range policies {
				if p := &policies[i]; p.name == l.name {
					p.used = true
					q.Kind, q.Limit, q.Window = p.kind(), p.count("q"), max(p.span("w"), 0)
				}
			}
			if q.Kind != "" && (q.Limit >= 0 || q.Remaining >= 0) {
				quotas = append(quotas, q)
			}
		}
	}
	if old.Limit >= 0 || old.Remaining >= 0 {
		quotas = append(quotas, old)
	}
	for _, p := range policies {
		n := max(p.count("q"), readCount(p.name)) // to -07 the name is the number
		if p.used || n < 0 || p.kind() == "" {
			continue
		}
		w := max(p.span("w"), 0)
		i := slices.IndexFunc(quotas, func(q Quota) bool { return q.Limit == n && q.Window == 0 })
		if i >= 0 {
			quotas[i].Window = w // to -07 the number is also the only link
			continue
		}
		quotas = append(quotas, Quota{Kind: p.kind(), Window: w, Limit: n, Remaining: -1, Reset: -1})
	}
	return quotas
}

// An item of a structured field list (RFC 9651): name or name=value, then
// parameters.
type item struct {
	name, value string
	params      [8][2]string
	n           int
	used        bool
}

// kind is the unit that a policy counts. Units that no limiter here keeps, bytes
// of content among them, are "".
func (it *item) kind() string {
	switch it.param("qu") {
	case "", "requests":
		return "requests"
	case "concurrent-requests":
		return "concurrency"
	case "tokens":
		return "tokens"
	}
	return ""
}

func (it *item) param(key string) string {
	for _, p := range it.params[:it.n] {
		if p[0] == key {
			return p[1]
		}
	}
	return ""
}

func (it *item) count(key string) int64 { return readCount(it.param(key)) }

// span is a parameter in seconds, or the item's own value for the key "".
func (it *item) span(key string) time.Duration {
	s := it.value
	if key != "" {
		s = it.param(key)
	}
	x, ok := readNumber(s)
	if !ok || x < 0 {
		return -1
	}
	return seconds(x)
}

func readItems(lines []string) (items []item) {
	for _, line := range lines {
		for line != "" && len(items) < maxPolicies {
			var field string
			field, line = cutField(line, ',')
			var it item
			head, rest := cutField(field, ';')
			it.name, it.value = pair(head)
			for rest != "" && it.n < len(it.params) {
				var p string
				p, rest = cutField(rest, ';')
				k, v := pair(p)
				it.params[it.n] = [2]string{k, v}
				it.n++
			}
			if it.name != "" {
				items = append(items, it)
			}
		}
	}
	return items
}

// cutField cuts at the first separator outside of a quoted string.
func cutField(s string, sep byte) (field, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == sep && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

func pair(s string) (name, value string) {
	name, value = cutField(s, '=')
	return unquote(name), unquote(value)
}

func unquote(s string) string { return strings.Trim(strings.TrimSpace(s), `"`) }
