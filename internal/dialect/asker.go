package dialect

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Depersonalize removes from a request for another origin what was meant for the
// first one alone: credentials, cookies, and what names an account. What belongs
// to the wire format stays, Anthropic-Version and Openai-Beta among it.
func Depersonalize(h http.Header, u *url.URL) {
	for name := range h {
		if foreign(name) {
			delete(h, name)
		}
	}
	u.RawQuery = PublicQuery(u.RawQuery)
}

// PublicQuery is a query without the parameters that name the asker or are a
// secret, in whatever case and escapes they are written. All others keep their
// order and spelling.
func PublicQuery(query string) string {
	return filterQuery(query, func(name string) bool { return !foreign(name) && !strings.EqualFold(name, "code") }) // a key of Azure Functions, a grant of OAuth
}

// SplitQuery parts a query at the parameters that tell who asks ([AskerOf]), which
// keep their order and spelling, as the others do. It allocates nothing where
// there are none.
func SplitQuery(query string) (others, askers string) {
	names := func(p string) bool {
		for part := range strings.SplitSeq(p, ";") { // which some servers split at, too
			if AskerOf(parameter(part)) != Nobody {
				return true
			}
		}
		return false
	}
	found := false
	for p := range strings.SplitSeq(query, "&") {
		found = found || names(p)
	}
	if !found {
		return query, ""
	}
	var rest, own []string
	for p := range strings.SplitSeq(query, "&") {
		if names(p) {
			own = append(own, p)
		} else {
			rest = append(rest, p)
		}
	}
	return strings.Join(rest, "&"), strings.Join(own, "&")
}

// Asker is what a header field, a parameter or a cookie says about who is asking.
type Asker uint8

const (
	Nobody   Asker = iota
	Identity       // whose request it is; it can differ from call to call, as a signature does
	Owner          // the same, and it stays what it is from one call to the next: it names whose quota is used
)

// askers are the names whose words do not say enough, in lower case.
var askers = map[string]Asker{
	"idempotency-key": Nobody, "x-idempotency-key": Nobody, // they name the call
	"user-agent": Nobody, "x-amz-user-agent": Nobody, "x-ms-useragent": Nobody, "x-user-agent": Nobody,
	"sec-websocket-key": Nobody, "x-goog-api-client": Nobody, "x-goog-request-params": Nobody,
	"x-ms-client-request-id": Nobody, "x-client-request-id": Nobody, "www-authenticate": Nobody,

	"from": Owner, "x-remote-group": Owner, "x-forwarded-groups": Owner, "x-goog-iam-authority-selector": Owner,
	"authorization": Owner, "proxy-authorization": Owner, // of a signature only the account, see QuotaOwner
	// Containers of what was proven elsewhere: they are written anew with each token.
	"x-ms-client-principal": Identity, "x-amz-security-token": Identity, "x-amzn-oidc-data": Identity,
	"cookie": Identity, // see QuotaOwner
}

// AskerOf tells it by the name, in any case. Nobody can know all names, so words
// decide where the table does not: two callers that are taken for one are given
// each other's answers, one that is taken for two only misses a hit. It allocates
// nothing: it is asked about every field of every request.
func AskerOf(name string) Asker {
	var lower [64]byte
	if len(name) > len(lower) {
		return askerOfWords(strings.ToLower(name))
	}
	b := lower[:copy(lower[:], name)]
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	if a, ok := askers[string(b)]; ok {
		return a
	}
	return askerOfWords(string(b))
}

// Identifies reports whether the name says anything at all about who is asking.
func Identifies(name string) bool { return AskerOf(name) != Nobody }

// askerOfWords judges a name in lower case by the words in it.
func askerOfWords(name string) Asker {
	asker := Nobody
	if strings.HasPrefix(name, "impersonate-") || strings.HasPrefix(name, "x-remote-") {
		asker = Owner // what an authenticating proxy tells
	}
	changes := false
	var joined [64]byte
	n, start, before := 0, 0, ""
	for i := 0; i <= len(name); i++ {
		if i < len(name) && 'a' <= name[i] && name[i] <= 'z' {
			continue
		}
		if word := name[start:i]; word != "" {
			if personalWord(word, before) {
				asker = Owner
			}
			changes = changes || changingWord(word)
			n += copy(joined[n:], word)
			before = word
		}
		start = i + 1
	}
	if all := string(joined[:n]); strings.HasSuffix(all, "clientid") || strings.HasSuffix(all, "appid") {
		asker = Owner
	}
	if asker == Owner && changes {
		return Identity
	}
	return asker
}

// changingWord reports that what is named so is made for one call, or for a few.
func changingWord(word string) bool {
	switch word {
	case "date", "time", "timestamp", "expires", "nonce", "sig", "sign", "digest", "hash", "sha", "hmac", "dpop", "otp", "passcode", "assertion",
		"csrf", "xsrf", "csrftoken", "xsrftoken", "request", "trace", "code":
		return true
	}
	return strings.Contains(word, "signature") || strings.Contains(word, "session") || strings.HasPrefix(word, "sess")
}

// personalWord takes words that are run together too, as in AccessToken, userid.
// before is the word before it.
func personalWord(word, before string) bool {
	for _, id := range [...]string{"id", "name"} {
		if bare, ok := strings.CutSuffix(word, id); ok && bare != "" {
			word = bare
			break
		}
	}
	switch word {
	case "session", "sessid", "sig", "sign", "jwt", "dpop", "hmac", "otp", "pin", "pwd", "pass", "passphrase", "passcode", "assertion", "login",
		"organization", "org", "project", "account", "workspace", "tenant", "subscription", "user", "email",
		"principal", "customer", "owner", "upn", "uid":
		return true
	}
	for _, end := range [...]string{"key", "token", "auth", "session", "jwt"} {
		if what, ok := strings.CutSuffix(word, end); ok {
			if what == "" {
				what = before
			}
			return !ofAList(what)
		}
	}
	if len(word) < len("secret") { // the shortest of them
		return strings.HasPrefix(word, "auth")
	}
	for _, part := range [...]string{"authoriz", "authentic", "apikey", "accesskey", "secret", "password", "passwd", "cookie", "credential", "signature", "bearer"} {
		if strings.Contains(word, part) {
			return true
		}
	}
	return strings.HasPrefix(word, "auth") && !strings.HasPrefix(word, "author")
}

// ofAList reports that a token or a key is a place in a list and no secret: it is
// another on every page.
func ofAList(what string) bool {
	switch what {
	case "page", "nextpage", "next", "prev", "previous", "continuation", "continue", "sync", "cursor", "sort", "partition", "resume", "starting", "marker":
		return true
	}
	return false
}

// foreign reports whether a field or a parameter is none for another origin: what
// names the asker, and what belongs to the first one's platform.
func foreign(name string) bool {
	for _, prefix := range [...]string{"x-amz-", "x-goog-", "x-ms-", "cf-aig-", "cf-access-", "helicone-", "x-portkey-"} {
		if len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			return true
		}
	}
	return strings.EqualFold(name, "referer") || // it can have the first origin's key in its query
		AskerOf(name) != Nobody
}

// Signed reports whether the request carries a signature over its URL and body:
// one of AWS, or one of those that are made like it.
func Signed(h http.Header, u *url.URL) bool {
	for _, v := range fields(h, "Authorization") {
		if strings.HasPrefix(v, "AWS4-") || strings.HasPrefix(v, "GOOG4-") {
			return true
		}
	}
	return parameterOf(u.RawQuery, "X-Amz-Signature") != "" || parameterOf(u.RawQuery, "X-Goog-Signature") != ""
}

// SignatureExpires is when the server will no longer take the request's AWS
// signature: that of a header five minutes after its date, that of a query after
// what it says itself. It reports false for a request without one.
func SignatureExpires(h http.Header, u *url.URL) (time.Time, bool) {
	const stamp = "20060102T150405Z"
	if parameterOf(u.RawQuery, "X-Amz-Signature") != "" {
		at, err := time.Parse(stamp, parameterOf(u.RawQuery, "X-Amz-Date"))
		n, ok := readNumber(parameterOf(u.RawQuery, "X-Amz-Expires"))
		return at.Add(seconds(n)), err == nil && ok
	}
	date := fields(h, "X-Amz-Date")
	if len(date) == 0 || !Signed(h, u) {
		return time.Time{}, false
	}
	at, err := time.Parse(stamp, date[0])
	return at.Add(5 * time.Minute), err == nil
}

// fields are the values of a field whose canonical name is name, whatever the key
// is written like: a map of headers can be filled without Set.
func fields(h http.Header, name string) []string {
	if v := h[name]; len(v) > 0 {
		return v
	}
	for key, v := range h {
		if len(v) > 0 && strings.EqualFold(key, name) {
			return v
		}
	}
	return nil
}

// parameterOf is the unescaped value of a parameter, by its name in any case.
func parameterOf(query, name string) string {
	for query != "" {
		var p string
		p, query, _ = strings.Cut(query, "&")
		if strings.EqualFold(parameter(p), name) {
			_, v, _ := strings.Cut(p, "=")
			if s, err := url.QueryUnescape(v); err == nil {
				return s
			}
			return v
		}
	}
	return ""
}

func filterQuery(query string, keep func(name string) bool) string {
	if query == "" {
		return ""
	}
	var kept []string
	for p := range strings.SplitSeq(query, "&") {
		all := true
		for part := range strings.SplitSeq(p, ";") { // which some servers split at, too
			all = all && keep(parameter(part))
		}
		if all {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "&")
}

func parameter(p string) string {
	name, _, _ := strings.Cut(p, "=")
	if strings.IndexByte(name, '%') < 0 && strings.IndexByte(name, '+') < 0 {
		return name
	}
	if s, err := url.QueryUnescape(name); err == nil {
		return s
	}
	return name
}
