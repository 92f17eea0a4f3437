package dialect

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-9e4f5248/snubber/internal/jsonscan"
)

// Relocate returns where a request to u goes at another base URL, for another
// model. The base is what an SDK for the format takes: the part of the path that
// the SDK appends is appended again, with the version where SDKs append that
// too and base names none. A path that is not inference keeps itself. base's
// query goes before u's and in the place of parameters of the same name. With a
// nil base only the model changes, with an empty model only the place.
func (r Route) Relocate(u, base *url.URL, model string) *url.URL {
	to := *u
	if base == nil {
		if r.Model != "" && model != "" {
			setPath(&to, r.withModel(u.Path, model), r.withModel(u.EscapedPath(), url.PathEscape(model)))
		}
		return &to
	}
	to.Scheme, to.Host = base.Scheme, base.Host
	if base.User != nil {
		to.User = base.User
	}
	to.RawQuery = mergeQueries(base.RawQuery, u.RawQuery)
	if !r.Inference {
		return &to
	}
	if model == "" {
		model = r.Model
	}
	before := strings.TrimSuffix(base.Path, "/") + "/" + r.version(u.Path, base.Path)
	raw := strings.TrimSuffix(base.EscapedPath(), "/") + before[len(strings.TrimSuffix(base.Path, "/")):]
	setPath(&to, before+r.suffix(base, model), raw+r.suffix(base, url.PathEscape(model)))
	return &to
}

func setPath(u *url.URL, path, raw string) {
	if u.Path, u.RawPath = path, ""; u.EscapedPath() != raw {
		u.RawPath = raw
	}
}

// NamesModel reports whether the path, and not the body, says which model.
func (r Route) NamesModel(path string) bool {
	return r.Format == Gemini || r.Format == Bedrock || r.Inference && strings.Contains(path, "/deployments/") || strings.HasSuffix(path, ":rawPredict") || strings.HasSuffix(path, ":streamRawPredict")
}

// suffix is r.Suffix with another model in it.
func (r Route) suffix(base *url.URL, model string) string {
	switch {
	case r.Format == Bedrock:
		return "model/" + model + r.Suffix[strings.LastIndexByte(r.Suffix, '/'):]
	case strings.Contains(r.Suffix, ":"):
		head, verb := r.Suffix[:strings.IndexByte(r.Suffix, '/')+1], r.Suffix[strings.LastIndexByte(r.Suffix, ':'):]
		return head + model + verb
	case isAzure(base.Host) && model != "" && strings.HasSuffix(strings.TrimSuffix(base.Path, "/"), "/openai"):
		return "deployments/" + model + "/" + r.Suffix // what Azure's SDKs append to a resource's URL
	}
	return r.Suffix
}

func isAzure(host string) bool {
	host, _, _ = strings.Cut(host, ":")
	return strings.HasSuffix(host, ".azure.com") || strings.HasSuffix(host, ".azure.us") || strings.HasSuffix(host, ".azure.cn")
}

// withModel is the path with another model in it. It takes the path escaped or
// not: what stands around the model is the same.
func (r Route) withModel(path, model string) string {
	switch {
	case r.Format == Bedrock:
		const mark = "/model/"
		return path[:strings.Index(path, mark)+len(mark)] + model + path[strings.LastIndexByte(path, '/'):]
	case strings.Contains(r.Suffix, ":"):
		i := strings.LastIndexByte(path, ':')
		if i < 0 {
			return path
		}
		return path[:strings.LastIndexByte(path, '/')+1] + model + path[i:]
	}
	const mark = "/deployments/"
	i := strings.LastIndex(path, mark) + len(mark)
	return path[:i] + model + path[i+max(0, strings.IndexByte(path[i:], '/')):]
}

// version is what stands between base and suffix. SDKs for the OpenAI formats
// and for Ollama have it in the base or in the suffix, those of the others
// append it to a base that ends with the host.
func (r Route) version(path, base string) string {
	var v string
	switch {
	case r.Format == Anthropic && r.Suffix == "messages":
		v = "v1/"
	case r.Format == Gemini:
		v = "v1beta/"
	case r.Format == Cohere:
		v = "v2/"
	default:
		return ""
	}
	for seg := range strings.SplitSeq(base, "/") {
		if isVersion(seg) {
			return ""
		}
	}
	head, _ := strings.CutSuffix(strings.TrimSuffix(path, "/"), "/"+r.Suffix)
	if _, seg := cutLast(head); isVersion(seg) {
		return seg + "/"
	}
	return v
}

func isVersion(seg string) bool {
	return len(seg) > 1 && seg[0] == 'v' && '0' <= seg[1] && seg[1] <= '9'
}

// mergeQueries keeps the order and the spelling of both.
func mergeQueries(base, own string) string {
	if base == "" {
		return own
	}
	names := map[string]bool{}
	for p := range strings.SplitSeq(base, "&") {
		names[parameter(p)] = true
	}
	return joinQuery(base, filterQuery(own, func(name string) bool { return !names[name] }))
}

func joinQuery(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "&" + b
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

// SetModel returns body with another model at its top level and all other bytes
// as they are. Without a member "model" one is added, if insert says so. It
// reports false for a body that is no JSON object.
func SetModel(body []byte, model string, insert bool) ([]byte, bool) {
	c := jsonscan.NewCursor(body)
	if t := c.Next(); t.Kind != jsonscan.Object || t.End {
		return nil, false
	}
	start := c.Offset()
	var out []byte
	done, empty := 0, true // done: bytes of body that are in out
	for {
		key := c.Next()
		if !key.Key {
			if !key.End {
				return nil, false
			}
			break
		}
		empty = false
		from := valueAt(body, c.Offset())
		before := c
		t := c.Next()
		to := from + len(t.Raw)
		if t.Kind == jsonscan.String {
			to += 2
		}
		if t.Kind == jsonscan.Object || t.Kind == jsonscan.Array {
			c = before
			c.Skip()
			to = c.Offset()
		}
		if string(jsonscan.Unquote(key.Raw)) != "model" {
			continue
		}
		name := model
		if bytes.HasPrefix(t.Raw, []byte("models/")) && !strings.Contains(model, "/") {
			name = "models/" + model // Gemini's resource name
		}
		out = append(append(out, body[done:from]...), marshal(name)...)
		done = to
	}
	switch {
	case done > 0:
		return append(out, body[done:]...), true
	case !insert:
		return body, true
	}
	out = append(append(out, body[:start]...), `"model":`...)
	if out = append(out, marshal(model)...); !empty {
		out = append(out, ',')
	}
	return append(out, body[start:]...), true
}

// valueAt is where the value behind a member's name begins.
func valueAt(b []byte, i int) int {
	for i < len(b) && (b[i] <= ' ' || b[i] == ':') {
		i++
	}
	return i
}
