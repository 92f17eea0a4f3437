package dialect

import (
	"bytes"
	"strings"

	"github.com/seed-9e4f5248/snubber/internal/jsonscan"
)

const (
	// mediaTokens is what an encoded image, document or recording counts as.
	// Providers bill images by their size in pixels, 85 to 1600 tokens for most;
	// their base64 would count a hundred times as much.
	mediaTokens = 1000

	// minMedia is the length from which a string under a media member's name is
	// taken for encoded media. Shorter ones are names and small texts.
	minMedia = 128

	maxModel  = 256     // of the name; no provider's is half as long
	maxOutput = 1 << 30 // of Prompt.MaxOutput, which is the caller's to state
)

// ReadPrompt reads the body of a request on r, in one pass, in place. It does
// not validate: of a body that is no JSON it returns what it has found.
//
// Input is estimated as a quarter of the bytes of all string values in what the
// model is shown: messages, system prompts, documents. Of tool schemas the names
// of members count too, since they are shown as well. Escapes count as what they
// stand for where there are many, else as they are written ([jsonscan.TextSize]);
// that and UTF-8, for Chinese or Japanese, err on the safe side. Numbers in an
// input are token ids and count one each. Encoded media count 1000 each.
func (r Route) ReadPrompt(body []byte) Prompt {
	s := promptScan{Cursor: jsonscan.NewCursor(body)}
	p := Prompt{Model: r.Model, Stream: r.Stream || r.streamsUnasked()}
	if t := s.Next(); t.Kind != jsonscan.Object {
		p.Other = r.other(p.Model, false) && len(body) > 0
		return p
	}
	times, own := 1, false
	for {
		key := s.Next()
		if !key.Key {
			break
		}
		name := jsonscan.Unquote(key.Raw)
		switch string(name) {
		case "model":
			if t := s.scalar(); r.Model == "" && t.Kind == jsonscan.String && len(t.Raw) <= maxModel {
				p.Model = string(jsonscan.Unquote(t.Raw))
			}
		case "stream":
			if k := s.scalar().Kind; k == jsonscan.True || k == jsonscan.False {
				p.Stream = r.Stream || k == jsonscan.True
			}
		case "max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample", "max_gen_len":
			p.MaxOutput = max(p.MaxOutput, s.count())
		case "n", "best_of":
			times = max(times, s.count())
		case "generationConfig", "generation_config", "inferenceConfig", "options", "textGenerationConfig":
			s.limits(&p.MaxOutput, &times)
		case "messages", "input", "prompt", "contents", "content", "system", "systemInstruction", "system_instruction",
			"instructions", "texts", "inputs", "inputText", "documents", "query", "message", "chat_history", "preamble",
			"suffix", "requests", "images":
			own = own || r.prompts(name, &s.Cursor)
			s.text(name, false)
		case "tools", "functions", "toolConfig":
			before := s.Cursor
			s.text(name, true)
			p.Lasting = p.Lasting || lastingIn(before, body[before.Offset():s.Offset()], name[0] == 't' && len(name) == len("tools"))
		default:
			p.Lasting = p.Lasting || lastingMember(name, &s.Cursor)
			s.Skip()
		}
	}
	p.Other = r.other(p.Model, own)
	p.MaxOutput = int(min(int64(p.MaxOutput)*int64(times), maxOutput))
	p.Input = s.bytes/4 + s.media*mediaTokens
	if s.bytes%4 > 0 {
		p.Input++
	}
	return p
}

// SkimPrompt is ReadPrompt for who needs no tokens: Input and MaxOutput are 0. It
// passes over the texts, which are nearly all of a body.
func (r Route) SkimPrompt(body []byte) Prompt {
	p := Prompt{Model: r.Model, Stream: r.Stream || r.streamsUnasked()}
	s := promptScan{Cursor: jsonscan.NewCursor(body)}
	if s.Next().Kind != jsonscan.Object {
		p.Other = r.other(p.Model, false) && len(body) > 0
		return p
	}
	own := false
	for {
		key := s.Next()
		if !key.Key {
			break
		}
		name := jsonscan.Unquote(key.Raw)
		switch string(name) {
		case "model":
			if t := s.scalar(); t.Kind == jsonscan.String && len(t.Raw) <= maxModel && r.Model == "" {
				p.Model = string(jsonscan.Unquote(t.Raw))
			}
			continue
		case "stream":
			if k := s.scalar().Kind; k == jsonscan.True || k == jsonscan.False {
				p.Stream = r.Stream || k == jsonscan.True
			}
			continue
		case "messages", "input", "prompt", "contents", "system", "texts", "chat_history", "documents", "query":
			own = own || r.prompts(name, &s.Cursor)
		case "tools", "toolConfig":
			before := s.Cursor
			s.Skip()
			p.Lasting = p.Lasting || lastingIn(before, body[before.Offset():s.Offset()], len(name) == len("tools"))
			continue
		default:
			p.Lasting = p.Lasting || lastingMember(name, &s.Cursor)
		}
		s.Skip()
	}
	p.Other = r.other(p.Model, own)
	return p
}

// other reports that a body which names that model, or has a prompt of the
// format's own, is none of the format's: its path is one that half of the world's
// APIs have, too. A survey is posted to responses, a room's message to api/chat.
// chat/completions and what names a model in its path is nobody else's.
func (r Route) other(model string, own bool) bool {
	switch r.Format {
	case OpenAIChat:
		return r.Suffix == "completions" && model == "" && !own
	case OpenAIResponses, Cohere, Ollama:
		return model == "" && !own
	}
	return false
}

// prompts reports whether the next value, that of the member name, is a prompt as
// the format writes one. Where a format insists on a model, it is not asked for
// more; and a bare "message" is what a room is sent.
func (r Route) prompts(name []byte, s *jsonscan.Cursor) bool {
	t := peek(s)
	filled := t.Kind == jsonscan.String && len(t.Raw) > 0 || t.Kind == jsonscan.Array
	switch r.Format {
	case OpenAIChat:
		return string(name) == "messages" && turns(s) || string(name) == "prompt" && filled
	case OpenAIResponses:
		return string(name) == "input" && (t.Kind == jsonscan.String || turns(s)) || string(name) == "prompt" && t.Kind == jsonscan.Object
	case OpenAIEmbeddings:
		return string(name) == "input" && filled
	case Cohere:
		return (string(name) == "messages" || string(name) == "chat_history") && turns(s) || string(name) == "texts" && filled || string(name) == "documents" && t.Kind == jsonscan.Array
	}
	return false
}

// turns reports whether the next value is a list of what somebody has said in a
// role: the text messages of a phone have none.
func turns(s *jsonscan.Cursor) bool {
	at := *s
	if at.Next().Kind != jsonscan.Array || at.Next().Kind != jsonscan.Object {
		return false
	}
	for {
		key := at.Next()
		if !key.Key {
			return false
		}
		switch string(key.Raw) {
		case "role", "type":
			return true
		}
		at.Skip()
	}
}

// streamsUnasked: Ollama streams unless "stream" is false, where there is
// anything to stream.
func (r Route) streamsUnasked() bool {
	return r.Format == Ollama && !strings.Contains(r.Suffix, "embed")
}

type promptScan struct {
	jsonscan.Cursor
	bytes int // of text
	media int
}

// scalar reads the next value, and passes over it if it is a container.
func (s *promptScan) scalar() jsonscan.Token {
	before := s.Cursor
	t := s.Next()
	if t.Kind == jsonscan.Object || t.Kind == jsonscan.Array {
		s.Cursor = before
		s.Skip()
	}
	return t
}

// count reads the next value as a number of tokens or choices. What is none, and
// Ollama's -1 and -2 for no limit, is 0.
func (s *promptScan) count() int {
	t := s.scalar()
	if t.Kind != jsonscan.Number {
		return 0
	}
	n, _ := jsonscan.Count(t.Raw)
	return min(n, maxOutput)
}

// limits reads an object of generation settings.
func (s *promptScan) limits(output, times *int) {
	before := s.Cursor
	if s.Next().Kind != jsonscan.Object {
		s.Cursor = before
		s.Skip()
		return
	}
	for {
		key := s.Next()
		if !key.Key {
			return
		}
		switch string(key.Raw) {
		case "maxOutputTokens", "max_output_tokens", "maxTokens", "num_predict", "maxTokenCount":
			*output = max(*output, s.count())
		case "candidateCount", "candidate_count":
			*times = max(*times, s.count())
		default:
			s.Skip()
		}
	}
}

// text counts the text in the next value, the member name. keys: the names of
// the members in it count too.
func (s *promptScan) text(name []byte, keys bool) {
	sum := s.Sum(name, minMedia, func(name, text []byte) bool {
		media := isMedia(name, text)
		if media {
			s.media++
		}
		return media
	})
	if s.bytes += sum.Text + 4*sum.Numbers; keys {
		s.bytes += sum.Names
	}
}

// isMediaKey reports the names under which the APIs take encoded media. In data
// URLs it comes under other names too, but tells so itself.
func isMediaKey(name []byte) bool {
	switch string(name) {
	case "data", // Gemini inlineData, Anthropic source, OpenAI input_audio
		"file_data", "image_data", "audio_data", "b64_json",
		"bytes",           // Bedrock
		"image", "images": // Ollama
		return true
	}
	return false
}

// isMedia reports that a long string is base64, by its first bytes.
func isMedia(name, text []byte) bool {
	head := text[:minMedia]
	if string(head[:5]) == "data:" {
		return bytes.Contains(head, []byte(";base64,"))
	}
	if !isMediaKey(name) {
		return false
	}
	for _, c := range head {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '+', c == '/', c == '-', c == '_', c == '=', c == '\\': // the slash may be escaped
		default:
			return false
		}
	}
	return true
}
