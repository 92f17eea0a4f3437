package snubbertest

import (
	"encoding/json"
	"net/http"
	"time"
)

// An api is one wire format: what an answer looks like in it.
type api struct {
	vendor vendor
	whole  func(*answer) any
	events func(*answer) [][]byte                        // nil if the api has no streams
	broken func(status int, kind, message string) []byte // the error event
}

// A vendor is what the apis of one provider share: how it fails and what it
// says about quotas.
type vendor interface {
	// fail sets the header of an error response and returns its status and
	// body.
	fail(h http.Header, f *failure) (status int, body any)
	// quota sets the header fields that tell the quota.
	quota(h http.Header, now time.Time, requests, tokens level)
	// identify sets the header fields that every answer has.
	identify(h http.Header, id string)
	// overloaded describes the error of a service that sheds load.
	overloaded() (status int, kind, message string)
}

// event is one server-sent event. OpenAI's chat and Gemini name none.
func event(name string, v any) []byte {
	var b []byte
	if name != "" {
		b = append(b, "event: "+name+"\n"...)
	}
	b = append(b, "data: "...)
	b = append(b, encode(v)...)
	return append(b, "\n\n"...)
}

// object is a JSON object.
type object = map[string]any

// encode cannot fail: it is given nothing but objects, lists, strings and
// numbers.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
