package snubbertest

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

var (
	generate = api{vendor: gemini{}, whole: generateWhole, events: generateEvents, broken: func(status int, kind, message string) []byte {
		return geminiEvent(object{"error": object{"code": status, "message": message, "status": kind}})
	}}
	embed = api{vendor: gemini{}, whole: func(a *answer) any {
		return object{"embedding": object{"values": a.vectors(1)[0]}}
	}}
	embedBatch = api{vendor: gemini{}, whole: func(a *answer) any {
		list := []any{}
		for _, v := range a.vectors(a.prompt.inputs()) {
			list = append(list, object{"values": v})
		}
		return object{"embeddings": list}
	}}
)

// gemini tells its quota nowhere but in the body of a rejection.
type gemini struct{}

func (gemini) quota(http.Header, time.Time, level, level) {}

func (gemini) identify(h http.Header, _ string) { h.Set("Server", "scaffolding on HTTPServer2") }

func (gemini) overloaded() (int, string, string) {
	return 503, "UNAVAILABLE", "The model is overloaded. Please try again later."
}

func (gemini) fail(_ http.Header, f *failure) (int, any) {
	body := func(code int, status, message string, details ...any) (int, any) {
		code = f.or(code)
		e := object{"code": code, "message": message, "status": status}
		if len(details) > 0 {
			e["details"] = details
		}
		return code, object{"error": e}
	}
	switch f.problem {
	case notFound:
		return body(404, "NOT_FOUND", "Requested entity was not found.")
	case tooLarge:
		return body(400, "INVALID_ARGUMENT", "The input token count exceeds the maximum number of tokens allowed.")
	case failLimited:
		metric, id := "generate_content_requests", "GenerateRequestsPerMinutePerProjectPerModel"
		if f.unit == "tokens" {
			metric, id = "generate_content_input_token_count", "GenerateContentInputTokensPerModelPerMinute"
		}
		return body(429, "RESOURCE_EXHAUSTED", geminiQuota+f.try("\nPlease retry in ", "."), f.geminiDetails(metric, id)...)
	case failExhausted:
		return body(429, "RESOURCE_EXHAUSTED", geminiQuota, f.geminiDetails("generate_content_requests", "GenerateRequestsPerDayPerProjectPerModel")...)
	case failOverloaded:
		return body(gemini{}.overloaded())
	case serverError:
		return body(500, "INTERNAL", "An internal error has occurred.")
	}
	return body(400, "INVALID_ARGUMENT", f.message)
}

// geminiQuota is said of a minute's and of a day's quota alike: only the
// quotaId tells them apart.
const geminiQuota = "You exceeded your current quota, please check your plan and billing details."

func (f *failure) geminiDetails(metric, id string) []any {
	details := []any{object{
		"@type": "type.googleapis.com/google.rpc.QuotaFailure",
		"violations": []any{object{
			"quotaMetric": "generativelanguage.googleapis.com/" + metric, "quotaId": id,
			"quotaDimensions": object{"location": "global", "model": f.model}, "quotaValue": strconv.Itoa(f.limit),
		}},
	}}
	delay := f.retryAfter
	if delay == "" && f.wait > 0 {
		delay = strconv.FormatFloat(f.wait.Seconds(), 'f', -1, 64) + "s"
	} else if _, err := strconv.ParseFloat(delay, 64); err == nil {
		delay += "s"
	}
	if delay != "" {
		details = append(details, object{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
	}
	return details
}

func generateChunk(a *answer, text string, out int, finish string) object {
	candidate := object{"index": 0, "content": object{"role": "model", "parts": []any{object{"text": text}}}}
	if finish != "" {
		candidate["finishReason"] = finish
	}
	return object{
		"candidates":    []any{candidate},
		"usageMetadata": object{"promptTokenCount": a.in, "candidatesTokenCount": out, "totalTokenCount": a.in + out},
		"modelVersion":  a.prompt.Model, "responseId": a.id,
	}
}

func generateWhole(a *answer) any {
	return generateChunk(a, a.text, a.out, a.reason("STOP", "MAX_TOKENS"))
}

// generateEvents sends the finish reason with the last piece, as Gemini does:
// there is no event that only ends the stream.
func generateEvents(a *answer) [][]byte {
	var events [][]byte
	pieces := a.pieces
	if len(pieces) == 0 {
		pieces = []string{""}
	}
	for i, piece := range pieces {
		finish := ""
		if i == len(pieces)-1 {
			finish = a.reason("STOP", "MAX_TOKENS")
		}
		events = append(events, geminiEvent(generateChunk(a, piece, min(i+1, a.out), finish)))
	}
	return events
}

// geminiEvent has Gemini's line ends. They have to be the same in the whole
// stream: its SDK splits at one or the other.
func geminiEvent(v any) []byte {
	return append(bytes.TrimRight(event("", v), "\n"), "\r\n\r\n"...)
}
