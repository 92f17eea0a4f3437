package rfc9111

import (
	"net/http"
	"net/url"
	"strings"
)

// safe lists the methods that change nothing, of HTTP and of WebDAV. A method
// that is not known may change anything (section 4.4).
func safe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
		"PROPFIND", "REPORT", "SEARCH", "QUERY":
		return true
	}
	return false
}

// Invalidates reports whether the answer to a request makes the stored ones for
// its target, and for its [Targets], doubtful.
func Invalidates(method string, status int) bool {
	return !safe(method) && status >= 200 && status <= 399
}

// Targets returns the resources beside its own that an answer says it changed:
// Location and Content-Location, of the same origin, for a server may speak for
// itself only.
func Targets(target *url.URL, h http.Header) []*url.URL {
	var urls []*url.URL
	for _, name := range [...]string{"Location", "Content-Location"} {
		for _, ref := range h[name] {
			u, err := target.Parse(ref)
			if err != nil || !sameOrigin(u, target) {
				continue
			}
			u.Fragment, u.RawFragment = "", ""
			urls = append(urls, u)
		}
	}
	return urls
}

// SameTarget reports whether a Content-Location says that an answer is what a
// GET of the target would give.
func SameTarget(target *url.URL, h http.Header) bool {
	field := h["Content-Location"]
	if len(field) != 1 {
		return false
	}
	u, err := target.Parse(field[0])
	return err == nil && sameOrigin(u, target) &&
		orSlash(u.EscapedPath()) == orSlash(target.EscapedPath()) && u.RawQuery == target.RawQuery
}

func orSlash(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	switch strings.ToLower(u.Scheme) {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}
