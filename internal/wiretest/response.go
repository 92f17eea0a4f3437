package wiretest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"testing"

	"github.com/seed-9e4f5248/snubber/internal/neterr"
)

// Bodies of responses.
const (
	// Completion is the response to [ChatBody].
	Completion = `{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`

	// LimitedBody is OpenAI's body of a 429 for a rate limit.
	LimitedBody = `{"error":{"message":"Rate limit reached for requests","type":"requests","param":null,"code":"rate_limit_exceeded"}}`

	// ExhaustedBody is OpenAI's body of a 429 for a quota that waiting does not
	// restore.
	ExhaustedBody = `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`

	usage = `"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`
)

// Response returns a response with a header of pairs, and a body of unknown
// length.
func Response(status int, body io.Reader, header ...string) *http.Response {
	rc, ok := body.(io.ReadCloser)
	if !ok {
		rc = io.NopCloser(body)
	}
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: Header(header...), Body: rc, ContentLength: -1,
	}
}

// JSON returns a step that answers with a JSON body.
func JSON(status int, body string) Step {
	return Step{Status: status, Header: Header("Content-Type", "application/json"), Body: body}
}

// Page returns a step whose response a cache may store for a minute.
func Page(body string, header ...string) Step {
	return Step{Body: body, Header: Header(append([]string{"Cache-Control", "max-age=60"}, header...)...)}
}

// TooMany returns the 429 of a rate limit. An empty after means no Retry-After.
func TooMany(after string) Step { return refusal(LimitedBody, after) }

// NoQuota returns the 429 of an exhausted quota. An empty after means no
// Retry-After.
func NoQuota(after string) Step { return refusal(ExhaustedBody, after) }

func refusal(body, after string) Step {
	step := JSON(http.StatusTooManyRequests, body)
	if after != "" {
		step.Header.Set("Retry-After", after)
	}
	return step
}

// Usage returns a chat completion that used so many tokens.
func Usage(in, out int) string {
	return fmt.Sprintf(`{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],`+usage+`}`, in, out, in+out)
}

// Recorded reads a response that a provider sent from a file.
func Recorded(t testing.TB, file string) Step {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return Step{Status: res.StatusCode, Header: res.Header, Body: string(body)}
}

// RefusedDial returns the error of a connection to a port where nothing listens.
func RefusedDial() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: neterr.Refused}
}

// HTTP2Error is like net/http's own HTTP/2 stream error: its As fills a struct
// of the same shape.
type HTTP2Error struct{ Code uint32 }

func (e HTTP2Error) Error() string { return "stream error" }

// As sets the Code of a target that looks like golang.org/x/net/http2's
// StreamError.
func (e HTTP2Error) As(target any) bool {
	v := reflect.ValueOf(target).Elem()
	if v.Kind() != reflect.Struct || v.NumField() != 3 || v.Type().Field(1).Name != "Code" {
		return false
	}
	v.Field(1).SetUint(uint64(e.Code))
	return true
}
