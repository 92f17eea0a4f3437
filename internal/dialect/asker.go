package dialect

import (
	"net/http"
	"net/url"
	"strings"
)

// Depersonalize removes from a request for another origin what was meant for the
// first one alone: credentials, cookies, and what names an account. What belongs
// to the wire format stays, Anthropic-Version and Openai-Beta among it. Nobody
// can know all names of secrets, so words decide: a header for a gateway's key
// is more likely to come up than a harmless one with such a word in it.
func Depersonalize(h http.Header, u *url.URL) {
	for name := range h {
		if personal(name) {
			delete(h, name)
		}
	}
	u.RawQuery = filterQuery(u.RawQuery, func(name string) bool {
		return !personal(name) && !strings.EqualFold(name, "code") // a key of Azure Functions
	})
}

func personal(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "idempotency-key", "x-idempotency-key", "user-agent", "sec-websocket-key":
		return false
	case "from", "referer": // the second can have the first origin's key in its query
		return true
	}
	for _, prefix := range [...]string{"x-amz-", "x-goog-", "x-ms-", "cf-aig-", "cf-access-", "helicone-", "x-portkey-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	joined := ""
	for word := range strings.FieldsFuncSeq(name, func(c rune) bool { return c < 'a' || c > 'z' }) {
		if personalWord(word) {
			return true
		}
		joined += word
	}
	return strings.HasSuffix(joined, "clientid") || strings.HasSuffix(joined, "appid")
}

// personalWord takes words that are run together too, as in AccessToken, userid.
func personalWord(word string) bool {
	for _, id := range [...]string{"id", "name"} {
		if bare, ok := strings.CutSuffix(word, id); ok && bare != "" {
			word = bare
			break
		}
	}
	switch word {
	case "session", "sessid", "sig", "sign", "jwt", "dpop", "hmac", "otp", "pin", "pwd", "pass", "passphrase", "passcode", "assertion", "login",
		"organization", "org", "project", "account", "workspace", "tenant", "subscription", "user", "email":
		return true
	}
	for _, end := range [...]string{"key", "token", "auth", "session", "jwt"} {
		if strings.HasSuffix(word, end) {
			return true
		}
	}
	for _, part := range [...]string{"authoriz", "authentic", "apikey", "accesskey", "secret", "password", "passwd", "cookie", "credential", "signature", "bearer"} {
		if strings.Contains(word, part) {
			return true
		}
	}
	return strings.HasPrefix(word, "auth") && !strings.HasPrefix(word, "author")
}

// Identifies reports whether the name of a header has a word in it that says who
// asks, or with what right. It allocates nothing: a cache asks it about every field
// of every request.
func Identifies(name string) bool {
	var word [32]byte // a longer one would have to be allocated
	n := 0
	for i := range len(name) + 1 {
		c := byte('-')
		if i < len(name) {
			c = name[i]
		}
		switch {
		case c == '-', c == '_', c == '.':
			if n <= len(word) && personalWord(string(word[:n])) {
				return true
			}
			n = 0
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		if n < len(word) {
			word[n] = c
		}
		n++
	}
	return false
}

// Signed reports whether the request carries an AWS signature over its URL and
// body.
func Signed(h http.Header, u *url.URL) bool {
	return strings.HasPrefix(h.Get("Authorization"), "AWS4-") || strings.Contains(u.RawQuery, "X-Amz-Signature=")
}

func filterQuery(query string, keep func(name string) bool) string {
	if query == "" {
		return ""
	}
	var kept []string
	for p := range strings.SplitSeq(query, "&") {
		if keep(parameter(p)) {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "&")
}

func parameter(p string) string {
	name, _, _ := strings.Cut(p, "=")
	if s, err := url.QueryUnescape(name); err == nil {
		return s
	}
	return name
}
