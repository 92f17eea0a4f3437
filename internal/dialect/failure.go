package dialect

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds on what is read of a failure, which is hostile until shown otherwise.
const (
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
	top    map[string]any // the body, where it is an object
	obj    map[string]any // the error object, or the top level where there is none
	object bool           // the error object was under "error"
	page   bool           // it is HTML
	hasID  bool           // an "id" stood beside it
	// requestID: a "request_id" stood beside it.
	requestID bool
	request   []byte        // what was asked, where it is at hand
	asked     []byte        // the same in lower case
	unquoted  bool          // plain is made
	plain     string        // text outside of quotes
	fits      bool          // the numbers in it say that the request would fit
	phrase    bool          // a sentence has decided
	number    int           // a number given as code
	words     []string      // machine words, lower case, the most specific first
	text      string        // messages, lower case
	wait      time.Duration // what the server said of when to come back, see stated
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
	f.top, f.obj = top, top
	_, f.hasID = top["id"].(string)
	_, f.requestID = top["request_id"].(string)
	switch e := top["error"].(type) {
	case map[string]any:
		f.obj, f.object = e, true
	case string: // xAI, Ollama
		f.say(e)
		if w := strings.ToLower(e); sureWords[w]|vagueWords[w] != Unclassified {
			f.word(w) // and no other: it can be anything, a key too
		}
	default:
		f.readElsewhere(top)
	}
	f.readWords(f.obj)
	if f.obj["code"] == nil && top["code"] != nil { // beside the error object
		f.word(text(top["code"]))
	}
	f.word(text(top["finish_reason"])) // Cohere v1
	f.word(text(first(top["choices"])["finish_reason"]))
	for _, key := range []string{"message", "Message", "detail", "title", "msg", "error_msg", "status_msg", "errorMessage"} {
		f.say(text(f.obj[key]))
	}
}

// readElsewhere finds the error object where there is none under "error".
func (f *failure) readElsewhere(top map[string]any) {
	if r, ok := top["response"].(map[string]any); ok { // response.failed of the Responses API
		if e, ok := r["error"].(map[string]any); ok {
			f.obj, f.object = e, true
		}
		return
	}
	if d, ok := top["delta"].(map[string]any); ok { // message-end of Cohere
		f.obj = d
		f.word(text(d["finish_reason"]))
		f.say(text(d["error"]))
		return
	}
	if e, ok := first(top["choices"])["error"].(map[string]any); ok { // a chunk of OpenRouter
		f.obj, f.object = e, true
		return
	}
	for _, key := range []string{"errors", "base_resp", "detail"} { // Cloudflare and watsonx, MiniMax, ElevenLabs
		e, ok := top[key].(map[string]any)
		if !ok {
			e = first(top[key])
		}
		if e != nil {
			f.obj = e
			return
		}
	}
}

// readWords notes what an error object has for programs, the most specific first.
func (f *failure) readWords(obj map[string]any) {
	for _, key := range []string{"code", "status_code", "statusCode", "status", "error_code"} {
		if n, ok := obj[key].(json.Number); ok && f.number == 0 {
			f.number, _ = strconv.Atoi(n.String())
		}
	}
	f.word(text(obj["code"]))
	f.word(text(obj["error_code"]))
	inner, _ := obj["innererror"].(map[string]any)
	f.word(text(inner["code"]))
	f.word(fragment(text(obj["type"])))
	f.word(text(obj["error_type"]))
	f.word(text(obj["status"]))
	f.word(text(obj["reason"]))
	f.word(exceptionName(text(obj["__type"])))
	if e := first(obj["errors"]); e != nil {
		f.word(text(e["reason"]))
	}
	if d, ok := obj["details"].(map[string]any); ok {
		f.word(text(d["error_code"]))
	}
	for _, d := range items(obj["details"]) {
		f.word(text(d["reason"]))
	}
	meta, _ := obj["metadata"].(map[string]any)
	f.word(text(meta["limit_source"]))
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
	case !slices.Contains(emptyWords[:], strings.ToLower(w)):
		f.words = append(f.words, strings.ToLower(w))
	}
}

// emptyWords stand where a word could be, and are none. LiteLLM writes Python's
// None, the reason for which an answer ended well is no failure's.
var emptyWords = [...]string{"error", "none", "null", "undefined", "about:blank", "stop", "length"}

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
