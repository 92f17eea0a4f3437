package dialect

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Bounds on what is read of a failure, which is hostile until shown otherwise.
const (
	maxBody  = 64 << 10
	maxText  = 4 << 10 // of the messages, where phrases are looked for
	maxWord  = 128
	maxWords = 24
	maxDepth = 12
	maxItems = 64 // kept of an object or an array
)

// A failure is an error body in whatever shape it came, read.
type failure struct {
	*reply
	route  Route
	status int            // HTTP's; where that was no failure, the body's; 0: none known
	obj    map[string]any // the error object, or the top level where there is none
	object bool           // the error object was under "error"
	page   bool           // it is HTML
	hasID  bool           // an "id" stood beside it
	number int            // a number given as code
	words  []string       // machine words, lower case, the most specific first
	text   string         // messages, lower case
	wait   time.Duration  // what the server said of when to come back, see stated
}

// readFailure accepts every shape of an error body: "error" as object, string
// or null, code as string, number or null, the fields at top level, any of it
// in an array of one, after blank lines, cut off in the middle, or no JSON.
func readFailure(r *reply, route Route, status int, body []byte) *failure {
	f := &failure{reply: r, route: route, status: status}
	if len(body) > maxBody {
		body = body[:maxBody]
	}
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	f.page = len(body) > 0 && body[0] == '<'
	v := readTree(body)
	if a, ok := v.([]any); ok && len(a) > 0 {
		v = a[0]
	}
	top, ok := v.(map[string]any)
	switch {
	case ok:
		f.read(top)
	case !f.page:
		// Text of a proxy. HTML is left out: a page has too many words.
		f.say(string(body[:min(len(body), maxText)]))
	}
	f.word(exceptionName(f.header.Get("X-Amzn-Errortype")))
	f.text = strings.ToLower(f.text)
	if f.status < 400 {
		f.status = 0
		if 400 <= f.number && f.number <= 599 {
			f.status = f.number
		}
	}
	return f
}

func (f *failure) read(top map[string]any) {
	f.obj = top
	_, f.hasID = top["id"].(string)
	switch e := top["error"].(type) {
	case map[string]any:
		f.obj, f.object = e, true
	case string: // xAI, Ollama
		f.say(e)
	default:
		if r, ok := top["response"].(map[string]any); ok { // response.failed of the Responses API
			if e, ok := r["error"].(map[string]any); ok {
				f.obj, f.object = e, true
			}
		} else if d, ok := top["delta"].(map[string]any); ok { // message-end of Cohere
			f.obj = d
			f.word(text(d["finish_reason"]))
			f.say(text(d["error"]))
		} else if e, ok := first(top["choices"])["error"].(map[string]any); ok { // a chunk of OpenRouter
			f.obj, f.object = e, true
		} else if e := first(top["errors"]); e != nil {
			f.obj = e
		}
	}
	for _, key := range []string{"code", "status_code", "statusCode", "status"} {
		if n, ok := f.obj[key].(json.Number); ok && f.number == 0 {
			f.number, _ = strconv.Atoi(n.String())
		}
	}
	f.word(text(top["finish_reason"])) // Cohere v1
	f.word(text(f.obj["code"]))
	inner, _ := f.obj["innererror"].(map[string]any)
	f.word(text(inner["code"]))
	f.word(fragment(text(f.obj["type"])))
	f.word(text(f.obj["status"]))
	f.word(text(f.obj["reason"]))
	f.word(exceptionName(text(f.obj["__type"])))
	if e := first(f.obj["errors"]); e != nil {
		f.word(text(e["reason"]))
	}
	if d, ok := f.obj["details"].(map[string]any); ok {
		f.word(text(d["error_code"]))
	}
	for _, d := range items(f.obj["details"]) {
		f.word(text(d["reason"]))
	}
	meta, _ := f.obj["metadata"].(map[string]any)
	f.word(text(meta["limit_source"]))
	for _, key := range []string{"message", "Message", "detail", "title"} {
		f.say(text(f.obj[key]))
	}
}

// word notes a machine word. What has blanks in it is prose under the wrong
// key (xAI's code), and a bare number is a status or says nothing.
func (f *failure) word(w string) {
	w = strings.TrimSpace(w)
	switch n, err := strconv.Atoi(w); {
	case w == "" || len(w) > maxWord || len(f.words) == maxWords:
	case err == nil && f.number == 0:
		f.number = n
	case strings.ContainsAny(w, " \t\r\n"):
		f.say(w)
	case !strings.EqualFold(w, "error") && w != "about:blank":
		f.words = append(f.words, strings.ToLower(w))
	}
}

func (f *failure) say(s string) {
	if room := maxText - len(f.text); len(s) > room {
		s = strings.ToValidUTF8(s[:max(room, 0)], "")
	}
	if s == "" {
		return
	}
	if f.text != "" {
		f.text += "\n"
	}
	f.text += s
}

// hasError reports whether the answer of a 200 is an error all the same, as
// OpenRouter's can be. Answers pass here at each call: the scan is for the bytes
// that such a body cannot do without, quotes inside strings are escaped and
// never match, and only what is left is parsed.
func hasError(body []byte) bool {
	if len(body) > maxBody {
		body = body[:maxBody]
	}
	key := []byte(`"error"`)
	for rest := body; ; {
		i := bytes.Index(rest, key)
		if i < 0 {
			return false
		}
		after := bytes.TrimLeft(rest[i+len(key):], " \t\r\n")
		isKey := len(after) > 0 && after[0] == ':'
		if !isKey || !bytes.HasPrefix(bytes.TrimLeft(after[1:], " \t\r\n"), []byte("null")) {
			break
		}
		rest = after
	}
	v := readTree(bytes.TrimSpace(body))
	if a, ok := v.([]any); ok && len(a) == 1 {
		v = a[0]
	}
	top, _ := v.(map[string]any)
	switch e := top["error"].(type) {
	case map[string]any:
		return len(e) > 0
	case string:
		return e != ""
	}
	return text(top["object"]) == "error" || text(top["type"]) == "error"
}

// readTree decodes what there is of a JSON value: of one that was cut off, the
// part before the cut. It never recurses deeper than maxDepth.
func readTree(body []byte) any {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	v, _ := readValue(dec, 0)
	return v
}

func readValue(dec *json.Decoder, depth int) (any, error) {
	t, err := dec.Token()
	open, ok := t.(json.Delim)
	if err != nil || !ok {
		return t, err
	}
	if depth == maxDepth {
		for n := 1; n > 0; {
			t, err := dec.Token()
			if err != nil {
				return nil, err
			}
			switch t {
			case json.Delim('{'), json.Delim('['):
				n++
			case json.Delim('}'), json.Delim(']'):
				n--
			}
		}
		return nil, nil
	}
	m, a := map[string]any{}, []any{}
	for err == nil && dec.More() {
		var key, v any
		if open == '{' {
			if key, err = dec.Token(); err != nil {
				break
			}
		}
		v, err = readValue(dec, depth+1)
		if v == nil {
			continue
		}
		if name, ok := key.(string); ok && len(m) < maxItems {
			m[name] = v
		} else if open == '[' && len(a) < maxItems {
			a = append(a, v)
		}
	}
	if err == nil {
		_, err = dec.Token()
	}
	if open == '[' {
		return a, err
	}
	return m, err
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func items(v any) (out []map[string]any) {
	a, _ := v.([]any)
	for _, e := range a {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func first(v any) map[string]any {
	if m := items(v); len(m) > 0 {
		return m[0]
	}
	return nil
}

// fragment is the name in a problem type of RFC 9457, which is a URL.
func fragment(s string) string {
	if i := strings.IndexByte(s, '#'); i >= 0 && strings.Contains(s, "://") {
		return s[i+1:]
	}
	return s
}

// exceptionName is the class in an AWS error type: namespace#Class:http://doc.
func exceptionName(s string) string {
	s, _, _ = strings.Cut(s, ":")
	return s[strings.LastIndexByte(s, '#')+1:]
}

// reasonOf makes a machine word fit for a label: [a-z0-9_.-], at most 64 bytes.
func reasonOf(word string) string {
	word = word[:min(len(word), 64)]
	for i := 0; i < len(word); i++ {
		if !isReasonByte(word[i]) {
			b := []byte(word)
			for j, c := range b {
				if !isReasonByte(c) {
					b[j] = '_'
				}
			}
			return string(b)
		}
	}
	return word
}

func isReasonByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-'
}
