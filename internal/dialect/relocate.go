package dialect

import (
	"bytes"
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
