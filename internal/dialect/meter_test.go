package dialect

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-9e4f5248/snubber/internal/wiretest"
)

// An answered is a recorded response to an inference request.
type answered struct {
	file   string
	kind   string
	route  Route
	stream bool
	header http.Header
	body   []byte
	usage  *Usage
}

var formatsByProvider = map[string]Format{"anthropic": Anthropic, "gemini": Gemini, "vertex": Gemini, "cohere": Cohere, "bedrock": Bedrock, "ollama": Ollama}

// recordings returns the responses of testdata with status 200.
func recordings(tb testing.TB) (list []answered) {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "index.json"))
	if err != nil {
		tb.Fatal(err)
	}
	var index []struct {
		File, Provider, Kind string
		Status               int
		Usage                *struct {
			In        int `json:"in_"`
			Out       int
			CacheRead int `json:"cache_read"`
		}
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		tb.Fatal(err)
	}
	for _, e := range index {
		if e.Status != 200 {
			continue
		}
		res := wiretest.Recorded(tb, filepath.Join("testdata", e.File))
		a := answered{file: e.File, kind: e.Kind, header: res.Header, body: []byte(res.Body), stream: strings.Contains(e.File, "stream")}
		a.route = Route{Format: OpenAIChat, Inference: true}
		if f, ok := formatsByProvider[e.Provider]; ok {
			a.route.Format = f
		}
		if strings.Contains(e.File, "responses") {
			a.route.Format = OpenAIResponses
		}
		if e.Usage != nil {
			a.usage = &Usage{Input: e.Usage.In + e.Usage.CacheRead, Output: e.Usage.Out, CacheRead: e.Usage.CacheRead}
		}
		list = append(list, a)
	}
	return list
}

// seen is all that a Meter tells.
type seen struct {
	phase    Phase
	complete bool
	usage    Usage
	has      bool
	failure  string
}

func observe(r Route, contentType string, stream bool, body []byte, piece int) seen {
	var m Meter
	m.Start(r, contentType, stream)
	for p := range slices.Chunk(body, piece) {
		p = bytes.Clone(p)
		m.Observe(p)
		clear(p) // it must have kept no reference
	}
	var s seen
	s.complete = m.End()
	s.phase = m.Phase()
	s.usage, s.has = m.Usage()
	s.failure = string(m.Failure())
	m.Free() // for the next answer
	return s
}

func TestMeterRecordings(t *testing.T) {
	list := recordings(t)
	if len(list) < 38 {
		t.Fatalf("%d recordings", len(list))
	}
	for _, a := range list {
		got := observe(a.route, a.header.Get("Content-Type"), a.stream, a.body, len(a.body))
		for _, piece := range []int{1, 3, 100} {
			if again := observe(a.route, a.header.Get("Content-Type"), a.stream, a.body, piece); again != got {
				t.Errorf("%s: %+v in pieces of %d, %+v whole", a.file, again, piece, got)
			}
		}
		if a.usage != nil && (!got.has || got.usage != *a.usage) {
			t.Errorf("%s: usage %+v, want %+v", a.file, got.usage, *a.usage)
		}
		failed := strings.Contains(a.file, "error")
		switch a.kind {
		case "ok":
			if !got.complete || got.phase != Content || got.failure != "" {
				t.Errorf("%s: %+v", a.file, got)
			}
		case "stream_ok":
			if !got.complete || got.phase != Terminal || got.failure != "" {
				t.Errorf("%s: %+v", a.file, got)
			}
		case "stream_truncated":
			if got.complete || got.phase != Content || got.failure != "" {
				t.Errorf("%s: %+v", a.file, got)
			}
		case "stream_error":
			failed = true
		}
		if !failed {
			continue
		}
		if got.complete || got.phase != Failed || !json.Valid([]byte(got.failure)) {
			t.Errorf("%s: %+v", a.file, got)
		}
		v := ClassifyEvent(a.route, "", a.header, []byte(got.failure), time.Now())
		if v.Class == Unclassified || v.Class == Success {
			t.Errorf("%s: %s has class %d", a.file, got.failure, v.Class)
		}
	}
}

// phases feeds the events of a stream one by one.
func phases(r Route, contentType string, events []string) (list []Phase, complete bool) {
	var m Meter
	m.Start(r, contentType, true)
	for _, e := range events {
		m.Observe([]byte(e))
		list = append(list, m.Phase())
	}
	return list, m.End()
}

func named(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }
func data(data string) string        { return "data: " + data + "\n\n" }

// typed is an event that has its name in both places.
func typed(name, more string) string { return named(name, `{"type":"`+name+`"`+more+`}`) }

const sse = "text/event-stream; charset=utf-8"

func TestMeterPhases(t *testing.T) {
	for _, tt := range []struct {
		name     string
		format   Format
		events   []string
		want     []Phase
		complete bool
	}{
		{"nothing", OpenAIChat, nil, nil, false},
		{"comments alone", OpenAIChat, []string{": keep-alive\n\n", "\n\n"}, []Phase{Preamble, Preamble}, false},
		{"chat", OpenAIChat, []string{
			data(`{"choices":[],"prompt_filter_results":[{}]}`),
			data(`{"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}]}`),
			data(`{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}`),
			data(`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`),
			data(`{"choices":[],"usage":{"prompt_tokens":1}}`),
			data(`[DONE]`),
		}, []Phase{Preamble, Preamble, Content, Finished, Finished, Terminal}, true},
		{"chat without [DONE]", OpenAIChat, []string{
			data(`{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"length"}]}`),
		}, []Phase{Finished}, true},
		{"two choices, one open", OpenAIChat, []string{
			data(`{"choices":[{"index":0,"delta":{"content":"x"}}]}`),
			data(`{"choices":[{"index":1,"delta":{"content":"x"}}]}`),
			data(`{"choices":[{"finish_reason":"stop","delta":{},"index":1}]}`),
		}, []Phase{Content, Content, Content}, false},
		{"a choice that begins late", OpenAIChat, []string{
			data(`{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}`),
			data(`{"choices":[{"index":1,"delta":{"content":"x"}}]}`),
			data(`{"choices":[{"index":1,"finish_reason":"stop"}]}`),
		}, []Phase{Finished, Content, Finished}, true},
		{"two choices in one event", OpenAIChat, []string{
			data(`{"choices":[{"index":1,"finish_reason":"stop"},{"index":0,"delta":{"content":"x"}}]}`),
		}, []Phase{Content}, false},
		{"tool calls", OpenAIChat, []string{data(`{"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0}]}}]}`)}, []Phase{Content}, false},
		{"empty tool calls", OpenAIChat, []string{data(`{"choices":[{"delta":{"tool_calls":[]}}]}`)}, []Phase{Preamble}, false},
		{"reasoning", OpenAIChat, []string{data(`{"choices":[{"delta":{"reasoning_content":"x"}}]}`)}, []Phase{Content}, false},
		{"refusal", OpenAIChat, []string{data(`{"choices":[{"delta":{"refusal":"x"}}]}`)}, []Phase{Content}, false},
		{"a kind of delta yet unknown", OpenAIChat, []string{data(`{"choices":[{"delta":{"smell":{"id":1}}}]}`)}, []Phase{Content}, false},
		{"completions", OpenAIChat, []string{data(`{"choices":[{"text":"x"}]}`)}, []Phase{Content}, false},
		{"an unknown event", OpenAIChat, []string{data(`{"x":1}`)}, []Phase{Content}, true},
		{"no JSON", OpenAIChat, []string{data(`hello`)}, []Phase{Failed}, false}, // a proxy's
		{"empty data", OpenAIChat, []string{"data:\n\n", "data\n\n"}, []Phase{Preamble, Preamble}, false},
		{"error", OpenAIChat, []string{data(`{"error":{"message":"x"}}`)}, []Phase{Failed}, false},
		{"error string", OpenAIChat, []string{data(`{"error":"x"}`)}, []Phase{Failed}, false},
		{"error null", OpenAIChat, []string{data(`{"error":null,"choices":[]}`)}, []Phase{Preamble}, false},
		{"error event without error", OpenAIChat, []string{named("error", `{"message":"x"}`)}, []Phase{Failed}, false},
		{"error event without data", OpenAIChat, []string{"event: error\ndata\n\n"}, []Phase{Failed}, false},
		{"finish_reason error", OpenAIChat, []string{data(`{"choices":[{"finish_reason":"error"}]}`)}, []Phase{Failed}, false},
		{"object error, then [DONE]", OpenAIChat, []string{data(`{"object":"error","message":"x"}`), data(`[DONE]`)}, []Phase{Failed, Failed}, false},
		{"a mark alone", OpenAIChat, []string{": hi\n\n", data(`[DONE]`)}, []Phase{Preamble, Failed}, false},
		{"a mark after the role", OpenAIChat, []string{data(`{"choices":[{"delta":{"role":"assistant"}}]}`), data(`[DONE]`)}, []Phase{Preamble, Failed}, false},
		{"error after the end", OpenAIChat, []string{data(`{"choices":[{"delta":{"content":"x"}}]}`), data(`[DONE]`), data(`{"error":"x"}`)}, []Phase{Content, Terminal, Terminal}, true},

		{"responses", OpenAIResponses, []string{
			typed("response.created", `,"response":{"error":null,"usage":null}`), typed("response.queued", ``), typed("response.in_progress", ``),
			typed("response.output_item.added", ``), typed("response.content_part.added", ``),
			typed("response.output_text.delta", `,"delta":"x"`), typed("response.completed", `,"response":{"usage":{"input_tokens":1}}`),
		}, []Phase{Preamble, Preamble, Preamble, Preamble, Preamble, Content, Terminal}, true},
		{"responses without event lines", OpenAIResponses, []string{data(`{"type":"response.created"}`), data(`{"type":"response.reasoning_summary_text.delta"}`)}, []Phase{Preamble, Content}, false},
		{"response.incomplete", OpenAIResponses, []string{typed("response.incomplete", ``)}, []Phase{Terminal}, true},
		{"responses kept alive", OpenAIResponses, []string{typed("response.in_progress", ``), typed("keepalive", `,"sequence_number":3`), typed("response.output_text.delta", ``)}, []Phase{Preamble, Preamble, Content}, false},
		{"response.failed", OpenAIResponses, []string{typed("response.created", ``), typed("response.failed", `,"response":{"error":{"code":"server_error"}}`)}, []Phase{Preamble, Failed}, false},
		{"responses error", OpenAIResponses, []string{typed("error", `,"code":"server_error"`)}, []Phase{Failed}, false},

		{"anthropic", Anthropic, []string{
			typed("message_start", `,"message":{"content":[],"usage":{"input_tokens":1}}`), typed("ping", ``), typed("content_block_start", `,"content_block":{"text":""}`),
			typed("content_block_delta", `,"delta":{"text":"x"}`), typed("content_block_stop", ``),
			typed("message_delta", `,"delta":{"stop_reason":"end_turn"}`), typed("message_stop", ``),
		}, []Phase{Preamble, Preamble, Preamble, Content, Content, Content, Terminal}, true},
		{"anthropic cut", Anthropic, []string{typed("message_start", ``), typed("message_delta", `,"delta":{"stop_reason":"end_turn"}`)}, []Phase{Preamble, Content}, false},
		{"anthropic error", Anthropic, []string{typed("error", `,"error":{"type":"overloaded_error"}`)}, []Phase{Failed}, false},

		{"gemini", Gemini, []string{
			data(`{"usageMetadata":{"promptTokenCount":1}}`), data(`{"candidates":[{"content":{"role":"model"}}]}`), data(`{"candidates":[{"content":{"parts":[]}}]}`),
			data(`{"candidates":[{"content":{"parts":[{"text":"x"}]}}]}`), data(`{"candidates":[{"finishReason":"STOP"}]}`), data(`{"usageMetadata":{"promptTokenCount":1}}`),
		}, []Phase{Preamble, Preamble, Preamble, Content, Finished, Finished}, true},
		{"gemini blocked", Gemini, []string{data(`{"promptFeedback":{"blockReason":"SAFETY"}}`)}, []Phase{Finished}, true},
		{"gemini error", Gemini, []string{data(`{"error":{"code":503}}`)}, []Phase{Failed}, false},
		{"gemini interactions", Gemini, []string{named("error", `{"event_type":"error","error":{}}`)}, []Phase{Failed}, false},

		{"cohere", Cohere, []string{
			typed("message-start", `,"delta":{"message":{"content":[]}}`), typed("content-start", ``), typed("content-delta", ``), typed("content-end", ``),
			typed("message-end", `,"delta":{"finish_reason":"COMPLETE"}`), data("[DONE]"),
		}, []Phase{Preamble, Preamble, Content, Content, Terminal, Terminal}, true},
		{"cohere tools", Cohere, []string{typed("tool-plan-delta", ``)}, []Phase{Content}, true},
		{"cohere error", Cohere, []string{typed("message-start", ``), typed("message-end", `,"delta":{"finish_reason":"ERROR"}`)}, []Phase{Preamble, Failed}, false},
	} {
		got, complete := phases(Route{Format: tt.format}, sse, tt.events)
		if !slices.Equal(got, tt.want) || complete != tt.complete {
			t.Errorf("%s: %v, complete %v, want %v, %v", tt.name, got, complete, tt.want, tt.complete)
		}
	}
}

func TestMeterLines(t *testing.T) {
	for _, tt := range []struct {
		name     string
		format   Format
		lines    []string
		want     []Phase
		complete bool
	}{
		{"chat", Ollama, []string{`{"message":{"role":"assistant","content":""},"done":false}`, "", `{"message":{"content":"x"},"done":false}`, `{"message":{"content":""},"done":true}`},
			[]Phase{Preamble, Preamble, Content, Terminal}, true},
		{"generate", Ollama, []string{`{"response":"","done":false}`, `{"response":"x","done":false}`}, []Phase{Preamble, Content}, false},
		{"thinking", Ollama, []string{`{"message":{"role":"assistant","content":"","thinking":"x"},"done":false}`}, []Phase{Content}, false},
		{"tools", Ollama, []string{`{"message":{"content":"","tool_calls":[{}]},"done":false}`}, []Phase{Content}, false},
		{"error", Ollama, []string{`{"message":{"content":"x"},"done":false}`, `{"error":"x"}`}, []Phase{Content, Failed}, false},
		{"cohere v1", Cohere, []string{`{"is_finished":false,"event_type":"stream-start"}`, `{"event_type":"text-generation","text":"x"}`,
			`{"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE","response":{"text":"x"}}`}, []Phase{Preamble, Content, Terminal}, true},
		{"cohere v1 error", Cohere, []string{`{"event_type":"stream-end","finish_reason":"ERROR_TOXIC"}`}, []Phase{Failed}, false},
	} {
		events := make([]string, len(tt.lines))
		for i, l := range tt.lines {
			events[i] = l + "\r\n"
		}
		if got, complete := phases(Route{Format: tt.format}, "application/x-ndjson", events); !slices.Equal(got, tt.want) || complete != tt.complete {
			t.Errorf("%s: %v, complete %v, want %v, %v", tt.name, got, complete, tt.want, tt.complete)
		}
		// The last line without its line end.
		n := len(events) - 1
		events[n] = tt.lines[n]
		if _, complete := phases(Route{Format: tt.format}, "application/x-ndjson", events); complete != tt.complete {
			t.Errorf("%s: complete %v without the last line end, want %v", tt.name, complete, tt.complete)
		}
	}
}

// frame writes an AWS event stream message.
func frame(message, name, payload string) string {
	var h []byte
	key := ":event-type"
	if message != "event" {
		key = ":exception-type"
	}
	h = append(h, "\x05:date\x08"+"12345678"+"\x04:yes\x00"+"\x03:id\x09"+"0123456789abcdef"+"\x02:n\x04"+"1234"...)
	for _, kv := range [][2]string{{key, name}, {":content-type", "application/json"}, {":message-type", message}} {
		h = append(h, byte(len(kv[0])))
		h = append(h, kv[0]...)
		h = append(h, 7)
		h = binary.BigEndian.AppendUint16(h, uint16(len(kv[1])))
		h = append(h, kv[1]...)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(16+len(h)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(h)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, h...), payload...)
	return string(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)))
}

// embedded is a frame of InvokeModelWithResponseStream.
func embedded(event string) string {
	b, _ := json.Marshal(map[string]string{"bytes": base64.StdEncoding.EncodeToString([]byte(event)), "p": "abc"})
	return frame("event", "chunk", string(b))
}

func TestMeterFrames(t *testing.T) {
	for _, tt := range []struct {
		name     string
		frames   []string
		want     []Phase
		complete bool
		usage    Usage
		failure  string
	}{
		{"converse", []string{
			frame("event", "messageStart", `{"role":"assistant"}`), frame("event", "contentBlockStart", `{}`), frame("event", "contentBlockDelta", `{"delta":{"text":"x"}}`),
			frame("event", "contentBlockStop", `{}`), frame("event", "messageStop", `{"stopReason":"end_turn"}`),
			frame("event", "metadata", `{"usage":{"inputTokens":9,"outputTokens":3,"cacheReadInputTokens":1}}`),
		}, []Phase{Preamble, Preamble, Content, Content, Finished, Terminal}, true, Usage{Input: 10, Output: 3, CacheRead: 1}, ""},
		{"cut", []string{frame("event", "messageStart", `{}`), frame("event", "contentBlockDelta", `{}`)}, []Phase{Preamble, Content}, false, Usage{}, ""},
		{"cut in a frame", []string{frame("event", "chunk", `{}`), frame("event", "chunk", `{}`)[:20]}, []Phase{Content, Content}, false, Usage{}, ""},
		{"exception", []string{frame("exception", "throttlingException", `{"message":"x"}`)}, []Phase{Failed}, false, Usage{}, `{"__type":"throttlingException","message":"x"}`},
		{"empty exception", []string{frame("exception", "modelTimeoutException", `{}`)}, []Phase{Failed}, false, Usage{}, `{"__type":"modelTimeoutException"}`},
		{"error without payload", []string{frame("error", "internal", ``)}, []Phase{Failed}, false, Usage{}, `{"__type":"internal"}`},
		{"invoke", []string{
			embedded(`{"type":"message_start","message":{"usage":{"input_tokens":9}}}`), embedded(`{"type":"content_block_delta","delta":{"text":"é?>"}}`),
			embedded(`{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":9,"outputTokenCount":3}}`),
		}, []Phase{Preamble, Content, Terminal}, true, Usage{Input: 9, Output: 3}, ""},
		{"invoke with a broken event", []string{frame("event", "chunk", `{"bytes":"eyJ0e"}`), embedded(`{"type":"message_stop"}`)}, []Phase{Content, Terminal}, true, Usage{}, ""},
		{"invoke cut", []string{embedded(`{"type":"message_start"}`), embedded(`{"type":"content_block_delta"}`)}, []Phase{Preamble, Content}, false, Usage{}, ""},
		{"invoke of an unknown model", []string{embedded(`{"generation":"x"}`)}, []Phase{Content}, true, Usage{}, ""},
		{"invoke error", []string{embedded(`{"type":"error","error":{"type":"overloaded_error"}}`)}, []Phase{Failed}, false, Usage{}, `{"error":{"type":"overloaded_error"}}`},
		{"no event stream", []string{`{"message":"x"}`}, []Phase{Content}, true, Usage{}, ""},
	} {
		var m Meter
		m.Start(Route{Format: Bedrock}, "application/vnd.amazon.eventstream", true)
		var got []Phase
		for _, f := range tt.frames {
			m.Observe([]byte(f))
			got = append(got, m.Phase())
		}
		usage, _ := m.Usage()
		if complete := m.End(); !slices.Equal(got, tt.want) || complete != tt.complete || usage != tt.usage || string(m.Failure()) != tt.failure {
			t.Errorf("%s: %v, complete %v, %+v, %s", tt.name, got, complete, usage, m.Failure())
		}
		whole := observe(Route{Format: Bedrock}, "application/vnd.amazon.eventstream", true, []byte(strings.Join(tt.frames, "")), 1)
		if whole.phase != got[len(got)-1] || whole.complete != tt.complete || whole.usage != tt.usage || whole.failure != tt.failure {
			t.Errorf("%s, bytewise: %+v", tt.name, whole)
		}
	}
}

func TestMeterUnary(t *testing.T) {
	const js = "application/json"
	big := `{"data":[` + strings.Repeat(`{"embedding":[0.1,0.2],"text":"{\"usage\":{\"prompt_tokens\":5}}"},`, 5000) + `{}],`
	for _, tt := range []struct {
		name, contentType, body string
		want                    seen
	}{
		{"empty", js, ``, seen{Preamble, true, Usage{}, false, ""}},
		{"blank", js, "\n\n", seen{Preamble, false, Usage{}, false, ""}},
		{"cut", js, `{"choices":[`, seen{Content, false, Usage{}, false, ""}},
		{"error null", js, `{"error":null}`, seen{Content, true, Usage{}, false, ""}},
		{"error object", js, `{"id":1,"error":{"code":502}}`, seen{Failed, false, Usage{}, false, `{"error":{"code":502}}`}},
		{"error string", js, `{"error":"x"}`, seen{Failed, false, Usage{}, false, `{"error":"x"}`}},
		{"error of a choice", js, `{"choices":[{"finish_reason":"error","error":{"code":502}}]}`, seen{Failed, false, Usage{}, false, `{"error":{"code":502}}`}},
		{"the first of two errors", js, `{"error":{"a":1},"choices":[{"error":"b"}]}`, seen{Failed, false, Usage{}, false, `{"error":{"a":1}}`}},
		{"error in the answer", js, `{"choices":[{"message":{"content":"{\"error\":1}","error":"x"}}]}`, seen{Content, true, Usage{}, false, ""}},
		{"problem+json", "application/problem+json", `{"error":"x"}`, seen{Failed, false, Usage{}, false, `{"error":"x"}`}},
		{"usage at the end of much", js, big + `"usage":{"prompt_tokens":7}}`, seen{Content, true, Usage{Input: 7}, true, ""}},
		{"speech", "audio/mpeg", `{"error":"x"}`, seen{Content, true, Usage{}, false, ""}},
		{"no type", "", `{"usage":{"prompt_tokens":7}}`, seen{Content, true, Usage{Input: 7}, true, ""}},
		{"no JSON", "", `hello`, seen{Content, true, Usage{}, false, ""}},
	} {
		for _, piece := range []int{1, 1000, 1 << 20} {
			if got := observe(Route{Format: OpenAIChat}, tt.contentType, false, []byte(tt.body), piece); got != tt.want {
				t.Errorf("%s in pieces of %d: %+v, want %+v", tt.name, piece, got, tt.want)
			}
		}
	}
}

func TestMeterFraming(t *testing.T) {
	for _, tt := range []struct {
		format      Format
		contentType string
		stream      bool
		want        framing
	}{
		{Unknown, sse, true, opaque},
		{Unknown, "application/json", false, opaque},
		{OpenAIChat, "TEXT/Event-Stream", false, sseFraming},
		{OpenAIChat, "application/json; charset=utf-8", true, unary},
		{OpenAIChat, "", true, sseFraming},
		{OpenAIChat, "", false, unary},
		{OpenAIChat, "audio/mpeg", true, opaque},
		{Gemini, "application/json", true, unary},
		{Ollama, "application/x-ndjson", true, linesFraming},
		{Ollama, "", true, linesFraming},
		{Ollama, "application/json", false, unary},
		{Cohere, "application/stream+json", true, linesFraming},
		{Bedrock, "application/vnd.amazon.eventstream", true, framesFraming},
		{Bedrock, "", true, framesFraming},
	} {
		if got := framingOf(Route{Format: tt.format}, tt.contentType, tt.stream); got != tt.want {
			t.Errorf("format %d, %q, stream %v: %d, want %d", tt.format, tt.contentType, tt.stream, got, tt.want)
		}
	}
}

func TestMeterOpaque(t *testing.T) {
	var m Meter
	if m.Phase() != Preamble || m.Streaming() {
		t.Error("the zero Meter has seen something")
	}
	m.Observe([]byte("data: {\"error\":1}\n\n"))
	if _, ok := m.Usage(); m.Phase() != Content || m.Failure() != nil || ok || !m.End() {
		t.Error("an opaque body is judged")
	}
}

// A terminal event of the Responses API repeats the whole response, and there is
// no end to a line that has none. Neither is held.
func TestMeterLongEvents(t *testing.T) {
	filler := strings.Repeat("0123456789", 20000)
	for _, tt := range []struct {
		name, body string
		want       seen
	}{
		{"usage after the bound", typed("response.created", ``) + named("response.completed", `{"type":"response.completed","response":{"output":[{"text":"`+filler+`"}],"usage":{"input_tokens":5,"output_tokens":2}}}`),
			seen{Terminal, true, Usage{Input: 5, Output: 2}, true, ""}},
		{"error after the bound", named("response.failed", `{"response":{"instructions":"`+filler+`","error":{"code":"x"}}}`),
			seen{Failed, false, Usage{}, false, `{"error":{"code":"x"}}`}},
		{"preamble", data(`{"type":"response.created","response":{"instructions":"` + filler + `"}}`), seen{Preamble, false, Usage{}, false, ""}},
		{"no end", `data: {"candidates":[{"content":{"parts":[{"data":"` + filler, seen{Content, false, Usage{}, false, ""}},
		{"no end of a comment", `: ` + filler, seen{Preamble, false, Usage{}, false, ""}},
		{"no end of a name", filler, seen{Preamble, false, Usage{}, false, ""}},
		{"end after the bound", data(`{"choices":[{"delta":{"content":"`+filler+`"},"finish_reason":"stop"}]}`) + data("[DONE]"), seen{Terminal, true, Usage{}, false, ""}},
	} {
		for _, piece := range []int{1, 1000, 1 << 20} {
			var m Meter
			m.Start(Route{Format: OpenAIResponses}, sse, true)
			for p := range slices.Chunk([]byte(tt.body), piece) {
				m.Observe(p)
			}
			if m.r != nil && cap(m.r.held)+cap(m.r.raw) > 2*maxHeld {
				t.Errorf("%s: %d bytes held", tt.name, cap(m.r.held)+cap(m.r.raw))
			}
			if got := observe(Route{Format: OpenAIResponses}, sse, true, []byte(tt.body), piece); got != tt.want {
				t.Errorf("%s in pieces of %d: %+v, want %+v", tt.name, piece, got, tt.want)
			}
		}
	}
}

func TestMeterErrorIsBounded(t *testing.T) {
	for _, contentType := range []string{sse, "application/json"} {
		body := `{"error":{"message":"` + strings.Repeat("x", 200000) + `"}}`
		if contentType == sse {
			body = data(body)
		}
		if got := observe(Route{Format: OpenAIChat}, contentType, true, []byte(body), 100); got.phase != Failed || len(got.failure) > maxHeld+100 || len(got.failure) < 1000 {
			t.Errorf("%s: phase %d, %d bytes of failure", contentType, got.phase, len(got.failure))
		}
	}
}

func TestMeterAllocates(t *testing.T) {
	event := []byte(data(`{"id":"x","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}],"error":null,"usage":{"prompt_tokens":5}}`))
	bedrock := []byte(embedded(`{"type":"content_block_delta","delta":{"text":"x"}}`))
	line := []byte(`{"message":{"content":"x"},"done":false}` + "\n")
	for _, tt := range []struct {
		r           Route
		contentType string
		event       []byte
	}{{Route{Format: OpenAIChat}, sse, event}, {Route{Format: Bedrock}, "application/vnd.amazon.eventstream", bedrock}, {Route{Format: Ollama}, "", line}} {
		var m Meter
		m.Start(tt.r, tt.contentType, true)
		m.Observe(tt.event)
		if n := testing.AllocsPerRun(100, func() { m.Observe(tt.event) }); n != 0 {
			t.Errorf("format %d: %v allocations an event", tt.r.Format, n)
		}
		if m.Phase() != Content {
			t.Errorf("format %d: phase %d", tt.r.Format, m.Phase())
		}
	}
	if size := reflect.TypeFor[Meter]().Size(); size > 160 {
		t.Errorf("a Meter has %d bytes", size)
	}
}

// A reader serves one answer after another, so nothing of one may be left in it.
func TestMeterFree(t *testing.T) {
	for _, a := range recordings(t) {
		var m Meter
		m.Start(a.route, a.header.Get("Content-Type"), a.stream)
		m.Observe(a.body)
		r, failure := m.r, m.Failure()
		said := string(failure)
		r.clear()
		if kept := r.held[:cap(r.held)]; len(r.held) > 0 || len(kept) > maxKept {
			t.Errorf("%s: %d bytes held, %d kept", a.file, len(r.held), len(kept))
		}
		clear(r.held[:cap(r.held)])
		clear(r.raw[:cap(r.raw)])
		if string(failure) != said {
			t.Errorf("%s: the failure has changed", a.file)
		}
		r.held, r.raw, r.inner = nil, nil, nil
		if !reflect.DeepEqual(*r, reader{}) {
			t.Errorf("%s: %+v is left", a.file, *r)
		}
	}
}

func TestMeterAfterFree(t *testing.T) {
	var m Meter
	m.Free()
	m.Start(Route{Format: OpenAIChat}, sse, true)
	m.Free()
	m.Start(Route{Format: OpenAIChat}, sse, true)
	m.Observe([]byte(data(`{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":7}}`) + data(`{"error":"x"}`)))
	if m.Phase() != Failed {
		t.Fatal("no failure to free")
	}
	m.Free()
	m.Free()
	if _, ok := m.Usage(); ok || m.Phase() != Preamble || m.Failure() != nil || m.Streaming() {
		t.Errorf("a free Meter knows something: %+v", m)
	}
	m.Observe([]byte(data("[DONE]")))
	if _, ok := m.Usage(); ok || m.Phase() != Content || m.Failure() != nil || !m.End() {
		t.Error("a free Meter judges")
	}
}

func TestMeterFreesLongEvents(t *testing.T) {
	var m Meter
	m.Start(Route{Format: OpenAIChat}, sse, true)
	m.Observe([]byte(`data: {"error":"` + strings.Repeat("x", 2*maxKept)))
	r := m.r
	if cap(r.held) <= maxKept || cap(r.raw) <= maxKept {
		t.Fatal("nothing long is held")
	}
	m.Free()
	if cap(r.held) > maxKept || cap(r.raw) > maxKept {
		t.Errorf("%d and %d bytes are kept", cap(r.held), cap(r.raw))
	}
}

func TestMeterUnaryAllocates(t *testing.T) {
	body := []byte(`{"choices":[{"message":{"content":"x"}}],"error":null,"usage":{"prompt_tokens":5}}`)
	if n := testing.AllocsPerRun(1000, func() {
		var m Meter
		m.Start(Route{Format: OpenAIChat}, "application/json", false)
		m.Observe(body)
		if u, _ := m.Usage(); u.Input != 5 || !m.End() {
			t.Errorf("usage %+v", u)
		}
		m.Free()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzMeter(f *testing.F) {
	for _, a := range recordings(f) {
		f.Add(uint8(a.route.Format), a.header.Get("Content-Type"), a.stream, a.body)
	}
	f.Add(uint8(Bedrock), "", true, []byte(embedded(`{"type":"error","error":{"x":1}}`)+frame("error", "x", "")))
	f.Add(uint8(OpenAIChat), "text/event-stream", true, []byte("\xEF\xBB\xBFdata: {\"choices\":[\rdata\r\ndata: {\"finish_reason\":\"stop\"}]}\r\n\r\nevent:x\n\n"))
	f.Add(uint8(OpenAIChat), "", false, []byte("\xbc{")) // no byte order mark
	f.Fuzz(func(t *testing.T, format uint8, contentType string, stream bool, body []byte) {
		r := Route{Format: Format(format % (uint8(Ollama) + 1))}
		whole := observe(r, contentType, stream, body, max(len(body), 1))
		bytewise := observe(r, contentType, stream, body, 1)
		if whole != bytewise {
			t.Fatalf("%+v whole, %+v bytewise", whole, bytewise)
		}
		if whole.usage.Input < 0 || whole.usage.Output < 0 || whole.usage.CacheRead+whole.usage.CacheWrite > whole.usage.Input {
			t.Fatalf("%+v", whole.usage)
		}
		if (whole.phase == Failed) != (whole.failure != "") && whole.failure != "" {
			t.Fatalf("%+v", whole)
		}
	})
}

func BenchmarkMeter(b *testing.B) {
	event := []byte(data(`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1772539200,"model":"m","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}`))
	var m Meter
	m.Start(Route{Format: OpenAIChat}, sse, true)
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		m.Observe(event)
	}
}

func BenchmarkMeterUnary(b *testing.B) {
	const head, tail = `{"id":"chatcmpl-1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"`, `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46}}`
	for name, text := range map[string]string{"short": "Yes.", "4KiB": strings.Repeat(`A line with a \"quoted\" word or two, and some more.\n`, 70)} {
		body := []byte(head + text + tail)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var m Meter
				m.Start(Route{Format: OpenAIChat}, "application/json", false)
				m.Observe(body)
				m.Usage()
				m.End()
				m.Free()
			}
		})
	}
}
