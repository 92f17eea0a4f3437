package dialect

import (
	"maps"

	"github.com/seed-9e4f5248/snubber/internal/jsonscan"
)

// The facts that eventPaths finds in an answer or an event.
const (
	_             = iota
	factError     // an error, unless it is null
	factType      // the name of the event
	factObject    // "error" for an error without an error member
	factShape     // its presence shows an event to be one of a format known here
	factContent   // something of the answer, unless it is empty
	factChoice    // one of several answers, or the array of them
	factIndex     // which of them
	factFinish    // why it ended, null before
	factBlocked   // why there will be none
	factEndReason // Cohere's, which can be an error
	factDone      // whether this is the last line
	factEmbedded  // an event in base64
	factMetrics   // the end of an embedded stream
	factText      // something of the answer where it is a string: elsewhere its name is an object's
	factReason    // why it ended, where that stands beside the choices
	factRefusal   // the model's, in the place of an answer
	factPart      // the type of a part of the answer
	factStatus    // of a Responses answer
	factBase      // MiniMax's code, 0 for none
	factCode      // one of an error, in a document that has nothing else
	factDetail    // the same
	factStranger  // what no table knows
	factCounts    // + the counts of usage.go
)

// errorPaths are where an answer or an event has its error.
var errorPaths = map[string]uint8{
	"error":          factError,
	"response.error": factError, // OpenAI Responses
	"choices.error":  factError, // OpenRouter
}

// eventPaths finds the facts in the events of every format. One table will do:
// where the formats share a name they mean the same, and what an event is called
// (eventKinds) goes before what it contains.
var eventPaths = func() *jsonscan.Paths {
	paths := map[string]uint8{
		"type":       factType,
		"event_type": factType, // Cohere v1, Gemini interactions
		"object":     factObject,

		"choices":                 factChoice,
		"choices.index":           factIndex,
		"choices.finish_reason":   factFinish,
		"choices.delta.*":         factContent, // content, tool_calls, reasoning…: whatever comes next year
		"choices.delta.role":      0,
		"choices.delta.refusal":   factRefusal,
		"choices.message.*":       factContent,
		"choices.message.role":    0,
		"choices.message.refusal": factRefusal,
		"choices.text":            factContent, // the old completions

		"candidates":                 factChoice, // Gemini
		"candidates.index":           factIndex,
		"candidates.finishReason":    factFinish,
		"candidates.content.parts":   factContent,
		"promptFeedback":             factShape,
		"promptFeedback.blockReason": factBlocked,

		"delta.finish_reason": factEndReason, // Cohere v2
		"finish_reason":       factEndReason, // Cohere v1

		"stop_reason":                        factReason, // Anthropic
		"delta.stop_reason":                  factReason,
		"stopReason":                         factReason, // Bedrock
		"incomplete_details.reason":          factReason, // OpenAI Responses
		"response.incomplete_details.reason": factReason,
		"status":                             factStatus,
		"response.status":                    factStatus,

		"done":         factDone, // Ollama
		"done_reason":  factReason,
		"message.*":    factContent,
		"message.role": 0,
		"response":     factText,
		"thinking":     factText,

		// Answers as documents.
		"output":              factContent, // OpenAI Responses, Bedrock's Converse
		"output.content.type": factPart,
		"response.output":     factContent,
		"content":             factContent, // Anthropic
		"data":                factContent, // embeddings of OpenAI and its copies
		"embedding":           factContent, // Gemini, Ollama, Titan
		"embeddings":          factContent,
		"results":             factContent, // ranks
		"predictions":         factContent, // Vertex
		"generations":         factContent, // Cohere v1
		"text":                factText,
		"tool_calls":          factContent,
		"generation":          factText, // models at Bedrock: Llama, Titan, Mistral, the old Claude
		"outputText":          factText,
		"outputs":             factContent,
		"completion":          factText,

		// Errors that have no "error".
		"base_resp.status_code": factBase,
		"code":                  factCode,
		"error_code":            factCode,
		"detail":                factDetail,
		"errors":                factDetail,

		// Beside an answer, and none.
		"id": 0, "created": 0, "created_at": 0, "createTime": 0, "model": 0, "modelVersion": 0, "model_version": 0, "role": 0, "index": 0,
		"system_fingerprint": 0, "service_tier": 0, "request_id": 0, "responseId": 0, "generation_id": 0, "provider": 0, "sequence_number": 0,
		"stop_sequence": 0, "is_finished": 0, "metrics": 0, "trace": 0, "obfuscation": 0, "prompt_filter_results": 0, "warnings": 0,
		"total_duration": 0, "load_duration": 0, "prompt_eval_duration": 0, "eval_duration": 0, "success": 0, "msg": 0, "error_msg": 0,
		"*": factStranger,

		"bytes":                            factEmbedded, // Bedrock's InvokeModelWithResponseStream
		"amazon-bedrock-invocationMetrics": factMetrics,
	}
	addCounts(paths)
	maps.Copy(paths, errorPaths)
	paths["usageMetadata"] = factShape
	return jsonscan.Compile(paths, factError, factEmbedded)
}()

// eventKind is what an event's name alone says.
type eventKind uint8

const (
	kindOther eventKind = iota
	kindPreamble
	kindFinish
	kindTerminal
	kindFailure
)

// eventKinds holds the names that say something, from the event field, the
// frame's header or the data's type. Every other name is content, or leaves it
// to the shape of the data.
var eventKinds = map[string]eventKind{
	"error": kindFailure, // all that name their events, and Groq

	"response.created":            kindPreamble, // OpenAI Responses
	"response.queued":             kindPreamble,
	"response.in_progress":        kindPreamble,
	"response.output_item.added":  kindPreamble,
	"response.content_part.added": kindPreamble,
	"keepalive":                   kindPreamble, // undocumented; while a model thinks for long (openai/openai-node#1964)
	"response.completed":          kindTerminal,
	"response.incomplete":         kindTerminal, // cut off by max_output_tokens or a filter: an answer
	"response.failed":             kindFailure,

	"message_start":       kindPreamble, // Anthropic
	"content_block_start": kindPreamble,
	"ping":                kindPreamble,
	"message_stop":        kindTerminal,

	"message-start": kindPreamble, // Cohere v2
	"content-start": kindPreamble,
	"message-end":   kindTerminal,
	"stream-start":  kindPreamble, // Cohere v1
	"stream-end":    kindTerminal,

	"messageStart":      kindPreamble, // Bedrock ConverseStream
	"contentBlockStart": kindPreamble,
	"messageStop":       kindFinish, // the usage is still to come, in the last event
	"metadata":          kindTerminal,
}
