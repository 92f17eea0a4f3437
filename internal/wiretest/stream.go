package wiretest

import (
	"encoding/binary"
	"hash/crc32"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// Events of OpenAI's streams.
const (
	RoleEvent     = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"
	DeltaEvent    = "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n"
	FinishedEvent = "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
	DoneEvent     = "data: [DONE]\n\n"

	// WholeStream is a complete stream.
	WholeStream = DeltaEvent + DeltaEvent + FinishedEvent + DoneEvent
)

// Events of Anthropic's streams.
const (
	MessageStart    = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n"
	PingEvent       = "event: ping\ndata: {\"type\":\"ping\"}\n\n"
	TextDelta       = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n"
	MessageStop     = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	OverloadedEvent = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
)

// StreamPath returns the path of a provider's streams. A provider that is not
// known has OpenAI's.
func StreamPath(provider string) string {
	switch provider {
	case "anthropic":
		return "/v1/messages"
	case "gemini":
		return "/v1beta/models/m:streamGenerateContent"
	case "vertex":
		return "/v1/models/m:streamGenerateContent"
	case "cohere":
		return "/v2/chat"
	case "bedrock":
		return "/model/m/converse-stream"
	case "ollama":
		return "/api/chat"
	}
	return "/v1/chat/completions"
}

// Stream is a stream of a provider.
type Stream struct {
	Name, URL string
	Header    http.Header
	Body      []byte
}

// Streams returns the streams recorded in the directory, and one of each format
// of which no complete stream was recorded.
func Streams(t testing.TB, dir string) (list []Stream) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*stream*.http"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	for _, file := range files {
		res := Recorded(t, file)
		if res.Status != http.StatusOK {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(file), ".http")
		provider, _, _ := strings.Cut(name, "_")
		path := StreamPath(provider)
		if strings.Contains(name, "responses") {
			path = "/v1/responses"
		}
		list = append(list, Stream{name, "https://api.example.com" + path, http.Header{"Content-Type": res.Header["Content-Type"]}, []byte(res.Body)})
	}
	add := func(name, path, kind string, events ...string) {
		list = append(list, Stream{name, "https://api.example.com" + path, Header("Content-Type", kind), []byte(strings.Join(events, ""))})
	}
	add("gemini", StreamPath("gemini"), "text/event-stream",
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":8}}\r\n\r\n",
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"lo\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":8,\"candidatesTokenCount\":3}}\r\n\r\n")
	add("responses", "/v1/responses", "text/event-stream",
		"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\n",
		"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hello\"}\n\n",
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":9,\"output_tokens\":3}}}\n\n")
	add("finish reason alone", StreamPath("openai"), "text/event-stream", RoleEvent, DeltaEvent, FinishedEvent)
	add("no content", StreamPath("openai"), "text/event-stream", RoleEvent, FinishedEvent, DoneEvent)
	add("bedrock", StreamPath("bedrock"), "application/vnd.amazon.eventstream",
		AWSEvent("messageStart", `{"role":"assistant"}`), AWSEvent("contentBlockDelta", `{"delta":{"text":"Hello"}}`),
		AWSEvent("messageStop", `{"stopReason":"end_turn"}`), AWSEvent("metadata", `{"usage":{"inputTokens":9,"outputTokens":3}}`))
	return list
}

// AWSEvent returns a message of an AWS event stream.
func AWSEvent(event, payload string) string {
	var head []byte
	for _, h := range [][2]string{{":event-type", event}, {":message-type", "event"}} {
		head = append(append(head, byte(len(h[0]))), h[0]...)
		head = binary.BigEndian.AppendUint16(append(head, 7), uint16(len(h[1])))
		head = append(head, h[1]...)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(16+len(head)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(head)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, head...), payload...)
	return string(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)))
}
