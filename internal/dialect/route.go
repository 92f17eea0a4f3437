package dialect

import (
	"net/http"
	"net/url"
	"strings"
)

// RouteOf tells from method and URL which format a request is in. It judges by
// the end of the path, so that any prefix of a gateway may come before it, and
// does not allocate. Strings in the result are parts of u.Path, unescaped.
//
// Only a POST is inference, and only one that leaves nothing behind on the
// server: files, batches, fine-tuning, assistants, threads and their runs are
// not, nor is counting tokens, which asks no model and has a quota of its own.
// Images, speech, transcriptions, moderations, embeddings and rankings are: the
// answer is all there is. A path that is not inference gives the zero Route.
//
// Whether an OpenAI response is stored or runs in the background is a matter
// of its body; the route alone counts as inference.
func RouteOf(method string, u *url.URL) Route {
	if method != http.MethodPost || u == nil {
		return Route{}
	}
	path := strings.TrimSuffix(u.Path, "/")
	head, last := cutLast(path)
	_, before := cutLast(head)
	// two is the suffix where it takes two segments.
	two := path[len(head)-len(before):]

	switch last {
	case "completions":
		if before == "chat" || before == "fim" || before == "agents" {
			return openaiRoute(OpenAIChat, path, two)
		}
		return openaiRoute(OpenAIChat, path, last)
	case "embeddings":
		if before == "api" {
			return Route{Format: Ollama, Inference: true, Suffix: two}
		}
		return openaiRoute(OpenAIEmbeddings, path, last)
	case "responses":
		if isRoot(before) {
			return openaiRoute(OpenAIResponses, path, last)
		}
	case "messages":
		// The bare word is how half of the world's APIs send a message to
		// somebody, threads and chat rooms among them: they have an id before
		// it, the Anthropic API has a version. Do not drop the test, the
		// difference is a message delivered twice.
		if isRoot(before) {
			return Route{Format: Anthropic, Inference: true, Suffix: last}
		}
	case "generations", "edits", "variations":
		if before == "images" {
			return openaiRoute(Unknown, path, two)
		}
	case "speech", "transcriptions", "translations":
		if before == "audio" {
			return openaiRoute(Unknown, path, two)
		}
	case "moderations", "ocr":
		if isRoot(before) {
			return openaiRoute(Unknown, path, last)
		}
	case "rerank":
		return Route{Format: Cohere, Inference: true, Suffix: last}
	case "chat", "embed", "generate":
		if before == "api" {
			return Route{Format: Ollama, Inference: true, Suffix: two}
		}
		if before == "v1" || before == "v2" {
			return Route{Format: Cohere, Inference: true, Suffix: last}
		}
	case "converse", "invoke":
		return bedrockRoute(head, path, false)
	case "converse-stream", "invoke-with-response-stream":
		return bedrockRoute(head, path, true)
	default:
		return googleRoute(before, last, two)
	}
	return Route{}
}

// Asks reports whether a request on the route asks a model, now that its body
// is known. Where the body is at hand it must name a model or be a prompt of the
// format; of messages, which is also where others send a text message from, it
// must have been seen to name one.
func (r Route) Asks(p Prompt) bool {
	return r.Inference && !p.Other && (r.Format != Anthropic || r.Model != "" || p.Model != "")
}

// Generates reports whether the answer is made of tokens that are billed:
// embeddings, ranks, pictures and verdicts are not.
func (r Route) Generates() bool {
	return r.Inference && r.Format != Unknown && r.Format != OpenAIEmbeddings &&
		!strings.Contains(r.Suffix, "embed") && !strings.Contains(r.Suffix, "Embed") && !strings.HasSuffix(r.Suffix, "rerank")
}

// cutLast splits a path at its last slash, which is in neither part.
func cutLast(path string) (head, last string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// isRoot reports whether a segment is what an API's base path ends with: nothing,
// a version, or the provider's name at a gateway.
func isRoot(seg string) bool {
	switch seg {
	case "", "openai", "anthropic":
		return true
	}
	return len(seg) > 1 && seg[0] == 'v' && '0' <= seg[1] && seg[1] <= '9'
}

// openaiRoute knows that Azure names the model in the path:
// openai/deployments/{deployment}/chat/completions.
func openaiRoute(f Format, path, suffix string) Route {
	r := Route{Format: f, Inference: true, Suffix: suffix}
	rest := strings.TrimSuffix(path[:len(path)-len(suffix)], "/")
	if dir, model := cutLast(rest); strings.HasSuffix(dir, "/deployments") {
		r.Model = model
	}
	return r
}

// bedrockRoute takes all between model/ and the verb for the model: its id may be
// an ARN, which has slashes once it is unescaped.
func bedrockRoute(head, path string, stream bool) Route {
	const mark = "/model/"
	i := strings.Index(head, mark)
	if i < 0 || len(head) == i+len(mark) {
		return Route{}
	}
	return Route{Format: Bedrock, Inference: true, Model: head[i+len(mark):], Stream: stream, Suffix: path[i+1:]}
}

// googleRoute reads models/{m}:verb, endpoints/{e}:verb and tunedModels/{m}:verb.
// Verbs that start a job (batchGenerateContent, predictLongRunning) create
// something and are left out on purpose.
func googleRoute(before, last, two string) Route {
	i := strings.LastIndexByte(last, ':')
	if i <= 0 || before != "models" && before != "endpoints" && before != "tunedModels" {
		return Route{}
	}
	r := Route{Format: Gemini, Inference: true, Model: last[:i], Suffix: two}
	switch last[i+1:] {
	case "generateContent", "embedContent", "batchEmbedContents", "predict":
	case "streamGenerateContent":
		r.Stream = true
	case "rawPredict":
		r.Format = Anthropic // what partner models at Vertex speak, Claude first of all
	case "streamRawPredict":
		r.Format, r.Stream = Anthropic, true
	default:
		return Route{}
	}
	return r
}
