package dialect

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"net/url"
	"strings"
	"time"
)

type object = map[string]any
type list = []any

// Answer is a text that no model wrote, in the shape in which an SDK expects the
// answer to the request: unary, or as the stream that it asked for. It says that
// nothing was billed. With a status of 400 or more it is an error, as the format
// writes those. ok is false where the path is none that answers with text.
//
// Everything an SDK insists on is there, and little else: Stainless-generated
// ones want application/json, cohere-go wants a last [DONE], genai wants one kind
// of line end.
func (r Route) Answer(u *url.URL, p Prompt, status int, text string, now time.Time) (media string, body []byte, ok bool) {
	if status >= 400 && r.Inference {
		return jsonMedia, Refusal(r.Format, status, "snubber_reply", text), true
	}
	model := p.Model
	if model == "" {
		model = "unknown"
	}
	switch r.Format {
	case OpenAIChat:
		return openaiAnswer(strings.HasSuffix(u.Path, "/completions") && r.Suffix == "completions", p.Stream, model, text, now)
	case OpenAIResponses:
		return responsesAnswer(p.Stream, model, text, now)
	case Anthropic:
		return anthropicAnswer(p.Stream, model, text)
	case Gemini:
		if strings.HasSuffix(r.Suffix, ":generateContent") || r.Stream {
			return geminiAnswer(r.Stream, u.Query().Get("alt") == "sse", model, text)
		}
	case Cohere:
		if r.Suffix == "chat" {
			return cohereAnswer(strings.Contains(u.Path, "/v1/"), p.Stream, text)
		}
	case Ollama:
		if r.Suffix == "api/chat" || r.Suffix == "api/generate" {
			return ollamaAnswer(r.Suffix == "api/generate", p.Stream, model, text, now)
		}
	case Bedrock:
		if strings.HasSuffix(r.Suffix, "/converse") || strings.HasSuffix(r.Suffix, "/converse-stream") {
			return bedrockAnswer(r.Stream, text)
		}
	}
	return "", nil, false
}

const (
	jsonMedia   = "application/json"
	sseMedia    = "text/event-stream"
	ndjsonMedia = "application/x-ndjson"
	frameMedia  = "application/vnd.amazon.eventstream"

	answerID = "snubber"
)

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, numbers and what holds them
	}
	return b
}

// events writes server-sent events; the name of each is its "type" where named.
func events(named bool, datas ...object) []byte {
	var b bytes.Buffer
	for _, d := range datas {
		if named {
			b.WriteString("event: " + d["type"].(string) + "\n")
		}
		b.WriteString("data: ")
		b.Write(marshal(d))
		b.WriteString("\n\n")
	}
	return b.Bytes()
}

func lines(values ...object) []byte {
	var b bytes.Buffer
	for _, v := range values {
		b.Write(marshal(v))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func openaiAnswer(legacy, stream bool, model, text string, now time.Time) (string, []byte, bool) {
	id, kind := "chatcmpl-"+answerID, "chat.completion"
	if legacy {
		id, kind = "cmpl-"+answerID, "text_completion"
	}
	answer := func(kind string, finish any, name string, content any) object {
		return object{"id": id, "object": kind, "created": now.Unix(), "model": model, "choices": list{
			object{"index": 0, name: content, "logprobs": nil, "finish_reason": finish},
		}}
	}
	message := object{"role": "assistant", "content": text}
	switch {
	case !stream:
		a := answer(kind, "stop", "message", object{"role": "assistant", "content": text, "refusal": nil})
		if legacy {
			a = answer(kind, "stop", "text", text)
		}
		a["usage"] = object{"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
		return jsonMedia, marshal(a), true
	case legacy:
		b := events(false, answer(kind, nil, "text", text), answer(kind, "stop", "text", ""))
		return sseMedia, append(b, "data: [DONE]\n\n"...), true
	}
	kind += ".chunk"
	b := events(false, answer(kind, nil, "delta", message), answer(kind, "stop", "delta", object{}))
	return sseMedia, append(b, "data: [DONE]\n\n"...), true
}

func responsesAnswer(stream bool, model, text string, now time.Time) (string, []byte, bool) {
	part := func(text string) object {
		return object{"type": "output_text", "text": text, "annotations": list{}}
	}
	item := func(status string, content ...any) object {
		if content == nil {
			content = list{}
		}
		return object{"id": "msg_" + answerID, "type": "message", "status": status, "role": "assistant", "content": content}
	}
	response := func(status string, output ...any) object {
		if output == nil {
			output = list{}
		}
		r := object{
			"id": "resp_" + answerID, "object": "response", "created_at": now.Unix(), "status": status, "model": model,
			"output": output, "error": nil, "incomplete_details": nil, "instructions": nil, "metadata": object{},
			"parallel_tool_calls": true, "tool_choice": "auto", "tools": list{}, "usage": nil,
		}
		if status == "completed" {
			r["usage"] = object{
				"input_tokens": 0, "input_tokens_details": object{"cached_tokens": 0},
				"output_tokens": 0, "output_tokens_details": object{"reasoning_tokens": 0}, "total_tokens": 0,
			}
		}
		return r
	}
	whole := item("completed", part(text))
	if !stream {
		return jsonMedia, marshal(response("completed", whole)), true
	}
	n := -1
	event := func(kind string, more object) object {
		n++
		more["type"], more["sequence_number"] = kind, n
		return more
	}
	at := func(more object) object {
		more["item_id"], more["output_index"], more["content_index"] = "msg_"+answerID, 0, 0
		return more
	}
	return sseMedia, events(true,
		event("response.created", object{"response": response("in_progress")}),
		event("response.in_progress", object{"response": response("in_progress")}),
		event("response.output_item.added", object{"output_index": 0, "item": item("in_progress")}),
		event("response.content_part.added", at(object{"part": part("")})),
		event("response.output_text.delta", at(object{"delta": text})),
		event("response.output_text.done", at(object{"text": text})),
		event("response.content_part.done", at(object{"part": part(text)})),
		event("response.output_item.done", object{"output_index": 0, "item": whole}),
		event("response.completed", object{"response": response("completed", whole)}),
	), true
}

func anthropicAnswer(stream bool, model, text string) (string, []byte, bool) {
	message := func(stop any, content ...any) object {
		if content == nil {
			content = list{}
		}
		return object{
			"id": "msg_" + answerID, "type": "message", "role": "assistant", "model": model, "content": content,
			"stop_reason": stop, "stop_sequence": nil, "usage": object{"input_tokens": 0, "output_tokens": 0},
		}
	}
	if !stream {
		return jsonMedia, marshal(message("end_turn", object{"type": "text", "text": text})), true
	}
	return sseMedia, events(true,
		object{"type": "message_start", "message": message(nil)},
		object{"type": "content_block_start", "index": 0, "content_block": object{"type": "text", "text": ""}},
		object{"type": "content_block_delta", "index": 0, "delta": object{"type": "text_delta", "text": text}},
		object{"type": "content_block_stop", "index": 0},
		object{"type": "message_delta", "delta": object{"stop_reason": "end_turn", "stop_sequence": nil}, "usage": object{"output_tokens": 0}},
		object{"type": "message_stop"},
	), true
}

func geminiAnswer(stream, sse bool, model, text string) (string, []byte, bool) {
	a := marshal(object{
		"candidates": list{object{
			"content": object{"role": "model", "parts": list{object{"text": text}}}, "finishReason": "STOP", "index": 0,
		}},
		"usageMetadata": object{"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0},
		"modelVersion":  model, "responseId": answerID,
	})
	switch {
	case !stream:
		return jsonMedia, a, true
	case sse:
		return sseMedia, append(append([]byte("data: "), a...), "\r\n\r\n"...), true
	}
	return jsonMedia, append(append([]byte("["), a...), ']'), true
}

func cohereAnswer(v1, stream bool, text string) (string, []byte, bool) {
	usage := object{
		"billed_units": object{"input_tokens": 0, "output_tokens": 0},
		"tokens":       object{"input_tokens": 0, "output_tokens": 0},
	}
	switch {
	case v1 && stream:
		return ndjsonMedia, lines(
			object{"is_finished": false, "event_type": "stream-start", "generation_id": answerID},
			object{"is_finished": false, "event_type": "text-generation", "text": text},
			object{"is_finished": true, "event_type": "stream-end", "finish_reason": "COMPLETE",
				"response": object{"generation_id": answerID, "text": text, "finish_reason": "COMPLETE", "meta": usage}},
		), true
	case v1:
		return jsonMedia, marshal(object{"generation_id": answerID, "text": text, "finish_reason": "COMPLETE", "meta": usage}), true
	case !stream:
		return jsonMedia, marshal(object{
			"id": answerID, "finish_reason": "COMPLETE", "usage": usage,
			"message": object{"role": "assistant", "content": list{object{"type": "text", "text": text}}},
		}), true
	}
	content := func(kind, text string) object {
		return object{"type": kind, "index": 0, "delta": object{"message": object{"content": object{"type": "text", "text": text}}}}
	}
	b := events(true,
		object{"type": "message-start", "id": answerID, "delta": object{"message": object{"role": "assistant", "content": list{}, "tool_plan": "", "tool_calls": list{}, "citations": list{}}}},
		content("content-start", ""),
		content("content-delta", text),
		object{"type": "content-end", "index": 0},
		object{"type": "message-end", "id": answerID, "delta": object{"finish_reason": "COMPLETE", "usage": usage}},
	)
	return sseMedia, append(b, "data: [DONE]\n\n"...), true
}

func ollamaAnswer(generate, stream bool, model, text string, now time.Time) (string, []byte, bool) {
	line := func(text string, done bool) object {
		o := object{"model": model, "created_at": now.UTC().Format(time.RFC3339Nano), "done": done}
		if generate {
			o["response"] = text
		} else {
			o["message"] = object{"role": "assistant", "content": text}
		}
		if done {
			for _, name := range [...]string{"total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"} {
				o[name] = 0
			}
			o["done_reason"] = "stop"
		}
		return o
	}
	if !stream {
		return jsonMedia, marshal(line(text, true)), true
	}
	return ndjsonMedia, lines(line(text, false), line("", true)), true
}

func bedrockAnswer(stream bool, text string) (string, []byte, bool) {
	usage := object{"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
	metrics := object{"latencyMs": 0}
	if !stream {
		return jsonMedia, marshal(object{
			"output":     object{"message": object{"role": "assistant", "content": list{object{"text": text}}}},
			"stopReason": "end_turn", "usage": usage, "metrics": metrics,
		}), true
	}
	var b []byte
	for _, e := range [...]struct {
		name string
		data object
	}{
		{"messageStart", object{"role": "assistant"}},
		{"contentBlockDelta", object{"contentBlockIndex": 0, "delta": object{"text": text}}},
		{"contentBlockStop", object{"contentBlockIndex": 0}},
		{"messageStop", object{"stopReason": "end_turn"}},
		{"metadata", object{"usage": usage, "metrics": metrics}},
	} {
		b = appendFrame(b, marshal(e.data), ":event-type", e.name, ":content-type", jsonMedia, ":message-type", "event")
	}
	return frameMedia, b, true
}

// appendFrame appends one message of the AWS event stream encoding; headers are
// pairs of strings.
func appendFrame(b, payload []byte, headers ...string) []byte {
	const stringValue = 7
	var h []byte
	for i := 0; i+1 < len(headers); i += 2 {
		h = append(append(h, byte(len(headers[i]))), headers[i]...)
		h = append(binary.BigEndian.AppendUint16(append(h, stringValue), uint16(len(headers[i+1]))), headers[i+1]...)
	}
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(16+len(h)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(h)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
	b = append(append(b, h...), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[start:]))
}
