package snubbertest

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// prompt is what the fake reads of a request, of all dialects at once: no two
// of them use one field name for different things.
type prompt struct {
	Model         string `json:"model"`
	Stream        bool   `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`

	MaxTokens           int `json:"max_tokens"`
	MaxCompletionTokens int `json:"max_completion_tokens"`
	MaxOutputTokens     int `json:"max_output_tokens"`
	GenerationConfig    struct {
		MaxOutputTokens int `json:"maxOutputTokens"`
	} `json:"generationConfig"`

	Messages          any   `json:"messages"`
	Input             any   `json:"input"`
	Instructions      any   `json:"instructions"`
	System            any   `json:"system"`
	Contents          any   `json:"contents"`
	SystemInstruction any   `json:"systemInstruction"`
	Content           any   `json:"content"`
	Requests          []any `json:"requests"`

	EncodingFormat string `json:"encoding_format"`
	Dimensions     int    `json:"dimensions"`
}

// parse reads path and body. A nil api means a path that no dialect has; a
// message, what is wrong with the request.
func parse(method, path, query string, body []byte) (*api, prompt, string) {
	var p prompt
	a, model, stream := route(path)
	if a == nil || method != "POST" {
		return nil, p, ""
	}
	if err := json.Unmarshal(body, &p); err != nil {
		// The error's own text may quote the body.
		return a, prompt{Model: model}, "We could not parse the JSON body of your request."
	}
	if model != "" {
		p.Model, p.Stream = model, stream
	}
	p.Stream = p.Stream && a.events != nil
	switch {
	case stream && !strings.Contains(query, "alt=sse"):
		return a, p, "This fake streams with alt=sse only."
	case p.Dimensions < 0 || p.Dimensions > 4096:
		return a, p, "Invalid value for 'dimensions'."
	case p.inputs() > 2048:
		return a, p, "Too many inputs in one request."
	}
	return a, p, ""
}

// route finds the dialect of a path behind any prefix. Only Gemini has the
// model, and the wish for a stream, in the path.
func route(path string) (a *api, model string, stream bool) {
	for suffix, a := range map[string]*api{
		"/chat/completions": &chat,
		"/responses":        &responses,
		"/embeddings":       &embeddings,
		"/messages":         &messages,
	} {
		if strings.HasSuffix(path, suffix) {
			return a, "", false
		}
	}
	_, last := cutLast(path, "/models/")
	model, verb := cutLast(last, ":")
	switch {
	case model == "":
	case verb == "generateContent":
		return &generate, model, false
	case verb == "streamGenerateContent":
		return &generate, model, true
	case verb == "embedContent":
		return &embed, model, false
	case verb == "batchEmbedContents":
		return &embedBatch, model, false
	}
	return nil, "", false
}

func cutLast(s, sep string) (before, after string) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", ""
	}
	return s[:i], s[i+len(sep):]
}

// maximum is the output that the request allows, 0 if it sets no bound.
func (p *prompt) maximum() int {
	for _, n := range []int{p.MaxTokens, p.MaxCompletionTokens, p.MaxOutputTokens, p.GenerationConfig.MaxOutputTokens} {
		if n > 0 {
			return n
		}
	}
	return 0
}

// tokens is the size of the input: a token for every four bytes of text.
func (p *prompt) tokens() int {
	n := 0
	for _, v := range []any{p.Messages, p.Input, p.Instructions, p.System, p.Contents, p.SystemInstruction, p.Content, p.Requests} {
		n += textBytes(v)
	}
	return (n + 3) / 4
}

// textBytes adds up text and leaves out roles, names, URLs and images: base64
// counted as text would be orders of magnitude off.
func textBytes(v any) int {
	n := 0
	switch v := v.(type) {
	case string:
		n = len(v)
	case float64:
		n = 4 // a token of an embedding input that comes as token numbers
	case []any:
		for _, e := range v {
			n += textBytes(e)
		}
	case map[string]any:
		for _, key := range [...]string{"content", "text", "parts"} {
			n += textBytes(v[key])
		}
	}
	return n
}

// inputs is how many vectors an embedding request asks for.
func (p *prompt) inputs() int {
	if p.Requests != nil {
		return len(p.Requests)
	}
	list, ok := p.Input.([]any)
	if !ok {
		return 1
	}
	if len(list) > 0 {
		if _, number := list[0].(float64); number {
			return 1
		}
	}
	return len(list)
}

// tokens cuts a text into the pieces that count as tokens and that a stream
// sends one by one: four characters each.
func tokens(text string) []string {
	var pieces []string
	for text != "" {
		n := 0
		for i := 0; i < 4 && n < len(text); i++ {
			_, size := utf8.DecodeRuneInString(text[n:])
			n += size
		}
		pieces = append(pieces, text[:n])
		text = text[n:]
	}
	return pieces
}
